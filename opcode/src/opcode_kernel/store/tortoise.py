"""The durable store: appends through the group commit of the writer thread, reads on connections of their own.

It needs a running asyncio loop, because the ORM does; this is the only module of the store that names asyncio.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from threading import Event
from typing import Any, Self

import anyio

from opcode_kernel.errors import StoreError
from opcode_kernel.store import rows, statements
from opcode_kernel.store.base import AgentRow, PluginRow, RunWrite, SecretRow, SecretUse, TemplateRow
from opcode_kernel.store.fairness import FairShare
from opcode_kernel.store.reads import ReadSide
from opcode_kernel.store.sqlite import Durability, locate, open_writer
from opcode_kernel.store.unit import Unit
from opcode_kernel.store.writer import Outcome, Work, Writer

# Closing waits for the disk. Past this many seconds the disk hangs, and so would the process.
_CLOSING_GRACE = 30


class SqlStore(ReadSide):
    """A `Store` in a SQLite file.

    `location` is a path or `sqlite:///path`. With durability "full" an acknowledged write survives a loss of power,
    with "normal" a crash of the process. A caller that is cancelled while it waits does not take its write back.
    Opening it claims the file, as an engine needs it. A guest (`sole=False`) reads and writes beside the owner.

    Raises:
        StoreError: the location or the durability is none that is supported.
        ConflictError: on opening, the file is claimed already.
    """

    durable = True
    _fairness: FairShare

    def __init__(self, location: str | Path, durability: Durability = "full", *, sole: bool = True) -> None:
        if durability not in ("full", "normal"):
            raise StoreError(f"expected durability full or normal, found {durability!r}", retryable=False)
        self._path = locate(location)
        self._durability: Durability = durability
        self._sole = sole
        self._writer: Writer | None = None

    def __repr__(self) -> str:
        return f"SqlStore({str(self._path)!r}, {self._durability!r})"

    async def __aenter__(self) -> Self:
        if self._writer is not None:
            raise StoreError("expected a closed store, found one that is open already", retryable=False)
        loop = _running_loop()
        open_connection = partial(open_writer, self._path, self._durability, sole=self._sole)
        writer = Writer(open_connection, partial(_deliver, loop))
        opened: asyncio.Future[None] = loop.create_future()
        # Shielded, or a caller that gives up would leave the thread behind with the file open.
        with anyio.CancelScope(shield=True):
            writer.start(opened)
            await opened
            self._writer = writer
            self._fairness = FairShare(loop.call_later, writer.batch_done)
            self._fair_reads = FairShare(loop.call_later, Event())
            try:
                await self._open_reads(self._path)
            except BaseException:
                await self._stop()
                raise
        return self

    async def __aexit__(self, *exc: object) -> None:
        with anyio.move_on_after(_CLOSING_GRACE, shield=True) as scope:
            await self._stop()
        if scope.cancelled_caught:
            raise StoreError(f"the database did not close within {_CLOSING_GRACE} s; check the disk")

    async def _stop(self) -> None:
        """Refuse new work, finish what is queued, and close the writer last: its checkpoint wants no reader."""
        writer, self._writer = self._writer, None
        try:
            await self._close_reads()
        finally:
            if writer is not None:
                closed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
                writer.stop(closed)
                await closed
                writer.join()

    async def append(self, writes: Sequence[RunWrite]) -> None:
        """See `Store.append`."""
        await self._write(Unit.of(writes))

    async def save_template(self, row: TemplateRow) -> int:
        """See `Store.save_template`."""
        try:
            values = rows.template_values(row)
        except ValueError as error:
            raise StoreError(f"cannot store template {row.name}: {error}", retryable=False) from error
        version: int = await self._write(lambda connection: statements.save_template(connection, values))
        return version

    async def touch_agent(self, agent_id: str, *, type: str = "llm", now: int) -> AgentRow:
        """See `Store.touch_agent`."""
        row: AgentRow = await self._write(lambda connection: statements.touch_agent(connection, agent_id, type, now))
        return row

    async def set_meta(self, key: str, value: str) -> None:
        """See `Store.set_meta`."""
        await self._write(lambda connection: statements.set_meta(connection, key, value))

    async def put_secret(
        self, row: SecretRow, *, under: str | None = None, before: SecretRow | None = None, use: SecretUse | None = None
    ) -> None:
        """See `SecretTable.put_secret`."""
        await self._write(lambda connection: statements.put_secret(connection, row, under, before, use))

    async def delete_secret(self, name: str, use: SecretUse | None = None) -> bool:
        """See `SecretTable.delete_secret`."""
        existed: bool = await self._write(lambda connection: statements.delete_secret(connection, name, use))
        return existed

    async def change_vault(
        self, before: str | None, after: str, rows: Sequence[tuple[SecretRow, SecretRow]] | None = None,
        use: SecretUse | None = None,
    ) -> None:  # fmt: skip
        """See `SecretTable.change_vault`."""
        await self._write(lambda connection: statements.change_vault(connection, before, after, rows, use))

    async def add_secret_uses(self, uses: Sequence[SecretUse]) -> None:
        """See `SecretTable.add_secret_uses`."""
        await self._write(lambda connection: statements.add_secret_uses(connection, uses))

    async def prune_secret_uses(self, *, before: int, keep: int, at_once: int) -> int:
        """See `SecretTable.prune_secret_uses`."""
        gone: int = await self._write(
            lambda connection: statements.prune_secret_uses(connection, before, keep, at_once)
        )
        return gone

    async def put_plugin(self, row: PluginRow) -> None:
        """See `PluginTable.put_plugin`."""
        await self._write(lambda connection: statements.put_plugin(connection, row))

    async def delete_plugin(self, id: str) -> bool:
        """See `PluginTable.delete_plugin`."""
        existed: bool = await self._write(lambda connection: statements.delete_plugin(connection, id))
        return existed

    async def _write(self, work: Work) -> Any:
        if self._writer is None:
            raise StoreError("expected an open store, found a closed one", retryable=False)
        done: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._writer.submit(done, work)
        fairness = self._fairness
        fairness.begin()
        try:
            return await done
        finally:
            fairness.end()


def _running_loop() -> asyncio.AbstractEventLoop:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        raise StoreError(
            "expected an asyncio event loop, found another; use MemoryStore there", retryable=False
        ) from None


def _deliver(loop: asyncio.AbstractEventLoop, outcomes: list[Outcome]) -> None:
    """Wake the callers of a batch, from the writer thread with a single call into the loop."""
    try:
        loop.call_soon_threadsafe(_settle, outcomes)
    except RuntimeError:
        pass  # the loop was closed under an open store: nobody waits any more


def _settle(outcomes: list[Outcome]) -> None:
    for ticket, result, error in outcomes:
        if ticket.done():
            continue  # its caller was cancelled
        if error is None:
            ticket.set_result(result)
        else:
            ticket.set_exception(error)
