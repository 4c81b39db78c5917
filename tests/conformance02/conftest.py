"""Parts of the contract tests of actions, templates and expressions.

Each test names with `@pytest.mark.spec("17.T3")` what of the contract it shows to hold; `test_coverage.py` knows all the names.
The engines, the probe and the server are those of `tests/conftest.py`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from opcode_kernel import DefinitionError, Json

#: A chain of errors, from the one of the run down to where it began.
Errors = list[dict[str, Any]]


@pytest.fixture
def anyio_backend() -> str:
    """The daemon runs on asyncio, and so do its contract tests."""
    return "asyncio"


@pytest.fixture
def refused(world: Any) -> Callable[..., Awaitable[dict[str, Any]]]:
    """Return a function that defines what must be refused, and returns the one problem that is reported."""

    async def define(definition: Json, **more: Any) -> dict[str, Any]:
        steps = {"steps": definition} if isinstance(definition, list) else definition
        async with world.engine() as engine:
            with pytest.raises(DefinitionError) as caught:
                await engine.define("t", steps, agent_id="me", **more)
        (problem,) = caught.value.details["errors"]
        return dict(problem)

    return define


@pytest.fixture
def warned(world: Any) -> Callable[..., Awaitable[list[dict[str, Any]]]]:
    """Return a function that defines what is accepted, and returns the warnings about it."""

    async def define(definition: Json, **more: Any) -> list[dict[str, Any]]:
        steps = {"steps": definition} if isinstance(definition, list) else definition
        async with world.engine() as engine:
            return list((await engine.define("t", steps, agent_id="me", **more)).get("warnings", ()))

    return define


@pytest.fixture
def taken(world: Any) -> Callable[..., Awaitable[Any]]:
    """Return a function that resolves a value as the params of a step; returns what reached the action, or the error.

    `output` is what a step `s` before it returned, `inputs` the inputs of the run.
    """

    async def resolve(value: Json, *, output: Json = None, inputs: dict[str, Json] | None = None, **more: Any) -> Any:
        world.probe.answer = output
        steps = [
            {"id": "s", "action": "probe.take"},
            {"id": "e", "action": "probe.take", "depends_on": ["s"], "params": {"v": value}},
        ]
        result = await world.run(steps, inputs, **more)
        error = result["steps"]["e"].get("error")
        return error if error is not None else world.probe.taken[-1]["v"]

    return resolve
