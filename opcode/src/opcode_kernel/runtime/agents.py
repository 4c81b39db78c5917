"""Which agents there are: whoever calls is noted."""

from __future__ import annotations

from collections.abc import Callable

from opcode_kernel.errors import DefinitionError
from opcode_kernel.store.base import Store

#: An agent is written down at most once in so many microseconds.
_EVERY = 60_000_000


class Agents:
    """The agents that an open engine has seen."""

    def __init__(self, store: Store, clock: Callable[[], int]) -> None:
        self._store = store
        self._clock = clock
        self._seen: dict[str, int] = {}

    async def touch(self, agent_id: str, *, type: str = "llm") -> None:
        """Note that an agent was here (raises `DefinitionError` for what is no id of one)."""
        if not agent_id or not agent_id.strip() or len(agent_id) > 128 or not agent_id.isprintable():
            raise DefinitionError("expected agent_id to be a printable text of 1 to 128 characters")
        now = self._clock()
        if now - self._seen.get(agent_id, now - 2 * _EVERY) > _EVERY:
            await self._store.touch_agent(agent_id, type=type, now=now)
            self._seen[agent_id] = now
