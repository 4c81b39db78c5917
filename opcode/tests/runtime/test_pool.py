"""The limit on actions that execute at the same time, and what does not count against it."""

from __future__ import annotations

import anyio
import pytest

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend(virtual_time):
    return virtual_time


def slow(name, seconds=1.0, **more):
    return {"id": name, "action": "fake.slow", "params": {"seconds": seconds}, **more}


@pytest.mark.parametrize("pool_size", [1, 3])
async def test_never_more_actions_execute_than_there_are_places(world, clock, pool_size):
    async with world.engine(pool_size=pool_size, clock=clock) as engine:
        await engine.define("t", {"steps": [{"id": f"s{n}", "action": "fake.gate"} for n in range(8)]}, agent_id="me")
        async with anyio.create_task_group() as tasks:
            for _ in range(2):
                tasks.start_soon(lambda: engine.run("t", agent_id="me"))
            await anyio.sleep(1)
            assert world.running == pool_size
            world.gate("gate").set()
    assert world.most == pool_size
    assert len(world.ran()) == 16


async def test_the_limit_holds_over_all_runs_and_places_are_taken_in_order(world, clock):
    async with world.engine(pool_size=2, clock=clock) as engine:
        await engine.define("t", {"steps": [slow(f"s{n}") for n in range(6)]}, agent_id="me")
        started = anyio.current_time()
        await engine.run("t", agent_id="me")
        assert anyio.current_time() - started == pytest.approx(3)
    # The two of a pair start at the same moment, in no particular order.
    assert [sorted(world.ran()[n : n + 2]) for n in (0, 2, 4)] == [["s0", "s1"], ["s2", "s3"], ["s4", "s5"]]


async def test_waiting_holds_no_place(world, clock):
    """A wait, a back-off and a parent that waits for a child: all at once beside the only action there is room for."""
    steps = [
        {"id": "wait", "type": "wait", "config": {"duration": "50s"}},
        {"id": "again", "action": "fake.fail", "params": {"times": 1}, "retry": {"max": 1, "delay": "50s"}},
        {"id": "call", "action": "workflow.run", "params": {"template_name": "child"}},
        {"id": "ask", "type": "reasoning", "config": {"prompt_context": "?", "timeout": "20s", "fallback": "x"}},
        slow("work", 30.0),
    ]
    async with world.engine(pool_size=1, clock=clock) as engine:
        await engine.define(
            "child", {"steps": [{"id": "w", "type": "wait", "config": {"duration": "50s"}}]}, agent_id="me"
        )
        await engine.define("t", {"steps": steps}, agent_id="me")
        started = anyio.current_time()
        result = await engine.run("t", agent_id="me")
        assert anyio.current_time() - started == pytest.approx(50, abs=1.5)
    assert result["status"] == "completed"


async def test_a_queued_action_whose_run_is_cancelled_never_starts(world, clock):
    async with world.engine(pool_size=1, clock=clock) as engine:
        await engine.define("t", {"steps": [{"id": "a", "action": "fake.gate"}]}, agent_id="me")
        await engine.define("u", {"steps": [{"id": "b", "action": "fake.gate"}]}, agent_id="me")
        await engine.run("t", agent_id="me", wait=False)
        second = (await engine.run("u", agent_id="me", wait=False))["workflow_id"]
        third = (await engine.run("u", agent_id="me", wait=False))["workflow_id"]
        await engine.signal(second, "cancel")
        world.gate("gate").set()
        await anyio.sleep(1)
        assert world.status(third) == "completed"
        assert not engine.live
    assert world.ran() == ["a", "b"]
