"""One session with a server: the handshake, requests by id, and what the server may ask or tell.

The SDK keeps the protocol. Answers are taken as they are sent rather than as its models: a tool's result is passed on
whole, and one bad tool must not hide the others.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from reprlib import Repr
from typing import Any, Self

import anyio
import anyio.to_thread
from mcp.client.session import ClientRequestContext, ClientSession
from mcp.shared.exceptions import MCPError
from mcp.shared.jsonrpc_dispatcher import JSONRPCDispatcher
from mcp.shared.message import SessionMessage
from mcp_types import Implementation, JSONRPCNotification, JSONRPCRequest, ListRootsResult, Root
from pydantic import ValidationError

from opcode_kernel import Json, __version__
from opcode_mcp_bridge.failures import LOOKED_AT, LostError, StartError
from opcode_mcp_bridge.lines import MAX_MESSAGE
from opcode_mcp_bridge.link import Link
from opcode_mcp_bridge.messages import weight
from opcode_mcp_bridge.remarks import Remarks

#: Code of the error that stands for a server that could not be reached; nobody else uses it.
UNREACHABLE = -32098
#: Requests of the server that may wait for our answer at a time; after these it is not read until it takes them.
_UNANSWERED = 64
_MAX_PAGES = 200
#: A value that is logged loses items but no part of a text: half of a secret would not be masked.
_SHORT = Repr()
_SHORT.maxstring = _SHORT.maxlong = _SHORT.maxother = LOOKED_AT
MAX_TOOLS = 2_000


class Session:
    """A session after its handshake. Requests may overlap; each gets its own answer."""

    def __init__(self, link: Link, dispatcher: JSONRPCDispatcher[Any]) -> None:
        self.link = link
        self._dispatcher = dispatcher
        #: Set when the server says that its tools have changed.
        self.changed = anyio.Event()

    async def request(self, method: str, params: dict[str, Json] | None = None) -> dict[str, Json]:
        """Send a request and return the result as it came; when cancelled, the server is told.

        Raises:
            MCPError: the server answered with an error.
            LostError: the connection ended before it answered.
        """
        try:
            return await self._dispatcher.send_raw_request(method, params)
        except MCPError:
            if self.link.lost.is_set():
                raise LostError(self.link.reason) from None
            raise

    async def alive(self, seconds: float) -> bool:
        """Tell whether the server answers a ping in time; an error is an answer too."""
        with anyio.move_on_after(seconds):
            try:
                await self.request("ping")
            except MCPError as error:
                return error.error.code != UNREACHABLE
            except LostError:
                return False
            return True
        return False

    async def list_tools(self) -> list[Json]:
        """Return all entries of `tools/list`, page by page.

        Raises:
            MCPError, LostError: see `request`.
            StartError: the answer has not the form of a list, or it does not end, or it is too large.
        """
        found: list[Json] = []
        cursor: Json = None
        total = 0
        seen: set[str] = set()
        for _ in range(_MAX_PAGES):
            page = await self.request("tools/list", None if cursor is None else {"cursor": cursor})
            tools = page.get("tools")
            if not isinstance(tools, list):
                raise StartError("expected a list of tools, found another answer to tools/list")
            cursor = page.get("nextCursor")
            total += await anyio.to_thread.run_sync(weight, [tools, cursor], abandon_on_cancel=True)
            if total > MAX_MESSAGE:
                raise StartError(f"expected a list of tools of at most {MAX_MESSAGE >> 20} MiB in all, found more")
            found += tools
            if len(found) > MAX_TOOLS or (cursor is not None and (not isinstance(cursor, str) or cursor in seen)):
                break
            if cursor is None:
                return found
            seen.add(cursor)
        raise StartError(f"expected a list of at most {MAX_TOOLS} tools that ends, found {len(found)} and no end")


@asynccontextmanager
async def open_session(link: Link, remarks: Remarks, root: str | None) -> AsyncIterator[Session]:
    """Shake hands over a link and hold the session; `root` is the directory that the server is told it may work in.

    Raises:
        StartError: the server refuses, or does not speak a version of the protocol that we do.
        LostError: the connection ended meanwhile.
    """
    forward, received = anyio.create_memory_object_stream[SessionMessage | Exception](0)
    border = _Border(link)
    dispatcher: JSONRPCDispatcher[Any] = JSONRPCDispatcher(received, border)

    async def roots(context: ClientRequestContext) -> ListRootsResult:
        return ListRootsResult(roots=[] if root is None else [Root.model_validate({"uri": Path(root).as_uri()})])

    info = Implementation(name="opcode", version=__version__)
    async with anyio.create_task_group() as tasks, forward, received:
        session = Session(link, dispatcher)
        tasks.start_soon(border.take_in, forward, session, remarks)
        try:
            async with ClientSession(dispatcher=dispatcher, list_roots_callback=roots, client_info=info) as client:
                await _shake_hands(client, link)
                yield session
        finally:
            tasks.cancel_scope.cancel()


async def _shake_hands(client: ClientSession, link: Link) -> None:
    try:
        await client.initialize()
    except MCPError as error:
        if link.lost.is_set():
            raise LostError(link.reason) from None
        raise StartError(f"it refused the handshake: {error.error.message[:LOOKED_AT]}") from None
    except ValidationError:
        raise StartError("it answered the handshake with something else than the protocol says") from None
    except RuntimeError as error:
        raise StartError(f"it cannot be spoken with: {str(error)[:LOOKED_AT]}") from None


class _Border:
    """What crosses between a link and the SDK: nothing that a server could flood us with."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._open_requests = anyio.Semaphore(_UNANSWERED)

    async def take_in(self, forward: Any, session: Session, remarks: Remarks) -> None:
        """Pass messages on until the link is lost, then close what the SDK reads: every waiting call hears of it."""
        async with anyio.create_task_group() as tasks, forward:
            tasks.start_soon(self._end_with_link, tasks.cancel_scope)
            while True:
                try:
                    item = await self._link.incoming.receive()
                except (anyio.EndOfStream, anyio.ClosedResourceError, anyio.BrokenResourceError):
                    self._link.lose("it closed the connection")
                    break
                if isinstance(item, Exception):
                    remarks.say("protocol", f"no message: {type(item).__name__}".encode())
                elif await self._concerns_the_sdk(item, session, remarks):
                    await forward.send(item)

    async def _concerns_the_sdk(self, item: SessionMessage, session: Session, remarks: Remarks) -> bool:
        message = item.message
        if isinstance(message, JSONRPCRequest):
            await self._open_requests.acquire()
            return True
        if not isinstance(message, JSONRPCNotification):
            return True
        if message.method == "notifications/tools/list_changed":
            session.changed.set()
        elif message.method == "notifications/message":
            said = (message.params or {}).get("data")
            remarks.say("log", (said if isinstance(said, str) else _SHORT.repr(said)).encode("utf-8", "replace"))
        return False  # of the others none asks for anything

    async def _end_with_link(self, scope: anyio.CancelScope) -> None:
        await self._link.lost.wait()
        scope.cancel()

    async def send(self, item: SessionMessage, /) -> None:
        """Hand a message of the SDK to the link."""
        await self._link.outgoing.send(item)
        message = item.message
        if not isinstance(message, JSONRPCRequest | JSONRPCNotification):
            self._open_requests.release()

    async def aclose(self) -> None:
        """Do nothing: the link outlives the session, so that its last messages get out."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *raised: object) -> None:
        return None
