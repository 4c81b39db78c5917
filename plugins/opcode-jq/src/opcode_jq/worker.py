"""The child process that runs libjq. It has no environment, no files, bounded memory, and a timer it cannot outlive.

Run by path, not as a module of the package, so that it starts in some 30 ms: it may import nothing but the standard
library and `jq`. Both directions are frames; the layouts are in `REQUEST` and `ANSWER`.
"""

from __future__ import annotations

import re
import resource
import signal
import struct
import sys
from collections.abc import Callable
from functools import lru_cache
from typing import Any, BinaryIO

#: Seconds, bytes of program, bytes of input; both texts follow. Without input the program is only compiled.
REQUEST = struct.Struct(">dQQ")
#: `o` for JSON text, `c` or `r` for the message of an error while compiling or running; bytes of what follows.
ANSWER = struct.Struct(">cQ")
#: Programs longer than this are kept in small number: the longest take megabytes.
_LONG = 1000
_TEXTS = re.compile(rb'"(?:[^"\\]++|\\.)*+"')


def main() -> None:
    """Serve requests until the other side closes the pipe.

    Arguments: most outputs, most bytes of memory, most bytes and most values of an answer.
    """
    limit, memory, answer_bytes, values = map(int, sys.argv[1:5])
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides when to stop
    compile_program = _compiler(limit)
    compile_program(".")  # load everything before saying that the process is ready, and before files are out of reach
    _confine(memory)
    serve(sys.stdin.buffer, sys.stdout.buffer, compile_program, answer_bytes, values)


def serve(
    requests: BinaryIO, answers: BinaryIO, compile_program: Callable[[str], Any], answer_bytes: int, values: int
) -> None:
    """Answer one request after the other; an empty answer first says that the process is ready."""
    _write(answers, b"o", b"")
    while header := requests.read(REQUEST.size):
        seconds, program_size, input_size = REQUEST.unpack(header)
        program, document = requests.read(program_size).decode(), requests.read(input_size)
        # the default action of SIGALRM ends the process, also deep inside libjq and when the parent is gone
        signal.setitimer(signal.ITIMER_REAL, seconds)
        kind, answer = _run(compile_program, program, document)
        if problem := _excess(answer, answer_bytes, values):
            kind, answer = b"r", problem
        signal.setitimer(signal.ITIMER_REAL, 0)
        _write(answers, kind, answer)


def _run(compile_program: Callable[[str], Any], program: str, document: bytes) -> tuple[bytes, bytes]:
    try:
        compiled = compile_program(program)
    except ValueError as error:
        return b"c", str(error).encode(errors="replace")
    if not document:
        return b"o", b""
    try:
        # tojson, because it keeps integers that a double cannot hold
        return b"o", str(compiled.input_text(document.decode()).first()).encode(errors="replace")
    except (ValueError, StopIteration) as error:
        return b"r", str(error).encode(errors="replace")


def _compiler(limit: int) -> Callable[[str], Any]:
    """Return a cached way to compile a program for at most this many outputs, plus one that shows there are more."""
    import jq  # not above: the parent imports this file for the layouts and has no use for libjq

    def compile_program(program: str) -> Any:
        jq.compile(program)  # alone first: the wrapping below could make sense of text that makes none
        return jq.compile(f"[limit({limit + 1}; (\n{program}\n))] | tojson")

    short, long = lru_cache(maxsize=256)(compile_program), lru_cache(maxsize=4)(compile_program)
    return lambda program: (short if len(program) <= _LONG else long)(program)


def _excess(answer: bytes, most_bytes: int, most_values: int) -> bytes:
    """Say what there is too much of in an answer; nothing when it is small enough to be read quickly by the parent."""
    if len(answer) > most_bytes:
        return f"expected a result of at most {most_bytes} bytes, found {len(answer)}".encode()
    if len(answer) > most_values:  # each value takes a byte at least
        bare = _TEXTS.sub(b"", answer)
        values = bare.count(b",") + bare.count(b"[") + bare.count(b"{")
        if values > most_values:
            return f"expected a result of at most {most_values} values, found {values}".encode()
    return b""


def _confine(memory: int) -> None:
    """Give up what libjq has no use for: core files, children, files to open or to grow, memory without end."""
    limits = {"RLIMIT_CORE": 0, "RLIMIT_NPROC": 0, "RLIMIT_FSIZE": 0, "RLIMIT_NOFILE": 3, "RLIMIT_AS": memory}
    for name, value in limits.items():
        try:
            limit = getattr(resource, name)
            resource.setrlimit(limit, (value, value))
        except (AttributeError, ValueError, OSError):
            continue  # not every system has each; the screening and the time limit hold everywhere


def _write(answers: BinaryIO, kind: bytes, answer: bytes) -> None:
    answers.write(ANSWER.pack(kind, len(answer)) + answer)
    answers.flush()


if __name__ == "__main__":
    main()
