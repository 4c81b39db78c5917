"""Starting, feeding, reading, waiting and ending child processes."""

from __future__ import annotations

import errno
import json
import os
import resource
import signal
import socket
import subprocess
import sys
from pathlib import Path

import anyio
import pytest

from opcode_kernel.errors import ActionError, DefinitionError
from opcode_kernel.isolation import DEVNULL, PIPE, open_launcher, supervisors

pytestmark = pytest.mark.anyio

linux = pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")


def test_a_mode_that_does_not_exist_is_refused():
    async def start():
        async with open_launcher("strict"):
            pass

    with pytest.raises(DefinitionError, match="auto, off, required, cgroup"):
        anyio.run(start)


async def test_a_program_that_is_not_there_is_an_error_of_the_system(launcher, tmp_path):
    with pytest.raises(FileNotFoundError) as caught:
        await launcher.spawn([str(tmp_path / "none")])
    assert caught.value.filename == str(tmp_path / "none")


async def test_a_file_that_is_no_program_is_an_error_of_the_system(launcher, tmp_path):
    (tmp_path / "x").write_text("no program")
    with pytest.raises(PermissionError):
        await launcher.spawn([str(tmp_path / "x")])
    (tmp_path / "x").chmod(0o755)
    with pytest.raises(OSError) as caught:
        await launcher.spawn([str(tmp_path / "x")])
    assert caught.value.errno == errno.ENOEXEC


async def test_a_directory_that_cannot_be_entered_is_named(launcher, tmp_path):
    with pytest.raises(FileNotFoundError) as caught:
        await launcher.spawn(["/bin/sh", "-c", "true"], cwd=str(tmp_path / "none"))
    assert caught.value.filename == str(tmp_path / "none")


async def test_arguments_too_long_for_the_system_are_its_error(launcher, run):
    with pytest.raises(OSError) as caught:
        await launcher.spawn(["/bin/echo", "x" * 10_000_000])
    assert caught.value.errno == errno.E2BIG
    assert (await run("echo next")).out == "next\n"


async def test_a_program_is_fed_read_and_waited_for(run, launcher):
    assert await run("echo out; echo err >&2; exit 3") == (3, "out\n", "err\n")
    assert (await run("kill -SEGV $$")).code == -signal.SIGSEGV
    async with await launcher.spawn(["/bin/cat"], stdin=PIPE, stdout=PIPE) as child:
        await child.stdin.send(b"line")
        await child.stdin.aclose()
        assert await child.stdout.receive() == b"line"
        assert (await child.wait(), child.returncode) == (0, 0)


async def test_long_input_and_output_flow_at_the_same_time(launcher):
    text = os.urandom(1 << 20)
    async with await launcher.spawn(["/bin/cat"], stdin=PIPE, stdout=PIPE) as child:
        got = bytearray()

        async def feed():
            await child.stdin.send(text)
            await child.stdin.aclose()

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(feed)
            async for chunk in child.stdout:
                got += chunk
        assert (await child.wait(), bytes(got)) == (0, text)


async def test_sending_to_a_program_that_does_not_read_breaks(launcher):
    async with await launcher.spawn(["/bin/sh", "-c", "exec <&-; sleep 60"], stdin=PIPE) as child:
        with pytest.raises(anyio.BrokenResourceError):
            await child.stdin.send(b"x" * (1 << 20))
    with pytest.raises(anyio.ClosedResourceError):
        await child.stdin.send(b"x")


async def test_streams_may_be_descriptors_of_the_caller(launcher, tmp_path):
    with (tmp_path / "out").open("wb") as file:
        async with await launcher.spawn(["/bin/sh", "-c", "echo hi"], stdout=file.fileno()) as child:
            await child.wait()
        file.write(b"still open")
    assert (tmp_path / "out").read_bytes() == b"hi\nstill open"
    assert child.stdout is None


async def test_the_environment_is_exactly_what_was_given(launcher, run, monkeypatch):
    monkeypatch.setenv("INHERITED", "no")
    assert (await run(["/usr/bin/env"], env={"A": "1", "B": "ü=\udcff"})).out == "A=1\nB=ü=\ufffd\n"
    assert (await run(["/usr/bin/env"], env={})).out == ""


