"""The small writes, each a function for the writer thread that runs inside its transaction."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Any

from opcode_kernel.store.base import AgentRow, PluginRow, SecretRow, SecretUse
from opcode_kernel.store.rows import bound_of, plugin_values, secret_values
from opcode_kernel.store.secrets import VAULT, vault_changed

_SAVE_TEMPLATE = """
    INSERT INTO templates (name, version, description, definition, input_schema, output_schema, triggers, agent_id,
                           created_at)
    VALUES (?1, (SELECT coalesce(max(version), 0) + 1 FROM templates WHERE name = ?1), ?2, ?3, ?4, ?5, ?6, ?7, ?8)
    RETURNING version"""
_TOUCH_AGENT = """
    INSERT INTO agents (id, name, type, created_at, last_seen_at) VALUES (?1, ?1, ?2, ?3, ?3)
    ON CONFLICT (id) DO UPDATE SET last_seen_at = max(last_seen_at, excluded.last_seen_at)
    RETURNING id, name, type, created_at, last_seen_at"""
_SET_META = """
    INSERT INTO meta ("key", value) VALUES (?, ?) ON CONFLICT ("key") DO UPDATE SET value = excluded.value"""
_PUT_ENCRYPTED = """
    INSERT INTO secrets (name, value, created_at, updated_at, key_id, version, templates, hosts)
    VALUES (?1, ?2, ?3, ?4, ?5, 1, ?7, ?8)
    ON CONFLICT (name) DO UPDATE SET value = excluded.value, updated_at = excluded.updated_at,
        key_id = excluded.key_id, version = version + 1, templates = excluded.templates, hosts = excluded.hosts"""
_ADD_USE = """
    INSERT INTO secret_uses (at, name, action, agent_id, run_id, template, step_id) VALUES (?, ?, ?, ?, ?, ?, ?)"""
_PRUNE_USES = """
    DELETE FROM secret_uses WHERE id IN (
        SELECT id FROM secret_uses WHERE at < :before OR id <= (SELECT max(id) FROM secret_uses) - :keep LIMIT :at_once)"""
_PUT_PLUGIN = """
    INSERT INTO plugins (id, name, type, config, status, last_health_check, error_message, created_at)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?)
    ON CONFLICT (id) DO UPDATE SET name = excluded.name, config = excluded.config, status = excluded.status,
        last_health_check = excluded.last_health_check, error_message = excluded.error_message"""


def save_template(connection: sqlite3.Connection, values: tuple[Any, ...]) -> int:
    """Insert the next version and return its number; only one transaction writes at a time, so none is given twice."""
    [(version,)] = connection.execute(_SAVE_TEMPLATE, values).fetchall()
    return int(version)


def touch_agent(connection: sqlite3.Connection, agent_id: str, kind: str, now: int) -> AgentRow:
    """Insert an agent or move its last sight forward."""
    [row] = connection.execute(_TOUCH_AGENT, (agent_id, kind, now)).fetchall()
    return AgentRow(*row)


def set_meta(connection: sqlite3.Connection, key: str, value: str) -> None:
    """Insert or replace a value."""
    connection.execute(_SET_META, (key, value))


def put_secret(
    connection: sqlite3.Connection, row: SecretRow, under: str | None, before: SecretRow | None, use: SecretUse | None
) -> None:
    """Insert or replace a secret, its creation time kept, unless what it was worked out from has changed."""
    if under is not None:
        found = connection.execute("SELECT templates, hosts FROM secrets WHERE name = ?", (row.name,)).fetchone()
        bounds = None if found is None else tuple(map(bound_of, found))
        if _parameters(connection) != under or bounds != (None if before is None else (before.templates, before.hosts)):
            raise vault_changed()
    _leave_no_trace(connection)
    connection.execute(_PUT_ENCRYPTED, secret_values(row))
    _add_use(connection, use)


def change_vault(
    connection: sqlite3.Connection, before: str | None, after: str, rows: Sequence[tuple[SecretRow, SecretRow]] | None,
    use: SecretUse | None,
) -> None:  # fmt: skip
    """Replace the vault's parameters and the secrets under them, unless somebody else changed either."""
    if _parameters(connection) != before:
        raise vault_changed()
    if rows is not None:
        stored = dict(connection.execute("SELECT name, value FROM secrets").fetchall())
        if stored != {old.name: old.value for old, _ in rows}:
            raise vault_changed()
    _leave_no_trace(connection)
    set_meta(connection, VAULT, after)
    for old, new in rows or ():
        connection.execute("UPDATE secrets SET value = ?, key_id = ? WHERE name = ?", (new.value, new.key_id, old.name))
    _add_use(connection, use)


def _leave_no_trace(connection: sqlite3.Connection) -> None:
    """Have SQLite overwrite what it gives up: a key that leaked must not open what is left of old rows."""
    connection.execute("PRAGMA secure_delete = ON")


def _parameters(connection: sqlite3.Connection) -> str | None:
    found = connection.execute("""SELECT value FROM meta WHERE "key" = ?""", (VAULT,)).fetchone()
    return None if found is None else str(found[0])


def delete_secret(connection: sqlite3.Connection, name: str, use: SecretUse | None) -> bool:
    """Delete a secret and tell whether it existed; only then is it written down."""
    _leave_no_trace(connection)
    existed = connection.execute("DELETE FROM secrets WHERE name = ?", (name,)).rowcount > 0
    if existed:
        _add_use(connection, use)
    return existed


def add_secret_uses(connection: sqlite3.Connection, uses: Sequence[SecretUse]) -> None:
    """Write down what was done with secrets."""
    connection.executemany(_ADD_USE, uses)


def _add_use(connection: sqlite3.Connection, use: SecretUse | None) -> None:
    if use is not None:
        connection.execute(_ADD_USE, use)


def prune_secret_uses(connection: sqlite3.Connection, before: int, keep: int, at_once: int) -> int:
    """Forget so many of the uses that are too old or too many, and tell how many."""
    return connection.execute(_PRUNE_USES, {"before": before, "keep": keep, "at_once": at_once}).rowcount


def put_plugin(connection: sqlite3.Connection, row: PluginRow) -> None:
    """Insert or replace the row of a plugin, its creation time kept."""
    connection.execute(_PUT_PLUGIN, plugin_values(row))


def delete_plugin(connection: sqlite3.Connection, id: str) -> bool:
    """Delete the row of a plugin and tell whether it existed."""
    return connection.execute("DELETE FROM plugins WHERE id = ?", (id,)).rowcount > 0
