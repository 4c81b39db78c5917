"""Every numbered check and every listed shortcoming of the contract has a test that names it."""

from __future__ import annotations

import ast
from pathlib import Path

CHECKS = {f"11.{number}" for number in range(1, 26)}
SHORTCOMINGS = {f"10.{number}" for number in range(1, 61)}


def _named(path: Path) -> dict[str, list[str]]:
    """Return which tests of a file name which item, as `{item: [test, …]}`."""
    found: dict[str, list[str]] = {}
    for function in ast.walk(ast.parse(path.read_text())):
        if not isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef) or not function.name.startswith("test_"):
            continue
        for mark in function.decorator_list:
            if isinstance(mark, ast.Call) and ast.unparse(mark.func) == "pytest.mark.spec":
                for item in mark.args:
                    found.setdefault(ast.literal_eval(item), []).append(function.name)
    return found


def test_each_item_of_the_contract_has_a_test_of_its_own() -> None:
    found: dict[str, list[str]] = {}
    for path in Path(__file__).parent.rglob("test_*.py"):
        for item, tests in _named(path).items():
            found.setdefault(item, []).extend(tests)
    assert sorted((CHECKS | SHORTCOMINGS) - set(found)) == []
    assert sorted(set(found) - CHECKS - SHORTCOMINGS) == []