async def test_arguments_arrive_as_they_are(launcher, run):
    given = ["", " ", "a b", "$HOME", "'\"", "\n", "-n", "ü", "\udcff", "*", "x" * 100_000]
    code = "import json, os, sys; print(json.dumps([os.fsencode(a).hex() for a in sys.argv[1:]]))"
    done = await run([sys.executable, "-c", code, *given])
    assert [bytes.fromhex(each) for each in json.loads(done.out)] == [os.fsencode(each) for each in given]


async def test_a_program_starts_with_signals_as_they_are_by_default(launcher, run):
    code = (
        "import signal as s; print([n.name for n in s.Signals if n.name not in ('SIGKILL', 'SIGSTOP')"
        " and s.getsignal(n) == s.SIG_IGN], s.pthread_sigmask(s.SIG_BLOCK, []))"
    )
    # Python itself ignores these two.
    assert (await run([sys.executable, "-c", code])).out == "['SIGPIPE', 'SIGXFSZ'] set()\n"
    assert (await run("yes | head -n 1")).out == "y\n"


@linux
async def test_a_program_gets_its_three_streams_and_no_other_descriptor(launcher, run, tmp_path):
    with (tmp_path / "x").open("wb") as file:
        os.set_inheritable(file.fileno(), True)
        assert (await run("ls /proc/self/fd | tr '\\n' ' '")).out in ("0 1 2 3 ", "0 1 2 3 4 ")


@linux
async def test_a_program_leads_a_session_of_its_own(launcher, run):
    out = (await run("cut -d' ' -f1,5,6 /proc/$$/stat; echo $$")).out.split()
    assert out[0] == out[1] == out[2] == out[3]


@linux
async def test_core_dumps_are_off(launcher, run):
    assert (await run("ulimit -c; ulimit -Hc")).out == "0\n0\n"


async def test_the_process_id_is_the_one_of_the_program(launcher, line):
    async with await launcher.spawn(["/bin/sh", "-c", "echo $$; sleep 60"], stdout=PIPE) as child:
        assert int(await line(child)) == child.pid


async def test_several_may_wait_for_the_same_child(launcher):
    codes = []

    async def wait(child):
        codes.append(await child.wait())

    async with await launcher.spawn(["/bin/sh", "-c", "exit 5"]) as child, anyio.create_task_group() as tasks:
        for _ in range(3):
            tasks.start_soon(wait, child)
    assert codes == [5, 5, 5]


async def test_a_child_can_be_asked_to_end_and_killed(launcher):
    async with await launcher.spawn(["/bin/sleep", "60"]) as child:
        child.terminate()
        assert await child.wait() == -signal.SIGTERM
    async with await launcher.spawn(["/bin/sh", "-c", "trap '' TERM; while :; do sleep 60; done"]) as child:
        child.kill()
        assert await child.wait() == -signal.SIGKILL
        child.kill()
        child.terminate()


async def test_what_is_asked_of_a_child_that_has_ended_does_not_reach_the_next_one(launcher, line):
    async with await launcher.spawn(["/bin/sh", "-c", "echo $PPID"], stdout=PIPE) as first:
        parent = await line(first)
        await first.wait()
    async with await launcher.spawn(
        ["/bin/sh", "-c", "echo $PPID; read x; sleep 0.3; exit 3"], stdin=PIPE, stdout=PIPE
    ) as second:
        assert await line(second) == parent, "both have the same supervisor"
        first.terminate()
        first.kill()
        await second.stdin.aclose()
        assert await second.wait() == 3


async def test_leaving_the_block_kills_the_child(launcher, gone):
    async with await launcher.spawn(["/bin/sleep", "60"]) as child:
        pass
    assert child.returncode == -signal.SIGKILL
    await gone(child.pid, within=0.5)


async def test_letting_go_of_a_child_kills_it(launcher, gone):
    child = await launcher.spawn(["/bin/sleep", "60"])
    child.close()
    child.close()
    await gone(child.pid)


async def test_a_cancelled_wait_can_be_taken_up_again(launcher):
    async with await launcher.spawn(["/bin/sleep", "60"]) as child:
        with anyio.move_on_after(0.05):
            await child.wait()
        assert child.returncode is None
        child.terminate()
        assert await child.wait() == -signal.SIGTERM


async def test_cancelling_a_start_leaves_nothing(launcher, tmp_path):
    await launcher.capabilities()
    for _ in range(20):
        with anyio.CancelScope() as scope:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(lambda: launcher.spawn(["/bin/sh", "-c", f"sleep 1; touch {tmp_path}/late"]))
                await anyio.lowlevel.checkpoint()
                scope.cancel()
    await anyio.sleep(1.2)
    assert list(tmp_path.iterdir()) == []


