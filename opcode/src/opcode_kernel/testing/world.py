"""What stands around a simulated run: how actions answer, and what agents and operators do.

Every answer is a function of the task, of names and of the seed, never of the order in which things are asked. So the
same run under the same seed meets the same world, whether its process crashed on the way or not.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from opcode_kernel.core.commands import RunAction
from opcode_kernel.core.messages import ActionFailed, ActionSucceeded, ActionSuspended, Message
from opcode_kernel.core.times import SECOND
from opcode_kernel.errors import Failure, Json


@dataclass(frozen=True, slots=True)
class Reply:
    """How one attempt of an action ends. `after` is in microseconds since the attempt started; None draws it.

    With `rests` the action first reports that it waits for a child run that is suspended. `never` means no answer.
    """

    output: Json = None
    failure: Failure | None = None
    after: int | None = None
    rests: bool = False
    never: bool = False
    emitted: list[tuple[str, Json]] | None = None
    patch: dict[str, Json] | None = None


#: An action that does not answer until the test does it: see `Simulator.succeed` and `Simulator.fail`.
HOLD = Reply(never=True)

#: Results by step id: one `Reply` (or plain output) for all attempts, or a list with one per attempt.
Results = Mapping[str, Any]


def succeeds(output: Json = None, *, after: int | None = None) -> Reply:
    """Return a reply that succeeds."""
    return Reply(output, after=after)


def fails(
    code: str = "EXECUTION_ERROR", message: str = "boom", *, retryable: bool = True, fatal: bool = False,
    after: int | None = None, details: dict[str, Json] | None = None,
) -> Reply:  # fmt: skip
    """Return a reply that fails."""
    return Reply(failure=Failure(code, message, retryable, details or {}, None, fatal), after=after)


@dataclass(frozen=True, slots=True)
class Chance:
    """Draws by name: the same name under the same seed always gives the same number, in every process."""

    seed: int

    def draw(self, name: str) -> float:
        """Return a number from 0 up to 1."""
        digest = hashlib.blake2b(f"{self.seed}/{name}".encode(), digest_size=8).digest()
        return int.from_bytes(digest, "big") / 2**64

    def pick(self, name: str, options: list[Any]) -> Any:
        """Return one of the options."""
        return options[int(self.draw(name) * len(options))]


@dataclass(frozen=True, slots=True)
class World:
    """Answers actions: by `results` where the step is listed, else by what its test action is meant to do."""

    chance: Chance
    results: Results = field(default_factory=dict)
    #: Latencies are drawn from these, in microseconds.
    latencies: tuple[int, ...] = (0, 1_000, SECOND, 5 * SECOND)

    def reply(self, command: RunAction) -> Reply:
        """Return how an attempt ends."""
        scripted = self.results.get(command.step_id)
        if command.step_id not in self.results:
            return _by_name(command)
        if isinstance(scripted, list):
            scripted = scripted[min(command.attempt, len(scripted)) - 1]
        return scripted if isinstance(scripted, Reply) else Reply(scripted)

    def answers(self, command: RunAction, began: int) -> Iterator[tuple[int, Message]]:
        """Yield what an attempt that began at some time will report, and when: its own result or its time-out."""
        reply = self.reply(command)
        drawn: int = self.chance.pick(f"latency/{command.task}", list(self.latencies))
        after = drawn if reply.after is None else reply.after
        if reply.rests:
            yield began + after // 2, ActionSuspended(command.task, "child")
        elif command.timeout is not None and (reply.never or command.timeout <= after):
            yield (
                began + command.timeout,
                ActionFailed(command.task, Failure("TIMEOUT_ERROR", "the step took too long")),
            )
            return
        if not reply.never:
            yield began + after, _answer(command.task, reply)


def _answer(task: str, reply: Reply) -> Message:
    if reply.failure is not None:
        return ActionFailed(task, reply.failure)
    return ActionSucceeded(task, reply.output, reply.emitted, reply.patch)


def _by_name(command: RunAction) -> Reply:
    """Do what the action's name says; any other action returns its params."""
    params: dict[str, Json] = command.params
    output = params.get("value", params)
    match command.action:
        case "test.flaky" if command.attempt <= params.get("fails", 1):
            return fails(message=f"attempt {command.attempt} of {command.step_id} fails")
        case "test.fail":
            return fails(
                params.get("code", "EXECUTION_ERROR"), "fails for good", retryable=params.get("retryable", False)
            )
        case "test.abort":
            return fails("NON_RETRYABLE", "the run is ended on purpose", retryable=False, fatal=True)
        case "test.slow":
            return Reply(output, after=params.get("takes", 30 * SECOND))
        case "test.child":
            return Reply(output, rests=True)
        case "test.patch":
            return Reply(output, emitted=[("noted", {"by": command.step_id})], patch={"data": {"last": output}})
    return Reply(output)
