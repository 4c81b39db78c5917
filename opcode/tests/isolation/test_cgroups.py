"""Control groups: finding a place for them, what they limit, and what is left of them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import anyio
import pytest

from opcode_kernel.isolation import PIPE, ProcessLimits, open_launcher
from opcode_kernel.isolation.process import cgroups

pytestmark = pytest.mark.anyio

SLEEP = "import time; time.sleep(60)"


@pytest.fixture
def parent(there):
    """A control group of our own with nothing in it."""
    if there.group is None:
        pytest.skip(f"no control groups here: {there.reasons.get('cgroup')}")
    top = Path(cgroups.hierarchy())
    control = top / "cgroup.subtree_control"
    added = set((top / "cgroup.controllers").read_text().split()) - set(control.read_text().split())
    path = top / f"opcode-test-{os.getpid()}"
    try:
        for name in added:
            control.write_text(f"+{name}")
        path.mkdir()
    except OSError as error:
        pytest.skip(f"no control groups can be made at the top of the hierarchy: {error}")
    yield path
    cgroups.kill(str(path))
    for each in sorted((group for group in path.rglob("*") if group.is_dir()), reverse=True):
        for _ in range(100):
            try:
                each.rmdir()
                break
            except OSError:
                time.sleep(0.02)
    path.rmdir()
    for name in added:
        control.write_text(f"-{name}")


@pytest.fixture
async def grouped(anyio_backend, there):
    """A launcher that puts every command into a control group."""
    if there.group is None:
        pytest.skip(f"no control groups here: {there.reasons.get('cgroup')}")
    async with open_launcher("cgroup", there=there) as launcher:
        yield launcher


@pytest.fixture
def sleeper():
    processes = []

    def start() -> subprocess.Popen[bytes]:
        processes.append(subprocess.Popen([sys.executable, "-c", SLEEP]))
        return processes[-1]

    yield start
    for process in processes:
        process.kill()
        process.wait()


def members(group) -> list[int]:
    return [int(pid) for pid in (Path(group) / "cgroup.procs").read_text().split()]


def needs_limit(there, controller: str) -> None:
    if controller not in there.controllers:
        pytest.skip(f"no {controller} controller here: {there.reasons.get('cgroup')}")


def test_a_machine_without_a_hierarchy_is_told_apart(monkeypatch):
    monkeypatch.setattr(cgroups, "hierarchy", lambda: None)
    assert cgroups.find_base() == (None, (), "no cgroup v2 hierarchy is mounted")


def test_a_place_where_no_group_can_be_made_is_refused(tmp_path):
    with pytest.raises(OSError):
        cgroups.prepare_base(str(tmp_path / "none"))


def test_a_base_gets_the_controllers_that_its_parent_offers(parent):
    offered = (parent / "cgroup.controllers").read_text().split()
    found = cgroups.prepare_base(str(parent), (*offered, "none"))
    assert list(found) == offered
    assert (parent / "opcode" / "cgroup.subtree_control").read_text().split() == offered


def test_processes_of_others_keep_controllers_from_being_handed_down(parent, sleeper):
    offered = (parent / "cgroup.controllers").read_text().split()
    if not offered:
        pytest.skip("this hierarchy has no controller at all to hand down")
    process = sleeper()
    (parent / "cgroup.procs").write_text(str(process.pid))
    assert cgroups.prepare_base(str(parent), tuple(offered)) == ()
    assert members(parent) == [process.pid], "it is not ours to move"


def test_own_processes_move_out_of_the_way_of_controllers(parent):
    """What a service manager hands to a daemon is a group with that daemon in it."""
    offered = (parent / "cgroup.controllers").read_text().split()
    if not offered:
        pytest.skip("this hierarchy has no controller at all to hand down")
    code = (
        "import sys, os; from opcode_kernel.isolation.process import cgroups; parent = sys.argv[1];"
        "open(parent + '/cgroup.procs', 'w').write('0');"
        "pid = os.fork();\nif pid: sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))\n"
        "print(*cgroups.prepare_base(parent, tuple(sys.argv[2:])))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(parent), *offered], capture_output=True, text=True, check=False
    )
    assert done.stdout.split() == offered, done.stderr
    assert (parent / "opcode-main").is_dir()


def test_a_group_can_be_killed_and_removed(parent, sleeper):
    cgroups.prepare_base(str(parent), ())
    group = cgroups.Group(str(parent / "opcode"), {})
    processes = [sleeper() for _ in range(3)]
    for process in processes:
        Path(group.path, "cgroup.procs").write_text(str(process.pid))
    assert not group.ran_out_of_memory()
    group.kill()
    assert [process.wait(5) for process in processes] == [-signal.SIGKILL] * 3
    assert group.remove()
    assert group.remove(), "once is enough"
    assert not Path(group.path).exists()


def test_a_group_with_life_in_it_is_not_removed(parent, sleeper, monkeypatch):
    monkeypatch.setattr(cgroups, "_PAUSE", 0.001)
    cgroups.prepare_base(str(parent), ())
    group = cgroups.Group(str(parent / "opcode"), {})
    process = sleeper()
    Path(group.path, "cgroup.procs").write_text(str(process.pid))
    assert not group.remove()
    assert process.poll() is None


def test_a_limit_that_the_kernel_refuses_leaves_no_group(parent):
    cgroups.prepare_base(str(parent), ())
    with pytest.raises(OSError, match=r"no such\.limit"):
        cgroups.Group(str(parent / "opcode"), {"no such.limit": "1"})
    assert [path for path in (parent / "opcode").iterdir() if path.is_dir()] == []


def test_groups_of_a_supervisor_that_is_gone_are_swept_with_what_is_in_them(parent, sleeper):
    cgroups.prepare_base(str(parent), ())
    base = parent / "opcode"
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    process = sleeper()
    for owner in (dead.pid, os.getpid()):
        (base / f"{owner}.x").mkdir()
    (base / f"{dead.pid}.x" / "cgroup.procs").write_text(str(process.pid))
    cgroups.sweep(str(base))
    assert process.wait(5) == -signal.SIGKILL
    assert [path.name for path in base.iterdir() if path.is_dir()] == [f"{os.getpid()}.x"]


async def test_a_command_is_in_its_group_before_it_runs(grouped, there, line):
    body = "grep '^0::' /proc/self/cgroup; sleep 60"
    env = {"PATH": os.environ["PATH"]}
    async with await grouped.spawn(["/bin/sh", "-c", body], env=env, stdout=PIPE) as child:
        path = (await line(child)).removeprefix("0::")
        group = Path(there.group).parent / path.lstrip("/")
        if not group.exists():
            group = Path(there.group) / path.rpartition("/")[2]
        assert child.pid in members(group)
        child.kill()
        await child.wait()
    with anyio.fail_after(5):
        while group.exists():  # noqa: ASYNC110  (the kernel offers no event for it)
            await anyio.sleep(0.01)


async def test_killing_a_group_ends_what_no_signal_to_processes_would_catch(grouped):
    chain = (
        "import os, time\nend = time.monotonic() + 20\nwhile time.monotonic() < end:\n    if os.fork(): os._exit(0)\n"
    )
    async with await grouped.spawn([sys.executable, "-c", chain]) as child:
        began = time.monotonic()
        await child.wait()
    assert time.monotonic() - began < 5
    assert not child.survivors


async def test_memory_is_limited_in_sum_and_its_end_has_a_reason(grouped, there):
    needs_limit(there, "memory")
    hungry = "import subprocess, sys; [subprocess.Popen([sys.executable, '-c', 'x = bytearray(40 << 20); input()']) for _ in range(4)]; input()"
    limits = ProcessLimits(max_memory_bytes=96 << 20)
    async with await grouped.spawn([sys.executable, "-c", hungry], stdin=PIPE, limits=limits) as child:
        with anyio.move_on_after(10):
            await child.wait()
        child.kill()
        await child.wait()
    assert child.oom


async def test_processes_are_limited_in_sum(grouped, there, run):
    needs_limit(there, "pids")
    limits = ProcessLimits(max_processes=8)
    code = "import os, sys, time\nn = 0\ntry:\n    while True:\n        if os.fork() == 0: time.sleep(30); os._exit(0)\n        n += 1\nexcept OSError: print(n, flush=True)"
    async with await grouped.spawn([sys.executable, "-c", code], stdout=PIPE, limits=limits) as child:
        assert int(await child.stdout.receive()) == 7


async def test_the_share_of_the_processor_is_limited(grouped, there):
    needs_limit(there, "cpu")
    code = (
        "import time\nbefore, end = time.process_time(), time.monotonic() + 2\nwhile time.monotonic() < end: pass\n"
        "print(time.process_time() - before)"
    )
    limits = ProcessLimits(max_cpu_percent=20)
    async with await grouped.spawn([sys.executable, "-c", code], stdout=PIPE, limits=limits) as child:
        assert float(await child.stdout.receive()) < 1.0
