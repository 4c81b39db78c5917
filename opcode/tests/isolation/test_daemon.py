"""The daemon's side: its key is out of reach of what it starts, its rules bind commands, and it tells what it can do."""

from __future__ import annotations

import json
import os
import queue
import shutil
import signal
import subprocess
import sys
import sysconfig
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from mcp.client.session import ClientSession
from mcp.client.sse import sse_client

pytestmark = pytest.mark.anyio

COMMAND = [sys.executable, "-c", "from opcode_kernel.server.cli import main; raise SystemExit(main())"]
KEY = "canary-of-the-vault-key-4711"
NOBODY = 65534


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class Daemon:
    """A running `opcode serve`."""

    def __init__(self, home: Path, *, command: list[str] = COMMAND, **environ: str) -> None:
        inherited = {key: value for key, value in os.environ.items() if not key.startswith("OPCODE_")}
        self.process = subprocess.Popen(
            [*command, "serve", "--listen-addr", "127.0.0.1:0"], stderr=subprocess.PIPE, text=True,
            env={**inherited, "OPCODE_HOME": str(home), "OPCODE_PLUGINS": "steps,shell,fs", **environ},
        )  # fmt: skip
        self.pid = self.process.pid
        self.said: dict[str, dict] = {}
        self._lines: queue.Queue[str] = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()
        self.url = self.wait_for("ready")["url"]

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self._lines.put(line)
        self._lines.put("{}")

    def wait_for(self, message: str) -> dict:
        while message not in self.said:
            record = json.loads(self._lines.get(timeout=30))
            assert record, "the daemon ended"
            self.said[record["msg"]] = record
        return self.said.pop(message)

    async def run(self, params: dict, *, action: str = "shell.exec", wait: bool = True) -> dict:
        """Run one command, or another action, and return the output of its step, or the id of the run."""
        definition = {"steps": [{"id": "a", "type": "action", "action": action, "params": params}]}
        async with sse_client(self.url) as streams, ClientSession(*streams) as session:
            await session.initialize()
            made = await session.call_tool("opcode.define", {"name": "t", "definition": definition, "agent_id": "me"})
            assert not made.is_error, made
            given = {"template_name": "t", "agent_id": "me", "wait": wait}
            answer = (await session.call_tool("opcode.run", given)).structured_content
            assert answer is not None
            assert not wait or "output" in answer, answer["error"]
            return answer["output"] if wait else answer

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        self.process.stderr.close()


@pytest.fixture
def start(tmp_path):
    daemons = []

    def run(**environ: str) -> Daemon:
        daemons.append(Daemon(tmp_path / "home", **environ))
        return daemons[-1]

    yield run
    for daemon in daemons:
        daemon.close()


def environments_with(text: str) -> list[str]:
    """Return every file of every process that shows `text` in its environment or its command line."""
    found = []
    for entry in Path("/proc").iterdir():
        for name in ("environ", "cmdline"):
            try:
                if entry.name.isdigit() and text.encode() in (entry / name).read_bytes():
                    found.append(f"{entry}/{name}")
            except OSError:
                continue
    return found


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
async def test_the_key_of_the_vault_is_found_nowhere(start):
    daemon = start(OPCODE_VAULT_KEY=KEY, OPCODE_ISOLATION_MODE="off")
    looks = "printenv OPCODE_VAULT_KEY; env | grep -c canary; for p in $PPID $(ps -o ppid= -p $PPID) {pid}; do tr '\\0' '\\n' < /proc/$p/environ; done"
    output = await daemon.run({"command": looks.format(pid=daemon.pid), "shell": True, "parse_json": False})
    assert output["stdout"].splitlines()[0] == "0"
    assert "canary" not in output["stdout"]
    if os.geteuid() == 0:  # nobody else may look at it at all
        assert f"HOME={os.environ['HOME']}" in output["stdout"], "the environment of the daemon was really looked at"
    only = await daemon.run(
        {"command": "printenv", "args": ["OPCODE_VAULT_KEY"], "inherit_env": ["OPCODE_VAULT_KEY", "PATH"]}
    )
    assert (only["exit_code"], only["stdout"]) == (1, "")
    assert environments_with(KEY) == [], "neither the daemon, its launcher, its supervisors nor what they started"
    assert environments_with("opcode-launcher"), "they were there to be looked at"


@pytest.fixture
def user_home(tmp_path) -> Iterator[Path]:
    """A directory of a user who is not root."""
    home = Path(tempfile.mkdtemp()).resolve()
    if os.geteuid() == 0:
        os.chown(home, NOBODY, NOBODY)
    yield home
    shutil.rmtree(home)


