"""One heap of timers: order, moving, cancelling, and what is overdue."""

from __future__ import annotations

from itertools import pairwise

import anyio
import anyio.lowlevel
import pytest

from opcode_kernel.core.times import SECOND
from opcode_kernel.runtime.timers import Timers

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend(virtual_time):
    return virtual_time


@pytest.fixture
def fired():
    return []


async def serving(timers, seconds):
    with anyio.move_on_after(seconds):
        await timers.serve()


async def test_timers_fire_in_the_order_of_their_times(clock, fired):
    timers = Timers(clock, lambda run, task: fired.append((task, round(anyio.current_time() - started))))
    started, now = anyio.current_time(), clock()
    for task, seconds in (("c", 30), ("a", 10), ("b", 20)):
        timers.arm("r", task, now + seconds * SECOND)
    await serving(timers, 100)
    assert fired == [("a", 10), ("b", 20), ("c", 30)]
    assert len(timers) == 0


async def test_an_earlier_timer_is_noticed_while_waiting_for_a_later_one(clock, fired):
    timers = Timers(clock, lambda run, task: fired.append(task))
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(serving, timers, 100)
        timers.arm("r", "late", clock() + 50 * SECOND)
        await anyio.sleep(1)
        timers.arm("r", "early", clock() + 5 * SECOND)
        await anyio.sleep(10)
        assert fired == ["early"]
    assert fired == ["early", "late"]


async def test_cancelled_and_moved_timers_fire_at_no_other_time(clock, fired):
    timers = Timers(clock, lambda run, task: fired.append((run, task, round(anyio.current_time() - started))))
    started, now = anyio.current_time(), clock()
    timers.arm("r", "gone", now + 5 * SECOND)
    timers.arm("r", "moved", now + 5 * SECOND)
    timers.arm("other", "gone", now + 5 * SECOND)
    timers.cancel("r", "gone")
    timers.cancel("r", "unknown")
    timers.arm("r", "moved", now + 9 * SECOND)
    await serving(timers, 100)
    assert fired == [("other", "gone", 5), ("r", "moved", 9)]


async def test_overdue_timers_fire_at_once(clock, fired):
    timers = Timers(clock, lambda run, task: fired.append(task))
    await anyio.sleep(50)
    timers.arm("r", "old", clock() - 40 * SECOND)
    timers.arm("r", "older", clock() - 45 * SECOND)
    started = anyio.current_time()
    with anyio.move_on_after(0.001):
        await timers.serve()
    assert fired == ["older", "old"]
    assert anyio.current_time() - started < 0.01


async def test_cancelled_timers_do_not_pile_up(clock):
    timers = Timers(clock, lambda run, task: None)
    for number in range(10_000):
        timers.arm(f"r{number}", "t", clock() + 3_600 * SECOND)
        timers.cancel(f"r{number}", "t")
    assert len(timers) == 0
    assert len(timers._heap) < 1_000


async def test_waits_back_off_and_decisions_keep_their_times(world, clock):
    steps = [
        {"id": "wait", "type": "wait", "config": {"duration": "1h"}},
        {"id": "ask", "type": "reasoning", "config": {"prompt_context": "?", "timeout": "30m", "fallback": "none"}},
    ]
    async with world.engine(clock=clock) as engine:
        await engine.define("t", {"steps": steps}, agent_id="me")
        started = anyio.current_time()
        run_id = (await engine.run("t", agent_id="me"))["workflow_id"]
        assert world.status(run_id) == "suspended"
        await anyio.sleep(3_599)
        assert (await engine.status(run_id))["steps"]["ask"]["output"]["choice"] == "none"
        assert world.status(run_id) == "suspended"
        await anyio.sleep(2)
        assert world.status(run_id) == "completed"
        assert anyio.current_time() - started == pytest.approx(3_601)


async def test_many_timers_that_are_due_at_once_fire_a_few_at_a_time_and_others_get_their_turn(clock, fired):
    timers = Timers(clock, lambda run, task: fired.append(task))
    for number in range(1_000):
        timers.arm("r", f"t{number:04}", clock())
    seen = []

    async def look():
        while len(fired) < 1_000:
            await anyio.lowlevel.checkpoint()
            seen.append(len(fired))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(look)
        await serving(timers, 1)
    assert fired == [f"t{number:04}" for number in range(1_000)]
    assert max(after - before for before, after in pairwise([0, *seen])) <= 256


async def test_a_clock_that_was_set_forward_makes_timers_late_by_no_more_than_the_patience():
    fired, ahead = [], 0
    timers = Timers(
        lambda: ahead + round(anyio.current_time() * 1_000_000), lambda run, task: fired.append(task), patience=1.0
    )
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(timers.serve)
        timers.arm("r", "t", 7_200_000_000 + round(anyio.current_time() * 1_000_000))
        await anyio.sleep(10)
        assert fired == []
        ahead = 7_200_000_000
        await anyio.sleep(1.5)
        assert fired == ["t"]
        tasks.cancel_scope.cancel()
