"""Open a SQLite file for writing: private to its user, WAL, as durable as asked, migrated, and claimed by one process.

Only who holds the claim checkpoints (SQLite before 3.51.3 can corrupt its log otherwise), and only who holds it may
recover runs: of two engines over one file, each would take the live runs of the other for interrupted ones.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
import time
from pathlib import Path
from typing import Literal

from opcode_kernel.errors import ConflictError, StoreError
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


class WriterConnection(sqlite3.Connection):
    """The connection that writes. `claim` is the descriptor of the lock, or None for a guest beside the owner."""

    claim: int | None = None

    def close(self) -> None:
        """Fold the log into the database file, if that is ours to do, and close; what was written is durable before."""
        claim, self.claim = self.claim, None
        if claim is None:
            super().close()
            return
        try:
            self.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        finally:
            super().close()
            os.close(claim)


def open_writer(path: Path, durability: Durability, *, sole: bool = True) -> WriterConnection:
    """Open the connection that writes, creating what is missing; `sole` claims the file for this process.

    Raises:
        ConflictError: another process, or another store of this one, has claimed the file.
        StoreError: the file is not ours, or its file system cannot do what was asked.
        sqlite3.Error, OSError: it cannot be opened.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    claim = _claim(path) if sole else None
    try:
        connection = _open_migrated(path, durability, checkpoints=sole)
    except BaseException:
        if claim is not None:
            os.close(claim)
        raise
    connection.claim = claim
    return connection


def _claim(path: Path) -> int:
    """Lock a file of its own: closing any descriptor of the database would drop the locks that SQLite holds on it."""
    descriptor = os.open(f"{path.resolve()}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        raise ConflictError(
            f"another opcode uses the database {path}; stop that one, or name another database",
            details={"database": str(path)},
        ) from None
    return descriptor


def _open_migrated(path: Path, durability: Durability, *, checkpoints: bool) -> WriterConnection:
    _create_private(path)
    connection = sqlite3.connect(path, timeout=BUSY_TIMEOUT / 1000, isolation_level=None, factory=WriterConnection)
    try:
        # First, because all that follows would already change a file that is not ours.
        migrate(connection, now=time.time_ns() // 1000)
        path.chmod(0o600)
        _configure(connection, durability, checkpoints)
    except BaseException:
        connection.close()
        raise
    return connection


def _create_private(path: Path) -> None:
    """Create the file, never readable to others even for a moment; SQLite gives its companions the same mode.

    An existing file is not opened: closing it again would drop the locks of every connection in this process.
    """
    try:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
    except FileExistsError:
        pass


def _configure(connection: sqlite3.Connection, durability: Durability, checkpoints: bool) -> None:
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
    connection.execute(f"PRAGMA wal_autocheckpoint = {2000 if checkpoints else 0}")
    connection.execute("PRAGMA journal_size_limit = 67108864")
