"""What the library's connections lack: an end for those whose state is no longer what the next request needs.

- HTTP/2: a request that is given up half-way (time-out, cancellation, a body over the limit) leaves a stream whose data
  nobody takes, until it has used up the window that all streams share. Such a stream is reset, and the connection
  serves those it has and takes no more.
- HTTP/1.1: what a server sends beyond the end of a response would be read as the answer to the next request. Here it is
  looked for where the protocol is read; what has not come so far is found by `network`.
- A tunnel through a proxy that does not come about stays open and in the pool.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterable
from contextlib import aclosing, suppress
from typing import Any

import h2.errors
import h2.exceptions
import httpcore2
from anyio import CancelScope, get_cancelled_exc_class


class Pool(httpcore2.AsyncConnectionPool):
    """A connection pool of `Connection`."""

    def create_connection(self, origin: httpcore2.Origin) -> httpcore2.AsyncConnectionInterface:
        """Return a new connection; part of the interface."""
        return Connection(super().create_connection(origin))


class Connection(httpcore2.AsyncConnectionInterface):
    """A connection of the library, direct or through a proxy, that can be retired."""

    def __init__(self, inner: httpcore2.AsyncConnectionInterface) -> None:
        self._inner = inner
        self._retired = False

    async def handle_async_request(self, request: httpcore2.Request) -> httpcore2.Response:
        """Send a request and return its response, whose body is still to be read."""
        try:
            response = await self._inner.handle_async_request(request)
        except get_cancelled_exc_class():
            self.given_up()
            raise
        finally:
            await self._close_half_a_tunnel()
        assert isinstance(response.stream, AsyncIterable)
        return httpcore2.Response(
            response.status,
            headers=response.headers,
            content=_Body(response.stream, self),
            extensions=response.extensions,
        )

    def given_up(self) -> None:
        """Take no more requests after one was given up before its end, where others may be under way meanwhile."""
        innermost = _innermost(self._inner)
        if hasattr(innermost, "_h2_state"):  # `can_multiplex` does not look into tunnels
            self._retired = True
            _reset_forgotten_streams(innermost)

    async def _close_half_a_tunnel(self) -> None:
        """Close a tunnel that failed after the proxy opened it; the library would keep it, and never use it."""
        if not getattr(self._inner, "_connected", True):
            with CancelScope(shield=True):
                await self._inner.aclose()

    def answered(self) -> None:
        """Take no more requests when there is more than the response that was asked for."""
        state = getattr(_innermost(self._inner), "_h11_state", None)
        if state is not None and state.trailing_data[0]:
            self._retired = True

    async def aclose(self) -> None:
        """Close it, whatever is under way."""
        await self._inner.aclose()

    def info(self) -> str:
        """Describe it."""
        return self._inner.info()

    def can_handle_request(self, origin: httpcore2.Origin) -> bool:
        """Tell whether it leads to an origin."""
        return self._inner.can_handle_request(origin)

    def is_connected(self) -> bool:
        """Tell whether there is a socket."""
        return self._inner.is_connected()

    def is_available(self) -> bool:
        """Tell whether it takes a request now."""
        return not self._retired and self._inner.is_available()

    def has_expired(self) -> bool:
        """Tell whether it is to be closed."""
        return (self._retired and self._inner.is_idle()) or self._inner.has_expired()

    def is_idle(self) -> bool:
        """Tell whether no request is under way."""
        return self._inner.is_idle()

    def can_multiplex(self) -> bool:
        """Tell whether it takes several requests at once."""
        return self._inner.can_multiplex()

    def is_closed(self) -> bool:
        """Tell whether it is closed."""
        return self._inner.is_closed()


class _Body:
    """The body of a response; tells its connection how it ended."""

    def __init__(self, stream: AsyncIterable[bytes], connection: Connection) -> None:
        self._stream: Any = stream
        self._connection = connection
        self._whole = self._closed = False

    async def __aiter__(self) -> AsyncGenerator[bytes]:
        async with aclosing(aiter(self._stream)) as chunks:
            async for chunk in chunks:
                yield chunk
        self._whole = True

    async def aclose(self) -> None:
        if self._closed:
            return
        self._closed = True
        await self._stream.aclose()
        if self._whole:
            self._connection.answered()
        else:
            self._connection.given_up()


def _innermost(connection: Any) -> Any:
    """Return the connection that speaks the protocol, from under those that open it; None before it is open."""
    while hasattr(connection, "_connection"):
        connection = connection._connection  # noqa: SLF001  the library shows its protocol state to nobody
    return connection


def _reset_forgotten_streams(connection: Any) -> None:
    """Tell the server that nobody listens. What it has sent by then is given back to the window as it arrives."""
    state: Any = connection._h2_state  # noqa: SLF001  see above
    for number, stream in list(state.streams.items()):
        if number not in connection._events and not stream.closed:  # noqa: SLF001  see above
            with suppress(h2.exceptions.ProtocolError):  # the whole connection is over
                state.reset_stream(number, h2.errors.ErrorCodes.CANCEL)
