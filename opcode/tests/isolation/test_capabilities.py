"""What is said about a machine, and what follows from it for strict modes."""

from __future__ import annotations

import pytest

from opcode_kernel import (
    IsolationRules,
    MemoryStore,
    PathRules,
    Policy,
    ProcessLimits,
    open_engine,
    registry_of,
)
from opcode_kernel.errors import ActionError, SettingsError
from opcode_kernel.isolation import Capabilities, PathAccess, open_launcher, process_limits
from opcode_kernel.runtime.engine import EngineOptions
from opcode_kernel.server.settings import load_settings

BARE = Capabilities("linux", subreaper=True, reasons={"cgroup": "no cgroup v2 hierarchy is mounted"})
FULL = Capabilities(
    "linux", root=True, subreaper=True, group="/sys/fs/cgroup/opcode", controllers=frozenset({"memory", "cpu", "pids"}),
    namespaces=frozenset({"pid", "mount", "network"}), landlock=5,
)  # fmt: skip


def test_a_bare_machine_can_enforce_nothing_and_says_why():
    assert set(BARE.flags().values()) == {False}
    words = dict(BARE.lines())
    assert words["control group"] == "not available: no cgroup v2 hierarchy is mounted"
    assert words["files"] == "not available: no Landlock in this kernel"
    assert words["processes"].startswith("not available")


def test_a_full_machine_can_enforce_everything():
    assert set(FULL.flags().values()) == {True}
    report = FULL.report()
    assert report["control_group"] == "/sys/fs/cgroup/opcode, limits cpu, memory, pids"
    assert (report["can_isolate_fs"], report["files"]) == (True, "Landlock 5")


def test_an_old_landlock_is_used_but_not_relied_on():
    old = Capabilities("linux", landlock=2)
    assert not old.can_isolate_fs
    assert "truncated" in dict(old.lines())["files"]


def test_a_platform_without_a_reaper_says_what_it_misses():
    assert "process group" in dict(Capabilities("darwin").lines())["orphans"]


def test_switched_off_nothing_is_there_and_that_is_the_reason():
    off = FULL.under("off")
    assert set(off.flags().values()) == {False}
    assert all("isolation.mode is off" in text for name, text in off.lines() if name != "orphans")


def test_what_a_probe_finds_can_be_read(there):
    assert there.platform in ("linux", "darwin")
    assert all(isinstance(can, bool) for can in there.flags().values())
    assert all(text for text in there.reasons.values())


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("mode", "limits", "named"),
    [
        ("required", ProcessLimits(), "a control group or a PID namespace"),
        ("required", ProcessLimits(allow_network=False), "isolation.allow_network"),
        ("required", ProcessLimits(max_memory_bytes=1 << 30), "isolation.max_memory_bytes"),
        ("required", ProcessLimits(paths=PathAccess(restricted=True)), "fs.writable_paths"),
        ("cgroup", ProcessLimits(), "a control group"),
    ],
)
async def test_what_cannot_be_enforced_is_not_started_in_a_strict_mode(mode, limits, named, tmp_path):
    async with open_launcher(mode, there=BARE) as launcher:
        with pytest.raises(ActionError, match=named) as caught:
            await launcher.spawn(["/bin/sh", "-c", f"touch {tmp_path}/ran"], limits=limits)
    assert (caught.value.code, caught.value.retryable) == ("ISOLATION_ERROR", False)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.anyio
async def test_an_engine_does_not_open_where_its_isolation_is_not_to_be_had(there):
    limits = ProcessLimits(max_disk_io_bps=1 << 20)
    if "io" in there.controllers:
        pytest.skip("this machine can limit everything")
    options = EngineOptions(policy=Policy(isolation=IsolationRules("required", limits)))
    with pytest.raises(SettingsError, match=r"isolation\.mode is required.*isolation\.max_disk_io_bps") as caught:
        async with open_engine(MemoryStore(), registry_of(), options=options):
            pass
    assert "control group:" in caught.value.message, "and what the machine has"


