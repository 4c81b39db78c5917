"""What will reach a simulated run, and when: messages ordered by time, and by name where times are equal."""

from __future__ import annotations

import heapq

from opcode_kernel.core.messages import Message
from opcode_kernel.testing.world import Chance


class Agenda:
    """A heap of (time, message); times are microseconds."""

    def __init__(self, chance: Chance) -> None:
        self._chance = chance
        self._heap: list[tuple[int, int, int, Message]] = []
        self._pushed = 0

    def __bool__(self) -> bool:
        """Whether anything is still to come."""
        return bool(self._heap)

    @property
    def next_at(self) -> int:
        """When the next message is due."""
        return self._heap[0][0]

    def push(self, at: int, message: Message) -> None:
        """Put a message in. Ties are broken by name, never by order of arrival: a crash must not change who is first."""
        tie = int(self._chance.draw(f"tie/{task_of(message) or message}") * 2**53)
        self._pushed += 1
        heapq.heappush(self._heap, (at, tie, self._pushed, message))

    def pop(self) -> tuple[int, Message]:
        """Take the next message out."""
        at, _, _, message = heapq.heappop(self._heap)
        return at, message

    def keep(self, kind: type) -> None:
        """Lose everything but one kind of messages: what a process had under way goes with it."""
        self._heap = [entry for entry in self._heap if isinstance(entry[3], kind)]
        heapq.heapify(self._heap)


def task_of(message: Message) -> str | None:
    """Return the task that a message is about, if it is about one."""
    return getattr(message, "task", None)
