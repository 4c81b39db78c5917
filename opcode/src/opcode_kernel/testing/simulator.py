"""The core under virtual time: a heap of (time, message), a world that answers by name, and faults by seed.

There is no event loop. A simulated run loses its process, sees messages twice, late and in another order; see `owner`.
The same seed gives the same bytes, in every process.

    python -m opcode_kernel.testing.simulator --seeds 10000    # the same as `campaign`
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

from opcode_kernel.core.compiling import Vocabulary, compile_plan
from opcode_kernel.core.events import Event
from opcode_kernel.core.messages import ActionFailed, ActionSucceeded, Message, Signal, Start
from opcode_kernel.core.node import Node
from opcode_kernel.core.run import Transition
from opcode_kernel.core.text import parse_duration
from opcode_kernel.core.times import SECOND
from opcode_kernel.errors import Failure, Json
from opcode_kernel.testing.invariants import check_rest, describe
from opcode_kernel.testing.owner import START as START
from opcode_kernel.testing.owner import Owner
from opcode_kernel.testing.snapshots import Outcome, outcome_of
from opcode_kernel.testing.world import Results


def simulated(
    definition: dict[str, Json], vocabulary: Vocabulary, inputs: dict[str, Any] | None = None, *,
    results: Results | None = None, optional: Sequence[str] = (), check_output: Callable[[Json], list[str]] | None = None,
    **keys: Any,
) -> Simulator:  # fmt: skip
    """Start a definition for a test: actions answer at once unless `results` say otherwise, and nobody meddles.

    `optional` names the inputs that the input schema declares and does not require; `keys` go to `Simulator`.
    """
    schema: dict[str, Json] = {"properties": {name: {} for name in optional}}
    plan = compile_plan(definition, vocabulary, input_schema=schema, check_output=check_output)
    return Simulator(plan, results=results, **{"latencies": (0,), **keys}).start(inputs)


class Simulator(Owner):
    """Drives one run, as a test says or by itself to its rest. Made with the arguments of `Owner`."""

    @property
    def status(self) -> str:
        """The status of the run."""
        return self.run.state.status

    def start(self, inputs: dict[str, Any] | None = None, run_id: str = "run", **keys: Any) -> Simulator:
        """Start the run and let everything happen that is due at once."""
        self.send(Start(run_id, inputs or {}, **keys))
        return self.pass_time(0)

    def node(self, path: str) -> Node:
        """Return a step of the run."""
        return self.run.state.nodes[path]

    def send(self, message: Message) -> Transition:
        """Deliver a message now. Raises `OpcodeError` where the run refuses it."""
        return self._deliver(message)

    def signal(
        self, type: str, step_id: str | None = None, payload: dict[str, Json] | None = None, **keys: Any
    ) -> Simulator:
        """Send a signal and let everything happen that is due at once."""
        self.send(Signal(type, payload or {}, step_id, **keys))
        return self.pass_time(0)

    def succeed(self, path: str, output: Json = None) -> Simulator:
        """Answer the action of a step."""
        self.send(ActionSucceeded(self.node(path).task, output))
        return self.pass_time(0)

    def fail(self, path: str, failure: Failure | None = None) -> Simulator:
        """Let the action of a step fail."""
        self.send(ActionFailed(self.node(path).task, failure or Failure("EXECUTION_ERROR", "boom")))
        return self.pass_time(0)

    def pass_time(self, duration: str | int) -> Simulator:
        """Let some time pass, given as a duration (`90s`) or in microseconds."""
        us = duration if isinstance(duration, int) else round(parse_duration(duration) * SECOND)
        until = self.now + us
        while self._agenda and self._agenda.next_at <= until:
            self._take_next()
        self.now = until
        return self

    def finish(self) -> Outcome:
        """Let everything happen that will happen, check that the run is at rest, and return how it ended."""
        while self._agenda:
            self._take_next()
        self._checked(lambda: check_rest(self.run.state))
        return self.outcome()

    def outcome(self) -> Outcome:
        """Return how things stand."""
        return outcome_of(self.run.state)

    def events(self, *types: str, step: str | None = None) -> list[Event]:
        """Return the logged events of some types (all without any), of one step if given."""
        return [
            event for event in self.log
            if (not types or event.type in types) and (step is None or event.step_id == step)
        ]  # fmt: skip

    def history(self) -> str:
        """Return the log as text, one event per line."""
        return describe(self.log)

    def crash(self, policy: str | None = None) -> Simulator:
        """Lose the process: what is not in the log is gone, what is outstanding is issued again."""
        self._restart(policy)
        return self

    def fingerprint(self) -> str:
        """Return the log as JSON: the same seed gives the same bytes."""
        return json.dumps(self.log, ensure_ascii=False)


if __name__ == "__main__":
    from opcode_kernel.testing.campaign import main

    raise SystemExit(main())
