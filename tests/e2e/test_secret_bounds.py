"""Where a secret may be used: the templates and hosts that are allowed for it, over a real vault and real connections."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest
import structlog
from tests.conftest import Server

from opcode_kernel import Engine, EngineOptions, MemoryStore, open_engine, registry_of
from opcode_kernel.errors import DefinitionError, StoreError
from opcode_kernel.runtime.vault import Vault, keys, open_vault
from opcode_kernel.testing import installed_plugins

pytestmark = pytest.mark.anyio

VALUE = "hunter22-and-more"


class Safe:
    """An engine over a vault in memory."""

    def __init__(self) -> None:
        self.store = MemoryStore()

    @asynccontextmanager
    async def open(self) -> AsyncIterator[tuple[Engine, Vault]]:
        vault = await open_vault(self.store, "pass")
        registry = registry_of(*installed_plugins())
        async with open_engine(self.store, registry, vault=vault, options=EngineOptions(shutdown_grace=0.0)) as engine:
            yield engine, vault

    async def run(self, engine: Engine, name: str, action: str, params: dict[str, Any]) -> dict[str, Any]:
        """Define and run one step; returns its row."""
        await engine.define(name, {"steps": [{"id": "s", "action": action, "params": params}]}, agent_id="me")
        with anyio.fail_after(20):
            result = await engine.run(name, agent_id="me")
        step: dict[str, Any] = result["steps"]["s"]
        return step

    async def uses(self) -> list[tuple[Any, ...]]:
        """Return what was done with the secret, oldest first, without the times."""
        found = await self.store.secret_uses(name="KEY")
        return [(use.action, use.agent_id, use.template, use.step_id) for use in reversed(found)]


@pytest.fixture
def safe(monkeypatch: pytest.MonkeyPatch) -> Safe:
    monkeypatch.setattr(keys, "ITERATIONS", keys.ITERATIONS_ALLOWED.start)
    return Safe()


async def test_only_the_templates_that_are_allowed_may_use_it_and_each_attempt_is_written_down(safe: Safe) -> None:
    echo = {"expression": "data", "data": "${{secrets.KEY}}"}
    async with safe.open() as (engine, vault):
        await vault.set("KEY", VALUE, templates=["deploy", "release"])
        refused = (await safe.run(engine, "spy", "expr.eval", echo))["error"]
        assert (refused["code"], refused["retryable"]) == ("INTERPOLATION_ERROR", False)
        assert refused["details"]["secret"] == "KEY"
        assert refused["details"]["cause"]["code"] == "PERMISSION_DENIED"
        assert "by the templates deploy, release only, not by 'spy'" in refused["message"]
        assert (await safe.run(engine, "deploy", "expr.eval", echo))["output"] == {"result": "***"}
        await vault.set("KEY", VALUE)
        assert "error" in await safe.run(engine, "spy", "expr.eval", echo), "a new value keeps the bounds"
        await vault.set("KEY", VALUE, templates=[], hosts=[])
        assert (await safe.run(engine, "spy", "expr.eval", echo))["status"] == "completed"
    assert await safe.uses() == [
        ("set", "", None, None), ("refuse", "me", "spy", "s"), ("resolve", "me", "deploy", "s"), ("set", "", None, None),
        ("refuse", "me", "spy", "s"), ("set", "", None, None), ("resolve", "me", "spy", "s"),
    ]  # fmt: skip


async def test_it_is_sent_to_the_hosts_that_are_allowed_and_to_no_other(safe: Safe, server: Server) -> None:
    url = server.answer("/in", {"fine": True})
    elsewhere = url.replace("127.0.0.1", "localhost")
    call = {"url": url, "headers": {"Authorization": "Bearer ${{secrets.KEY}}"}}
    async with safe.open() as (engine, vault):
        await vault.set("KEY", VALUE, hosts=["127.0.0.1"])
        assert (await safe.run(engine, "good", "http.get", call))["output"]["status_code"] == 200
        error = (await safe.run(engine, "bad", "http.get", {**call, "url": elsewhere}))["error"]
        assert (error["code"], error["retryable"]) == ("PERMISSION_DENIED", False)
        port = url.split(":")[2].split("/")[0]
        assert error["message"] == (
            f"the secret 'KEY' may not be sent to localhost:{port}: it is bound to 127.0.0.1; to allow that host, store it again "
            "with `opcode secret set KEY --allow-host 127.0.0.1 --allow-host localhost`"
        )
        assert (error["details"]["secret"], error["details"]["allowed_hosts"]) == ("KEY", ["127.0.0.1"])
        assert (await safe.run(engine, "free", "http.get", {"url": elsewhere}))["output"]["status_code"] == 200
        await vault.set("KEY", VALUE, hosts=["*.0.0.1", "localhost"])
        assert (await safe.run(engine, "both", "http.get", {**call, "url": elsewhere}))["output"]["status_code"] == 200
    assert [headers.get("Authorization") for _, _, headers, _ in server.asked] == [
        f"Bearer {VALUE}", None, f"Bearer {VALUE}",
    ]  # fmt: skip
    assert await safe.uses() == [
        ("set", "", None, None), ("resolve", "me", "good", "s"), ("resolve", "me", "bad", "s"), ("refuse", "me", "bad", "s"),
        ("set", "", None, None), ("resolve", "me", "both", "s"),
    ]  # fmt: skip


async def test_a_refusal_that_cannot_be_written_down_is_logged_and_the_step_fails_as_it_would(
    safe: Safe, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = server.answer("/in", {}).replace("127.0.0.1", "localhost")
    write = safe.store.add_secret_uses

    async def failing(uses: Any) -> None:
        if any(use.action == "refuse" for use in uses):
            raise StoreError("the disk is full")
        await write(uses)

    monkeypatch.setattr(safe.store, "add_secret_uses", failing)
    async with safe.open() as (engine, vault):
        await vault.set("KEY", VALUE, hosts=["127.0.0.1"])
        with structlog.testing.capture_logs() as records:
            step = await safe.run(engine, "t", "http.get", {"url": url, "headers": {"k": "${{secrets.KEY}}"}})
    assert step["error"]["code"] == "PERMISSION_DENIED"
    (record,) = [each for each in records if each["event"] == "that a secret was refused cannot be written down"]
    assert (record["secret"], record["step_id"]) == ("KEY", "s")


@pytest.mark.parametrize("status", [302, 307, 308])
async def test_a_redirect_does_not_take_it_to_another_host(safe: Safe, server: Server, status: int) -> None:
    target = server.answer("/in", {}).replace("127.0.0.1", "localhost")
    url = server.answer("/away", None, status=status, Location=target)
    async with safe.open() as (engine, vault):
        await vault.set("KEY", VALUE, hosts=["127.0.0.1"])
        step = await safe.run(engine, "t", "http.post", {"url": url, "body": {"key": "${{secrets.KEY}}"}})
    assert step["error"]["code"] == "PERMISSION_DENIED"
    assert (await safe.uses())[-1] == ("refuse", "me", "t", "s")
    assert [path for _, path, _, _ in server.asked] == ["/away"]


async def test_two_secrets_are_sent_only_where_both_may_go(safe: Safe, server: Server) -> None:
    url = server.answer("/in", {})
    headers = {"a": "${{secrets.KEY}}", "b": "${{secrets.OTHER}}"}
    async with safe.open() as (engine, vault):
        await vault.set("KEY", VALUE, hosts=["127.0.0.1", "localhost"])
        await vault.set("OTHER", "another", hosts=["127.0.0.1"])
        step = await safe.run(
            engine, "t", "http.get", {"url": url.replace("127.0.0.1", "localhost"), "headers": headers}
        )
        assert step["error"]["code"] == "PERMISSION_DENIED"
        assert step["error"]["details"]["secret"] == "OTHER", "the one that may not go there is named"
        assert (await safe.store.secret_uses(name="OTHER", limit=1))[0].action == "refuse"
        assert "refuse" not in [action for action, *_ in await safe.uses()], "the other one might have gone there"
        assert (await safe.run(engine, "u", "http.get", {"url": url, "headers": headers}))["status"] == "completed"


@pytest.mark.parametrize(
    ("action", "params"),
    [("expr.eval", {"expression": "data", "data": "${{secrets.KEY}}"}), ("workflow.log", {"message": "${{secrets.KEY}}"}),
     ("shell.exec", {"command": "true", "args": ["${{secrets.KEY}}"]}), ("crypto.hash", {"data": "${{secrets.KEY}}"})],
)  # fmt: skip
async def test_what_may_go_to_hosts_only_is_given_to_no_other_action(
    safe: Safe, action: str, params: dict[str, Any]
) -> None:
    async with safe.open() as (engine, vault):
        await vault.set("KEY", VALUE, hosts=["127.0.0.1"])
        error = (await safe.run(engine, "t", action, params))["error"]
    assert (error["code"], error["details"]["cause"]["code"]) == ("INTERPOLATION_ERROR", "PERMISSION_DENIED")
    assert f"not used by {action}" in error["message"]


async def test_a_child_uses_it_under_its_own_name_and_within_the_same_bounds(safe: Safe, server: Server) -> None:
    url = server.answer("/in", {})
    use = {"url": "${{inputs.url}}", "headers": {"k": "<${{inputs.key}}>"}}
    child = {"steps": [{"id": "c", "action": "http.get", "params": use}]}
    passed = {"template_name": "child", "params": {"key": "${{secrets.KEY}}", "url": url}}
    async with safe.open() as (engine, vault):
        await engine.define("child", child, agent_id="me")
        await vault.set("KEY", VALUE, hosts=["127.0.0.1"], templates=["parent", "child"])
        assert (await safe.run(engine, "parent", "workflow.run", passed))["status"] == "completed"
        away = {**passed, "params": {**passed["params"], "url": url.replace("127.0.0.1", "localhost")}}
        refused = (await safe.run(engine, "parent", "workflow.run", away))["error"]
        assert "the secret 'KEY' may not be sent to localhost" in refused["message"]
        await vault.set("KEY", VALUE, templates=["parent"])
        refused = (await safe.run(engine, "parent", "workflow.run", passed))["error"]
        assert "not by 'child'" in refused["message"]
    assert [{name.lower(): text for name, text in headers.items()}["k"] for _, _, headers, _ in server.asked] == [
        f"<{VALUE}>"
    ]
    assert ("refuse", "me", "child", "c") in await safe.uses()


@pytest.mark.parametrize(
    "host", ["", "http://a.example", "a.example/x", "a.example:443", "a b", "*", "a.*.b", "user@a"]
)
async def test_a_bound_that_no_host_could_meet_is_refused(safe: Safe, host: str) -> None:
    async with safe.open() as (_, vault):
        with pytest.raises(DefinitionError, match="expected a host"):
            await vault.set("KEY", VALUE, hosts=[host])
        assert await vault.list() == []


@pytest.mark.parametrize("host", ["a.example", "*.a.example", "10.0.0.7", "::1", "[fd00::1]", "b\u00fccher.example"])
async def test_hosts_and_addresses_may_be_named(safe: Safe, host: str) -> None:
    async with safe.open() as (_, vault):
        await vault.set("KEY", VALUE, hosts=[host])
