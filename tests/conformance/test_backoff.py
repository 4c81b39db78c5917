"""How long a step waits before it is tried again, on virtual time: by formula, capped, and without holding anything up."""

from __future__ import annotations

from itertools import pairwise

import anyio
import pytest

from opcode_kernel import MemoryStore

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend(virtual_time):
    return virtual_time


def failing(times, **retry):
    return {"id": "a", "action": "t.fail", "params": {"times": times}, "retry": {"max": times, **retry}}


async def delays(house, daemon, step, path="a"):
    """Run the step and return the delays between its attempts as measured and as announced, in milliseconds."""
    steps = step if isinstance(step, list) else [step]
    result = await house.run(daemon.engine, steps)
    run_id = result["workflow_id"]
    assert result["status"] == "completed"
    starts = [house.at(event) for event in await house.events(daemon.engine, run_id, "step_started", step=path)]
    told = [event["payload"]["delay_ms"] for event in await house.events(daemon.engine, run_id, "step_retry_attempt")]
    return [round((late - early) * 1000) for early, late in pairwise(starts)], told


FORMULAS = {
    "exponential": ({"backoff": "exponential", "delay": "10ms"}, [10, 20, 40]),
    "linear": ({"backoff": "linear", "delay": "10ms"}, [10, 20, 30]),
    "constant": ({"backoff": "constant", "delay": "10ms"}, [10, 10, 10]),
    "none, whatever the delay": ({"backoff": "none", "delay": "10ms"}, [0, 0, 0]),
    "constant where only a delay is given": ({"delay": "10ms"}, [10, 10, 10]),
    "none where nothing is given": ({}, [0, 0, 0]),
    "capped exponential": ({"backoff": "exponential", "delay": "10ms", "max_delay": "25ms"}, [10, 20, 25]),
    "capped linear": ({"backoff": "linear", "delay": "10ms", "max_delay": "15ms"}, [10, 15, 15]),
    "capped constant": ({"backoff": "constant", "delay": "10ms", "max_delay": "4ms"}, [4, 4, 4]),
    "never more than an hour": ({"backoff": "exponential", "delay": "59m"}, [3_540_000, 3_600_000, 3_600_000]),
    "nor by a long base": ({"delay": "100h", "max_delay": "200h"}, [3_600_000] * 3),
}


@pytest.mark.spec("11.10")
@pytest.mark.parametrize("formula", FORMULAS)
async def test_the_delays_follow_the_formula(house, timeless, put, formula):
    retry, expected = FORMULAS[formula]
    steps, at = put(failing(3, **retry))
    async with timeless as daemon:
        assert await delays(house, daemon, steps, f"{at}a") == (expected, expected)


@pytest.mark.spec("11.10")
async def test_no_number_of_retries_overflows(house, timeless):
    async with timeless as daemon:
        measured, _ = await delays(house, daemon, failing(80, backoff="exponential", delay="1ms"))
    assert measured[-1] == 3_600_000
    assert measured == sorted(measured)


@pytest.mark.spec("11.10")
async def test_jitter_takes_away_at_most_half_of_each_delay(house, timeless):
    async with timeless as daemon:
        measured, told = await delays(house, daemon, failing(40, backoff="constant", delay="1s", jitter=True))
    assert all(500 <= delay <= 1000 for delay in measured)
    assert len(set(told)) > 10


@pytest.mark.spec("11.10")
async def test_a_container_is_retried_as_a_whole_with_the_same_delays(house, timeless):
    body = [{"id": "x", "action": "t.do"}, {"id": "a", "action": "t.fail", "params": {"times": 3}}]
    loop = {"id": "each", "type": "loop", "config": {"over": "[1]", "body": body},
            "retry": {"max": 3, "backoff": "linear", "delay": "10ms"}}  # fmt: skip
    async with timeless as daemon:
        assert await delays(house, daemon, loop, "each") == ([10, 20, 30], [10, 20, 30])
    assert house.effects() == ["each.iter_0.x"] * 4


@pytest.mark.spec("11.10")
async def test_a_back_off_holds_no_place_and_ends_early_when_the_run_is_cancelled(house, timeless):
    steps = [failing(3, delay="1h"), {"id": "b", "action": "t.do"}, {"id": "c", "action": "t.do", "depends_on": ["b"]}]
    async with timeless as daemon:
        run_id = (await house.run(daemon.engine, steps, wait=False))["workflow_id"]
        await anyio.sleep(1)
        assert house.effects() == ["b", "c"]
        assert (await daemon.engine.status(run_id))["steps"]["a"]["status"] == "retrying"
        answer = await daemon.engine.signal(run_id, "cancel")
        await anyio.sleep(10 * 3600)
    assert (answer["status"], house.failures["a"]) == ("cancelled", 1)


@pytest.mark.spec("11.10")
@pytest.mark.parametrize(("away", "rest"), [(600, 2999), (7200, 0)])
async def test_a_back_off_goes_on_over_a_restart_and_fires_at_once_when_it_is_overdue(house, clock, away, rest):
    async with house.daemon(store=MemoryStore(), clock=clock, recovery="auto") as daemon:
        run_id = (await house.run(daemon.engine, [failing(1, delay="1h")], wait=False))["workflow_id"]
        await anyio.sleep(1)
        engine = await daemon.restart(pause=away)
        if rest:
            await anyio.sleep(rest - 1)
            assert house.failures["a"] == 1
        await anyio.sleep(2)
        assert (await engine.status(run_id))["status"] == "completed"
    assert house.failures["a"] == 2
