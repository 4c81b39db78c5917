"""Bring a database file to the schema of `models.py`: numbered steps, forward only, each in one transaction.

The ORM's own migrations are not used, because on SQLite they commit before every script and note a step as applied in
a separate transaction: a crash in between leaves a database that opens neither way. Released steps are never edited.
"""

from __future__ import annotations

import sqlite3
from typing import NamedTuple

from opcode_kernel.errors import StoreError

#: Written into the header of every database file of ours ("OPCD").
APPLICATION_ID = 0x4F504344


class Migration(NamedTuple):
    """One step; `statements` run in order in the transaction that also records the step."""

    version: int
    name: str
    statements: tuple[str, ...]


_TABLES = (
    """CREATE TABLE runs (
        id VARCHAR(255) NOT NULL PRIMARY KEY, template_name TEXT NOT NULL, template_version BIGINT NOT NULL,
        name TEXT, status TEXT NOT NULL, agent_id TEXT NOT NULL, parent_run_id TEXT, parent_step_id TEXT,
        start_key TEXT, input_params TEXT NOT NULL, output TEXT, error TEXT, created_at BIGINT NOT NULL,
        started_at BIGINT, completed_at BIGINT, updated_at BIGINT NOT NULL, UNIQUE (agent_id, start_key))""",
    "CREATE INDEX runs_created ON runs (created_at)",
    "CREATE INDEX runs_status ON runs (status, created_at)",
    "CREATE INDEX runs_agent ON runs (agent_id, created_at)",
    "CREATE INDEX runs_template ON runs (template_name, created_at)",
    "CREATE INDEX runs_parent ON runs (parent_run_id)",
    """CREATE TABLE events (
        id INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL, run_id TEXT NOT NULL, sequence BIGINT NOT NULL,
        type TEXT NOT NULL, step_id TEXT, payload TEXT, at BIGINT NOT NULL, agent_id TEXT, private TEXT,
        UNIQUE (run_id, sequence))""",
    "CREATE INDEX events_type ON events (type)",
    """CREATE TABLE steps (
        id INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL, run_id TEXT NOT NULL, step_id TEXT NOT NULL,
        status TEXT NOT NULL, input TEXT, output TEXT, error TEXT, retry_count BIGINT NOT NULL, started_at BIGINT,
        completed_at BIGINT, duration_ms BIGINT, UNIQUE (run_id, step_id))""",
    """CREATE TABLE decisions (
        id VARCHAR(255) NOT NULL PRIMARY KEY, run_id TEXT NOT NULL, step_id TEXT NOT NULL, agent_id TEXT NOT NULL,
        target_agent_id TEXT, context TEXT NOT NULL, options TEXT NOT NULL, timeout_at BIGINT, fallback TEXT,
        resolution TEXT, resolved_by TEXT, resolved_at BIGINT, status TEXT NOT NULL, created_at BIGINT NOT NULL)""",
    "CREATE INDEX decisions_run ON decisions (run_id)",
    "CREATE INDEX decisions_pending ON decisions (status, target_agent_id)",
    """CREATE TABLE templates (
        id INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL, name TEXT NOT NULL, version BIGINT NOT NULL, description TEXT,
        definition TEXT NOT NULL, input_schema TEXT, output_schema TEXT, triggers TEXT, agent_id TEXT NOT NULL,
        created_at BIGINT NOT NULL, UNIQUE (name, version))""",
    """CREATE TABLE agents (
        id VARCHAR(255) NOT NULL PRIMARY KEY, name TEXT NOT NULL, type TEXT NOT NULL, created_at BIGINT NOT NULL,
        last_seen_at BIGINT NOT NULL)""",
    """CREATE TABLE meta ("key" VARCHAR(255) NOT NULL PRIMARY KEY, value TEXT NOT NULL)""",
    """CREATE TABLE secrets (
        name VARCHAR(255) NOT NULL PRIMARY KEY, value BLOB NOT NULL, created_at BIGINT NOT NULL,
        updated_at BIGINT NOT NULL)""",
)

