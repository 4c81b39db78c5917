"""Where the answer to one request goes, from the task that drives a run to whoever asked."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import anyio

from opcode_kernel.core.run import Run
from opcode_kernel.errors import Failure, SignalFailedError


class Reply:
    """The answer to one request: `done(run)` after the barrier, or the error."""

    __slots__ = ("_answer", "_event", "accepted", "error", "moved", "result")

    def __init__(self, answer: Callable[[Run], Any] | None = None) -> None:
        self._answer = answer
        self._event = anyio.Event()
        self.result: Any = None
        self.error: BaseException | None = None
        #: Set once the signal that this answers was accepted.
        self.accepted = False
        #: Whether that signal made the run, or a step that waited, go on.
        self.moved = False

    def done(self, run: Run) -> None:
        """Compute the answer from the run as it is now, and deliver it."""
        try:
            self.result = self._answer(run) if self._answer is not None else None
        except Exception as error:  # noqa: BLE001 - belongs to whoever asked
            self.error = error
        self._event.set()

    def fail(self, error: BaseException) -> None:
        """Deliver an error instead; that of an accepted signal says that it was lost, and why."""
        if self.accepted:
            cause = Failure.of(error)
            error = SignalFailedError(
                f"the signal was accepted but could not be written, send it again: {cause.message}",
                details={"cause": cause.to_json()},
            )
        self.error = error
        self._event.set()

    async def wait(self) -> Any:
        """Return the answer or raise the error."""
        await self._event.wait()
        if self.error is not None:
            raise self.error
        return self.result
