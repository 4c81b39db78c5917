"""The one place that decides whether an action may touch a path (spec 02 section 12.2).

`PathGuard.reach` resolves a path to a place, an open directory and a name in it, judges the real path of that place
and the objects on the way, and hands the place out for use: what was judged is what is used.

Deny wins over allow, and names an object: a bind mount, a hard link or another spelling of it is denied as well.
OPCODE's own directory counts as denied, except for a writable path that names it or a place in it. What shows or leads
into a process is refused whatever the rules say.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from opcode_kernel.plugin.paths.place import Directory, Place
from opcode_kernel.plugin.paths.resolving import Unreachable, absolute_path, refuse, resolve
from opcode_kernel.plugin.paths.rules import Rule, rule_of
from opcode_kernel.plugin.paths.spelling import contains, folded
from opcode_kernel.plugin.paths.system import Identity, identity_of
from opcode_kernel.plugin.policy import PathRules

Access = Literal["read", "write"]
Objects = tuple[Identity | None, ...]

#: Memory, environment and descriptors of processes, and the links out of their view of the files.
_PROCESS = re.compile(
    r"/(?:\d+|self|thread-self)/(?:task/[^/]+/)?(?:environ|mem|auxv|fd|fdinfo|map_files|ns|root|cwd|exe)(?:/|$)"
    r"|/(?:kcore|kmsg)$"
)
_DESCRIPTORS = re.compile(r"/dev/fd(?:/|$)")


@dataclass(frozen=True, slots=True)
class PathGuard:
    """Path rules made ready for many checks; `of` takes them as they resolve now."""

    writable: tuple[str, ...]
    readable: tuple[str, ...]
    denied: tuple[str, ...]
    denied_objects: frozenset[Identity]
    data_dir: Rule | None
    #: Allowed paths, and every link that a rule leads through: whoever moves one of them changes what is allowed.
    kept: tuple[str, ...]
    kept_objects: frozenset[Identity]
    #: Whether any list of allowed paths was configured; without one everything not denied is allowed.
    restricted: bool
    #: A deny entry that cannot be resolved. Nobody knows what it was to protect, so everything is denied.
    unusable: str | None

    @classmethod
    def of(cls, rules: PathRules) -> PathGuard:
        """Make rules ready. An allow entry that cannot be resolved is skipped, it allows nothing."""
        own = () if rules.data_dir is None else (rules.data_dir,)
        entries = (*rules.writable, *rules.read_only, *rules.deny, *own)
        return _ready(rules, tuple(map(rule_of, entries)))

    @property
    def has_rules(self) -> bool:
        """Whether the operator named any path, allowed or denied."""
        return self.restricted or bool(self.denied)

    def reach(self, access: Access, path: str, *, follow: bool = True) -> Place:
        """Return the place that a path means, open and judged; use it as a context, which closes it.

        Without `follow` a final link is not followed: for operations on the name itself, such as delete and rename.

        Raises:
            ActionError: `PATH_DENIED`, with the path and the reason in the details.
            OSError: where the system does not let this process get there.
        """
        return self._reach(access, absolute_path(path), follow=follow)

    def check_link(self, directory: str, text: str) -> None:
        """Refuse a link in a directory (a real path, there or not) that leads where nothing may be read.

        Raises:
            ActionError: `PATH_DENIED`.
            OSError: where the system does not let this process get there.
        """
        self._reach("read", text if text.startswith("/") else f"{directory}/{text}", follow=True).close()

    def _reach(self, access: Access, path: str, *, follow: bool) -> Place:
        try:
            place = resolve(path, follow=follow)
        except Unreachable as end:
            # The answer must not depend on what exists where nothing may be looked at.
            self.check_path(access, end.path, end.objects)
            raise end.error from None
        try:
            self.check(access, place)
        except BaseException:
            place.close()
            raise
        return place

    def enter(self, access: Access, place: Place) -> Directory:
        """Open the directory at a place and judge what was opened; the caller closes it.

        Raises:
            ActionError: `PATH_DENIED`.
            OSError: where there is no directory; a link to one is none.
        """
        directory = place.enter()
        try:
            if reason := self._refusal(access, directory, directory.path, directory.objects):
                refuse(directory.path, access, reason)
        except BaseException:
            directory.close()
            raise
        return directory

    def check(self, access: Access, place: Place, info: os.stat_result | None = None) -> None:
        """Refuse a place, judged by what was seen there or by `info`: the status of what was opened there."""
        path, objects = place.path, _objects(place, info or place.info)
        if reason := self._refusal(access, place.directory, path, objects):
            refuse(path, access, reason)

    def check_path(self, access: Access, path: str, objects: Objects = ()) -> None:
        """Refuse a real path where nothing is yet, below directories that are `objects`."""
        if reason := self._refusal(access, None, path, objects):
            refuse(path, access, reason)

    def allows(self, access: Access, place: Place) -> bool:
        """Tell whether a place may be used."""
        return self._refusal(access, place.directory, place.path, _objects(place, place.info)) is None

    def keeps(self, path: str, info: os.stat_result | None = None) -> bool:
        """Tell whether a real path is, or holds, what the rules are spelled by: an allowed path or a link to one.

        It must not be moved, deleted or become a link: that would change what the rules mean. `info` says what is there.
        """
        if info is not None and identity_of(info) in self.kept_objects:
            return True
        path = folded(path)
        return any(contains(path, kept) for kept in self.kept)

    def holds(self, path: str) -> bool:
        """Tell whether a rule is about something below a real path, there or not.

        No directory and no link must get such a name: what it leads to was judged under another, and who has it open
        goes on to be.
        """
        path = folded(path)
        own = () if self.data_dir is None else (folded(self.data_dir.path),)
        return any(contains(path, named) and path != named for named in (*self.denied, *self.kept, *own))

    def _refusal(self, access: Access, directory: Directory | None, path: str, objects: Objects) -> str | None:
        if self.unusable is not None:
            return f"the deny entry {self.unusable!r} cannot be resolved, so everything is denied; mend fs.deny_paths"
        of_processes = path.startswith("/proc/") or (directory is not None and directory.shows_processes)
        if (of_processes and _PROCESS.search(path)) or _DESCRIPTORS.match(path):
            return "it shows or leads into a process: its memory, environment, descriptors or view of the files"
        spelled = folded(path)
        if any(contains(root, spelled) for root in self.denied) or not self.denied_objects.isdisjoint(objects):
            return "it is under a path listed in fs.deny_paths"
        if self._is_own(path, spelled, objects):
            return "it is in OPCODE's own directory; only an entry of fs.writable_paths that names it opens it"
        allowed = self.writable if access == "write" else self.readable
        if self.restricted and not any(contains(root, path) for root in allowed):
            more = "" if access == "write" else " or fs.read_only_paths"
            return f"it is outside the allowed paths; add it to fs.writable_paths{more}"
        return None

    def _is_own(self, path: str, spelled: str, objects: Objects) -> bool:
        own = self.data_dir
        if own is None or not (contains(folded(own.path), spelled) or (own.object and own.object in objects)):
            return False
        return not any(contains(own.path, root) and contains(root, path) for root in self.writable)


@lru_cache(maxsize=64)
def _ready(rules: PathRules, resolved: tuple[Rule | None, ...]) -> PathGuard:
    after_writable = len(rules.writable)
    after_allowed = after_writable + len(rules.read_only)
    protected = resolved[after_allowed:]
    allowed = [rule for rule in resolved[:after_allowed] if rule]
    denied = [rule for rule in protected[: len(rules.deny)] if rule]
    links = [link for rule in resolved if rule for link in rule.links]
    named = (*rules.deny, rules.data_dir)
    return PathGuard(
        writable=tuple(rule.path for rule in resolved[:after_writable] if rule),
        readable=tuple(rule.path for rule in allowed),
        denied=tuple(folded(rule.path) for rule in denied),
        denied_objects=frozenset(rule.object for rule in denied if rule.object),
        data_dir=None if rules.data_dir is None else protected[-1],
        kept=tuple(folded(path) for path in (*(rule.path for rule in allowed), *links)),
        kept_objects=frozenset(rule.object for rule in allowed if rule.object and rule.is_dir),
        restricted=bool(rules.writable or rules.read_only),
        unusable=next((entry for entry, rule in zip(named, protected, strict=False) if rule is None), None),
    )


def _objects(place: Place, info: os.stat_result | None) -> Objects:
    above = place.directory.objects
    return above if info is None else (*above, identity_of(info))
