"""Settings that change while servers run: what has not changed is not touched."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import anyio
import pytest

from opcode_kernel import ActionError

pytestmark = pytest.mark.anyio


def named(engine: Any, family: str) -> list[str]:
    return [name for name in engine.registry.actions if name.startswith(f"{family}.")]


async def test_adding_changing_and_removing_touches_no_other(place: Any, tiny: Any, gone: Any, tmp_path: Any) -> None:
    pids = {name: tmp_path / name for name in ("stays", "changes", "leaves", "comes")}
    stays, changes, leaves, comes = (tiny(name=name, env={"PIDS": str(file)}) for name, file in pids.items())
    async with place(stays, changes, leaves) as here:
        steps = [{"id": "s", "action": "stays.rendezvous", "params": {"size": 2, "tag": "kept"}}]
        await here.engine.define("waits", {"steps": steps}, agent_id="a")
        run = await here.engine.run("waits", agent_id="a", wait=False)
        here.engine.providers.reconcile([stays, replace(changes, call_timeout=7.0), comes])
        await here.until(lambda row: row is not None and row.status == "active", "comes")
        await here.until(lambda row: row.status == "active" and row.config["call_timeout"] == 7.0, "changes")
        assert await here.row("leaves") is None
        assert not named(here.engine, "leaves")
        with pytest.raises(ActionError, match=r"\[ACTION_UNAVAILABLE\]"):
            await here.call("leaves.echo", text="x")
        await gone(int(pids["leaves"].read_text()))
        assert len(pids["stays"].read_text().split()) == 1
        assert len(pids["changes"].read_text().split()) == 2
        await here.call("stays.rendezvous", size=2, tag="other")
        with anyio.fail_after(10):
            while (status := await here.engine.status(run["workflow_id"]))["status"] == "active":  # noqa: ASYNC110
                await anyio.sleep(0.005)
        assert status["steps"]["s"]["output"]["text"] == "kept", "a call under way was not disturbed"


async def test_a_new_name_moves_the_actions(place: Any, tiny: Any) -> None:
    plugin = tiny(name="old", id="same")
    async with place(plugin) as here:
        assert named(here.engine, "old")
        here.engine.providers.reconcile([replace(plugin, name="new")])
        await here.until(lambda row: row.name == "new" and row.status == "active", "same")
        assert not named(here.engine, "old")
        assert (await here.call("new.echo", text="moved"))["text"] == "moved"


async def test_a_call_that_waits_its_turn_hears_at_once_that_the_plugin_is_gone(
    place: Any, tiny: Any, records: Any, tmp_path: Any
) -> None:
    file = tmp_path / "seen"
    async with place(tiny(max_concurrency=1, env={"RECORD": str(file)})) as here:
        steps = [{"id": f"s{n}", "action": "tiny.hang", "on_error": {"strategy": "ignore"}} for n in range(2)]
        await here.engine.define("t", {"steps": steps}, agent_id="a")
        run = await here.engine.run("t", agent_id="a", wait=False)
        with anyio.fail_after(8):
            while "tools/call" not in [each.get("method") for each in records(file)]:  # noqa: ASYNC110
                await anyio.sleep(0.005)
            here.engine.providers.reconcile([])
            result = await here.engine.status(run["workflow_id"])
            while result["status"] == "active":
                await anyio.sleep(0.005)
                result = await here.engine.status(run["workflow_id"])
        errors = {step["error"]["code"]: step["error"]["message"] for step in result["steps"].values()}
        assert "it is not configured like that any more" in errors["ACTION_UNAVAILABLE"]
        assert "the server was lost before it answered" in errors["EXECUTION_ERROR"]


async def test_a_conflict_names_a_plugin_as_it_is_called_now(place: Any, tiny: Any) -> None:
    async with place(tiny(name="files", id="a"), tiny(name="old", id="b")) as here:
        here.engine.providers.reconcile([tiny(name="files", id="a"), tiny(name="crypto2", id="b")])
        await here.until(lambda row: row.name == "crypto2" and row.status == "active", "b")
        assert here.engine.registry.owners["action", "crypto2.echo"].distribution == "plugin crypto2"


async def test_a_disabled_plugin_is_kept_and_not_started(place: Any, tiny: Any, tmp_path: Any) -> None:
    pids = tmp_path / "pids"
    plugin = tiny(env={"PIDS": str(pids)}, enabled=False)
    async with place(plugin) as here:
        assert (await here.row()).status == "inactive"
        assert not pids.exists()
        with pytest.raises(ActionError, match=r"\[ACTION_UNAVAILABLE\] .*it is switched off"):
            await here.call("tiny.echo", text="x")
        here.engine.providers.reconcile([replace(plugin, enabled=True)])
        await here.until(lambda row: row.status == "active")
        assert (await here.call("tiny.echo", text="on"))["text"] == "on"


async def test_a_run_that_waits_for_its_plugin_goes_on_once_it_is_added(place: Any, tiny: Any) -> None:
    async with place() as here:
        steps = [{"id": "s", "action": "tiny.echo", "params": {"text": "late"}, "retry": {"max": 50, "delay": "50ms"}}]
        saved = await here.engine.define("t", {"steps": steps}, agent_id="a")
        assert "a plugin that offers it may still be installed" in saved["warnings"][0]["message"]
        run = await here.engine.run("t", agent_id="a", wait=False)
        here.engine.providers.reconcile([tiny()])
        with anyio.fail_after(20):
            result = await here.engine.status(run["workflow_id"])
            while result["status"] == "active":
                await anyio.sleep(0.02)
                result = await here.engine.status(run["workflow_id"])
        assert result["steps"]["s"]["output"]["text"] == "late"


async def test_a_template_defined_before_its_plugin_came_is_checked_against_it_afterwards(
    place: Any, tiny: Any
) -> None:
    async with place() as here:
        steps = [{"id": "s", "action": "tiny.echo", "params": {"txt": "x"}}]
        await here.engine.define("t", {"steps": steps}, agent_id="a")
        result = await here.engine.run("t", agent_id="a")
        assert result["error"]["details"]["cause"]["code"] == "ACTION_UNAVAILABLE"
        here.engine.providers.reconcile([tiny()])
        await here.until(lambda row: row is not None and row.status == "active")
        with pytest.raises(Exception, match=r"VALIDATION_ERROR"):
            await here.engine.run("t", agent_id="a")


async def test_two_servers_of_one_family_are_a_conflict_and_the_first_serves(place: Any, tiny: Any) -> None:
    async with place(tiny(name="files", id="a")) as here:
        here.engine.providers.reconcile([tiny(name="files", id="a"), tiny(name="files", id="b")])
        row = await here.until(lambda row: row is not None and row.status == "error", "b")
        assert "[CONFLICT] the actions files.* of plugin files cannot be added" in row.error_message
        assert (await here.call("files.echo", text="first"))["text"] == "first"


async def test_many_changes_at_once_end_with_the_last(place: Any, tiny: Any) -> None:
    plugin = tiny()
    async with place(plugin) as here:
        for seconds in (5.0, 6.0, 7.0, 8.0):
            here.engine.providers.reconcile([replace(plugin, call_timeout=seconds)])
        await here.until(lambda row: row.status == "active" and row.config["call_timeout"] == 8.0)
        here.engine.providers.reconcile([])
        await here.until(lambda row: row is None)
        assert not here.engine.registry.actions


async def test_an_engine_that_closes_at_once_ends_what_is_being_started(
    place: Any, tiny: Any, fast: Any, gone: Any, tmp_path: Any
) -> None:
    pids = tmp_path / "pids"
    with anyio.fail_after(15):
        async with place(tiny("--silent", env={"PIDS": str(pids)}), timing=replace(fast, ready=0.5)):
            pass
    if pids.exists():
        await gone(int(pids.read_text()))
