"""The one place that decides whether an action may touch a path (spec 02 section 12.2).

A path is made absolute, cleaned and freed of links, the final component included; the result is compared with the
rules by whole components, and the result is what the caller must open. So a check says something about the object
that is used, up to a swap in the moment between: open with `O_NOFOLLOW`.

Deny wins over allow. OPCODE's own directory counts as denied, except for a writable path that names it or a place in it.
Pseudo-files that show the memory or the environment of a process are refused whatever the rules say.
"""

from __future__ import annotations

import os
import re
import stat
import sys
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn, Self

from opcode_kernel.errors import ActionError
from opcode_kernel.plugin.policy import PathRules

_PROCESS_SECRETS = re.compile(r"/proc/(?:[^/]+/(?:task/[^/]+/)?(?:environ|mem)|kcore)$")

#: The usual file systems of macOS find a file whatever the case and the composition of the letters in its name.
_ANY_SPELLING = sys.platform == "darwin"


def resolve_read(rules: PathRules, path: str) -> Path:
    """Return the absolute, link-free path to open for reading.

    Raises:
        ActionError: `PATH_DENIED`, with the path and the reason in the details.
    """
    return PathGuard.of(rules).read(path)


def resolve_write(rules: PathRules, path: str) -> Path:
    """Return the absolute, link-free path to open for writing; it need not exist yet.

    Raises:
        ActionError: `PATH_DENIED`, with the path and the reason in the details.
    """
    return PathGuard.of(rules).write(path)


@dataclass(frozen=True, slots=True)
class PathGuard:
    """Path rules made ready for many checks: `of` resolves the configured paths once.

    `read`, `write` and `entry` take a path as a workflow gave it and resolve it. `check_read`, `check_write` and
    `may_read` take a path that is resolved already, such as an entry met on a walk below a resolved directory.
    """

    writable: tuple[str, ...]
    read_only: tuple[str, ...]
    deny: tuple[str, ...]
    data_dir: str | None
    #: Whether any list of allowed paths was configured; without one everything not denied is allowed.
    restricted: bool
    #: A deny entry that cannot be resolved. Nobody knows what it was to protect, so everything is denied.
    unusable: str | None = None

    @classmethod
    def of(cls, rules: PathRules) -> Self:
        """Resolve the rules. An allow entry that cannot be resolved is skipped, it allows nothing."""
        data_dir = None if rules.data_dir is None else _resolved_rule(rules.data_dir)
        protected = (*rules.deny, *(() if rules.data_dir is None else (rules.data_dir,)))
        return cls(
            _usable(rules.writable),
            _usable(rules.read_only),
            _usable(rules.deny),
            data_dir,
            restricted=bool(rules.writable or rules.read_only),
            unusable=next((entry for entry in protected if _resolved_rule(entry) is None), None),
        )

    def read(self, path: str) -> Path:
        """Resolve a path, links followed, and check it for reading."""
        resolved = _resolve(path)
        self.check_read(resolved)
        return resolved

    def write(self, path: str) -> Path:
        """Resolve a path, links followed, and check it for writing."""
        resolved = _resolve(path)
        self.check_write(resolved)
        return resolved

    def entry(self, path: str) -> Path:
        """Resolve the directory of a path and check the name in it for writing, without following a final link.

        For operations that act on the name itself: delete, rename.
        """
        absolute = absolute_path(path)
        parent, name = os.path.split(absolute)
        resolved = _resolve(parent) / name
        self.check_write(resolved)
        return resolved

    def check_read(self, resolved: Path) -> None:
        """Refuse a resolved path that may not be read."""
        if reason := self._refusal(str(resolved), (*self.read_only, *self.writable)):
            _refuse(str(resolved), "read", reason)

    def check_write(self, resolved: Path) -> None:
        """Refuse a resolved path that may not be written, created, renamed or deleted."""
        if reason := self._refusal(str(resolved), self.writable):
            _refuse(str(resolved), "write", reason)

    def may_read(self, resolved: Path) -> bool:
        """Tell whether a resolved path may be read."""
        return self._refusal(str(resolved), (*self.read_only, *self.writable)) is None

    @property
    def roots(self) -> tuple[str, ...]:
        """The resolved paths that were allowed by name; they are not for deleting."""
        return (*self.writable, *self.read_only)

    def _refusal(self, path: str, allowed: tuple[str, ...]) -> str | None:
        if self.unusable is not None:
            return f"the deny entry {self.unusable!r} cannot be resolved, so everything is denied; mend fs.deny_paths"
        if _PROCESS_SECRETS.search(path):
            return "it shows the memory or the environment of a process"
        folded = _folded(path)
        if any(contains(_folded(root), folded) for root in self.deny):
            return "it is under a path listed in fs.deny_paths"
        data_dir = self.data_dir
        if (
            data_dir is not None
            and contains(_folded(data_dir), folded)
            and not any(contains(data_dir, root) and contains(root, path) for root in self.writable)
        ):
            return "it is in OPCODE's own directory; only an entry of fs.writable_paths that names it opens it"
        if self.restricted and not any(contains(root, path) for root in allowed):
            return "it is outside the allowed paths; add it to fs.writable_paths or fs.read_only_paths"
        return None


