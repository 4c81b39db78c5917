"""Where the choices of the generator come from: numbers by seed here, hypothesis' draws in `strategies`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, TypeVar

from opcode_kernel.testing.world import Chance

T = TypeVar("T")


class Chooser(Protocol):
    """Where choices come from."""

    def pick(self, options: Sequence[T]) -> T:
        """Return one of the options."""
        ...

    def chance(self, percent: int) -> bool:
        """Return True in so many of a hundred cases."""
        ...


class SeededChooser:
    """Choices by seed, equal in every process."""

    def __init__(self, seed: int) -> None:
        self._chance = Chance(seed)
        self._count = 0

    def pick(self, options: Sequence[T]) -> T:
        """Return one of the options."""
        self._count += 1
        return options[int(self._chance.draw(f"choose/{self._count}") * len(options))]

    def chance(self, percent: int) -> bool:
        """Return True in so many of a hundred cases."""
        self._count += 1
        return self._chance.draw(f"choose/{self._count}") * 100 < percent
