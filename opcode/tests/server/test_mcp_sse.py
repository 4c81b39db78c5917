"""MCP over SSE with the stock client of the SDK."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import mcp_types as types
import orjson
import pytest
from mcp.client.session import ClientSession
from mcp.client.sse import sse_client
from mcp.shared.exceptions import MCPError

pytestmark = pytest.mark.anyio


@asynccontextmanager
async def connected(url: str, **options: Any) -> AsyncIterator[ClientSession]:
    async with sse_client(f"{url}/sse") as (read, write), ClientSession(read, write, **options) as session:
        await session.initialize()
        yield session


async def test_a_failure_is_a_sentence_and_a_code_that_a_stock_client_accepts(serve):
    async with serve() as site, connected(site.url) as client:
        await client.list_tools()
        result = await client.call_tool("opcode.run", {"template_name": "missing", "agent_id": "a"})
    assert result.is_error
    assert result.content[0].text.startswith("template lookup failed: [NOT_FOUND]")
    assert "not found" in result.content[0].text
    assert result.structured_content["error"]["code"] == "NOT_FOUND"


REFUSALS = [
    ("opcode.define", {}, "name is required"),
    ("opcode.define", {"name": "n"}, "agent_id is required"),
    ("opcode.define", {"name": "n", "agent_id": "a"}, "definition is required"),
    ("opcode.define", {"name": "n", "agent_id": "a", "definition": {"steps": []}}, "invalid definition: [VALID"),
    ("opcode.run", {"template_name": " ", "agent_id": "a"}, "template_name is required"),
    ("opcode.run", {"template_name": "t", "agent_id": ""}, "agent_id is required"),
    ("opcode.run", {"template_name": "t", "agent_id": "a", "params": "[1]"}, "params must be an object"),
    ("opcode.status", {}, "workflow_id is required"),
    ("opcode.status", {"workflow_id": "x"}, "status query failed: [NOT_FOUND]"),
    ("opcode.signal", {"workflow_id": "r1"}, "signal_type is required"),
    (
        "opcode.signal",
        {"workflow_id": "r1", "signal_type": "decision", "step_id": "late", "payload": {}},
        "signal failed: [CONFLICT] no pending decision for step late",
    ),
    ("opcode.query", {}, "resource is required"),
    ("opcode.query", {"resource": "moons"}, "unknown resource type: moons"),
    ("opcode.query", {"resource": "events"}, "events need event_type or workflow_id"),
]


async def test_refusals_start_with_the_published_words(serve):
    async with serve() as site, connected(site.url) as client:
        for tool, arguments, sentence in REFUSALS:
            result = await client.call_tool(tool, arguments)
            assert result.is_error
            assert result.content[0].text.startswith(sentence)
            assert result.structured_content["error"]["message"] == result.content[0].text.splitlines()[0]


async def test_validation_errors_carry_the_whole_list(serve):
    async with serve() as site, connected(site.url) as client:
        result = await client.call_tool("opcode.define", {"name": "n", "agent_id": "a", "definition": '{"steps": []}'})
    assert result.structured_content["error"]["details"]["errors"][0]["pointer"] == "/steps"


async def test_an_unknown_tool_and_a_crash_are_protocol_errors_and_the_server_lives_on(serve):
    async with serve() as site, connected(site.url) as client:
        with pytest.raises(MCPError) as unknown:
            await client.call_tool("opcode.fly", {})
        with pytest.raises(MCPError) as crash:
            await client.call_tool("opcode.run", {"template_name": "crash", "agent_id": "a"})
        assert (await client.call_tool("opcode.status", {"workflow_id": "r1"})).is_error is False
    assert unknown.value.error.code == -32602
    assert "opcode.fly" in unknown.value.error.message
    assert "not found" in unknown.value.error.message
    assert crash.value.error.code == -32603
    assert "opcode.run" in crash.value.error.message


async def test_tools_are_listed_sorted_with_schemas_and_honest_hints(serve):
    async with serve() as site, connected(site.url) as client:
        tools = (await client.list_tools()).tools
    by_name = {tool.name: tool for tool in tools}
    assert list(by_name) == ["opcode.define", "opcode.query", "opcode.run", "opcode.signal", "opcode.status"]
    assert all(tool.output_schema and tool.output_schema["type"] == "object" for tool in tools)
    assert by_name["opcode.status"].annotations.read_only_hint is True
    assert by_name["opcode.define"].annotations.destructive_hint is False
    assert by_name["opcode.run"].annotations.destructive_hint is True


async def test_the_handshake_names_the_product_its_version_and_logging(serve):
    async with serve() as site, sse_client(f"{site.url}/sse") as (read, write), ClientSession(read, write) as client:
        hello = await client.initialize()
        await client.send_ping()
    assert hello.server_info.name == "opcode"
    assert hello.server_info.version == "0.1.0"
    assert hello.capabilities.logging is not None
    assert hello.capabilities.resources is None
    assert all(
        f"opcode.{word}" in hello.instructions for word in ("run", "status", "signal", "define", "query", "diagram")
    )


async def test_an_answer_is_the_same_json_as_text_and_as_structure(serve):
    async with serve() as site, connected(site.url) as client:
        arguments = {"template_name": "t", "agent_id": "a", "params": '{"n": 1}', "unknown": 3}
        result = await client.call_tool("opcode.run", arguments)
        under = await client.call_tool("opcode_run", arguments)
    assert result.is_error is False
    assert orjson.loads(result.content[0].text) == result.structured_content == under.structured_content
    assert result.structured_content["output"] == {"n": 1}
    assert site.engine.calls[0][1]["wait"] is True


async def test_text_that_utf8_cannot_carry_is_replaced_instead_of_breaking_the_stream(serve):
    async with serve() as site, connected(site.url) as client:
        result = await client.call_tool("opcode.run", {"template_name": "surrogate", "agent_id": "a"})
    assert result.structured_content["output"] == "?"


async def test_tool_names_without_dots_are_listed_when_asked_for(serve):
    async with serve(tool_names="underscore") as site, connected(site.url) as client:
        assert (await client.list_tools()).tools[0].name == "opcode_define"
        assert (await client.call_tool("opcode.status", {"workflow_id": "r1"})).is_error is False


async def test_clients_known_to_refuse_dots_get_underscores(serve):
    info = types.Implementation(name="openai-agents", version="1")
    async with serve() as site, connected(site.url, client_info=info) as client:
        assert (await client.list_tools()).tools[0].name == "opcode_define"


async def test_steps_are_reported_as_progress_when_asked_for(serve, until):
    seen: list[tuple[float, str | None]] = []

    async def note(done: float, total: float | None, message: str | None) -> None:
        seen.append((done, message))

    async with serve() as site, connected(site.url) as client:
        await client.call_tool("opcode.run", {"template_name": "t", "agent_id": "a"}, progress_callback=note)
        await until(lambda: len(seen) == 2)
    assert seen == [(1, "a completed"), (2, "b completed")]


async def test_a_notification_reaches_the_agents_connections_and_nobody_after_they_left(serve, until):
    notes: list[Any] = []
    got = anyio.Event()

    async def note(params: Any) -> None:
        notes.append(params)
        got.set()

    async with serve() as site:
        async with connected(site.url, logging_callback=note) as client:
            result = await client.call_tool("opcode.run", {"template_name": "notify", "agent_id": "a"})
            with anyio.fail_after(5):
                await got.wait()
        assert result.structured_content["output"] == [True, None]
        assert (notes[0].level, notes[0].logger, notes[0].data) == ("info", "opcode.workflow", {"rows": 12})
        await until(lambda: not len(site.application.sessions))
        assert await site.application.sessions.notify("a", {"message": "m"}) == (False, "not_connected")


async def test_a_call_goes_on_when_its_client_leaves(serve, fake_engine, until):
    engine = fake_engine()
    engine.gate = anyio.Event()
    async with serve(engine) as site:
        async with connected(site.url) as client, anyio.create_task_group() as tasks:
            tasks.start_soon(client.call_tool, "opcode.run", {"template_name": "t", "agent_id": "a"})
            await until(lambda: bool(engine.calls))
            tasks.cancel_scope.cancel()
        await until(lambda: not len(site.application.sessions))
        engine.gate.set()
        await until(lambda: engine.finished == 1)


async def test_a_call_that_comes_while_the_server_stops_gets_its_answer(serve, fake_engine, until):
    engine, answers = fake_engine(gate=anyio.Event()), []
    stopping = anyio.Event()

    async def client(url: str) -> None:
        async with connected(url) as session:
            await stopping.wait()
            answers.append(await session.call_tool("opcode.run", {"template_name": "t", "agent_id": "a"}))

    with anyio.fail_after(10):
        async with anyio.create_task_group() as tasks, serve(engine) as site:
            tasks.start_soon(client, site.url)
            await until(lambda: len(site.application.sessions) == 1)
            await anyio.sleep(0.1)
            site.application.stop_intake()
            stopping.set()
            await until(lambda: bool(engine.calls))
            engine.gate.set()
    assert answers[0].structured_content["status"] == "completed"


async def test_zero_is_a_place_to_read_events_from(serve):
    async with serve() as site, connected(site.url) as client:
        await client.call_tool("opcode.status", {"workflow_id": "r1", "events_since": 0})
        await client.call_tool("opcode.status", {"workflow_id": "r1"})
    assert [given["events_since"] for _, given in site.engine.calls] == [0, None]


async def test_an_answer_nested_beyond_what_clients_can_parse_arrives(serve):
    nested = "[" * 400 + "]" * 400
    async with serve() as site, connected(site.url) as client:
        with anyio.fail_after(5):
            given = {"template_name": "t", "agent_id": "a", "params": f'{{"v": {nested}}}'}
            answer = await client.call_tool("opcode.run", given)
    assert answer.structured_content["workflow_id"] == "r1"
