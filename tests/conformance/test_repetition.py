"""After a restart: whom one can still reach, what is repeated and what never is."""

from __future__ import annotations

from functools import partial
from typing import Any

import anyio
import pytest

from opcode_kernel.store.base import RunFilter

pytestmark = pytest.mark.anyio


def do(step_id: str, **keys: Any) -> dict[str, Any]:
    return {"id": step_id, "action": "t.do", **keys}


def gate(step_id: str = "g", **keys: Any) -> dict[str, Any]:
    return {"id": step_id, "action": "t.gate", **keys}


PLAIN = [do("a"), gate(depends_on=["a"]), do("z", params={"value": "${{steps.g.output}}"}, depends_on=["g"])]


@pytest.mark.spec("10.17")
@pytest.mark.parametrize("signal", ["retry", "retry of the step", "skip", "cancel"])
async def test_a_restarted_run_without_a_decision_can_be_continued_and_cancelled(house, until, signal):
    async with house.daemon() as daemon:
        run_id = (await house.run(daemon.engine, PLAIN, wait=False))["workflow_id"]
        await until(lambda: "g" in house.effects())
        engine = await daemon.restart()
        status = await engine.status(run_id)
        assert (status["status"], status["steps"]["g"]["status"]) == ("suspended", "suspended")
        assert "pending_decisions" not in status
        assert [(entry["step_id"], entry["reason"]) for entry in status["waiting"]] == [("g", "interrupted")]
        house.gate().set()
        step = {"skip": "g", "retry of the step": "g"}.get(signal)
        payload = {"output": {"ran": "by hand"}} if signal == "skip" else {}
        answer = await engine.signal(run_id, signal.partition(" ")[0], step_id=step, payload=payload)
        ended = await engine.status(run_id)
    assert answer["status"] == ended["status"] == ("cancelled" if signal == "cancel" else "completed")
    assert house.effects() == {"cancel": ["a", "g"], "skip": ["a", "g", "z"]}.get(signal, ["a", "g", "g", "z"])
    if signal != "cancel":
        assert ended["steps"]["z"]["output"] == {"ran": "by hand" if signal == "skip" else "g"}


@pytest.mark.spec("10.17", "10.32")
@pytest.mark.parametrize("died", [False, True], ids=["shutdown", "crash"])
async def test_the_log_of_a_restarted_run_says_what_happened_to_it(house, until, died):
    async with house.engine() as engine:
        run_id = (await house.run(engine, PLAIN, wait=False))["workflow_id"]
        await until(lambda: "g" in house.effects())
        if died:
            house.cut_the_power()
    async with house.engine() as engine:
        types = await house.types(engine, run_id)
        (interrupted,) = await house.events(engine, run_id, "workflow_interrupted")
    start = types.index("workflow_interrupted")
    assert sorted(types[start:]) == ["step_suspended", "workflow_interrupted", "workflow_suspended"]
    assert types[-1] == "workflow_suspended"
    assert interrupted["payload"]["reason"] == ("process_restart" if died else "shutdown")


CONTAINERS: dict[str, tuple[list[dict[str, Any]], list[str]]] = {
    "a loop": (
        [{"id": "l", "type": "loop", "config": {"over": "inputs.xs", "body": [
            do("b"), {**gate("g"), "condition": "iter.index == 1"}, do("e")]}}],
        ["l.iter_0.b", "l.iter_0.e", "l.iter_1.b", "l.iter_1.g", "l.iter_1.g", "l.iter_1.e", "l.iter_2.b", "l.iter_2.e"]),
    "a condition": (
        [{"id": "c", "type": "condition", "config": {"expression": "inputs.key", "branches": {"x": [do("b"), gate(), do("e")]}}}],
        ["c.x.b", "c.x.g", "c.x.g", "c.x.e"]),
    "branches": (
        [{"id": "p", "type": "parallel", "config": {"branches": [[do("b"), gate()], [do("d"), do("e")]]}}],
        ["p.branch_0.b", "p.branch_0.g", "p.branch_0.g", "p.branch_1.d", "p.branch_1.e"]),
    "containers in containers": (
        [{"id": "p", "type": "parallel", "config": {"branches": [[{"id": "l", "type": "loop", "config": {
            "over": "inputs.xs", "body": [do("b"), {**gate("g"), "condition": "iter.item == 2"}]}}], []]}}],
        ["p.branch_0.l.iter_0.b", "p.branch_0.l.iter_1.b", "p.branch_0.l.iter_1.g", "p.branch_0.l.iter_1.g", "p.branch_0.l.iter_2.b"]),
}  # fmt: skip


