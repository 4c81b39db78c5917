"""Spawning step tasks and drivers.

A task in an anyio group costs 15 microseconds, a native one 3 (design/speed figures in `docs/design.md`), and a run
may spawn thousands. So this is the one place besides the store that knows the backends: tasks are native, belong
to a nursery that is open on the stack, and are all gone when it closes. Cancelling one uses an anyio scope, so actions
see the same cancellation on both backends.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any, Protocol

import anyio


class Nursery(Protocol):
    """Where tasks live."""

    def spawn(self, work: Callable[..., Coroutine[Any, Any, None]], *args: Any) -> None:
        """Start a task; `work` handles its own errors."""
        ...


class _AsyncioNursery:
    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._tasks: set[asyncio.Task[None]] = set()

    def spawn(self, work: Callable[..., Coroutine[Any, Any, None]], *args: Any) -> None:
        task = self._loop.create_task(work(*args))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        while self._tasks:
            tasks = list(self._tasks)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


class _TrioNursery:
    def __init__(self, nursery: Any) -> None:
        self._nursery = nursery

    def spawn(self, work: Callable[..., Coroutine[Any, Any, None]], *args: Any) -> None:
        self._nursery.start_soon(work, *args)


@asynccontextmanager
async def open_nursery() -> AsyncIterator[Nursery]:
    """Open a nursery of the running backend; leaving cancels what is still running and waits for it."""
    trio = sys.modules.get("trio")
    if trio is not None and trio.lowlevel.in_trio_run():
        async with trio.open_nursery() as native:
            try:
                yield _TrioNursery(native)
            finally:
                native.cancel_scope.cancel()
        return
    nursery = _AsyncioNursery()
    try:
        yield nursery
    finally:
        with anyio.CancelScope(shield=True):
            await nursery.close()
