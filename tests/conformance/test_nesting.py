"""Nested everywhere: in a condition in a loop in a branch, steps do exactly what they do at the top level.

Each row of the table is a list of steps and what somebody does about them. It is played at the top level and nested, with
and without restarts in between, and what the log and the status tell of the steps must be the same but for the ids.
"""

from __future__ import annotations

from dataclasses import dataclass

import anyio
import pytest

from opcode_kernel import MemoryStore
from opcode_kernel.store.base import RunFilter
from opcode_kernel.testing.steps import ask, fan, wait

pytestmark = pytest.mark.anyio


@dataclass(frozen=True)
class Move:
    """Once `step` has the status: restart, then send the signal, if any; `child` sends it to the child of the step."""

    step: str
    signal: str | None = None
    payload: dict | None = None
    status: str = "suspended"
    child: bool = False


@dataclass(frozen=True)
class Row:
    """Steps, moves and the status that the run ends with; `timed` rows are played on virtual time."""

    steps: list
    moves: tuple[Move, ...] = ()
    ends: str = "completed"
    timed: bool = False
    restarts: tuple[str, ...] = ("never", "shutdown", "crash")


def do(step_id, value=None, **keys):
    return {"id": step_id, "action": "t.do", "params": {} if value is None else {"value": value}, **keys}


def failing(times=10**9, **keys):
    return {"id": "x", "action": "t.fail", "params": {"times": times}, **keys}


def sleep(**keys):
    return {"id": "x", "action": "t.sleep", "params": {"seconds": 100}, **keys}


def call(name, **keys):
    return {"id": "x", "action": "workflow.run", "params": {"template_name": name}, **keys}


IGNORE = {"on_error": {"strategy": "ignore"}}
TO_F = {"on_error": {"strategy": "fallback_step", "fallback_step": "f"}}
A, B, READ = do("a"), do("b"), do("b", "${{steps.x.output}}")
GO = Move("x", "decision", {"choice": "go"})
HELD = {"id": "x", "action": "t.gate"}
ALWAYS = ("shutdown", "crash")

