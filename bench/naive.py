"""A frozen yardstick: the engine one writes first. Never make it faster, or old and new ratios stop being comparable.

Levels with a barrier between them, a task per step, a lock around the log, a record and a date per change, and a scope
that is built anew for every step from the text of all outputs so far. On SQLite it commits every change by itself.
"""

from __future__ import annotations

import asyncio
import json
import sqlite3
import uuid
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

_MOVES = {
    "pending": ("scheduled", "skipped"),
    "scheduled": ("running", "skipped"),
    "running": ("completed", "failed", "suspended"),
    "active": ("completed", "failed", "suspended", "cancelled"),
}


@dataclass
class NaiveEvent:
    workflow_id: str
    sequence: int
    type: str
    step_id: str | None
    payload: str | None
    agent_id: str
    timestamp: datetime


@dataclass
class StepState:
    workflow_id: str
    step_id: str
    status: str = "pending"
    output: str | None = None
    error: str | None = None
    retry_count: int = 0
    started_at: datetime | None = None
    completed_at: datetime | None = None


class Log(Protocol):
    async def append(self, workflow_id: str, type: str, step_id: str | None, payload: str | None) -> None: ...
    async def put_step(self, state: StepState) -> None: ...
    async def put_workflow(self, workflow_id: str, status: str) -> None: ...


class MemoryLog:
    """Maps and a list behind one lock."""

    def __init__(self) -> None:
        self._lock = asyncio.Lock()
        self.events: list[NaiveEvent] = []
        self._steps: dict[tuple[str, str], dict[str, Any]] = {}
        self._workflows: dict[str, dict[str, Any]] = {}

    async def append(self, workflow_id: str, type: str, step_id: str | None, payload: str | None) -> None:
        async with self._lock:
            sequence = len(self.events) + 1
            self.events.append(NaiveEvent(workflow_id, sequence, type, step_id, payload, "bench", datetime.now(tz=UTC)))

    async def put_step(self, state: StepState) -> None:
        async with self._lock:
            self._steps[state.workflow_id, state.step_id] = dict(state.__dict__)

    async def put_workflow(self, workflow_id: str, status: str) -> None:
        async with self._lock:
            self._workflows[workflow_id] = {"id": workflow_id, "status": status, "updated_at": datetime.now(tz=UTC)}


class CommitLog:
    """SQLite, one transaction per change; an event takes the five statements of the original."""

    def __init__(self, path: Path, durability: str = "normal") -> None:
        self._db = sqlite3.connect(path, isolation_level=None)
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute(f"PRAGMA synchronous={durability.upper()}")
        self._db.executescript(
            """
            CREATE TABLE version (number INTEGER PRIMARY KEY);
            CREATE TABLE events (id INTEGER PRIMARY KEY AUTOINCREMENT, workflow_id TEXT NOT NULL, sequence INTEGER NOT NULL,
              type TEXT NOT NULL, step_id TEXT, payload TEXT, agent_id TEXT, timestamp TEXT, UNIQUE (workflow_id, sequence));
            CREATE INDEX by_type ON events (type, timestamp DESC);
            CREATE TABLE steps (workflow_id TEXT, step_id TEXT, state TEXT, PRIMARY KEY (workflow_id, step_id));
            CREATE TABLE workflows (id TEXT PRIMARY KEY, status TEXT, updated_at TEXT);
            """
        )

    def close(self) -> None:
        self._db.close()

    async def append(self, workflow_id: str, type: str, step_id: str | None, payload: str | None) -> None:
        now = datetime.now(tz=UTC).isoformat()
        run = self._db.execute
        run("BEGIN")
        run("INSERT INTO version VALUES (-1)")
        run("DELETE FROM version WHERE number = -1")
        (last,) = run("SELECT COALESCE(MAX(sequence), 0) FROM events WHERE workflow_id = ?", (workflow_id,)).fetchone()
        run(
            "INSERT INTO events (workflow_id, sequence, type, step_id, payload, agent_id, timestamp) VALUES (?,?,?,?,?,?,?)",
            (workflow_id, last + 1, type, step_id, payload, "bench", now),
        )
        run("COMMIT")

    async def put_step(self, state: StepState) -> None:
        text = json.dumps(asdict(state), default=str)
        self._db.execute("INSERT OR REPLACE INTO steps VALUES (?,?,?)", (state.workflow_id, state.step_id, text))

    async def put_workflow(self, workflow_id: str, status: str) -> None:
        now = datetime.now(tz=UTC).isoformat()
        self._db.execute("INSERT OR REPLACE INTO workflows VALUES (?,?,?)", (workflow_id, status, now))

    def replay(self, workflow_id: str) -> dict[str, StepState]:
        """Read all events, check that none is missing and fold them into step states."""
        rows = self._db.execute(
            "SELECT workflow_id, sequence, type, step_id, payload, agent_id, timestamp FROM events "
            "WHERE workflow_id = ? ORDER BY sequence",
            (workflow_id,),
        ).fetchall()
        events = [
            NaiveEvent(run, number, kind, step, payload, agent, datetime.fromisoformat(time))
            for run, number, kind, step, payload, agent, time in rows
        ]
        return fold(events)


