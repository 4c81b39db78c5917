"""Parts of the tests of the whole in process: every built-in plugin, a real engine over memory, a real loopback server."""

from __future__ import annotations

import json
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import ModuleType
from typing import Any

import pytest

from opcode_kernel import (
    ActionContext,
    Engine,
    EngineOptions,
    Json,
    MemoryStore,
    NotFoundError,
    Registry,
    Store,
    action,
    hookimpl,
    open_engine,
    registry_of,
)
from opcode_kernel.testing import AnyParams, installed_plugins


class Probe:
    """A plugin of one action, `probe.take`: it notes what reached it, and answers what a test put there."""

    def __init__(self) -> None:
        self.taken: list[dict[str, Json]] = []
        self.answer: Json = None

    def module(self) -> ModuleType:
        @action("probe.take", summary="Note the params, answer what the test says", params=AnyParams)
        def take(ctx: ActionContext, params: AnyParams) -> Json:
            self.taken.append(params.given)
            return self.answer if ctx.step_id == "s" else {"taken": True}

        module = ModuleType("probe")
        module.opcode_actions = hookimpl(lambda: [take])  # type: ignore[attr-defined]
        return module


class Secrets:
    """A vault of one secret."""

    async def get(self, name: str) -> str:
        """Return the secret `P`."""
        if name != "P":
            raise NotFoundError(f"secret {name!r} not found")
        return "hunter22"


@dataclass
class World:
    """Engines over a store of their own, and what a test wants to know of a run."""

    probe: Probe
    registry: Registry
    store: Store = field(default_factory=MemoryStore)

    @asynccontextmanager
    async def engine(self, **options: Any) -> AsyncIterator[Engine]:
        """Open an engine; leaving the block stops it. `vault` and `notifier` are parts of it, anything else an option."""
        parts = {"vault": options.pop("vault", Secrets()), "notifier": options.pop("notifier", None)}
        settings = EngineOptions(**{"shutdown_grace": 0.0, **options})
        async with (
            self.store,
            open_engine(self.store, self.registry, options=settings, **parts) as engine,
        ):
            yield engine

    async def run(
        self, definition: Json, params: dict[str, Json] | None = None, *, input_schema: Json = None, **options: Any
    ) -> dict[str, Json]:
        """Define and run once; returns the result as clients read it."""
        steps = {"steps": definition} if isinstance(definition, list) else definition
        async with self.engine(**options) as engine:
            await engine.define("t", steps, agent_id="me", input_schema=input_schema)
            return await engine.run("t", agent_id="me", params=params)

    async def call(self, name: str, params: dict[str, Json], **more: Any) -> Json:
        """Run one action as step `s`; returns its output, or its error in the published shape."""
        options = {key: more.pop(key) for key in ("policy", "inputs") if key in more}
        result = await self.run(
            [{"id": "s", "action": name, "params": params, **more}], options.pop("inputs", None), **options
        )
        step = result["steps"]["s"]
        return step["error"] if "error" in step else step.get("output")


@pytest.fixture
def world() -> World:
    probe = Probe()
    return World(probe, registry_of(*installed_plugins(), probe.module()))


class Server(ThreadingHTTPServer):
    """Answers by path; `asked` holds (method, path, headers, body) of every request."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Exchange)
        self.routes: dict[str, Callable[[int], tuple[int, dict[str, str], bytes]]] = {}
        self.asked: list[tuple[str, str, dict[str, str], bytes]] = []

    def url(self, path: str) -> str:
        """Return the address of a path."""
        return f"http://127.0.0.1:{self.server_address[1]}{path}"

    def answer(self, path: str, body: Json = None, *, status: int = 200, **headers: str) -> str:
        """Answer a path always alike, as JSON; returns its address."""
        raw = b"" if body is None else json.dumps(body).encode()
        fixed = {name.replace("_", "-"): value for name, value in headers.items()}
        self.routes[path] = lambda nth: (status, {"Content-Type": "application/json", **fixed}, raw)
        return self.url(path)

    def bodies(self, path: str) -> list[Json]:
        """Return the JSON bodies that were sent to a path."""
        return [json.loads(body) for _, asked, _, body in self.asked if asked == path]


class _Exchange(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 10
    wbufsize = -1
    server: Server

    def _serve(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        path = self.path.partition("?")[0]
        nth = sum(asked.partition("?")[0] == path for _, asked, _, _ in self.server.asked)
        self.server.asked.append((self.command, self.path, dict(self.headers.items()), body))
        missing: tuple[int, dict[str, str], bytes] = (404, {}, b"")
        status, headers, answer = self.server.routes[path](nth) if path in self.server.routes else missing
        self.send_response_only(status)
        for name, value in {**headers, "Content-Length": str(len(answer))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(answer)

    do_GET = do_POST = do_PUT = _serve

    def log_message(self, format: str, *args: Any) -> None:
        """Keep quiet."""


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    with Server() as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield running
        running.shutdown()
        thread.join()
