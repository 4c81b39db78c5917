"""Cancelling a run: it ends as cancelled and stays so, and everything that belongs to it ends with it."""

from __future__ import annotations

import anyio
import pytest

from opcode_kernel import ConflictError, NotFoundError
from opcode_kernel.store.base import RunFilter
from opcode_kernel.testing.steps import ask, fan, wait

pytestmark = pytest.mark.anyio

HELD = {"id": "held", "action": "t.gate"}
AFTER = {"id": "after", "action": "t.do"}


def child(name="child"):
    return {"id": "call", "action": "workflow.run", "params": {"template_name": name}}


#: What a run may be at when it is cancelled, and how many actions it is executing then.
BUSY = {
    "an action": (HELD, 1),
    "a decision": (ask("held"), 0),
    "a signal": (wait("held", signal="go"), 0),
    "a timer": (wait("held", duration="1h"), 0),
    "a long timer that rests": (wait("held", duration="90m"), 0),
    "a retry": ({"id": "held", "action": "t.fail", "retry": {"max": 1, "delay": "1h"}}, 0),
    "a child that runs": ({**child(), "id": "held"}, 1),
    "a child that asks": ({**child("asking"), "id": "held"}, 0),
    "branches": ({**fan([HELD], [ask()], [wait(duration="1h")], [AFTER]), "id": "held"}, 1),
    "a race": ({"id": "held", "type": "parallel", "config": {"mode": "race", "branches": [[HELD], [ask()]]}}, 1),
}


async def settled(engine):
    """Wait until the cancel has reached every child."""
    with anyio.fail_after(5):
        while {"active", "suspended"} & set((await statuses(engine)).values()):  # noqa: ASYNC110
            await anyio.sleep(0.005)


async def statuses(engine):
    """Every stored run, as `{template name: status}`."""
    rows, _ = await engine.store.runs(RunFilter(limit=100))
    return {row.template_name: row.status for row in rows}


@pytest.mark.spec("11.12")
@pytest.mark.parametrize("busy", BUSY)
@pytest.mark.parametrize("restart", [False, True])
async def test_a_cancelled_run_ends_so_whatever_it_is_at(house, until, put, busy, restart):
    step, running = BUSY[busy]
    steps, at = put({"id": "before", "action": "t.echo"}, step, AFTER)
    async with house.daemon() as daemon:
        await daemon.engine.define("child", {"steps": [HELD]}, agent_id="me")
        await daemon.engine.define("asking", {"steps": [ask()]}, agent_id="me")
        run_id = (await house.run(daemon.engine, steps, wait=False))["workflow_id"]
        await until(lambda: house.running == running)
        await daemon.engine.status(run_id)
        engine = await daemon.restart(restart)
        answer = await engine.signal(run_id, "cancel", payload={"reason": "enough"}, agent_id="boss")
        assert answer["status"] == "cancelled"
        await until(lambda: not engine.live and house.running == 0)
        house.gate().set()
        await settled(engine)
        status = await engine.status(run_id)
        events = await house.events(engine, run_id)
        while events[0]["event_type"] != "signal_received":
            del events[0]
        decisions = await engine.store.decisions(run_id=run_id)
        runs = await statuses(engine)
    assert (status["status"], status["error"]["code"], status["error"]["message"]) == (
        "cancelled",
        "CANCELLED",
        "enough",
    )
    assert status["error"]["details"]["reason"] == "enough"
    assert [event["event_type"] for event in events[:2]] == ["signal_received", "workflow_cancelled"]
    assert events[1]["payload"] == {"reason": "enough", "cancelled_by": "boss"}
    assert {(event["event_type"], event["payload"]["reason"]) for event in events[2:]} == {
        ("step_skipped", "workflow_cancelled")
    }
    assert {row["status"] for row in status["steps"].values()} <= {"completed", "skipped"}
    assert len(events[2:]) == sum(row["status"] == "skipped" for row in status["steps"].values())
    assert [each.status for each in decisions if each.status != "cancelled"] == []
    assert set(runs.values()) == {"cancelled"}
    assert [step for step in house.effects() if step.endswith("after") and "branch_3" not in step] == []
    assert status["steps"][f"{at}held"]["status"] == "skipped"


@pytest.mark.spec("11.12")
async def test_a_result_that_comes_after_the_cancel_is_discarded(house, until):
    """An action that will not be stopped finishes its work; the run neither hears of it nor fails."""
    async with house.engine() as engine:
        stubborn = {"id": "a", "action": "t.stubborn"}
        run_id = (await house.run(engine, [stubborn, {**AFTER, "depends_on": ["a"]}], wait=False))["workflow_id"]
        await until(lambda: house.running == 1)
        assert (await engine.signal(run_id, "cancel"))["status"] == "cancelled"
        house.gate().set()
        await until(lambda: house.running == 0 and not engine.live)
        assert (await house.types(engine, run_id))[-3:] == ["workflow_cancelled", "step_skipped", "step_skipped"]
        assert (await engine.status(run_id))["status"] == "cancelled"
    async with house.engine() as engine:
        assert (await engine.status(run_id))["status"] == "cancelled"


