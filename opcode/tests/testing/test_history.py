"""Every law of the history checker, broken on purpose in a real database: each is noticed, under its own name."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import opcode_cel
import opcode_steps
from opcode_kernel import EngineOptions, Registry, action, hookimpl, open_engine, registry_of
from opcode_kernel.store.memory import MemoryStore
from opcode_kernel.store.tortoise import SqlStore
from opcode_kernel.testing import laws
from opcode_kernel.testing.history import Acknowledged, Effect, HistoryBroken, HistoryReport, check_history

pytestmark = [pytest.mark.anyio, pytest.mark.broken_history("the laws are broken on purpose, each in its turn")]

ASK = {
    "id": "ask",
    "type": "reasoning",
    "config": {"prompt_context": "Go on?", "options": [{"id": "yes"}, {"id": "no"}]},
}
MIXED = {
    "steps": [
        {"id": "a", "action": "odd.note"},
        {"id": "each", "type": "loop", "config": {"over": ["x", "y"], "body": [{"id": "n", "action": "odd.note"}]}},
        ASK,
        {
            "id": "pick", "type": "condition", "depends_on": ["ask"],
            "config": {"expression": "steps.ask.choice", "branches": {"yes": [{"id": "z", "action": "odd.note"}]}},
        },
    ]
}  # fmt: skip


@pytest.fixture
def anyio_backend() -> str:
    """The store on disk needs asyncio."""
    return "asyncio"


def registry() -> Registry:
    @action("odd.note", summary="Say which key it was given", effect="effect")
    async def note(ctx: Any, params: Any) -> Any:
        return {"key": ctx.idempotency_key}

    module = ModuleType("odd")
    module.opcode_actions = hookimpl(lambda: [note])  # type: ignore[attr-defined]
    return registry_of(opcode_steps, opcode_cel, module)


@pytest.fixture
async def database(tmp_path: Path) -> Path:
    """A database with three runs: completed after a decision, cancelled, and waiting."""
    path = tmp_path / "history.db"
    async with SqlStore(path, "normal") as store, open_engine(store, registry(), options=EngineOptions()) as engine:
        await engine.define("mixed", MIXED, agent_id="me")
        for key, signals in (("done", ["decision"]), ("gone", ["cancel"]), ("open", [])):
            run_id = (await engine.run("mixed", agent_id="me", idempotency_key=key))["workflow_id"]
            for signal in signals:
                await engine.signal(run_id, signal, payload={"choice": "yes"} if signal == "decision" else {})
    return path


async def check(path: Path, **given: Any) -> HistoryReport:
    async with SqlStore(path) as store:
        return await check_history(store, registry(), **given)


def change(path: Path, *statements: str) -> None:
    with closing(sqlite3.connect(path)) as connection, connection:
        for statement in statements:
            connection.execute(statement)


def ids(path: Path) -> dict[str, str]:
    with closing(sqlite3.connect(path)) as connection:
        return dict(connection.execute("select start_key, id from runs"))


def append(path: Path, key: str, kind: str, step: str | None = None, payload: Any = None, private: Any = None) -> None:
    """Write one more event at the end of a run, as nothing of ours would."""
    with closing(sqlite3.connect(path)) as connection, connection:
        run_id, last, at = connection.execute(
            "select run_id, max(sequence), max(at) from events join runs on runs.id = run_id where start_key = ?",
            (key,),
        ).fetchone()
        connection.execute(
            "insert into events (run_id, sequence, type, step_id, payload, at, private) values (?, ?, ?, ?, ?, ?, ?)",
            (run_id, last + 1, kind, step, json.dumps(payload), at, json.dumps(private)),
        )


async def test_an_untouched_history_keeps_every_law(database: Path) -> None:
    report = await check(database)
    report.raise_if_broken()
    assert (report.runs, report.unread) == (3, [])
    assert report.events > 30
    assert str(report) == f"3 runs (3 decided anew), {report.events} events: every law holds"


def event(kind: str, key: str = "done", step: str | None = None, payload: Any = None) -> Callable[[Path], None]:
    return lambda path: append(path, key, kind, step, payload)


def sql(*statements: str) -> Callable[[Path], None]:
    return lambda path: change(path, *statements)


OF_DONE = "run_id = (select id from runs where start_key = 'done')"
OF_OPEN = "run_id = (select id from runs where start_key = 'open')"


@pytest.mark.parametrize(
    ("broken", "law", "text"),
    [
        (sql(f"delete from events where sequence = 4 and {OF_DONE}"), laws.SEQUENCE, "sequence gap"),
        (sql(f"update events set at = at - 1000000000 where sequence = 4 and {OF_DONE}"), laws.SEQUENCE, "backwards"),
        (sql(f"update events set type = 'step_started' where type = 'step_suspended' and {OF_OPEN}"), laws.ORDER, "ask"),
        (event("step_completed", step="a", payload={"attempt": 1}), laws.ENDING, "after the run was completed"),
        (event("step_started", "gone", "a", {"attempt": 2}), laws.CANCELLED, "after the run was cancelled"),
        (event("step_started", "open", "a", {"attempt": 2}), laws.COMPLETION, "a starts again after it completed"),
        (sql("update steps set status = 'failed' where step_id = 'a'"), laws.FOLD, "step row of a has status='failed'"),
        (sql("update runs set output = '1' where start_key = 'done'"), laws.FOLD, "the run row of"),
        (sql(f"delete from steps where step_id = 'each.iter_1.n' and {OF_DONE}"), laws.FOLD, "each.iter_1.n is missing"),
        (sql("update decisions set status = 'resolved' where status = 'pending'"), laws.FOLD, "the decision row of"),
        (sql("delete from runs where start_key = 'open'"), laws.FOLD, "no row of it"),
        (
            sql("update events set payload = json_set(payload, '$.result', 'no') where type = 'condition_evaluated'"),
            laws.REPLAY, "decided anew it is condition_evaluated of pick",
        ),
        (
            sql("update events set private = json_set(private, '$.memo.items[1]', 'z') where type = 'loop_iter_started'"),
            laws.REPLAY, "decided anew it is loop_iter_started of each",
        ),
        (
            sql("update events set private = json_remove(private, '$.open') where type = 'loop_iter_started'"),
            laws.FOLD, "cannot be folded",
        ),
    ],
)  # fmt: skip
async def test_a_broken_law_is_noticed(database: Path, broken: Any, law: str, text: str) -> None:
    broken(database)
    report = await check(database)
    assert law in {found.law for found in report.violations}, str(report)
    assert any(text in found.what for found in report.violations if found.law == law), str(report)
    with pytest.raises(HistoryBroken, match="violations"):
        report.raise_if_broken()


async def test_a_second_answer_to_a_decision_is_noticed(database: Path) -> None:
    with closing(sqlite3.connect(database)) as connection:
        (payload,) = connection.execute(
            f"select payload from events where type = 'decision_requested' and {OF_OPEN}"
        ).fetchone()
    name = json.loads(payload)["decision_id"]
    for choice in ("yes", "no"):
        append(database, "open", "decision_resolved", "ask", {"decision_id": name, "choice": choice})
    report = await check(database)
    assert [(law, run) for law, run, what in report.violations if "resolved twice" in what] == [
        (laws.RESOLUTION, ids(database)["open"])
    ]


async def test_two_runs_under_one_start_key_are_noticed(database: Path) -> None:
    # Without its unique index, as a store would be that had never had one.
    change(
        database, "create table loose as select * from runs", "drop table runs", "alter table loose rename to runs",
        "update runs set start_key = 'done' where start_key = 'open'",
    )  # fmt: skip
    report = await check(database)
    assert laws.START_KEY in {found.law for found in report.violations}, str(report)


async def test_a_run_that_nothing_can_move_is_noticed(database: Path) -> None:
    change(
        database,
        f"update events set payload = json_set(payload, '$.reason', 'child') where type = 'step_suspended' and {OF_OPEN}",
    )
    report = await check(database)
    assert (laws.REST, "ask waits for nothing (child)") in [(law, what) for law, _, what in report.violations]


@pytest.mark.parametrize(
    ("claim", "text"),
    [
        ({"run_id": "lost", "status": "active"}, "the store does not know it"),
        ({"status": "failed"}, "the log knows active, completed, suspended"),
        ({"steps": {"a": "completed", "ask": "failed"}}, "the log has no step_failed of it"),
        ({"decisions": {"ask": "no"}}, "the choice 'no' for ask was accepted"),
        ({"status": "completed", "output": 17}, "the output was said to be 17"),
    ],
)
async def test_what_was_acknowledged_and_is_gone_is_noticed(database: Path, claim: Any, text: str) -> None:
    report = await check(database, acknowledged=[Acknowledged(**{"run_id": ids(database)["done"], **claim})])
    assert [law for law, _, _ in report.violations] == [laws.KEPT]
    assert text in report.violations[0].what


async def test_an_answer_of_the_engine_can_be_held_against_the_store(database: Path) -> None:
    async with SqlStore(database) as store, open_engine(store, registry()) as engine:
        answers = [await engine.status(run_id) for run_id in ids(database).values()]
    done = ids(database)["done"]
    report = await check(
        database,
        acknowledged=[
            Acknowledged.of(a, decisions={"ask": "yes"} if a["workflow_id"] == done else {}) for a in answers
        ],
    )
    report.raise_if_broken()


async def test_a_second_effect_under_one_key_is_noticed(database: Path) -> None:
    run_id = ids(database)["done"]
    once = [Effect(f"{run_id}:{step}:1", 1) for step in ("a", "each.iter_0.n", "each.iter_1.n", "pick.yes.z")]
    (await check(database, effects=once)).raise_if_broken()
    report = await check(database, effects=[*once, Effect(f"{run_id}:a:1", 1), Effect(f"{run_id}:a:2", 1)])
    assert [(law, run) for law, run, _ in report.violations] == [(laws.EFFECT, run_id)] * 2
    assert report.violations[0].what.startswith(f"2 effects of {run_id}:a:1, attempt 1, for 1 durable starts")
    report = await check(database, effects=[Effect(f"{run_id}:a:1")] * 2)
    assert [what for _, _, what in report.violations] == [
        f"2 effects of {run_id}:a:1 for 1 durable starts with that key"
    ]


async def test_a_run_of_a_plugin_that_is_not_there_is_reported_as_unread(database: Path) -> None:
    async with SqlStore(database) as store:
        report = await check_history(store, registry_of(opcode_steps))
    assert report.violations == []
    assert len(report.unread) == 3
    assert "could be checked: no plugin offers the expression language" in str(report)


async def test_a_store_in_memory_is_checked_alike() -> None:
    store = MemoryStore()
    async with store, open_engine(store, registry()) as engine:
        await engine.define("mixed", MIXED, agent_id="me")
        run_id = (await engine.run("mixed", agent_id="me"))["workflow_id"]
        await engine.signal(run_id, "decision", payload={"choice": "no"})
    (await check_history(store, registry())).raise_if_broken()
    store._runs[run_id] = store._runs[run_id]._replace(status="failed")
    report = await check_history(store, registry())
    assert [what for _, _, what in report.violations] == [
        f"the run row of {run_id} has status='failed', the events say 'completed'"
    ]
