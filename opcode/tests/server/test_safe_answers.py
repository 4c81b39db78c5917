"""Answers and refusals of every tool show no secret, not even one that was stored before anybody knew it for one."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from opcode_kernel import Tool, ToolResult, hookimpl, registry_of
from opcode_kernel.errors import ConflictError, OpcodeError
from opcode_kernel.runtime.secrets import Secrets
from opcode_kernel.server.sessions import Sessions
from opcode_kernel.server.tools import collect_tools

pytestmark = pytest.mark.anyio

SECRET = "hunter22-and-more"


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class Telling:
    """A plugin whose tool says what it is told, or refuses with it."""

    @hookimpl
    def opcode_tools(self, engine: Any) -> list[Tool]:
        async def tell(given: dict[str, Any], session: Any) -> ToolResult:
            if given.get("refuse"):
                raise ConflictError(f"no {given['text']}", details={"k": [given["text"]]})
            return ToolResult({"said": given["text"], "n": 4711}, text=f"said {given['text']}")

        schema = {"type": "object", "properties": {}}
        return [Tool("test.tell", "Tell", schema, schema, tell)]


@pytest.fixture
def engine() -> Any:
    secrets = Secrets(None)
    return SimpleNamespace(registry=registry_of(Telling()), store=None, secrets=secrets)


async def test_an_answer_is_masked_in_both_of_its_forms(engine: Any) -> None:
    tool = collect_tools(engine, Sessions())["test.tell"]
    session: Any = SimpleNamespace(connection_id="c")
    assert (await tool.handler({"text": SECRET}, session)).data == {"said": SECRET, "n": 4711}
    engine.secrets.known.add(SECRET)
    engine.secrets.known.add("4711")
    result = await tool.handler({"text": SECRET}, session)
    assert (result.data, result.text) == ({"said": "***", "n": 4711}, "said ***")


async def test_a_refusal_is_masked_with_its_details_and_its_cause(engine: Any) -> None:
    tool = collect_tools(engine, Sessions())["test.tell"]
    engine.secrets.known.add(SECRET)
    with pytest.raises(OpcodeError) as caught:
        await tool.handler({"text": SECRET, "refuse": True}, SimpleNamespace(connection_id="c"))  # type: ignore[arg-type]
    assert (caught.value.code, caught.value.message, caught.value.details) == ("CONFLICT", "no ***", {"k": ["***"]})
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__
