"""Rules for actions that touch the machine: which paths, which addresses, which environment.

The rules are settings of the operator, never of a workflow. Actions ask; the checks themselves are in
`paths` and `host_policy`, so that every plugin refuses the same things in the same words.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from opcode_kernel.isolation.rules import AUTO, IsolationRules


@dataclass(frozen=True, slots=True)
class PathRules:
    """Path lists of spec 02 section 12.2, and how much one file action covers.

    `data_dir` (OPCODE's own) is denied unless a writable path names it. The limits of trees hold for actions that go
    through a directory with all it holds.
    """

    writable: tuple[str, ...] = ()
    read_only: tuple[str, ...] = ()
    deny: tuple[str, ...] = ()
    data_dir: str | None = None
    max_read_bytes: int = 52_428_800
    max_list_entries: int = 10_000
    max_tree_entries: int = 100_000
    max_tree_bytes: int = 1_073_741_824


class BoundSecret(NamedTuple):
    """A secret that may be sent to `hosts` alone: names, addresses, or `*.` and a suffix."""

    name: str
    hosts: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class HostRules:
    """Egress rules of spec 02 section 2: `standard`, `public` or `open`, with explicit host lists.

    `own_addresses` are (host, port) pairs the daemon itself listens on; they are refused unless egress is `open`.
    `proxy` is the address of one for every request, `direct` for none, or None for what the environment says;
    `no_proxy` names what is reached without that proxy. `ca_file` adds certificate authorities to those of the machine.
    `only` names each secret in the call that may be sent to some hosts alone: a host must be allowed for all of them.
    """

    egress: str = "standard"
    allow: tuple[str, ...] = ()
    deny: tuple[str, ...] = ()
    own_addresses: tuple[tuple[str, int], ...] = ()
    timeout: float = 30.0
    max_response_bytes: int = 10_485_760
    proxy: str | None = field(default=None, repr=False)
    no_proxy: tuple[str, ...] = ()
    ca_file: str | None = None
    only: tuple[BoundSecret, ...] = ()


@dataclass(frozen=True, slots=True)
class ShellRules:
    """Rules for commands. Every `OPCODE_*` variable is removed, whatever `env_deny` says."""

    enabled: bool = True
    timeout: float = 30.0
    max_output_bytes: int = 10_485_760
    env_deny: tuple[str, ...] = ()
    allow_commands: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ExpressionRules:
    """What one evaluation of an expression may take: seconds until its answer, and units of work where they are counted."""

    timeout: float = 1.0
    max_cost: int = 10_000_000


@dataclass(frozen=True, slots=True)
class Policy:
    """Everything the operator decided about what actions may touch."""

    paths: PathRules = PathRules()
    hosts: HostRules = HostRules()
    shell: ShellRules = ShellRules()
    isolation: IsolationRules = AUTO
    expressions: ExpressionRules = ExpressionRules()
