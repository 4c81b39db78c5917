"""One commit for all who wait, and an error only for who caused it."""

from __future__ import annotations

import gc
import sqlite3
import threading
import time
from collections.abc import Awaitable
from pathlib import Path
from typing import Any

import anyio
import pytest

from opcode_kernel.core.events import Event
from opcode_kernel.errors import ConflictError, OpcodeError, StoreError
from opcode_kernel.store.base import AgentRow, EventFilter, RunFilter, RunRow, RunWrite, TemplateRow
from opcode_kernel.store.sqlite import open_writer
from opcode_kernel.store.tortoise import SqlStore
from opcode_kernel.store.unit import Unit
from opcode_kernel.store.writer import Outcome, Work, Writer

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def events(*sequences: int, payload: Any = None) -> list[Event]:
    return [Event(n, "note", None, payload, n) for n in sequences]


def run_row(run_id: str, **changes: Any) -> RunRow:
    return RunRow(run_id, "t", 1, None, "active", "a", None, None, None, {}, None, None, 1, None, None, 1)._replace(
        **changes
    )


class Harness:
    """A writer whose outcomes a test waits for; work queued before `start` is one batch."""

    def __init__(self, path: Path) -> None:
        self.connection: sqlite3.Connection | None = None
        self.batches: list[list[Outcome]] = []
        self._path = path
        self._closed = threading.Event()
        self.writer = Writer(self._open, self._deliver)

    def _open(self) -> sqlite3.Connection:
        self.connection = open_writer(self._path, "normal")
        return self.connection

    def _deliver(self, outcomes: list[Outcome]) -> None:
        self.batches.append(outcomes)
        if outcomes[0].ticket == "closed":
            self._closed.set()

    def run(self, *batch: Work) -> list[OpcodeError | None]:
        for number, work in enumerate(batch):
            self.writer.submit(number, work)
        self.writer.stop("closed")
        self.writer.start("opened")
        assert self._closed.wait(5)
        self.writer.join()
        opened, *middle, closed = self.batches
        assert opened == [Outcome("opened", None, None)]
        assert closed == [Outcome("closed", None, None)]
        assert len(middle) <= 1, "expected one batch"
        return [outcome.error for outcome in middle[0]] if middle else []


def stored(path: Path, query: str = "SELECT run_id, sequence FROM events ORDER BY id") -> list[Any]:
    connection = sqlite3.connect(path)
    try:
        return connection.execute(query).fetchall()
    finally:
        connection.close()


