"""External MCP servers through the daemon and the command line: added, used, killed, taken away, while it runs."""

from __future__ import annotations

import json
import os
import queue
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from mcp.client.session import ClientSession
from mcp.client.sse import sse_client
from tests.soak.nursery import Nursery

pytestmark = pytest.mark.anyio

TINY = str(Path(__file__).parents[2] / "plugins" / "opcode-mcp-bridge" / "tests" / "tiny_server.py")
KEY = "a passphrase"
TOKEN = "canary-Token/4711+äß"


class Home:
    """A data directory, its daemons and its commands."""

    def __init__(self, home: Path, nursery: Nursery) -> None:
        self.home = home
        self.daemon: int | None = None
        self._nursery = nursery
        self.log: list[dict[str, Any]] = []
        self.raw: list[str] = []
        self._lines: queue.Queue[str | None] = queue.Queue()

    @property
    def environ(self) -> dict[str, str]:
        inherited = {key: value for key, value in os.environ.items() if not key.startswith("OPCODE_")}
        mine = {"OPCODE_HOME": str(self.home), "OPCODE_PLUGINS": "steps,crypto,mcp-bridge", "OPCODE_VAULT_KEY": KEY}
        return inherited | mine

    def run(self, *words: str, stdin: str = "") -> tuple[int, str, str]:
        done = self._nursery.run(words, self.environ, stdin)
        return done.returncode, done.stdout, done.stderr

    def json(self, *words: str) -> Any:
        code, out, err = self.run(*words, "--json") if "--" not in words else self.run(*_before_dashes(words))
        assert code == 0, err
        return json.loads(out)

    def start(self) -> dict[str, Any]:
        ours, theirs = os.pipe()
        with os.fdopen(theirs, "wb") as log, Path(os.devnull).open("r+b") as nothing:
            streams = [nothing.fileno(), nothing.fileno(), log.fileno()]
            words = ["serve", "--listen-addr", "127.0.0.1:0"]
            self.daemon = self._nursery.opcode(words, self.environ, streams, Path.cwd())
        threading.Thread(target=self._read, args=(ours,), daemon=True).start()
        return self.said("ready")

    def _read(self, log: int) -> None:
        with os.fdopen(log, encoding="utf-8") as lines:
            for line in lines:
                self._lines.put(line)
        self._lines.put(None)

    def said(self, message: str) -> dict[str, Any]:
        while (line := self._lines.get(timeout=30)) is not None:
            self.raw.append(line)
            if line.startswith("{") and (record := json.loads(line))["msg"] == message:
                return record
        raise AssertionError(f"the daemon ended without {message!r}: {self.raw}")

    def end(self, number: signal.Signals = signal.SIGTERM) -> None:
        assert self.daemon is not None
        os.kill(self.daemon, number)
        self._nursery.reap(self.daemon)
        self.daemon = None
        while (line := self._lines.get(timeout=10)) is not None:
            self.raw.append(line)


def _before_dashes(words: tuple[str, ...]) -> list[str]:
    end = words.index("--")
    return [*words[:end], "--json", *words[end:]]


@pytest.fixture
def home(tmp_path: Path, nursery: Nursery) -> Iterator[Home]:
    made = Home(tmp_path / "home", nursery)
    yield made
    if made.daemon is not None:
        os.kill(made.daemon, signal.SIGKILL)
        nursery.reap(made.daemon)


async def call(url: str, tool: str, **arguments: Any) -> Any:
    async with sse_client(url) as (read, write), ClientSession(read, write) as client:
        await client.initialize()
        return (await client.call_tool(tool, arguments)).structured_content


async def run(url: str, *steps: dict[str, Any], **more: Any) -> Any:
    await call(url, "opcode.define", name="t", agent_id="a", definition={"steps": list(steps)})
    return await call(url, "opcode.run", template_name="t", agent_id="a", **more)


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
        stat = Path(f"/proc/{pid}/stat")
        return not stat.exists() or stat.read_text().rpartition(")")[2].split()[0] != "Z"
    except (ProcessLookupError, FileNotFoundError):
        return False


