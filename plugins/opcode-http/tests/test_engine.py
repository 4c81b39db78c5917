"""The actions inside an engine: what is refused when a template is defined, what steps see, and what an end leaves."""

from __future__ import annotations

import gc
import socket
import threading
import warnings
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest

import opcode_http
import opcode_steps
from opcode_http import pools
from opcode_kernel import DefinitionError, Engine, EngineOptions, Json, MemoryStore, open_engine, registry_of

pytestmark = pytest.mark.anyio

REGISTRY = registry_of(opcode_http, opcode_steps)


@asynccontextmanager
async def opened() -> AsyncIterator[Engine]:
    async with (
        MemoryStore() as store,
        open_engine(store, REGISTRY, options=EngineOptions(shutdown_grace=0.1)) as engine,
    ):
        yield engine


async def define(engine: Engine, *steps: dict[str, Json]) -> None:
    await engine.define("t", {"steps": [*steps]}, agent_id="me")


@pytest.mark.parametrize("url", [[], {}, 5, True, "h", "", "ftp://h/", " http://h/"])
async def test_what_is_no_address_is_refused_when_it_is_defined(url: Json) -> None:
    async with opened() as engine:
        with pytest.raises(DefinitionError, match="url"):
            await define(engine, {"id": "a", "action": "http.get", "params": {"url": url}})


async def test_headers_are_found_by_any_spelling_and_repeated_ones_in_the_list(server: Any) -> None:
    server.routes["/a"] = lambda exchange: exchange.answer_lines(
        200, [("X-RATE-left", "7"), ("Link", "1"), ("Link", "2")]
    )
    server.route("/b")
    async with opened() as engine:
        await define(
            engine,
            {"id": "a", "action": "http.get", "params": {"url": server.url("/a")}},
            {
                "id": "b",
                "action": "http.get",
                "depends_on": ["a"],
                "params": {
                    "url": server.url("/b"),
                    "query": {
                        "lower": "${{steps.a.output.headers.x-rate-left}}",
                        "quoted": "${{steps.a.headers['X-Rate-LEFT']}}",
                        "canonical": "${{steps.a.output.headers.X-Rate-Left}}",
                        "list": "${{steps.a.output.header_list[2]}}",
                    },
                },
            },
        )
        assert (await engine.run("t", agent_id="me"))["status"] == "completed"
    assert server.seen[1].path == "/b?lower=7&quoted=7&canonical=7&list=Link&list=2"


def silent(connection: socket.socket) -> None:
    while connection.recv(65536):
        pass


@pytest.mark.parametrize("ending", ["time-out of the step", "cancellation", "shutdown"])
async def test_a_call_that_is_ended_from_outside_closes_its_connection(serve: Any, ending: str) -> None:
    asked = threading.Event()

    def talk(connection: socket.socket) -> None:
        connection.recv(65536)
        asked.set()
        silent(connection)

    running = serve(talk)
    step: dict[str, Json] = {"id": "a", "action": "http.get", "params": {"url": running.url, "timeout": "1h"}}
    if ending == "time-out of the step":
        step["timeout"] = "100ms"
    with anyio.fail_after(10):
        async with opened() as engine:
            await define(engine, step)
            started = await engine.run("t", agent_id="me", wait=ending == "time-out of the step")
            if ending == "cancellation":
                assert await anyio.to_thread.run_sync(asked.wait, 5)
                await engine.signal(str(started["workflow_id"]), "cancel", agent_id="me")
                assert await anyio.to_thread.run_sync(running.closed.acquire, True, 5)
                running.closed.release()
            elif ending == "shutdown":
                assert await anyio.to_thread.run_sync(asked.wait, 5)
            else:
                assert started["status"] == "failed"
        assert await anyio.to_thread.run_sync(running.closed.acquire, True, 5)


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
def test_nothing_is_open_after_the_engine_is_closed(
    server: Any, serve: Any, tls: Any, tls2: Any, anyio_backend: str
) -> None:
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
    plain = serve(lambda connection: (connection.recv(65536) and connection.sendall(answer)) or silent(connection))
    secured = serve(
        lambda connection: (connection.recv(65536) and connection.sendall(answer)) or silent(connection), tls=tls
    )
    stuck = serve(silent, tls=tls2)

    async def session() -> None:
        async with opened() as engine:
            await define(
                engine,
                *(
                    {
                        "id": f"s{number}",
                        "action": "http.get",
                        "params": {"url": url, "tls_skip_verify": True, "timeout": "200ms"},
                        "on_error": {"strategy": "ignore"},
                    }
                    for number, url in enumerate([plain.url, secured.url, stuck.url, server.url("/x")])
                ),
            )
            await engine.run("t", agent_id="me")
        held = pools.held_pools()
        assert held is not None
        assert len(held) == 0
        for each in (plain, secured, stuck):
            assert await anyio.to_thread.run_sync(each.closed.acquire, True, 5)

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for backend in ("asyncio", "trio"):
            anyio.run(session, backend=backend)
        gc.collect()
    assert [str(warning.message) for warning in caught if issubclass(warning.category, ResourceWarning)] == []
