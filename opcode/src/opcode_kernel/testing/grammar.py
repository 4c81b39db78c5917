"""The order of events inside one run (spec 01 section 5.3), checked event by event."""

from __future__ import annotations

from typing import Any

from opcode_kernel.core.events import Event
from opcode_kernel.core.plan import BlockPlan, Plan

_ENDS = frozenset({"step_completed", "step_failed", "step_skipped", "step_retrying"})
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

    def __init__(self, plan: Plan | None) -> None:
        #: Without it dependencies are not checked.
        self._plan = plan
        self._last: tuple[str, str | None] = ("", None)
        #: Per step: number of its last attempt, and the event that ended it (None while it runs).
        self._attempts: dict[str, tuple[int, str | None]] = {}
        self._status: dict[str, str] = {}

    def see(self, event: Event) -> None:
        """Take in the next event."""
        self._see_neighbours(event)
        if event.type == "workflow_resumed" and self._plan is not None:
            # A run that fails again may have its hook again, which asks its guard again.
            for hook in self._plan.hooks.index:
                number, ended = self._attempts.get(hook, (0, None))
                if ended in _ENDS:
                    self._attempts[hook] = (number, "resumed")
        if event.step_id is not None:
            self._see_step(event, event.step_id)
        self._last = (event.type, event.step_id)

    def _see_neighbours(self, event: Event) -> None:
        before, after = _BEFORE.get(event.type), _NEXT.get(self._last[0])
        here = (event.type, event.step_id)
        assert before is None or self._last == (before, event.step_id), f"{here} stands after {self._last}"
        assert after is None or here == (after, self._last[1]), f"{self._last} stands before {here}"

    def _see_step(self, event: Event, path: str) -> None:
        payload: dict[str, Any] = event.payload or {}
        number, ended = self._attempts.get(path, (0, "nothing"))
        if event.type == "step_started" and "reopened" in (event.private or {}):
            # An operator lets the containers above a step go on after their failure: another attempt, nothing forgotten.
            assert ended in ("step_failed", "step_skipped", "cut"), f"{path} is reopened after {ended}"
            self._attempts[path] = (number + 1, None)
        elif event.type == "step_started":
            assert ended is not None, f"{path} starts again before attempt {number} ended"
            assert payload["attempt"] == number + 1, f"{path} starts attempt {payload['attempt']} after {number}"
            self._check_dependencies(path)
            self._attempts[path] = (number + 1, None)
            # Only a container that started before can have anything below; looking is dear in a long loop.
            for nested in [other for other in self._attempts if other.startswith(f"{path}.")] if number else ():
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
            # An effect that was cut off with the run is brought back as a question.
            asked = ended == "cut" and payload.get("outcome") == "unknown"
            assert asked or ended in (None, "step_retrying", "interrupted"), f"{path} is suspended after {ended}"
            self._attempts[path] = (number, "interrupted" if payload["reason"] == "interrupted" else None)
        if event.type in _ENDS:
            self._status[path] = event.type

    def _check_dependencies(self, path: str) -> None:
        if self._plan is None:
            return
        root = self._plan.root
        index = root.index.get(path)
        for dependency in root.steps[index].depends_on if index is not None else ():
            assert self._is_satisfied(root, root.steps[dependency].id, path), (
                f"{path} starts before {root.steps[dependency].id}"
            )

    def _is_satisfied(self, root: BlockPlan, step_id: str, dependent: str) -> bool:
        status = self._status.get(step_id)
        if status == "step_failed":
            handler = root.steps[root.index[step_id]].on_error
            fallback = handler.fallback_step if handler is not None else None
            return fallback is not None and (fallback == dependent or self._is_satisfied(root, fallback, dependent))
        return status in ("step_completed", "step_skipped")