ROWS = {
    "a decision": Row([A, ask("x"), READ], (GO,)),
    "a decision on a guard": Row([ask("x"), do("b", condition="steps.x.choice == 'go'"),
                                  do("c", condition="steps.x.choice == 'no'")], (GO,)),
    "two decisions": Row([ask("x"), ask("y"), B], (GO, Move("y", "decision", {"choice": "no"}))),
    "a decision that is skipped": Row([ask("x"), READ], (Move("x", "skip", {"output": {"k": 1}}),)),
    "a decision that is cancelled": Row([ask("x"), B], (Move("x", "cancel"),)),
    "a decision that times out": Row([ask("x", timeout="4m", fallback="no"), READ], (Move("x"),), timed=True),
    "a decision that fails by time": Row([{**ask("x", timeout="4m"), **IGNORE}, B], (Move("x"),), timed=True),
    "a timer": Row([wait("x", duration="10s"), READ], (Move("x", status="running"),), timed=True),
    "a long timer": Row([wait("x", duration="5m"), READ], (Move("x"),), timed=True),
    "a signal": Row([A, wait("x", signal="go"), READ], (Move("x", "data", {"signal": "go", "k": [1]}),)),
    "a signal that does not come": Row([wait("x", signal="go", duration="5m"), READ], (Move("x"),), timed=True),
    "a signal that comes in time": Row([wait("x", signal="go", duration="5m"), READ],
                                       (Move("x", "data", {"signal": "go"}),), timed=True),
    "a signal wait that is skipped": Row([wait("x", signal="go"), B], (Move("x", "skip"),)),
    "a child": Row([call("quick"), READ]),
    "a child that asks": Row([call("asking"), READ], (Move("x", "decision", {"choice": "go"}, child=True),)),
    "a child that fails": Row([call("failing", **IGNORE), B]),
    "a retry": Row([A, failing(2, retry={"max": 2}), READ]),
    "a retry after a while": Row([failing(1, retry={"max": 1, "delay": "4m"}), READ], (Move("x", status="retrying"),),
                                 timed=True, restarts=("never",)),
    "a retry that was interrupted": Row([failing(1, retry={"max": 1, "delay": "4m"}), READ],
                                        (Move("x", "retry", status="retrying"),), timed=True, restarts=("shutdown",)),
    "retries that are used up": Row([failing(retry={"max": 2}, **IGNORE), B]),
    "a fallback": Row([A, failing(**TO_F), do("f", {"by": "f"}), READ]),
    "a fallback after retries": Row([failing(retry={"max": 1}, **TO_F), do("f", 1), READ]),
    "a fallback that asks": Row([failing(**TO_F), ask("f"), READ], (Move("f", "decision", {"choice": "go"}),)),
    "a fallback that fails": Row([failing(**TO_F), {**failing(), "id": "f"}, B], ends="failed"),
    "a fallback of a time-out": Row([sleep(timeout="5s", **TO_F), do("f", 1), READ], timed=True),
    "an ignored error": Row([A, failing(**IGNORE), B]),
    "an ignored defect": Row([{"id": "x", "action": "t.crash", **IGNORE}, B]),
    "a failure": Row([A, failing(), B], ends="failed"),
    "a failure that is retried": Row([A, failing(1), READ], (Move("x", "retry", status="failed"),)),
    "a failure that is passed over": Row([failing(), READ], (Move("x", "skip", {"output": 7}, status="failed"),)),
    "an abort": Row([A, failing(on_error={"strategy": "fail_workflow"}), B], ends="failed"),
    "a time-out": Row([sleep(timeout="5s"), B], ends="failed", timed=True),
    "a time-out that is ignored": Row([sleep(timeout="5s", **IGNORE), B], timed=True),
    "time-outs of every attempt": Row([sleep(timeout="5s", retry={"max": 2, "delay": "1s"}, **IGNORE), B], timed=True),
    "a time-out of a wait": Row([{**wait("x", signal="go"), "timeout": "5s", **IGNORE}, B], (Move("x"),), timed=True),
    "a guard that is false": Row([A, do("x", condition="1 > 2"), do("b", condition="steps.x.status == 'skipped'")]),
    "a guard without an answer": Row([A, do("x", condition="steps.a.nothing", **IGNORE), B]),
    "an interrupted action": Row([A, sleep(), READ], (Move("x", "retry", status="running"),), timed=True,
                                 restarts=("shutdown",)),
    "an interrupted action that is passed over": Row([HELD, READ], (Move("x", "skip", {"output": 7}, "running"),),
                                                     restarts=ALWAYS),
    "a race": Row([{"id": "x", "type": "parallel", "config": {"mode": "race", "branches": [[ask("y")], [do("z", 1)]]}}, READ]),
    "branches that ask": Row([{**fan([ask("y"), B], [ask("z"), B]), "id": "x"}, READ],
                             (Move("x.branch_1.z", "decision", {"choice": "z"}), Move("x.branch_0.y", "decision", {"choice": "y"}))),
    "a loop that asks": Row([{"id": "x", "type": "loop", "config": {"over": "[1, 2]", "body": [ask("y"), B]}}, READ],
                            tuple(Move(f"x.iter_{n}.y", "decision", {"choice": "go"}) for n in range(2))),
    "a loop that is retried": Row([{"id": "x", "type": "loop", "config": {"over": "[1]", "body": [A, {**failing(1), "id": "y"}]},
                                    "retry": {"max": 1}}, READ]),
    "a container that is ignored": Row([{**fan([A, {**failing(), "id": "y"}], [ask("z")]), "id": "x", **IGNORE}, B]),
}  # fmt: skip
CASES = [pytest.param(name, restart, id=f"{name}, restart: {restart}") for name, row in ROWS.items()
         for restart in (row.restarts if row.moves else ("never",)) if not (row.timed and restart == "crash")]  # fmt: skip
#: Differ from run to run, or tell where the step stands rather than what it did.
ASIDE = {"duration_ms", "decision_id", "timeout_at", "wake_at", "loop", "path", "step_outputs", "child_workflow_id"}