async def test_closing_the_launcher_ends_every_child(simple, gone):
    async with open_launcher(there=simple) as launcher:
        children = [await launcher.spawn(["/bin/sleep", "60"]) for _ in range(5)]
        pid = launcher.pid
    assert {child.returncode for child in children} == {-signal.SIGKILL}
    for each in (pid, *(child.pid for child in children)):
        await gone(each, within=0.5)
    with pytest.raises(ActionError, match="closing"):
        await launcher.spawn(["/bin/true"])


async def test_many_children_run_side_by_side(launcher, run):
    outs = []

    async def one(number):
        outs.append((await run(f"echo {number}")).out)

    async with anyio.create_task_group() as tasks:
        for number in range(100):
            tasks.start_soon(one, number)
    assert sorted(map(int, outs)) == list(range(100))


async def test_a_supervisor_serves_one_child_after_the_other(launcher, run):
    parents = {(await run("ps -o ppid= -p $$ || echo $PPID")).out.strip() for _ in range(5)}
    assert len(parents) == 1
    assert parents != {str(os.getpid())}


async def test_a_supervisor_that_died_idle_is_replaced(launcher, run, gone):
    [parent] = (await run("echo $PPID")).out.split()
    os.kill(int(parent), signal.SIGKILL)
    await gone(int(parent))
    assert (await run("echo next")).out == "next\n"


async def test_a_launcher_that_died_is_replaced_and_running_children_go_on(launcher, run, gone, line):
    async with await launcher.spawn(["/bin/sh", "-c", "echo up; read x; echo $x"], stdin=PIPE, stdout=PIPE) as child:
        assert await line(child) == "up"
        first = launcher.pid
        os.kill(first, signal.SIGKILL)
        assert (await run("echo next")).out == "next\n"
        assert launcher.pid != first
        await child.stdin.send(b"word\n")
        assert await line(child) == "word"
        assert await child.wait() == 0


async def test_a_launcher_that_was_stopped_is_replaced(launcher, run, monkeypatch, gone):
    monkeypatch.setattr(supervisors, "_ANSWER", 0.5)
    monkeypatch.setattr(supervisors, "_PATIENCE", 0.2)
    async with await launcher.spawn(["/bin/sleep", "60"]) as child:  # no supervisor is idle
        first = launcher.pid
        os.kill(first, signal.SIGSTOP)
        assert (await run("echo next")).out == "next\n"
        await gone(first)
        child.terminate()
        assert await child.wait() == -signal.SIGTERM


async def test_the_end_of_a_launcher_that_one_start_notices_late_leaves_the_new_one_alone(launcher, run, monkeypatch):
    """Two starts wait for the same launcher; the first of them to notice its end has another one by then."""
    late, ready = anyio.Event(), supervisors._ready

    async def slow(control):
        if not late.is_set():
            late.set()
            await replaced.wait()
        await ready(control)

    replaced = anyio.Event()
    async with await launcher.spawn(["/bin/sleep", "60"]), anyio.create_task_group() as tasks:
        os.kill(launcher.pid, signal.SIGSTOP)
        monkeypatch.setattr(supervisors, "_ready", slow)
        tasks.start_soon(run, "true")
        await late.wait()
        os.kill(launcher.pid, signal.SIGKILL)
        await run("true")
        second = launcher.pid
        replaced.set()
    assert launcher.pid == second


async def test_a_start_that_is_under_way_when_the_launcher_is_closed_starts_nothing(simple, monkeypatch):
    waiting, ready = anyio.Event(), supervisors._ready

    async def told(control):
        waiting.set()
        await ready(control)

    monkeypatch.setattr(supervisors, "_ready", told)
    caught = []

    async def start(launcher):
        with pytest.raises(ActionError, match="closing") as found:
            await launcher.spawn(["/bin/sleep", "60"])
        caught.append(found)

    async with anyio.create_task_group() as tasks, open_launcher(there=simple) as launcher:
        tasks.start_soon(start, launcher)
        await waiting.wait()
        os.kill(launcher.pid, signal.SIGSTOP)
    assert len(caught) == 1
    assert launcher.pid is None


