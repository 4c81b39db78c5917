"""From what is asked for and what there is to what is done: pure, so that every combination can be looked at."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from opcode_kernel.errors import Json
from opcode_kernel.isolation.capabilities import Capabilities
from opcode_kernel.isolation.rules import STRICT, PathAccess, ProcessLimits

#: Where programs, their libraries and their settings are; a command under path rules may read them all the same.
SYSTEM_PATHS = (
    "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/usr", "/etc", "/opt", "/nix/store", "/proc",
    "/run/systemd/resolve", "/sys/devices/system/cpu", "/sys/fs/cgroup",
)  # fmt: skip
#: Devices that every program may expect.
DEVICES = ("/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom", "/dev/tty")

#: Limits of each process by the name of the resource.
_RLIMITS = {
    "max_cpu_seconds": "CPU", "max_open_files": "NOFILE", "max_file_bytes": "FSIZE", "max_memory_bytes": "AS",
    "max_processes": "NPROC",
}  # fmt: skip
#: Limits of a whole command: the controller, and the file that takes them.
_GROUP: dict[str, tuple[str, str, Callable[[int], str]]] = {
    "max_memory_bytes": ("memory", "memory.max", str),
    "max_cpu_percent": ("cpu", "cpu.max", lambda percent: f"{percent * 1000} 100000"),
    "max_processes": ("pids", "pids.max", str),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Plan:
    """What a supervisor is told to set up, and what that leaves out: `unenforced`, by the names of settings.

    `sealed` keeps a command from taking covers away again. `partly` are the limits that hold for each process of the
    command instead of all together.
    """

    group: dict[str, Json] | None = None
    namespaces: tuple[str, ...] = ()
    covers: tuple[str, ...] = ()
    sealed: bool = False
    landlock: dict[str, Json] | None = None
    rlimits: dict[str, int] = field(default_factory=dict)
    unenforced: tuple[str, ...] = ()
    partly: tuple[str, ...] = ()

    def request(self) -> dict[str, Any]:
        """Return the part of a request that sets it up."""
        return {
            "group": self.group, "namespaces": list(self.namespaces), "sealed": self.sealed,
            "landlock": self.landlock, "rlimits": self.rlimits,
        }  # fmt: skip


def make_plan(
    mode: str, limits: ProcessLimits, there: Capabilities, *, device: Callable[[], str | None] = lambda: None
) -> Plan:
    """Decide how a command is isolated. `device` names the disk a command writes to as `major:minor`, if it is known."""
    there = there.under(mode)
    strict = mode in STRICT
    files = _group_files(limits, there, device)
    wanted = mode == "cgroup" or bool(there.controllers)  # for killing alone it is not worth its time
    group = _group(there.group, dict(files.values())) if there.group is not None and wanted else None
    rlimits, partly = _rlimits(limits, there, kept=set(files))
    covered = {*files, *partly, *(name for name, resource in _RLIMITS.items() if resource in rlimits)}
    unenforced = [f"isolation.{name}" for name in limits.asked() if name not in covered]
    kinds, covers, missing = _namespaces(limits, there, strict=strict, group=group is not None)
    landlock, unbound = _landlock(limits.paths, there)
    if mode == "cgroup" and group is None:
        missing.append("isolation.mode (it takes a control group)")
    return Plan(
        group, kinds, covers, bool(covers and there.landlock), landlock, rlimits, (*unenforced, *missing, *unbound),
        tuple(f"isolation.{name}" for name in partly),
    )  # fmt: skip


def _group(base: str, files: dict[str, str]) -> dict[str, Json]:
    if "memory.max" in files:
        files["memory.swap.max"] = "0"  # else what does not fit goes on in there
    return {"base": base, "files": files}


def _group_files(
    limits: ProcessLimits, there: Capabilities, device: Callable[[], str | None]
) -> dict[str, tuple[str, str]]:
    """Return the limits that a control group keeps: the file of each, and what is written into it."""
    files: dict[str, tuple[str, str]] = {}
    for name, (controller, file, written) in _GROUP.items():
        value = getattr(limits, name)
        if value is not None and controller in there.controllers:
            files[name] = (file, written(value))
    if limits.max_disk_io_bps is not None and "io" in there.controllers and (disk := device()) is not None:
        files["max_disk_io_bps"] = ("io.max", f"{disk} rbps={limits.max_disk_io_bps} wbps={limits.max_disk_io_bps}")
    return files


def _rlimits(limits: ProcessLimits, there: Capabilities, *, kept: set[str]) -> tuple[dict[str, int], list[str]]:
    """Return the resource limits of each process, and which of them should have been limits of all together."""
    rlimits: dict[str, int] = {}
    partly: list[str] = []
    for name, resource in _RLIMITS.items():
        value = getattr(limits, name)
        ignored = (name == "max_processes" and there.root) or (resource == "AS" and there.platform == "darwin")
        if value is None or name in kept or ignored:
            continue
        rlimits[resource] = value
        if name in _GROUP:
            partly.append(name)
    return rlimits, partly


def _namespaces(
    limits: ProcessLimits, there: Capabilities, *, strict: bool, group: bool
) -> tuple[tuple[str, ...], tuple[str, ...], list[str]]:
    """Return the namespaces to make, the paths to cover, and what cannot be had.

    A user namespace changes what a command sees (`sudo` does not work in it, the files of others are nobody's), so
    it is made only for what a setting asks for.
    """
    paths = limits.paths or PathAccess()
    asked: dict[str, str] = {}
    if not limits.allow_network:
        asked["network"] = "isolation.allow_network"
    if paths.denies or (strict and paths.covered):
        asked["mount"] = "fs.deny_paths"
    # A group with all three limits shuts a command in; where that costs no user namespace it is also left on its own.
    if strict or (group and {"memory", "cpu", "pids"} <= there.controllers and "pid" in there.namespaces):
        asked["pid"] = "isolation.mode (it takes a control group or a PID namespace)"
    missing = [setting for kind, setting in asked.items() if not there.has(kind) and not (kind == "pid" and group)]
    kinds = [kind for kind in asked if there.has(kind)]
    if "mount" not in asked and paths.covered and "mount" in there.namespaces:
        kinds.append("mount")
    user = ["user"] if any(kind not in there.namespaces for kind in kinds) else []
    return tuple(user + kinds), paths.covered if "mount" in kinds else (), missing


def _landlock(paths: PathAccess | None, there: Capabilities) -> tuple[dict[str, Json] | None, list[str]]:
    """Return what a command may reach, where that is not everything."""
    if paths is None or not paths.restricted:
        return None, []
    unbound = [] if there.can_isolate_fs else ["fs.writable_paths and fs.read_only_paths"]
    if not there.landlock:
        return None, unbound
    rules = {"readable": [*SYSTEM_PATHS, *paths.read_only], "writable": [*DEVICES, *paths.writable]}
    return rules, unbound
