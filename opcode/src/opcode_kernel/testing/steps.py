"""Short ways to write steps of the test vocabulary (`vocabulary.py`), for tests that drive the simulator."""

from __future__ import annotations

from typing import Any


def echo(step_id: str, value: Any = None, **keys: Any) -> dict[str, Any]:
    """Return an action step whose output is `value`, or its own id; `keys` are further keys of the step."""
    return {"id": step_id, "action": "test.echo", "params": {"value": step_id if value is None else value}, **keys}


def ask(step_id: str = "ask", **config: Any) -> dict[str, Any]:
    """Return a reasoning step; `config` adds to its prompt."""
    return {"id": step_id, "type": "reasoning", "config": {"prompt_context": "Go?", **config}}


def wait(step_id: str = "w", **config: Any) -> dict[str, Any]:
    """Return a wait step."""
    return {"id": step_id, "type": "wait", "config": config}


def fan(*branches: Any, **keys: Any) -> dict[str, Any]:
    """Return a parallel step `p` with these branches."""
    return {"id": "p", "type": "parallel", "config": {"branches": list(branches)}, **keys}
