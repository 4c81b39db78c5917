"""What is done about a command, for every combination of what is asked for and what there is."""

from __future__ import annotations

import pytest

from opcode_kernel.isolation import Capabilities, PathAccess, ProcessLimits
from opcode_kernel.isolation.plan import make_plan

NOTHING = Capabilities("darwin")
#: A machine for an ordinary user: namespaces only by way of a user namespace, no control group.
USER = Capabilities(
    "linux", subreaper=True, user_namespaces=frozenset({"pid", "mount", "network"}), landlock=7
)  # fmt: skip
ROOT = Capabilities(
    "linux", root=True, subreaper=True, namespaces=frozenset({"pid", "mount", "network"}),
    user_namespaces=frozenset({"pid", "mount", "network"}), landlock=7, group="/sys/fs/cgroup/opcode",
    controllers=frozenset({"memory", "cpu", "pids", "io"}),
)  # fmt: skip
ALL = ProcessLimits(
    max_memory_bytes=1 << 29, max_cpu_percent=150, max_cpu_seconds=9, max_disk_io_bps=1 << 20, max_processes=16,
    max_open_files=64, max_file_bytes=1 << 30, allow_network=False,
)  # fmt: skip
DENIES = PathAccess(covered=("/srv/secret",), denies=True)
DATA_DIR = PathAccess(covered=("/srv/opcode",))


def plan(mode="auto", limits=ProcessLimits(), there=ROOT, disk="8:0"):  # noqa: B008
    return make_plan(mode, limits, there, device=lambda: disk)


def test_a_machine_that_can_do_nothing_leaves_out_what_was_asked_for_and_says_so():
    made = plan("auto", ALL, NOTHING)
    assert made.group is made.landlock is None
    assert made.namespaces == ()
    assert made.rlimits == {"CPU": 9, "NOFILE": 64, "FSIZE": 1 << 30, "NPROC": 16}
    assert made.unenforced == (
        "isolation.max_memory_bytes", "isolation.max_cpu_percent", "isolation.max_disk_io_bps",
        "isolation.allow_network",
    )  # fmt: skip
    assert made.partly == ("isolation.max_processes",)


def test_off_uses_resource_limits_and_nothing_else():
    made = plan("off", ALL)
    assert (made.group, made.namespaces, made.landlock, made.covers) == (None, (), None, ())
    assert made.rlimits == {"CPU": 9, "NOFILE": 64, "FSIZE": 1 << 30, "AS": 1 << 29}
    assert "isolation.allow_network" in made.unenforced
    assert "isolation.max_processes" in made.unenforced, "it does not bind root"


def test_a_control_group_takes_the_limits_of_a_whole_command():
    made = plan("auto", ALL)
    assert made.group == {
        "base": "/sys/fs/cgroup/opcode",
        "files": {
            "memory.max": str(1 << 29), "memory.swap.max": "0", "cpu.max": "150000 100000", "pids.max": "16",
            "io.max": "8:0 rbps=1048576 wbps=1048576",
        },
    }  # fmt: skip
    assert made.rlimits == {"CPU": 9, "NOFILE": 64, "FSIZE": 1 << 30}
    assert (made.unenforced, made.partly) == ((), ())


def test_a_disk_that_is_not_known_cannot_be_limited():
    assert plan(limits=ProcessLimits(max_disk_io_bps=1), disk=None).unenforced == ("isolation.max_disk_io_bps",)


def test_a_full_control_group_comes_with_processes_of_its_own():
    assert plan().namespaces == ("pid",)


def test_no_limits_and_no_full_control_group_cost_nothing():
    made = plan(there=USER)
    assert made.request() == {"group": None, "namespaces": [], "sealed": False, "landlock": None, "rlimits": {}}


def test_a_hierarchy_without_controllers_is_only_used_where_it_is_asked_for():
    there = Capabilities("linux", root=True, group="/sys/fs/cgroup/opcode", namespaces=frozenset({"pid"}))
    assert plan(there=there).group is None
    assert plan("cgroup", there=there).group == {"base": "/sys/fs/cgroup/opcode", "files": {}}


@pytest.mark.parametrize(
    ("there", "namespaces"), [(ROOT, ("network", "pid")), (USER, ("user", "network"))], ids=["root", "user"]
)
def test_the_network_is_cut_by_a_namespace(there, namespaces):
    made = plan(limits=ProcessLimits(allow_network=False), there=there)
    assert (made.namespaces, made.unenforced) == (namespaces, ())


def test_what_is_denied_is_covered_and_sealed():
    made = plan(limits=ProcessLimits(paths=DENIES), there=USER)
    assert (made.namespaces, made.covers, made.sealed) == (("user", "mount"), ("/srv/secret",), True)
    assert made.landlock is None


def test_the_data_directory_alone_is_no_reason_for_a_user_namespace():
    made = plan(limits=ProcessLimits(paths=DATA_DIR), there=USER)
    assert (made.namespaces, made.covers, made.sealed, made.unenforced) == ((), (), False, ())
    assert plan(limits=ProcessLimits(paths=DATA_DIR)).covers == ("/srv/opcode",)
    assert plan("required", ProcessLimits(paths=DATA_DIR), USER).covers == ("/srv/opcode",)


def test_what_is_denied_on_a_machine_without_namespaces_is_said():
    assert plan(limits=ProcessLimits(paths=DENIES), there=NOTHING).unenforced == ("fs.deny_paths",)


def test_lists_of_allowed_paths_bind_by_landlock():
    paths = PathAccess(writable=("/srv/w",), read_only=("/srv/r",), restricted=True)
    made = plan(limits=ProcessLimits(paths=paths), there=USER)
    assert made.namespaces == ()
    assert made.landlock is not None
    assert "/srv/w" in made.landlock["writable"]
    assert {"/srv/r", "/usr"} <= set(made.landlock["readable"])
    assert "/srv/w" not in made.landlock["readable"]


@pytest.mark.parametrize("version", [0, 2])
def test_a_kernel_with_no_or_little_landlock_is_said(version):
    there = Capabilities("linux", landlock=version)
    made = plan(limits=ProcessLimits(paths=PathAccess(restricted=True)), there=there)
    assert made.unenforced == ("fs.writable_paths and fs.read_only_paths",)
    assert (made.landlock is not None) is (version > 0), "what there is is used all the same"


@pytest.mark.parametrize(
    ("mode", "there", "lacking"),
    [
        ("required", ROOT, ()),
        ("required", USER, ()),
        ("required", NOTHING, ("isolation.mode (it takes a control group or a PID namespace)",)),
        ("cgroup", ROOT, ()),
        ("cgroup", USER, ("isolation.mode (it takes a control group)",)),
    ],
)
def test_strict_modes_take_something_that_holds_a_command(mode, there, lacking):
    assert plan(mode, there=there).unenforced == lacking


def test_strict_modes_make_a_user_namespace_where_root_is_missing():
    assert plan("required", there=USER).namespaces == ("user", "pid")


def test_a_limit_of_each_process_is_not_one_of_all_together():
    made = plan("required", ProcessLimits(max_memory_bytes=1 << 30, max_processes=3), USER)
    assert made.partly == ("isolation.max_memory_bytes", "isolation.max_processes")
    assert made.rlimits == {"AS": 1 << 30, "NPROC": 3}
