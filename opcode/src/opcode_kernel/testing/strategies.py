"""Hypothesis strategies for definitions; needs the extra `test`. The shapes are those of `generator`, and they shrink.

@given(definitions())
def test_every_run_comes_to_rest(data): ...
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from hypothesis import strategies as st

from opcode_kernel.errors import Json
from opcode_kernel.testing.faults import Faults
from opcode_kernel.testing.generator import Features, generate

T = TypeVar("T")


class _Drawn:
    def __init__(self, draw: st.DrawFn) -> None:
        self._draw = draw

    def pick(self, options: Sequence[T]) -> T:
        return self._draw(st.sampled_from(options))

    def chance(self, percent: int) -> bool:
        # Small numbers mean no, so that shrinking takes things away.
        return self._draw(st.integers(0, 99)) >= 100 - percent


@st.composite
def definitions(draw: st.DrawFn, features: Features | None = None) -> dict[str, Json]:
    """Return definitions with all six step types, nested, and with whatever `features` allows."""
    return generate(_Drawn(draw), features)


def seeds() -> st.SearchStrategy[int]:
    """Return seeds of simulations."""
    return st.integers(0, 2**32 - 1)


def faults(policies: Sequence[str | None] = (None, "resume")) -> st.SearchStrategy[Faults]:
    """Return faults: crashes, repeated and late messages, in any mixture."""
    chances = st.sampled_from((0.0, 0.05, 0.3))
    return st.builds(
        Faults, crash_before=chances, crash_after=chances, duplicate=chances, late=st.sampled_from((0.0, 0.5, 1.0)),
        policy=st.sampled_from(policies),
    )  # fmt: skip
