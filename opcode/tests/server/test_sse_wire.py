"""The wire of `/sse` and `/message`, read by hand: what clients of the original depend on."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import httpx2
import orjson
import pytest

from opcode_kernel.server.client import call_daemon

pytestmark = pytest.mark.anyio


class Raw:
    """An event stream read by hand."""

    def __init__(self, client: httpx2.AsyncClient, lines: AsyncIterator[str]) -> None:
        self.client = client
        self.lines = lines
        self.endpoint = ""

    async def event(self) -> tuple[str, str]:
        name = data = ""
        async for line in self.lines:
            if line.startswith("event:"):
                name = line.removeprefix("event:").strip()
            elif line.startswith("data:"):
                data = line.removeprefix("data:").strip()
            elif not line and name:
                return name, data
        raise AssertionError("the stream ended")

    async def message(self) -> Any:
        with anyio.fail_after(5):
            return orjson.loads((await self.event())[1])

    async def post(self, message: Any) -> httpx2.Response:
        return await self.client.post(self.endpoint, json=message)


@asynccontextmanager
async def raw_stream(url: str) -> AsyncIterator[Raw]:
    async with httpx2.AsyncClient(base_url=url) as client, client.stream("GET", "/sse") as response:
        assert response.status_code == 200
        assert response.headers["content-type"] == "text/event-stream"
        assert response.headers["cache-control"] == "no-cache"
        assert not any(name.startswith("access-control") for name in response.headers)
        raw = Raw(client, response.aiter_lines())
        name, raw.endpoint = await raw.event()
        assert name == "endpoint"
        yield raw


async def test_the_endpoint_is_relative_and_a_post_answers_202_before_the_stream_does(serve):
    async with serve() as site, raw_stream(site.url) as raw:
        assert raw.endpoint.startswith("/message?sessionId=")
        reply = await raw.post({"jsonrpc": "2.0", "id": 7, "method": "ping"})
        assert (reply.status_code, reply.content) == (202, b"")
        assert await raw.message() == {"jsonrpc": "2.0", "id": 7, "result": {}}


@pytest.mark.parametrize(("host", "endpoint"), [
    ("Agents.example:9", "http://agents.example:9/agents/message"), ("localhost:4100", "/agents/message"),
])  # fmt: skip
async def test_the_endpoint_is_absolute_for_those_who_ask_under_the_base_url(serve, host, endpoint):
    async with (
        serve(base_url="http://agents.example:9/agents") as site,
        httpx2.AsyncClient(base_url=site.url) as client,
        client.stream("GET", "/agents/sse", headers={"host": host}) as response,
    ):
        lines = response.aiter_lines()
        await anext(lines)
        assert (await anext(lines)).startswith(f"data: {endpoint}?sessionId=")


async def test_a_stock_client_on_this_machine_is_served_beside_a_base_url(serve):
    async with serve(base_url="https://agents.example/opcode") as site:
        answer = await call_daemon(site.url, None, "opcode.run", {"template_name": "t", "agent_id": "a"})
    assert answer["status"] == "completed"


async def test_malformed_messages_get_json_rpc_errors_on_the_stream(serve):
    async with serve() as site, raw_stream(site.url) as raw:
        await raw.post([{"jsonrpc": "2.0", "id": 1, "method": "ping"}])
        batch = await raw.message()
        await raw.post({"jsonrpc": "1.0", "id": 3, "method": "ping"})
        old = await raw.message()
        await raw.post({"jsonrpc": "2.0", "id": 1, "result": {}})
        await raw.post({"jsonrpc": "2.0", "id": 4, "method": "prompts/list"})
        prompts = await raw.message()
    assert (batch["id"], batch["error"]["code"]) == (None, -32700)
    assert (old["id"], old["error"]["code"]) == (3, -32600)
    assert (prompts["id"], prompts["error"]["code"]) == (4, -32601)


async def test_refused_posts_answer_400_with_a_json_rpc_error(serve):
    async with serve() as site, raw_stream(site.url) as raw:
        cases = [
            (await raw.client.get("/message"), -32600, "Method not allowed"),
            (await raw.client.post("/message", json={}), -32602, "Missing sessionId"),
            (await raw.client.post("/message?sessionId=nobody", json={}), -32602, "Invalid session ID"),
            (
                await raw.client.post(raw.endpoint, content=b"{", headers={"content-type": "application/json"}),
                -32700,
                "Parse error",
            ),
        ]
    for reply, code, words in cases:
        assert reply.status_code == 400
        assert reply.json()["error"]["code"] == code
        assert words in reply.json()["error"]["message"]


async def test_only_get_opens_a_stream(serve):
    async with serve() as site, httpx2.AsyncClient(base_url=site.url) as client:
        assert (await client.post("/sse", json={})).status_code == 405


async def test_the_heartbeat_is_a_ping_that_counts_from_one(serve, monkeypatch):
    from opcode_kernel.server import app
    from opcode_kernel.server.sse import SseTransport

    def quick(*args: Any, **given: Any) -> SseTransport:
        return SseTransport(*args, **given, heartbeat=0.02)

    monkeypatch.setattr(app, "SseTransport", quick)
    async with serve() as site, raw_stream(site.url) as raw:
        assert [await raw.message(), await raw.message()] == [
            {"jsonrpc": "2.0", "id": 1, "method": "ping"},
            {"jsonrpc": "2.0", "id": 2, "method": "ping"},
        ]


async def test_streams_end_when_the_server_stops(serve):
    async with httpx2.AsyncClient() as client:
        async with serve() as site:
            response = await client.send(client.build_request("GET", f"{site.url}/sse"), stream=True)
        with anyio.fail_after(5):
            assert (await response.aread()).startswith(b"event: endpoint")
