import importlib.util

import pytest

from opcode_cel.evaluator import CelEvaluator

ENGINES = ["pure", *(["native"] if importlib.util.find_spec("cel_expr_python") else [])]


@pytest.fixture(scope="session", params=ENGINES)
def cel(request):
    """The evaluator over each engine: every test that takes it holds for both. Time is plenty: the machine may be busy."""
    return CelEvaluator(engine=request.param, seconds=30)


@pytest.fixture(scope="session", params=[*ENGINES, "auto"])
def engine(request):
    """Each engine, and the choice between them."""
    return CelEvaluator(engine=request.param, seconds=30)
