"""The outside world: a file that only actions append to, and that is synced before they answer.

One record is one line of fixed length, so that no record ever crosses a page: a kill in the middle of a write leaves all
of it or nothing.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import anyio

from opcode_kernel import Action, ActionContext, ActionError, Json, action, hookimpl

#: Divides the size of a page.
_RECORD = 256


class Line(NamedTuple):
    """One effect: `kind` is book or put, `consent` the operator attempt, the last part of the idempotency key."""

    kind: str
    run_id: str
    step_id: str
    key: str
    consent: int
    attempt: int


def write(path: Path, line: Line) -> None:
    """Append a record and wait until it is on the disk."""
    record = " ".join(map(str, line)).encode().ljust(_RECORD - 1) + b"\n"
    assert len(record) == _RECORD, line
    handle = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(handle, record)
        os.fsync(handle)
    finally:
        os.close(handle)


class Book:
    """The ledger as a reader from outside sees it; only what is new is read."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lines: list[Line] = []

    def lines(self) -> list[Line]:
        """Return every record so far; a file that is not there holds none."""
        if self._path.exists():
            with self._path.open("rb") as file:
                file.seek(len(self._lines) * _RECORD)
                self._lines += [_line(record) for record in file.read().decode().splitlines()]
        return self._lines

    def holds(self, kind: str, run_id: str, step_id: str) -> bool:
        """Tell whether an effect has happened."""
        return any((line.kind, line.run_id, line.step_id) == (kind, run_id, step_id) for line in self.lines())


def _line(record: str) -> Line:
    kind, run_id, step_id, key, consent, attempt = record.split()
    return Line(kind, run_id, step_id, key, int(consent), int(attempt))


def plugin(path: Path, hit: Callable[[str], None]) -> ModuleType:
    """Return the plugin of the ledger's actions; `hit` passes a failpoint."""
    module = ModuleType("soak_ledger", "Actions that write into a ledger.")
    actions = list(_actions(path, hit))
    module.opcode_actions = hookimpl(lambda: actions)  # type: ignore[attr-defined]
    return module


def _actions(path: Path, hit: Callable[[str], None]) -> Iterable[Action]:
    async def note(kind: str, ctx: ActionContext) -> Json:
        hit("before_effect")
        key = ctx.idempotency_key
        write(path, Line(kind, ctx.run_id, ctx.step_id, key, int(key.rpartition(":")[2]), ctx.attempt))
        hit("after_effect")
        await anyio.sleep(0.001)  # the window between the effect and its completion, for kills at random times
        return {"done": ctx.step_id}

    @action("ledger.book", summary="Append one record; a second one would be wrong", effect="effect")
    async def book(ctx: ActionContext, params: Any) -> Json:
        return await note("book", ctx)

    @action("ledger.put", summary="Append one record; a second one under the same key is none", effect="idempotent")
    async def put(ctx: ActionContext, params: Any) -> Json:
        return await note("put", ctx)

    @action("ledger.shaky", summary="Fail at every odd attempt, before anything is done", effect="effect")
    async def shaky(ctx: ActionContext, params: Any) -> Json:
        if ctx.attempt % 2:
            raise ActionError("EXECUTION_ERROR", f"attempt {ctx.attempt} fails", retryable=True)
        return await note("book", ctx)

    @action("ledger.refuse", summary="Fail for good", effect="effect")
    def refuse(ctx: ActionContext, params: Any) -> Json:
        raise ActionError("EXECUTION_ERROR", "it always fails", retryable=False)

    @action("ledger.note", summary="Do nothing", effect="pure")
    def nothing(ctx: ActionContext, params: Any) -> Json:
        return {"done": ctx.step_id}

    return book, put, shaky, refuse, nothing
