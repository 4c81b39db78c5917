"""Group commit: what many runs have to write shares one transaction.

Whoever needs durability first becomes the leader and writes what is queued; the others wait for it. While one batch is
being written the next one gathers, so the number of transactions falls as the load rises. A batch has a limit: those who
wait for its end are woken a few at a time, and none of them waits for the encoding of thousands of rows.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import NoReturn

import anyio

from opcode_kernel.errors import OpcodeError, StoreError
from opcode_kernel.runtime.hub import Hub
from opcode_kernel.store.base import RunWrite, Store

#: A failed commit is repeated this often, over at most two seconds (spec 01 section 4.3).
ATTEMPTS = 5

#: A batch is full once it has this many rows: some tens of milliseconds of work, shared by all who wait for it.
BATCH_ROWS = 4_000


class Committer:
    """The only way events reach the store. Announces them to the hub once they are durable."""

    def __init__(self, store: Store, hub: Hub, lost: Callable[[str], None] = lambda run_id: None) -> None:
        self._store = store
        self._hub = hub
        #: Called with the id of a run whose write failed for good; its next barrier raises the error.
        self._lost = lost
        self._queue: list[RunWrite] = []
        self._submitted = 0
        self._settled = 0
        self._writing = False
        #: Those who wait, by the ticket they wait for, in the order they came.
        self._waiting: dict[int, anyio.Event] = {}
        self._kick = anyio.Event()
        self._failed: dict[str, OpcodeError] = {}

    def submit(self, write: RunWrite) -> int:
        """Queue a write without waiting; returns the ticket to wait for."""
        self._queue.append(write)
        self._submitted += 1
        return self._submitted

    def kick(self) -> None:
        """Have the queue written soon, with nobody waiting for it."""
        self._kick.set()

    async def barrier(self, ticket: int, run_id: str) -> None:
        """Return once everything up to the ticket is durable.

        Raises:
            OpcodeError: the run's write was refused for good; nothing of it was written.
        """
        while self._settled < ticket:
            if self._writing:
                await self._wait_for(ticket)
            else:
                await self._write_queue()
        if self._failed and run_id in self._failed:
            raise self._failed.pop(run_id)

    async def room(self, rows: int) -> None:
        """Return once no more than so many rows wait for their transaction."""
        queued = 0
        for count, write in enumerate(reversed(self._queue)):
            queued += _rows_of(write)
            if queued > rows:
                await self.barrier(self._submitted - count, "")
                return

    def settle_now(self) -> bool:
        """Write the queue without waiting, where the store can do that: one in memory. Tells whether it was done."""
        if self._store.durable or self._writing:
            return False
        batch, self._queue = self._queue, []
        write = self._tried(batch)
        try:
            write.send(None)
        except StopIteration as done:
            if done.value is not None:
                self._queue = batch  # for a barrier to deal with: it can wait and repeat
                return False
            self._settle(len(batch))
            return True
        write.close()
        raise StoreError("a store that is not durable must not wait while it appends")

    async def serve(self) -> NoReturn:
        """Write what is queued without a waiter, until cancelled."""
        while True:
            await self._kick.wait()
            self._kick = anyio.Event()
            await self.barrier(self._submitted, "")

    async def _wait_for(self, ticket: int) -> None:
        event = self._waiting.setdefault(ticket, anyio.Event())
        try:
            await event.wait()
        except anyio.get_cancelled_exc_class():
            if not event.statistics().tasks_waiting:
                self._waiting.pop(ticket, None)
            if not self._writing:
                self._call_next()  # this one may have been called to lead
            raise

    async def _write_queue(self) -> None:
        batch = self._take()
        self._writing = True
        try:
            await self._write(batch)
        finally:
            self._writing = False
            self._settle(len(batch))

    def _take(self) -> list[RunWrite]:
        """Return the oldest writes, as many as make a batch."""
        rows = 0
        for count, write in enumerate(self._queue, 1):
            rows += _rows_of(write)
            if rows >= BATCH_ROWS:
                batch, self._queue = self._queue[:count], self._queue[count:]
                return batch
        batch, self._queue = self._queue, []
        return batch

    def _settle(self, count: int) -> None:
        """Wake those whose write is settled now, and one more to lead the next batch."""
        first = self._settled + 1
        self._settled += count
        if self._waiting:
            for ticket in range(first, first + count):
                if (event := self._waiting.pop(ticket, None)) is not None:
                    event.set()
            self._call_next()

    def _call_next(self) -> None:
        for ticket in self._waiting:
            self._waiting.pop(ticket).set()
            return

    async def _write(self, batch: list[RunWrite]) -> None:
        error = await self._tried(batch)
        if error is None:
            return
        if len(batch) == 1 and error.code == "CONFLICT":
            self._give_up(batch[0].run_id, error)
            return
        # One bad write must not take the others with it; and however many are bad, they wait together.
        left, errors = (batch, {batch[0].run_id: error}) if len(batch) == 1 else await self._write_apart(batch)
        for attempt in range(1, ATTEMPTS):
            if not left:
                return
            await anyio.sleep(0.05 * 2**attempt)
            left, errors = await self._write_apart(left)
        for run_id, last in errors.items():
            logging.getLogger("opcode.committer").error(
                "events could not be written", extra={"workflow_id": run_id, "error": str(last)}
            )
            self._give_up(run_id, last)

    async def _write_apart(self, batch: list[RunWrite]) -> tuple[list[RunWrite], dict[str, OpcodeError]]:
        """Write one by one; returns what is worth repeating (all later writes of the same runs included), and why."""
        left: list[RunWrite] = []
        errors: dict[str, OpcodeError] = {}
        for write in batch:
            if write.run_id in self._failed:
                continue  # would leave a gap
            error = None if write.run_id in errors else await self._tried([write])
            if error is not None and error.code == "CONFLICT":
                self._give_up(write.run_id, error)
            elif error is not None:
                errors[write.run_id] = error
            if write.run_id in errors:
                left.append(write)
        return left, errors

    def _give_up(self, run_id: str, error: OpcodeError) -> None:
        self._failed.setdefault(run_id, error)
        self._lost(run_id)

    async def _tried(self, batch: list[RunWrite]) -> OpcodeError | None:
        """Write a batch and announce it, or return why that failed."""
        try:
            await self._store.append(batch)
        except OpcodeError as error:
            return error
        except Exception as error:  # noqa: BLE001 - a defect of the store must not look like a write that succeeded
            return StoreError(f"the store failed: {type(error).__name__}: {error}")
        for write in batch:
            self._hub.publish(write.run_id, write.events)
        return None


def _rows_of(write: RunWrite) -> int:
    return len(write.events) + len(write.steps) + 1
