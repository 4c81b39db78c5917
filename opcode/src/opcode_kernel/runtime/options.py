"""What an engine can be told, and what it is told when nobody says anything."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from opcode_kernel.core.limits import Limits
from opcode_kernel.errors import DefinitionError
from opcode_kernel.plugin.external import ExternalPlugin
from opcode_kernel.plugin.policy import Policy


def wall_clock() -> int:
    """Return microseconds since the epoch."""
    return time.time_ns() // 1_000


def check_wait_timeout(seconds: float | None) -> None:
    """Refuse to wait for less than no time (raises `DefinitionError`)."""
    if seconds is not None and not seconds >= 0:
        raise DefinitionError(f"expected wait_timeout to be at least 0 seconds, found {seconds}")


@dataclass(frozen=True, slots=True)
class EngineOptions:
    """What an engine can be told. `pool_size` bounds simultaneously executing actions, times are in seconds.

    `plugins` are the servers whose tools are to be actions; the providers among the installed plugins start them.
    """

    pool_size: int = 10
    recovery: str = "suspend"
    policy: Policy = field(default_factory=Policy)
    limits: Limits = field(default_factory=Limits)
    shutdown_grace: float = 10.0
    plugins: tuple[ExternalPlugin, ...] = ()
    clock: Callable[[], int] = wall_clock
