"""A run with a very long log is folded from the file, takes its signal and goes on, within seconds.

The run here has a part of the hundred thousand events of the requirement, and as great a part of its three seconds;
`python -m bench load` measures the whole.
"""

from __future__ import annotations

from contextlib import AsyncExitStack

import pytest

from opcode_kernel.core.run import Run
from opcode_kernel.testing.snapshots import snapshot

pytestmark = [pytest.mark.anyio, pytest.mark.alone]

EVENTS = 16_000
WHOLE = 100_000
LIMIT = 3.0
ROUNDS = 3

INNER = {"id": "inner", "type": "loop", "config": {"over": list(range(100)), "body": [
    {"id": "n", "action": "probe.pure"}]}}  # fmt: skip
OUTER = {"id": "outer", "type": "loop", "config": {"over": list(range(EVENTS // 400)), "body": [INNER]}}
ASK = {"id": "ask", "type": "reasoning", "config": {"prompt_context": "more?", "options": [{"id": "yes"}]}}


def asking(number):
    before = f"ask{number - 1}" if number else "outer"
    return {**ASK, "id": f"ask{number}", "depends_on": [before]}


async def test_a_long_run_resumes_within_seconds(opened, stopwatch, say):
    steps = [OUTER, *(asking(number) for number in range(ROUNDS))]
    async with opened() as engine:
        await engine.define("t", {"steps": steps}, agent_id="me")
        run_id = (await engine.run("t", agent_id="me"))["workflow_id"]
        length = len(await engine.store.events(run_id))
    assert length >= EVENTS
    times = []
    async with AsyncExitStack() as stack:
        with stopwatch() as start:
            engine = await stack.enter_async_context(opened())
        for number in range(ROUNDS):
            assert not engine.live, "each time it comes from the file"
            with stopwatch() as taken:
                answer = await engine.signal(run_id, "decision", payload={"choice": "yes"}, step_id=f"ask{number}")
            assert answer["status"] == ("completed" if number == ROUNDS - 1 else "suspended")
            times.append(taken.wall * taken.share)
            say(f"{length} events: opened in {start.wall:.2f} s, folded and signalled in {taken.wall:.2f} s")
    assert start.wall * start.share + min(times) < LIMIT * length / WHOLE


async def test_a_log_of_many_pages_is_read_whole_in_order_and_folds_to_the_same_run(opened):
    async with opened() as engine:
        await engine.define("t", {"steps": [OUTER, asking(0)]}, agent_id="me")
        run_id = (await engine.run("t", agent_id="me"))["workflow_id"]
        events = await engine.store.events(run_id)
        assert [event.sequence for event in events] == list(range(1, len(events) + 1))
        page = await engine.store.events(run_id, after=4_000, limit=5_000)
        assert page == events[4_000:9_000]
        assert await engine.store.events(run_id, after=len(events) - 1) == events[-1:]
        assert await engine.store.events(run_id, after=len(events)) == []
        assert await engine.store.events(run_id, limit=0) == []
        plan = (await engine.library.resolve("t")).plan
        assert snapshot(Run.replay(plan, events).state) == snapshot((await engine.load(run_id)).state)
