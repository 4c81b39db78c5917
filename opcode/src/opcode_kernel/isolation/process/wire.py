"""What supervisors and their owner say to each other.

On the launcher's socket the owner asks for a supervisor with one byte and a descriptor, the other end of a socket of its
own. Everything else goes over that one, and its end ends everything. The owner sends requests (a byte, the length, JSON;
with it the streams of the command) and single bytes about the running command; it is sent lines of JSON. Bytes that
need not be text (arguments, variables, paths) stand in JSON as Latin-1.
"""

from __future__ import annotations

import json
import os
import socket
import struct
from contextlib import suppress
from typing import Any

#: What the owner may send; the last two concern the running command, and mean nothing once it has ended.
REQUEST, TERMINATE, KILL = b"r", b"t", b"k"

_STREAMS = 3
_LENGTH = struct.Struct("=I")


def request(content: dict[str, Any]) -> bytes:
    """Return a request as it is sent."""
    body = json.dumps(content).encode()
    return REQUEST + _LENGTH.pack(len(body)) + body


def read_request(control: socket.socket) -> tuple[dict[str, Any], list[int]] | None:
    """Wait for a request and the streams that came with it; None when the owner is gone before it was whole."""
    while True:
        first, streams = receive(control, _STREAMS)
        if not first:
            return None
        if first == REQUEST:
            break
    head = _exactly(control, _LENGTH.size)
    body = None if head is None else _exactly(control, _LENGTH.unpack(head)[0])
    return None if body is None else (json.loads(body), streams)


def receive(channel: socket.socket, count: int) -> tuple[bytes, list[int]]:
    """Return one byte and the descriptors that came with it. Two lots of descriptors never come together so."""
    try:
        first, files, _, _ = socket.recv_fds(channel, 1, count)
    except ConnectionError:
        return b"", []
    for file in files:
        os.set_inheritable(file, False)
    return first, files


def tell(control: socket.socket, content: dict[str, Any]) -> None:
    """Say something to the owner, if it is still there."""
    with suppress(OSError):
        control.sendall(json.dumps(content).encode() + b"\n")


def _exactly(control: socket.socket, count: int) -> bytes | None:
    data = bytearray()
    while len(data) < count:
        chunk = control.recv(min(count - len(data), 1 << 20))
        if not chunk:
            return None
        data += chunk
    return bytes(data)