def at_top(steps):
    """The steps one after the other; a fallback depends on nobody, and nobody on it."""
    before, found = None, []
    for step in steps:
        aside = step["id"] == "f"
        found.append({**step, "depends_on": [before]} if before and not aside else step)
        before = before if aside else step["id"]
    return found


def nested(steps):
    choose = {"id": "if", "type": "condition", "config": {"expression": "true", "branches": {"true": steps}}}
    return [fan([{"id": "each", "type": "loop", "config": {"over": "[1, 2]", "body": [choose]}}], [do("beside")])]


async def reached(engine, run_id, path, move, within):
    with anyio.fail_after(within):
        while True:
            found = await engine.status(run_id, include=["steps"])
            there = found["steps"].get(path, {}).get("status") == move.status
            if there and (move.status != "failed" or found["status"] == "failed"):
                return
            await anyio.sleep(within / 5000)


async def send(engine, run_id, path, move, within):
    """Send the signal of a move, if any; what comes after it may take its time, and the run does not need its sender."""
    if move.child:
        rows, _ = await engine.store.runs(RunFilter(parent_run_id=run_id, status="suspended"))
        run_id, path = rows[0].id, None
    if move.signal:
        with anyio.move_on_after(within / 1000):
            await engine.signal(run_id, move.signal, payload=move.payload, step_id=path)


def bare(value, at):
    """What is told of a step, with the ids that it would have at the top level."""
    if isinstance(value, dict):
        return {key.removeprefix(at): bare(each, at) for key, each in value.items() if key not in ASIDE}
    if isinstance(value, list):
        return [bare(each, at) for each in value]
    return value.replace(at, "") if isinstance(value, str) and at else value


async def play(house, daemon, row, steps, places, restart):
    """Play a row at the given places, one after the other; returns what is told of each."""
    within = 1_500 if row.timed else 10
    for name, inner in (("quick", [do("i", 1)]), ("asking", [ask("i")]), ("failing", [failing()])):
        await daemon.engine.define(name, {"steps": inner}, agent_id="me")
    run_id = (await house.run(daemon.engine, steps, name="row", wait=False))["workflow_id"]
    for at in places:
        for move in row.moves:
            await reached(daemon.engine, run_id, at + move.step, move, within)
            if restart == "crash":
                house.cut_the_power()
            await daemon.restart(restart != "never")
            await send(daemon.engine, run_id, at + move.step, move, within)
    status = await house.ended(daemon.engine, run_id, within=within)
    assert status["status"] == row.ends, status.get("error")
    events = await house.events(daemon.engine, run_id)
    told = []
    for at in places:
        mine = [event for event in events if event.get("step_id", "").startswith(at) and event.get("step_id")]
        rows = {
            step: found
            for step, found in status["steps"].items()
            if step.startswith(at) and found["status"] != "pending"
        }
        aside = ("workflow_id", "started_at", "completed_at")
        told.append({
            "events": [[event["event_type"], *bare([event["step_id"], event.get("payload")], at)] for event in mine],
            "rows": bare({step: {k: v for k, v in found.items() if k not in aside} for step, found in rows.items()}, at),
        })  # fmt: skip
    return told


@pytest.fixture
def anyio_backend(request, virtual_time):
    return virtual_time if ROWS[request.node.callspec.params["name"]].timed else "asyncio"


@pytest.mark.spec("11.3", "11.8", "11.9", "11.11", "10.2", "10.8")
@pytest.mark.parametrize(("name", "restart"), CASES)
async def test_nested_steps_do_what_they_do_at_the_top_level(house, clock, name, restart):
    row = ROWS[name]
    async with house.daemon(**({"store": MemoryStore(), "clock": clock} if row.timed else {})) as daemon:
        (top,) = await play(house, daemon, row, at_top(row.steps), [""], restart)
        places = [f"p.branch_0.each.iter_{n}.if.true." for n in range(2 if row.ends == "completed" else 1)]
        assert len(top["events"]) > 1
        for told in await play(house, daemon, row, nested(row.steps), places, restart):
            assert told == top
