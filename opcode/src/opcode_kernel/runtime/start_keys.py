"""Idempotent starts: an agent that repeats a start under the same key gets the run it started the first time.

A key belongs to its agent and to one request: template, version and inputs. It is stored with the run, so it holds across
restarts, and for ever. While a run is being started under a key, others with that key wait for it.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import anyio

from opcode_kernel.core.holes import split_holes
from opcode_kernel.core.state import RunState
from opcode_kernel.core.text import json_type
from opcode_kernel.core.validation.issues import an
from opcode_kernel.errors import ConflictError, DefinitionError, Json
from opcode_kernel.runtime.library import Template
from opcode_kernel.store.base import Store

#: The longest key, in characters.
KEY_LENGTH = 256


class Started(NamedTuple):
    """A run that was started under a key, and with what."""

    run_id: str
    template_name: str
    template_version: int
    input_params: dict[str, Json]

    def check(self, key: str, template: Template, inputs: dict[str, Any]) -> None:
        """Make sure that a repeated start means this run.

        Raises:
            ConflictError: it has another template, version or input; `details.workflow_id` names this run.
        """
        if (self.template_name, self.template_version) != (template.row.name, template.row.version):
            other = f"version v{self.template_version} of template {self.template_name!r}"
        elif not _same(self.input_params, split_holes(inputs)[0]):
            other = "another input"
        else:
            return
        raise ConflictError(
            f"the idempotency key {key!r} was used before with {other}, for workflow {self.run_id}; use a new key",
            details={"workflow_id": self.run_id, "idempotency_key": key},
        )


class StartKeys:
    """The keys of an engine."""

    def __init__(self, store: Store) -> None:
        self._store = store
        #: Runs that are still in memory; they may not be durable yet.
        self._live: dict[tuple[str, str], RunState] = {}
        self._held: dict[tuple[str, str], anyio.Lock] = {}

    @asynccontextmanager
    async def held(self, agent_id: str, key: str) -> AsyncIterator[None]:
        """Keep others from starting a run under the same key meanwhile."""
        lock = self._held.setdefault((agent_id, key), anyio.Lock())
        try:
            async with lock:
                yield
        finally:
            if not lock.locked() and not lock.statistics().tasks_waiting:
                self._held.pop((agent_id, key), None)

    async def find(self, agent_id: str, key: str) -> Started | None:
        """Return the run that was started under a key."""
        state = self._live.get((agent_id, key))
        if state is not None:
            return Started(state.run_id, state.plan.template_name, state.plan.template_version, state.input_params)
        row = await self._store.run_by_key(agent_id, key)
        return None if row is None else Started(row.id, row.template_name, row.template_version, row.input_params)

    def remember(self, state: RunState) -> None:
        """Note a run that was started under a key, until `forget`."""
        if state.start_key is not None:
            self._live[state.agent_id, state.start_key] = state

    def forget(self, state: RunState) -> None:
        """Leave a run to the store, where it is by now, or will never be."""
        if state.start_key is not None:
            self._live.pop((state.agent_id, state.start_key), None)


def check_key(key: Json) -> None:
    """Refuse what is no key.

    Raises:
        DefinitionError: it is no text, blank, too long, or has characters that cannot be printed.
    """
    if not isinstance(key, str):
        found = an(json_type(key))
    elif not key.strip():
        found = "a blank one"
    elif len(key) > KEY_LENGTH:
        found = f"{len(key)}"
    elif not key.isprintable():
        found = f"{next(char for char in key if not char.isprintable())!a}, which cannot be printed"
    else:
        return
    raise DefinitionError(
        f"expected idempotency_key to be a text of 1 to {KEY_LENGTH} printable characters, found {found}; leave it out "
        "for a run without a key"
    )


def _same(one: Json, other: Json) -> bool:
    """Compare as JSON: for Python, true is 1, and a tuple is no list."""
    try:
        return json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)
    except (TypeError, ValueError, RecursionError):
        return False  # not JSON, so no run has it as its input
