"""Rows and events to try a store with: valid, and as plain as can be."""

from __future__ import annotations

from typing import Any

from opcode_kernel.core.events import Event
from opcode_kernel.store.base import DecisionRow, RunRow, StepRow, TemplateRow


def run_row(run_id: str, **changes: Any) -> RunRow:
    """Return the row of a run that is active, changed as given."""
    row = RunRow(
        id=run_id, template_name="t", template_version=1, name=None, status="active", agent_id="a",
        parent_run_id=None, parent_step_id=None, start_key=None, input_params={}, output=None, error=None,
        created_at=1, started_at=None, completed_at=None, updated_at=1,
    )  # fmt: skip
    return row._replace(**changes)


def step_row(run_id: str, step_id: str, **changes: Any) -> StepRow:
    """Return the row of a step that is running, changed as given."""
    return StepRow(run_id, step_id, "running", None, None, None, 0, None, None, None)._replace(**changes)


def decision_row(decision_id: str, **changes: Any) -> DecisionRow:
    """Return the row of an open question, changed as given."""
    row = DecisionRow(
        id=decision_id, run_id="r", step_id="s", agent_id="a", target_agent_id="b", context={"q": 1}, options=[],
        timeout_at=None, fallback=None, resolution=None, resolved_by=None, resolved_at=None, status="pending",
        created_at=1,
    )  # fmt: skip
    return row._replace(**changes)


def template_row(name: str, **changes: Any) -> TemplateRow:
    """Return the row of a template with nothing in it, changed as given."""
    return TemplateRow(name, 0, None, {"steps": []}, None, None, None, "a", 1)._replace(**changes)


def events(*sequences: int, **changes: Any) -> list[Event]:
    """Return events with these sequences, changed as given."""
    return [Event(n, "step_started", f"s{n}", {"n": n}, 100 + n)._replace(**changes) for n in sequences]
