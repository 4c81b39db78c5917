"""Who is connected, and under which agent ids: the engine's `Notifier`.

A connection is opened by a transport with a channel that takes messages without waiting. Tools remember the agent ids
that calls on it named. Both vanish when the transport closes the connection.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from opcode_kernel.errors import Json
from opcode_kernel.server.readable import readable

#: The id of the connection the current call came in on; set by each transport.
CONNECTION: ContextVar[str] = ContextVar("opcode_connection", default="")

#: What a channel answers: None when the message is on its way, else why not.
Push = Callable[[dict[str, Json]], str | None]

#: Severities of MCP logging, ascending.
LEVELS = ("debug", "info", "notice", "warning", "error", "critical", "alert", "emergency")

#: A hostile client can name as many agents as it likes on one connection; only the latest are remembered.
_MAX_AGENTS = 1000
#: Connections whose transport never says goodbye (an idle HTTP session) are forgotten oldest first.
_MAX_CONNECTIONS = 10_000


class _Connection:
    __slots__ = ("agents", "end", "level", "needs_stream", "push")

    def __init__(self, push: Push, end: Callable[[], None] | None, needs_stream: bool) -> None:
        self.push = push
        self.end = end
        self.needs_stream = needs_stream
        self.level = 0
        self.agents: OrderedDict[str, None] = OrderedDict()


class Sessions:
    """The connections of a server and the agents behind them."""

    def __init__(self) -> None:
        self._connections: OrderedDict[str, _Connection] = OrderedDict()
        self._agents: dict[str, dict[str, None]] = {}
        self._streams: Counter[str] = Counter()

    def __len__(self) -> int:
        return len(self._connections)

    def __contains__(self, connection_id: str) -> bool:
        return connection_id in self._connections

    def open(
        self, connection_id: str, push: Push, end: Callable[[], None] | None = None, *, needs_stream: bool = False
    ) -> None:
        """Note a new connection and the way to reach it; `end` is called when it is forgotten.

        `needs_stream` marks one that can be reached only while it has a stream open, see `listening`.
        """
        self.close(connection_id)
        self._connections[connection_id] = _Connection(push, end, needs_stream)
        if len(self._connections) > _MAX_CONNECTIONS:
            self.close(next(iter(self._connections)))

    def close(self, connection_id: str) -> None:
        """Forget a connection and its agents; unknown ones are no mistake."""
        connection = self._connections.pop(connection_id, None)
        if connection is None:
            return
        for agent_id in connection.agents:
            self._forget(agent_id, connection_id)
        if connection.end is not None:
            connection.end()

    @contextmanager
    def listening(self, connection_id: str) -> Iterator[None]:
        """Hold while a connection that needs a stream has one open."""
        self._streams[connection_id] += 1
        try:
            yield
        finally:
            self._streams[connection_id] -= 1
            if not self._streams[connection_id]:
                del self._streams[connection_id]

    def remember(self, agent_id: str, connection_id: str) -> None:
        """Note that an agent spoke on a connection; several agents may share one, one agent may have several."""
        connection = self._connections.get(connection_id)
        if connection is None:
            return
        connection.agents[agent_id] = None
        connection.agents.move_to_end(agent_id)
        self._agents.setdefault(agent_id, {})[connection_id] = None
        if len(connection.agents) > _MAX_AGENTS:
            oldest, _ = connection.agents.popitem(last=False)
            self._forget(oldest, connection_id)

    def set_level(self, connection_id: str, level: str) -> None:
        """Send a connection only notifications of this severity and above."""
        if connection_id in self._connections:
            self._connections[connection_id].level = LEVELS.index(level)

    def connections(self, agent_id: str) -> list[str]:
        """Return the ids of an agent's connections."""
        return list(self._agents.get(agent_id, ()))

    async def notify(self, agent_id: str, params: dict[str, Json]) -> tuple[bool, str | None]:
        """Push `{message, workflow_id, step_id, data?}` to every connection of an agent.

        Returns whether at least one took it, and if none did why: `not_connected`, `queue_full` or `filtered` (the
        client asked for graver messages only).
        """
        reasons: list[str] = []
        delivered = False
        for connection_id in self.connections(agent_id):
            reason = self._push(connection_id, params)
            delivered = delivered or reason is None
            reasons += [reason] if reason else []
        if delivered:
            return True, None
        return False, next((r for r in ("queue_full", "filtered") if r in reasons), "not_connected")

    def _push(self, connection_id: str, params: dict[str, Json]) -> str | None:
        connection = self._connections[connection_id]
        if connection.needs_stream and connection_id not in self._streams:
            return "not_connected"
        return "filtered" if connection.level > LEVELS.index("info") else connection.push(log_message(params))

    def _forget(self, agent_id: str, connection_id: str) -> None:
        ids = self._agents.get(agent_id, {})
        ids.pop(connection_id, None)
        if not ids:
            self._agents.pop(agent_id, None)


def log_message(params: dict[str, Json]) -> dict[str, Json]:
    """Return the params of `notifications/message`: the flat keys, and what MCP logging requires besides."""
    flat: dict[str, Json] = {key: params[key] for key in ("message", "workflow_id", "step_id", "data") if key in params}
    if flat.get("data") is None:
        flat["data"] = {key: value for key, value in flat.items() if key != "data"}
    return {"level": "info", "logger": "opcode.workflow", **readable(flat)[1]}