@pytest.mark.anyio
async def test_a_limit_that_is_not_enforced_is_warned_of_once(there, capsys):
    import structlog

    async with open_launcher("off", there=there) as launcher:
        with structlog.testing.capture_logs() as records:
            for _ in range(2):
                async with await launcher.spawn(["/bin/sh", "-c", "true"], limits=ProcessLimits(max_cpu_percent=5)):
                    pass
    assert [record["settings"] for record in records] == [["isolation.max_cpu_percent"]]


def policy(**paths) -> Policy:
    return Policy(paths=PathRules(**paths))


def test_rules_that_leave_everything_open_bind_nothing():
    assert process_limits(Policy()).paths is None


def test_a_deny_entry_that_cannot_be_resolved_denies_everything():
    with pytest.raises(ActionError) as caught:
        process_limits(policy(deny=("~nobody-has-this-name/x",)))
    assert caught.value.code == "PATH_DENIED"


def test_what_is_denied_is_covered(tmp_path):
    paths = process_limits(policy(deny=(str(tmp_path / "a"),))).paths
    assert (paths.covered, paths.denies, paths.restricted) == ((str(tmp_path / "a"),), True, False)


def test_allowed_paths_are_told_by_what_they_allow(tmp_path):
    (tmp_path / "w").mkdir()
    (tmp_path / "link").symlink_to("w")
    paths = process_limits(policy(writable=(str(tmp_path / "link"),), read_only=(str(tmp_path / "r"),))).paths
    assert (paths.writable, paths.read_only, paths.restricted) == ((str(tmp_path / "w"),), (str(tmp_path / "r"),), True)


def test_the_data_directory_is_covered_but_for_what_the_operator_opens(tmp_path):
    home = tmp_path / "home"
    (home / "open" / "deep").mkdir(parents=True)
    (home / "closed").mkdir()
    (home / "opcode.db").write_text("")
    covered = lambda *writable: process_limits(policy(data_dir=str(home), writable=writable)).paths.covered  # noqa: E731
    assert covered() == (str(home),)
    assert covered(str(home / "open")) == (str(home / "closed"), str(home / "opcode.db"))
    assert covered(str(home / "open" / "deep")) == (str(home / "closed"), str(home / "opcode.db"))
    assert covered(str(home)) == ()
    assert covered(str(tmp_path)) == (str(home),), "a path around it does not name it"


def settings_with(tmp_path, **environ: str):
    return load_settings({}, {"OPCODE_HOME": str(tmp_path), **environ})


def test_the_settings_of_isolation_are_read(tmp_path):
    found = settings_with(
        tmp_path, OPCODE_ISOLATION_MODE="Required", OPCODE_ISOLATION_MAX_CPU_PERCENT="250",
        OPCODE_ISOLATION_MAX_MEMORY_BYTES="512MB", OPCODE_ISOLATION_ALLOW_NETWORK="false",
    )  # fmt: skip
    limits = ProcessLimits(max_cpu_percent=250, max_memory_bytes=512 << 20, allow_network=False)
    assert found.policy.isolation == IsolationRules("required", limits)
    assert settings_with(tmp_path).policy.isolation == IsolationRules("auto", ProcessLimits())
    assert settings_with(tmp_path, OPCODE_ISOLATION_MODE="fallback").policy.isolation.mode == "off"


@pytest.mark.parametrize(
    ("key", "value"),
    [("MODE", "strict"), ("MAX_CPU_PERCENT", "0"), ("MAX_PROCESSES", "-1"), ("ALLOW_NETWORK", "maybe")],
)
def test_malformed_settings_of_isolation_are_refused_with_their_place(tmp_path, key, value):
    with pytest.raises(SettingsError, match=f"OPCODE_ISOLATION_{key}: expected"):
        settings_with(tmp_path, **{f"OPCODE_ISOLATION_{key}": value})
