"""The daemon's side: its key is out of reach of what it starts, its rules bind commands, and it tells what it can do."""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from mcp.client.session import ClientSession
from mcp.client.sse import sse_client

pytestmark = pytest.mark.anyio

COMMAND = [sys.executable, "-c", "from opcode_kernel.server.cli import main; raise SystemExit(main())"]
KEY = "canary-of-the-vault-key-4711"


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class Daemon:
    """A running `opcode serve`."""

    def __init__(self, home: Path, **environ: str) -> None:
        inherited = {key: value for key, value in os.environ.items() if not key.startswith("OPCODE_")}
        self.process = subprocess.Popen(
            [*COMMAND, "serve", "--listen-addr", "127.0.0.1:0"], stderr=subprocess.PIPE, text=True,
            env={**inherited, "OPCODE_HOME": str(home), "OPCODE_PLUGINS": "steps,shell,fs", **environ},
        )  # fmt: skip
        self.pid = self.process.pid
        self._lines: queue.Queue[str] = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()
        self.url = self.wait_for("ready")["url"]

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self._lines.put(line)
        self._lines.put("{}")

    def wait_for(self, message: str) -> dict:
        while True:
            record = json.loads(self._lines.get(timeout=30))
            if record.get("msg") == message:
                return record
            assert record, "the daemon ended"

    async def run(self, params: dict, *, wait: bool = True) -> dict:
        """Run one command and return the output of its step, or the id of the run."""
        definition = {"steps": [{"id": "a", "type": "action", "action": "shell.exec", "params": params}]}
        async with sse_client(self.url) as streams, ClientSession(*streams) as session:
            await session.initialize()
            made = await session.call_tool("opcode.define", {"name": "t", "definition": definition, "agent_id": "me"})
            assert not made.is_error, made
            given = {"template_name": "t", "agent_id": "me", "wait": wait}
            answer = (await session.call_tool("opcode.run", given)).structured_content
            assert answer is not None
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
    assert f"HOME={os.environ['HOME']}" in output["stdout"], "the environment of the daemon was really looked at"
    only = await daemon.run(
        {"command": "printenv", "args": ["OPCODE_VAULT_KEY"], "inherit_env": ["OPCODE_VAULT_KEY", "PATH"]}
    )
    assert (only["exit_code"], only["stdout"]) == (1, "")
    assert environments_with(KEY) == [], "neither the daemon, its launcher, its supervisors nor what they started"
    assert environments_with("opcode-launcher"), "they were there to be looked at"


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
