"""Starting the program of a server: which one, and with what environment."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from dataclasses import replace
from fnmatch import fnmatchcase
from pathlib import Path

from opcode_kernel import PIPE, Child, ExternalPlugin, ProviderHost, process_limits
from opcode_mcp_bridge.failures import StartError

#: What a server inherits; everything else it is given in `env`.
_INHERITED = ("PATH", "HOME", "USER", "LOGNAME", "LANG", "LC_*", "TZ", "TMPDIR")


async def environment_of(plugin: ExternalPlugin, host: ProviderHost, inherited: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of a server, with the secrets that `env` names.

    Raises:
        ActionError: `INTERPOLATION_ERROR`, a secret cannot be had.
    """
    deny = host.policy.shell.env_deny
    base = {
        name: value
        for name, value in inherited.items()
        if _matches(name, _INHERITED) and not _matches(name, deny) and not name.upper().startswith("OPCODE_")
    }
    return base | {name: await host.reveal(plugin, text) for name, text in plugin.env.items()}


def program_of(plugin: ExternalPlugin, environment: Mapping[str, str]) -> tuple[str, ...]:
    """Return the command line of a server, its program as an absolute path.

    Raises:
        StartError: there is no such program; starting again cannot help.
    """
    command = os.path.expanduser(plugin.command or "")  # noqa: PTH111
    found = shutil.which(command, path=environment.get("PATH", os.defpath))
    if found is None:
        raise StartError(f"expected a program called {command!r} in PATH or at that path, found none", final=True)
    return (str(Path(found).absolute()), *plugin.args)


async def start(plugin: ExternalPlugin, host: ProviderHost, inherited: Mapping[str, str]) -> Child:
    """Start the program of a server.

    Raises:
        StartError: it cannot be started; starting again cannot help.
        ActionError: a secret cannot be had, or the program cannot be limited as the settings ask.
    """
    environment = await environment_of(plugin, host, inherited)
    argv, cwd = program_of(plugin, environment), plugin.cwd or str(Path.cwd())
    try:
        # The limit on processor time is meant for commands that do one thing and end.
        limits = replace(process_limits(host.policy), max_cpu_seconds=None)
        return await host.launcher.spawn(
            argv, cwd=cwd, env=environment, stdin=PIPE, stdout=PIPE, stderr=PIPE, limits=limits
        )
    except OSError as error:
        raise StartError(f"cannot start {argv[0]} in {cwd}: {error.strerror or error}", final=True) from None


def _matches(name: str, patterns: tuple[str, ...]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)
