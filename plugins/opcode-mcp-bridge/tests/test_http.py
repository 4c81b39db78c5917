"""Servers at a URL: streamable HTTP and the older SSE, made with the SDK, and some that misbehave."""

from __future__ import annotations

import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, nullcontext
from dataclasses import replace
from typing import Any

import anyio
import pytest
import uvicorn
from mcp.server.mcpserver import Context, MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp.types import ToolAnnotations
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from opcode_kernel import ActionError, ExternalPlugin, Limits
from opcode_mcp_bridge.lines import MAX_MESSAGE

pytestmark = [
    pytest.mark.anyio,
    # of the SDK's server and of uvicorn, when a stream ends with its client
    pytest.mark.filterwarnings("ignore:unclosed.*:ResourceWarning"),
]


class _Server(uvicorn.Server):
    def capture_signals(self) -> Any:
        return nullcontext()


@asynccontextmanager
async def serving(app: Any, port: int = 0) -> AsyncIterator[str]:
    """Serve an application on a free port, or on the one that is given; yields its address."""
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(("127.0.0.1", port))
        server = _Server(uvicorn.Config(app, log_config=None, timeout_graceful_shutdown=1))
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(server.serve, [sock])
            with anyio.fail_after(10):
                while not server.started:  # noqa: ASYNC110 - it has no event for that
                    await anyio.sleep(0.005)
            yield f"http://127.0.0.1:{sock.getsockname()[1]}"
            server.should_exit = True
            server.force_exit = True


class Seen:
    """What a server was asked."""

    def __init__(self) -> None:
        self.headers: list[dict[str, str]] = []
        self.cancelled = 0


def made(seen: Seen) -> MCPServer:
    server = MCPServer("web")

    @server.tool(annotations=ToolAnnotations(read_only_hint=True))
    def echo(text: str) -> str:
        """Say it again."""
        return text

    @server.tool()
    def add(a: int, b: int) -> int:
        return a + b

    @server.tool()
    async def hang() -> str:
        try:
            await anyio.sleep_forever()
        except anyio.get_cancelled_exc_class():
            seen.cancelled += 1
            raise
        return ""

    @server.tool()
    def fail() -> str:
        raise ToolError("no such thing")

    @server.tool()
    async def grow(context: Context) -> str:
        server.add_tool(echo, name="grown")
        await context.session.send_tool_list_changed()
        return "grown"

    return server


