"""Changing `settings.json`: one writer at a time, all of it or nothing, and nothing of it lost that is not understood."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from opcode_kernel.errors import Json, OpcodeError
from opcode_kernel.server.settings import read_file


def change_settings(file: Path, change: Callable[[dict[str, Json]], None]) -> None:
    """Read the object of a settings file, let `change` alter it, and write it back, readable by its owner only.

    A link to the file stays a link. What `change` raises leaves the file as it was.

    Raises:
        SettingsError: the file is malformed; it is left alone.
        OpcodeError: it cannot be written.
    """
    file = file.resolve()
    try:
        with _locked(file.parent):
            content = read_file(file)
            change(content)
            _replace(file, json.dumps(content, indent=2) + "\n")
    except OSError as error:
        raise OpcodeError(f"{file} cannot be written: {error.strerror}", code="STORE_ERROR") from error


@contextmanager
def _locked(directory: Path) -> Iterator[None]:
    descriptor = os.open(directory, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _replace(file: Path, text: str) -> None:
    fresh = file.with_suffix(".json.new")
    try:
        fresh.unlink(missing_ok=True)  # one that a killed command left may be a link, or open to others
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as out:
            out.write(text)
            out.flush()
            os.fsync(descriptor)
        fresh.replace(file)
    except OSError:
        with suppress(OSError):
            fresh.unlink()
        raise