#: The reason of what rests already is in the log; the rest of it comes when the step is written again.
_WAITING = (
    "ALTER TABLE steps ADD COLUMN waiting TEXT",
    """UPDATE steps SET waiting = (
        SELECT events.payload FROM events
        WHERE events.run_id = steps.run_id AND events.step_id = steps.step_id AND events.type = 'step_suspended'
        ORDER BY events.sequence DESC LIMIT 1) WHERE status = 'suspended'""",
)

_PLUGINS = (
    """CREATE TABLE plugins (
        id VARCHAR(255) NOT NULL PRIMARY KEY, name TEXT NOT NULL, type TEXT NOT NULL CHECK (type = 'mcp'),
        config TEXT NOT NULL,
        status TEXT NOT NULL DEFAULT 'inactive' CHECK (status IN ('active', 'inactive', 'error')),
        last_health_check BIGINT, error_message TEXT, created_at BIGINT NOT NULL)""",
)

_SECRETS = (
    "ALTER TABLE secrets ADD COLUMN key_id TEXT",
    "ALTER TABLE secrets ADD COLUMN version BIGINT NOT NULL DEFAULT 1",
    "ALTER TABLE secrets ADD COLUMN templates TEXT",
    "ALTER TABLE secrets ADD COLUMN hosts TEXT",
    """CREATE TABLE secret_uses (
        id INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL, at BIGINT NOT NULL, name TEXT NOT NULL, action TEXT NOT NULL,
        agent_id TEXT NOT NULL, run_id TEXT, template TEXT, step_id TEXT)""",
    "CREATE INDEX secret_uses_name ON secret_uses (name)",
)

MIGRATIONS = (
    Migration(1, "first schema", _TABLES),
    Migration(2, "what steps wait for", _WAITING),
    Migration(3, "external plugins", _PLUGINS),
    Migration(4, "what is known of secrets and their uses", _SECRETS),
    Migration(5, "uses of secrets are forgotten by their time", ("CREATE INDEX secret_uses_at ON secret_uses (at)",)),
)

_JOURNAL = """CREATE TABLE IF NOT EXISTS schema_version (
    version INTEGER PRIMARY KEY, name TEXT NOT NULL, applied_at BIGINT NOT NULL)"""


def migrate(connection: sqlite3.Connection, *, now: int, migrations: tuple[Migration, ...] = MIGRATIONS) -> int:
    """Apply what is missing and return how many steps that were; `now` is in microseconds, UTC.

    Raises:
        StoreError: the file belongs to another program or to a newer version; it is left as it was.
    """
    applied = 0
    for step in migrations:
        connection.execute("BEGIN IMMEDIATE")
        try:
            # Read inside the transaction: a second process may have migrated while this one waited for the lock.
            if _version(connection, migrations[-1].version) < step.version:
                _apply(connection, step, now)
                applied += 1
        except BaseException:
            connection.execute("ROLLBACK")
            raise
        connection.execute("COMMIT")
    return applied


def _apply(connection: sqlite3.Connection, step: Migration, now: int) -> None:
    connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    connection.execute(_JOURNAL)
    for statement in step.statements:
        connection.execute(statement)
    connection.execute("INSERT INTO schema_version VALUES (?, ?, ?)", (step.version, step.name, now))


def _version(connection: sqlite3.Connection, newest: int) -> int:
    (owner,) = connection.execute("PRAGMA application_id").fetchone()
    if owner != APPLICATION_ID:
        if connection.execute("SELECT count(*) FROM sqlite_master").fetchone() != (0,):
            raise StoreError(
                "expected a database of opcode, found one of another program or of another opcode; it was left as it"
                " is: name a new file, and use `opcode import` to take over its content",
                retryable=False,
            )
        return 0
    (version,) = connection.execute("SELECT coalesce(max(version), 0) FROM schema_version").fetchone()
    if version > newest:
        raise StoreError(
            f"expected a database of schema {newest} or older, found {version}: it was written by a newer opcode;"
            " upgrade this one",
            retryable=False,
        )
    return int(version)