def watched(app: Any, seen: Seen) -> Any:
    async def outer(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            seen.headers.append({name.decode(): value.decode() for name, value in scope["headers"]})
        await app(scope, receive, send)

    return outer


def at(url: str, **given: Any) -> ExternalPlugin:
    return ExternalPlugin("web", id="web", url=url, **{"start_timeout": 20.0, **given})


@pytest.mark.parametrize(("kind", "path"), [("streamable", "/mcp"), ("json", "/mcp"), ("sse", "/sse")])
async def test_tools_at_a_url_are_actions(place: Any, kind: str, path: str) -> None:
    seen = Seen()
    server = made(seen)
    app = server.sse_app() if kind == "sse" else server.streamable_http_app(json_response=kind == "json")
    async with serving(watched(app, seen)) as url, place(at(url + path, call_timeout=5.0)) as here:
        assert {"web.echo", "web.add", "web.hang", "web.fail", "web.grow"} == set(here.engine.registry.actions)
        assert here.engine.registry.actions["web.echo"].effect == "idempotent"
        assert (await here.call("web.echo", text="hällo"))["text"] == "hällo"
        assert (await here.call("web.add", a=2, b=3))["json"] == {"result": 5}
        with pytest.raises(ActionError, match=r"\[EXECUTION_ERROR\] web\.fail: .*no such thing"):
            await here.call("web.fail")
        with pytest.raises(Exception, match="VALIDATION_ERROR"):
            await here.call("web.add", a="x", b=1)


@pytest.mark.parametrize(("kind", "path"), [("streamable", "/mcp"), ("sse", "/sse")])
async def test_many_calls_at_once_each_get_their_answer(place: Any, kind: str, path: str) -> None:
    server = made(Seen())
    app = server.sse_app() if kind == "sse" else server.streamable_http_app()
    async with serving(app) as url, place(at(url + path), pool_size=16) as here:
        steps = [{"id": f"s{n}", "action": "web.echo", "params": {"text": str(n)}} for n in range(60)]
        await here.engine.define("all", {"steps": steps}, agent_id="a")
        result = await here.engine.run("all", agent_id="a")
        assert [step["output"]["text"] for step in result["steps"].values()] == [str(n) for n in range(60)]


async def test_a_call_without_an_answer_times_out_and_the_server_is_told(place: Any) -> None:
    seen = Seen()
    app = made(seen).streamable_http_app()
    async with serving(app) as url, place(at(url + "/mcp", call_timeout=0.2)) as here:
        with pytest.raises(ActionError, match=r"\[TIMEOUT_ERROR\]"):
            await here.call("web.hang")
        with anyio.fail_after(10):
            while not seen.cancelled:  # noqa: ASYNC110
                await anyio.sleep(0.01)
        assert (await here.call("web.echo", text="on"))["text"] == "on"


async def test_tools_that_changed_are_read_again(place: Any) -> None:
    app = made(Seen()).streamable_http_app()
    async with serving(app) as url, place(at(url + "/mcp")) as here:
        await here.call("web.grow")
        with anyio.fail_after(10):
            while "web.grown" not in here.engine.registry.actions:  # noqa: ASYNC110
                await anyio.sleep(0.01)


async def test_headers_are_sent_and_secrets_in_them_are_hidden(place: Any, log: Any) -> None:
    class Vault:
        async def get(self, name: str) -> str:
            return "canary-token-4711"

    seen = Seen()
    app = watched(made(seen).streamable_http_app(), seen)
    headers = {"Authorization": "Bearer ${{secrets.T}}", "X-Plain": "1"}
    async with serving(app) as url, place(at(url + "/mcp", headers=headers), vault=Vault()) as here:
        assert (await here.call("web.echo", text="canary-token-4711"))["text"] == "***"
        row = await here.row("web")
    assert {each.get("authorization") for each in seen.headers} == {"Bearer canary-token-4711"}
    assert "canary" not in json.dumps(row._asdict()) + repr(log)
    assert row.config["headers"] == {"Authorization": "***", "X-Plain": "***"}


async def test_a_server_that_comes_late_goes_away_and_comes_back_is_connected_to_each_time(
    place: Any, fast: Any
) -> None:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port = sock.getsockname()[1]
    plugin = at(f"http://127.0.0.1:{port}/mcp")
    plugin = replace(plugin, restart=replace(plugin.restart, max=1000))
    async with place(plugin, timing=replace(fast, ping_every=0.05)) as here:
        assert "cannot be reached" in (await here.row("web")).error_message
        for turn in ("first", "second"):
            async with serving(made(Seen()).streamable_http_app(), port):
                await here.until(lambda row: row.status == "active", "web")
                assert (await here.call("web.echo", text=turn))["text"] == turn
            with pytest.raises(ActionError) as caught:
                await here.call("web.hang")
            assert caught.value.retryable
            await here.until(lambda row: row.status == "inactive", "web")


async def test_nobody_at_the_address_is_an_error_that_says_so(place: Any) -> None:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{sock.getsockname()[1]}/mcp"
        async with place(at(url, restart=replace(at(url).restart, max=0))) as here:
            row = await here.row("web")
    assert row.status == "error"
    assert "it cannot be reached" in row.error_message


def hostile(answer: Any) -> Starlette:
    """A streamable server whose tool answers with whatever `answer(id)` makes."""

    async def post(request: Request) -> Response:
        message = json.loads(await request.body())
        method, id = message["method"], message.get("id")
        if method == "initialize":
            result: Any = {
                "protocolVersion": message["params"]["protocolVersion"], "capabilities": {},
                "serverInfo": {"name": "x", "version": "1"},
            }  # fmt: skip
        elif method == "tools/list":
            result = {"tools": [{"name": "x", "inputSchema": {"type": "object"}}]}
        elif method == "tools/call":
            return answer(id)
        elif id is None:
            return Response(status_code=202)
        else:
            result = {}
        return Response(
            json.dumps({"jsonrpc": "2.0", "id": id, "result": result}), media_type="application/json",
            headers={"mcp-session-id": "s"} if method == "initialize" else {},
        )  # fmt: skip

    return Starlette(routes=[Route("/mcp", post, methods=["POST"])])


async def endless(part: bytes) -> AsyncIterator[bytes]:
    while True:
        await anyio.lowlevel.checkpoint()  # or a client that leaves would never be noticed
        yield part


def rpc(id: int, body: str) -> str:
    return f'{{"jsonrpc":"2.0","id":{id},"result":{{"content":[{body}]}}}}'


ANSWERS: dict[str, tuple[Any, str]] = {
    "status 500": (lambda id: Response("<html>", 500), "answered with HTTP 500"),
    "status 401": (lambda id: Response(status_code=401), "answered with HTTP 401"),
    "redirect": (lambda id: Response(status_code=307, headers={"location": "http://127.0.0.2:1/x"}), "not followed"),
    "html": (lambda id: Response("<html>", media_type="text/html"), "Unexpected content type"),
    "no json": (lambda id: Response("{", media_type="application/json"), "Failed to parse"),
    "accepted": (lambda id: Response(status_code=202), "202 Accepted"),
    "endless json": (lambda id: StreamingResponse(endless(b"x" * 65_536), media_type="application/json"), "at most"),
    "endless values": (lambda id: StreamingResponse(endless(b"[" * 65_536), media_type="application/json"), "at most"),
    "endless event": (
        lambda id: StreamingResponse(endless(b"data: " + b"x" * 65_536 + b"\n"), media_type="text/event-stream"),
        "EXECUTION_ERROR",
    ),
    "gzip": (
        lambda id: Response(b"\x1f\x8b", media_type="application/json", headers={"content-encoding": "gzip"}),
        "the encoding 'gzip'",
    ),
    "short": (
        lambda id: Response(b"{", media_type="application/json", headers={"content-length": "100"}), "EXECUTION_ERROR",
    ),
    "stream without an answer": (lambda id: Response("", media_type="text/event-stream"), "without a response"),
}  # fmt: skip


@pytest.mark.parametrize("kind", ANSWERS)
async def test_an_answer_that_cannot_be_used_fails_its_call_and_no_other(place: Any, kind: str) -> None:
    made_bad, said = ANSWERS[kind]
    turns: list[int] = []

    def answer(id: int) -> Response:
        turns.append(id)
        if len(turns) == 1:
            response: Response = made_bad(id)
            return response
        return Response(rpc(id, '{"type":"text","text":"on"}'), media_type="application/json")

    async with serving(hostile(answer)) as url, place(at(url + "/mcp", call_timeout=20.0)) as here:
        with anyio.fail_after(20), pytest.raises(ActionError, match=r"\[EXECUTION_ERROR\]") as caught:
            await here.call("web.x")
        assert said in str(caught.value)
        assert (await here.call("web.x"))["text"] == "on"


async def test_an_answer_of_nearly_sixteen_mebibytes_is_taken(place: Any) -> None:
    size = MAX_MESSAGE - 200

    def answer(id: int) -> Response:
        return Response(rpc(id, '{"type":"text","text":"' + "x" * size + '"}'), media_type="application/json")

    limits = Limits(step_output_size=64 << 20)
    async with serving(hostile(answer)) as url, place(at(url + "/mcp"), limits=limits) as here:
        assert len((await here.call("web.x"))["text"]) == size


async def test_a_server_that_forgot_the_session_is_connected_to_again(place: Any) -> None:
    turns: list[int] = []

    def answer(id: int) -> Response:
        turns.append(id)
        if len(turns) == 1:
            return Response(status_code=404)
        return Response(rpc(id, ""), media_type="application/json")

    async with serving(hostile(answer)) as url, place(at(url + "/mcp")) as here:
        with pytest.raises(ActionError, match="it does not know the session any more"):
            await here.call("web.x")
        assert (await here.call("web.x"))["content"] == []
