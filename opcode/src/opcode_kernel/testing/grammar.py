"""The order of events inside one run (spec 01 section 5.3), checked event by event."""

from __future__ import annotations

from typing import Any

from opcode_kernel.core.events import Event
from opcode_kernel.core.plan import Plan

_ENDS = frozenset({"step_completed", "step_failed", "step_skipped", "step_retrying"})
_TERMINAL = {"workflow_completed": "completed", "workflow_failed": "failed", "workflow_cancelled": "cancelled"}
_AFTER: dict[str, frozenset[str]] = {
    "completed": frozenset(),
    "failed": frozenset({"signal_received", "workflow_resumed"}),
    "cancelled": frozenset({"step_skipped"}),
}
#: What has to stand directly before an event of the same step.
_BEFORE = {
    "step_retrying": "step_retry_attempt", "step_ignored": "error_handler_invoked",
    "step_fallback": "error_handler_invoked", "decision_requested": "step_started",
}  # fmt: skip
#: What has to stand directly after an event of the same step.
_NEXT = {
    "step_retry_attempt": "step_retrying", "decision_requested": "step_suspended", "step_ignored": "step_skipped",
    "step_fallback": "step_failed",
}  # fmt: skip


class Grammar:
    """Accepts the events of one run in order; raises `AssertionError` where the order is wrong."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._sequence = 0
        self._at = 0
        self._ended: str | None = None
        self._last: tuple[str, str | None] = ("", None)
        #: Per step: number of its last attempt, and the event that ended it (None while it runs).
        self._attempts: dict[str, tuple[int, str | None]] = {}
        self._status: dict[str, str] = {}
        self._decisions: dict[str, bool] = {}

    def see(self, event: Event) -> None:
        """Take in the next event."""
        assert event.sequence == self._sequence + 1, f"sequence {event.sequence} follows {self._sequence}"
        assert event.at >= self._at, "time runs backwards"
        self._sequence, self._at = event.sequence, event.at
        assert (event.type == "workflow_started") is (event.sequence == 1), (
            "workflow_started must be the first event, once"
        )
        self._see_ends(event)
        self._see_neighbours(event)
        if event.step_id is not None:
            self._see_step(event, event.step_id)
        self._last = (event.type, event.step_id)

    def _see_ends(self, event: Event) -> None:
        if self._ended is not None:
            assert event.type in _AFTER[self._ended], f"{event.type} after the run was {self._ended}"
        if event.type == "workflow_resumed":
            self._ended = None
        if event.type == "signal_received" and event.step_id is not None and (event.payload or {})["type"] == "skip":
            self._reopen_above(event.step_id)
        for path in (event.private or {}).get("retry", ()):
            self._reopen_above(path)
        self._ended = _TERMINAL.get(event.type, self._ended)

    def _reopen_above(self, path: str) -> None:
        """The one exception of section 5.3: an operator lets the containers above a step go on after their failure."""
        for above, (number, ended) in self._attempts.items():
            if path.startswith(f"{above}.") and ended in ("step_failed", "step_skipped", "cut"):
                self._attempts[above] = (number, None)

    def _see_neighbours(self, event: Event) -> None:
        before, after = _BEFORE.get(event.type), _NEXT.get(self._last[0])
        here = (event.type, event.step_id)
        assert before is None or self._last == (before, event.step_id), f"{here} stands after {self._last}"
        assert after is None or here == (after, self._last[1]), f"{self._last} stands before {here}"

    def _see_step(self, event: Event, path: str) -> None:
        payload: dict[str, Any] = event.payload or {}
        number, ended = self._attempts.get(path, (0, "nothing"))
        if event.type == "step_started":
            assert ended is not None, f"{path} starts again before attempt {number} ended"
            assert payload["attempt"] == number + 1, f"{path} starts attempt {payload['attempt']} after {number}"
            self._check_dependencies(path)
            self._attempts[path] = (number + 1, None)
            for nested in [other for other in self._attempts if other.startswith(f"{path}.")]:
                assert self._attempts.pop(nested)[1] is not None, f"{path} starts again while {nested} runs"
        elif event.type == "step_skipped":
            assert ended not in ("step_completed", "step_skipped"), f"{path} is skipped after {ended}"
            # What was cut short may come back when an operator repeats what ended it, and be passed over after all.
            cut = bool((event.private or {}).get("final"))
            self._attempts[path] = (number, "cut" if cut else event.type)
        elif event.type in _ENDS:
            assert ended in (None, "interrupted"), f"{event.type} of {path} after {ended}"
            self._attempts[path] = (number, event.type)
        elif event.type == "step_suspended":
            assert ended in (None, "step_retrying", "interrupted"), f"{path} is suspended after {ended}"
            self._attempts[path] = (number, "interrupted" if payload["reason"] == "interrupted" else None)
        elif event.type == "decision_requested":
            assert payload["decision_id"] not in self._decisions, "a decision is requested twice"
            self._decisions[payload["decision_id"]] = False
        elif event.type == "decision_resolved":
            assert self._decisions[payload["decision_id"]] is False, "a decision is resolved twice"
            self._decisions[payload["decision_id"]] = True
        if event.type in _ENDS:
            self._status[path] = event.type

    def _check_dependencies(self, path: str) -> None:
        root = self._plan.root
        index = root.index.get(path)
        for dependency in root.steps[index].depends_on if index is not None else ():
            assert self._is_satisfied(root.steps[dependency].id, path), (
                f"{path} starts before {root.steps[dependency].id}"
            )

    def _is_satisfied(self, step_id: str, dependent: str) -> bool:
        status = self._status.get(step_id)
        if status == "step_failed":
            handler = self._plan.root.steps[self._plan.root.index[step_id]].on_error
            fallback = handler.fallback_step if handler is not None else None
            return fallback is not None and (fallback == dependent or self._is_satisfied(fallback, dependent))
        return status in ("step_completed", "step_skipped")