@pytest.fixture(scope="module")
def user_program() -> tuple[list[str], str]:
    """How a user who is not root starts a Python with all that is installed here, and where that Python is."""
    if os.geteuid() != 0:
        return COMMAND[:2], sys.executable
    setpriv, python = shutil.which("setpriv"), shutil.which("python3", path="/usr/bin:/usr/local/bin")
    if setpriv is None or python is None:
        pytest.skip("needs setpriv and a Python of the system")
    start = [setpriv, f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", python, "-c"]
    usable = f"import site, sys; site.addsitedir({sysconfig.get_path('purelib')!r}); "
    version = f"assert sys.version_info[:2] == {sys.version_info[:2]}; import opcode_kernel, uvicorn, pydantic_core"
    if subprocess.run([*start, usable + version], check=False, capture_output=True).returncode:
        pytest.skip("needs a Python of the system of the same version, and packages that everybody may read")
    return [*start, usable], python


@pytest.fixture
def as_user(user_home, user_program) -> Iterator[Callable[..., Daemon]]:
    """Start daemons as a user who is not root, in a directory of that user."""
    *start, prelude = user_program[0]
    command = [*start, prelude + COMMAND[2]] if os.geteuid() == 0 else COMMAND
    daemons = []

    def run(**environ: str) -> Daemon:
        daemons.append(Daemon(user_home / "home", command=command, HOME=str(user_home), **environ))
        return daemons[-1]

    yield run
    for daemon in daemons:
        daemon.close()


def text_of(path: str) -> str:
    """Return what the kernel says there, nothing where there is no such file."""
    return Path(path).read_text() if Path(path).exists() else ""


#: Tries every way into another process of its user, and says what became of each.
INTRUDER = """
import ctypes, os, sys
pid, libc = int(sys.argv[1]), ctypes.CDLL(None, use_errno=True)
def tried(way):
    try:
        way()
    except OSError as error:
        return os.strerror(error.errno)
    return "done"
def traced():
    if libc.ptrace(0x4206, pid, None, None):  # PTRACE_SEIZE, which stops nobody
        raise OSError(ctypes.get_errno(), "ptrace")
def opened(name, flags=os.O_RDONLY):
    os.close(os.open(f"/proc/{pid}/{name}", flags))
print("same user" if os.stat(f"/proc/{pid}").st_uid == os.getuid() else "another user")
print("mem", tried(lambda: opened("mem")))
print("mem, written", tried(lambda: opened("mem", os.O_RDWR)))
print("environ", tried(lambda: opened("environ")))
print("maps", tried(lambda: opened("maps")))
print("ptrace", tried(traced))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux lets a process refuse to be looked into")
async def test_a_command_of_the_same_user_cannot_look_into_a_daemon_that_has_a_vault_key(
    as_user, user_home, user_program
):
    script = user_home / "intruder.py"
    script.write_text(INTRUDER)
    script.chmod(0o644)
    daemon = as_user(OPCODE_VAULT_KEY=KEY)
    output = await daemon.run({"command": user_program[1], "args": [str(script), str(daemon.pid)]})
    first, *ways = output["stdout"].splitlines()
    assert (first, output["stderr"]) == ("same user", "")
    assert [way for way in ways if not way.endswith(("Permission denied", "Operation not permitted"))] == []
    assert len(ways) == 5
    limits = text_of(f"/proc/{daemon.pid}/limits").splitlines()
    assert next(line.split()[4] for line in limits if line.startswith("Max core file size")) == "0"
    if text_of("/proc/sys/kernel/yama/ptrace_scope").strip() in ("", "0"):  # the daemon refused, and not the machine
        daemon.close()
        without = as_user()
        output = await without.run({"command": user_program[1], "args": [str(script), str(without.pid)]})
        assert [way for way in output["stdout"].splitlines()[1:4] if not way.endswith("done")] == []


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux lets a process refuse to be looked into")
@pytest.mark.parametrize("network", ["true", "false"])
async def test_such_a_daemon_starts_limits_and_ends_commands_and_works_on_files(as_user, user_home, named, network):
    daemon = as_user(OPCODE_VAULT_KEY=KEY, OPCODE_ISOLATION_ALLOW_NETWORK=network, OPCODE_ISOLATION_MAX_PROCESSES="200")
    body = f"setsid {named.command} & echo up; tail -n +3 /proc/net/dev | grep -v lo: | wc -l"
    output = await daemon.run({"command": body, "shell": True, "parse_json": False})
    assert (output["exit_code"], output["stderr"], output["stdout"].splitlines()[0]) == (0, "", "up")
    if network == "false" and daemon.wait_for("isolation of commands")["can_limit_network"]:
        assert output["stdout"].splitlines()[1] == "0", "no interface but its own loopback"
    assert named.pids() == [], "what it left behind was found and killed"
    output = await daemon.run({"command": "sleep", "args": ["60"], "timeout": "200ms"})
    assert output["killed"] is True
    path = str(user_home / "made" / "file")
    await daemon.run({"path": path, "content": "hello", "create_dirs": True}, action="fs.write")
    await daemon.run({"src": path, "dst": f"{path}2"}, action="fs.copy")
    listed = await daemon.run({"path": str(user_home / "made")}, action="fs.list")
    assert [entry["name"] for entry in listed["entries"]] == ["file", "file2"]
    assert (await daemon.run({"path": f"{path}2"}, action="fs.read"))["content"] == "hello"
    await daemon.run({"path": str(user_home / "made"), "recursive": True}, action="fs.delete")
    assert not Path(path).parent.exists()


async def test_rules_of_paths_bind_commands_too(start, tmp_path, there):
    if not (there.root and "mount" in there.namespaces and there.can_isolate_fs):
        pytest.skip(f"the data directory is covered by root only: {dict(there.lines())}")
    (tmp_path / "secret").write_text("hidden")
    daemon = start(OPCODE_FS_DENY_PATHS=str(tmp_path / "secret"))
    output = await daemon.run({"command": f"cat {tmp_path}/secret; ls {tmp_path}/home; echo done", "shell": True})
    assert output["stdout"] == "done\n"
    assert (tmp_path / "home" / "opcode.db").exists()
    (tmp_path / "open").write_text("seen")
    (tmp_path / "home" / "settings.json").write_text(
        json.dumps({"fs": {"read_only_paths": [str(tmp_path / "secret")]}})
    )
    daemon.process.send_signal(signal.SIGHUP)
    daemon.wait_for("settings reloaded")
    output = await daemon.run(
        {"command": f"cat {tmp_path}/open; cat /etc/hostname > /dev/null && echo up", "shell": True}
    )
    assert output["stdout"] == "up\n"


async def test_the_daemon_says_once_what_it_can_hold_commands_to(start):
    daemon = start(OPCODE_ISOLATION_MODE="auto")
    record = daemon.wait_for("isolation of commands")
    assert record["mode"] == "auto"
    assert isinstance(record["can_limit_memory"], bool)
    assert record["files"]


async def test_commands_of_a_daemon_that_is_killed_end_within_five_seconds(start, tmp_path, named, gone):
    daemon = start()
    os.mkfifo(tmp_path / "up")
    body = f"trap '' TERM HUP; setsid {named.command} & (setsid {named.command} &); sleep 0.2; echo up > {tmp_path}/up; wait; sleep 60"
    await daemon.run({"command": body, "shell": True, "timeout": "60s"}, wait=False)
    assert (tmp_path / "up").read_text() == "up\n"
    pids = named.pids()
    assert len(pids) == 3
    daemon.process.send_signal(signal.SIGKILL)
    daemon.process.wait()
    began = time.monotonic()
    for pid in pids:
        await gone(pid)
    assert time.monotonic() - began < 5
    assert named.pids() == []


def test_isolation_that_is_required_and_not_to_be_had_is_no_start(tmp_path, there):
    if "io" in there.controllers:
        pytest.skip("this machine can limit everything")
    env = {
        **os.environ,
        "OPCODE_HOME": str(tmp_path),
        "OPCODE_ISOLATION_MODE": "required",
        "OPCODE_ISOLATION_MAX_DISK_IO_BPS": "1MB",
    }
    done = subprocess.run(
        [*COMMAND, "serve", "--listen-addr", "127.0.0.1:0"],
        capture_output=True,
        text=True,
        env=env,
        timeout=60,
        check=False,
    )
    assert done.returncode == 2
    assert "isolation.max_disk_io_bps" in done.stderr
    found = subprocess.run(
        [*COMMAND, "doctor", "--json"], capture_output=True, text=True, env=env, timeout=60, check=False
    )
    assert found.returncode == 1
    isolation = [each for each in json.loads(found.stdout)["findings"] if each["check"] == "isolation"]
    assert [each["text"] for each in isolation if each["level"] == "problem"] == [
        "isolation.max_disk_io_bps is not enforced here"
    ]
    assert any(each["text"].startswith("control group: ") for each in isolation)


@pytest.mark.parametrize(("given", "level"), [("auto", "warning"), ("fallback", "warning"), ("off", "warning")])
def test_the_doctor_warns_of_limits_that_do_not_hold(tmp_path, there, given, level):
    env = {
        **os.environ,
        "OPCODE_HOME": str(tmp_path),
        "OPCODE_ISOLATION_MODE": given,
        "OPCODE_ISOLATION_MAX_CPU_PERCENT": "50",
    }
    if given == "auto" and there.can_limit_cpu:
        pytest.skip("here it holds")
    done = subprocess.run(
        [*COMMAND, "doctor", "--json"], capture_output=True, text=True, env=env, timeout=60, check=False
    )
    findings = [each for each in json.loads(done.stdout)["findings"] if each["check"] == "isolation"]
    assert {"check": "isolation", "level": level, "text": "isolation.max_cpu_percent is not enforced here"} in findings
    assert findings[0]["text"].startswith(f"mode {'off' if given == 'fallback' else given}; ")
