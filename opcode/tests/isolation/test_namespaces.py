"""Processes of its own, no network, and covers over what is denied; by root, and by a user who is not."""

from __future__ import annotations

import os
import signal
import sys

import pytest

from opcode_kernel.isolation import PIPE, PathAccess, ProcessLimits, open_launcher

pytestmark = pytest.mark.anyio

DARK = ProcessLimits(allow_network=False)
ENV = {"PATH": os.environ.get("PATH", os.defpath)}


@pytest.fixture
def needs(there):
    """Return what skips a test where the kernel lacks a kind of namespace."""

    def check(*kinds: str, user: bool = False) -> None:
        found = there.user_namespaces if user else there.namespaces | there.user_namespaces
        if missing := [kind for kind in kinds if kind not in found]:
            pytest.skip(f"no {missing} namespace here: {dict(there.lines())}")

    return check


@pytest.fixture
async def alone(anyio_backend, there, needs, runner):
    """What runs a line of shell with processes of its own."""
    needs("pid")
    async with open_launcher("required", there=there) as launcher:
        yield runner(launcher)


@pytest.fixture
def secret(tmp_path):
    """A directory and a file that are to be covered, and a link to each."""
    (tmp_path / "dir").mkdir()
    (tmp_path / "dir" / "key").write_text("hidden")
    (tmp_path / "file").write_text("hidden")
    (tmp_path / "link").symlink_to("dir")
    (tmp_path / "plain").write_text("seen")
    return tmp_path


def covering(path, *names: str) -> ProcessLimits:
    return ProcessLimits(paths=PathAccess(covered=tuple(str(path / name) for name in names), denies=True))


async def test_a_command_sees_its_own_processes_only(alone):
    done = await alone("ls /proc | grep -c '^[0-9]'; cat /proc/1/comm; echo $$")
    count, first, own = done.out.split()
    assert int(count) <= 5
    assert first.startswith("python")
    assert int(own) < 10


async def test_a_command_cannot_signal_what_is_outside(alone):
    done = await alone(f"kill -0 {os.getpid()} 2>&1 || echo none; kill -9 1; kill -9 -1; echo after")
    assert "none" in done.out


async def test_a_command_cannot_end_its_first_process(alone):
    assert (await alone("kill -9 1; kill -9 $PPID; sleep 0.1; echo still here")).out == "still here\n"


async def test_the_process_id_is_the_one_outside(there, needs, line, alive):
    needs("pid")
    async with open_launcher("required", there=there) as launcher:
        async with await launcher.spawn(["/bin/sh", "-c", "echo $$; sleep 60"], stdout=PIPE, env=ENV) as child:
            inside = int(await line(child))
            assert inside != child.pid
            assert alive(child.pid)
            child.terminate()
            assert await child.wait() == -signal.SIGTERM
        assert not alive(child.pid)


async def test_everything_in_a_process_namespace_ends_with_the_command(alone, tmp_path):
    done = await alone(f"setsid sh -c 'sleep 0.5; touch {tmp_path}/late' & echo up")
    assert done.out == "up\n"
    assert not (tmp_path / "late").exists()


async def test_without_a_network_nothing_is_reached_not_even_this_machine(run, needs, tcp_port):
    needs("network")
    code = f"import socket; socket.create_connection(('127.0.0.1', {tcp_port}), 2); print('reached')"
    assert (await run([sys.executable, "-c", code])).out == "reached\n"
    done = await run([sys.executable, "-c", code], limits=DARK)
    assert (done.code, done.out) == (1, "")
    assert "unreachable" in done.err


async def test_a_command_without_a_network_leaves_that_of_the_next_alone(run, needs):
    needs("network")
    names = [
        (await run("ls /sys/class/net | wc -l; grep -c : /proc/net/dev", limits=each)).out
        for each in (DARK, ProcessLimits())
    ]
    assert names[0].split()[1] == "1"
    assert int(names[1].split()[1]) >= 1


async def test_what_is_covered_is_hidden_under_every_name(run, needs, secret):
    needs("mount")
    limits = covering(secret, "dir", "file")
    for name in ("dir/key", "file", "link/key", "dir/../dir/key"):
        done = await run(f"cat {secret}/{name}", limits=limits)
        assert (done.code, done.out) == (1, ""), name
    assert (await run(f"cat {secret}/plain", limits=limits)).out == "seen"
    assert (await run(f"cat {secret}/file {secret}/dir/key")).out == "hiddenhidden", "only for who has that rule"


@pytest.mark.parametrize(
    "attempt", ["echo x > dir/new", "echo x > file", "rm file", "rm -r dir", "mv dir away", "mv file away", "rmdir dir",
                "umount dir", "umount -l dir", "umount file", "mount -t tmpfs none dir", "mount --move dir plain",
                "nsenter -t 1 -m cat {path}/file", "cat /proc/1/root{path}/file", "unshare -m umount dir",
                "unshare -rm umount dir", "chmod 777 dir && ls dir/key", "ln file again && cat again"],
)  # fmt: skip
async def test_a_cover_cannot_be_taken_away_not_even_by_root(run, needs, secret, attempt):
    needs("mount")
    done = await run(attempt.format(path=secret), limits=covering(secret, "dir", "file"), cwd=str(secret))
    assert "hidden" not in done.out
    assert sorted(path.name for path in secret.iterdir()) == ["dir", "file", "link", "plain"]
    assert (secret / "file").read_text() == (secret / "dir" / "key").read_text() == "hidden"


async def test_what_appears_later_is_covered_from_the_next_command_on(run, needs, tmp_path):
    needs("mount")
    limits = covering(tmp_path, "later")
    assert (await run("echo up", limits=limits)).out == "up\n"
    (tmp_path / "later").mkdir()
    (tmp_path / "later" / "key").write_text("hidden")
    assert (await run(f"cat {tmp_path}/later/key", limits=limits)).out == ""
    (tmp_path / "later" / "key").unlink()
    (tmp_path / "later").rmdir()
    (tmp_path / "later").mkdir()
    (tmp_path / "later" / "key").write_text("hidden")
    assert (await run(f"cat {tmp_path}/later/key", limits=limits)).out == "", "another directory of that name"


async def test_a_user_who_is_not_root_gets_them_by_a_user_namespace(user_launcher, runner, secret, shared):
    found = await user_launcher.capabilities()
    if not {"mount", "network"} <= found.user_namespaces:
        pytest.skip(f"no user namespaces here: {found.reasons}")
    assert not found.root
    assert found.namespaces == frozenset()
    run = runner(user_launcher)
    (shared / "file").write_text("hidden")
    (shared / "file").chmod(0o644)
    assert (await run(f"cat {shared}/file")).out == "hidden"
    limits = ProcessLimits(paths=PathAccess(covered=(str(shared / "file"),), denies=True), allow_network=False)
    done = await run(f"cat {shared}/file; id -u; grep -c : /proc/net/dev; umount {shared}/file", limits=limits)
    assert done.out.split() == [str(os.geteuid() or 65534), "1"]
    assert (
        "hidden" not in (await run(f"unshare -rm sh -c 'umount {shared}/file; cat {shared}/file'", limits=limits)).out
    )


async def test_a_user_who_is_not_root_gets_processes_of_its_own(user_launcher, there, needs, runner):
    needs("pid", user=True)
    async with open_launcher("required") as launcher:
        done = await runner(launcher)("ls /proc | grep -c '^[0-9]'; kill -9 1; echo $?")
        assert int(done.out.split()[0]) <= 5