@linux
async def test_the_end_of_a_supervisor_is_an_error_and_the_end_of_its_children(launcher, line, gone, run):
    hidden = "(setsid sleep 60 & echo $!) & wait; echo $$ $PPID; sleep 60"
    async with await launcher.spawn(["/bin/sh", "-c", hidden], stdout=PIPE) as child:
        away = int(await line(child))
        own, parent = map(int, (await line(child)).split())
        os.kill(parent, signal.SIGKILL)
        with anyio.fail_after(5), pytest.raises(ActionError) as caught:
            await child.wait()
        assert (caught.value.code, caught.value.retryable) == ("ISOLATION_ERROR", True)
        for pid in (own, away):
            await gone(pid)
    assert (await run("echo next")).out == "next\n"


async def test_running_out_of_descriptors_is_an_error_of_the_system(launcher, run):
    assert (await run("echo first")).out == "first\n"
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    spare = os.open("/", os.O_RDONLY)
    os.close(spare)
    resource.setrlimit(resource.RLIMIT_NOFILE, (spare + 2, hard))
    try:
        with pytest.raises(OSError) as caught:
            await launcher.spawn(["/bin/true"], stdin=PIPE, stdout=PIPE, stderr=PIPE)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert caught.value.errno == errno.EMFILE
    assert (await run("echo next")).out == "next\n"


@linux
async def test_no_descriptor_is_left_open(launcher, run):
    await run("echo warm up")
    before = descriptors()
    for _ in range(5):
        await run("cat")
        await run("sleep 60 & echo hi")
        with pytest.raises(FileNotFoundError):
            await launcher.spawn(["/no/such/program"], stdin=PIPE, stdout=PIPE)
        child = await launcher.spawn(["/bin/sleep", "60"], stdin=PIPE, stdout=PIPE, stderr=PIPE)
        child.close()
    await run("echo")
    assert descriptors() <= before


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


@linux
async def test_the_launcher_has_nothing_of_the_environment(launcher, run, monkeypatch):
    monkeypatch.setenv("CANARY", "in the environment of the engine")
    await run("true")
    assert shown(launcher.pid, "environ") == b""
    words = shown(launcher.pid, "cmdline").split(b"\0")
    assert words[1:3] == [b"-I", b"-S"]
    assert words[-2] == b"opcode-launcher"


def shown(pid: int, name: str) -> bytes:
    return Path(f"/proc/{pid}/{name}").read_bytes()


async def test_the_launcher_is_started_when_it_is_first_needed(simple):
    async with open_launcher(there=simple) as launcher:
        assert launcher.pid is None


async def test_the_launcher_does_not_load_what_it_does_not_need(launcher, run):
    code = (
        "import sys; sys.path.append(sys.argv[1]); import opcode_kernel.isolation.process.main;"
        "print(sorted({n.partition('.')[0] for n in sys.modules} & {'anyio', 'asyncio', 'structlog', 'subprocess',"
        " 'threading', 'ssl', 'inspect'}), [n for n in sys.modules if n.startswith('opcode_kernel') and '.process' not in n])"
    )
    import opcode_kernel

    packages = str(Path(opcode_kernel.__file__).parents[1])
    done = await run([sys.executable, "-I", "-S", "-c", code, packages])
    assert done.out == "[] ['opcode_kernel', 'opcode_kernel.isolation']\n", done.err


def test_a_request_that_is_cut_short_starts_nothing():
    """What the owner sends when it is killed in the middle of a request."""
    ours, theirs = socket.socketpair()
    code = (
        "import sys; sys.path.append(sys.argv[1]); import socket;"
        "from opcode_kernel.isolation.process.supervisor import supervise;"
        "sys.exit(supervise(socket.socket(fileno=0), []))"
    )
    import opcode_kernel

    packages = str(Path(opcode_kernel.__file__).parents[1])
    process = subprocess.Popen([sys.executable, "-I", "-c", code, packages], stdin=theirs, stdout=subprocess.DEVNULL)
    with theirs, ours:
        ours.sendall(b"tk" + b"r" + (100).to_bytes(4, sys.byteorder) + b'{"kind": "run", ')
    assert process.wait(10) == 0


async def test_standard_streams_default_to_nothing(launcher):
    async with await launcher.spawn(["/bin/sh", "-c", "read x || exit 7"], stdin=DEVNULL) as child:
        assert await child.wait() == 7
        assert child.stdin is child.stdout is child.stderr is None
