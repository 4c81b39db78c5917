"""The contract of a store, for anyone who writes one.

    async def test_contract():
        await check_store(MyStore)

Every check opens a store of its own, so `open_store` must return a fresh, empty one each time.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

import anyio

from opcode_kernel.core.events import Event
from opcode_kernel.errors import ConflictError, Json
from opcode_kernel.store.base import EventFilter, PluginRow, RunFilter, RunWrite, SecretRow, Store
from opcode_kernel.testing.sample_rows import decision_row as _decision
from opcode_kernel.testing.sample_rows import events as _events
from opcode_kernel.testing.sample_rows import run_row as _run
from opcode_kernel.testing.sample_rows import step_row as _step
from opcode_kernel.testing.sample_rows import template_row as _template
from opcode_kernel.testing.secret_contract import SECRET_CHECKS

Check = Callable[[Store], Awaitable[None]]


async def check_store(open_store: Callable[[], AbstractAsyncContextManager[Any]]) -> None:
    """Run every check on a store of its own; raises AssertionError with a note that names the check."""
    for check in CHECKS:
        try:
            async with open_store() as store:
                await check(store)
        except BaseException as error:
            error.add_note(f"while checking that {check.__name__.removeprefix('_').replace('_', ' ')}")
            raise


async def _refuses(store: Store, *writes: RunWrite) -> None:
    try:
        await store.append(writes)
    except ConflictError:
        return
    raise AssertionError("expected a ConflictError")


async def _events_come_back_equal_and_in_order(store: Store) -> None:
    odd = {"big": 2**70, "float": 0.1, "text": "ä\0\U0001f600\ud800", "none": None, "deep": [[{"": [True, False]}]]}
    written = [
        Event(1, "workflow_started", None, None, 2**52, "agent", {"secret hole": odd}),
        Event(2, "step_completed", "s", odd, 5),
    ]
    await store.append([RunWrite("r", written)])
    assert await store.events("r") == written
    assert await store.events("r", after=1) == written[1:]
    assert await store.events("r", limit=1) == written[:1]
    assert await store.events("r", after=2) == []
    assert await store.events("unknown") == []


async def _a_taken_sequence_is_a_conflict_and_writes_nothing(store: Store) -> None:
    await store.append([RunWrite("r", _events(1, 2))])
    await _refuses(store, RunWrite("other", _events(1), _run("other")), RunWrite("r", _events(2, 3)))
    await _refuses(store, RunWrite("r", _events(1)))
    assert await store.events("other") == []
    assert await store.run("other") is None
    await store.append([RunWrite("r", _events(3))])
    assert [event.sequence for event in await store.events("r")] == [1, 2, 3]


async def _a_gap_in_a_log_is_a_conflict(store: Store) -> None:
    await _refuses(store, RunWrite("r", _events(2)))
    await store.append([RunWrite("r", _events(1)), RunWrite("r", _events(2))])
    await _refuses(store, RunWrite("r", _events(4)))
    await _refuses(store, RunWrite("r", _events(3)), RunWrite("r", _events(5)))
    assert len(await store.events("r")) == 2


async def _overlapping_appends_fail_alone(store: Store) -> None:
    refused = []

    async def write(run_id: str, sequence: int) -> None:
        try:
            await store.append([RunWrite(run_id, _events(sequence), _run(run_id))])
        except ConflictError:
            refused.append(run_id)

    async with anyio.create_task_group() as tasks:
        for number in range(20):
            tasks.start_soon(write, f"r{number}", 1)
            tasks.start_soon(write, f"r{number % 5}", 7)
    assert sorted(refused) == sorted(f"r{number % 5}" for number in range(20))
    assert (await store.runs(RunFilter()))[1] == 20
    ids = [hit.id for hit in await store.find_events(EventFilter())]
    assert len(set(ids)) == 20
    assert ids == sorted(ids, reverse=True)


async def _a_start_key_is_unique_per_agent(store: Store) -> None:
    await store.append([RunWrite("r", [], _run("r", start_key="k"))])
    await _refuses(store, RunWrite("x", _events(1), _run("x", start_key="k")))
    assert await store.events("x") == []
    await store.append([RunWrite("y", [], _run("y", start_key="k", agent_id="b"))])
    await store.append([RunWrite("z", [], _run("z"))])
    await store.append([RunWrite("r", [], _run("r", start_key="k", status="completed"))])
    found = await store.run_by_key("a", "k")
    assert found is not None
    assert (found.id, found.status) == ("r", "completed")
    assert await store.run_by_key("a", "other") is None


async def _rows_come_back_as_last_written(store: Store) -> None:
    first = _run("r", input_params={"a": [1]}, name="n", parent_run_id="p", parent_step_id="ps", started_at=2)
    last = first._replace(status="failed", output={"x": [None]}, error={"code": "E"}, completed_at=9, updated_at=9)
    one, two = _step("r", "one", input={"i": 1}), _step("r", "two")
    done = one._replace(status="completed", output=[1], retry_count=2, started_at=1, completed_at=3, duration_ms=0)
    decision = _decision("d", options=[{"id": "yes"}], timeout_at=5, fallback="no")
    await store.append([RunWrite("r", [], first, [one, two], [decision])])
    resolved = decision._replace(status="resolved", resolution={"choice": "yes"}, resolved_by="b", resolved_at=7)
    await store.append([RunWrite("r", [], last, [done], [resolved])])
    assert await store.run("r") == last
    assert await store.steps("r") == [done, two]
    assert await store.decisions(run_id="r") == [resolved]
    assert await store.run("unknown") is None
    assert await store.steps("unknown") == []


async def _many_rows_fit_in_one_append(store: Store) -> None:
    count = 1000
    events = _events(*range(1, count + 1))
    steps = [_step("r", f"s{number}") for number in range(count)]
    decisions = [_decision(f"d{number}", created_at=number) for number in range(count)]
    await store.append([RunWrite("r", events, _run("r"), steps, decisions)])
    assert await store.events("r") == events
    assert await store.steps("r") == steps
    assert await store.decisions(limit=count * 2) == decisions[::-1]


async def _events_are_found_by_every_condition(store: Store) -> None:
    await store.append([RunWrite("r", _events(1, 2, 3))])
    await store.append([RunWrite("q", _events(1, type="note", step_id=None))])
    await store.append([RunWrite("r", _events(4, type="note"))])

    async def found(**where: Any) -> list[tuple[str, int]]:
        return [(hit.run_id, hit.event.sequence) for hit in await store.find_events(EventFilter(**where))]

    everything = [("r", 4), ("q", 1), ("r", 3), ("r", 2), ("r", 1)]
    assert await found() == everything
    assert await found(limit=2, offset=1) == everything[1:3]
    assert await found(limit=0) == []
    assert await found(type="note") == [("r", 4), ("q", 1)]
    assert await found(run_id="r") == [("r", 1), ("r", 2), ("r", 3), ("r", 4)]
    assert await found(run_id="r", after_sequence=1, limit=2) == [("r", 2), ("r", 3)]
    assert await found(step_id="s2") == [("r", 2)]
    assert await found(since=103) == [("r", 4), ("r", 3)]
    assert await found(run_id="unknown") == []
    by_run = [hit.id for hit in await store.find_events(EventFilter(run_id="r"))]
    assert by_run == sorted(by_run)


async def _runs_are_found_by_every_condition(store: Store) -> None:
    rows = [
        _run("1", created_at=10),
        _run("2", created_at=20, status="completed", agent_id="b"),
        _run("3", created_at=30, template_name="u", parent_run_id="1"),
        _run("4", created_at=40, status="suspended"),
    ]
    await store.append([RunWrite(row.id, [], row) for row in rows])

    async def found(**where: Any) -> tuple[str, int]:
        hits, total = await store.runs(RunFilter(**where))
        return "".join(hit.id for hit in hits), total

    assert await found() == ("4321", 4)
    assert await found(ascending=True) == ("1234", 4)
    assert await found(limit=2, offset=1) == ("32", 4)
    assert await found(limit=0) == ("", 4)
    assert await found(status="completed") == ("2", 1)
    assert await found(agent_id="a", template_name="t") == ("41", 2)
    assert await found(parent_run_id="1") == ("3", 1)
    assert await found(since=20, until=40) == ("32", 2)
    assert await found(status="unheard of") == ("", 0)
    assert [row.id for row in await store.open_runs()] == ["1", "3", "4"]


async def _what_steps_wait_for_is_kept_and_found(store: Store) -> None:
    waiting: dict[str, Json] = {"reason": "signal", "signal": 'it\'s "so"'}
    one = _step("r", "one", status="suspended", waiting=waiting)
    container, odd = (
        _step("r", "two", status="suspended"),
        _step("s", "one", status="suspended", waiting={"reason": "it's"}),
    )
    await store.append([
        RunWrite("r", [], _run("r", status="suspended"), [one, container]),
        RunWrite("s", [], _run("s", status="suspended"), [odd]),
        RunWrite("a", [], _run("a", status="active"), [_step("a", "one", status="suspended", waiting=waiting)]),
    ])  # fmt: skip
    assert await store.waiting_steps(["s", "r", "unknown"]) == [odd, one]
    for reason, expected in (("signal", ["r"]), ("it's", ["s"]), ("child", [])):
        hits, total = await store.runs(RunFilter(reason=reason, limit=5))
        assert ([hit.id for hit in hits], total) == (expected, len(expected))
    done = one._replace(status="completed", waiting=None)
    await store.append([RunWrite("r", [], None, [done])])
    assert await store.waiting_steps(["r"]) == []
    assert (await store.runs(RunFilter(reason="signal")))[1] == 0


async def _decisions_are_found_by_every_condition(store: Store) -> None:
    rows = [
        _decision("1", created_at=1),
        _decision("2", created_at=2, status="resolved"),
        _decision("3", created_at=3, run_id="q", target_agent_id=None),
    ]
    await store.append([RunWrite("r", [], None, (), rows)])
    assert [row.id for row in await store.decisions()] == ["3", "2", "1"]
    assert [row.id for row in await store.decisions(limit=1)] == ["3"]
    assert [row.id for row in await store.decisions(run_id="r", status="pending")] == ["1"]
    assert [row.id for row in await store.decisions(agent_id="b")] == ["2", "1"]


async def _templates_count_versions_and_overwrite_none(store: Store) -> None:
    versions: list[int] = []

    async def save(number: int) -> None:
        versions.append(await store.save_template(_template("t", version=99, definition={"n": number})))

    async with anyio.create_task_group() as tasks:
        for number in range(12):
            tasks.start_soon(save, number)
    assert sorted(versions) == list(range(1, 13))
    assert await store.save_template(_template("a", description="d", agent_id="b", triggers={"cron": "x"})) == 1
    newest, second = await store.template("t"), await store.template("t", 2)
    assert newest is not None
    assert second is not None
    assert (newest.version, second.version) == (12, 2)
    assert await store.template("t", 13) is None
    assert await store.template("unknown") is None
    listed = await store.templates(limit=4)
    assert [(row.name, row.version) for row in listed] == [("a", 1), ("t", 12), ("t", 11), ("t", 10)]
    assert [row.version for row in await store.templates(name="t", limit=1, offset=1)] == [11]
    assert await store.templates(agent_id="b") == [
        _template("a", version=1, description="d", agent_id="b", triggers={"cron": "x"})
    ]


async def _agents_keep_their_type(store: Store) -> None:
    assert (await store.touch_agent("a", type="human", now=5)) == ("a", "a", "human", 5, 5)
    assert (await store.touch_agent("a", type="service", now=9)) == ("a", "a", "human", 5, 9)
    await store.touch_agent("b", now=7)
    assert [(row.id, row.type) for row in await store.agents()] == [("a", "human"), ("b", "llm")]


async def _meta_and_secrets_are_replaced_and_deleted(store: Store) -> None:
    assert await store.get_meta("k") is None
    await store.set_meta("k", "1")
    await store.set_meta("k", "2")
    assert await store.get_meta("k") == "2"
    await store.put_secret(SecretRow("b", b"\x00\xff", 1, 1))
    await store.put_secret(SecretRow("a", b"", 2, 2))
    await store.put_secret(SecretRow("b", b"new", 3, 3))
    assert await store.secret("b") == SecretRow("b", b"new", 1, 3, version=2)
    assert [row.name for row in await store.secrets()] == ["a", "b"]
    assert await store.delete_secret("b")
    assert not await store.delete_secret("b")
    assert await store.secret("b") is None


async def _plugins_are_replaced_and_deleted(store: Store) -> None:
    first = PluginRow("b", "files", "mcp", {"args": ["é", None]}, "active", 7, None, 1)
    await store.put_plugin(first)
    await store.put_plugin(first._replace(id="a", created_at=2))
    await store.put_plugin(first._replace(status="error", error_message="gone", created_at=9))
    assert await store.plugins() == [
        first._replace(id="a", created_at=2), first._replace(status="error", error_message="gone"),
    ]  # fmt: skip
    assert await store.delete_plugin("b")
    assert not await store.delete_plugin("b")


#: Every promise of `Store` that can be checked without knowing where a store keeps its data.
CHECKS: tuple[Check, ...] = (
    _events_come_back_equal_and_in_order,
    _a_taken_sequence_is_a_conflict_and_writes_nothing,
    _a_gap_in_a_log_is_a_conflict,
    _overlapping_appends_fail_alone,
    _a_start_key_is_unique_per_agent,
    _rows_come_back_as_last_written,
    _many_rows_fit_in_one_append,
    _events_are_found_by_every_condition,
    _runs_are_found_by_every_condition,
    _what_steps_wait_for_is_kept_and_found,
    _decisions_are_found_by_every_condition,
    _templates_count_versions_and_overwrite_none,
    _agents_keep_their_type,
    _meta_and_secrets_are_replaced_and_deleted,
    *SECRET_CHECKS,
    _plugins_are_replaced_and_deleted,
)
