"""From the operator's policy to what a command may use and reach."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from opcode_kernel.errors import ActionError
from opcode_kernel.isolation.rules import PathAccess, ProcessLimits
from opcode_kernel.plugin.paths.guard import PathGuard
from opcode_kernel.plugin.paths.spelling import contains
from opcode_kernel.plugin.policy import PathRules, Policy


def process_limits(policy: Policy) -> ProcessLimits:
    """Return what the operator lets a command use and reach.

    Raises:
        ActionError: see `path_access`.
    """
    return replace(policy.isolation.limits, paths=path_access(policy.paths))


def path_access(rules: PathRules) -> PathAccess | None:
    """Return what a command may reach, or None where the rules leave everything open.

    Raises:
        ActionError: `PATH_DENIED` for a deny entry that cannot be resolved: it denies everything.
    """
    guard = PathGuard.of(rules)
    if guard.unusable is not None:
        raise ActionError(
            "PATH_DENIED", f"the deny entry {guard.unusable!r} cannot be resolved, so everything is denied; mend"
            " fs.deny_paths",
        )  # fmt: skip
    covered = [*guard.denied]
    if guard.data_dir is not None:
        own = guard.data_dir.path
        covered += _around(own, [path for path in guard.writable if contains(own, path)])
    if not guard.restricted and not covered:
        return None
    read_only = tuple(path for path in guard.readable if path not in guard.writable)
    return PathAccess(guard.writable, read_only, tuple(covered), guard.restricted, denies=bool(guard.denied))


def _around(path: str, opened: list[str]) -> Iterator[str]:
    """Yield what there is to cover so that nothing below `path` stays open but the places in `opened`."""
    if not opened:
        yield path
    elif path not in opened:
        try:
            entries = sorted(str(entry) for entry in Path(path).iterdir())
        except OSError:
            return
        for below in entries:
            yield from _around(below, [each for each in opened if contains(below, each)])
