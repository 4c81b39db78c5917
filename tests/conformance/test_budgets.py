"""The budget of a run, on virtual time: what it is charged for, what happens when it is used up, and how it goes on."""

from __future__ import annotations

import anyio
import pytest

from opcode_kernel.testing.steps import ask, fan, wait

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend(virtual_time):
    return virtual_time


def sleep(step_id, seconds, **keys):
    return {"id": step_id, "action": "t.sleep", "params": {"seconds": seconds}, **keys}


ENDS = {"fail": ("failed", "TIMEOUT_ERROR"), "cancel": ("cancelled", "CANCELLED"), "suspend": ("suspended", None)}


@pytest.mark.spec("11.13")
@pytest.mark.parametrize("on_timeout", ENDS)
@pytest.mark.parametrize("restart", [False, True])
async def test_each_way_to_end_is_stored_and_stays(house, timeless, put, on_timeout, restart):
    status, code = ENDS[on_timeout]
    steps, at = put(sleep("a", 100), {"id": "z", "action": "t.do"})
    async with timeless as daemon:
        started = anyio.current_time()
        result = await house.run(daemon.engine, {"steps": steps, "timeout": "3s", "on_timeout": on_timeout})
        assert anyio.current_time() - started == pytest.approx(3)
        engine = await daemon.restart(restart, pause=10)
        await anyio.sleep(1000)
        stored = await engine.status(result["workflow_id"])
        events = await house.events(engine, result["workflow_id"])
        row = await engine.store.run(result["workflow_id"])
    assert result["status"] == stored["status"] == row.status == status
    assert result.get("error", {}).get("code") == stored.get("error", {}).get("code") == code
    timed_out = next(n for n, event in enumerate(events) if event["event_type"] == "workflow_timed_out")
    assert events[timed_out]["payload"] == {"timeout": "3s", "on_timeout": on_timeout}
    after = [event["event_type"] for event in events[timed_out + 1 :] if event["event_type"].startswith("workflow_")]
    assert after == [f"workflow_{status}"]
    assert house.cancelled == [f"{at}a"]
    step = stored["steps"][f"{at}a"]
    assert (step["status"], step["reason"]) == {
        "fail": ("skipped", "workflow_failed"), "cancel": ("skipped", "workflow_cancelled"),
        "suspend": ("suspended", "interrupted"),
    }[on_timeout]  # fmt: skip
    if on_timeout == "cancel":
        assert stored["error"]["details"]["reason"] == "timeout"


@pytest.mark.spec("11.13")
@pytest.mark.parametrize("restart", [False, True])
async def test_a_run_suspended_by_its_budget_goes_on_with_a_fresh_one(house, timeless, put, restart):
    """Three steps of two seconds do not fit into five; what was done is not repeated, however long the run was suspended."""
    steps, at = put(sleep("a", 2), sleep("b", 2), sleep("c", 2), sleep("d", 2))
    async with timeless as daemon:
        definition = {"steps": steps, "timeout": "5s", "on_timeout": "suspend"}
        run_id = (await house.run(daemon.engine, definition))["workflow_id"]
        engine = await daemon.restart(restart, pause=1000)
        await anyio.sleep(1000)
        with anyio.fail_after(4.5):
            answer = await engine.signal(run_id, "retry")
        assert answer["status"] == "completed"
        assert len(await house.events(engine, run_id, "workflow_timed_out")) == 1
    assert {step: len(calls) for step, calls in house.seen.items()} == {
        f"{at}{s}": 2 if s == "c" else 1 for s in "abcd"
    }


@pytest.mark.spec("11.13")
async def test_the_fresh_budget_can_be_used_up_again(house, timeless):
    async with timeless as daemon:
        definition = {"steps": [sleep("a", 9)], "timeout": "5s", "on_timeout": "suspend"}
        run_id = (await house.run(daemon.engine, definition))["workflow_id"]
        for _ in range(3):
            started = anyio.current_time()
            answer = await daemon.engine.signal(run_id, "retry")
            assert (answer["status"], anyio.current_time() - started) == ("suspended", pytest.approx(5))
        assert (await daemon.engine.signal(run_id, "skip", step_id="a"))["status"] == "completed"


