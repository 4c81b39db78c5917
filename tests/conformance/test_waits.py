"""Waits are stored: they hold nobody up, and a restart neither forgets one nor begins it anew."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import anyio
import pytest

from opcode_kernel.runtime.engine import wall_clock

pytestmark = pytest.mark.anyio

HOUR = 3_600_000_000


def wait(step_id: str = "w", **config: Any) -> dict[str, Any]:
    return {"id": step_id, "type": "wait", "config": config}


def echo(step_id: str, value: Any, **keys: Any) -> dict[str, Any]:
    return {"id": step_id, "action": "t.echo", "params": {"value": value}, **keys}


async def ended(engine: Any, run_id: str) -> dict[str, Any]:
    with anyio.fail_after(5):
        while (status := await engine.status(run_id))["status"] in ("active", "suspended"):  # noqa: ASYNC110 - a timer moves it
            await anyio.sleep(0.005)
    return dict(status)


@pytest.mark.spec("10.19")
@pytest.mark.parametrize("restarts", [0, 1, 3])
async def test_a_wait_of_hours_suspends_answers_at_once_and_ends_when_it_would_have_ended_anyway(house, restarts):
    ahead = [0]
    steps = [wait(duration="4h"), echo("z", "${{steps.w.output.waited}}")]
    async with house.daemon(clock=lambda: wall_clock() + ahead[0], pool_size=1) as daemon:
        with anyio.fail_after(5):
            result = await house.run(daemon.engine, steps)
            other = await house.run(
                daemon.engine, [{"id": "a", "action": "t.sleep", "params": {"seconds": 0}}], name="other"
            )
        run_id = result["workflow_id"]
        (entry,) = result["waiting"]
        assert (result["status"], other["status"]) == ("suspended", "completed")
        assert (entry["step_id"], entry["reason"]) == ("w", "timer")
        started = datetime.fromisoformat(result["started_at"])
        assert abs((datetime.fromisoformat(entry["until"]) - started).total_seconds() - 14_400) < 5
        for n in range(restarts):
            ahead[0] = n * HOUR
            engine = await daemon.restart()
            status = await engine.status(run_id)
            assert (status["status"], status["waiting"]) == ("suspended", [entry])
        ahead[0] = 4 * HOUR + 5_000_000
        engine = await daemon.restart()
        status = await ended(engine, run_id)
        log = await house.events(engine, run_id, "step_started", "wait_started", "wait_completed", "workflow_resumed")
    assert status["status"] == "completed"
    assert 14_400_000 <= status["output"] <= 14_400_000 + 60_000
    assert [(event["event_type"], event.get("step_id")) for event in log] == [
        ("step_started", "w"), ("wait_started", "w"), ("workflow_resumed", None), ("wait_completed", "w"), ("step_started", "z"),
    ]  # fmt: skip
    assert log[1]["payload"]["wake_at"] == entry["until"]
    assert log[2]["payload"]["reason"] == "timeout"


@pytest.mark.spec("10.19")
async def test_a_short_wait_goes_on_over_a_restart_from_where_it_was(house):
    ahead = [0]
    async with house.daemon(clock=lambda: wall_clock() + ahead[0]) as daemon:
        run_id = (await house.run(daemon.engine, [wait(duration="50s"), echo("z", 1, depends_on=["w"])], wait=False))[
            "workflow_id"
        ]
        assert (await daemon.engine.status(run_id))["status"] == "active"
        ahead[0] = 40_000_000
        engine = await daemon.restart()
        assert (await engine.status(run_id))["steps"]["w"]["status"] in ("running", "suspended")
        ahead[0] = 51_000_000
        engine = await daemon.restart()
        status = await ended(engine, run_id)
        starts = await house.events(engine, run_id, "step_started", step="w")
    assert (status["status"], len(starts)) == ("completed", 1)
    assert 50_000 <= status["steps"]["w"]["output"]["waited"] < 56_000


@pytest.mark.spec("10.19")
@pytest.mark.parametrize("first", ["signal", "timer"])
@pytest.mark.parametrize("restart", [False, True])
async def test_of_signal_and_timer_whichever_is_first_ends_the_wait_also_after_a_restart(house, first, restart):
    ahead = [0]
    async with house.daemon(clock=lambda: wall_clock() + ahead[0]) as daemon:
        run_id = (await house.run(daemon.engine, [wait(duration="2h", signal="go")]))["workflow_id"]
        engine = await daemon.restart(restart)
        if first == "signal":
            await engine.signal(run_id, "data", payload={"signal": "go", "n": 1})
        else:
            ahead[0] = 2 * HOUR + 1_000_000
            engine = await daemon.restart()
        status = await ended(engine, run_id)
        late = await house.types(engine, run_id)
    output = status["steps"]["w"]["output"]
    if first == "signal":
        assert output == {"signal": "go", "payload": {"signal": "go", "n": 1}}
    else:
        assert (output["signal"], output["timed_out"]) == ("go", True)
        assert output["waited"] >= 7_200_000
    assert late.count("wait_completed") == 1


@pytest.mark.spec("10.19")
@pytest.mark.parametrize("restart", [False, True])
async def test_any_number_of_signals_is_kept_until_somebody_waits_for_them(house, restart):
    count = 40
    gate = {"id": "q", "type": "reasoning", "config": {"prompt_context": "?"}}
    steps = [gate, *[{**wait(f"w{n}", signal=f"s{n}"), "depends_on": ["q"]} for n in range(count)]]
    async with house.daemon() as daemon:
        run_id = (await house.run(daemon.engine, steps))["workflow_id"]
        for n in range(count):
            await daemon.engine.signal(run_id, "data", payload={"signal": f"s{n}", "n": n})
        engine = await daemon.restart(restart)
        answer = await engine.signal(run_id, "decision", payload={"choice": "on"}, agent_id="me")
    assert answer["status"] == "completed"
    assert [answer["steps"][f"w{n}"]["output"]["payload"]["n"] for n in range(count)] == list(range(count))
