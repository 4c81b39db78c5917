"""A log out of which something took an event: what the step table tells is filled in, what it cannot tell is said."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import pytest

from opcode_kernel.errors import StoreError
from opcode_kernel.store.tortoise import SqlStore

pytestmark = [pytest.mark.anyio, pytest.mark.broken_history("events are taken out of logs")]

ASK = {"id": "ask", "type": "reasoning", "config": {"prompt_context": "?"}, "depends_on": ["b", "s"]}
STEPS = [
    {"id": "a", "action": "fake.pure", "params": {"value": {"n": 1}}},
    {"id": "b", "action": "fake.note", "depends_on": ["a"]},
    {"id": "s", "action": "fake.note", "condition": "false"},
    ASK,
    {"id": "z", "action": "fake.pure", "params": {"value": "${{steps.a.output.n}}"}, "depends_on": ["ask"]},
]
#: What the step table knows nothing of.
UNTOLD = {"workflow_started", "decision_requested", "step_suspended"}


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


async def damaged(world, path, *gone: int) -> tuple[str, list[str]]:
    """Run up to the question and take events out of the log, counted from 0; returns the run and what was taken."""
    async with world.engine(store=SqlStore(path)) as engine:
        await engine.define("t", {"steps": STEPS}, agent_id="me")
        run_id = (await engine.run("t", agent_id="me"))["workflow_id"]
        types = [event.type for event in await engine.store.events(run_id)]
    with closing(sqlite3.connect(path)) as database, database:
        for index in gone:
            database.execute("delete from events where run_id = ? and sequence = ?", (run_id, index + 1))
    world.log.clear()
    return run_id, [types[index] for index in gone]


async def goes_on(world, path, run_id: str) -> None:
    async with world.engine(store=SqlStore(path)) as engine:
        assert [each["step_id"] for each in (await engine.status(run_id))["pending_decisions"]] == ["ask"]
        ended = await engine.signal(run_id, "decision", payload={"choice": "on"})
    assert (ended["status"], ended["steps"]["z"]["output"]) == ("completed", 1)
    assert world.ran() == ["z"]


@pytest.mark.parametrize("index", range(9))
async def test_a_run_goes_on_without_any_one_event_that_its_step_table_tells(world, tmp_path, index):
    path = tmp_path / "o.db"
    run_id, (gone,) = await damaged(world, path, index)
    if gone not in UNTOLD:
        await goes_on(world, path, run_id)
        return
    async with world.engine(store=SqlStore(path)) as engine:
        with pytest.raises(StoreError) as caught:
            await engine.signal(run_id, "decision", payload={"choice": "on"})
    assert caught.value.details["workflow_id"] == run_id
    assert world.ran() == []


async def test_both_ends_of_a_step_and_what_led_to_it_may_be_gone_at_once(world, tmp_path):
    run_id, gone = await damaged(world, tmp_path / "o.db", 2, 3, 4, 5)
    assert {"step_started", "step_completed"} <= set(gone)
    await goes_on(world, tmp_path / "o.db", run_id)


async def test_a_step_table_that_says_otherwise_is_not_believed(world, tmp_path):
    path = tmp_path / "o.db"
    run_id, _ = await damaged(world, path, 3)
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("update steps set status = 'running' where run_id = ? and step_id = 'a'", (run_id,))
    async with world.engine(store=SqlStore(path)) as engine:
        with pytest.raises(StoreError, match="does not tell"):
            await engine.signal(run_id, "decision", payload={"choice": "on"})
