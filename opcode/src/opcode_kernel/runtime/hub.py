"""Fan-out of committed events: to listeners of one run, to subscribers, to `opcode_committed` of plugins.

Nothing is announced before it is durable. A subscriber that does not keep up is told so (`gap`) instead of slowing the
engine down.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

import anyio
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream

from opcode_kernel.core.events import Event

Listener = Callable[[str, Sequence[Event]], None]
Batch = tuple[str, Sequence[Event]]

#: How many batches a subscriber may lag behind; enough for a page that repaints once a second.
BUFFER = 256


class Hub:
    """See the module."""

    def __init__(self) -> None:
        self._listeners: dict[str, list[Listener]] = {}
        self._streams: list[_Stream] = []
        self._observers: list[tuple[str, Listener]] = []

    def observe(self, owner: str, observer: Listener) -> None:
        """Add an observer of everything for the life of the engine; `owner` names it in the log."""
        self._observers.append((owner, observer))

    def listen(self, run_id: str, listener: Listener) -> Callable[[], None]:
        """Call `listener(run_id, events)` after each commit of one run; returns what removes it again."""
        self._listeners.setdefault(run_id, []).append(listener)

        def remove() -> None:
            remaining = [each for each in self._listeners.get(run_id, []) if each is not listener]
            if remaining:
                self._listeners[run_id] = remaining
            else:
                self._listeners.pop(run_id, None)

        return remove

    def forget(self, run_id: str) -> None:
        """Drop the listeners of a run that ended."""
        self._listeners.pop(run_id, None)

    @asynccontextmanager
    async def subscribe(self) -> AsyncIterator[MemoryObjectReceiveStream[Batch | None]]:
        """Receive every committed batch as (run id, events); None marks a gap."""
        send, receive = anyio.create_memory_object_stream[Batch | None](BUFFER + 1)
        stream = _Stream(send)
        self._streams.append(stream)
        try:
            yield receive
        finally:
            # Out of the list first: nobody may be offered a stream that is closed already.
            self._streams.remove(stream)
            send.close()
            receive.close()

    def publish(self, run_id: str, events: Sequence[Event]) -> None:
        """Tell everybody about events that have just become durable."""
        for listener in self._listeners.get(run_id, ()):
            _call("listener", listener, run_id, events)
        for owner, observer in self._observers:
            _call(owner, observer, run_id, events)
        for stream in self._streams:
            stream.offer((run_id, events))


class _Stream:
    """One subscriber. The last place of its buffer is kept for the mark of a gap."""

    def __init__(self, send: MemoryObjectSendStream[Batch | None]) -> None:
        self._send = send
        self._behind = False

    def offer(self, batch: Batch) -> None:
        if self._send.statistics().open_receive_streams == 0:
            return  # closed by the subscriber itself
        used = self._send.statistics().current_buffer_used
        if used < BUFFER // 2:
            self._behind = False
        if not self._behind and used < BUFFER:
            self._send.send_nowait(batch)
        elif not self._behind:
            self._behind = True
            self._send.send_nowait(None)


def _call(owner: str, listener: Listener, run_id: str, events: Sequence[Event]) -> None:
    try:
        listener(run_id, events)
    except Exception:
        logging.getLogger("opcode.hub").exception("an observer of committed events failed", extra={"owner": owner})
