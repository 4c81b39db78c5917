"""One transaction for all that one moment changes, outputs that outlive every suspension, and logs that were damaged."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from typing import Any

import anyio
import pytest
import structlog
from structlog.testing import capture_logs

from opcode_kernel import OpcodeError, SqlStore
from opcode_kernel.runtime.engine import wall_clock
from opcode_kernel.store.base import RunWrite

pytestmark = pytest.mark.anyio

ASK = {"id": "q", "type": "reasoning", "config": {"prompt_context": "Go?"}}


def echo(step_id: str, value: Any, **keys: Any) -> dict[str, Any]:
    return {"id": step_id, "action": "t.echo", "params": {"value": value}, **keys}


def sql(house: Any, query: str, *given: Any) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(house.database)) as connection, connection:
        return list(connection.execute(query, given))


READS_ALL = [
    echo("same", "${{steps.a.output}}"), echo("deep", "${{steps.a.output.rows[1].name}}"),
    echo("text", "got ${{steps.a.output.n}} of ${{steps['l.iter_1.i'].output}}"),
    {**echo("guarded", "yes"), "condition": "steps.a.rows.size() == 2 && steps.a.output.n == 3"},
    {"id": "count", "type": "loop", "config": {"over": "steps.a.rows", "body": [echo("b", "${{loop.item.name}}")]}},
    echo("whole", "${{steps.l.output.results}}"), echo("status", "${{steps.a.status}}"),
]  # fmt: skip


@pytest.mark.spec("10.11")
@pytest.mark.parametrize("restart", [False, True])
@pytest.mark.parametrize("rest", [
    ASK, {"id": "q", "type": "wait", "config": {"signal": "go"}}, {"id": "q", "action": "t.fail", "params": {"times": 1}},
    {"id": "q", "type": "wait", "config": {"duration": "61s"}}, {"id": "q", "type": "parallel", "config": {"branches": [[ASK]]}},
], ids=["decision", "signal", "failure", "timer", "nested"])  # fmt: skip
async def test_every_kind_of_reference_finds_earlier_outputs_after_a_suspension(house, until, rest, restart):
    value = {"n": 3, "rows": [{"name": "x"}, {"name": "ü"}]}
    steps = [
        echo("a", value), {"id": "l", "type": "loop", "config": {"over": [1, 2], "body": [echo("i", "${{loop.item}}")]}},
        {**rest, "depends_on": ["a", "l"]}, *[{**step, "depends_on": ["a", "l", "q"]} for step in READS_ALL],
    ]  # fmt: skip
    ahead = [0]
    async with house.daemon(clock=moved_clock(ahead)) as daemon:
        result = await house.run(daemon.engine, steps)
        run_id = result["workflow_id"]
        assert result["status"] in ("suspended", "failed")
        engine = await daemon.restart(restart)
        await wake(engine, run_id, rest, ahead)
        await until(lambda: run_id not in engine.live)
        ended = await engine.status(run_id)
    assert ended["status"] == "completed", ended.get("error")
    found = {step["id"]: ended["steps"][step["id"]].get("output") for step in READS_ALL}
    assert found == {
        "same": value, "deep": "ü", "text": "got 3 of 2", "guarded": "yes", "whole": [1, 2], "status": "completed",
        "count": {"iterations": 2, "results": ["x", "ü"]},
    }  # fmt: skip


def moved_clock(ahead: list[int]) -> Any:
    """Return a wall clock that a test moves by seconds."""
    return lambda: wall_clock() + ahead[0] * 1_000_000


async def wake(engine: Any, run_id: str, rest: dict[str, Any], ahead: list[int]) -> None:
    if "duration" in rest.get("config", {}):
        ahead[0] = 62
        engine.timers.arm("nobody", "x", 0)  # has the timers look at the clock again
        with anyio.fail_after(5):
            while (await engine.status(run_id))["status"] != "completed":  # noqa: ASYNC110 - the timer tells nobody
                await anyio.sleep(0.01)
    elif rest.get("action") == "t.fail":
        await engine.signal(run_id, "retry", step_id="q")
    elif "signal" in rest["config"]:
        await engine.signal(run_id, "data", payload={"signal": "go"})
    else:
        await engine.signal(run_id, "decision", payload={"choice": "on"}, agent_id="me")


_STEP = {
    "step_started": "running", "step_completed": "completed", "step_failed": "failed", "step_skipped": "skipped",
    "step_retrying": "retrying", "step_suspended": "suspended",
}  # fmt: skip
_RUN = {
    "workflow_started": "active", "workflow_resumed": "active", "workflow_suspended": "suspended",
    "workflow_completed": "completed", "workflow_failed": "failed", "workflow_cancelled": "cancelled",
}  # fmt: skip


class Auditor(SqlStore):
    """Compares, after each commit, what the tables say with what the events say."""

    def __init__(self, house: Any) -> None:
        super().__init__(house.database)
        self.house = house
        self.commits = 0

    async def append(self, writes: Sequence[RunWrite]) -> None:
        await super().append(writes)
        self.commits += 1
        for run_id, status, output in sql(self.house, "select id, status, output from runs"):
            events = sql(self.house, "select type, step_id from events where run_id = ? order by sequence", run_id)
            assert status == [_RUN[kind] for kind, _ in events if kind in _RUN][-1]
            assert (output is not None) == (status == "completed")
            told = {step: _STEP[kind] for kind, step in events if kind in _STEP}
            rows = sql(self.house, "select step_id, status, output from steps where run_id = ?", run_id)
            now = {step: status for step, status, _ in rows}
            # A decision or a signal that was taken in moves on what rested, by way of its container too.
            assert {step: status for step, status in now.items() if status not in ("pending", "running")} == {
                step: status for step, status in told.items() if status != "running" and now[step] != "running"
            }  # fmt: skip
            assert all(output is not None for _, status, output in rows if status == "completed")
            asked = [step for kind, step in events if kind == "decision_requested"]
            decided = [step for kind, step in events if kind == "decision_resolved"]
            decisions = sql(
                self.house, "select step_id, status from decisions where run_id = ? order by created_at", run_id
            )
            assert sorted(step for step, _ in decisions) == sorted(asked)
            assert sorted(step for step, status in decisions if status == "resolved") == sorted(decided)


@pytest.mark.spec("10.12")
async def test_at_every_commit_the_tables_say_what_the_events_say(house):
    body = [echo("a", "${{loop.item}}"), ASK, {"id": "do", "action": "t.do"}]
    steps = [
        {"id": "l", "type": "loop", "config": {"over": [1, 2], "body": body}},
        {"id": "f", "action": "t.fail", "params": {"times": 1}, "retry": {"max": 1}},
        {"id": "w", "type": "wait", "config": {"signal": "go"}},
        {"id": "p", "type": "parallel", "config": {"mode": "race", "branches": [[{**ASK, "id": "r"}], [{"id": "d", "action": "t.do"}]]}},
    ]  # fmt: skip
    auditor = Auditor(house)
    async with house.engine(store=auditor) as engine:
        run_id = (await house.run(engine, steps))["workflow_id"]
        for n in range(2):
            await engine.signal(run_id, "decision", step_id=f"l.iter_{n}.q", payload={"choice": "on"}, agent_id="me")
        ended = await engine.signal(run_id, "data", payload={"signal": "go"})
        with anyio.fail_after(5):
            while ended["status"] != "completed":
                ended = await engine.status(run_id)
                await anyio.sleep(0.005)
    assert auditor.commits >= 4


@pytest.mark.spec("10.12")
@pytest.mark.parametrize("table", ["steps", "runs", "decisions"])
async def test_where_one_of_the_rows_cannot_be_written_none_is_and_the_caller_is_told(house, table):
    steps = [echo("a", 1), {**ASK, "depends_on": ["a"]}, {"id": "z", "action": "t.do", "depends_on": ["q"]}]
    async with house.engine() as engine:
        run_id = (await house.run(engine, steps))["workflow_id"]
        before = {name: sql(house, f"select * from {name}") for name in ("runs", "steps", "decisions", "events")}
        for event in ("insert", "update"):
            sql(house, f"create trigger no_{event} before {event} on {table} begin select raise(abort, 'no'); end")
        with pytest.raises(OpcodeError) as caught:
            await engine.signal(run_id, "decision", payload={"choice": "on"}, agent_id="me")
        assert caught.value.code == "SIGNAL_FAILED"
        assert caught.value.details["cause"]["code"] == "STORE_ERROR"
        assert {name: sql(house, f"select * from {name}") for name in before} == before
        for event in ("insert", "update"):
            sql(house, f"drop trigger no_{event}")
        status = await engine.status(run_id)
        assert (status["status"], len(status["pending_decisions"])) == ("suspended", 1)
        ended = await engine.signal(run_id, "decision", payload={"choice": "on"}, agent_id="me")
    assert ended["status"] == "completed"
    assert house.effects() == ["z"]


async def _damaged(house: Any, missing: str) -> tuple[str, str]:
    """Run two workflows up to a decision and take one event out of the log of the first."""
    steps = [echo("a", {"n": 1}), {"id": "do", "action": "t.do", "depends_on": ["a"]}, {**ASK, "depends_on": ["do"]},
             echo("z", "${{steps.a.output.n}}", depends_on=["q"])]  # fmt: skip
    async with house.engine() as engine:
        hurt = (await house.run(engine, steps))["workflow_id"]
        whole = (await house.run(engine, steps))["workflow_id"]
    assert sql(house, "delete from events where run_id = ? and type = ? and step_id = 'do' returning id", hurt, missing)
    return hurt, whole


@pytest.mark.broken_history("an event is taken out of a log")
@pytest.mark.spec("10.20")
async def test_a_gap_in_one_log_is_reported_and_leaves_the_other_runs_alone(house):
    hurt, whole = await _damaged(house, "step_completed")
    house.compare = False
    structlog.reset_defaults()  # an earlier test may have made the log quiet
    with capture_logs() as said:
        async with house.engine() as engine:
            ended = await engine.signal(whole, "decision", payload={"choice": "on"}, agent_id="me")
            assert ended["status"] == "completed"
            row = await engine.store.run(hurt)
            assert row.status == "suspended"
    told = [entry for entry in said if "gap" in entry["event"]]
    assert {entry["workflow_id"] for entry in told} == {hurt}
    assert {entry["log_level"] for entry in told} == {"warning"}


@pytest.mark.broken_history("an event is taken out of a log")
@pytest.mark.spec("10.20")
@pytest.mark.parametrize("missing", ["step_completed", "step_started"])
async def test_a_gap_does_not_keep_a_run_from_going_on_where_the_step_table_is_intact(house, missing):
    hurt, _ = await _damaged(house, missing)
    house.compare = False
    async with house.engine() as engine:
        ended = await engine.signal(hurt, "decision", payload={"choice": "on"}, agent_id="me")
    assert ended["status"] == "completed"
    assert ended["steps"]["z"]["output"] == 1
    assert house.effects() == ["do", "do"]  # once in either run
