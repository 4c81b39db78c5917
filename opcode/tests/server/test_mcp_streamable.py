"""MCP over streamable HTTP, with the stock client of the SDK, in both of its protocol eras."""

from __future__ import annotations

from typing import Any

import anyio
import pytest
from mcp.client.client import Client
from mcp.client.session import ClientSession
from mcp.client.streamable_http import streamable_http_client

pytestmark = pytest.mark.anyio


async def test_failures_and_answers_are_the_same_as_over_sse(serve):
    async with (
        serve() as site,
        streamable_http_client(f"{site.url}/mcp") as streams,
        ClientSession(streams[0], streams[1]) as client,
    ):
        hello = await client.initialize()
        refused = await client.call_tool("opcode.run", {"template_name": "missing", "agent_id": "a"})
        answer = await client.call_tool("opcode.run", {"template_name": "t", "agent_id": "a", "params": {"n": 1}})
        tools = (await client.list_tools()).tools
    assert hello.server_info.name == "opcode"
    assert refused.structured_content["error"]["code"] == "NOT_FOUND"
    assert answer.structured_content["output"] == {"n": 1}
    assert len(tools) == 5


async def test_the_newest_protocol_is_served_too(serve):
    async with serve() as site, Client(f"{site.url}/mcp") as client:
        answer = await client.call_tool("opcode.run", {"template_name": "t", "agent_id": "a"})
        refused = await client.call_tool("opcode.status", {"workflow_id": "x"})
    assert answer.structured_content["status"] == "completed"
    assert refused.is_error


async def test_a_notification_needs_an_open_stream_and_then_arrives_on_it(serve, until):
    notes: list[Any] = []
    got = anyio.Event()

    async def note(params: Any) -> None:
        notes.append(params)
        got.set()

    async with serve() as site:
        async with (
            streamable_http_client(f"{site.url}/mcp") as streams,
            ClientSession(streams[0], streams[1], logging_callback=note) as client,
        ):
            await client.initialize()
            await until(lambda: bool(site.application.sessions._streams))
            result = await client.call_tool("opcode.run", {"template_name": "notify", "agent_id": "a"})
            with anyio.fail_after(5):
                await got.wait()
        assert result.structured_content["output"] == [True, None]
        assert notes[0].data == {"rows": 12}
        assert await site.application.sessions.notify("a", {"message": "m"}) == (False, "not_connected")
