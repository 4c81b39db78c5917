"""The small writes, each a function for the writer thread that runs inside its transaction."""

from __future__ import annotations

import sqlite3
from typing import Any

from opcode_kernel.store.base import AgentRow, SecretRow

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
    INSERT INTO secrets (name, value, created_at, updated_at) VALUES (?, ?, ?, ?)
    ON CONFLICT (name) DO UPDATE SET value = excluded.value, updated_at = excluded.updated_at"""


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


def put_secret(connection: sqlite3.Connection, row: SecretRow) -> None:
    """Insert or replace a secret, its creation time kept."""
    connection.execute(_PUT_ENCRYPTED, row)


def delete_secret(connection: sqlite3.Connection, name: str) -> bool:
    """Delete a secret and tell whether it existed."""
    return connection.execute("DELETE FROM secrets WHERE name = ?", (name,)).rowcount > 0
