"""Batches have a limit, everybody in line is served, and a start waits while too much is queued."""

from __future__ import annotations

import anyio
import anyio.lowlevel
import pytest

from opcode_kernel.core.events import Event
from opcode_kernel.runtime.admission import GROUP, QUEUED_ROWS, Admission
from opcode_kernel.runtime.committer import BATCH_ROWS, Committer
from opcode_kernel.runtime.hub import Hub
from opcode_kernel.runtime.nursery import open_nursery
from opcode_kernel.store.base import RunWrite

pytestmark = pytest.mark.anyio


def write(run_id: str, events: int = 1, after: int = 0) -> RunWrite:
    return RunWrite(run_id, [Event(after + n, "x", None, None, 1) for n in range(1, events + 1)])


@pytest.fixture
def committer(world):
    return Committer(world.store, Hub())


async def test_one_batch_never_grows_beyond_its_limit_and_all_of_them_are_written_in_order(world, committer):
    size = 10
    count = 3 * BATCH_ROWS // size
    for number in range(count):
        last = committer.submit(write(f"r{number}", size - 1))
    await committer.barrier(last, f"r{count - 1}")
    lengths = [len(batch) for batch in world.store.batches]
    assert lengths == [BATCH_ROWS // size] * 3
    assert [w.run_id for batch in world.store.batches for w in batch] == [f"r{number}" for number in range(count)]


async def test_a_write_that_is_larger_than_a_batch_is_one_by_itself(world, committer):
    tickets = [committer.submit(write("a")), committer.submit(write("b", 3 * BATCH_ROWS)), committer.submit(write("c"))]
    await committer.barrier(tickets[-1], "c")
    assert [[w.run_id for w in batch] for batch in world.store.batches] == [["a", "b"], ["c"]]


async def test_who_is_in_an_early_batch_does_not_wait_for_a_late_one(world, committer, until):
    done: list[str] = []

    async def wait(ticket: int, run_id: str) -> None:
        await committer.barrier(ticket, run_id)
        done.append(run_id)

    world.store.gate = anyio.Event()
    tickets = {name: committer.submit(write(name, BATCH_ROWS)) for name in "abcd"}
    with anyio.fail_after(5):
        async with anyio.create_task_group() as tasks:
            for name in "dbac":
                tasks.start_soon(wait, tickets[name], name)
            for count in range(1, 5):
                # Who leads next may run before those whose batch is written hear of it.
                await until(lambda count=count: world.store.waiting == count and len(done) >= count - 1)
                assert done == list("abcd")[: count - 1]
                world.store.gate, gate = anyio.Event(), world.store.gate
                gate.set()
    assert done == list("abcd")


async def test_a_leader_that_gives_up_hands_the_lead_on(world, committer, until):
    """Cancelled at the very moment it is called to lead, or long before."""
    done: list[str] = []
    scopes = {name: anyio.CancelScope() for name in "bcd"}

    async def wait(ticket: int, run_id: str) -> None:
        with scopes.get(run_id, anyio.CancelScope()):
            await committer.barrier(ticket, run_id)
            done.append(run_id)

    world.store.gate = anyio.Event()
    tickets = {name: committer.submit(write(name, BATCH_ROWS)) for name in "abcde"}
    with anyio.fail_after(5):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(wait, tickets["a"], "a")
            await until(lambda: world.store.waiting == 1)  # so it leads, in whatever order tasks run
            for name in "bcde":
                tasks.start_soon(wait, tickets[name], name)
            await until(lambda: len(committer._waiting) == 4)
            scopes["d"].cancel()
            await until(lambda: len(committer._waiting) == 3)
            world.store.gate.set()
            world.store.gate = None
            scopes["b"].cancel()
            scopes["c"].cancel()
    assert {"a", "e"} <= set(done) <= {"a", "c", "e"}
    assert sum(len(batch) for batch in world.store.batches) == 5
    assert not committer._waiting


async def test_room_is_there_at_once_when_little_is_queued_and_else_after_what_is_too_much(world, committer):
    await committer.room(0)
    for number in range(20):
        committer.submit(write(f"r{number}", BATCH_ROWS // 10 - 1))
    await committer.room(2 * BATCH_ROWS)
    assert world.store.batches == []
    await committer.room(BATCH_ROWS)
    assert sum(len(batch) for batch in world.store.batches) == 10
    await committer.room(0)
    assert sum(len(batch) for batch in world.store.batches) == 20


async def test_starts_are_let_in_a_few_at_a_time_in_the_order_they_came(committer):
    entered: list[int] = []
    per_turn: list[int] = []

    async def enter(number: int) -> None:
        await admission.enter()
        entered.append(number)

    async with open_nursery() as nursery:
        admission = Admission(nursery, committer)
        for _ in range(2):
            entered.clear()
            async with anyio.create_task_group() as tasks:
                for number in range(5 * GROUP):
                    tasks.start_soon(enter, number)
                seen = 0
                with anyio.fail_after(5):
                    while len(entered) < 5 * GROUP:
                        await anyio.lowlevel.checkpoint()
                        per_turn.append(len(entered) - seen)
                        seen = len(entered)
            assert sorted(entered) == list(range(5 * GROUP))
    # The last group may be joined by those who find the door open again.
    assert max(per_turn) <= 2 * GROUP


async def test_nobody_is_let_in_while_too_much_is_queued(world, committer, until):
    entered: list[int] = []
    async with open_nursery() as nursery:
        admission = Admission(nursery, committer)
        for _ in range(GROUP):
            await admission.enter()
        world.store.gate = anyio.Event()
        for number in range(2):
            committer.submit(write(f"r{number}", QUEUED_ROWS))

        async def enter() -> None:
            await admission.enter()
            entered.append(1)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(enter)
            await until(lambda: world.store.waiting)
            assert entered == []
            world.store.gate.set()
        assert entered == [1]


async def test_who_waits_at_the_door_when_the_engine_closes_is_not_left_there(committer, until):
    entered: list[int] = []

    async def enter() -> None:
        await admission.enter()
        entered.append(1)

    with anyio.fail_after(5):
        async with anyio.create_task_group() as tasks, open_nursery() as nursery:
            admission = Admission(nursery, committer)
            for _ in range(4 * GROUP):
                tasks.start_soon(enter)
            await until(lambda: entered)
    assert len(entered) == 4 * GROUP
