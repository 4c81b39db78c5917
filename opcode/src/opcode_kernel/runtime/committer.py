"""Group commit: what many runs have to write shares one transaction.

Whoever needs durability first becomes the leader and writes everything that is queued; the others wait for it. While one
batch is being written the next one gathers, so the number of transactions falls as the load rises.
"""

from __future__ import annotations

import logging
from typing import NoReturn

import anyio

from opcode_kernel.errors import OpcodeError, StoreError
from opcode_kernel.runtime.hub import Hub
from opcode_kernel.store.base import RunWrite, Store

#: A failed commit is repeated this often, over at most two seconds (spec 01 section 4.3).
ATTEMPTS = 5


class Committer:
    """The only way events reach the store. Announces them to the hub once they are durable."""

    def __init__(self, store: Store, hub: Hub) -> None:
        self._store = store
        self._hub = hub
        self._queue: list[RunWrite] = []
        self._submitted = 0
        self._settled = 0
        self._writing = False
        self._waiters = 0
        self._done = anyio.Event()
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
                self._waiters += 1
                await self._done.wait()
                self._waiters -= 1
            else:
                await self._write_queue()
        if self._failed and run_id in self._failed:
            raise self._failed.pop(run_id)

    def settle_now(self) -> bool:
        """Write the queue without waiting, where the store can do that: one in memory. Tells whether it was done."""
        if self._store.durable or self._writing:
            return False
        write = self._write_queue()
        try:
            write.send(None)
        except StopIteration:
            return not self._failed
        write.close()
        raise StoreError("a store that is not durable must not wait while it appends")

    async def serve(self) -> NoReturn:
        """Write what is queued without a waiter, until cancelled."""
        while True:
            await self._kick.wait()
            self._kick = anyio.Event()
            await self.barrier(self._submitted, "")

    async def _write_queue(self) -> None:
        batch, self._queue = self._queue, []
        self._writing = True
        try:
            await self._write(batch)
        finally:
            self._settled += len(batch)
            self._writing = False
            if self._waiters:
                self._done.set()
                self._done = anyio.Event()

    async def _write(self, batch: list[RunWrite]) -> None:
        try:
            await self._store.append(batch)
        except OpcodeError as error:
            if len(batch) == 1:
                await self._write_again(batch[0], error)
                return
            for write in batch:
                await self._write([write])
            return
        for write in batch:
            self._hub.publish(write.run_id, write.events)

    async def _write_again(self, write: RunWrite, error: OpcodeError) -> None:
        """Repeat a failed write unless repeating cannot help."""
        for attempt in range(1, ATTEMPTS):
            if error.code == "CONFLICT":
                break
            await anyio.sleep(0.05 * 2**attempt)
            try:
                await self._store.append([write])
            except OpcodeError as again:
                error = again
            else:
                self._hub.publish(write.run_id, write.events)
                return
        if error.code != "CONFLICT":
            logging.getLogger("opcode.committer").error("events could not be written", extra={
                "workflow_id": write.run_id, "error": str(error),
            })  # fmt: skip
        self._failed[write.run_id] = error
