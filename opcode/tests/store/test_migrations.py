"""A database file is migrated once, forward only, and never taken from another program."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tortoise.context import TortoiseContext

from opcode_kernel.errors import StoreError
from opcode_kernel.store import models
from opcode_kernel.store.migrations import APPLICATION_ID, MIGRATIONS, Migration, migrate
from opcode_kernel.store.sqlite import open_writer
from opcode_kernel.store.tortoise import SqlStore

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def database(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    connection = sqlite3.connect(tmp_path / "a.db", isolation_level=None)
    yield connection
    connection.close()


def shape(connection: sqlite3.Connection) -> dict[str, Any]:
    """Columns and indexes of every table, however they were spelt."""
    tables = {}
    for (table,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
        if table.startswith("sqlite_") or table == "schema_version":
            continue
        columns = [tuple(row[1:]) for row in connection.execute(f"PRAGMA table_info({table})")]
        indexes = []
        for _, name, unique, origin, _ in connection.execute(f"PRAGMA index_list({table})").fetchall():
            over = tuple(row[2] for row in connection.execute(f"PRAGMA index_info({name})"))
            indexes.append((name if origin == "c" else origin, unique, over))
        tables[table] = (columns, sorted(indexes))
    return tables


async def test_the_migrations_build_what_the_models_say(database: sqlite3.Connection, tmp_path: Path) -> None:
    migrate(database, now=1)
    path = tmp_path / "models.db"
    context = TortoiseContext()
    async with context:
        await context.init(db_url=f"sqlite://{path}", modules={"opcode": [models.__name__]})
        await context.generate_schemas()
    by_models = sqlite3.connect(path)
    try:
        assert shape(database) == shape(by_models)
    finally:
        by_models.close()


def test_a_failing_step_leaves_nothing_behind(database: sqlite3.Connection) -> None:
    bad = Migration(99, "bad", ("CREATE TABLE half (a)", "CREATE TABLE half (b)"))
    with pytest.raises(sqlite3.OperationalError):
        migrate(database, now=1, migrations=(*MIGRATIONS, bad))
    assert database.execute("SELECT version, name, applied_at FROM schema_version").fetchall() == [
        (step.version, step.name, 1) for step in MIGRATIONS
    ]
    assert "half" not in shape(database)
    assert not database.in_transaction


def test_migrating_twice_is_a_no_op(database: sqlite3.Connection) -> None:
    assert migrate(database, now=1) == len(MIGRATIONS)
    before = list(database.iterdump())
    assert migrate(database, now=2) == 0
    assert list(database.iterdump()) == before


def test_only_missing_steps_are_applied(database: sqlite3.Connection) -> None:
    migrate(database, now=1)
    more = Migration(99, "more", ("CREATE TABLE more (a)",))
    assert migrate(database, now=2, migrations=(*MIGRATIONS, more)) == 1
    assert database.execute("SELECT max(version), count(*) FROM schema_version").fetchone() == (99, len(MIGRATIONS) + 1)


def test_what_rests_already_has_its_reason_after_the_migration(database: sqlite3.Connection) -> None:
    migrate(database, now=1, migrations=MIGRATIONS[:1])
    step, event = "INSERT INTO steps (run_id, step_id, status, retry_count)", "INSERT INTO events (run_id, type, at, "
    database.execute(f"{step} VALUES ('r', 'a', 'suspended', 0), ('r', 'b', 'completed', 0)")
    for sequence, (step_id, reason) in enumerate((("a", "decision"), ("a", "child"), ("b", "signal"))):
        database.execute(
            f"{event} sequence, step_id, payload) VALUES ('r', 'step_suspended', 1, ?, ?, ?)",
            (sequence, step_id, f'{{"reason":"{reason}"}}'),
        )
    assert migrate(database, now=2) == len(MIGRATIONS) - 1
    found = database.execute("SELECT step_id, waiting FROM steps ORDER BY step_id").fetchall()
    assert found == [("a", '{"reason":"child"}'), ("b", None)]


async def test_a_newer_database_is_refused_and_left_alone(database: sqlite3.Connection, tmp_path: Path) -> None:
    migrate(database, now=1)
    database.execute("INSERT INTO schema_version VALUES (99, 'future', 1)")
    with pytest.raises(StoreError, match="newer opcode"):
        async with SqlStore(tmp_path / "a.db"):
            pass
    assert database.execute("PRAGMA journal_mode").fetchone() == ("delete",)


async def test_a_foreign_database_is_refused_and_left_alone(database: sqlite3.Connection, tmp_path: Path) -> None:
    database.execute("CREATE TABLE workflows (id TEXT)")
    (tmp_path / "a.db").chmod(0o644)
    before = (tmp_path / "a.db").read_bytes()
    with pytest.raises(StoreError, match="opcode import"):
        async with SqlStore(tmp_path / "a.db"):
            pass
    assert (tmp_path / "a.db").read_bytes() == before
    assert (tmp_path / "a.db").stat().st_mode & 0o777 == 0o644


async def test_a_file_that_is_no_database_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    path.write_bytes(b"once upon a time there was no database" * 100)
    with pytest.raises(StoreError, match="not a database"):
        async with SqlStore(path):
            pass
    assert path.read_bytes().startswith(b"once upon")


async def test_a_place_that_cannot_be_written_is_a_store_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match="file"):
        async with SqlStore(tmp_path / "file" / "a.db"):
            pass


@pytest.mark.parametrize(("durability", "level"), [("full", 2), ("normal", 1)])
def test_the_writer_is_as_durable_as_asked_and_signs_the_file(tmp_path: Path, durability: Any, level: int) -> None:
    connection = open_writer(tmp_path / "a.db", durability)
    try:
        assert connection.execute("PRAGMA application_id").fetchone() == (APPLICATION_ID,)
        assert connection.execute("PRAGMA synchronous").fetchone() == (level,)
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    finally:
        connection.close()
