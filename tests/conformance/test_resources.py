"""What a run costs: time and statements grow with what it does, and no faster."""

from __future__ import annotations

import gc
import sqlite3
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from opcode_kernel import MemoryStore, open_engine, open_vault
from opcode_kernel.store import tortoise

pytestmark = [pytest.mark.anyio, pytest.mark.alone]


def do(step_id: str = "x", name: str = "expr.eval", **keys: Any) -> dict[str, Any]:
    if name == "expr.eval":
        keys.setdefault("params", {"expression": "1"})
    return {"id": step_id, "action": name, **keys}


def of(step_id: str, type: str, **config: Any) -> dict[str, Any]:
    return {"id": step_id, "type": type, "config": config}


def over(n: int, *body: Any) -> dict[str, Any]:
    return of("l", "loop", over=list(range(n)), body=list(body))


READS = do("y", params={"expression": "${{steps.x.output.result}} + 1"}, condition="steps.x.result == 1")
NESTED = of("c", "condition", expression="iter.item >= 0", branches={"true": [do()]})
#: The steps of a run of size n; eight times the size should take eight times the time.
SHAPES: list[Any] = [
    pytest.param(lambda n: [over(n, do())], id="loop"),
    pytest.param(lambda n: [over(n, do(), READS)], id="references"),
    pytest.param(lambda n: [over(n, NESTED)], id="condition in a loop"),
    pytest.param(lambda n: [over(n, of("w", "wait", duration="0s"))], id="waits"),
    pytest.param(lambda n: [do("s0"), *(do(f"s{i}", depends_on=[f"s{i - 1}"]) for i in range(1, n // 4))], id="chain"),
    pytest.param(lambda n: [of("p", "parallel", branches=[[do()] for _ in range(n // 10)])], id="branches"),
]


class Unlisted(MemoryStore):
    """Lists nothing: runs of this size are measured, and checked for nothing else."""

    async def runs(self, where: Any) -> tuple[list[Any], int]:
        return [], 0

    async def find_events(self, where: Any) -> list[Any]:
        return []


@pytest.mark.spec("10.55")
@pytest.mark.parametrize("steps", SHAPES)
async def test_eight_times_the_steps_take_about_eight_times_the_time(house, steps: Callable[[int], Any]):
    async def seconds(size: int) -> float:
        async with Unlisted() as store, open_engine(store, house.registry) as engine:
            await engine.define("t", {"steps": steps(size)}, agent_id="me")
            await engine.library.resolve("t", check=True)  # checked and compiled once, whatever number of runs follows
            gc.collect()
            gc.disable()
            began = time.process_time()
            try:
                result = await engine.run("t", agent_id="me")
            finally:
                spent = time.process_time() - began
                gc.enable()
            assert result["status"] == "completed"
            return spent

    await seconds(400)
    small, large = min([await seconds(400) for _ in range(3)]), min([await seconds(3200) for _ in range(3)])
    assert large / small < 16  # 8 where nothing grows; squares would make it 64


@pytest.fixture
def statements(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Every statement that the connection that writes carries out from now on."""
    seen: list[str] = []

    def open_traced(*given: Any, **keys: Any) -> sqlite3.Connection:
        connection: sqlite3.Connection = opened(*given, **keys)
        connection.set_trace_callback(seen.append)
        return connection

    opened = tortoise.open_writer
    monkeypatch.setattr(tortoise, "open_writer", open_traced)
    return seen


def kinds(statements: list[str]) -> Counter[str]:
    """Count statements by verb and table."""
    words = [statement.split() for statement in statements]
    return Counter(f"{verb[0]} {verb[2].strip('(')}" if verb[0] == "INSERT" else verb[0] for verb in words)


@pytest.mark.spec("10.57")
async def test_a_commit_writes_the_events_and_the_rows_they_change_and_nothing_else(house, statements):
    steps = [do(f"s{n}", "t.do", **({"depends_on": [f"s{n - 1}"]} if n else {})) for n in range(20)]
    async with house.engine() as engine:
        await engine.define("t", {"steps": steps}, agent_id="me")
        statements.clear()
        result = await engine.run("t", agent_id="me")
        events = len(await engine.store.events(result["workflow_id"]))
        counted = kinds(statements)
    assert set(counted) <= {"BEGIN", "COMMIT", "INSERT events", "INSERT runs", "INSERT steps"}
    assert counted["BEGIN"] == counted["COMMIT"] <= 22
    assert not any("max(" in statement.lower() for statement in statements)
    assert all(statement == "BEGIN IMMEDIATE" for statement in statements if statement.startswith("BEGIN"))
    # Few rows go in by statements of several rows: never more statements than there are events.
    assert sum(counted[kind] for kind in counted if kind.startswith("INSERT events")) <= events == 42


@pytest.mark.spec("10.57")
async def test_pure_steps_share_their_commits(house, statements):
    async with house.engine() as engine:
        await engine.define("t", {"steps": [over(500, do("x", "t.echo"))]}, agent_id="me")
        statements.clear()
        result = await engine.run("t", agent_id="me")
        events = len(await engine.store.events(result["workflow_id"]))
        counted = kinds(statements)
    assert events > 2000
    assert counted["COMMIT"] < events / 20
    assert sum(counted.values()) < events


@pytest.mark.spec("10.57")
async def test_a_run_that_goes_on_after_a_restart_looks_its_last_sequence_up_once(house, statements):
    waits = [of(f"w{n}", "reasoning", prompt_context="?") for n in range(5)]
    async with house.engine() as engine:
        run_id = (await house.run(engine, waits))["workflow_id"]
    async with house.engine() as engine:
        statements.clear()
        for n in range(5):
            await engine.signal(run_id, "decision", step_id=f"w{n}", payload={"choice": "x"})
        assert sum("max(sequence)" in statement for statement in statements) <= 1
        assert [event["sequence"] for event in await house.events(engine, run_id)] == list(
            range(1, len(await house.events(engine, run_id)) + 1)
        )


@pytest.mark.spec("10.59")
async def test_the_input_of_a_step_is_recorded_as_it_was_with_secrets_masked(house):
    vault = await open_vault(MemoryStore(), "correct horse")
    await vault.set("KEY", "swordfish")
    params = {
        "value": ["${{inputs.n}}", "${{steps.a.output}}", "<${{secrets.KEY}}>", {"k": "${{secrets.KEY}}"}],
        "fixed": True,
    }
    steps = [do("a", "t.echo", params={"value": {"x": 1}}), do("b", "t.do", params=params, depends_on=["a"])]
    loop = {**over(2, do("x", "t.echo", params={"value": "${{loop.item}}"})), "depends_on": ["b"]}
    failing = do("f", "t.fail", params={"message": "no"}, on_error={"strategy": "ignore"}, depends_on=["l"])
    async with house.engine(vault=vault) as engine:
        result = await house.run(engine, [*steps, loop, failing], {"n": 7})
        shown = (await engine.status(result["workflow_id"]))["steps"]
        rows = {row.step_id: row.input for row in await engine.store.steps(result["workflow_id"])}
    assert result["status"] == "completed"
    assert house.seen["b"] == [{"value": [7, {"x": 1}, "<swordfish>", {"k": "swordfish"}], "fixed": True}]
    masked = {"value": [7, {"x": 1}, "<***>", {"k": "***"}], "fixed": True}
    assert shown["b"]["input"] == rows["b"] == masked
    assert (rows["a"], rows["l.iter_1.x"], rows["f"]) == ({"value": {"x": 1}}, {"value": 1}, {"message": "no"})


@pytest.mark.spec("10.59")
async def test_the_input_is_that_of_the_latest_attempt_and_survives_a_restart(house):
    steps = [of("ask", "reasoning", prompt_context="?"), do("a", "t.fail", params={"times": 1, "value": "${{context.k}}"},
             depends_on=["ask"])]  # fmt: skip
    async with house.engine() as engine:
        run_id = (await house.run(engine, {"steps": steps, "context": {"k": "first"}}))["workflow_id"]
        await engine.signal(run_id, "decision", payload={"choice": "x"})
        assert (await engine.status(run_id))["steps"]["a"]["input"] == {"times": 1, "value": "first"}
    async with house.engine() as engine:
        assert (await engine.status(run_id))["steps"]["a"]["input"] == {"times": 1, "value": "first"}
        await engine.signal(run_id, "retry", step_id="a")
        shown = await engine.status(run_id)
    assert (shown["status"], shown["steps"]["a"]["input"]) == ("completed", {"times": 1, "value": "first"})
