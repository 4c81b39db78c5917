"""What `fs.list` and `fs.stat` say about entries."""

from __future__ import annotations

import errno
import heapq
import os
import stat
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import islice

from opcode_fs.failures import shown
from opcode_fs.glob import Glob, compile_glob
from opcode_fs.tree import Budget, Entry, look, walk
from opcode_kernel import Directory, Json, PathGuard, PathRules

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def timestamp(info: os.stat_result) -> str:
    """Return the modification time as RFC 3339, UTC, whole seconds; times no calendar holds become its ends."""
    seconds = info.st_mtime_ns // 1_000_000_000
    try:
        return (_EPOCH + timedelta(seconds=seconds)).isoformat().replace("+00:00", "Z")
    except OverflowError:
        return "0001-01-01T00:00:00Z" if seconds < 0 else "9999-12-31T23:59:59Z"


class Listing:
    """Lists a directory under the name it was given; entries that the rules hide are left out."""

    def __init__(self, guard: PathGuard, rules: PathRules, root: Directory, absolute: str) -> None:
        self._guard = guard
        self._rules = rules
        self._root = root
        self._absolute = absolute
        self._errors: list[Json] = []

    def answer(self, *, pattern: str, recursive: bool, limit: int) -> dict[str, Json]:
        """Return the output of `fs.list`. A pattern with a slash goes down as far as it says, also without `recursive`."""
        glob = compile_glob(pattern) if pattern else None
        levels = None if recursive else 1 if glob is None or not glob.by_path else glob.depth
        found = self._first(glob, limit + 1) if levels == 1 else self._below(glob, levels)
        kept = [self._describe(entry) for entry in islice(found, limit)]
        truncated = len(kept) == limit and next(found, None) is not None
        return {"path": shown(self._absolute), "entries": kept, "truncated": truncated, "errors": self._errors}

    def _first(self, glob: Glob | None, count: int) -> Iterator[Entry]:
        """Yield the first entries of the directory alone, however many there are, without keeping all of them."""
        kinds = (each for each in self._root.kinds() if glob is None or glob.matches(each[0]))
        return iter(heapq.nsmallest(count, self._looked_at(kinds), key=lambda entry: entry.relative))

    def _looked_at(self, kinds: Iterator[tuple[str, int]]) -> Iterator[Entry]:
        for name, kind in kinds:
            entry = look(self._root, "", name, kind)
            if entry is not None and self._guard.allows("read", entry.place):
                yield entry

    def _below(self, glob: Glob | None, levels: int | None) -> Iterator[Entry]:
        entries = walk(
            self._guard,
            self._root,
            Budget(self._rules, self._absolute),
            admit=lambda place: self._guard.allows("read", place),
            descend=lambda entry: levels is None or entry.depth < levels,
            unreadable=self._note,
        )
        return (entry for entry in entries if glob is None or glob.matches(entry.relative))

    def _note(self, entry: Entry, error: OSError) -> None:
        number = error.errno or errno.EIO
        name = errno.errorcode.get(number, str(number))
        self._errors.append({"path": self._path(entry), "message": os.strerror(number).lower(), "errno": name})

    def _path(self, entry: Entry) -> str:
        return shown(f"{self._absolute if self._absolute != '/' else ''}/{entry.relative}")

    def _describe(self, entry: Entry) -> dict[str, Json]:
        return {
            "name": shown(entry.place.name),
            "path": self._path(entry),
            "size": entry.info.st_size if entry.seen else None,
            "modified_at": timestamp(entry.info) if entry.seen else None,
            "is_dir": stat.S_ISDIR(entry.info.st_mode),
            "is_symlink": stat.S_ISLNK(entry.info.st_mode),
        }