def until(holds: Callable[[], Any], seconds: float = 20.0) -> Any:
    end = time.monotonic() + seconds
    while not (found := holds()):
        assert time.monotonic() < end, "it did not come about"
        time.sleep(0.01)
    return found


def echo(id: str, **more: Any) -> dict[str, Any]:
    return {"id": id, "action": "tiny.echo", "params": {"text": id}, **more}


async def test_a_plugin_is_added_used_restarted_and_removed_while_the_daemon_runs(home: Home, tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    url = home.start()["url"]
    added = home.json("plugin", "add", "tiny", "--env", f"PIDS={pids}", "--", sys.executable, "-I", TINY)
    assert "tiny.echo" in added["actions"]
    assert added["server"] == {"pid": home.daemon, "status": "active", "error_message": None}
    tried, server = map(int, pids.read_text().split())
    assert (alive(tried), alive(server)) == (False, True)

    described = json.loads(home.run("actions", "tiny.add")[1])
    assert described["input_schema"]["required"] == ["a", "b"]
    assert "tiny.echo" in home.run("actions")[1]
    assert (await run(url, echo("one")))["output"]["text"] == "one"
    refused = await call(
        url, "opcode.define", name="bad", agent_id="a",
        definition={"steps": [{"id": "s", "action": "tiny.add", "params": {"a": "x", "b": 1}}]},
    )  # fmt: skip
    assert "a: expected integer" in json.dumps(refused["error"])

    os.kill(server, signal.SIGKILL)
    result = await run(url, echo("two", retry={"max": 20, "delay": "100ms"}))
    assert result["output"]["text"] == "two"
    assert until(lambda: len(pids.read_text().split()) == 3)
    again = int(pids.read_text().split()[2])

    code, _, err = home.run("plugin", "add", "tiny", "--", "x")
    assert (code, "already" in err) == (1, True)
    (listed,) = home.json("plugin", "list")["plugins"]
    assert (listed["status"], listed["error_message"]) == ("active", None)
    removed = home.json("plugin", "remove", "tiny")
    assert removed["server"]["status"] == "inactive"
    assert until(lambda: not alive(again))
    failed = await run(url, echo("three"))
    assert failed["error"]["details"]["cause"]["code"] == "ACTION_UNAVAILABLE"
    home.end()


def test_a_server_that_does_not_come_up_is_said_to_be_restarting_at_once_and_once_given_up_what_to_do(
    home: Home,
) -> None:
    home.start()
    words = ["--no-check", "--restart-max", "2", "--json", "--", sys.executable, "-c", "raise SystemExit('not here')"]
    begun = time.monotonic()
    code, out, _ = home.run("plugin", "add", "ends", *words)
    said = json.loads(out)["server"]
    assert (code, said["status"], time.monotonic() - begun < 10) == (1, "restarting", True)
    assert "it said: not here; it is started again in" in said["error_message"]
    listed = until(lambda: (row := home.json("plugin", "list")["plugins"][0])["status"] == "error" and row)
    assert listed["error_message"].endswith("it was restarted 2 times in 600 s and is given up")
    assert listed["remedy"] == f"to have the server try it again: kill -HUP {home.daemon}"
    for command in ("doctor", "plugin"):
        shown = " ".join(home.run(*([command] if command == "doctor" else [command, "list"]))[1].split())
        assert f"and is given up; {listed['remedy']}" in shown
    home.end()


async def test_changes_of_the_settings_touch_only_what_changed(home: Home, tmp_path: Path) -> None:
    pids = {name: tmp_path / name for name in ("one", "two")}
    for name, file in pids.items():
        words = [name, "--no-check", "--env", f"PIDS={file}", "--", sys.executable, "-I", TINY]
        home.json("plugin", "add", *words)
    home.start()
    changed = home.json(
        "plugin", "add", "two", "--replace", "--no-check", "--call-timeout", "7s", "--env", f"PIDS={pids['two']}", "--",
        sys.executable, "-I", TINY,
    )  # fmt: skip
    assert changed["server"]["status"] == "active"
    assert [len(file.read_text().split()) for file in pids.values()] == [1, 2]
    broken = home.run("plugin", "add", "bad", "--no-check", "--json", "--", "no-such-program")
    assert broken[0] == 1
    assert "no-such-program" in json.loads(broken[1])["server"]["error_message"]
    assert [len(file.read_text().split()) for file in pids.values()] == [1, 2]
    home.end()


def test_a_hang_up_has_a_plugin_that_was_given_up_tried_again(home: Home, tmp_path: Path) -> None:
    program = tmp_path / "server"
    home.json("plugin", "add", "tiny", "--no-check", "--", str(program))
    assert home.start()["external_plugins"] == {"tiny": "error"}
    program.write_text(f"#!{sys.executable} -I\n" + Path(TINY).read_text())
    program.chmod(0o700)
    assert home.daemon is not None
    os.kill(home.daemon, signal.SIGHUP)
    home.said("external plugin ready")
    home.end()


async def test_a_daemon_is_ready_without_the_servers_that_fail_and_says_so(home: Home) -> None:
    home.json("plugin", "add", "good", "--no-check", "--", sys.executable, "-I", TINY)
    home.json("plugin", "add", "bad", "--no-check", "--", "no-such-program")
    home.json(
        "plugin", "add", "mute", "--no-check", "--start-timeout", "1s", "--", sys.executable, "-I", TINY, "--silent"
    )
    ready = home.start()
    assert ready["external_plugins"] == {"good": "active", "bad": "error", "mute": "inactive"}
    assert any("no-such-program" in line for line in home.raw)
    rows = {row["id"]: row for row in home.json("plugin", "list")["plugins"]}
    assert rows["bad"]["status"] == "error"
    result = await run(ready["url"], {"id": "s", "action": "good.echo", "params": {"text": "well"}})
    assert result["output"]["text"] == "well"
    home.end()


async def test_a_killed_daemon_leaves_no_server_and_its_runs_are_taken_up(home: Home, tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    home.json(
        "plugin", "add", "tiny", "--no-check", "--env", f"PIDS={pids}", "--", sys.executable, "-I", TINY, "--stubborn"
    )
    url = home.start()["url"]
    grandchild = (await run(url, {"id": "s", "action": "tiny.spawn"}))["output"]["json"]
    hanging = await run(url, {"id": "s", "action": "tiny.hang"}, wait=False)
    (server,) = map(int, pids.read_text().split())
    assert (alive(server), alive(grandchild)) == (True, True)
    home.end(signal.SIGKILL)
    if sys.platform == "linux":
        until(lambda: not alive(server) and not alive(grandchild))
    home.json("plugin", "remove", "tiny")
    home.json("plugin", "add", "tiny", "--no-check", "--", "no-such-program")
    url = home.start()["url"]
    status = await call(url, "opcode.status", workflow_id=hanging["workflow_id"])
    assert status["status"] == "suspended", "its server is not up, and it is recovered all the same"
    home.end()


async def test_a_secret_of_a_plugin_shows_nowhere(home: Home) -> None:
    assert home.run("secret", "set", "TOKEN", stdin=TOKEN)[0] == 0
    added = home.run(
        "plugin", "add", "tiny", "--env", "TOKEN=${{secrets.TOKEN}}", "--json", "--", sys.executable, "-I", TINY
    )
    assert added[0] == 0
    url = home.start()["url"]
    result = await run(
        url, {"id": "env", "action": "tiny.env"},
        {"id": "err", "action": "tiny.flood_stderr", "params": {"lines": 3, "words": "${{steps.env.output.json.TOKEN}}"},
         "depends_on": ["env"]},
    )  # fmt: skip
    assert result["steps"]["env"]["output"]["json"]["TOKEN"] == "***"
    listed = home.run("plugin", "list", "--json")
    home.end()
    seen = json.dumps(result, ensure_ascii=False) + "".join(home.raw) + "".join(added[1:]) + "".join(listed[1:])
    stored = b"".join(file.read_bytes() for file in home.home.iterdir() if file.is_file())
    for text in (TOKEN, TOKEN.encode().hex(), json.dumps(TOKEN)[1:-1]):
        assert text not in seen
        assert text.encode() not in stored
