"""Time-outs of steps, on virtual time: each attempt has all of it, and people are not on the clock."""

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


async def timed(house, engine, steps, **keys):
    """Run the steps; returns the result and the seconds that it took."""
    started = anyio.current_time()
    return await house.run(engine, steps, **keys), anyio.current_time() - started


SLOW = {
    "action": sleep("a", 100),
    "loop": {"id": "a", "type": "loop", "config": {"over": "[1, 2, 3]", "body": [sleep("x", 1.5)]}},
    "parallel": {**fan([sleep("x", 1)], [sleep("y", 100)]), "id": "a"},
    "condition": {
        "id": "a",
        "type": "condition",
        "config": {"expression": "true", "branches": {"true": [sleep("x", 100)]}},
    },
    "workflow.run": {"id": "a", "action": "workflow.run", "params": {"template_name": "child"}},
}


@pytest.mark.spec("11.11")
@pytest.mark.parametrize("kind", SLOW)
@pytest.mark.parametrize("max_retries", [0, 2])
async def test_every_attempt_has_the_full_time_out(house, timeless, put, kind, max_retries):
    steps, at = put(
        {**SLOW[kind], "timeout": "2s", "retry": {"max": max_retries, "delay": "3s"}}, {"id": "z", "action": "t.do"}
    )
    async with timeless as daemon:
        await daemon.engine.define("child", {"steps": [sleep("x", 100)]}, agent_id="me")
        result, took = await timed(house, daemon.engine, steps)
        starts = [house.at(event) for event in
                  await house.events(daemon.engine, result["workflow_id"], "step_started", step=f"{at}a")]  # fmt: skip
        types = await house.types(daemon.engine, result["workflow_id"], f"{at}a")
        await anyio.sleep(1000)
    attempts = max_retries + 1
    assert [round(start - starts[0], 3) for start in starts] == [5 * n for n in range(attempts)]
    assert took == pytest.approx(2 * attempts + 3 * max_retries)
    assert (result["status"], result["steps"][f"{at}a"]["status"], house.effects()) == ("failed", "failed", [])
    assert result["steps"][f"{at}a"]["error"]["code"] == "TIMEOUT_ERROR"
    assert house.running == 0
    assert types.count("step_retrying") == max_retries


@pytest.mark.spec("11.11")
async def test_the_last_attempt_may_still_succeed_within_its_own_time(house, timeless, put):
    """Two attempts time out at a closed gate; the third finds it open and needs almost all its time."""
    step = {"id": "a", "action": "t.safe", "timeout": "10s", "retry": {"max": 2}}
    steps, at = put(step, {"id": "z", "action": "t.do"})
    async with timeless as daemon:
        run_id = (await house.run(daemon.engine, steps, wait=False))["workflow_id"]
        await anyio.sleep(29)
        house.gate().set()
        await anyio.sleep(0.5)
        status = await daemon.engine.status(run_id)
    assert (status["status"], status["steps"][f"{at}a"]["retry_count"]) == ("completed", 2)
    assert len(house.cancelled) == 2


@pytest.mark.spec("11.11")
@pytest.mark.parametrize("strategy", ["ignore", "fallback_step"])
async def test_a_time_out_goes_through_the_error_handling_of_the_step(house, timeless, put, strategy):
    """Nothing is bound to the expired deadline: the failure is written and the step does not stay running."""
    handler = {"strategy": strategy, **({"fallback_step": "f"} if strategy == "fallback_step" else {})}
    steps, at = put(sleep("a", 100, timeout="2s", on_error=handler), {"id": "z", "action": "t.do"})
    if strategy == "fallback_step":
        steps.append({"id": "f", "action": "t.do"})
    async with timeless as daemon:
        result, took = await timed(house, daemon.engine, steps)
    assert (result["status"], took) == ("completed", pytest.approx(2))
    assert result["steps"][f"{at}a"]["status"] == ("skipped" if strategy == "ignore" else "failed")
    assert result["steps"][f"{at}a"]["error"]["code"] == "TIMEOUT_ERROR"
    assert house.effects() == [*(["f"] if strategy == "fallback_step" else []), f"{at}z"]


@pytest.mark.spec("11.11")
async def test_what_ends_in_time_counts_also_at_the_last_moment(house, timeless, put):
    steps, _ = put(sleep("a", 1.999, timeout="2s"), {"id": "z", "action": "t.do"})
    async with timeless as daemon:
        result, took = await timed(house, daemon.engine, steps)
    assert (result["status"], took, house.cancelled) == ("completed", pytest.approx(1.999), [])


@pytest.mark.spec("11.11")
@pytest.mark.parametrize("restart", [False, True])
async def test_the_time_out_of_a_container_stands_still_while_a_nested_decision_is_awaited(house, timeless, restart):
    """Four seconds before the decision and four after it fit into five and a half, an hour in between does not count."""
    body = [sleep("x", 2), ask("gate"), sleep("y", 2)]
    loop = {"id": "each", "type": "loop", "config": {"over": "[1]", "body": body}, "timeout": "5500ms"}
    async with timeless as daemon:
        run_id = (await house.run(daemon.engine, [loop]))["workflow_id"]
        await anyio.sleep(1800)
        engine = await daemon.restart(restart, pause=1800)
        answer = await engine.signal(run_id, "decision", payload={"choice": "go"})
        assert answer["status"] == "completed"
        slow = {**loop, "timeout": "3500ms"}
        run_id = (await house.run(engine, [slow]))["workflow_id"]
        await anyio.sleep(3600)
        answer = await engine.signal(run_id, "decision", payload={"choice": "go"})
    assert (answer["status"], answer["steps"]["each"]["error"]["code"]) == ("failed", "TIMEOUT_ERROR")


@pytest.mark.spec("11.11")
async def test_a_time_out_limits_a_wait_and_not_a_question(house, timeless):
    steps = [{**ask(), "timeout": "10s"}, {**wait(signal="go"), "timeout": "10s", "on_error": {"strategy": "ignore"}}]
    async with timeless as daemon:
        run_id = (await house.run(daemon.engine, steps))["workflow_id"]
        await anyio.sleep(3600)
        answer = await daemon.engine.signal(run_id, "decision", payload={"choice": "go"})
    assert answer["status"] == "completed"
    assert answer["steps"]["w"]["error"]["code"] == "TIMEOUT_ERROR"


@pytest.mark.spec("11.11")
async def test_a_step_with_a_child_that_asks_is_not_on_the_clock(house, timeless):
    call = {"id": "call", "action": "workflow.run", "params": {"template_name": "child"}, "timeout": "10s"}
    async with timeless as daemon:
        await daemon.engine.define("child", {"steps": [ask()]}, agent_id="me")
        result = await house.run(daemon.engine, [call])
        (entry,) = result["waiting"]
        assert entry["reason"] == "child"
        await anyio.sleep(3600)
        status = await daemon.engine.status(result["workflow_id"])
        assert status["status"] == "suspended"
        (told,) = await house.events(daemon.engine, result["workflow_id"], "step_suspended")
        child = told["payload"]["child_workflow_id"]
        await daemon.engine.signal(child, "decision", payload={"choice": "go"})
        await anyio.sleep(1)
        assert (await daemon.engine.status(result["workflow_id"]))["status"] == "completed"
