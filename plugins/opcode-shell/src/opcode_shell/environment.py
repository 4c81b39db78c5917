"""The variables a child sees: what it inherits, what is added, what it never gets."""

from __future__ import annotations

import os
from collections.abc import Mapping
from fnmatch import fnmatchcase

from opcode_kernel import ActionError

#: What `inherit_env: false` leaves.
_MINIMAL = ("PATH", "HOME", "LANG", "LC_*", "TZ", "TMPDIR")

#: OPCODE's own variables are not inherited; the vault's cannot even be given.
_OWN = "OPCODE_"
_VAULT = "OPCODE_VAULT"


def child_environment(
    daemon: Mapping[str, str], *, inherit: bool | list[str], added: Mapping[str, str], deny: tuple[str, ...]
) -> dict[str, str]:
    """Return the environment of a child.

    Inherited `OPCODE_*` variables are dropped, and whatever matches `deny` is dropped even if it was added: the
    operator's word is the last one. An added `OPCODE_*` variable is kept unless it is one of the vault's.

    Raises:
        ActionError: `VALIDATION_ERROR` for a name or value that no environment can hold.
    """
    for name, value in added.items():
        if not name or "=" in name or "\0" in name or "\0" in value:
            raise ActionError(
                "VALIDATION_ERROR",
                f"env: expected names without = and values without NUL, found a bad one at {name[:40]!r}",
            )
    wanted = ("*",) if inherit is True else _MINIMAL if inherit is False else tuple(inherit)
    exact = not isinstance(inherit, bool)
    inherited = {
        name: value
        for name, value in daemon.items()
        if not name.upper().startswith(_OWN) and (name in wanted if exact else _matches(name, wanted))
    }
    allowed = {name: value for name, value in added.items() if not name.upper().startswith(_VAULT)}
    return {name: value for name, value in {**inherited, **allowed}.items() if not _matches(name, deny)}


def search_path(environment: Mapping[str, str]) -> list[str]:
    """Return the directories in which a name is looked up: absolute ones only, never the current directory."""
    return [entry for entry in environment.get("PATH", os.defpath).split(os.pathsep) if entry.startswith("/")]


def _matches(name: str, patterns: tuple[str, ...]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)
