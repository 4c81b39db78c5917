"""Open a SQLite file for writing: private to its owner, WAL, as durable as asked, migrated."""

from __future__ import annotations

import os
import sqlite3
import time
from pathlib import Path
from typing import Literal

from opcode_kernel.errors import StoreError
from opcode_kernel.store.migrations import migrate

Durability = Literal["full", "normal"]

#: How long to wait for another process that holds the file, in milliseconds.
BUSY_TIMEOUT = 5000
_LEVELS = {"full": 2, "normal": 1}


def locate(location: str | Path) -> Path:
    """Return the file that a path or a `sqlite://` URL names.

    Raises:
        StoreError: another database is named, or none that is a file.
    """
    text = str(location)
    scheme, separator, rest = text.partition("://")
    if separator and scheme != "sqlite":
        raise StoreError(f"expected a path or sqlite:///path, found a {scheme}:// URL", retryable=False)
    path = rest if separator else text
    if not path or path.startswith((":memory:", "file:")) or "?" in path or "\0" in path:
        raise StoreError(
            f"expected the path of a database file, found {text!r}; MemoryStore needs none", retryable=False
        )
    return Path(path)


def open_writer(path: Path, durability: Durability) -> sqlite3.Connection:
    """Open the connection that writes, creating what is missing.

    Raises:
        StoreError: the file is not ours, or its file system cannot do what was asked.
        sqlite3.Error, OSError: it cannot be opened.
    """
    _create_private(path)
    connection = sqlite3.connect(path, timeout=BUSY_TIMEOUT / 1000, isolation_level=None)
    try:
        # First, because all that follows would already change a file that is not ours.
        migrate(connection, now=time.time_ns() // 1000)
        path.chmod(0o600)
        _configure(connection, durability)
    except BaseException:
        connection.close()
        raise
    return connection


def _create_private(path: Path) -> None:
    """Create the file, never readable to others even for a moment; SQLite gives its companions the same mode.

    An existing file is not opened: closing it again would drop the locks of every connection in this process.
    """
    if not path.parent.exists():
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
    except FileExistsError:
        pass


def _configure(connection: sqlite3.Connection, durability: Durability) -> None:
    (mode,) = connection.execute("PRAGMA journal_mode = WAL").fetchone()
    if mode != "wal":
        raise StoreError(
            f"expected a file system that allows write-ahead logging, found journal mode {mode}; use a local disk",
            retryable=False,
        )
    level = _LEVELS[durability]
    connection.execute(f"PRAGMA synchronous = {level}")
    if connection.execute("PRAGMA synchronous").fetchone() != (level,):
        raise StoreError(f"the database does not accept durability {durability}", retryable=False)
    if durability == "full":
        # Where an ordinary sync stops at the cache of the drive (macOS); without effect elsewhere.
        connection.execute("PRAGMA fullfsync = ON")
        connection.execute("PRAGMA checkpoint_fullfsync = ON")
    connection.execute("PRAGMA temp_store = MEMORY")
    connection.execute("PRAGMA cache_size = -20000")
    connection.execute("PRAGMA wal_autocheckpoint = 2000")
    connection.execute("PRAGMA journal_size_limit = 67108864")
