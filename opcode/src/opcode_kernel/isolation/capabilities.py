"""What the kernel of this machine lets us enforce, and by what."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from opcode_kernel.errors import Json

#: The first version of Landlock that also keeps files from being truncated.
_LANDLOCK = 3


@dataclass(frozen=True, slots=True)
class Capabilities:
    """The answer of a probe. The `can_...` properties speak of a command as a whole; limits of each process always work.

    `group` is the base of the control groups and `controllers` what it was given. `namespaces` lists the kinds (`pid`,
    `mount`, `network`) that can be made as this user, `user_namespaces` those that take a user namespace. `landlock` is
    the version of its interface. `reasons` says why something is missing.
    """

    platform: str
    root: bool = False
    subreaper: bool = False
    group: str | None = None
    controllers: frozenset[str] = frozenset()
    namespaces: frozenset[str] = frozenset()
    user_namespaces: frozenset[str] = frozenset()
    landlock: int = 0
    reasons: dict[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, found: dict[str, Any]) -> Capabilities:
        """Read the answer of the launcher."""
        sets = {name: frozenset(found[name]) for name in ("controllers", "namespaces", "user_namespaces")}
        return cls(**{**found, **sets, "reasons": {key: text for key, text in found["reasons"].items() if text}})

    @property
    def can_limit_memory(self) -> bool:
        """Whether the memory of a command can be limited in sum."""
        return "memory" in self.controllers

    @property
    def can_limit_cpu(self) -> bool:
        """Whether its share of the processors can be limited."""
        return "cpu" in self.controllers

    @property
    def can_limit_network(self) -> bool:
        """Whether it can be cut off from the network."""
        return self.has("network")

    @property
    def can_isolate_pid(self) -> bool:
        """Whether it can be kept from seeing and signalling other processes."""
        return self.has("pid")

    @property
    def can_isolate_fs(self) -> bool:
        """Whether the path rules can bind it."""
        return self.landlock >= _LANDLOCK

    def under(self, mode: str) -> Capabilities:
        """Return what of it is used in a mode: in `off`, nothing but the reaper of orphans."""
        if mode != "off":
            return self
        kinds = ("user_namespaces.pid", "user_namespaces.network", "cgroup", "landlock")
        off = dict.fromkeys(kinds, "isolation.mode is off")
        return Capabilities(self.platform, root=self.root, subreaper=self.subreaper, reasons=off)

    def has(self, kind: str) -> bool:
        """Tell whether a kind of namespace can be made, in a user namespace or without."""
        return kind in self.namespaces or kind in self.user_namespaces

    def flags(self) -> dict[str, bool]:
        """Return the five answers by name."""
        names = ("can_limit_memory", "can_limit_cpu", "can_limit_network", "can_isolate_pid", "can_isolate_fs")
        return {name: getattr(self, name) for name in names}

    def report(self) -> dict[str, Json]:
        """Return the answers and what each rests on, for logs and for people."""
        return {**self.flags(), **{name.replace(" ", "_"): text for name, text in self.lines()}}

    def lines(self) -> list[tuple[str, str]]:
        """Return what each part rests on, or why it is missing, in words."""
        orphans = (
            "adopted, and killed with their command" if self.subreaper else "not found: its process group is killed"
        )
        named = ", ".join(sorted(self.controllers))
        if self.group is None:
            group = f"not available: {self.reasons.get('cgroup', 'not on this platform')}"
        else:
            group = f"{self.group}, {f'limits {named}' if named else 'for killing only'}"
            group += f" ({self.reasons['cgroup']})" if "cgroup" in self.reasons else ""
        missing = self.reasons.get("landlock", "no Landlock in this kernel")
        landlock = f"Landlock {self.landlock}" if self.landlock else f"not available: {missing}"
        if 0 < self.landlock < _LANDLOCK:
            landlock += ", which does not keep files from being truncated"
        return [
            ("orphans", orphans), ("control group", group), ("processes", self._namespace("pid")),
            ("network", self._namespace("network")), ("files", landlock),
        ]  # fmt: skip

    def _namespace(self, kind: str) -> str:
        if kind in self.namespaces:
            return "namespace"
        if kind in self.user_namespaces:
            return "namespace, in a user namespace"
        return f"not available: {self.reasons.get(f'user_namespaces.{kind}', 'not on this platform')}"