def test_a_conflict_in_a_batch_fails_only_its_own_caller(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    errors = Harness(path).run(
        Unit.of([RunWrite("a", events(1, 2))]),
        Unit.of([RunWrite("new", events(1)), RunWrite("a", events(2))]),
        Unit.of([RunWrite("b", events(1))]),
        Unit.of([RunWrite("b", events(1))]),
        lambda connection: connection.execute("INSERT INTO meta VALUES ('k', 'v')"),
        Unit.of([RunWrite("a", events(3))]),
    )
    assert [type(error) for error in errors] == [
        type(None), ConflictError, type(None), ConflictError, type(None), type(None),
    ]  # fmt: skip
    assert stored(path) == [("a", 1), ("a", 2), ("b", 1), ("a", 3)]
    assert stored(path, "SELECT value FROM meta") == [("v",)]


@pytest.mark.broken_history("events and rows of no run")
def test_a_taken_start_key_fails_only_its_own_caller(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    errors = Harness(path).run(
        Unit.of([RunWrite("a", events(1), run_row("a", start_key="k"))]),
        Unit.of([RunWrite("b", events(1), run_row("b", start_key="k"))]),
        Unit.of([RunWrite("c", events(1), run_row("c"))]),
    )
    assert [type(error) for error in errors] == [type(None), ConflictError, type(None)]
    assert stored(path, "SELECT id FROM runs ORDER BY id") == [("a",), ("c",)]
    assert stored(path) == [("a", 1), ("c", 1)]


def test_work_that_raises_anything_does_not_end_the_thread(tmp_path: Path) -> None:
    def bug(connection: sqlite3.Connection) -> None:
        connection.execute("INSERT INTO meta VALUES ('half', 'v')")
        raise ZeroDivisionError("oops")

    errors = Harness(tmp_path / "a.db").run(bug, Unit.of([RunWrite("a", events(1))]))
    assert isinstance(errors[0], StoreError)
    assert "ZeroDivisionError" in str(errors[0])
    assert errors[1] is None
    assert stored(tmp_path / "a.db", "SELECT * FROM meta") == []


def test_a_full_disk_fails_all_who_wait_and_leaves_nothing(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    harness = Harness(path)
    big = Unit.of([RunWrite("big", events(1, payload={"text": "x" * 3_000_000}))])
    small = Unit.of([RunWrite("small", events(1))])

    def fill(connection: sqlite3.Connection) -> None:
        connection.execute("PRAGMA max_page_count = 100")

    errors = harness.run(fill, small, big)
    assert isinstance(errors[2], StoreError)
    assert "full" in str(errors[2])
    # Whoever was told of no error is stored, and nobody else.
    expected = [("small", 1)] if errors[1] is None else []
    assert stored(path) == expected


def test_a_failing_commit_fails_everyone(tmp_path: Path) -> None:
    path = tmp_path / "a.db"

    def no_commit(connection: sqlite3.Connection) -> None:
        connection.execute("ROLLBACK")

    errors = Harness(path).run(Unit.of([RunWrite("a", events(1))]), no_commit)
    assert [type(error) for error in errors] == [StoreError, StoreError]
    assert stored(path) == []


async def test_a_file_that_cannot_be_locked_is_a_store_error_and_later_works(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("opcode_kernel.store.sqlite.BUSY_TIMEOUT", 10)
    async with SqlStore(tmp_path / "a.db") as store:
        other = sqlite3.connect(tmp_path / "a.db", isolation_level=None)
        try:
            other.execute("BEGIN IMMEDIATE")
            with pytest.raises(StoreError, match="locked"):
                await store.append([RunWrite("r", events(1))])
            other.execute("ROLLBACK")
        finally:
            other.close()
        assert await store.events("r") == []
        await store.append([RunWrite("r", events(1))])


async def test_two_stores_on_one_file_cannot_write_the_same_sequence(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    async with SqlStore(path) as one, SqlStore(path, sole=False) as two:
        await one.append([RunWrite("r", events(1))])
        await two.append([RunWrite("r", events(2))])
        with pytest.raises(ConflictError):
            await one.append([RunWrite("r", events(2))])
        await one.append([RunWrite("r", events(3))])
        with pytest.raises(ConflictError):
            await two.append([RunWrite("r", events(3))])
        assert [event.sequence for event in await two.events("r")] == [1, 2, 3]


async def test_values_that_are_no_json_are_refused_before_anything_is_written(tmp_path: Path) -> None:
    async with SqlStore(tmp_path / "a.db") as store:
        with pytest.raises(StoreError, match="finite number"):
            await store.append([RunWrite("r", events(1)), RunWrite("q", events(1, payload={"x": float("nan")}))])
        with pytest.raises(StoreError, match="without a gap"):
            await store.append([RunWrite("r", events(1, 3))])
        with pytest.raises(StoreError, match="template t"):
            await store.save_template(TemplateRow("t", 0, None, {"x": {1}}, None, None, None, "a", 1))
        with pytest.raises(StoreError, match="surrogates"):
            await store.append([RunWrite("\ud800", events(1))])
        assert await store.find_events(EventFilter()) == []


async def test_a_damaged_log_is_an_error_and_not_half_an_answer(tmp_path: Path) -> None:
    async with SqlStore(tmp_path / "a.db") as store:
        await store.append([RunWrite("hole", events(1, 2, 3)), RunWrite("text", events(1, payload={}))])
        other = sqlite3.connect(tmp_path / "a.db")
        with other:
            other.execute("DELETE FROM events WHERE run_id = 'hole' AND sequence = 2")
            other.execute("UPDATE events SET payload = '{' WHERE run_id = 'text'")
        other.close()
        with pytest.raises(StoreError, match="sequence gap"):
            await store.events("hole")
        with pytest.raises(StoreError, match="cannot be read"):
            await store.events("text")


async def test_a_cancelled_caller_disturbs_nobody(tmp_path: Path) -> None:
    async with SqlStore(tmp_path / "a.db") as store:
        async with anyio.create_task_group() as tasks:
            for number in range(50):
                tasks.start_soon(store.append, [RunWrite(f"r{number}", events(1))])
            await anyio.lowlevel.checkpoint()
            tasks.cancel_scope.cancel()
        await store.append([RunWrite("after", events(1))])
        assert len(await store.events("after")) == 1


async def test_leaving_finishes_what_is_queued_even_when_cancelled(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    with anyio.CancelScope() as scope:
        async with SqlStore(path) as store, anyio.create_task_group() as tasks:
            for number in range(50):
                tasks.start_soon(store.append, [RunWrite(f"r{number}", events(1))])
            await anyio.lowlevel.checkpoint()
            scope.cancel()
    assert len(stored(path)) == 50


async def test_a_closed_store_refuses_everything(tmp_path: Path) -> None:
    store = SqlStore(tmp_path / "a.db")
    for _ in range(2):
        calls: list[Awaitable[object]] = [
            store.append([RunWrite("r", events(1))]), store.events("r"), store.find_events(EventFilter()),
            store.run("r"), store.runs(RunFilter()), store.set_meta("k", "v"), store.get_meta("k"),
            store.touch_agent("a", now=1), store.secrets(),
        ]  # fmt: skip
        for call in calls:
            with pytest.raises(StoreError, match="closed"):
                await call
        async with store:
            with pytest.raises(StoreError, match="open already"):
                await store.__aenter__()
            assert await store.touch_agent("a", now=1) == AgentRow("a", "a", "llm", 1, 1)


async def test_nothing_is_left_behind_by_a_failed_or_a_normal_opening(tmp_path: Path) -> None:
    before = threading.active_count()
    (tmp_path / "text").write_bytes(b"no database" * 1000)
    with pytest.raises(StoreError):
        async with SqlStore(tmp_path / "text"):
            pass
    async with SqlStore(tmp_path / "a.db"):
        assert threading.active_count() > before
    gc.collect()
    assert threading.active_count() == before


async def test_commits_go_on_under_a_busy_loop(tmp_path: Path) -> None:
    async def burn() -> None:
        while True:
            end = time.monotonic() + 0.0005
            while time.monotonic() < end:
                pass
            await anyio.lowlevel.checkpoint()

    async with SqlStore(tmp_path / "a.db") as store, anyio.create_task_group() as tasks:
        tasks.start_soon(burn)
        with anyio.fail_after(10):
            for sequence in range(1, 21):
                await store.append([RunWrite("r", events(sequence))])
        tasks.cancel_scope.cancel()
