"""Which tests say that they prove which item of the contract: `@pytest.mark.spec("11.3")`."""

from __future__ import annotations

import ast
from pathlib import Path


def proofs_by_item(folder: Path) -> dict[str, list[str]]:
    """Return which tests below a folder name which item, as `{item: [test, …]}`."""
    found: dict[str, list[str]] = {}
    for path in folder.rglob("test_*.py"):
        for function in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
                continue
            if not function.name.startswith("test_"):
                continue
            for mark in function.decorator_list:
                if isinstance(mark, ast.Call) and ast.unparse(mark.func) == "pytest.mark.spec":
                    for item in mark.args:
                        found.setdefault(ast.literal_eval(item), []).append(function.name)
    return found
