"""Deadlines and back-off on virtual time: hours pass in a moment, so every number is exact."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import anyio
import pytest

from opcode_kernel import MemoryStore, OpcodeError

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend(virtual_time):
    return virtual_time


@pytest.fixture
def opened(house, clock):
    """Return a function that opens an engine on virtual time."""
    return lambda **options: house.engine(store=MemoryStore(), clock=clock, **options)


def do(step_id: str, name: str = "t.echo", **keys: Any) -> dict[str, Any]:
    return {"id": step_id, "action": name, **keys}


def ask(**config: Any) -> dict[str, Any]:
    return {"id": "ask", "type": "reasoning", "config": {"prompt_context": "?", **config}}


@pytest.mark.spec("10.28")
async def test_a_decision_that_nobody_takes_resolves_itself_when_its_time_is_over(house, opened):
    async with opened() as engine:
        late = do("late", depends_on=["ask"], params={"value": "${{steps.ask.output}}"})
        options = [{"id": "go"}, {"id": "wait"}]
        run_id = (await house.run(engine, [ask(timeout="2h", fallback="wait", options=options), late]))["workflow_id"]
        await anyio.sleep(7201)
        shown = await engine.status(run_id)
        asked, resolved = await house.events(engine, run_id, "decision_requested", "decision_resolved")
        assert house.at(resolved) - house.at(asked) == pytest.approx(7200, abs=0.1)
        assert shown["output"] == {
            "choice": "wait", "reasoning": "timeout_auto_resolved", "data": {}, "resolved_by": "system",
            "timed_out": True,
        }  # fmt: skip
        assert shown["context"]["decisions_log"][0]["choice"] == "wait"


@pytest.mark.spec("10.28", "10.34")
@pytest.mark.parametrize("fallback", ["go", None])
async def test_an_expired_decision_is_stored_as_timed_out(house, opened, fallback):
    config = {"timeout": "2h", **({"fallback": fallback} if fallback else {})}
    async with opened() as engine:
        run_id = (await house.run(engine, [ask(**config)]))["workflow_id"]
        await anyio.sleep(7201)
        (row,) = await engine.store.decisions(run_id=run_id)
        assert (row.status, row.resolved_by) == ("timed_out", "system")
        assert row.resolution["reasoning"] == ("timeout_auto_resolved" if fallback else "timeout_no_fallback")
        assert row.resolution.get("choice") == fallback


@pytest.mark.spec("10.28")
async def test_without_a_fallback_the_step_fails_with_a_timeout_that_its_on_error_may_handle(house, opened):
    async with opened() as engine:
        run_id = (await house.run(engine, [ask(timeout="1h")]))["workflow_id"]
        await anyio.sleep(3601)
        shown = await engine.status(run_id)
        assert shown["error"]["code"] == shown["steps"]["ask"]["error"]["code"] == "TIMEOUT_ERROR"
        handled = {**ask(timeout="1h"), "on_error": {"strategy": "ignore"}}
        run_id = (await house.run(engine, [handled]))["workflow_id"]
        await anyio.sleep(3601)
        shown = await engine.status(run_id)
        assert (shown["status"], shown["steps"]["ask"]["ignored"]) == ("completed", True)


@pytest.mark.spec("10.28")
async def test_a_decision_that_comes_at_or_after_the_deadline_is_a_conflict(house, opened):
    async with opened() as engine:
        run_id = (await house.run(engine, [ask(timeout="1h", fallback="no")]))["workflow_id"]
        await anyio.sleep(3600)
        with pytest.raises(OpcodeError) as caught:
            await engine.signal(run_id, "decision", step_id="ask", payload={"choice": "yes"})
        assert caught.value.code == "CONFLICT"
        shown = await engine.status(run_id)
        assert shown["output"]["choice"] == "no"
        assert (await house.types(engine, run_id)).count("decision_resolved") == 1


@pytest.mark.spec("10.29")
async def test_each_attempt_has_the_whole_time_out_of_the_step(house, opened):
    nap = do("nap", "t.sleep", params={"seconds": 100}, timeout="10s", retry={"max": 2, "delay": "5s"})
    async with opened() as engine:
        result = await house.run(engine, [nap])
        started = [house.at(event) for event in await house.events(engine, result["workflow_id"], "step_started")]
    assert [late - early for early, late in pairwise(started)] == pytest.approx([15, 15], abs=0.1)
    assert result["error"]["code"] == "RETRY_EXHAUSTED"
    assert result["error"]["details"]["cause"]["code"] == "TIMEOUT_ERROR"
    assert result["steps"]["nap"]["duration_ms"] == pytest.approx(40_000, abs=100)
    assert house.cancelled == ["nap"] * 3


@pytest.mark.spec("10.29")
async def test_a_step_that_is_too_slow_and_not_retried_fails_as_a_timeout(house, opened):
    async with opened() as engine:
        result = await house.run(engine, [do("nap", "t.sleep", params={"seconds": 100}, timeout="10s")])
    assert result["error"]["code"] == result["steps"]["nap"]["error"]["code"] == "TIMEOUT_ERROR"
    assert result["steps"]["nap"]["duration_ms"] == 10_000


@pytest.mark.spec("10.29")
@pytest.mark.parametrize(
    ("retry", "delays"),
    [
        ({"backoff": "none", "delay": "10s"}, [0, 0, 0]), ({}, [0, 0, 0]), ({"delay": "10s"}, [10, 10, 10]),
        ({"backoff": "constant", "delay": "10s"}, [10, 10, 10]), ({"backoff": "linear", "delay": "10s"}, [10, 20, 30]),
        ({"backoff": "exponential", "delay": "10s"}, [10, 20, 40]),
        ({"backoff": "exponential", "delay": "10s", "max_delay": "15s"}, [10, 15, 15]),
        ({"backoff": "exponential", "delay": "50m"}, [3000, 3600, 3600]), ({"delay": "5h"}, [3600, 3600, 3600]),
        ({"backoff": "linear", "delay": "10s", "max_delay": "0s"}, [0, 0, 0]),
    ],
)  # fmt: skip
async def test_the_delay_before_each_retry_follows_the_back_off(house, opened, retry, delays):
    async with opened() as engine:
        result = await house.run(engine, [do("a", "t.fail", retry={"max": 3, **retry})])
        events = await house.events(engine, result["workflow_id"], "step_started")
        told = await house.events(engine, result["workflow_id"], "step_retry_attempt")
    started = [house.at(event) for event in events]
    assert [late - early for early, late in pairwise(started)] == pytest.approx(delays, abs=0.1)
    assert [event["payload"]["delay_ms"] for event in told] == [delay * 1000 for delay in delays]


@pytest.mark.spec("10.29")
async def test_jitter_shortens_a_delay_to_no_less_than_half(house, opened):
    steps = [do(f"a{n}", "t.fail", retry={"max": 1, "delay": "10s", "jitter": True}, on_error={"strategy": "ignore"})
             for n in range(8)]  # fmt: skip
    async with opened() as engine:
        result = await house.run(engine, steps)
        told = await house.events(engine, result["workflow_id"], "step_retry_attempt")
    delays = {event["payload"]["delay_ms"] for event in told}
    assert all(5_000 <= delay <= 10_000 for delay in delays)
    assert len(delays) > 1


@pytest.mark.spec("10.23")
async def test_a_hook_without_a_time_out_may_take_a_minute(house, opened):
    hook = do("finally", "t.sleep", params={"seconds": 90})
    async with opened() as engine:
        result = await house.run(engine, {"steps": [do("a")], "on_complete": hook})
    assert (result["status"], result["steps"]["finally"]["error"]["code"]) == ("completed", "TIMEOUT_ERROR")
    assert result["steps"]["finally"]["duration_ms"] == 60_000


@pytest.mark.spec("10.60")
async def test_thousands_of_retries_go_round_a_loop_and_not_down_the_stack(house, opened):
    broken = do("a", "t.fail", params={"times": 5000, "value": "at last"}, retry={"max": 5000, "delay": "1m"})
    async with opened() as engine:
        result = await house.run(engine, [broken])
        assert (result["status"], result["output"]) == ("completed", "at last")
        assert (await engine.status(result["workflow_id"]))["steps"]["a"]["retry_count"] == 5000
        again = await engine.load(result["workflow_id"])
    assert again.state.status == "completed"


@pytest.mark.spec("10.60")
@pytest.mark.parametrize("container", [None, "loop", "parallel"])
async def test_retries_without_a_delay_go_round_a_loop_as_well(house, opened, container):
    broken = do("a", "t.fail", params={"times": 3000})
    config = {"loop": {"over": [1], "body": [broken]}, "parallel": {"branches": [[broken]]}}
    step = {"id": "c", "type": container, "config": config[container]} if container else broken
    async with opened() as engine:
        result = await house.run(engine, [{**step, "retry": {"max": 3000}}])
    assert result["status"] == "completed"
    assert house.failures.total() == 3001
