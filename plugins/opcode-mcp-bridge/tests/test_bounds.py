"""How much of an answer over HTTP is read: a stream goes on for as long as its events are small."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx2
import pytest

from opcode_mcp_bridge.http import _Bounded
from opcode_mcp_bridge.lines import MAX_MESSAGE

pytestmark = pytest.mark.anyio

MIB = b"x" * (1 << 20)


class Body(httpx2.AsyncByteStream):
    """The parts of an answer."""

    def __init__(self, parts: list[bytes]) -> None:
        self.parts = parts

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for part in self.parts:
            yield part


async def taken(parts: list[bytes]) -> int:
    response = httpx2.Response(200, headers={"content-type": "text/event-stream"}, stream=Body(parts))
    return sum([len(chunk) async for chunk in _Bounded(response)])


@pytest.mark.parametrize("broken", ["\r\n", "\n\r", "\n"])
async def test_an_event_beyond_the_bound_ends_the_stream(broken: str) -> None:
    with pytest.raises(httpx2.StreamError, match="at most"):
        await taken([b"data: " + MIB + broken.encode()] * 17)


@pytest.mark.parametrize("end", [b"\n\n", b"\r\n\r\n", b"\r\r"])
@pytest.mark.parametrize("apart", [False, True])
async def test_a_stream_of_small_events_may_go_on_for_ever_however_they_end(end: bytes, apart: bool) -> None:
    event = [b"data: " + MIB + end[:-1], end[-1:]] if apart else [b"data: " + MIB + end]
    assert await taken(event * 20) > MAX_MESSAGE
