"""Whatever way a command ends, nothing that it started may go on."""

import os
import sys
from pathlib import Path

import anyio
import pytest

from opcode_kernel import ShellRules
from opcode_shell import process as process_module

pytestmark = pytest.mark.anyio

#: A process that ends once its child sits in a process group of its own; the child says its id.
OTHER_GROUP = """
import os, time
ours, theirs = os.pipe()
pid = os.fork()
if pid:
    os.close(theirs)
    os.read(ours, 1)
    print(pid)
else:
    os.setpgid(0, 0)
    os.close(theirs)
    time.sleep(60)
"""

#: A shell that ignores the request to end, with a child that ignores it too; both say their ids.
STUBBORN = "trap '' TERM; sleep 60 & echo $$ $!; while :; do sleep 60; done"


@pytest.fixture
def impatient(monkeypatch):
    monkeypatch.setattr(process_module, "_GRACE", 0.2)


async def test_a_timeout_is_a_result_with_what_was_printed(shell, gone):
    answer = await shell("echo $$; sleep 60 & wait", shell=True, timeout="300ms", parse_json=False)
    assert (answer["exit_code"], answer["killed"], answer["signal"]) == (-1, True, "SIGTERM")
    assert 300 <= answer["duration_ms"] < 2000
    await gone(int(answer["stdout"]))


async def test_the_default_timeout_is_a_setting(shell):
    shell.rules = ShellRules(timeout=0.2)
    assert (await shell("sleep", "60"))["killed"] is True


async def test_a_timeout_is_an_error_on_request(shell):
    error = await shell.fails("echo partial; sleep 60", shell=True, timeout=0.3, fail_on_nonzero=True)
    assert (error.code, error.retryable) == ("TIMEOUT_ERROR", True)
    assert (error.details["stdout"], error.details["killed"]) == ("partial\n", True)


async def test_a_command_that_ends_well_when_asked_was_killed_all_the_same(shell):
    answer = await shell("trap 'echo bye; exit 0' TERM; sleep 60 & wait", shell=True, timeout=0.3)
    assert (answer["stdout"], answer["exit_code"], answer["killed"], answer["signal"]) == ("bye\n", -1, True, None)


@pytest.mark.usefixtures("impatient")
async def test_what_ignores_the_request_is_killed_with_its_children(shell, gone):
    answer = await shell(STUBBORN, shell=True, timeout=0.3)
    assert (answer["exit_code"], answer["killed"], answer["signal"]) == (-1, True, "SIGKILL")
    for pid in answer["stdout"].split():
        await gone(int(pid))


async def test_the_grace_is_two_seconds():
    assert process_module._GRACE == 2.0


async def test_what_is_left_in_the_background_ends_with_the_command(shell, gone):
    answer = await shell("sleep 60 & echo $!", shell=True, parse_json=False)
    assert (answer["exit_code"], answer["killed"]) == (0, False)
    assert answer["duration_ms"] < 2000
    await gone(int(answer["stdout"]))


async def test_what_is_left_ends_although_it_ignores_everything_it_can(shell, gone):
    answer = await shell("(trap '' TERM HUP INT; sleep 60) & echo $!; exit 3", shell=True, parse_json=False)
    assert answer["exit_code"] == 3
    await gone(int(answer["stdout"]))


@pytest.mark.skipif(sys.platform != "linux", reason="needs a reaper of orphans")
async def test_a_process_in_a_group_of_its_own_ends_with_the_command(shell, gone):
    answer = await shell(sys.executable, "-c", OTHER_GROUP, parse_json=False)
    assert answer["exit_code"] == 0
    await gone(int(answer["stdout"]))


@pytest.mark.skipif(sys.platform != "linux", reason="needs a reaper of orphans")
async def test_a_process_that_left_the_session_ends_with_the_command(shell, gone, tmp_path):
    os.mkfifo(tmp_path / "ready")
    away = f"echo $$ > {tmp_path}/ready; exec sleep 60"
    answer = await shell(f"setsid sh -c '{away}' & read pid < {tmp_path}/ready; echo $pid", shell=True)
    assert answer["duration_ms"] < 2000
    await gone(answer["stdout"])


async def test_a_command_whose_supervisor_is_killed_is_an_error_that_may_be_tried_again(shell):
    error = await shell.fails("kill -9 $PPID; sleep 60", shell=True)
    assert (error.code, error.retryable) == ("ISOLATION_ERROR", True)
    assert (await shell("echo", "next"))["stdout"] == "next\n"


@pytest.mark.usefixtures("impatient")
async def test_cancelling_the_step_ends_the_command_and_its_children(shell, gone, tmp_path):
    fifo = tmp_path / "ready"
    os.mkfifo(fifo)
    pids = []
    with anyio.fail_after(5):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(
                lambda: shell(f"trap '' TERM; sleep 60 & echo $$ $! > {fifo}; sleep 60; sleep 60", shell=True)
            )
            text = await anyio.to_thread.run_sync(fifo.read_text, abandon_on_cancel=True)
            pids = [int(pid) for pid in text.split()]
            tasks.cancel_scope.cancel()
    assert len(pids) == 2
    for pid in pids:
        await gone(pid)


async def test_a_step_cancelled_before_it_began_leaves_nothing(shell, tmp_path):
    with anyio.CancelScope() as scope:
        scope.cancel()
        await shell(f"sleep 60; touch {tmp_path}/late", shell=True)
    assert scope.cancelled_caught


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")
async def test_no_descriptor_is_left_open(shell):
    await shell("echo", "warm up")
    before = open_descriptors()
    for _ in range(5):
        await shell("cat", stdin="x")
        await shell("sleep 60 & echo hi", shell=True)
        await shell.fails("no-such-command-here")
        await shell("sleep", "60", timeout=0.05)
    assert open_descriptors() <= before


def open_descriptors():
    return len(list(Path("/proc/self/fd").iterdir()))
