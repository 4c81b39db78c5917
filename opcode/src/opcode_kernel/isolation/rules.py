"""What may be asked of a child process: limits, network, paths. The operator asks, the kernel decides what it can keep."""

from __future__ import annotations

from dataclasses import dataclass, fields

#: `auto` uses what there is; `off` uses no control groups, no namespaces and no Landlock; `required` refuses to start
#: where something that is asked for cannot be enforced; `cgroup` is `required` with a control group in any case.
MODES = ("auto", "off", "required", "cgroup")
#: Modes in which what is asked for is enforced or not started.
STRICT = frozenset({"required", "cgroup"})


@dataclass(frozen=True, slots=True)
class PathAccess:
    """Absolute, link-free paths a process may reach. `covered` is hidden whatever the lists say.

    Without `restricted` every other path is open. With it, only `writable`, `read_only` and the places programs come from
    (`SYSTEM_PATHS`, which may be read).
    """

    writable: tuple[str, ...] = ()
    read_only: tuple[str, ...] = ()
    covered: tuple[str, ...] = ()
    restricted: bool = False
    #: Whether the operator denied something by name; else only the data directory is covered, where that is free.
    denies: bool = False


@dataclass(frozen=True, slots=True)
class ProcessLimits:
    """What one command, all its processes together, may use. None is no limit.

    Sizes in bytes, `max_cpu_percent` of one processor (150 is one and a half), `max_disk_io_bps` in bytes per second.
    """

    max_memory_bytes: int | None = None
    max_cpu_percent: int | None = None
    max_cpu_seconds: int | None = None
    max_disk_io_bps: int | None = None
    max_processes: int | None = None
    max_open_files: int | None = None
    max_file_bytes: int | None = None
    allow_network: bool = True
    paths: PathAccess | None = None

    def asked(self) -> list[str]:
        """Return the names of the limits that are set."""
        return [each.name for each in fields(self) if each.name.startswith("max_") and getattr(self, each.name)]


NO_LIMITS = ProcessLimits()


@dataclass(frozen=True, slots=True)
class IsolationRules:
    """The operator's `isolation` section: how strict to be, and the limits of every command."""

    mode: str = "auto"
    limits: ProcessLimits = NO_LIMITS


AUTO = IsolationRules()