@pytest.mark.spec("11.12")
async def test_a_cancel_goes_down_to_the_last_grandchild_and_not_up(house, until):
    async with house.engine() as engine:
        await engine.define("grandchild", {"steps": [HELD, ask()]}, agent_id="me")
        await engine.define("child", {"steps": [fan([child("grandchild")], [ask()])]}, agent_id="me")
        loop = {
            "id": "each",
            "type": "loop",
            "config": {"over": "[1]", "body": [child()]},
            "on_error": {"strategy": "ignore"},
        }
        run_id = (await house.run(engine, [loop, AFTER | {"depends_on": ["each"]}], wait=False))["workflow_id"]
        await until(lambda: house.running == 1)
        rows, _ = await engine.store.runs(RunFilter(limit=100))
        ids = {row.template_name: row.id for row in rows}
        await engine.signal(ids["child"], "cancel", payload={"reason": "enough"})
        await until(lambda: not engine.live)
        assert await statuses(engine) == {"t": "completed", "child": "cancelled", "grandchild": "cancelled"}
        assert await engine.store.decisions(status="pending") == []
        status = await engine.status(run_id)
    assert (house.cancelled, house.effects()) == (["held"], ["held", "after"])
    assert status["steps"]["each.iter_0.call"]["error"]["details"]["child_status"] == "cancelled"


@pytest.mark.spec("11.12")
async def test_a_second_cancel_changes_nothing_and_every_other_signal_is_refused(house, until):
    async with house.engine() as engine:
        run_id = (await house.run(engine, [ask(), HELD], wait=False))["workflow_id"]
        await until(lambda: house.running == 1)
        await engine.signal(run_id, "cancel")
        events = await house.types(engine, run_id)
        assert (await engine.signal(run_id, "cancel", payload={"reason": "again"}))["status"] == "cancelled"
        for signal, keys in (("decision", {"payload": {"choice": "x"}, "step_id": "ask"}), ("retry", {"step_id": "held"}),
                             ("skip", {"step_id": "ask"}), ("data", {"payload": {"a": 1}})):  # fmt: skip
            with pytest.raises(ConflictError):
                await engine.signal(run_id, signal, **keys)
        with pytest.raises(NotFoundError):
            await engine.signal("5b8f8e64-0000-4000-8000-000000000000", "cancel")
        assert await house.types(engine, run_id) == events


@pytest.mark.spec("11.12")
@pytest.mark.parametrize("ended", ["completed", "failed"])
async def test_a_run_that_ended_cannot_be_cancelled(house, ended):
    async with house.engine() as engine:
        step = AFTER if ended == "completed" else {"id": "a", "action": "t.fail"}
        result = await house.run(engine, [step])
        with pytest.raises(ConflictError):
            await engine.signal(result["workflow_id"], "cancel")
        assert (await engine.status(result["workflow_id"]))["status"] == ended


@pytest.mark.spec("11.12")
async def test_no_hook_runs_and_no_handler_swallows_a_cancel(house, until):
    hooks = {"on_complete": {"id": "h1", "action": "t.do"}, "on_error": {"id": "h2", "action": "t.do"}}
    steps = [{**HELD, "on_error": {"strategy": "fallback_step", "fallback_step": "f"}, "retry": {"max": 3}},
             {"id": "f", "action": "t.do"}]  # fmt: skip
    async with house.engine() as engine:
        run_id = (await house.run(engine, {"steps": steps, **hooks}, wait=False))["workflow_id"]
        await until(lambda: house.running == 1)
        await engine.signal(run_id, "cancel")
        await until(lambda: not engine.live)
        status = await engine.status(run_id)
    assert (status["status"], house.effects(), set(status["steps"])) == ("cancelled", ["held"], {"held", "f"})


@pytest.mark.spec("11.12")
@pytest.mark.parametrize("restart", [False, True])
async def test_cancelling_one_decision_skips_its_step_and_the_run_goes_on(house, put, restart):
    steps, at = put(ask("gate"), AFTER)
    async with house.daemon() as daemon:
        run_id = (await house.run(daemon.engine, steps))["workflow_id"]
        engine = await daemon.restart(restart)
        with pytest.raises(NotFoundError):
            await engine.signal(run_id, "cancel", step_id=f"{at}after")
        await engine.signal(run_id, "cancel", step_id=f"{at}gate")
        status = await engine.status(run_id)
        (decision,) = await engine.store.decisions(run_id=run_id)
    assert (status["status"], decision.status, house.effects()) == ("completed", "cancelled", [f"{at}after"])
    assert status["steps"][f"{at}gate"]["reason"] == "decision_cancelled"
