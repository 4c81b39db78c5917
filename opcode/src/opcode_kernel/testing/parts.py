"""Parts that most plugins of tests are made of."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from types import ModuleType

from opcode_kernel.plugin.fields import Rest
from opcode_kernel.plugin.manager import discover


@dataclass(frozen=True, slots=True)
class AnyParams:
    """Params of an action that takes whatever a definition gives it."""

    given: Rest = field(default_factory=dict)


@lru_cache(maxsize=1)
def installed_plugins() -> tuple[ModuleType, ...]:
    """Return the plugins that are installed here, for a registry that holds them beside a plugin of a test's own."""
    registry = discover()
    assert registry.manager is not None
    return tuple(registry.manager.get_plugins())
