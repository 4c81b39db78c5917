"""Calls of tools, as steps make them: checked, let in when the server is there, bounded in number and time."""

from __future__ import annotations

from collections.abc import Callable

import anyio
import anyio.to_thread
from mcp.shared.exceptions import MCPError

from opcode_kernel import ActionError, DefinitionError, ExternalPlugin, Json, SchemaParams
from opcode_mcp_bridge.failures import LostError
from opcode_mcp_bridge.messages import well_formed
from opcode_mcp_bridge.results import failure_of, output_of
from opcode_mcp_bridge.session import Session
from opcode_mcp_bridge.timing import Timing


class Calls:
    """The way in to one server, over all its lives."""

    def __init__(self, plugin: ExternalPlugin, timing: Timing, redact: Callable[[str], str]) -> None:
        self._plugin, self._timing, self._redact = plugin, timing, redact
        self._places = anyio.Semaphore(plugin.max_concurrency)
        # A schema from elsewhere may be slow on purpose: it takes no threads from others.
        self._checks = anyio.CapacityLimiter(2)
        self._session: Session | None = None
        self._opened = anyio.Event()
        #: Why there is no server now.
        self._reason = "it is being started"
        #: Whether it is worth waiting for.
        self._expected = True
        #: Calls that the server has not answered yet.
        self.under_way = 0

    def expect(self) -> None:
        """The server is being started."""
        self._expected = True

    def open(self, session: Session) -> None:
        """The server is there."""
        self._session = session
        self._opened.set()

    def close(self) -> None:
        """The server is not there any more."""
        self._session = None
        self._opened = anyio.Event()

    def pause(self, reason: str, seconds: float) -> None:
        """The server will be started again in so many seconds."""
        self._reason, self._expected = reason, seconds < self._timing.patience

    def give_up(self, reason: str) -> None:
        """The server will not be started again; whoever waits for it hears so now."""
        self._reason, self._expected = reason, False
        self._opened.set()
        self._opened = anyio.Event()

    async def call(self, tool: str, params: SchemaParams, given: dict[str, Json]) -> Json:
        """Call a tool with decoded params and return the output of the step.

        Raises:
            DefinitionError: the params do not fit the server's schema.
            ActionError: `ACTION_UNAVAILABLE`, there is no server now; `TIMEOUT_ERROR`; `EXECUTION_ERROR`, it failed;
                `VALIDATION_ERROR`, it refused the params itself.
        """
        name = f"{self._plugin.name}.{tool}"
        given = await self._checked(params, given)
        async with self._places:
            session = await self._server(name)
            self.under_way += 1
            try:
                with anyio.move_on_after(self._plugin.call_timeout):
                    result = await session.request("tools/call", {"name": tool, "arguments": given})
                    return await output_of(result, name, self._redact)
            except MCPError as error:
                raise failure_of(error, name, self._redact) from None
            except LostError as error:
                raise ActionError(
                    "EXECUTION_ERROR", f"{name}: the server was lost before it answered: {error}",
                    details={"plugin": self._plugin.id},
                ) from None  # fmt: skip
            finally:
                self.under_way -= 1
        raise ActionError(
            "TIMEOUT_ERROR", f"{name}: expected an answer within {self._plugin.call_timeout:g} s, got none",
            details={"plugin": self._plugin.id},
        )  # fmt: skip

    async def _checked(self, params: SchemaParams, given: dict[str, Json]) -> dict[str, Json]:
        """Return params that fit the schema, as UTF-8 can carry them."""

        def check() -> tuple[dict[str, Json], list[str]]:
            return well_formed(given), params.violations(given)

        fit, violations = await anyio.to_thread.run_sync(check, abandon_on_cancel=True, limiter=self._checks)
        if not violations:
            return fit
        more = f" (and {len(violations) - 1} more)" if len(violations) > 1 else ""
        first = violations[0].removeprefix(": ")
        raise DefinitionError(f"params: {first}{more}", details={"violations": violations})

    async def _server(self, name: str) -> Session:
        if self._session is None and self._expected:
            with anyio.move_on_after(self._timing.patience):
                await self._opened.wait()
        if self._session is None:
            raise ActionError(
                "ACTION_UNAVAILABLE", f"{name}: the plugin {self._plugin.name} is not running: {self._reason}",
                details={"plugin": self._plugin.id},
            )  # fmt: skip
        return self._session
