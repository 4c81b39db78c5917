"""Section 12.6, `expressions`: the operator's bounds hold for every language."""

from __future__ import annotations

import time
from typing import Any

import pytest

from opcode_kernel import EngineOptions, MemoryStore, open_engine, registry_of
from opcode_kernel.plugin.policy import ExpressionRules, Policy
from opcode_kernel.testing import installed_plugins

pytestmark = pytest.mark.anyio

_SLOW = "reduce(1..400000, #acc + len(string(#)), 0)"
_LOOP: dict[str, Any] = {"id": "l", "type": "loop"}


def _loop(over: str) -> dict[str, Any]:
    return {**_LOOP, "config": {"over": over, "body": [{"id": "e", "action": "crypto.uuid"}]}}


@pytest.mark.parametrize(
    ("step", "rules", "said"),
    [
        pytest.param(
            {"id": "e", "action": "expr.eval", "params": {"expression": _SLOW}}, ExpressionRules(timeout=0.02), "time limit exceeded",
            id="expr",
        ),
        pytest.param(
            _loop("[1, 2, 3, 4, 5, 6, 7, 8].map(x, [1, 2, 3, 4, 5, 6, 7, 8].map(y, [1, 2, 3, 4, 5, 6, 7].map(z, x + y + z)))"),
            ExpressionRules(max_cost=1_000), "at most 1000 units", id="cel",
        ),
        pytest.param(_loop("[.inputs | range(100000000)] | .[:1]"), ExpressionRules(timeout=0.3), "within", id="jq"),
    ],
)  # fmt: skip
async def test_an_evaluation_takes_no_more_than_the_operator_allows(
    step: dict[str, Any], rules: ExpressionRules, said: str
) -> None:
    options = EngineOptions(policy=Policy(expressions=rules))
    began = time.monotonic()
    async with MemoryStore() as store, open_engine(store, registry_of(*installed_plugins()), options=options) as engine:
        await engine.define("t", {"steps": [step]}, agent_id="me")
        result = await engine.run("t", agent_id="me")
    assert result["status"] == "failed"
    assert said in str(result["error"])
    assert time.monotonic() - began < 10