@pytest.mark.spec("10.18")
@pytest.mark.parametrize("kind", CONTAINERS)
async def test_a_container_goes_on_inside_and_repeats_only_what_was_interrupted(house, until, kind):
    steps, effects = CONTAINERS[kind]
    params = {"xs": [1, 2, 3], "key": "x"}
    async with house.daemon() as daemon:
        run_id = (await house.run(daemon.engine, steps, params, wait=False))["workflow_id"]
        await until(lambda: any(step.endswith(".g") for step in house.effects()))
        await until(lambda: len(house.effects()) >= effects.index(next(s for s in effects if s.endswith(".g"))) + 1)
        engine = await daemon.restart()
        house.gate().set()
        answer = await engine.signal(run_id, "retry")
        log = await house.events(engine, run_id, "condition_evaluated", "loop_iter_started", "parallel_started")
        starts = await house.events(engine, run_id, "step_started", step=steps[0]["id"])
    assert answer["status"] == "completed"
    assert sorted(house.effects()) == sorted(effects)
    assert len(starts) == 1
    seen = [(event["event_type"], event["step_id"], (event["payload"] or {}).get("iteration")) for event in log]
    assert len(seen) == len(set(seen)), "what was decided before is not decided again"


@pytest.mark.spec("10.18")
@pytest.mark.parametrize("died", [False, True], ids=["shutdown", "crash"])
async def test_an_interrupted_workflow_run_finds_the_child_it_has_already(house, until, died):
    child = [do("c"), gate(depends_on=["c"])]
    call = {"id": "call", "action": "workflow.run", "params": {"template_name": "child"}}
    async with house.engine() as engine:
        await engine.define("child", {"steps": child}, agent_id="me")
        run_id = (await house.run(engine, [call, do("z", depends_on=["call"])], wait=False))["workflow_id"]
        await until(lambda: "g" in house.effects())
        if died:
            house.cut_the_power()
    async with house.engine() as engine:
        house.gate().set()
        rows, _ = await engine.store.runs(RunFilter(parent_run_id=run_id))
        for target in (rows[0].id, run_id):
            if (await engine.status(target)).get("waiting", [{}])[0].get("reason") == "interrupted":
                await engine.signal(target, "retry")
        await until(lambda: run_id not in engine.live and rows[0].id not in engine.live)
        ended = await engine.status(run_id)
        rows, count = await engine.store.runs(RunFilter(parent_run_id=run_id))
    assert (ended["status"], ended["steps"]["call"]["output"]) == ("completed", {"ran": "g"})
    assert (count, rows[0].status, rows[0].parent_step_id) == (1, "completed", "call")
    assert house.effects() == ["c", "g", "g", "z"]


@pytest.mark.spec("10.18")
async def test_the_idempotency_key_is_the_same_over_retries_and_restarts_and_another_after_an_operators_retry(
    house, until
):
    failing = {"id": "f", "action": "t.fail", "params": {"times": 3}, "retry": {"max": 1}}
    async with house.daemon() as daemon:
        run_id = (await house.run(daemon.engine, [failing, gate(depends_on=["f"])]))["workflow_id"]
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(partial(daemon.engine.signal, run_id, "retry", step_id="f"))
            await until(lambda: "g" in house.effects())
            tasks.cancel_scope.cancel()  # who sent the signal goes away, and the run goes on
        engine = await daemon.restart()
        house.gate().set()
        ended = await engine.signal(run_id, "retry")
    assert ended["status"] == "completed"
    first, second = house.keys["f"][:2], house.keys["f"][2:]
    assert len(set(first)) == len(set(second)) == 1
    assert set(first) != set(second)
    assert {key.rpartition(":")[0] for key in (*first, *second)} == {f"{run_id}:f"}
    assert len(house.keys["g"]) == 2
    assert len(set(house.keys["g"])) == 1


@pytest.mark.spec("10.18")
async def test_keys_differ_between_steps_iterations_and_runs(house):
    steps = [do("a"), {"id": "l", "type": "loop", "config": {"over": [1, 2], "body": [do("a")]}}]
    async with house.engine() as engine:
        for _ in range(2):
            await house.run(engine, steps)
    keys = [key for found in house.keys.values() for key in found]
    assert len(keys) == len(set(keys)) == 6
