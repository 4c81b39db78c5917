"""Every row of the contract for actions, templates and expressions has a test that names it."""

from __future__ import annotations

import ast
from pathlib import Path

#: Test vectors: templates (T), expressions (E), actions (A), a number for each row of the three tables.
VECTORS = {f"17.{table}{row}" for table, rows in (("T", 12), ("E", 13), ("A", 18)) for row in range(1, rows + 1)}
#: What was weak in injection (I) and correctness (K).
WEAKNESSES = {f"15.{table}{row}" for table, rows in (("I", 6), ("K", 17)) for row in range(1, rows + 1)}
#: Deliberate deviations, with what keeps existing templates working.
DEVIATIONS = {f"18.{row}" for row in range(1, 14)}
#: The sections about the framework, the small actions and templates.
SECTIONS = {
    *(f"1.{section}" for section in range(1, 9)), "5", "6", *(f"8.{section}" for section in range(1, 7)),
    *(f"10.{section}" for section in range(1, 8)),
}  # fmt: skip

ITEMS = VECTORS | WEAKNESSES | DEVIATIONS | SECTIONS


def _named(path: Path) -> dict[str, list[str]]:
    """Return which tests of a file name which item, as `{item: [test, …]}`."""
    found: dict[str, list[str]] = {}
    for function in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if not isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef) or not function.name.startswith("test_"):
            continue
        for mark in function.decorator_list:
            if isinstance(mark, ast.Call) and ast.unparse(mark.func) == "pytest.mark.spec":
                for item in mark.args:
                    found.setdefault(ast.literal_eval(item), []).append(function.name)
    return found


def test_each_row_of_the_contract_has_a_test_of_its_own() -> None:
    found: dict[str, list[str]] = {}
    for path in Path(__file__).parent.glob("test_*.py"):
        for item, tests in _named(path).items():
            found.setdefault(item, []).extend(tests)
    assert sorted(ITEMS - set(found)) == []
    assert sorted(set(found) - ITEMS) == []
