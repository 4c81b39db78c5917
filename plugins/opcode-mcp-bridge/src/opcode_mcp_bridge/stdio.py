"""The transport to a server that is a program: one message a line, on its stdin and stdout.

The SDK has one too. This one bounds messages, keeps stderr, notices at once when the program ends or stops reading, answers
calls whose answer cannot be read, and ends everything the program started.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream
from mcp.shared.message import SessionMessage

from opcode_kernel import ActionError, Child
from opcode_mcp_bridge.lines import Lines, TooLong
from opcode_mcp_bridge.link import Link
from opcode_mcp_bridge.messages import UnreadableError, read_message
from opcode_mcp_bridge.remarks import Remarks
from opcode_mcp_bridge.timing import Timing

#: Messages that wait to be written. More than calls that may be under way, so that cancelling one never waits.
_QUEUE = 4_096
#: How long what is left may take at the end, in seconds: answers to be read, messages to be written.
_LAST_WORDS = 1.0
_GONE = (anyio.EndOfStream, anyio.ClosedResourceError, anyio.BrokenResourceError, OSError)


@asynccontextmanager
async def stdio_link(child: Child, remarks: Remarks, timing: Timing) -> AsyncIterator[Link]:
    """Speak with a running program. Leaving ends it: its input is closed, then it is told to end, then it is killed."""
    speech = _Speech(child, remarks, timing)
    async with anyio.create_task_group() as tasks:
        for part in (speech.read, speech.write, speech.listen, speech.watch):
            tasks.start_soon(part)
        try:
            yield speech.link
        finally:
            with anyio.CancelScope(shield=True):
                await speech.stop()
            tasks.cancel_scope.cancel()


class _Speech:
    """What goes on between us and one program."""

    def __init__(self, child: Child, remarks: Remarks, timing: Timing) -> None:
        assert child.stdin is not None
        assert child.stdout is not None
        assert child.stderr is not None
        self._child, self._stdin, self._stdout, self._stderr = child, child.stdin, child.stdout, child.stderr
        self._remarks, self._timing = remarks, timing
        self._heard: MemoryObjectSendStream[SessionMessage | Exception]
        self._heard, incoming = anyio.create_memory_object_stream[SessionMessage | Exception](0)
        self._said: MemoryObjectReceiveStream[SessionMessage]
        outgoing, self._said = anyio.create_memory_object_stream[SessionMessage](_QUEUE)
        self._ends = (self._heard, incoming, outgoing, self._said)
        self._outgoing = outgoing
        self._all_heard, self._all_noted, self._all_said = anyio.Event(), anyio.Event(), anyio.Event()
        self.link = Link(incoming, outgoing)

    async def read(self) -> None:
        """Hand on the messages of stdout until it ends. It is always read on, or the program would hang."""
        lines = Lines()
        while (data := await _next(self._stdout)) is not None:
            for line in lines.feed(data):
                await self._hear(line)
        self._all_heard.set()
        with anyio.move_on_after(_LAST_WORDS):
            await self.link.lost.wait()  # if the program ended, that is a better reason
        self.link.lose("it closed its output")

    async def _hear(self, line: bytes | TooLong) -> None:
        if isinstance(line, bytes) and not line.strip():
            return
        try:
            await self._heard.send(SessionMessage(read_message(line)))
        except UnreadableError as error:
            head = line if isinstance(line, bytes) else line.head
            self._remarks.say("stdout", f"no message ({error}): ".encode() + head)
        except _GONE:
            return  # nobody listens any more

    async def write(self) -> None:
        """Write messages one after the other; a program that does not read them is given up."""
        try:
            async for message in self._said:
                text = message.message.model_dump_json(by_alias=True, exclude_unset=True)
                with anyio.fail_after(self._timing.stalled):
                    await self._stdin.send(text.encode("utf-8", "replace") + b"\n")
        except TimeoutError:
            self.link.lose(f"it did not read its input for {self._timing.stalled:g} s")
        except _GONE:
            return  # it ended, and `watch` says how
        finally:
            self._all_said.set()

    async def listen(self) -> None:
        """Log stderr."""
        while (data := await _next(self._stderr)) is not None:
            self._remarks.feed(data)
        self._all_noted.set()

    async def watch(self) -> None:
        """Wait for the end of the program. Something it started may still hold its output; nobody waits for that."""
        ended = await self._end()
        with anyio.move_on_after(_LAST_WORDS):
            await self._all_heard.wait()
            await self._all_noted.wait()
        said = self._remarks.last_words()
        self.link.lose(ended + (f"; it said: {said}" if said else ""))

    async def _end(self) -> str:
        try:
            code = await self._child.wait()
        except ActionError as error:
            return f"it was killed: {error.message}"
        if self._child.oom:
            return "it was killed for want of memory"
        return f"it was killed by signal {-code}" if code < 0 else f"it ended with exit code {code}"

    async def stop(self) -> None:
        """End the program, and wait until it did."""
        self.link.lose("it was stopped")
        self._outgoing.close()
        try:
            with anyio.move_on_after(_LAST_WORDS):
                await self._all_said.wait()
            with anyio.move_on_after(self._timing.stop if self.link.established else 0.0):
                await self._stdin.aclose()
                await self._end()
                return
            self._child.terminate()
            with anyio.move_on_after(self._timing.terminate):
                await self._end()
        finally:
            await self._child.aclose()
            for end in self._ends:
                end.close()


async def _next(stream: anyio.abc.ByteReceiveStream) -> bytes | None:
    try:
        return await stream.receive()
    except _GONE:
        return None
