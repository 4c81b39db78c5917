"""What an engine can be told, and what it is told when nobody says anything."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from opcode_kernel.core.limits import Limits
from opcode_kernel.plugin.policy import Policy


def wall_clock() -> int:
    """Return microseconds since the epoch."""
    return time.time_ns() // 1_000


@dataclass(frozen=True, slots=True)
class EngineOptions:
    """What an engine can be told. `pool_size` bounds simultaneously executing actions, times are in seconds."""

    pool_size: int = 10
    recovery: str = "suspend"
    policy: Policy = field(default_factory=Policy)
    limits: Limits = field(default_factory=Limits)
    shutdown_grace: float = 10.0
    clock: Callable[[], int] = wall_clock
