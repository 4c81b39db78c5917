"""Named points at which a process kills itself with SIGKILL.

They wrap the parts of the engine from outside, in the process of the test alone: the product knows nothing of them and
pays nothing. A plan names one point, which hit of it is the last, and whether hits count while the process recovers or
while it serves.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

SERVING = "serving"
RECOVERING = "recovering"

#: Where a process that serves can die: around the transaction, inside it, around the answer, around the effect.
POINTS = (
    "before_begin", "after_begin", "inside_unit", "before_commit", "after_commit", "before_reply", "before_ack",
    "after_ack", "before_effect", "after_effect",
)  # fmt: skip
#: And where one that starts can; the last one is always reached.
RECOVERY_POINTS = (
    "before_begin", "after_begin", "inside_unit", "before_commit", "after_commit", "before_open", "after_open",
    "after_load", "before_effect", "after_effect", "before_ready",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Plan:
    """Die at the `nth` hit (from 1) of a point in one phase."""

    point: str
    nth: int = 1
    phase: str = SERVING

    def to_json(self) -> dict[str, Any]:
        """Return the plan as the process gets it."""
        return asdict(self)


class Failpoints:
    """The points of this process. Without a plan every hit is nothing. Where it died it leaves in the file `grave`."""

    def __init__(self, plan: Plan | None, grave: Path) -> None:
        self._plan = plan
        self._grave = grave
        self._left = plan.nth if plan is not None else 0
        self.phase = RECOVERING

    def hit(self, point: str) -> None:
        """Pass a point, or die there."""
        plan = self._plan
        if plan is None or plan.phase != self.phase:
            return
        # A recovery that never comes to the point dies at its end, so that it is a recovery that was cut off.
        last = point == "before_ready"
        if point != plan.point and not last:
            return
        self._left -= 1
        if self._left <= 0 or last:
            self._grave.write_text(point)
            os.kill(os.getpid(), signal.SIGKILL)

    def install(self) -> None:
        """Wrap the writing connection, the opening of the store, the loading of runs and the replies."""
        from opcode_kernel.runtime import engine, reply
        from opcode_kernel.store import sqlite, tortoise

        if self._plan is None:
            return
        sqlite.WriterConnection.execute = self._execute(sqlite.WriterConnection.execute)  # type: ignore[method-assign]
        tortoise.open_writer = self._around("before_open", tortoise.open_writer, "after_open")  # type: ignore[attr-defined]
        reply.Reply.done = self._around("before_reply", reply.Reply.done)  # type: ignore[method-assign]
        engine.Engine.load = self._awaited(engine.Engine.load, "after_load")  # type: ignore[method-assign]

    def _execute(self, execute: Callable[..., Any]) -> Callable[..., Any]:
        def executed(connection: Any, statement: str, *values: Any) -> Any:
            word = statement.split(None, 1)[0]
            if word not in ("BEGIN", "COMMIT"):
                if word == "INSERT":
                    self.hit("inside_unit")
                return execute(connection, statement, *values)
            self.hit(f"before_{word.lower()}")
            result = execute(connection, statement, *values)
            self.hit(f"after_{word.lower()}")
            return result

        return executed

    def _around(self, before: str, function: Callable[..., Any], after: str = "") -> Callable[..., Any]:
        def called(*arguments: Any, **more: Any) -> Any:
            self.hit(before)
            result = function(*arguments, **more)
            if after:
                self.hit(after)
            return result

        return called

    def _awaited(self, function: Callable[..., Any], after: str) -> Callable[..., Any]:
        async def called(*arguments: Any) -> Any:
            result = await function(*arguments)
            self.hit(after)
            return result

        return called
