from typing import Any

import pytest

from opcode_expr.evaluator import ExprEvaluator
from opcode_kernel import ExpressionError


@pytest.fixture
def value():
    """Evaluate a program over variables."""

    def run(text: str, /, **variables: Any) -> Any:
        return ExprEvaluator().compile(text).evaluate(variables)

    return run


@pytest.fixture
def failure(value):
    """Return the error of a program that must fail."""

    def run(text: str, /, **variables: Any) -> ExpressionError:
        with pytest.raises(ExpressionError) as caught:
            value(text, **variables)
        assert caught.value.retryable is False
        return caught.value

    return run
