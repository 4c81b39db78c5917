"""Steps, branches and runs do not stand in each other's way, and the pool bounds them all."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import anyio
import pytest

from opcode_kernel import SqlStore

pytestmark = pytest.mark.anyio


def do(step_id: str, name: str = "t.do", **keys: Any) -> dict[str, Any]:
    return {"id": step_id, "action": name, **keys}


def gate(step_id: str, name: str | None = None, **keys: Any) -> dict[str, Any]:
    return do(step_id, "t.gate", params={"gate": name or step_id}, **keys)


def ask(step_id: str = "ask") -> dict[str, Any]:
    return {"id": step_id, "type": "reasoning", "config": {"prompt_context": "?"}}


def fan(*branches: Any, **config: Any) -> dict[str, Any]:
    return {"id": "p", "type": "parallel", "config": {"branches": list(branches), **config}}


async def begun(house: Any, engine: Any, definition: Any) -> str:
    steps = {"steps": definition} if isinstance(definition, list) else definition
    await engine.define("t", steps, agent_id="me")
    return (await engine.run("t", agent_id="me", wait=False))["workflow_id"]  # type: ignore[no-any-return]


@pytest.mark.spec("10.35")
async def test_a_slow_step_does_not_hold_back_what_does_not_depend_on_it(house, until):
    steps = [
        gate("slow"),
        do("fast"),
        do("b", depends_on=["fast"]),
        do("c", depends_on=["b"]),
        do("last", depends_on=["slow"]),
    ]
    async with house.engine() as engine:
        run_id = await begun(house, engine, steps)
        await until(lambda: "c" in house.effects())
        shown = await engine.status(run_id)
        assert {path: step["status"] for path, step in shown["steps"].items()} == {
            "slow": "running", "fast": "completed", "b": "completed", "c": "completed", "last": "pending",
        }  # fmt: skip
        house.gate("slow").set()
        await house.becomes(engine, run_id, "completed")


@pytest.mark.spec("10.35")
async def test_a_decision_holds_back_only_what_depends_on_it(house):
    steps = [ask(), do("a"), do("b", depends_on=["a"]), do("c", depends_on=["b"]), do("gated", depends_on=["ask"]),
             fan([do("n"), ask("inner"), do("m")], [do("x"), do("y")])]  # fmt: skip
    async with house.engine() as engine:
        result = await house.run(engine, steps)
        assert result["status"] == "suspended"
        assert sorted(house.effects()) == ["a", "b", "c", "p.branch_0.n", "p.branch_1.x", "p.branch_1.y"]
        assert {entry["step_id"] for entry in result["waiting"]} == {"ask", "p.branch_0.inner"}


@pytest.mark.spec("10.35")
async def test_a_failure_stops_what_has_not_started_and_lets_the_rest_finish(house, until):
    steps = [gate("slow"), do("broken", "t.fail"), do("late", depends_on=["slow"]), ask()]
    async with house.engine() as engine:
        run_id = await begun(house, engine, steps)
        await until(lambda: "slow" in house.effects() and "broken" in house.seen)
        house.gate("slow").set()
        shown = await house.becomes(engine, run_id, "failed")
        assert {path: step["status"] for path, step in shown["steps"].items()} == {
            "slow": "completed", "broken": "failed", "late": "pending", "ask": "skipped",
        }  # fmt: skip
        assert shown["steps"]["ask"]["reason"] == "workflow_failed"
        assert [row.status for row in await engine.store.decisions(run_id=run_id)] == ["cancelled"]


@pytest.mark.spec("10.37")
@pytest.mark.parametrize("width", [None, 2])
async def test_branches_share_the_pool_with_everything_else(house, until, width):
    branches = [[do("n", "t.sleep", params={"seconds": 0.01})] for _ in range(12)]
    steps = [fan(*branches, **({"max_concurrency": width} if width else {}))]
    async with house.engine(pool_size=3) as engine, anyio.create_task_group() as tasks:
        await engine.define("t", {"steps": steps}, agent_id="me")
        for _ in range(1 if width else 3):
            tasks.start_soon(lambda: engine.run("t", agent_id="me"))
    assert house.most == (width or 3)
    assert sum(map(len, house.seen.values())) == (12 if width else 36)


@pytest.mark.spec("10.37")
async def test_losers_of_a_race_are_cancelled_and_write_nothing_afterwards(house, until):
    race = fan([gate("win")], [gate("lose"), do("later")], [ask()], mode="race")
    async with house.engine() as engine:
        run_id = await begun(house, engine, [race, do("after", depends_on=["p"])])
        await until(lambda: sorted(house.effects()) == ["p.branch_0.win", "p.branch_1.lose"])
        house.gate("win").set()
        shown = await house.becomes(engine, run_id, "completed")
        house.gate("lose").set()
        count = len(await house.events(engine, run_id))
        await anyio.sleep(0.02)
        types = await house.types(engine, run_id)
        assert len(types) == count
        assert [row.status for row in await engine.store.decisions(run_id=run_id)] == ["cancelled"]
    assert shown["steps"]["p"]["output"] == {"mode": "race", "winner": 0, "output": {"ran": "p.branch_0.win"}}
    assert {shown["steps"][path]["reason"] for path in ("p.branch_1.lose", "p.branch_2.ask")} == {"race_lost"}
    assert house.cancelled == ["p.branch_1.lose"]
    assert "p.branch_1.later" not in house.effects()


@pytest.mark.spec("10.37")
async def test_a_race_waits_for_a_branch_that_is_suspended_but_not_for_nothing(house, until):
    async with house.engine() as engine:
        run_id = (await house.run(engine, [fan([do("a", "t.fail")], [ask()], mode="race")]))["workflow_id"]
        shown = await engine.status(run_id)
        assert (shown["status"], shown["steps"]["p"]["status"]) == ("suspended", "suspended")
        result = await engine.signal(run_id, "decision", payload={"choice": "x"})
        assert (result["status"], result["output"]["winner"]) == ("completed", 1)
        lost = await house.run(engine, [fan([do("a", "t.fail")], [do("b", "t.fail")], mode="race")])
        assert (lost["status"], len(lost["error"]["details"]["branch_errors"])) == ("failed", 2)


@pytest.mark.spec("10.37")
async def test_an_empty_branch_is_refused_in_a_race_and_counts_for_nothing_in_all(house):
    async with house.engine() as engine:
        (issue,) = engine.check({"steps": [fan([do("a")], [], mode="race")]}).errors
        assert issue.path == "steps[0].config.branches[1]"
        result = await house.run(engine, [fan([do("a")], [])])
        assert result["output"] == {"mode": "all", "branches": [{"ran": "p.branch_0.a"}, None]}


@pytest.mark.spec("10.37")
async def test_every_branch_ends_before_a_failure_is_told_and_what_rests_is_cancelled(house, until):
    async with house.engine() as engine:
        run_id = await begun(house, engine, [fan([do("a", "t.fail")], [gate("b")], [ask()], [do("c", "t.fail")])])
        await until(lambda: house.effects() == ["p.branch_1.b"] and len(house.failures) == 2)
        assert (await engine.status(run_id))["steps"]["p"]["status"] == "running"
        house.gate("b").set()
        shown = await house.becomes(engine, run_id, "failed")
        errors = shown["error"]["details"]["branch_errors"]
    assert shown["steps"]["p.branch_1.b"]["status"] == "completed"
    assert shown["steps"]["p.branch_2.ask"]["status"] == "skipped"
    assert (shown["error"]["step_id"], [error["branch"] for error in errors]) == ("p.branch_0.a", [0, 3])


class Counting(SqlStore):
    """Counts the transactions and what they hold, and can hold one back."""

    def __init__(self, location: Any) -> None:
        super().__init__(location)
        self.appends: list[list[str]] = []
        self.gate: anyio.Event | None = None

    async def append(self, writes: Sequence[Any]) -> None:
        self.appends.append([write.run_id for write in writes])
        if self.gate is not None:
            await self.gate.wait()
        await super().append(writes)


@pytest.mark.spec("10.38")
async def test_runs_decide_while_others_write_and_share_one_transaction(house, tmp_path, until):
    store = Counting(tmp_path / "counted.db")
    async with house.engine(store=store) as engine, anyio.create_task_group() as tasks:
        await engine.define("t", {"steps": [do("a"), do("b", depends_on=["a"])]}, agent_id="me")
        store.appends.clear()
        store.gate = anyio.Event()
        for _ in range(40):
            tasks.start_soon(lambda: engine.run("t", agent_id="me"))
        await until(lambda: len(engine.live) == 40 and store.appends)
        # The write of the first is held back, and yet all of them were started and decided.
        assert all(live.run.state.sequence == 2 for live in engine.live.values() if live.loaded)
        gate, store.gate = store.gate, None
        gate.set()
    assert sum(map(len, store.appends)) >= 80
    assert len(store.appends) < 40
    assert max(len(set(batch)) for batch in store.appends) > 10


#: A run that computes for seconds without ever waiting.
BUSY = {"id": "l", "type": "loop", "config": {"over": list(range(2000)), "body": [do("x", "t.echo")]}}


@pytest.mark.spec("10.38")
async def test_a_run_that_is_busy_does_not_keep_another_waiting(house, until):
    async with house.engine() as engine, anyio.create_task_group() as tasks:
        await engine.define("busy", {"steps": [BUSY]}, agent_id="me")
        await engine.define("quick", {"steps": [do("q")]}, agent_id="me")
        tasks.start_soon(lambda: engine.run("busy", agent_id="me"))
        await until(lambda: engine.live)
        assert (await engine.run("quick", agent_id="me"))["status"] == "completed"
        assert len(engine.live) == 1
        tasks.cancel_scope.cancel()


@pytest.mark.spec("10.38")
async def test_a_run_that_is_busy_says_so_at_once(house):
    async with house.engine() as engine:
        await engine.define("busy", {"steps": [BUSY]}, agent_id="me")
        started = await engine.run("busy", agent_id="me", wait=False)
        assert started["status"] == "active"
        assert len(engine.live) == 1


@pytest.mark.spec("10.38", "10.14")
async def test_a_run_that_is_busy_can_be_cancelled(house, until):
    async with house.engine() as engine, anyio.create_task_group() as tasks:
        await engine.define("busy", {"steps": [BUSY]}, agent_id="me")
        tasks.start_soon(lambda: engine.run("busy", agent_id="me"))
        await until(lambda: engine.live)
        (run_id,) = engine.live
        assert (await engine.signal(run_id, "cancel"))["status"] == "cancelled"


@pytest.mark.spec("10.38", "10.15")
async def test_a_run_that_is_busy_still_runs_out_of_time(house):
    async with house.engine() as engine:
        result = await house.run(engine, {"steps": [BUSY], "timeout": "20ms"})
        events = await house.events(engine, result["workflow_id"], "workflow_started", "workflow_timed_out")
    assert (result["status"], result["error"]["code"]) == ("failed", "TIMEOUT_ERROR")
    assert house.at(events[1]) - house.at(events[0]) < 0.25
