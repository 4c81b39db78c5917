"""The short version of `make fuzz`: 2,000 spoilt definitions and 2,000 spoilt expressions."""

from __future__ import annotations

import anyio
import pytest
from tests.fuzz.judge import Verdict, judge_definitions, judge_expressions

EACH = 250


@pytest.mark.parametrize("first", range(0, 2_000, EACH))
def test_a_spoilt_definition_is_answered_or_refused_in_time(first: int) -> None:
    _hold(anyio.run(judge_definitions, range(first, first + EACH)), ("refused", "completed"))


@pytest.mark.parametrize("first", range(0, 2_000, EACH))
def test_a_spoilt_expression_is_answered_or_refused_in_time(first: int) -> None:
    _hold(
        anyio.run(judge_expressions, range(first, first + EACH)),
        ("cel: a value", "expr: a value", "expr: does not compile"),
    )


def _hold(verdict: Verdict, expected: tuple[str, ...]) -> None:
    """Nothing was violated, and the inputs were neither all sound nor all nonsense."""
    assert not verdict.violations, "\n".join(verdict.violations)
    assert all(verdict.outcomes[outcome] for outcome in expected), verdict.outcomes
