"""Nothing that only waits keeps anything else from going on, and nobody who leaves takes a run along."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest
from mcp.client.session import ClientSession
from mcp.client.sse import sse_client

from opcode_kernel.server.app import Application
from opcode_kernel.server.http_server import http_server
from opcode_kernel.server.instance import bind_socket
from opcode_kernel.server.settings import load_settings

pytestmark = pytest.mark.anyio


def do(step_id: str, name: str = "t.do", **keys: Any) -> dict[str, Any]:
    return {"id": step_id, "action": name, **keys}


def of(step_id: str, type: str, **config: Any) -> dict[str, Any]:
    return {"id": step_id, "type": type, "config": config}


def child(step_id: str, template: str) -> dict[str, Any]:
    return do(step_id, "workflow.run", params={"template_name": template})


@pytest.mark.spec("10.36")
async def test_parents_children_and_grandchildren_share_one_slot(house):
    async with house.engine(pool_size=1) as engine:
        await engine.define(
            "leaf", {"steps": [do("work", "t.sleep", params={"seconds": 0.01, "value": 1})]}, agent_id="me"
        )
        await engine.define("middle", {"steps": [child("a", "leaf"), child("b", "leaf")]}, agent_id="me")
        with anyio.fail_after(10):
            result = await house.run(engine, [child(f"c{n}", "middle") for n in range(5)])
    assert result["status"] == "completed"
    assert set(map(str, result["output"].values())) == {str({"a": 1, "b": 1})}
    assert house.most == 1


@pytest.mark.spec("10.36")
async def test_a_template_may_call_itself_as_deep_as_the_limit_and_no_deeper(house):
    down = do("down", "expr.eval", params={"expression": "inputs.left - 1"})
    again = do(
        "again", "workflow.run", depends_on=["down"], condition="inputs.left > 0",
        params={"template_name": "self", "params": {"left": "${{steps.down.output.result}}"}},
    )  # fmt: skip
    async with house.engine(pool_size=1) as engine:
        await engine.define("self", {"steps": [down, again]}, agent_id="me")
        with anyio.fail_after(20):
            fine = await engine.run("self", agent_id="me", params={"left": 10})
            deep = await engine.run("self", agent_id="me", params={"left": 11})
    assert (fine["status"], deep["status"]) == ("completed", "failed")
    text = repr(deep["error"])
    assert "VALIDATION_ERROR" in text
    assert "chain" in text


HOLDERS: dict[str, dict[str, Any]] = {
    "a wait": of("w", "wait", duration="30s"),
    "a signal": of("w", "wait", signal="s"),
    "a decision": of("w", "reasoning", prompt_context="?"),
    "back-off": do("w", "t.fail", retry={"max": 3, "delay": "30s"}),
    "a loop around a wait": of("w", "loop", over=[1], body=[of("n", "wait", duration="30s")]),
    "branches": of("w", "parallel", branches=[[of("n", "wait", signal="s")], [of("m", "wait", duration="30s")]]),
    "a condition": of("w", "condition", expression="true", branches={"true": [of("n", "wait", signal="s")]}),
}


@pytest.mark.spec("10.36")
@pytest.mark.parametrize("holder", HOLDERS)
async def test_what_only_waits_holds_no_slot(house, until, holder):
    async with house.engine(pool_size=1) as engine:
        await engine.define("waits", {"steps": [HOLDERS[holder]]}, agent_id="me")
        runs = [(await engine.run("waits", agent_id="me", wait=False))["workflow_id"] for _ in range(3)]
        with anyio.fail_after(5):
            assert (await house.run(engine, [do("work", "t.gate", params={"gate": "open"})], wait_timeout=0.01))[
                "status"
            ] == "active"
            house.gate("open").set()
            assert (await house.run(engine, [do("work", "t.sleep", params={"seconds": 0})]))["status"] == "completed"
        assert {(await engine.status(run_id))["status"] for run_id in runs} <= {"active", "suspended"}


@pytest.mark.spec("10.39")
async def test_a_foreign_signal_wakes_nobody_and_costs_nothing(house):
    async with house.engine() as engine:
        run_id = (await house.run(engine, [of("one", "wait", signal="one"), of("two", "wait", signal="two")]))[
            "workflow_id"
        ]
        for n in range(50):
            await engine.signal(run_id, "data", payload={"signal": f"other{n}"})
        before = len(await house.events(engine, run_id))
        spent = time.process_time()
        await anyio.sleep(0.3)
        assert time.process_time() - spent < 0.15
        shown = await engine.status(run_id, events_limit=1000)
        assert len(await house.events(engine, run_id)) == before
        assert [step["status"] for step in shown["steps"].values()] == ["suspended", "suspended"]
        await engine.signal(run_id, "data", payload={"signal": "two", "k": 2})
        shown = await house.becomes(engine, run_id, "suspended")
        assert shown["steps"]["two"]["output"] == {"signal": "two", "payload": {"signal": "two", "k": 2}}
        assert shown["steps"]["one"]["status"] == "suspended"


@pytest.mark.spec("10.39")
async def test_early_signals_are_kept_by_name_however_many_there_are(house):
    waits = [of(f"w{n}", "wait", signal=f"s{n}") for n in range(40)]
    late = [{**wait, "depends_on": ["ask"]} for wait in waits]
    async with house.engine() as engine:
        run_id = (await house.run(engine, [of("ask", "reasoning", prompt_context="?"), *late]))["workflow_id"]
        for turn in ("old", "new"):
            for n in range(40):
                await engine.signal(run_id, "data", payload={"signal": f"s{n}", "turn": turn})
    async with house.engine() as engine:
        result = await engine.signal(run_id, "decision", payload={"choice": "go"})
    assert result["status"] == "completed"
    assert result["output"]["w39"]["payload"] == {"signal": "s39", "turn": "new"}


@pytest.mark.spec("10.39")
@pytest.mark.parametrize(
    ("signal", "woken"),
    [
        ({"payload": {"signal": "go"}}, "first"), ({"payload": {}, "step_id": "second"}, "second"),
        ({"payload": {"k": 1}}, "third"), ({"payload": {"signal": "deep"}}, "fan.branch_0.n"),
    ],
)  # fmt: skip
async def test_a_signal_finds_the_first_waiter_it_means_and_leaves_the_others(house, signal, woken):
    fan = of("fan", "parallel", branches=[[of("n", "wait", signal="deep")]])
    steps = [of("first", "wait", signal="go"), of("second", "wait", signal="go"), fan]
    if woken == "third":
        steps.append(of("third", "wait", signal="data"))
    async with house.engine() as engine:
        run_id = (await house.run(engine, steps))["workflow_id"]
        await engine.signal(run_id, "data", **signal)
        shown = await house.becomes(engine, run_id, "suspended")
        done = [path for path, step in shown["steps"].items() if step["status"] == "completed" and path != "fan"]
    assert done == [woken]


@pytest.mark.spec("10.41")
async def test_a_caller_that_gives_up_leaves_its_run_going(house, until):
    async with house.engine() as engine:
        await engine.define("t", {"steps": [do("a", "t.gate"), do("b", depends_on=["a"])]}, agent_id="me")
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(lambda: engine.run("t", agent_id="me"))
            await until(lambda: house.effects() == ["a"])
            tasks.cancel_scope.cancel()
        (run_id,) = engine.live
        house.gate().set()
        await house.becomes(engine, run_id, "completed")
    assert (house.effects(), house.cancelled) == (["a", "b"], [])


@pytest.mark.spec("10.41")
async def test_a_caller_that_waits_only_so_long_is_told_the_run_is_active(house):
    async with house.engine() as engine:
        answer = await house.run(engine, [do("a", "t.gate")], wait_timeout=0.05)
        assert (answer["status"], set(answer) >= {"workflow_id"}) == ("active", True)
        house.gate().set()
        await house.becomes(engine, answer["workflow_id"], "completed")


@asynccontextmanager
async def served(house: Any, home: Path) -> AsyncIterator[tuple[str, Any]]:
    """Serve an engine of the house over MCP; the address, and the engine."""
    settings = load_settings({"listen_addr": "127.0.0.1:0"}, {"OPCODE_HOME": str(home)})
    with bind_socket(settings.listen_addr) as sock:
        settings = settings.at_port(sock.getsockname()[1])
        application = Application(settings)
        async with http_server(application.app, sock), application.running(), house.engine() as engine:
            application.attach(engine)
            yield f"http://{settings.listen_addr}/sse", engine


@pytest.mark.spec("10.41")
async def test_a_client_that_disconnects_leaves_its_run_going(house, tmp_path, until):
    async with served(house, tmp_path / "home") as (url, engine):
        await engine.define("t", {"steps": [do("a", "t.gate"), do("b", depends_on=["a"])]}, agent_id="me")

        async def run_and_wait() -> None:
            async with sse_client(url) as (read, write), ClientSession(read, write) as client:
                await client.initialize()
                await client.call_tool("opcode.run", {"template_name": "t", "agent_id": "me"})

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(run_and_wait)
            await until(lambda: house.effects() == ["a"])
            tasks.cancel_scope.cancel()
        (run_id,) = engine.live
        await anyio.sleep(0.05)
        house.gate().set()
        await house.becomes(engine, run_id, "completed")
    assert (house.effects(), house.cancelled) == (["a", "b"], [])