def _folded(path: str) -> str:
    """Return the form in which protected places are compared."""
    if not _ANY_SPELLING:
        return path
    return unicodedata.normalize("NFD", unicodedata.normalize("NFD", path).casefold())


def contains(root: str, path: str) -> bool:
    """Tell whether `path` is `root` or below it, by whole components; both must be resolved.

    >>> contains("/srv/a", "/srv/a/..x"), contains("/srv/a", "/srv/ab"), contains("/", "/srv")
    (True, False, True)
    """
    return path == root or path.startswith(root if root.endswith("/") else f"{root}/")


def absolute_path(path: str) -> str:
    """Return the absolute, cleaned form of a path, links not resolved: the form that actions answer with.

    Raises:
        ActionError: `PATH_DENIED` for a NUL character or text that no file name can hold.
    """
    if "\0" in path:
        _refuse(path, "use", "it contains a NUL character")
    try:
        path.encode()
    except UnicodeEncodeError:
        _refuse(path.encode(errors="replace").decode(), "use", "it contains a lone surrogate")
    # POSIX lets two leading slashes mean something else, and so normpath keeps them; here they mean one.
    return "/" + os.path.abspath(path).lstrip("/")  # noqa: PTH100


def _resolve(path: str) -> Path:
    absolute = absolute_path(path)
    resolved = "/" + os.path.realpath(absolute).lstrip("/")
    if trouble := _leftover_link(resolved):
        _refuse(absolute, "use", trouble)
    return Path(resolved)


def _leftover_link(resolved: str) -> str | None:
    """Look for what `realpath` gives up on without a word: link loops, and names it could not look at."""
    current = ""
    for part in resolved.split("/")[1:]:
        current = f"{current}/{part}"
        try:
            mode = os.lstat(current).st_mode
        except (FileNotFoundError, NotADirectoryError, PermissionError):
            return None  # nothing below can be reached, and opening it will say so
        except OSError as error:
            return f"it cannot be resolved: {(error.strerror or str(error)).lower()}"
        if stat.S_ISLNK(mode):
            return "it leads through a link that leads back to itself or was just changed"
    return None


def _usable(entries: Iterable[str]) -> tuple[str, ...]:
    return tuple(resolved for entry in entries if (resolved := _resolved_rule(entry)) is not None)


def _resolved_rule(entry: str) -> str | None:
    expanded = os.path.expanduser(entry)  # noqa: PTH111
    if not expanded or expanded.startswith("~"):
        return None
    try:
        return str(_resolve(expanded))
    except ActionError:
        return None


def _refuse(path: str, verb: str, reason: str) -> NoReturn:
    shown = path.replace("\0", "\\0")
    raise ActionError(
        "PATH_DENIED", f"may not {verb} {shown}: {reason}", retryable=False, details={"path": shown, "reason": reason}
    )
