"""The child process that runs libjq. It has no environment, bounded memory, and a timer it cannot outlive.

Run by path, not as a module of the package, so that it starts in some 30 ms: it may import nothing but the standard
library and `jq`. Both directions are frames; the layouts are in `REQUEST` and `ANSWER`.
"""

from __future__ import annotations

import resource
import signal
import struct
import sys
from functools import lru_cache
from typing import Any, BinaryIO

#: Seconds, bytes of program, bytes of input; both texts follow. Without input the program is only compiled.
REQUEST = struct.Struct(">dQQ")
#: `o` for JSON text, `c` or `r` for the message of an error while compiling or running; bytes of what follows.
ANSWER = struct.Struct(">cQ")


def main() -> None:
    """Serve requests until the other side closes the pipe. Arguments: most outputs, most bytes of memory and answer."""
    limit, memory, answer_bytes = map(int, sys.argv[1:4])
    _confine(memory)
    _compile(".", limit)  # load everything before saying that the process is ready
    serve(sys.stdin.buffer, sys.stdout.buffer, limit, answer_bytes)


def serve(requests: BinaryIO, answers: BinaryIO, limit: int, answer_bytes: int) -> None:
    """Answer one request after the other; an empty answer first says that the process is ready."""
    _write(answers, b"o", b"")
    while header := requests.read(REQUEST.size):
        seconds, program_size, input_size = REQUEST.unpack(header)
        program, document = requests.read(program_size).decode(), requests.read(input_size)
        # the default action of SIGALRM ends the process, also deep inside libjq and when the parent is gone
        signal.setitimer(signal.ITIMER_REAL, seconds)
        kind, answer = _run(program, document, limit)
        signal.setitimer(signal.ITIMER_REAL, 0)
        if len(answer) > answer_bytes:
            kind, answer = b"r", f"expected a result of at most {answer_bytes} bytes, found {len(answer)}".encode()
        _write(answers, kind, answer)


def _run(program: str, document: bytes, limit: int) -> tuple[bytes, bytes]:
    try:
        compiled = _compile(program, limit)
    except ValueError as error:
        return b"c", str(error).encode(errors="replace")
    if not document:
        return b"o", b""
    try:
        # tojson, because it keeps integers that a double cannot hold
        return b"o", str(compiled.input_text(document.decode()).first()).encode(errors="replace")
    except (ValueError, StopIteration) as error:
        return b"r", str(error).encode(errors="replace")


@lru_cache(maxsize=256)
def _compile(program: str, limit: int) -> Any:
    import jq  # not above: the parent imports this file for the layouts and has no use for libjq

    jq.compile(program)  # alone first: the wrapping below could make sense of text that makes none
    return jq.compile(f"[limit({limit + 1}; (\n{program}\n))] | tojson")


def _confine(memory: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides when to stop
    for limit, value in ((resource.RLIMIT_CORE, 0), (resource.RLIMIT_AS, memory)):
        try:
            resource.setrlimit(limit, (value, value))
        except (ValueError, OSError):
            continue  # not every system can limit the address space; the time limit holds everywhere


def _write(answers: BinaryIO, kind: bytes, answer: bytes) -> None:
    answers.write(ANSWER.pack(kind, len(answer)) + answer)
    answers.flush()


if __name__ == "__main__":
    main()
