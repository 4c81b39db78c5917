"""Content codings of responses, undone piece by piece so that a small body cannot become a huge one unnoticed."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from typing import Protocol

from opcode_kernel import ActionError

_PIECE = 65536
#: A body may grow a thousandfold; below the floor any ratio is harmless.
_RATIO = 1000
_FLOOR = 1 << 20
_GZIP = 16 + zlib.MAX_WBITS


class _Decompress(Protocol):
    """What `zlib.decompressobj` returns; the class itself has no public name."""

    @property
    def eof(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    @property
    def unconsumed_tail(self) -> bytes: ...
    def decompress(self, data: bytes, max_length: int, /) -> bytes: ...


class Decoder(Protocol):
    """Undoes the codings of one body. `finish` is called after the last chunk."""

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Yield what the bytes decode to, at most 64 KiB at a time; also nothing, so that the work can be interrupted.

        Raises:
            ActionError: the data is broken, or grows too much.
        """
        ...

    def finish(self) -> None:
        """Complain about a body that ended too early."""
        ...


def codings_of(header: str) -> list[str]:
    """Return the codings that a Content-Encoding header names, in lower case, without those that do nothing."""
    names = (name.strip().lower() for name in header.split(","))
    return [name for name in names if name not in ("", "identity")]


def decoder_for(header: str) -> Decoder | None:
    """Return a decoder for a Content-Encoding header, or None when the body is not encoded, or in no way we know."""
    names = codings_of(header)
    if not names or len(names) > 3 or any(name not in ("gzip", "x-gzip", "deflate") for name in names):
        return None
    return _Layers([_Inflater(gzip=name != "deflate") for name in reversed(names)])


class _Inflater:
    """One layer of gzip (members may follow each other) or deflate (with or without its zlib wrapper)."""

    def __init__(self, *, gzip: bool) -> None:
        self._gzip = gzip
        self._held = b""
        self._inflate: _Decompress | None = None
        self._members = 0
        self.produced = 0

    def feed(self, data: bytes) -> Iterator[bytes]:
        data, self._held = self._held + data, b""
        pending = False
        while data or pending:
            inflate = self._inflate = self._inflate or self._open(data)
            if inflate is None:
                yield b""
                return
            try:
                piece = inflate.decompress(data, _PIECE)
            except zlib.error:
                raise _broken("is not what its Content-Encoding says") from None
            self.produced += len(piece)
            yield piece
            pending = len(piece) == _PIECE
            data = inflate.unconsumed_tail
            if inflate.eof:
                data, pending, self._inflate = inflate.unused_data, False, None
                self._members += 1

    def _open(self, data: bytes) -> _Decompress | None:
        """Begin a member; None when what is left is padding, or too short to tell (then it is held back)."""
        if self._gzip:
            return zlib.decompressobj(_GZIP) if not self._members or data[:1] == b"\x1f" else None
        if self._members:
            return None
        if len(data) < 2:
            self._held = data
            return None
        wrapped = data[0] & 0x0F == 8 and int.from_bytes(data[:2], "big") % 31 == 0
        return zlib.decompressobj(zlib.MAX_WBITS if wrapped else -zlib.MAX_WBITS)

    def finish(self) -> None:
        if self._inflate is not None or not self._members:
            raise _broken("ended before its compressed data did")


class _Layers:
    """A chain of layers. What lies between two of them may not grow without bound either, though nobody sees it."""

    def __init__(self, layers: list[_Inflater]) -> None:
        self._layers = layers
        self._received = 0

    def feed(self, data: bytes) -> Iterator[bytes]:
        self._received += len(data)
        return self._through(data, 0)

    def _through(self, data: bytes, depth: int) -> Iterator[bytes]:
        layer = self._layers[depth]
        for piece in layer.feed(data):
            if layer.produced > max(_FLOOR, _RATIO * self._received):
                raise ActionError(
                    "EXECUTION_ERROR",
                    f"expected a response that grows at most {_RATIO} times when decompressed, found a larger one",
                    retryable=False,
                    details={"reason": "decompression_ratio"},
                )
            if depth + 1 == len(self._layers) or not piece:
                yield piece
            else:
                yield from self._through(piece, depth + 1)

    def finish(self) -> None:
        if self._received:  # the answer to HEAD names a coding and has no body
            for layer in self._layers:
                layer.finish()


def too_empty(received: int, produced: int) -> ActionError:
    """Return the error for compressed data that goes on and on and decodes to next to nothing."""
    return ActionError(
        "EXECUTION_ERROR",
        f"expected a compressed body that decodes to something, found {received} bytes that decode to {produced}",
        retryable=False,
        details={"reason": "decompression_ratio"},
    )


def _broken(what: str) -> ActionError:
    return ActionError("EXECUTION_ERROR", f"expected a whole response body, found one that {what}")
