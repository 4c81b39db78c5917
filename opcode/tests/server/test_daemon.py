"""The daemon as a process: start, signals, a second one, a taken port, a crash."""

from __future__ import annotations

import json
import os
import queue
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import anyio
import httpx2
import pytest
from mcp.client.session import ClientSession
from mcp.client.sse import sse_client

pytestmark = pytest.mark.anyio

COMMAND = [sys.executable, "-c", "from opcode_kernel.server.cli import main; raise SystemExit(main())"]
SLOW = {
    "steps": [{"id": "nap", "type": "action", "action": "shell.exec", "params": {"command": "sleep", "args": ["0.7"]}}]
}
LONG = {
    "steps": [{"id": "nap", "type": "action", "action": "shell.exec", "params": {"command": "sleep", "args": ["30"]}}]
}


class Daemon:
    """A running `opcode serve`, its log read line by line."""

    def __init__(self, home: Path, *words: str, **environ: str) -> None:
        inherited = {key: value for key, value in os.environ.items() if not key.startswith("OPCODE_")}
        plugins = {"OPCODE_PLUGINS": "steps,shell,assert"}
        self.process = subprocess.Popen(
            [*COMMAND, "serve", "--listen-addr", "127.0.0.1:0", *words],
            stderr=subprocess.PIPE,
            text=True,
            env={**inherited, **plugins, "OPCODE_HOME": str(home), **environ},
        )
        self.lines: list[dict[str, Any]] = []
        self.raw: list[str] = []
        self._queue: queue.Queue[str | None] = queue.Queue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self._queue.put(line)
        self._queue.put(None)

    def wait_for(self, message: str) -> dict[str, Any]:
        """Return the first record with this message that has not been looked at."""
        while True:
            line = self._queue.get(timeout=20)
            if line is None:
                raise AssertionError(f"the daemon ended without {message!r}: {self.raw}")
            self.raw.append(line)
            if line.startswith("{"):
                self.lines.append(json.loads(line))
                if self.lines[-1]["msg"] == message:
                    return self.lines[-1]

    def ready(self) -> str:
        return str(self.wait_for("ready")["url"]).removesuffix("/sse")

    def end(self, *numbers: signal.Signals) -> int:
        for number in numbers:
            self.process.send_signal(number)
        code = self.process.wait(timeout=20)
        self._reader.join(timeout=5)
        while (line := self._queue.get(timeout=5)) is not None:
            self.raw.append(line)
        return code


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Daemon]]:
    daemons: list[Daemon] = []

    def starting(*words: str, home: Path = tmp_path / "home", **environ: str) -> Daemon:
        daemons.append(Daemon(home, *words, **environ))
        return daemons[-1]

    yield starting
    for daemon in daemons:
        if daemon.process.poll() is None:
            daemon.process.kill()
        daemon.process.wait()
        assert daemon.process.stderr is not None
        daemon._reader.join(timeout=5)
        daemon.process.stderr.close()


async def call(url: str, tool: str, **arguments: Any) -> Any:
    async with sse_client(f"{url}/sse") as (read, write), ClientSession(read, write) as client:
        await client.initialize()
        return (await client.call_tool(tool, arguments)).structured_content


async def test_a_second_daemon_on_the_same_directory_stops_and_leaves_the_first_alone(start, tmp_path):
    first = start()
    url = first.ready()
    second = start()
    assert second.end() == 1
    (sentence,) = second.raw
    assert sentence.startswith(f"opcode: another opcode (pid {first.process.pid})")
    assert "OPCODE_HOME" in sentence
    async with httpx2.AsyncClient() as client:
        assert (await client.get(f"{url}/healthz")).json()["status"] == "ready"
    assert (tmp_path / "home" / "opcode.pid").read_text() == str(first.process.pid)


