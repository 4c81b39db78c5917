"""Time-outs and cancels leave nothing half recorded: what is stored, and what can still be done about it."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import anyio
import pytest

from opcode_kernel import ConflictError
from opcode_kernel.runtime.engine import wall_clock

pytestmark = pytest.mark.anyio

GATE = {"id": "g", "action": "t.gate"}
ASK = {"id": "q", "type": "reasoning", "config": {"prompt_context": "?"}}


def do(step_id: str, **keys: Any) -> dict[str, Any]:
    return {"id": step_id, "action": "t.do", **keys}


async def stored(house: Any, run_id: str) -> tuple[str, dict[str, str], list[str]]:
    """Return what a new process finds: the statuses of the run and its steps, and the event types."""
    async with house.engine() as engine:
        row = await engine.store.run(run_id)
        steps = {step.step_id: step.status for step in await engine.store.steps(run_id)}
        return row.status, steps, await house.types(engine, run_id)


async def ended_one(engine: Any, run_id: str) -> dict[str, Any]:
    """Return the run once it has ended; one that only waits is suspended meanwhile."""
    with anyio.fail_after(5):
        while (status := await engine.status(run_id))["status"] in ("active", "suspended"):  # noqa: ASYNC110 - a timer moves it
            await anyio.sleep(0.005)
    return dict(status)


SLOW: dict[str, dict[str, Any]] = {
    "an action": GATE, "a repeatable action": {"id": "g", "action": "t.safe"}, "a wait": {"id": "g", "type": "wait", "config": {"duration": "30s"}}, "a long wait": {"id": "g", "type": "wait", "config": {"duration": "1h"}},
    "a wait for a signal": {"id": "g", "type": "wait", "config": {"signal": "go"}},
    "a container": {"id": "g", "type": "parallel", "config": {"branches": [[{"id": "n", "action": "t.gate"}]]}},
    "a script": {"id": "g", "action": "shell.exec", "params": {"command": "sleep 60", "shell": True}},
}  # fmt: skip


@pytest.mark.spec("10.13")
@pytest.mark.parametrize("strategy", ["none", "ignore", "fallback_step", "fail_workflow"])
@pytest.mark.parametrize("slow", SLOW)
async def test_the_end_of_a_step_that_timed_out_is_written_down_whatever_follows_from_it(house, slow, strategy):
    handler = {"strategy": strategy, **({"fallback_step": "f"} if strategy == "fallback_step" else {})}
    step = {**SLOW[slow], "timeout": "20ms", **({} if strategy == "none" else {"on_error": handler})}
    steps = [step, do("z", depends_on=["g"]), *([do("f")] if strategy == "fallback_step" else [])]
    async with house.engine() as engine:
        run_id = (await house.run(engine, steps))["workflow_id"]
        result = await ended_one(engine, run_id)
        events = await house.events(engine, run_id, step="g")
    status, rows, types = await stored(house, run_id)
    ended = "completed" if strategy in ("ignore", "fallback_step") else "failed"
    assert (result["status"], status, types[-1]) == (ended, ended, f"workflow_{ended}")
    assert rows["g"] == ("skipped" if strategy == "ignore" else "failed")
    assert rows["z"] == ("completed" if ended == "completed" else "pending")
    assert result["steps"]["g"]["error"]["code"] == "TIMEOUT_ERROR"
    assert events[-1]["event_type"] == ("step_skipped" if strategy == "ignore" else "step_failed")
    assert not {"running", "retrying", "scheduled"} & set(rows.values())
    if strategy == "none":
        assert result["error"]["code"] == "TIMEOUT_ERROR"


@pytest.mark.spec("10.13", "10.29")
@pytest.mark.parametrize("delay", ["0s", "10ms"])
async def test_each_retry_of_a_step_that_timed_out_has_its_whole_time_and_is_written_down(house, delay):
    step = {**GATE, "timeout": "40ms", "retry": {"max": 2, "delay": delay}}
    async with house.engine() as engine:
        result = await house.run(engine, [step])
        log = await house.events(engine, result["workflow_id"], "step_started", "step_retry_attempt", "step_failed")
    status, rows, _ = await stored(house, result["workflow_id"])
    assert (status, rows, result["error"]["code"]) == ("failed", {"g": "failed"}, "RETRY_EXHAUSTED")
    assert [event["event_type"] for event in log] == ["step_started", "step_retry_attempt"] * 2 + [
        "step_started",
        "step_failed",
    ]
    assert {event["payload"].get("code", "TIMEOUT_ERROR") for event in log} == {"TIMEOUT_ERROR"}
    times = [seconds(event["timestamp"]) for event in log]
    assert all(end - start >= 0.039 for start, end in zip(times[::2], times[1::2], strict=True))
    assert house.effects() == ["g", "g", "g"]


def seconds(timestamp: str) -> float:
    return datetime.fromisoformat(timestamp).timestamp()


async def retrying(engine: Any, run_id: str) -> None:
    with anyio.fail_after(5):
        while (await engine.status(run_id))["steps"]["r"]["status"] != "retrying":  # noqa: ASYNC110 - nothing tells of it
            await anyio.sleep(0.002)


ALL_STATES = [
    GATE, ASK, {"id": "r", "action": "t.fail", "retry": {"max": 1, "delay": "1h"}}, do("done"), do("later", depends_on=["g"]),
    {"id": "w", "type": "wait", "config": {"signal": "go"}}, {"id": "s", "type": "wait", "config": {"duration": "1h"}},
    {"id": "p", "type": "parallel", "config": {"branches": [[{**ASK, "id": "n"}], [{**GATE, "id": "m"}]]}},
]  # fmt: skip
CUT = {"g", "q", "r", "later", "w", "s", "p", "p.branch_0.n", "p.branch_1.m"}


@pytest.mark.spec("10.14", "11.12")
async def test_a_running_workflow_that_is_cancelled_ends_as_cancelled_with_every_step_and_decision(house, until):
    async with house.engine() as engine:
        run_id = (await house.run(engine, ALL_STATES, wait=False))["workflow_id"]
        await retrying(engine, run_id)
        await until(lambda: {"g", "p.branch_1.m"} <= set(house.effects()))
        answer = await engine.signal(run_id, "cancel", payload={"reason": "enough"})
        again = await engine.signal(run_id, "cancel")
        house.gate().set()
        await until(lambda: run_id not in engine.live)
        decisions = await engine.store.decisions(run_id=run_id)
        cancelled = await engine.status(run_id)
    status, rows, types = await stored(house, run_id)
    assert (answer["status"], again["status"], status) == ("cancelled", "cancelled", "cancelled")
    assert {key: cancelled["error"][key] for key in ("code", "message")} == {"code": "CANCELLED", "message": "enough"}
    assert "workflow_failed" not in types
    assert "completed_at" in cancelled
    assert rows == {"done": "completed", **dict.fromkeys(CUT, "skipped")}
    assert {decision.status for decision in decisions} == {"cancelled"}
    assert set(types[types.index("workflow_cancelled") + 1 :]) == {"step_skipped"}
    assert sorted(house.cancelled) == ["g", "p.branch_1.m"]
    assert "later" not in house.effects()


@pytest.mark.spec("10.14")
async def test_on_timeout_cancel_is_stored_as_cancelled(house):
    definition = {"steps": ALL_STATES, "timeout": "60ms", "on_timeout": "cancel"}
    async with house.engine() as engine:
        result = await house.run(engine, definition)
        decisions = await engine.store.decisions(run_id=result["workflow_id"])
    status, rows, types = await stored(house, result["workflow_id"])
    assert (result["status"], result["error"]["code"], status) == ("cancelled", "CANCELLED", "cancelled")
    assert result["error"].get("reason", (result["error"].get("details") or {}).get("reason")) == "timeout"
    assert [kind for kind in types if kind.startswith("workflow_")] == [
        "workflow_started", "workflow_timed_out", "workflow_cancelled",
    ]  # fmt: skip
    assert set(rows.values()) == {"completed", "skipped"}
    assert {decision.status for decision in decisions} == {"cancelled"}


@pytest.mark.spec("10.14")
@pytest.mark.parametrize("end", ["failure", "time-out", "fail_workflow", "workflow.fail"])
async def test_no_decision_stays_open_when_a_run_fails(house, end):
    nested = {"id": "l", "type": "loop", "config": {"over": [1], "body": [{**ASK, "id": "n"}]}}
    failing = {
        "failure": {"id": "f", "action": "t.fail"}, "time-out": GATE, "workflow.fail": {
            "id": "f", "action": "workflow.fail", "params": {"reason": "no"}},
        "fail_workflow": {"id": "f", "action": "t.fail", "on_error": {"strategy": "fail_workflow"}},
    }[end]  # fmt: skip
    pause = {"id": "s", "type": "wait", "config": {"duration": "5ms"}}
    definition: dict[str, Any] = {"steps": [ASK, nested, pause, {**failing, "depends_on": ["s"]}]}
    if end == "time-out":
        definition["timeout"] = "60ms"
    async with house.engine() as engine:
        result = await house.run(engine, definition)
        decisions = await engine.store.decisions(run_id=result["workflow_id"])
        with pytest.raises(ConflictError):
            await engine.signal(result["workflow_id"], "decision", step_id="q", payload={"choice": "x"}, agent_id="me")
    status, rows, types = await stored(house, result["workflow_id"])
    assert status == "failed"
    assert [decision.status for decision in decisions] == ["cancelled", "cancelled"]
    assert {rows[step] for step in ("q", "l", "l.iter_0.n")} == {"skipped"}
    assert types[-1] == "workflow_failed"


@pytest.mark.spec("10.15")
@pytest.mark.parametrize("restart", [False, True])
async def test_a_run_suspended_by_its_time_out_resumes_with_a_fresh_full_budget(house, until, restart):
    ahead = [0]
    definition = {"steps": [GATE, do("z", depends_on=["g"])], "timeout": "100ms", "on_timeout": "suspend"}
    async with house.daemon(clock=lambda: wall_clock() + ahead[0]) as daemon:
        first = await house.run(daemon.engine, definition)
        run_id = first["workflow_id"]
        assert (first["status"], first["steps"]["g"]["status"], first["waiting"][0]["reason"]) == (
            "suspended", "suspended", "interrupted",
        )  # fmt: skip
        ahead[0] = 7_200_000_000  # two hours that nobody is charged for
        engine = await daemon.restart(restart)
        again = await engine.signal(run_id, "retry")
        assert again["status"] == "suspended", "the gate is still closed, so the fresh budget ran out too"
        log = await house.events(engine, run_id, "workflow_started", "workflow_resumed", "workflow_timed_out")
        ahead[0] *= 2
        house.gate().set()
        engine = await daemon.restart(restart)
        ended = await engine.signal(run_id, "retry")
        assert ended["status"] == "completed"
        assert run_id not in engine.live
    assert [event["event_type"] for event in log] == [
        "workflow_started", "workflow_timed_out", "workflow_resumed", "workflow_timed_out",
    ]  # fmt: skip
    start, out, resumed, again_out = (seconds(event["timestamp"]) for event in log)
    assert 0.099 <= out - start < 5
    assert resumed - out >= 7_200
    assert 0.099 <= again_out - resumed < 5
    assert (await stored(house, run_id))[:2] == ("completed", {"g": "completed", "z": "completed"})
    assert house.effects() == ["g", "g", "g", "z"]
