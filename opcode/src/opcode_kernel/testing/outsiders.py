"""Agents and operators around a simulated run: they decide, send data, and meddle."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from opcode_kernel.core.events import Event
from opcode_kernel.core.messages import Signal
from opcode_kernel.core.state import RunState
from opcode_kernel.core.times import SECOND
from opcode_kernel.errors import Json
from opcode_kernel.testing.world import Chance

#: How long somebody takes to answer, in microseconds.
_PAUSES = [0, SECOND, 7 * SECOND, 90 * SECOND, 3_700 * SECOND]


class Outsiders:
    """Whom a run waits for. `answers` and `sends` are the chances that a decision is made and a signal is sent.

    What is chosen depends on the step alone, when it is chosen on the seed as well. `meddles` is the chance that
    after a transition somebody sends a signal that nobody asked for.
    """

    def __init__(self, seed: int, *, answers: float = 1.0, sends: float = 1.0, meddles: float = 0.0) -> None:
        self._chance = Chance(seed)
        self._answers = answers
        self._sends = sends
        self._meddles = meddles

    def react(self, state: RunState, events: Iterable[Event], now: int) -> Iterator[tuple[int, Signal]]:
        """Yield what they will send because of some new events, with the times."""
        for event in events:
            payload: dict[str, Any] = event.payload or {}
            if event.type == "decision_requested":
                yield from self._decide(event, payload, now)
            elif event.type == "wait_started" and payload.get("signal"):
                yield from self._wake(event, payload["signal"], now)
            if self._chance.draw(f"meddle/{event.sequence}") < self._meddles:
                yield self._meddle(state, event, now)

    def _decide(self, event: Event, payload: dict[str, Any], now: int) -> Iterator[tuple[int, Signal]]:
        decision: str = payload["decision_id"]
        if Chance(0).draw(f"answers/{decision}") >= self._answers:
            return
        options: list[dict[str, Json]] = payload["options"] or [{"id": "yes"}]
        choice = Chance(0).pick(f"choice/{decision}", options)["id"]
        agent = payload.get("target_agent_id", "tester")
        at = now + self._chance.pick(f"pause/{decision}", _PAUSES)
        yield at, Signal("decision", {"choice": choice}, event.step_id, agent)

    def _wake(self, event: Event, name: str, now: int) -> Iterator[tuple[int, Signal]]:
        if Chance(0).draw(f"sends/{event.step_id}") >= self._sends:
            return
        at = now + self._chance.pick(f"wake/{event.step_id}/{event.at}", _PAUSES)
        yield at, Signal("data", {"signal": name, "from": "outside"}, event.step_id)

    def _meddle(self, state: RunState, event: Event, now: int) -> tuple[int, Signal]:
        name = f"signal/{event.sequence}"
        kind = self._chance.pick(name, ["decision", "data", "retry", "retry", "skip", "skip", "cancel"])
        step_id = self._chance.pick(f"{name}/step", [None, *state.nodes])
        payload: dict[str, Json] = {"choice": "yes"} if kind == "decision" else {}
        if kind == "data":
            payload = {"signal": "go", "n": event.sequence}
        if kind == "cancel" and self._chance.draw(f"{name}/whole") < 0.5:
            step_id = step_id or "nobody"
        at = now + self._chance.pick(f"{name}/at", [0, SECOND, 30 * SECOND, 4_000 * SECOND])
        return at, Signal(kind, payload, step_id, "meddler")
