"""Rules for actions that touch the machine: which paths, which addresses, which environment.

The rules are settings of the operator, never of a workflow. Actions ask; the checks themselves are in
`path_policy` and `host_policy`, so that every plugin refuses the same things in the same words.
"""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class PathRules:
    """Path lists of spec 02 section 12.2. `data_dir` (OPCODE's own) is denied unless a writable path names it."""

    writable: tuple[str, ...] = ()
    read_only: tuple[str, ...] = ()
    deny: tuple[str, ...] = ()
    data_dir: str | None = None
    max_read_bytes: int = 52_428_800


@dataclass(frozen=True, slots=True)
class HostRules:
    """Egress rules of spec 02 section 2: `standard`, `public` or `open`, with explicit host lists.

    `own_addresses` are (host, port) pairs the daemon itself listens on; they are refused unless egress is `open`.
    """

    egress: str = "standard"
    allow: tuple[str, ...] = ()
    deny: tuple[str, ...] = ()
    own_addresses: tuple[tuple[str, int], ...] = ()
    timeout: float = 30.0
    max_response_bytes: int = 10_485_760


@dataclass(frozen=True, slots=True)
class ShellRules:
    """Rules for child processes. Every `OPCODE_*` variable is removed, whatever `env_deny` says."""

    enabled: bool = True
    timeout: float = 30.0
    max_output_bytes: int = 10_485_760
    env_deny: tuple[str, ...] = ()
    allow_commands: tuple[str, ...] = ()
    limits: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Policy:
    """Everything the operator decided about what actions may touch."""

    paths: PathRules = PathRules()
    hosts: HostRules = HostRules()
    shell: ShellRules = ShellRules()
