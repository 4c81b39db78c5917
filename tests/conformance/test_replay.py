"""What the log alone tells: a run killed at any of its commits ends as if nothing had happened."""

from __future__ import annotations

import shutil
import sqlite3
from collections import Counter
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import anyio
import pytest

from opcode_kernel import ConflictError, Engine, SqlStore
from opcode_kernel.core.run import Run
from opcode_kernel.store.base import RunFilter, RunWrite

pytestmark = pytest.mark.anyio


def do(step_id: str, value: Any = None, **keys: Any) -> dict[str, Any]:
    return {"id": step_id, "action": "t.do", "params": {} if value is None else {"value": value}, **keys}


CHILD = {"steps": [do("c1"), do("c2", {"from": "${{inputs.from}}"}, depends_on=["c1"])]}
MIXED = {
    "inputs": {"base": 3},
    "steps": [
        do("first", {"n": "${{inputs.base}}"}),
        {"id": "fan", "type": "parallel", "depends_on": ["first"], "config": {"branches": [
            [do("x"), {"id": "nap", "type": "wait", "config": {"duration": "3ms"}}, do("y", "${{steps.x.output.ran}}!")],
            [{"id": "each", "type": "loop", "config": {"over": "[1, 2, steps.first.n]", "body": [
                do("book", "${{loop.item}}"), do("check", ["${{steps.book.output}}", "${{loop.index}}"])]}}],
        ]}},
        {"id": "tier", "type": "condition", "depends_on": ["first"], "config": {
            "expression": "steps.first.n > 2 ? 'many' : 'few'", "branches": {"many": [do("pay", 70)], "few": []}}},
        {"id": "shaky", "action": "t.fail", "params": {"times": 1, "value": "at last"}, "retry": {"max": 3},
         "depends_on": ["first"]},
        {"id": "broken", "action": "t.fail", "on_error": {"strategy": "fallback_step", "fallback_step": "rescue"}},
        do("rescue", "saved"),
        {"id": "lost", "action": "t.fail", "on_error": {"strategy": "ignore"}, "depends_on": ["shaky"]},
        {"id": "gate", "type": "reasoning", "depends_on": ["fan", "tier"], "config": {
            "prompt_context": "Go?", "options": [{"id": "yes"}, {"id": "no"}]}},
        {"id": "call", "type": "wait", "depends_on": ["gate"], "config": {"signal": "go"}},
        {"id": "child", "action": "workflow.run", "depends_on": ["call"], "params": {
            "template_name": "child", "params": {"from": "${{steps.call.output.payload.from}}"}}},
        do("never", condition="steps.gate.choice == 'no'", depends_on=["gate"]),
        do("last", {"fan": "${{steps.fan.output}}", "pay": "${{steps.tier.output}}"},
           depends_on=["child", "shaky", "broken", "lost", "never"]),
    ],
    "on_complete": do("hook", "${{workflow.status}}"),
    "output": {"last": "${{steps.last.output}}", "gate": "${{steps.gate.output.choice}}", "shaky": "${{steps.shaky.output}}",
               "rescued": "${{steps.broken.output}}", "child": "${{steps.child.output}}"},
}  # fmt: skip
WANTED = {
    "last": {"fan": {"mode": "all", "branches": ["fan.branch_0.x!", {
        "iterations": 3, "results": [[1, 0], [2, 1], [3, 2]]}]}, "pay": {"branch": "many", "output": 70}},
    "gate": "yes", "shaky": "at last", "rescued": "saved", "child": {"from": "far"},
}  # fmt: skip


class Camera(SqlStore):
    """After each commit, copies the database and notes which effects there had been when the next one began."""

    def __init__(self, house: Any) -> None:
        super().__init__(house.database)
        self.house = house
        self.shots: list[Path] = []
        self.effects: list[list[str]] = []

    async def append(self, writes: Sequence[RunWrite]) -> None:
        if self.shots:
            self.effects.append(self.house.effects())
        await super().append(writes)
        shot = self.house.folder / f"shot{len(self.shots)}.db"
        for ending in ("", "-wal"):
            shutil.copy(f"{self.house.database}{ending}", f"{shot}{ending}")
        self.shots.append(shot)


async def drive(engine: Engine, run_id: str) -> dict[str, Any]:
    """Answer whatever the run and its child wait for until the run has ended."""
    with anyio.fail_after(20):
        while True:
            status = await engine.status(run_id, include=["steps"])
            if status["status"] in ("completed", "failed", "cancelled"):
                return status
            for row in (await engine.store.runs(RunFilter(status="suspended")))[0]:
                await push(engine, row.id)
            await anyio.sleep(0.001)


async def push(engine: Engine, run_id: str) -> None:
    status = await engine.status(run_id, include=["decisions"])
    reasons = [entry["reason"] for entry in status.get("waiting", ())]
    try:
        if "interrupted" in reasons:
            await engine.signal(run_id, "retry")
        elif "decision" in reasons:
            await engine.signal(run_id, "decision", payload={"choice": "yes"}, agent_id="me")
        elif "signal" in reasons:
            await engine.signal(run_id, "data", payload={"signal": "go", "from": "far"})
    except ConflictError:
        pass  # what it waited for came meanwhile


def completed(database: Path) -> dict[str, str]:
    with closing(sqlite3.connect(database)) as connection:
        return dict(connection.execute("select step_id, output from steps where status = 'completed'"))


def restarted(house: Any, shot: Path) -> Any:
    """Return a house that finds the database as it was, and has seen nothing."""
    other = type(house)(house.folder / f"{shot.stem}_house")
    other.folder.mkdir()
    other.database = shot
    return other


