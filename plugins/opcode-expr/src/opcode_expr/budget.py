"""What one evaluation may use. Everything whose cost depends on the data charges here before it works."""

from __future__ import annotations

from collections.abc import Iterator
from time import monotonic
from typing import Any

from opcode_expr.faults import Fault

#: Wall-clock seconds of one evaluation: with what comes before and after, an answer stays below one second.
TIME_LIMIT = 0.8
#: Elements that lists and maps made by the program may hold in total; a text counts one for every 64 characters.
MEMORY_LIMIT = 1_000_000
#: Size of the final result: about the bytes of its JSON text.
RESULT_LIMIT = 8 * 1024 * 1024
#: Units of work (about an AST node, or 64 characters) between two looks at the clock: well under 10 ms.
QUANTUM = 4096
#: Units that make up a second of work.
_PER_SECOND = 1_000_000
#: Seconds of work before which nobody asks how much time is left.
_BRIEF = 0.005
#: Elements between two looks at the clock in a loop that is no more than a copy.
STRETCH = 4096


class Budget:
    """The account of one evaluation.

    `left` is public so that loops can count it down without a call: `budget.left -= cost`, and `check()` below zero.
    The limits stand in the class: most programs never touch them, so a new account costs next to nothing.
    """

    left = QUANTUM
    memory = MEMORY_LIMIT
    result = RESULT_LIMIT
    seconds = TIME_LIMIT
    deadline = 0.0

    def check(self) -> None:
        """Look at the clock. The time starts with the first look, a few milliseconds into the work."""
        now = monotonic()
        if not self.deadline:
            self.deadline = now + self.seconds
        elif now > self.deadline:
            raise Fault(f"time limit exceeded: an expression may run for {self.seconds:g} s")
        self.left = QUANTUM

    def reserve(self, seconds: float) -> None:
        """Charge work that cannot be interrupted, and refuse it when it may take longer than the time that is left."""
        if seconds < _BRIEF:
            self.spend(int(seconds * _PER_SECOND))
            return
        self.check()
        if monotonic() + seconds > self.deadline:
            raise Fault(f"time limit exceeded: an expression may run for {self.seconds:g} s")

    def spend(self, units: int) -> None:
        """Charge work."""
        self.left -= units
        if self.left < 0:
            self.check()

    def stretches(self, items: list[Any]) -> Iterator[list[Any]]:
        """Yield a list in parts, with a look at the clock before each but the first."""
        if len(items) <= STRETCH:
            yield items
            return
        for start in range(0, len(items), STRETCH):
            self.check()
            yield items[start : start + STRETCH]

    def grow(self, units: int) -> None:
        """Charge elements about to be made."""
        self.memory -= units
        if self.memory < 0:
            raise Fault(f"memory budget exceeded: an expression may make {MEMORY_LIMIT} elements")
        self.spend(units >> 2)

    def text(self, characters: int) -> None:
        """Charge a text about to be made."""
        if characters > 63:
            self.grow(characters >> 6)

    def read(self, characters: int) -> None:
        """Charge a text about to be looked through."""
        if characters > 63:
            self.spend(characters >> 6)

    def deliver(self, size: int) -> None:
        """Charge a part of the result."""
        self.result -= size
        if self.result < 0:
            raise Fault(f"the result is too large: expected at most {RESULT_LIMIT} bytes")
        self.spend(1)
