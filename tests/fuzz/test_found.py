"""What campaigns found, each with the smallest input that showed it."""

from __future__ import annotations

from typing import Any

import anyio
import pytest
from tests.fuzz.judge import PLUGINS, answer_to

from opcode_kernel import MemoryStore, open_engine, registry_of

DEEP = "[" * 100_000


def _echo(value: Any) -> dict[str, Any]:
    return {"id": "e", "action": "test.echo", "params": {"value": value}}


@pytest.mark.parametrize(
    ("definition", "expected"),
    [
        pytest.param({"steps": [_echo(f"${{{{inputs.n ?? {DEEP}}}}}")]}, "refused", id="a default that is nested too deep"),
        pytest.param(
            {"steps": [{"id": "l", "type": "loop", "config": {"over": DEEP, "body": [_echo(1)]}}]}, "refused",
            id="a list to loop over that is nested too deep",
        ),
        pytest.param(
            {"steps": [{"id": "l", "type": "loop", "config": {"over": "[NaN]", "body": [_echo("${{loop.item}}")]}}]}, "refused",
            id="a list to loop over with a number that JSON has not",
        ),
    ],
)  # fmt: skip
def test_found(definition: Any, expected: str) -> None:
    async def ask() -> str:
        async with MemoryStore() as store, open_engine(store, registry_of(*PLUGINS)) as engine:
            return await answer_to(engine, "t", definition)

    assert anyio.run(ask) == expected