@pytest.mark.spec("11.13")
@pytest.mark.parametrize("restart", [False, True])
@pytest.mark.parametrize("asked", ["itself", "child"])
@pytest.mark.parametrize(("last", "status"), [(2, "completed"), (4, "failed")])
async def test_time_that_only_people_take_is_not_charged(house, timeless, put, restart, asked, last, status):
    """Two seconds, two hours of thinking, two seconds: within five. With four in the end it is not."""
    call = {"id": "gate", "action": "workflow.run", "params": {"template_name": "child"}}
    steps, at = put(sleep("a", 2), ask("gate") if asked == "itself" else call, sleep("b", last))
    async with timeless as daemon:
        await daemon.engine.define("child", {"steps": [ask("inner")]}, agent_id="me")
        run_id = asked_run = (await house.run(daemon.engine, {"steps": steps, "timeout": "5s"}))["workflow_id"]
        await anyio.sleep(3600)
        engine = await daemon.restart(restart, pause=3600)
        if asked == "child":
            (told,) = await house.events(engine, run_id, "step_suspended", step=f"{at}gate")
            asked_run = told["payload"]["child_workflow_id"]
        await engine.signal(asked_run, "decision", payload={"choice": "go"})
        await anyio.sleep(100)
        found = await engine.status(run_id)
    assert found["status"] == status
    assert found.get("error", {}).get("code") == (None if status == "completed" else "TIMEOUT_ERROR")


WAITS = {
    "a short timer": wait("w", duration="20s"),
    "a long timer": wait("w", duration="2h"),
    "a signal": wait("w", signal="go"),
    "a signal or a timer": wait("w", signal="go", duration="2h"),
    "a retry": {"id": "w", "action": "t.fail", "retry": {"max": 1, "delay": "1h"}},
}


@pytest.mark.spec("11.13")
@pytest.mark.parametrize("waiting", WAITS)
async def test_time_spent_in_a_wait_is_charged(house, timeless, put, waiting):
    """Also while the run is suspended for it."""
    steps, _ = put(WAITS[waiting])
    async with timeless as daemon:
        started = anyio.current_time()
        run_id = (await house.run(daemon.engine, {"steps": steps, "timeout": "10s"}, wait=False))["workflow_id"]
        await anyio.sleep(9)
        assert (await daemon.engine.status(run_id))["status"] in ("active", "suspended")
        await anyio.sleep(1.5)
        status = await daemon.engine.status(run_id)
        (timed_out,) = await house.events(daemon.engine, run_id, "workflow_timed_out")
        (began,) = await house.events(daemon.engine, run_id, "workflow_started")
    assert (status["status"], status["error"]["code"]) == ("failed", "TIMEOUT_ERROR")
    assert house.at(timed_out) - house.at(began) == pytest.approx(10, abs=1)
    assert anyio.current_time() - started < 12


@pytest.mark.spec("11.13")
async def test_a_decision_is_charged_while_something_else_of_the_run_is_executing(house, timeless):
    steps = [fan([ask("gate")], [sleep("x", 4)])]
    async with timeless as daemon:
        run_id = (
            await house.run(daemon.engine, {"steps": [*steps, sleep("b", 2, depends_on=["p"])], "timeout": "5s"})
        )["workflow_id"]
        await anyio.sleep(3600)
        answer = await daemon.engine.signal(run_id, "decision", payload={"choice": "go"})
    assert (answer["status"], answer["error"]["code"]) == ("failed", "TIMEOUT_ERROR")


@pytest.mark.spec("11.13")
async def test_a_budget_that_is_used_up_takes_pending_decisions_with_it(house, timeless, put):
    """Unless the run is only suspended: then somebody may still answer."""
    async with timeless as daemon:
        for on_timeout, (status, _) in ENDS.items():
            definition = {"steps": [ask("gate"), *put(sleep("a", 100))[0]], "timeout": "5s", "on_timeout": on_timeout}
            result = await house.run(daemon.engine, definition, name=on_timeout)
            decisions = await daemon.engine.store.decisions(run_id=result["workflow_id"])
            assert (result["status"], [each.status for each in decisions]) == (
                status, ["pending" if on_timeout == "suspend" else "cancelled"],
            )  # fmt: skip


@pytest.mark.spec("11.13")
async def test_the_budget_beats_the_failures_that_follow_from_it(house, timeless):
    """What the deadline cuts short is not the error of the run, whatever strategy the cut step has."""
    steps = [
        sleep("a", 100, retry={"max": 3}, on_error={"strategy": "ignore"}),
        {"id": "z", "action": "t.do", "depends_on": ["a"]},
    ]
    async with timeless as daemon:
        result = await house.run(daemon.engine, {"steps": steps, "timeout": "5s"})
        await anyio.sleep(1000)
    assert (result["status"], result["error"]["code"], house.effects()) == ("failed", "TIMEOUT_ERROR", [])
    assert len(house.seen["a"]) == 1
