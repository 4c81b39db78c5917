"""Parts shared by the tests of the server room: a real HTTP server on a free port around a fake engine."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import anyio
import pytest

from opcode_kernel.core.events import Event
from opcode_kernel.errors import ConflictError, DefinitionError, NotFoundError
from opcode_kernel.plugin.manager import Registry, registry_of
from opcode_kernel.runtime.secrets import Secrets
from opcode_kernel.server import logs
from opcode_kernel.server.app import Application
from opcode_kernel.server.http_server import http_server
from opcode_kernel.server.instance import bind_socket
from opcode_kernel.server.settings import Settings, load_settings


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(autouse=True)
def quiet_logs() -> None:
    logs.configure("error")


class FakeLibrary:
    """Has a template of every name, which says nothing about its inputs."""

    async def resolve(self, name: str, version: str | None) -> Any:
        row = SimpleNamespace(name="t", version=1, definition={"steps": []}, input_schema=None)
        return SimpleNamespace(row=row)


@dataclass
class FakeEngine:
    """Remembers calls and answers from a script; `gate` holds runs back until it is set."""

    notifier: Any = None
    registry: Registry = field(default_factory=registry_of)
    store: Any = None
    library: FakeLibrary = field(default_factory=FakeLibrary)
    secrets: Secrets = field(default_factory=lambda: Secrets(None))
    calls: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    gate: anyio.Event | None = None
    finished: int = 0

    async def define(self, name: str, definition: Any, **given: Any) -> dict[str, Any]:
        self.calls.append(("define", {"name": name, "definition": definition, **given}))
        if not definition.get("steps"):
            raise DefinitionError(
                "steps must not be empty",
                details={"errors": [{"path": "steps", "pointer": "/steps", "code": "X", "message": "empty"}]},
            )
        return {"name": name, "version": "v1"}

    async def run(self, template_name: str, *, listener: Any = None, **given: Any) -> dict[str, Any]:
        self.calls.append(("run", {"template_name": template_name, **given}))
        if template_name == "missing":
            raise NotFoundError("template 'missing' not found")
        if template_name == "crash":
            raise ZeroDivisionError("boom")
        if listener is not None:
            listener("r1", [Event(1, "workflow_started", None, None, 0), Event(2, "step_completed", "a", None, 0)])
            listener("r1", [Event(3, "step_completed", "b", None, 0)])
        if template_name == "notify" and self.notifier is not None:
            delivered = await self.notifier.notify(
                given["agent_id"], {"message": "ready", "workflow_id": "r1", "step_id": "tell", "data": {"rows": 12}}
            )
            return {"workflow_id": "r1", "status": "completed", "output": list(delivered)}
        if self.gate is not None:
            await self.gate.wait()
        self.finished += 1
        output = "\ud800" if template_name == "surrogate" else given["params"]
        return {"workflow_id": "r1", "status": "completed", "output": output, "steps": {}}

    async def status(self, run_id: str, **given: Any) -> dict[str, Any]:
        self.calls.append(("status", {"run_id": run_id, **given}))
        if run_id != "r1":
            raise NotFoundError(f"workflow {run_id!r} not found")
        return {"workflow_id": "r1", "status": "completed", "steps": {}}

    async def signal(self, run_id: str, signal_type: str, *, listener: Any = None, **given: Any) -> dict[str, Any]:
        self.calls.append(("signal", {"run_id": run_id, "signal_type": signal_type, **given}))
        if given["step_id"] == "late":
            raise ConflictError("no pending decision for step late", details={"step_id": "late"})
        return {"ok": True, "workflow_id": run_id, "signal_type": signal_type}


@dataclass
class Site:
    """A served application with its engine."""

    url: str
    application: Application
    engine: FakeEngine

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])


Serve = Callable[..., AbstractAsyncContextManager[Site]]


@pytest.fixture
def serve(tmp_path: Path) -> Serve:
    """Return a function that serves a fake engine on a free port; keyword arguments are flags."""

    @asynccontextmanager
    async def serving(engine: FakeEngine | None = None, **flags: str) -> AsyncIterator[Site]:
        settings: Settings = load_settings(
            {"listen_addr": "127.0.0.1:0", **flags}, {"OPCODE_HOME": str(tmp_path / "home")}
        )
        with bind_socket(settings.listen_addr) as sock:
            settings = settings.at_port(sock.getsockname()[1])
            application = Application(settings)
            engine = engine or FakeEngine()
            engine.notifier = application.sessions
            async with http_server(application.app, sock), application.running():
                application.attach(engine)
                yield Site(f"http://{settings.listen_addr}", application, engine)

    return serving


@pytest.fixture
def until() -> Callable[[Callable[[], bool]], Awaitable[None]]:
    """Return a function that waits for what other tasks bring about and no event tells of."""

    async def wait(holds: Callable[[], bool]) -> None:
        with anyio.fail_after(5):
            while not holds():  # noqa: ASYNC110
                await anyio.sleep(0.005)

    return wait


@pytest.fixture
def fake_engine() -> type[FakeEngine]:
    return FakeEngine
