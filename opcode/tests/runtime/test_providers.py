"""Providers live with their engine: before the runs, after the last of them, and never instead of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any

import anyio
import pytest
import structlog

import opcode_steps
from opcode_kernel import (
    Action,
    ActionError,
    ConflictError,
    EngineOptions,
    ExternalPlugin,
    MemoryStore,
    NotFoundError,
    SchemaParams,
    hookimpl,
    open_engine,
    registry_of,
)
from opcode_kernel.errors import StoreError
from opcode_kernel.runtime.ports import Borrower, Loan

pytestmark = pytest.mark.anyio

FILES = ExternalPlugin("files", id="files", command="x")
SCHEMA = {"type": "object", "properties": {"n": {"type": "integer"}}}


class Provider:
    """Offers one action for each plugin; what it does besides is up to the test."""

    def __init__(self, before: Callable[[Any], Any] | None = None) -> None:
        self.before = before
        self.host: Any = None
        self.told: list[Any] = []
        self.ended = False

    def actions(self, plugin: ExternalPlugin) -> list[Action]:
        async def run(ctx: Any, params: dict[str, Any]) -> Any:
            return {"params": params, "by": plugin.name}

        return [Action(f"{plugin.name}.read", "Read", run, params=SchemaParams(SCHEMA), output={"type": "object"})]

    async def serve(self, host: Any, *, task_status: Any) -> None:
        self.host = host
        try:
            if self.before is not None:
                await self.before(host)
            for plugin in host.plugins:
                host.offer(plugin, self.actions(plugin))
                await host.report(plugin, "active")
            task_status.started()
            await anyio.sleep_forever()
        finally:
            self.ended = True

    def reconcile(self, plugins: Sequence[ExternalPlugin]) -> None:
        self.told.append(plugins)


def registry_with(*providers: Any) -> Any:
    module = ModuleType("providing")

    def opcode_providers() -> list[Any]:
        return list(providers)

    module.opcode_providers = hookimpl(opcode_providers)  # type: ignore[attr-defined]
    return registry_of(opcode_steps, module)


def step(action: str = "files.read", **more: Any) -> dict[str, Any]:
    return {"steps": [{"id": "s", "action": action, "params": {"n": 1}, **more}]}


def after_a_question() -> dict[str, Any]:
    options = [{"id": "go", "description": "on"}]
    question = {"id": "w", "type": "reasoning", "config": {"prompt_context": "Well?", "options": options}}
    return {"steps": [question, {**step()["steps"][0], "depends_on": ["w"]}]}


async def test_a_provider_that_fails_takes_its_actions_and_nothing_else(anyio_backend: Any) -> None:
    fail = anyio.Event()

    class Failing(Provider):
        async def serve(self, host: Any, *, task_status: Any) -> None:
            host.offer(FILES, self.actions(FILES))
            task_status.started()
            await fail.wait()
            raise ZeroDivisionError("bug")

    registry = registry_with(Failing())
    async with open_engine(MemoryStore(), registry, options=EngineOptions(plugins=(FILES,))) as engine:
        await engine.define("t", step(), agent_id="a")
        assert (await engine.run("t", agent_id="a"))["status"] == "completed"
        fail.set()
        with anyio.fail_after(5):
            while registry.actions:  # noqa: ASYNC110 - nothing tells of it
                await anyio.sleep(0.001)
        result = await engine.run("t", agent_id="a")
        assert result["error"]["details"]["cause"]["code"] == "ACTION_UNAVAILABLE"


async def test_a_provider_that_fails_before_it_started_keeps_the_engine_from_nothing() -> None:
    async def broken(host: Any) -> None:
        raise RuntimeError("no")

    registry = registry_with(Provider(broken))
    async with open_engine(MemoryStore(), registry, options=EngineOptions(plugins=(FILES,))) as engine:
        await engine.define("t", step(retry={"max": 0}), agent_id="a")
        assert (await engine.run("t", agent_id="a"))["status"] == "failed"


async def test_plugins_nobody_starts_are_remarked_upon() -> None:
    with structlog.testing.capture_logs() as log:
        async with open_engine(MemoryStore(), registry_of(opcode_steps), options=EngineOptions(plugins=(FILES,))):
            pass
    assert any(each["event"].startswith("external plugins are configured, but no installed plugin") for each in log)


async def test_providers_are_there_before_runs_and_end_with_the_engine() -> None:
    provider = Provider()
    registry = registry_with(provider)
    async with open_engine(MemoryStore(), registry, options=EngineOptions(plugins=(FILES,))) as engine:
        assert list(registry.actions) == ["files.read"]
        assert [(row.name, row.status) for row in engine.providers.states()] == [("files", "active")]
        await engine.define("t", step(), agent_id="a")
        assert (await engine.run("t", agent_id="a"))["output"] == {"params": {"n": 1}, "by": "files"}
        engine.providers.reconcile([])
        assert provider.told == [()]
    assert provider.ended


async def test_recovery_goes_on_with_runs_whose_plugin_is_not_there_yet() -> None:
    store = MemoryStore()
    async with open_engine(store, registry_with(Provider()), options=EngineOptions(plugins=(FILES,))) as engine:
        await engine.define("t", after_a_question(), agent_id="a")
        run = (await engine.run("t", agent_id="a"))["workflow_id"]
    async with open_engine(store, registry_with(), options=EngineOptions(recovery="resume")) as engine:
        result = await engine.signal(run, "decision", payload={"choice": "go"})
        assert result["status"] == "failed"
        assert result["error"]["details"]["cause"]["code"] == "ACTION_UNAVAILABLE"


async def test_an_action_that_came_after_the_plan_was_made_is_found() -> None:
    provider = Provider()
    registry = registry_with(provider)
    async with open_engine(MemoryStore(), registry, options=EngineOptions()) as engine:
        await engine.define("t", after_a_question(), agent_id="a")
        run = (await engine.run("t", agent_id="a"))["workflow_id"]
        provider.host.offer(FILES, provider.actions(FILES))
        assert (await engine.signal(run, "decision", payload={"choice": "go"}))["status"] == "completed"


async def test_a_template_is_compiled_again_when_actions_came_or_went() -> None:
    provider = Provider()
    registry = registry_with(provider)
    async with open_engine(MemoryStore(), registry) as engine:
        await engine.define("t", step(), agent_id="a")
        first = await engine.library.resolve("t")
        assert await engine.library.resolve("t") is first
        provider.host.offer(FILES, provider.actions(FILES))
        assert await engine.library.resolve("t") is not first
        with pytest.raises(Exception, match="expected integer"):
            await engine.define(
                "bad", {"steps": [{"id": "s", "action": "files.read", "params": {"n": "x"}}]}, agent_id="a"
            )


async def test_an_offer_that_clashes_is_refused_and_changes_nothing() -> None:
    provider = Provider()
    async with open_engine(MemoryStore(), registry_with(provider), options=EngineOptions(plugins=(FILES,))) as engine:
        with pytest.raises(ConflictError):
            provider.host.offer(ExternalPlugin("files", id="other", command="x"), provider.actions(FILES))
        assert list(engine.registry.actions) == ["files.read"]


async def test_the_table_mirrors_what_is_configured_and_a_store_that_fails_harms_nobody() -> None:
    class Failing(MemoryStore):
        fails = False

        async def put_plugin(self, row: Any) -> None:
            if self.fails:
                raise StoreError("disk full")
            await super().put_plugin(row)

    store, provider = Failing(), Provider()
    web = ExternalPlugin("web", id="w", url="http://localhost:1/mcp", headers={"A": "secret"})
    async with open_engine(store, registry_with(provider), options=EngineOptions(plugins=(FILES, web))):
        rows = await store.plugins()
        assert [(row.id, row.name, row.type, row.status) for row in rows] == [
            ("files", "files", "mcp", "active"), ("w", "web", "mcp", "active"),
        ]  # fmt: skip
        assert rows[1].config["headers"] == {"A": "***"}
        await provider.host.report(web, "error", "gone")
        (_, row) = await store.plugins()
        assert (row.status, row.error_message, row.created_at) == ("error", "gone", rows[1].created_at)
        store.fails = True
        await provider.host.report(web, "active")
    store.fails = False
    async with open_engine(store, registry_with(Provider()), options=EngineOptions(plugins=(FILES,))):
        assert [row.id for row in await store.plugins()] == ["files"], "what is not configured any more is gone"


async def test_a_secret_is_lent_to_a_plugin_and_hidden_from_then_on() -> None:
    class Lending:
        def __init__(self) -> None:
            self.borrowers: list[Borrower] = []

        async def get(self, name: str) -> str:
            raise AssertionError("it decides who may use a secret")

        async def peek(self, name: str) -> str:
            raise NotFoundError("nobody asks for it")

        async def lend(self, names: Any, borrower: Borrower, optional: Any = ()) -> dict[str, Loan]:
            self.borrowers.append(borrower)
            if "KEPT" in names:
                raise NotFoundError("secret 'KEPT' not found")
            return {name: Loan("canary-4711") for name in names}

    vault, provider = Lending(), Provider()
    options = EngineOptions(plugins=(FILES,))
    async with open_engine(MemoryStore(), registry_with(provider), options=options, vault=vault) as engine:
        assert await provider.host.reveal(FILES, "Bearer ${{secrets.T}}") == "Bearer canary-4711"
        assert vault.borrowers == [Borrower("", "", "", "plugin files", "files.*")]
        assert provider.host.redact("it says canary-4711") == "it says ***"
        await engine.define(
            "t", {"steps": [{"id": "s", "action": "files.read", "params": {"x": "canary-4711"}}]}, agent_id="a"
        )
        assert (await engine.run("t", agent_id="a"))["output"]["params"] == {"x": "***"}
        with pytest.raises(ActionError, match=r"\[INTERPOLATION_ERROR\] the secret 'KEPT' cannot be used"):
            await provider.host.reveal(FILES, "${{secrets.KEPT}}")


def test_nothing_of_a_plugin_is_shown_by_its_repr() -> None:
    plugin = ExternalPlugin("web", url="http://h/?k=canary", headers={"A": "canary"}, env={"B": "canary"})
    assert "canary" not in repr(plugin)
