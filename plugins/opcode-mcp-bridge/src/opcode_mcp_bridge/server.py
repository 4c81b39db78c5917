"""One configured server: started, watched, started again when it ends, asked when a step calls one of its tools.

starting -> running -> lost -> pause -> starting ...      or, when that happens too often: given up, until it is nudged
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial

import anyio
import anyio.to_thread
from mcp.shared.exceptions import MCPError

from opcode_kernel import ConflictError, ExternalPlugin, OpcodeError, ProviderHost
from opcode_mcp_bridge.calls import Calls
from opcode_mcp_bridge.connect import connect
from opcode_mcp_bridge.failures import LOOKED_AT, LostError, StartError, shown
from opcode_mcp_bridge.remarks import Remarks
from opcode_mcp_bridge.session import Session
from opcode_mcp_bridge.timing import PINGS, Restarts, Timing
from opcode_mcp_bridge.tools import actions_of, left_out

#: What to do about a server that was given up.
_REMEDY = "once its cause is mended, have the OPCODE server read its settings again (kill -HUP), which tries it again"
#: Characters of the reason why a server ended.
_REASON = 1_000


@dataclass(frozen=True, slots=True)
class _End:
    """How one life of a server ended: why, how long it was well, and whether another try is pointless."""

    reason: str
    well_for: float = 0.0
    final: bool = False


class Server:
    """The keeper of one server. `run` is its life; `calls` is where steps come in."""

    def __init__(self, plugin: ExternalPlugin, host: ProviderHost, timing: Timing) -> None:
        self.plugin = plugin
        self.calls = Calls(plugin, timing, host.redact)
        #: Set after the first attempt, whatever came of it.
        self.settled = anyio.Event()
        self._host, self._timing = host, timing
        self._remarks = Remarks(host, plugin.name)
        self._nudged = anyio.Event()

    def nudge(self) -> None:
        """Try again if it was given up."""
        self._nudged.set()

    async def run(self) -> None:
        """Keep the server running until cancelled; then it has ended."""
        plugin, host = self.plugin, self._host
        if not plugin.enabled:
            await host.report(plugin, "inactive", "it is switched off")
            self.settled.set()
            return
        restarts = Restarts(plugin, self._timing, anyio.current_time)
        lost: str | None = None
        while True:
            await host.report(plugin, "inactive", lost and f"{lost}; it is being started again")
            self.calls.expect()
            end = await self._live()
            self._nudged = anyio.Event()  # from here on a nudge counts, also while it is noted how it ended
            pause = None if end.final else restarts.pause(well_for=end.well_for)
            if pause is None:
                tries = 0 if end.final else plugin.restart.max
                again = (
                    f"; it was restarted {tries} times in {plugin.restart.window:g} s and is given up" if tries else ""
                )
                self.calls.give_up(f"{end.reason}{again}; {_REMEDY}")
                host.log.error("external plugin given up", plugin=plugin.name, error=end.reason + again)
                await host.report(plugin, "error", end.reason + again)
                restarts, lost = Restarts(plugin, self._timing, anyio.current_time), None
            else:
                lost, again = end.reason, f"{end.reason}; it is started again in {pause:.1f} s"
                self.calls.pause(again, pause)
                host.log.warning("external plugin ended; it will be started again", plugin=plugin.name,
                                 error=end.reason, seconds=round(pause, 1))  # fmt: skip
                await host.report(plugin, "inactive", again)
            self.settled.set()
            with anyio.move_on_after(math.inf if pause is None else pause):
                await self._nudged.wait()

    async def _live(self) -> _End:
        """Start the server and hold it until it is lost."""
        begun: float | None = None
        end: _End | None = None
        self._remarks.begin()
        with anyio.CancelScope(deadline=anyio.current_time() + self.plugin.start_timeout) as scope:
            try:
                async with connect(self.plugin, self._host, self._remarks, self._timing) as session:
                    await self._discover(session)
                    scope.deadline, begun = math.inf, anyio.current_time()
                    await self._watch(session)
            except* Exception as group:  # noqa: BLE001 - whatever it is, it is this server's alone
                end = _end_of(_first(group))
        if end is None and scope.cancelled_caught:
            said = self._remarks.last_words()
            end = _End(
                f"it was not ready within {self.plugin.start_timeout:g} s" + (f"; it said: {said}" if said else "")
            )
        well_for = 0.0 if begun is None else anyio.current_time() - begun
        if end is None:
            return _End("it ended", well_for)
        return _End(shown(end.reason, _REASON, self._host.redact), well_for, end.final)

    async def _discover(self, session: Session) -> None:
        """Offer the tools that the server has now.

        Raises:
            ConflictError: they clash with each other or with what others offer.
        """
        session.changed = anyio.Event()
        entries = await session.list_tools()
        listing = await anyio.to_thread.run_sync(
            partial(actions_of, entries, self.plugin, self.calls.call, self._host.redact), abandon_on_cancel=True
        )
        self._host.offer(self.plugin, listing.actions)
        if listing.left_out:
            self._host.log.warning("tools left out", plugin=self.plugin.name, tools=left_out(listing))
        self._host.log.info("external plugin ready", plugin=self.plugin.name, actions=len(listing.actions))

    async def _watch(self, session: Session) -> None:
        """Let steps in until the server is lost."""
        self.calls.open(session)
        await self._host.report(self.plugin, "active")
        self.settled.set()
        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._ping, session)
                tasks.start_soon(self._rediscover, session)
                try:
                    await session.link.lost.wait()
                finally:
                    session.link.lose("it was stopped")  # now: calls under way are told so when the session closes
                tasks.cancel_scope.cancel()
        finally:
            self.calls.close()
        raise LostError(session.link.reason)

    async def _ping(self, session: Session) -> None:
        """Give a server up that stays silent. While calls are under way it may be busy, and they have limits of their own."""
        missed = 0
        while True:
            await anyio.sleep(self._timing.ping_again if missed else self._timing.ping_every)
            if await session.alive(self._timing.ping_timeout):
                missed = 0
                await self._host.report(self.plugin, "active")
            elif not self.calls.under_way:
                missed += 1
                if missed == PINGS:
                    session.link.lose(f"it did not answer {PINGS} pings in a row")

    async def _rediscover(self, session: Session) -> None:
        """Read the tools again whenever the server says that they changed, but not all the time."""
        while True:
            await session.changed.wait()
            try:
                with anyio.fail_after(self._timing.listing):
                    await self._discover(session)
            except (StartError, OpcodeError, MCPError, TimeoutError) as error:
                reason = shown(_end_of(error).reason, _REASON, self._host.redact)
                self._host.log.warning("the tools stay as they were", plugin=self.plugin.name, error=reason)
            except LostError:
                return
            await anyio.sleep(self._timing.relist)


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """Return the most telling of several errors: what we say ourselves before what follows from it."""
    found: list[BaseException] = []
    pending: list[BaseException] = [group]
    while pending:
        error = pending.pop()
        if isinstance(error, BaseExceptionGroup):
            pending += error.exceptions
        else:
            found.append(error)
    return min(found, key=lambda error: 0 if isinstance(error, StartError | OpcodeError) else 1)


def _end_of(error: BaseException) -> _End:
    if isinstance(error, StartError):
        return _End(error.reason, final=error.final)
    if isinstance(error, OpcodeError):  # a clash of names, or a secret that cannot be had
        kind = "" if not isinstance(error, ConflictError) else "[CONFLICT] "
        return _End(kind + error.message, final=True)
    if isinstance(error, MCPError):
        return _End(f"it refused to list its tools: {error.error.message[:LOOKED_AT]}")
    if isinstance(error, LostError | TimeoutError):
        return _End(str(error) or "it did not answer in time")
    return _End(f"it cannot be served: {type(error).__name__}: {error}")