def fold(events: list[NaiveEvent]) -> dict[str, StepState]:
    """The last status of every step."""
    states: dict[str, StepState] = {}
    for number, event in enumerate(events, start=1):
        if event.sequence != number:
            raise ValueError(f"sequence gap at {number}")
        if event.step_id is None:
            continue
        state = states.setdefault(event.step_id, StepState(event.workflow_id, event.step_id))
        if event.type == "step_started":
            state.status, state.started_at = "running", event.timestamp
        elif event.type == "step_completed":
            state.status, state.completed_at, state.output = "completed", event.timestamp, event.payload
    return states


class NaiveEngine:
    """Runs a definition: levels, a task per step, everything awaited and written where it happens."""

    def __init__(self, log: Log, actions: dict[str, Callable[..., Any]], pool_size: int = 10) -> None:
        self._log = log
        self._actions = actions
        self._pool = asyncio.Semaphore(pool_size)
        self._failures: dict[str, int] = {}

    async def run(self, definition: dict[str, Any], inputs: dict[str, Any]) -> dict[str, Any]:
        workflow_id = str(uuid.uuid4())
        steps = {step["id"]: step for step in definition["steps"]}
        await self._log.put_workflow(workflow_id, "pending")
        levels = _levels(steps)
        await self._log.put_workflow(workflow_id, "active")
        await self._log.append(workflow_id, "workflow_started", None, json.dumps(inputs))
        states = {name: StepState(workflow_id, name) for name in steps}
        for level in levels:
            await asyncio.gather(*(self._step(workflow_id, steps[name], states, inputs) for name in level))
        await self._log.append(workflow_id, "workflow_completed", None, None)
        await self._log.put_workflow(workflow_id, "completed")
        return {"workflow_id": workflow_id, "status": "completed", "steps": states}

    async def _step(
        self, workflow_id: str, step: dict[str, Any], states: dict[str, StepState], inputs: dict[str, Any]
    ) -> None:
        state = states[step["id"]]
        await self._move(state, "scheduled")
        async with self._pool:
            await self._move(state, "running")
            await self._log.append(workflow_id, "step_started", step["id"], None)
            done = {name: json.loads(other.output) for name, other in states.items() if other.output}
            scope = {"steps": done, "inputs": inputs, "workflow": {"run_id": workflow_id}}
            if self._failures.get(step["action"], 0) >= 5:
                raise RuntimeError("circuit open")
            result = self._actions[step["action"]](scope, step.get("params"))
            output = await result if hasattr(result, "__await__") else result
            self._failures[step["action"]] = 0
            state.output = json.dumps(output)
            await self._move(state, "completed")
            await self._log.append(workflow_id, "step_completed", step["id"], state.output)

    async def _move(self, state: StepState, status: str) -> None:
        if status not in _MOVES[state.status]:
            raise ValueError(f"{state.status} to {status}")
        state.status = status
        if status == "running":
            state.started_at = datetime.now(tz=UTC)
        elif status == "completed":
            state.completed_at = datetime.now(tz=UTC)
        await self._log.put_step(state)


def _levels(steps: dict[str, dict[str, Any]]) -> list[list[str]]:
    """Kahn, level by level."""
    missing = {name: set(step.get("depends_on") or ()) for name, step in steps.items()}
    levels: list[list[str]] = []
    while missing:
        level = sorted(name for name, needs in missing.items() if not needs)
        if not level:
            raise ValueError("cycle")
        levels.append(level)
        missing = {name: needs.difference(level) for name, needs in missing.items() if name not in level}
    return levels
