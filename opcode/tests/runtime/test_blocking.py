"""Actions that block run in worker threads: in real time, because a virtual clock does not wait for threads."""

from __future__ import annotations

import threading

import anyio
import pytest

pytestmark = pytest.mark.anyio


async def test_a_blocking_action_does_not_hold_up_the_loop(world, until):
    async with world.engine() as engine:
        steps = [{"id": "a", "action": "fake.block", "params": {"wait": True}}, {"id": "b", "action": "fake.note"}]
        await engine.define("t", {"steps": steps}, agent_id="me")
        run_id = (await engine.run("t", agent_id="me", wait=False))["workflow_id"]
        await until(lambda: set(world.ran()) == {"a", "b"})
        assert (await engine.status(run_id))["steps"]["b"]["status"] == "completed"
        world.thread_gate.set()
        await until(lambda: world.status(run_id) == "completed")
    assert world.seen["a"] != [threading.get_ident()]


@pytest.mark.parametrize("how", ["timeout", "cancel"])
async def test_a_blocking_action_that_hangs_is_left_behind(world, until, how):
    step = {"id": "a", "action": "fake.block", "params": {"wait": True}}
    if how == "timeout":
        step["timeout"] = "150ms"
    async with world.engine() as engine:
        await engine.define("t", {"steps": [step]}, agent_id="me")
        with anyio.fail_after(5):
            run_id = (await engine.run("t", agent_id="me", wait=False))["workflow_id"]
            if how == "cancel":
                await until(world.ran)
                await engine.signal(run_id, "cancel")
            await until(lambda: not engine.live)
        assert world.status(run_id) == ("failed" if how == "timeout" else "cancelled")
        world.thread_gate.set()
