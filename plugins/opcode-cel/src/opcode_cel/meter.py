"""The budget of one evaluation: units of work, and time."""

from __future__ import annotations

from time import monotonic

from opcode_cel.faults import BudgetFault

MAX_UNITS = 10_000_000
#: Units between two looks at the clock: well under a millisecond of work.
_INTERVAL = 2_000


class Meter:
    """Counts down. A unit is an operator evaluated, an element touched, or eight characters copied."""

    __slots__ = ("_deadline", "_left", "_mark", "_seconds", "_units")

    def __init__(self, seconds: float, units: int = MAX_UNITS) -> None:
        self._seconds = seconds
        self._deadline = monotonic() + seconds
        self._units = self._left = units
        self._mark = units - _INTERVAL

    def spend(self, units: int) -> None:
        """Take units off the budget.

        Raises:
            BudgetFault: nothing is left, or the time is over.
        """
        self._left -= units
        if self._left < self._mark:
            if self._left < 0:
                raise BudgetFault(f"expected an evaluation of at most {self._units} units, found one that needs more")
            self.look()
            self._mark = max(self._left - _INTERVAL, 0)

    def look(self) -> None:
        """Look at the clock: before something that takes long, however few units it is."""
        if monotonic() > self._deadline:
            raise BudgetFault(f"expected an evaluation within {self._seconds:g} s, found one that takes longer")