@pytest.mark.spec("11.14", "11.15", "10.11", "10.12", "10.18")
@pytest.mark.parametrize("recovery", ["suspend", "auto", "resume"])
async def test_a_run_killed_at_any_commit_ends_as_the_undisturbed_one_and_repeats_nothing_it_completed(house, recovery):
    camera = Camera(house)
    async with house.engine(store=camera) as engine:
        await engine.define("child", CHILD, agent_id="me")
        run_id = (await house.run(engine, MIXED, wait=False))["workflow_id"]
        undisturbed = await drive(engine, run_id)
        shots = list(camera.shots)
    assert (undisturbed["status"], undisturbed["output"]) == ("completed", WANTED)
    everything = Counter(house.effects())
    assert len(shots) > 10
    assert set(everything.values()) == {1}
    for number, shot in enumerate(shots):
        before = completed(shot)
        until_then = camera.effects[number] if number < len(camera.effects) else house.effects()
        again = restarted(house, shot)
        async with again.engine(recovery=recovery) as engine:
            ended = await drive(engine, run_id)
        effects = Counter(again.effects())
        assert (ended["status"], ended["output"]) == ("completed", WANTED), number
        assert {step: row["status"] for step, row in ended["steps"].items()} == {
            step: row["status"] for step, row in undisturbed["steps"].items()
        }, number
        assert set(effects) & set(before) == set(), f"after commit {number} what was completed ran again"
        assert set(effects.values()) <= {1}, number
        assert set(until_then) | set(effects) == set(everything), number
        after = completed(shot)
        assert {step: after[step] for step in before} == before, number


async def mixed(house: Any, engine: Engine) -> str:
    await engine.define("child", CHILD, agent_id="me")
    run_id: str = (await house.run(engine, MIXED, wait=False))["workflow_id"]
    await drive(engine, run_id)
    return run_id


async def cancelled(house: Any, engine: Engine) -> str:
    steps = [{"id": "g", "action": "t.gate"}, {"id": "q", "type": "reasoning", "config": {"prompt_context": "?"}}]
    run_id: str = (await house.run(engine, [*steps, do("z", depends_on=["g"])], wait=False))["workflow_id"]
    await engine.signal(run_id, "cancel")
    return run_id


async def overridden(house: Any, engine: Engine) -> str:
    steps = [{"id": "f", "action": "t.fail", "params": {"times": 1}}, do("z", depends_on=["f"])]
    run_id: str = (await house.run(engine, steps))["workflow_id"]
    await engine.signal(run_id, "retry", step_id="f")
    return run_id


async def skipped(house: Any, engine: Engine) -> str:
    body = [do("a"), {"id": "f", "action": "t.fail"}, do("b")]
    steps = [{"id": "l", "type": "loop", "config": {"over": [1, 2], "body": body}}]
    run_id: str = (await house.run(engine, steps))["workflow_id"]
    await engine.signal(run_id, "skip", step_id="l.iter_0.f")
    return run_id


async def raced(house: Any, engine: Engine) -> str:
    branches = [[{"id": "g", "action": "t.gate"}], [do("quick")],
                [{"id": "q", "type": "reasoning", "config": {"prompt_context": "?"}}]]  # fmt: skip
    result = await house.run(
        engine, [{"id": "p", "type": "parallel", "config": {"mode": "race", "branches": branches}}]
    )
    return str(result["workflow_id"])


async def timed_out(house: Any, engine: Engine) -> str:
    definition = {"timeout": "30ms", "on_timeout": "suspend", "steps": [{"id": "s", "action": "t.gate"}, do("a")]}
    run_id: str = (await house.run(engine, definition))["workflow_id"]
    house.gate().set()
    await engine.signal(run_id, "retry")
    return run_id


async def retried(house: Any, engine: Engine) -> str:
    """A container that fails once after half of its work, and comes round with less of it."""
    body = [do("a"), {"id": "f", "action": "t.fail", "params": {"times": 1}}]
    loop = {"id": "l", "type": "loop", "retry": {"max": 1}, "config": {"over": [1, 2], "body": body}}
    return str((await house.run(engine, [loop]))["workflow_id"])


async def decided_late(house: Any, engine: Engine) -> str:
    config = {"prompt_context": "?", "timeout": "20ms", "fallback": "none"}
    run_id: str = (await house.run(engine, [{"id": "q", "type": "reasoning", "config": config}]))["workflow_id"]
    with anyio.fail_after(10):
        while (await engine.status(run_id))["status"] != "completed":  # noqa: ASYNC110 - the timer tells nobody
            await anyio.sleep(0.005)
    return run_id


@pytest.mark.spec("11.15")
@pytest.mark.parametrize(
    "scenario",
    [mixed, cancelled, overridden, skipped, raced, timed_out, retried, decided_late],
    ids=lambda s: s.__name__,
)
async def test_after_every_event_the_replay_tells_the_statuses_of_the_step_table(house, scenario):
    """Compared at every commit, not only at the end; the fixture does the latter after every test of this folder."""
    camera = Camera(house)
    async with house.engine(store=camera) as engine:
        run_id = await scenario(house, engine)
        await house.compare_replays(engine)
    for shot in camera.shots:
        async with SqlStore(shot) as store:
            row = await store.run(run_id)
            plan = (await engine.library.resolve(row.template_name, row.template_version)).plan
            state = Run.replay(plan, await store.events(run_id)).state
            told = {
                path: node.status for path, node in state.nodes.items()
                if node.status != "pending" or node.block is state.root or node.attempt
            }  # fmt: skip
            assert told == {step.step_id: step.status for step in await store.steps(run_id)}, shot.name
            assert state.status == row.status
