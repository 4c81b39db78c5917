"""Deadlines over a restart, and the grace of a shutdown, on virtual time."""

from __future__ import annotations

import anyio
import pytest

from opcode_kernel.errors import ConflictError

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend(virtual_time):
    return virtual_time


async def opened_again(world, clock, steps, seconds, **options):
    async with world.engine(clock=clock) as engine:
        await engine.define("t", {"steps": steps}, agent_id="me")
        run_id = (await engine.run("t", agent_id="me", wait=False))["workflow_id"]
        await anyio.sleep(1)
    await anyio.sleep(seconds)
    return run_id


@pytest.mark.parametrize(("away", "rest"), [(10, 49), (500, 0)])
async def test_waits_and_decision_deadlines_survive_a_restart(world, clock, away, rest):
    steps = [
        {"id": "wait", "type": "wait", "config": {"duration": "60s"}},
        {"id": "ask", "type": "reasoning", "config": {"prompt_context": "?", "timeout": "60s", "fallback": "none"}},
    ]
    run_id = await opened_again(world, clock, steps, away)
    async with world.engine(clock=clock):
        await anyio.sleep(max(0, rest - 1))
        if rest:
            assert world.status(run_id) == "suspended"
        await anyio.sleep(2)
        assert world.status(run_id) == "completed"


async def test_a_back_off_goes_on_where_the_policy_allows_it(world, clock):
    step = {"id": "a", "action": "fake.fail", "params": {"times": 1}, "retry": {"max": 1, "delay": "60s"}}
    async with world.engine(clock=clock, recovery="auto") as engine:
        await engine.define("t", {"steps": [step]}, agent_id="me")
        run_id = (await engine.run("t", agent_id="me", wait=False))["workflow_id"]
        await anyio.sleep(1)
    async with world.engine(clock=clock, recovery="auto"):
        await anyio.sleep(50)
        assert world.ran() == ["a"]
        await anyio.sleep(10)
        assert world.status(run_id) == "completed"


async def test_running_actions_may_finish_within_the_grace_and_no_more_are_started(world, clock):
    steps = [
        {"id": "a", "action": "fake.slow", "params": {"seconds": 5}},
        {"id": "b", "action": "fake.slow", "params": {"seconds": 1}, "depends_on": ["a"]},
        {"id": "c", "action": "fake.note", "depends_on": ["a"]},
    ]
    async with world.engine(clock=clock, shutdown_grace=10) as engine:
        await engine.define("t", {"steps": steps}, agent_id="me")
        run_id = (await engine.run("t", agent_id="me", wait=False))["workflow_id"]
        await anyio.sleep(1)
        leaving = anyio.current_time()
    assert anyio.current_time() - leaving == pytest.approx(4)
    assert world.ran() == ["a"]
    async with world.engine(clock=clock) as engine:
        status = await engine.status(run_id)
        assert {name: step["status"] for name, step in status["steps"].items()} == {
            "a": "completed", "b": "suspended", "c": "suspended",
        }  # fmt: skip
        assert (await engine.signal(run_id, "retry"))["status"] == "completed"


@pytest.mark.parametrize("recovery", ["suspend", "auto"])
async def test_who_waits_for_a_run_is_told_when_the_engine_closes(world, clock, recovery):
    outcome = []
    async with anyio.create_task_group() as tasks:
        async with world.engine(clock=clock, shutdown_grace=3, recovery=recovery) as engine:
            await engine.define("t", {"steps": [{"id": "a", "action": "fake.gate"}]}, agent_id="me")

            async def start():
                try:
                    outcome.append((await engine.run("t", agent_id="me"))["status"])
                except ConflictError as error:
                    outcome.append(error.code)

            tasks.start_soon(start)
            await anyio.sleep(1)
            leaving = anyio.current_time()
        assert anyio.current_time() - leaving == pytest.approx(3)
    assert outcome == ["suspended" if recovery == "suspend" else "CONFLICT"]
    assert world.ran("cancelled") == ["a"]


async def test_a_store_that_fails_does_not_hold_up_the_end(world, clock):
    from opcode_kernel.errors import StoreError

    async with world.engine(clock=clock) as engine:
        await engine.define("t", {"steps": [{"id": "a", "action": "fake.gate"}]}, agent_id="me")
        for _ in range(20):
            await engine.run("t", agent_id="me", wait=False)
        await anyio.sleep(1)
        world.store.trouble = lambda writes: StoreError("gone")
        leaving = anyio.current_time()
    assert anyio.current_time() - leaving <= 5
