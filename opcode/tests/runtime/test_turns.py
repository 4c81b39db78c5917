"""Work that no action interrupts is cut into turns, so that nobody else has to wait for the end of it."""

from __future__ import annotations

import anyio
import pytest

from opcode_kernel.core.messages import Start
from opcode_kernel.core.run import Run

pytestmark = pytest.mark.anyio

ITEMS = 600
NOTHING = {"id": "c", "type": "condition", "config": {"expression": "'nowhere'", "branches": {"x": []}}}
LOOP = {"id": "l", "type": "loop", "config": {"over": list(range(ITEMS)), "body": [NOTHING]}}


async def test_a_loop_of_decisions_alone_lets_others_have_their_turn(world):
    turns = 0

    async def count():
        nonlocal turns
        while True:
            await anyio.lowlevel.checkpoint()
            turns += 1

    async with world.engine() as engine, anyio.create_task_group() as tasks:
        await engine.define("t", {"steps": [LOOP]}, agent_id="me")
        tasks.start_soon(count)
        result = await engine.run("t", agent_id="me")
        tasks.cancel_scope.cancel()
    assert result["output"]["iterations"] == ITEMS
    # One iteration takes far longer than a hundredth of a turn.
    assert turns > 5


async def test_a_run_that_was_cut_off_within_such_a_loop_ends_like_an_undisturbed_one(world):
    async with world.engine() as engine:
        await engine.define("t", {"steps": [LOOP]}, agent_id="me")
        plan = (await engine.library.resolve("t", None)).plan
    pieces = Run(plan)
    pieces.pause = lambda: True
    log = list(pieces.handle(Start("run", {}), 0).events)
    cuts = [len(log)]
    while pieces.unfinished:
        log += pieces.carry(0).events
        cuts.append(len(log))
    assert pieces.state.output["iterations"] == ITEMS
    assert len(cuts) > 2 * ITEMS
    for cut in cuts[:: len(cuts) // 7]:
        assert Run.replay(plan, log[:cut]).carry(0).events == log[cut:]
