"""What `fs.list` and `fs.stat` say about entries."""

from __future__ import annotations

import errno
import os
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path

from opcode_fs.failures import os_errors, shown
from opcode_fs.glob import compile_glob
from opcode_fs.tree import Entry, walk
from opcode_kernel import Json, PathGuard

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def timestamp(info: os.stat_result) -> str:
    """Return the modification time as RFC 3339, UTC, whole seconds; times no calendar holds become its ends."""
    seconds = info.st_mtime_ns // 1_000_000_000
    try:
        return (_EPOCH + timedelta(seconds=seconds)).isoformat().replace("+00:00", "Z")
    except OverflowError:
        return "0001-01-01T00:00:00Z" if seconds < 0 else "9999-12-31T23:59:59Z"


def list_entries(
    root: Path, absolute: str, guard: PathGuard, *, pattern: str, recursive: bool, limit: int
) -> dict[str, Json]:
    """List a resolved directory under its given name; entries that may not be read are left out.

    A pattern with a slash goes down as far as it says, also without `recursive`.
    """
    glob = compile_glob(pattern) if pattern else None
    levels = 1 if glob is None or not glob.by_path else glob.depth
    errors: list[Json] = []

    def below(path: Path) -> str:
        return shown(Path(absolute) / path.relative_to(root))

    def note(path: Path, error: OSError) -> None:
        number = error.errno or errno.EIO
        name = errno.errorcode.get(number, str(number))
        errors.append({"path": below(path), "message": os.strerror(number).lower(), "errno": name})

    found = (
        entry
        for entry in walk(
            root,
            visible=lambda entry: guard.may_read(entry.path),
            descend=lambda entry: recursive or levels is None or entry.depth < levels,
            unreadable=note,
        )
        if glob is None or glob.matches(entry.relative)
    )
    with os_errors("list", absolute):
        kept = list(islice(found, limit))
        truncated = len(kept) == limit and next(found, None) is not None
    entries = [_describe(entry, below(entry.path)) for entry in kept]
    return {"path": shown(absolute), "entries": entries, "truncated": truncated, "errors": errors}


def _describe(entry: Entry, path: str) -> dict[str, Json]:
    return {
        "name": shown(entry.path.name),
        "path": path,
        "size": entry.info.st_size,
        "modified_at": timestamp(entry.info),
        "is_dir": entry.is_dir,
        "is_symlink": entry.is_link,
    }
