"""How long a signal waits for the run that it lets go on."""

from __future__ import annotations

import anyio
import pytest

from opcode_kernel.errors import DefinitionError

pytestmark = pytest.mark.anyio

LATER = {
    "steps": [
        {"id": "ask", "type": "reasoning", "config": {"prompt_context": "?"}},
        {"id": "slow", "action": "fake.gate", "depends_on": ["ask"]},
    ]
}


@pytest.mark.parametrize("bound", [{"wait": False}, {"wait_timeout": 0.01}, {"wait_timeout": 0}])
async def test_a_bounded_wait_ends_with_an_active_run_that_goes_on_behind_it(world, until, bound):
    async with world.engine() as engine:
        await engine.define("t", LATER, agent_id="me")
        run_id = (await engine.run("t", agent_id="me"))["workflow_id"]
        with anyio.fail_after(5):
            answer = await engine.signal(run_id, "decision", payload={"choice": "go"}, **bound)
        assert answer == {**answer, "ok": True, "resumed": True, "status": "active"}
        world.gate("gate").set()
        await until(lambda: not engine.live)
        assert (await engine.status(run_id))["status"] == "completed"


async def test_without_a_bound_the_answer_comes_when_the_run_has_settled(world):
    world.gate("gate").set()
    async with world.engine() as engine:
        await engine.define("t", LATER, agent_id="me")
        run_id = (await engine.run("t", agent_id="me"))["workflow_id"]
        answer = await engine.signal(run_id, "decision", payload={"choice": "go"})
        assert (answer["status"], answer["steps"]["slow"]["status"]) == ("completed", "completed")


async def test_a_negative_wait_is_refused_before_anything_is_done(world):
    async with world.engine() as engine:
        await engine.define("t", LATER, agent_id="me")
        run_id = (await engine.run("t", agent_id="me"))["workflow_id"]
        with pytest.raises(DefinitionError, match="at least 0 seconds"):
            await engine.signal(run_id, "decision", payload={"choice": "go"}, wait_timeout=-1)
        assert (await engine.status(run_id))["status"] == "suspended"
