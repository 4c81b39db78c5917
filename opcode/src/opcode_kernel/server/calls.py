"""Tool calls that outlive their connection.

A client that hangs up must not stop a run it started: only the answer is lost. So calls that change something run in a
task group of the server, and the connection's own task merely waits for their outcome.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import anyio
from anyio.abc import TaskGroup

from opcode_kernel.errors import OpcodeError

T = TypeVar("T")


class Calls:
    """The calls in flight. Leaving `open_calls` cancels what is left of them."""

    def __init__(self, tasks: TaskGroup) -> None:
        self._tasks = tasks
        self._in_flight = 0
        self._idle = anyio.Event()

    @property
    def in_flight(self) -> int:
        """How many calls have not been answered yet."""
        return self._in_flight

    def spawn(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Run something beside the calls until it ends or the server does."""
        self._tasks.start_soon(work)

    async def run(self, work: Callable[[], Awaitable[T]]) -> T:
        """Return what `work` returns or raise what it raises; goes on when the caller is cancelled.

        Raises:
            OpcodeError: `CANCELLED`, the server stopped first.
        """
        done = anyio.Event()
        values: list[T] = []
        failures: list[Exception] = []

        async def detached() -> None:
            try:
                values.append(await work())
            except Exception as error:  # noqa: BLE001  (handed to the caller below)
                failures.append(error)
            finally:
                self._leave()
                done.set()

        self._in_flight += 1
        self._tasks.start_soon(detached)
        await done.wait()
        if failures:
            raise failures[0]
        if not values:
            raise OpcodeError("the server is stopping; ask opcode.status for the run once it is back", code="CANCELLED")
        return values[0]

    async def settle(self) -> None:
        """Wait until no call is in flight."""
        while self._in_flight:
            self._idle = anyio.Event()
            await self._idle.wait()

    def _leave(self) -> None:
        self._in_flight -= 1
        if not self._in_flight:
            self._idle.set()


@asynccontextmanager
async def open_calls() -> AsyncIterator[Calls]:
    """Open the group that calls run in."""
    async with anyio.create_task_group() as tasks:
        yield Calls(tasks)
        tasks.cancel_scope.cancel()


def describe(error: BaseException) -> dict[str, Any]:
    """Return the published shape of a failure: `{code, message, step_id?, details?}`."""
    if not isinstance(error, OpcodeError):
        return {"code": "EXECUTION_ERROR", "message": str(error)}
    out: dict[str, Any] = {"code": error.code, "message": error.message}
    if isinstance(error.details.get("step_id"), str):
        out["step_id"] = error.details["step_id"]
    if error.details:
        out["details"] = error.details
    return out
