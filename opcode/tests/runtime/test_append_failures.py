"""When the store fails: what is repeated, who is told, and who is not affected."""

from __future__ import annotations

import anyio
import pytest

from opcode_kernel.errors import ConflictError, SignalFailedError, StoreError
from opcode_kernel.runtime.committer import Committer
from opcode_kernel.runtime.hub import Hub
from opcode_kernel.store.base import RunWrite

pytestmark = pytest.mark.anyio

STEPS = {"steps": [{"id": "a", "action": "fake.note"}, {"id": "b", "action": "fake.note", "depends_on": ["a"]}]}


@pytest.fixture
def anyio_backend(virtual_time):
    return virtual_time


def failing(times, error):
    left = [times]

    def trouble(writes):
        left[0] -= 1
        return error if left[0] >= 0 else None

    return trouble


async def test_a_passing_trouble_of_the_store_is_not_seen_by_anybody(world):
    async with world.engine() as engine:
        await engine.define("t", STEPS, agent_id="me")
        world.store.trouble = failing(4, StoreError("the disk is full"))
        started = anyio.current_time()
        result = await engine.run("t", agent_id="me")
    assert result["status"] == "completed"
    assert 0 < anyio.current_time() - started <= 2
    assert world.ran() == ["a", "b"]


async def test_after_five_attempts_the_run_is_given_up_and_the_caller_is_told(world, caplog):
    async with world.engine() as engine:
        await engine.define("t", STEPS, agent_id="me")
        world.store.trouble = failing(10**6, StoreError("the disk is full"))
        before, started = world.store.attempts, anyio.current_time()
        with pytest.raises(StoreError, match="disk is full"):
            await engine.run("t", agent_id="me")
        assert world.store.attempts - before == 5
        assert anyio.current_time() - started <= 2
        assert not engine.live
        assert world.ran() == []
    assert "events could not be written" in caplog.text


async def test_a_run_given_up_goes_on_after_a_restart(world):
    async with world.engine() as engine:
        await engine.define("t", STEPS, agent_id="me")
        world.store.trouble = lambda writes: StoreError("gone") if world.ran() else None
        with pytest.raises(StoreError):
            await engine.run("t", agent_id="me")
    world.store.trouble = lambda writes: None
    (run_id,) = world.store._runs
    assert world.status(run_id) == "active"
    async with world.engine() as engine:
        result = await engine.signal(run_id, "retry")
    assert result["status"] == "completed"
    assert world.ran() == ["a", "a", "b"]


async def test_a_second_writer_is_not_argued_with(world):
    async with world.engine() as engine:
        await engine.define("t", STEPS, agent_id="me")
        world.store.trouble = failing(10**6, ConflictError("another writer was here"))
        before = world.store.attempts
        with pytest.raises(ConflictError, match="another writer"):
            await engine.run("t", agent_id="me")
    assert world.store.attempts - before == 1


async def test_a_defect_of_the_store_is_no_success(world):
    async with world.engine() as engine:
        await engine.define("t", STEPS, agent_id="me")
        world.store.trouble = failing(10**6, OSError("no space left"))
        with pytest.raises(StoreError, match="OSError: no space left"):
            await engine.run("t", agent_id="me")
    assert world.store._runs == {}


async def test_actions_of_a_given_up_run_are_stopped_and_queued_ones_never_start(world):
    steps = [{"id": "z", "action": "fake.slow", "params": {"seconds": 1}}]
    steps += [{"id": name, "action": "fake.gate"} for name in "abc"]
    async with world.engine(pool_size=2) as engine:
        await engine.define("t", {"steps": steps}, agent_id="me")
        async with anyio.create_task_group() as tasks:

            async def start():
                with pytest.raises(StoreError):
                    await engine.run("t", agent_id="me")

            tasks.start_soon(start)
            await anyio.sleep(0.5)
            world.store.trouble = lambda writes: StoreError("gone")
        await anyio.sleep(10)
    assert sorted(world.ran()) == ["a", "b", "z"]
    assert sorted(world.ran("cancelled")) == ["a", "b"]


async def test_the_innocent_of_a_shared_batch_are_written_at_once(world):
    committer = Committer(world.store, Hub())
    good = [RunWrite(f"r{n}", [_event(1)]) for n in range(3)]
    world.store.trouble = lambda writes: StoreError("bad row") if any(w.run_id == "bad" for w in writes) else None
    started = anyio.current_time()
    tickets = {w.run_id: committer.submit(w) for w in [good[0], RunWrite("bad", [_event(1)]), *good[1:]]}
    async with anyio.create_task_group() as tasks:
        for write in good:
            tasks.start_soon(committer.barrier, tickets[write.run_id], write.run_id)
        await anyio.sleep(0.01)
        assert all(write.run_id in world.store._logs for write in good)
        with pytest.raises(StoreError, match="bad row"):
            await committer.barrier(tickets["bad"], "bad")
    assert anyio.current_time() - started <= 2


async def test_many_failing_runs_wait_together(world):
    committer = Committer(world.store, Hub())
    world.store.trouble = lambda writes: StoreError("gone")
    started = anyio.current_time()
    for n in range(50):
        last = committer.submit(RunWrite(f"r{n}", [_event(1)]))
    for n in range(50):
        with pytest.raises(StoreError):
            await committer.barrier(last, f"r{n}")
    assert anyio.current_time() - started <= 2


async def test_the_first_error_is_the_one_that_is_reported(world):
    """What follows a lost write cannot be written either, but that is a consequence."""
    committer = Committer(world.store, Hub())
    world.store.trouble = lambda writes: StoreError("gone") if writes[0].events[0].sequence == 1 else None
    committer.submit(RunWrite("r", [_event(1)]))
    last = committer.submit(RunWrite("r", [_event(2)]))
    with pytest.raises(StoreError, match="gone"):
        await committer.barrier(last, "r")
    assert "r" not in world.store._logs


async def test_a_child_that_is_not_durable_is_not_reported_to_its_parent(world):
    ask = {"id": "ask", "type": "reasoning", "config": {"prompt_context": "?", "options": []}}
    async with world.engine() as engine:
        await engine.define("child", {"steps": [ask]}, agent_id="me")
        await engine.define("parent", {"steps": [
            {"id": "call", "action": "workflow.run", "params": {"template_name": "child"}},
        ]}, agent_id="me")  # fmt: skip
        run_id = (await engine.run("parent", agent_id="me"))["workflow_id"]
        child_id = next(row.id for row in world.store._runs.values() if row.parent_run_id == run_id)
        world.store.trouble = lambda writes: StoreError("gone") if writes[0].run_id == child_id else None
        with pytest.raises(SignalFailedError) as caught:
            await engine.signal(child_id, "decision", payload={"choice": "x"})
        assert (caught.value.retryable, caught.value.details["cause"]["code"]) == (True, "STORE_ERROR")
        await anyio.sleep(1)
        assert world.status(run_id) == world.status(child_id) == "suspended"


def _event(sequence):
    from opcode_kernel.core.events import Event

    return Event(sequence, "step_progressed", None, None, 0)