def test_a_taken_port_is_exit_code_1_and_leaves_nothing_behind(start, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        daemon = start("--listen-addr", f"127.0.0.1:{port}")
        assert daemon.end() == 1
    (sentence,) = daemon.raw
    assert f"port {port}" in sentence
    assert "--listen-addr" in sentence
    assert not (tmp_path / "home" / "opcode.pid").exists()
    assert not (tmp_path / "home" / "opcode.db").exists()


def test_a_wrong_vault_key_is_exit_code_2_unless_the_vault_may_stay_locked(start):
    daemon = start(OPCODE_VAULT_KEY="right")
    daemon.ready()
    assert daemon.end(signal.SIGTERM) == 0
    wrong = start(OPCODE_VAULT_KEY="wrong")
    assert wrong.end() == 2
    assert "OPCODE_VAULT_KEY" in wrong.raw[-1]
    assert "Traceback" not in "".join(wrong.raw)
    tolerant = start(OPCODE_VAULT_KEY="wrong", OPCODE_VAULT_OPTIONAL="true")
    tolerant.ready()
    assert tolerant.end(signal.SIGTERM) == 0


def test_the_start_says_what_works_and_what_does_not_and_so_does_the_doctor(start, tmp_path):
    home = tmp_path / "home"
    home.mkdir(mode=0o700)
    (home / "settings.json").write_text(json.dumps({"plugins": [
        {"name": "broken", "command": "no-such-program"}, {"name": "off", "command": "x", "enabled": False},
    ]}))  # fmt: skip
    environ = {"OPCODE_PLUGINS": "steps,mcp-bridge", "OPCODE_VAULT_KEY": "pass"}
    daemon = start(**environ)
    daemon.ready()
    said = {record["msg"]: record for record in daemon.lines}
    assert "isolation of commands" in said, "`ready` is the last line of the start"
    assert said["the vault is open"]["secrets"] == 0
    assert "expected a program called 'no-such-program'" in said["external plugin given up"]["error"]
    assert said["ready"]["external_plugins"] == {"broken": "error", "off": "inactive"}
    assert said["ready"]["db"] == str(home / "opcode.db")
    words = [*COMMAND, "doctor"]
    environ |= {"OPCODE_HOME": str(home), "PATH": os.environ["PATH"]}
    done = subprocess.run(words, env=environ, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    lines = done.stdout.splitlines()
    assert (
        "problem  external  broken: expected a program called 'no-such-program' in PATH or at that path, found none; to have the "
        f"server try it again: kill -HUP {daemon.process.pid}"
    ) in lines
    assert "ok       external  off: it is switched off" in lines
    assert "ok       vault     open, 0 secrets" in lines


async def test_a_stock_client_defines_runs_and_lists_and_a_signal_ends_it_all(start, tmp_path):
    daemon = start()
    url = daemon.ready()
    async with sse_client(f"{url}/sse") as (read, write), ClientSession(read, write) as client:
        await client.initialize()
        definition = {"steps": [{"id": "ok", "type": "action", "action": "assert.equals",
                                 "params": {"expected": 1, "actual": "${{inputs.n}}"}}]}  # fmt: skip
        saved = await client.call_tool("opcode.define", {"name": "t", "definition": definition, "agent_id": "a"})
        assert saved.structured_content["version"] == "v1"
        ran = await client.call_tool("opcode.run", {"template_name": "t", "agent_id": "a", "params": {"n": 1}})
        assert ran.structured_content["status"] == "completed"
        failed = await client.call_tool("opcode.run", {"template_name": "t", "agent_id": "a", "params": {"n": 2}})
        assert failed.is_error is False
        assert failed.structured_content["status"] == "failed"
        run_id = ran.structured_content["workflow_id"]
        shown = await client.call_tool("opcode.status", {"workflow_id": run_id})
        assert shown.structured_content["steps"]["ok"]["status"] == "completed"
        listed = await client.call_tool("opcode.query", {"resource": "workflows", "filter": {"status": "completed"}})
        assert [item["id"] for item in listed.structured_content["workflows"]] == [run_id]
        broken = await client.call_tool("opcode.define", {"name": "t", "definition": {}, "agent_id": "a"})
        assert broken.content[0].text.startswith("invalid definition: ")
        assert broken.structured_content["error"]["details"]["errors"]
        lost = await client.call_tool("opcode.run", {"template_name": "none", "agent_id": "a"})
        assert lost.content[0].text.startswith("template lookup failed: ")
        lost = await client.call_tool("opcode.signal", {"workflow_id": "none", "signal_type": "cancel"})
        assert lost.structured_content["error"]["code"] == "NOT_FOUND"
        assert await anyio.to_thread.run_sync(daemon.end, signal.SIGTERM) == 0
    assert all(line.startswith("{") for line in daemon.raw)
    assert not (tmp_path / "home" / "opcode.pid").exists()


async def test_a_run_in_flight_gets_its_answer_before_the_daemon_leaves(start):
    daemon = start()
    url = daemon.ready()
    await call(url, "opcode.define", name="t", definition=SLOW, agent_id="a")
    answers: list[Any] = []

    async def run() -> None:
        answers.append(await call(url, "opcode.run", template_name="t", agent_id="a"))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(run)
        with anyio.fail_after(10):
            while not (await call(url, "opcode.query", resource="workflows", filter={"status": "active"}))["total"]:  # noqa: ASYNC110
                await anyio.sleep(0.02)
        daemon.process.send_signal(signal.SIGTERM)
    assert answers[0]["status"] == "completed"
    assert await anyio.to_thread.run_sync(daemon.end) == 0


async def test_a_second_signal_ends_it_at_once(start):
    daemon = start()
    url = daemon.ready()
    await call(url, "opcode.define", name="t", definition=LONG, agent_id="a")
    await call(url, "opcode.run", template_name="t", agent_id="a", wait=False)
    daemon.process.send_signal(signal.SIGTERM)
    await anyio.to_thread.run_sync(daemon.wait_for, "stopping")
    with anyio.fail_after(5):
        assert await anyio.to_thread.run_sync(daemon.end, signal.SIGINT) == 1


async def test_what_outlives_the_grace_is_parked_and_found_suspended_next_time(start):
    daemon = start(OPCODE_SHUTDOWN_GRACE="0.3s")
    url = daemon.ready()
    await call(url, "opcode.define", name="t", definition=LONG, agent_id="a")
    started = await call(url, "opcode.run", template_name="t", agent_id="a", wait=False)
    with anyio.fail_after(6):
        assert await anyio.to_thread.run_sync(daemon.end, signal.SIGTERM) == 0
    again = start()
    assert again.wait_for("1 run was interrupted; answer with retry, skip or cancel")["interrupted"] == 1
    shown = await call(again.ready(), "opcode.status", workflow_id=started["workflow_id"])
    assert shown["status"] == "suspended"


async def test_all_runs_with_an_open_question_are_counted_and_listed_also_where_other_steps_go_on(start):
    daemon = start()
    url = daemon.ready()
    steps = [{**LONG["steps"][0], "id": "cut"}, {"id": "go", "type": "wait", "config": {"duration": "20s"}}]
    await call(url, "opcode.define", name="t", definition={"steps": steps}, agent_id="a")
    for _ in range(2):
        await call(url, "opcode.run", template_name="t", agent_id="a", wait=False)
    await anyio.to_thread.run_sync(daemon.end, signal.SIGKILL)
    again = start(OPCODE_RECOVERY="resume")
    assert again.wait_for("2 runs were interrupted; answer with retry, skip or cancel")["interrupted"] == 2


async def test_after_a_crash_the_run_is_suspended_and_can_be_cancelled(start):
    daemon = start()
    url = daemon.ready()
    await call(url, "opcode.define", name="t", definition=LONG, agent_id="a")
    started = await call(url, "opcode.run", template_name="t", agent_id="a", wait=False)
    await anyio.to_thread.run_sync(daemon.end, signal.SIGKILL)
    again = start(OPCODE_POOLSIZE="3")
    told = again.wait_for("1 run was interrupted; answer with retry, skip or cancel")
    assert told["level"] == "WARN"
    again.wait_for("unknown environment variable 'OPCODE_POOLSIZE' is ignored; did you mean 'OPCODE_POOL_SIZE'?")
    url = again.ready()
    shown = await call(url, "opcode.status", workflow_id=started["workflow_id"])
    assert shown["status"] == "suspended"
    assert "workflow_interrupted" in [event["event_type"] for event in shown["events"]]
    await call(url, "opcode.signal", workflow_id=started["workflow_id"], signal_type="cancel", payload={})
    assert (await call(url, "opcode.status", workflow_id=started["workflow_id"]))["status"] == "cancelled"


def test_a_hang_up_reloads_the_level_and_names_what_needs_a_restart(start, tmp_path):
    daemon = start()
    daemon.ready()
    file = tmp_path / "home" / "settings.json"
    file.write_text('{"log_level": "debug", "pool_size": 3}')
    daemon.process.send_signal(signal.SIGHUP)
    assert daemon.wait_for("settings reloaded")["changed"] == ["log_level", "pool_size"]
    assert daemon.wait_for("these settings take effect after a restart")["settings"] == ["pool_size"]
    file.write_text('{"log_level": "debug", "fs": {"denypaths": []}}')  # as it was at the start, but for a remark
    daemon.process.send_signal(signal.SIGHUP)
    assert daemon.wait_for("settings reloaded")["changed"] == ["pool_size"]
    daemon.wait_for(f"unknown setting 'fs.denypaths' in {file} is ignored; did you mean 'fs.deny_paths'?")
    file.write_text("{oops")
    daemon.process.send_signal(signal.SIGHUP)
    assert "line 1" in daemon.wait_for("settings not reloaded")["error"]
    assert daemon.end(signal.SIGTERM) == 0


async def test_a_hang_up_puts_path_rules_into_force(start, tmp_path):
    daemon = start(OPCODE_PLUGINS="steps,fs")
    url = daemon.ready()
    (tmp_path / "f").write_text("x")
    steps = [{"id": "r", "action": "fs.read", "params": {"path": str(tmp_path / "f")}}]
    await call(url, "opcode.define", name="read", definition={"steps": steps}, agent_id="tester")
    assert (await call(url, "opcode.run", template_name="read", agent_id="tester"))["status"] == "completed"
    rules = {"fs": {"deny_paths": [str(tmp_path)]}, "shell": {"timeout": "5s"}}
    (tmp_path / "home/settings.json").write_text(json.dumps(rules))
    daemon.process.send_signal(signal.SIGHUP)
    assert daemon.wait_for("settings reloaded")["changed"] == ["fs", "shell"]
    assert daemon.wait_for("these settings take effect after a restart")["settings"] == ["shell"]
    answer = await call(url, "opcode.run", template_name="read", agent_id="tester")
    assert answer["status"] == "failed"
    assert answer["steps"]["r"]["error"]["code"] == "PATH_DENIED"
    assert daemon.end(signal.SIGTERM) == 0


def test_install_tells_the_live_server_and_define_goes_through_it(start, tmp_path):
    daemon = start()
    daemon.ready()
    environ = {**os.environ, "OPCODE_HOME": str(tmp_path / "home"), "OPCODE_PLUGINS": "steps,shell,assert"}
    installed = subprocess.run(
        [*COMMAND, "install", "--log-level", "debug"], capture_output=True, text=True, env=environ, check=True
    )
    assert f"(pid {daemon.process.pid})" in installed.stdout
    assert daemon.wait_for("settings reloaded")["changed"] == ["log_level"]
    file = tmp_path / "slow.json"
    file.write_text(json.dumps(SLOW))
    defined = subprocess.run([*COMMAND, "define", str(file)], capture_output=True, text=True, env=environ, check=True)
    assert defined.stdout == "slow v1\n"
    file.write_text('{"steps": []}')
    refused = subprocess.run([*COMMAND, "define", str(file)], capture_output=True, text=True, env=environ, check=False)
    assert refused.returncode == 1
    assert "the definition has 1 error\nerror: steps: [VALIDATION_ERROR] expected at least one step" in refused.stderr
    assert daemon.end(signal.SIGTERM) == 0
