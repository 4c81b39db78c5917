import pytest

from opcode_jq.evaluator import JqEvaluator


@pytest.fixture(scope="session")
def jq():
    evaluator = JqEvaluator(seconds=30)
    yield evaluator
    evaluator.close()
