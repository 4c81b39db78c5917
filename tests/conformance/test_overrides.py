"""What an operator can do about a failed run: repeat the step or pass over it."""

from __future__ import annotations

from typing import Any

import pytest

from opcode_kernel import ConflictError, NotFoundError

pytestmark = pytest.mark.anyio


def failing(step_id: str = "f", **keys: Any) -> dict[str, Any]:
    return {"id": step_id, "action": "t.fail", "params": {"times": 1, "value": "mended"}, **keys}


def do(step_id: str, **keys: Any) -> dict[str, Any]:
    return {"id": step_id, "action": "t.do", **keys}


AROUND = [do("a"), failing(depends_on=["a"]), do("z", params={"value": "${{steps.f.output}}"}, depends_on=["f"])]
NESTED = [
    {"id": "l", "type": "loop", "config": {"over": [1, 2], "body": [do("a"), failing(), do("b")]}},
    do("z", depends_on=["l"]),
]


@pytest.mark.spec("11.19")
@pytest.mark.parametrize("restart", [False, True])
@pytest.mark.parametrize(("signal", "output"), [("retry", "mended"), ("skip", None), ("skip", {"by": "hand"})])
async def test_a_failed_run_is_completed_by_its_operator(house, signal, output, restart):
    payload = {} if signal == "retry" or output is None else {"output": output}
    async with house.daemon() as daemon:
        run_id = (await house.run(daemon.engine, AROUND))["workflow_id"]
        before = await daemon.engine.status(run_id)
        engine = await daemon.restart(restart)
        answer = await engine.signal(run_id, signal, step_id="f", payload=payload, agent_id="op", reasoning="seen to")
        after = await engine.status(run_id)
        log = await house.events(engine, run_id)
    assert (before["status"], before["steps"]["f"]["status"], before["steps"]["z"]["status"]) == (
        "failed",
        "failed",
        "pending",
    )
    assert (before["error"]["code"], before["error"]["step_id"]) == ("STEP_FAILED", "f")
    assert "completed_at" in before
    assert {key: answer[key] for key in ("ok", "workflow_id", "signal_type", "resumed", "status")} == {
        "ok": True, "workflow_id": run_id, "signal_type": signal, "resumed": True, "status": "completed",
    }  # fmt: skip
    assert "error" not in after
    assert after["completed_at"] > before["completed_at"]
    assert after["started_at"] == before["started_at"]
    step = after["steps"]["f"]
    assert (step["status"], step.get("output")) == ("completed" if signal == "retry" else "skipped", output)
    assert "error" not in step or signal == "skip"
    assert after["steps"]["z"]["status"] == "completed"
    assert house.effects() == ["a", "z"]
    types = [event["event_type"] for event in log]
    start = types.index("workflow_failed")
    assert types[start + 1 : start + 4] == [
        "signal_received", "workflow_resumed", "step_started" if signal == "retry" else "step_skipped",
    ]  # fmt: skip
    assert types[-1] == "workflow_completed"
    assert types.count("workflow_started") == 1
    received, resumed, moved = log[start + 1 : start + 4]
    assert (received["agent_id"], received["payload"]["type"], received["payload"]["reasoning"]) == (
        "op",
        signal,
        "seen to",
    )
    assert (resumed["payload"]["reason"], resumed["payload"]["step_id"], moved["step_id"]) == (signal, "f", "f")
    if signal == "retry":
        assert (moved["payload"]["attempt"], step["retry_count"], step["attempt"]) == (2, 0, 2)
    else:
        assert moved["payload"]["reason"] == "signal_skip"


@pytest.mark.spec("11.19")
async def test_a_retry_that_fails_again_fails_the_run_again_with_the_new_error(house):
    steps = [{"id": "f", "action": "t.fail", "params": {"times": 4, "message": "no luck"}, "retry": {"max": 1}}]
    async with house.engine() as engine:
        run_id = (await house.run(engine, steps))["workflow_id"]
        answer = await engine.signal(run_id, "retry", step_id="f")
        again = await engine.status(run_id)
        ended = await engine.signal(run_id, "retry", step_id="f")
        starts = await house.events(engine, run_id, "step_started")
        resumed = await house.events(engine, run_id, "workflow_resumed", "workflow_failed")
    assert (answer["status"], again["status"], again["error"]["code"]) == ("failed", "failed", "RETRY_EXHAUSTED")
    assert again["steps"]["f"]["retry_count"] == 1
    assert ended["status"] == "completed"
    assert [event["payload"]["attempt"] for event in starts] == [1, 2, 3, 4, 5]
    assert [event["event_type"] for event in resumed] == ["workflow_failed", "workflow_resumed"] * 2


@pytest.mark.spec("11.19")
@pytest.mark.parametrize("signal", ["retry", "skip"])
@pytest.mark.parametrize("step_id", ["l.iter_0.f", "iter_0.f", "f"])
async def test_a_nested_step_is_named_by_its_id_or_its_unique_end_and_its_container_goes_on(house, signal, step_id):
    async with house.engine() as engine:
        run_id = (await house.run(engine, NESTED))["workflow_id"]
        await engine.signal(run_id, signal, step_id=step_id)
        await engine.signal(run_id, signal, step_id="l.iter_1.f")
        status = await engine.status(run_id)
    assert status["status"] == "completed"
    assert house.effects() == ["l.iter_0.a", "l.iter_0.b", "l.iter_1.a", "l.iter_1.b", "z"]
    assert status["steps"]["l"]["output"]["iterations"] == 2
    assert {status["steps"][f"l.iter_{n}.f"]["status"] for n in (0, 1)} == {
        "completed" if signal == "retry" else "skipped"
    }  # fmt: skip


@pytest.mark.spec("11.19")
async def test_all_failures_have_to_be_seen_to_before_the_run_completes(house):
    steps = [failing("f"), failing("g"), do("z", depends_on=["f", "g"])]
    async with house.engine() as engine:
        run_id = (await house.run(engine, steps))["workflow_id"]
        first = await engine.signal(run_id, "retry", step_id="f")
        second = await engine.signal(run_id, "skip", step_id="g")
    assert first["status"] == "failed"
    assert (first["error"]["step_id"], second["status"]) == ("g", "completed")
    assert house.effects() == ["z"]


@pytest.mark.spec("11.19")
@pytest.mark.parametrize("signal", ["retry", "skip"])
async def test_what_is_neither_failed_nor_suspended_is_refused_and_leaves_no_event(house, signal):
    gate = {"id": "g", "action": "t.gate"}
    async with house.engine() as engine:
        run_id = (await house.run(engine, AROUND))["workflow_id"]
        done = (await house.run(engine, [do("only")], name="done"))["workflow_id"]
        active = (await house.run(engine, [gate], name="active", wait=False))["workflow_id"]
        counts = {run: len(await house.events(engine, run)) for run in (run_id, done, active)}
        for run, step, error in [
            (run_id, "a", ConflictError), (run_id, "z", ConflictError), (run_id, "nobody", NotFoundError),
            (done, "only", ConflictError), (active, "g", ConflictError), ("no-such-run", "a", NotFoundError),
        ]:  # fmt: skip
            with pytest.raises(error):
                await engine.signal(run, signal, step_id=step)
        assert {run: len(await house.events(engine, run)) for run in counts} == counts
        house.gate().set()
        await engine.signal(active, "cancel")
