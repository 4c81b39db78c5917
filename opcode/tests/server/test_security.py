"""What stands between the port and the tools, over real HTTP."""

from __future__ import annotations

import anyio
import httpx2
import pytest

from opcode_kernel.server.security import host_name

pytestmark = pytest.mark.anyio

JSON = {"content-type": "application/json"}


async def test_a_foreign_host_or_origin_is_refused_on_every_path(serve):
    async with serve() as site, httpx2.AsyncClient(base_url=site.url) as client:
        for path in ("/sse", "/message", "/mcp", "/healthz", "/"):
            rebound = await client.post(path, content=b"{}", headers={**JSON, "host": "evil.example:4100"})
            assert rebound.status_code == 421
            assert "allowed_hosts" in rebound.json()["error"]["message"]
            for origin in ("https://evil.example", "http://localhost:3000", "null"):
                reply = await client.post(path, content=b"{}", headers={**JSON, "origin": origin})
                assert reply.status_code == 403
                assert "allowed_origins" in reply.json()["error"]["message"]
                assert "access-control-allow-origin" not in reply.headers


async def test_a_preflight_is_never_granted(serve):
    async with serve() as site, httpx2.AsyncClient(base_url=site.url) as client:
        headers = {"origin": "https://evil.example", "access-control-request-method": "POST"}
        reply = await client.options("/message", headers=headers)
    assert reply.status_code == 403
    assert not any(name.startswith("access-control") for name in reply.headers)


async def test_named_hosts_and_origins_and_our_own_pages_are_let_through(serve):
    flags = {"allowed_hosts": "box.local", "allowed_origins": "https://tool.example"}
    async with serve(**flags) as site, httpx2.AsyncClient(base_url=site.url) as client:
        for headers in (
            {"host": "box.local:4100"},
            {"origin": "https://tool.example"},
            {"origin": site.url},
            {"host": "LOCALHOST"},
        ):
            assert (await client.get("/healthz", headers=headers)).status_code == 200


async def test_only_json_is_taken(serve):
    async with serve() as site, httpx2.AsyncClient(base_url=site.url) as client:
        for content_type in ("text/plain", "application/x-www-form-urlencoded", "", "application/jsonx"):
            reply = await client.post("/message", content=b"{}", headers={"content-type": content_type})
            assert reply.status_code == 415
            assert "application/json" in reply.json()["error"]["message"]


async def test_a_body_beyond_the_limit_is_refused_whether_announced_or_not(serve):
    async def chunks():
        for _ in range(40):
            yield b" " * 1000

    async with serve(max_body_bytes="20000") as site, httpx2.AsyncClient(base_url=site.url) as client:
        announced = await client.post("/message", content=b" " * 20001, headers=JSON)
        streamed = await client.post("/message", content=chunks(), headers=JSON)
        fits = await client.post("/message", content=b" " * 20000, headers=JSON)
    assert announced.status_code == streamed.status_code == 413
    assert "max_body_bytes" in announced.json()["error"]["message"]
    assert fits.status_code == 400


async def test_with_a_token_nothing_but_the_health_check_answers_without_it(serve):
    async with serve(auth_token="open sesame") as site, httpx2.AsyncClient(base_url=site.url) as client:
        assert (await client.get("/healthz")).status_code == 200
        for headers in ({}, {"authorization": "Bearer wrong"}, {"authorization": "Basic open sesame"}):
            reply = await client.get("/sse", headers=headers)
            assert reply.status_code == 401
            assert reply.headers["www-authenticate"].startswith("Bearer")
        right = {"authorization": "Bearer open sesame"}
        async with client.stream("GET", "/sse", headers=right) as response:
            assert response.status_code == 200


async def test_a_request_without_a_host_is_refused(serve):
    async with serve() as site:
        stream = await anyio.connect_tcp("127.0.0.1", site.port)
        async with stream:
            await stream.send(b"GET /healthz HTTP/1.0\r\n\r\n")
            answer = await stream.receive()
    assert b" 421 " in answer.split(b"\r\n")[0]


@pytest.mark.parametrize(
    ("header", "name"),
    [("localhost:4100", "localhost"), ("[::1]:4100", "::1"), ("[::1]", "::1"), ("box", "box"), ("a:b", "a:b")],
)
def test_the_name_is_read_out_of_a_host_header(header, name):
    assert host_name(header) == name


async def test_before_the_engine_is_there_and_while_stopping_everything_answers_503(serve):
    async with serve() as site, httpx2.AsyncClient(base_url=site.url) as client:
        ready = await client.get("/healthz")
        site.application.stop_intake()
        stopping = await client.get("/healthz")
        refused = await client.get("/sse")
    assert (ready.status_code, ready.json()["status"]) == (200, "ready")
    assert (stopping.status_code, stopping.json()["status"]) == (503, "stopping")
    assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")


async def test_an_unknown_path_names_the_known_ones(serve):
    async with serve() as site, httpx2.AsyncClient(base_url=site.url) as client:
        reply = await client.get("/nothing")
        wrong = await client.delete("/healthz")
    assert reply.status_code == 404
    assert "/sse" in reply.json()["error"]["message"]
    assert wrong.status_code == 405
