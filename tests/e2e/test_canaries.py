"""Secrets are abused in every way that came to mind, on a real daemon; afterwards nothing that is kept or said shows one."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing, suppress
from pathlib import Path
from typing import Any

import pytest
from bench.mcp_client import McpClient
from tests.e2e.canaries import CANARIES, Echo, echo_server, hits, spellings
from tests.soak.nursery import Nursery

from opcode_kernel.runtime.vault import open_vault
from opcode_kernel.store.tortoise import SqlStore

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(240)]

AGENT = "singer"
PASSPHRASE = "the-passphrase-is-a-canary-too"
#: Prints what is in the environment variable T in every way of which the standard library knows, and fails.
_PRINTER = """
import base64, json, os, sys, urllib.parse
t = os.environ["T"]
raw = t.encode()
print(t, repr(t), ascii(raw), json.dumps(t), json.dumps(json.dumps(t)), raw.hex(), raw.hex(" "), raw.hex().upper(), sep="\\n")
print(base64.b64encode(raw).decode(), base64.urlsafe_b64encode(b"a" + raw).decode().rstrip("="), sep="\\n")
print(base64.encodebytes(b"ab" + raw * 3).decode(), urllib.parse.quote(t), urllib.parse.quote_plus(t), sep="\\n")
print("".join("%%%02x" % byte for byte in raw), "".join("\\\\u%04x" % ord(char) for char in t if ord(char) < 65536))
sys.stderr.write("failed with " + t)
sys.exit(3)
"""


class RecordingClient(McpClient):
    """Keeps every event of its stream as it came."""

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self.received = bytearray()

    async def _event(self) -> bytes:
        event = await super()._event()
        self.received += event + b"\n"
        return event

    async def asked(self, tool: str, **given: Any) -> dict[str, Any]:
        """Call a tool and return its structured result, also that of a refusal."""
        result = await self.request("tools/call", {"name": f"opcode.{tool}", "arguments": given})
        content: dict[str, Any] = result.get("structuredContent") or {}
        return content


class House:
    """One data directory with its daemons, commands and everything they ever said."""

    def __init__(self, home: Path, nursery: Nursery) -> None:
        self.home = home
        self._nursery = nursery
        self.said: dict[str, bytes] = {}
        self._logs = 0

    def environ(self) -> dict[str, str]:
        kept = {key: value for key, value in os.environ.items() if not key.startswith("OPCODE_")}
        return kept | {
            "OPCODE_HOME": str(self.home), "OPCODE_LISTEN_ADDR": "127.0.0.1:0", "OPCODE_LOG_LEVEL": "debug",
            "OPCODE_VAULT_KEY": PASSPHRASE, "OPCODE_SHUTDOWN_GRACE": "1s",
        }  # fmt: skip

    def command(self, *words: str, stdin: str = "", ends: int = 0) -> str:
        """Run a command; what it says is kept."""
        done = self._nursery.run(words, self.environ(), stdin)
        self.said[f"the output of opcode {' '.join(words[:3])} #{len(self.said)}"] = (
            done.stdout + done.stderr
        ).encode()
        assert done.returncode == ends, done.stderr[-3000:]
        return done.stdout

    @asynccontextmanager
    async def daemon(self) -> AsyncIterator[RecordingClient]:
        """A daemon and a connection to it; leaving kills it with -9, with its WAL as it was."""
        log, pid = self._start()
        try:
            port = await self._port(log)
            async with _connected(port) as client:
                yield client
                self.said[f"the MCP answers of daemon {self._logs}"] = bytes(client.received)
        finally:
            os.kill(pid, signal.SIGKILL)
            await asyncio.to_thread(self._nursery.reap, pid)
            self.said[f"the log of daemon {self._logs}"] = log.read_bytes()
            self.said |= {f"{name} after daemon {self._logs}": content for name, content in self._files().items()}

    def _start(self) -> tuple[Path, int]:
        self._logs += 1
        log = self.home.parent / f"log-{self._logs}"
        with Path(os.devnull).open("rb") as nothing, log.open("wb") as said:
            streams = [nothing.fileno(), said.fileno(), said.fileno()]
            return log, self._nursery.opcode(["serve"], self.environ(), streams, self.home.parent)

    async def _port(self, log: Path) -> int:
        with suppress(TimeoutError):
            async with asyncio.timeout(40):
                while True:
                    for line in _lines(log):
                        if '"msg":"ready"' in line and line.endswith("\n"):
                            return int(json.loads(line)["url"].removesuffix("/sse").rpartition(":")[2])
                    await asyncio.sleep(0.02)  # nothing but the file tells
        raise AssertionError("".join(_lines(log))[-3000:])

    def _files(self) -> dict[str, bytes]:
        return {f"the file {path.name}": path.read_bytes() for path in sorted(self.home.iterdir()) if path.is_file()}

    def places(self) -> dict[str, bytes]:
        """Everything that is kept on disk, and everything that was said."""
        found = self._files()
        with closing(sqlite3.connect(self.home / "opcode.db")) as connection:
            tables = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
            for table in tables:
                rows = connection.execute(f"SELECT * FROM {table}").fetchall()
                found[f"the table {table}"] = "\n".join(map(repr, rows)).encode()
        return {**found, **self.said}


def _lines(log: Path) -> list[str]:
    return log.read_text().splitlines(keepends=True)


@asynccontextmanager
async def _connected(port: int) -> AsyncIterator[RecordingClient]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1 << 26)
    posts = await asyncio.open_connection("127.0.0.1", port)
    try:
        host = f"127.0.0.1:{port}"
        writer.write(f"GET /sse HTTP/1.1\r\nHost: {host}\r\nAccept: text/event-stream\r\n\r\n".encode())
        client = RecordingClient(host, reader, posts)
        await client.open()
        yield client
    finally:
        posts[1].close()
        writer.close()


def abuse(secret: str, echo: Echo, area: Path) -> dict[str, Any]:
    """Return a definition that does everything to a secret which a definition can do."""
    ref, shell = f"${{{{secrets.{secret}}}}}", {"command": sys.executable, "env": {"T": f"${{{{secrets.{secret}}}}}"}}
    file = str(area / f"kept-{secret}")
    calls: dict[str, tuple[str, dict[str, Any]]] = {
        "header": ("http.get", {"url": echo.url("/echo"), "headers": {"X-Key": ref, "X-Text": f"a {ref} b"}}),
        "bearer": ("http.get", {"url": echo.url("/echo"), "auth": {"type": "bearer", "token": ref}}),
        "basic": ("http.get", {"url": echo.url("/echo"), "auth": {"type": "basic", "username": "u", "password": ref}}),
        "query": ("http.get", {"url": echo.url("/echo"), "query": {"token": ref, "list": [ref, f"x{ref}"]}}),
        "path": ("http.get", {"url": echo.url(f"/echo/{ref}?q={ref}#f")}),
        "body": ("http.post", {"url": echo.url("/echo"), "body": {"k": ref, "deep": [{"t": f"<{ref}>"}]}}),
        "form": ("http.post", {"url": echo.url("/echo"), "body": {"k": ref}, "body_encoding": "form"}),
        "text": ("http.post", {"url": echo.url("/echo"), "body": f"{ref}\n{ref}", "body_encoding": "text"}),
        "away": ("http.get", {"url": echo.url("/away"), "query": {"k": ref}}),
        "refuse": ("http.post", {"url": echo.url("/refuse"), "body": ref, "fail_on_error_status": True}),
        "bad_url": ("http.get", {"url": f"http://{ref}:99999/x"}),
        "bad_host": ("http.get", {"url": f"http://{ref}.invalid/", "timeout": "2s"}),
        "user_url": ("http.get", {"url": f"http://{ref}:{ref}@127.0.0.1:1/{ref}"}),
        "bad_method": ("http.request", {"url": echo.url("/echo"), "method": ref}),
        "print": ("shell.exec", {**shell, "args": ["-c", _PRINTER]}),
        "fail_print": ("shell.exec", {**shell, "args": ["-c", _PRINTER], "fail_on_nonzero": True}),
        "argv": ("shell.exec", {"command": "printf", "args": ["%s\n%s", ref, f"--password={ref}"]}),
        "stdin": ("shell.exec", {"command": "cat", "stdin": ref}),
        "no_command": ("shell.exec", {"command": f"/nowhere/{ref}"}),
        "no_cwd": ("shell.exec", {"command": "true", "cwd": f"/nowhere/{ref}"}),
        "write": ("fs.write", {"path": file, "content": f"{ref}\n"}),
        "read": ("fs.read", {"path": file}),
        "read_base64": ("fs.read", {"path": file, "encoding": "base64"}),
        "no_file": ("fs.read", {"path": f"/nowhere/{ref}"}),
        "stat": ("fs.stat", {"path": ref}),
        "hash": ("crypto.hash", {"data": ref, "data_encoding": "base64"}),
        "hmac": ("crypto.hmac", {"data": ref, "key": ref, "algorithm": "md5"}),
        "bad_hash": ("crypto.hash", {"data": "x", "algorithm": ref}),
        "equals": ("assert.equals", {"expected": ref, "actual": "something else", "message": f"not {ref}"}),
        "equals2": ("assert.equals", {"expected": {"a": [ref]}, "actual": {"a": ["x"]}}),
        "contains": ("assert.contains", {"haystack": ["x"], "needle": ref}),
        "matches": ("assert.matches", {"value": ref, "pattern": "^never$"}),
        "pattern": ("assert.matches", {"value": "x", "pattern": f"({ref}"}),
        "schema": ("assert.schema", {"data": {"k": ref}, "schema": {"properties": {"k": {"type": "number"}}}}),
        "expr": ("expr.eval", {"expression": f"{ref} + '-tail'", "data": {"k": ref}}),
        "expr64": ("expr.eval", {"expression": "{a: toBase64(data), b: toJSON(data), c: [data, data], d: upper(data)}",
                                 "data": ref}),
        "expr_bad": ("expr.eval", {"expression": f"fromJSON({ref}) + int({ref})"}),
        "number": ("expr.eval", {"expression": "int(data)", "data": ref}),
        "log": ("workflow.log", {"message": f"log {ref}", "level": "warn", "data": {"k": [ref]}, "field": f"<{ref}>"}),
        "emit": ("workflow.emit", {"event_type": "canary.sang", "payload": {"song": ref, "text": f"la {ref}"}}),
        "emit_type": ("workflow.emit", {"event_type": f"canary.{ref}", "payload": 1}),
        "notify": ("workflow.notify", {"message": f"hear {ref}", "data": {"k": ref}}),
        "context": ("workflow.context", {"action": "update", "data": {"k": ref, "n": {"t": f"-{ref}-"}},
                                         "agent_notes": f"note {ref}"}),
        "context_text": ("workflow.context", {"action": "update", "data": f'{{"{ref}": "{ref}"}}'}),
        "context_read": ("workflow.context", {"action": "read"}),
        "no_context": ("workflow.context", {"action": "read", "workflow_id": ref}),
        "child": ("workflow.run", {"template_name": f"child-{secret}", "params": {"token": ref, "t": f"<{ref}>",
                                                                                   "deep": [{"k": ref}]}}),
        "child_text": ("workflow.run", {"template_name": f"child-{secret}", "params": f'{{"token": "{ref}", "{ref}": 1}}'}),
        "no_child": ("workflow.run", {"template_name": ref}),
    }  # fmt: skip
    ignored = {"on_error": {"strategy": "ignore"}}
    steps: list[dict[str, Any]] = []
    for name, (action, params) in calls.items():
        before = [steps[-1]["id"]] if steps else []
        steps.append({"id": name, "action": action, "params": params, "depends_on": before, **ignored})
    echoed = {"status": "${{steps.body.output.status_code}}", "said": "${{steps.body.output.body}}"}
    question = {
        "prompt_context": "printed: ${{steps.print.output.stdout_raw}}, said: ${{steps.header.output.body ?? 'nothing'}}",
        "data_inject": {"all": "${{steps.body.output}}", "notes": "${{context.k}}"},
        "options": [{"id": "go"}, {"id": "stop"}],
    }
    body = [{"id": "post", "action": "http.post", "params": {
        "url": echo.url("/echo"), "body": {"item": "${{loop.item}}", "key": ref, "echo": "${{steps.expr.output}}"}}}]  # fmt: skip
    steps += [
        {"id": "each", "type": "loop", "depends_on": ["expr64"], "config": {"over": "steps.expr64.output.result.c",
                                                                           "body": body}, **ignored},
        {"id": "pass_on", "action": "expr.eval", "depends_on": ["each", "no_child"], "params": {
            "expression": "data", "data": {"all": "${{steps.body.output}}", "in": "${{inputs.given}}"}}, **ignored},
        {"id": "ask", "type": "reasoning", "depends_on": ["pass_on"], "config": question},
        {"id": "hear", "type": "wait", "depends_on": ["ask"], "config": {"signal": "song"}},
        {"id": "end", "action": "workflow.log", "depends_on": ["hear"], "params": {
            "message": "${{steps.hear.output}}", "data": "${{steps.ask.output}}"}},
    ]  # fmt: skip
    return {"steps": steps, "inputs": {"own": ref}, "output": echoed}


def failing(secret: str, how: int) -> dict[str, Any]:
    """Return a definition that fails with a secret in what it says, before and after its hook."""
    ref = f"${{{{secrets.{secret}}}}}"
    step = [
        {"action": "workflow.fail", "params": {"reason": f"because {ref}"}},
        {"action": "assert.equals", "params": {"expected": ref, "actual": "x"}, "retry": {"max": 1, "delay": "1ms"}},
        {"action": "workflow.run", "params": {"template_name": f"failing-{secret}-0", "params": {"k": ref}}},
    ][how]
    hook = {
        "id": "hook",
        "action": "workflow.log",
        "params": {"message": f"{ref} failed", "error": "${{steps.s.error}}"},
    }
    return {"steps": [{"id": "s", **step}], "on_error": hook}


async def sing(client: RecordingClient, secret: str, echo: Echo, area: Path) -> str:
    """Define and run everything for one secret, and answer with it; returns the id of the run that waits at the end."""
    value = CANARIES[secret]
    child = {"steps": [
        {"id": "use", "action": "http.post", "params": {"url": echo.url("/child"), "body": "${{inputs}}"
                                                        .replace("inputs", "inputs.token")}},
        {"id": "say", "action": "expr.eval", "depends_on": ["use"], "params": {"expression": "data", "data": {
            "t": "${{inputs.t ?? 0}}", "said": "${{steps.use.output.body}}"}}},
    ]}  # fmt: skip
    await client.asked("define", name=f"child-{secret}", definition=child, agent_id=AGENT)
    for how in range(3):
        name = f"failing-{secret}-{how}"
        await client.asked("define", name=name, definition=failing(secret, how), agent_id=AGENT)
        failed = await client.asked("run", template_name=name, agent_id=AGENT)
        assert failed["status"] == "failed", failed
    saved = await client.asked("define", name=f"abuse-{secret}", definition=abuse(secret, echo, area), agent_id=AGENT)
    assert "version" in saved, saved
    run = await client.asked("run", template_name=f"abuse-{secret}", agent_id=AGENT, params={
        "given": {"plain": value, "text": f"<{value}>", "spelt": [word.decode() for words in spellings(value).values()
                                                                  for word in words]}})  # fmt: skip
    assert run.get("status") == "suspended", (run.get("error"), run)
    run_id = str(run["workflow_id"])
    await client.asked("signal", workflow_id=run_id, signal_type="decision", agent_id=AGENT, reasoning=f"I saw {value}",
                       payload={"choice": value})  # fmt: skip
    await client.asked("signal", workflow_id=run_id, signal_type="decision", agent_id=AGENT, reasoning=f"I saw {value}",
                       payload={"choice": "go", "data": {"why": value, value: 1}})  # fmt: skip
    return run_id


async def look(client: RecordingClient, run_id: str, template: str) -> None:
    """Ask for everything there is to see."""
    assert (await client.asked("status", workflow_id=run_id))["steps"]
    for kind in ("ascii", "mermaid"):
        await client.asked("diagram", workflow_id=run_id, format=kind)
    await client.asked("diagram", template_name=template)
    for resource in ("workflows", "events", "templates", "decisions", "agents", "actions"):
        await client.asked("query", resource=resource, filter={"limit": 100})
    await client.asked("query", resource="events", filter={"workflow_id": run_id, "limit": 1000})


async def test_no_canary_is_found_in_anything_that_is_kept_or_said(
    tmp_path: Path, nursery: Nursery, capsys: pytest.CaptureFixture[str]
) -> None:
    home, area = tmp_path / "home", tmp_path / "area"
    area.mkdir()
    house = House(home, nursery)
    with echo_server() as echo:
        (area / "value").write_text(CANARIES["PEM"], encoding="utf-8")
        house.command("secret", "set", "PEM", "--from-file", str(area / "value"))
        house.command("secret", "set", "PLAIN", stdin=CANARIES["PLAIN"])
        async with SqlStore(home / "opcode.db") as store:
            vault = await open_vault(store, PASSPHRASE)
            for name in set(CANARIES) - {"PEM", "PLAIN"}:
                await vault.set(name, CANARIES[name])
        runs = {}
        async with house.daemon() as client:
            for name in CANARIES:
                runs[name] = await sing(client, name, echo, area)
                await look(client, runs[name], f"abuse-{name}")
        async with house.daemon() as client:  # after a kill nothing is known that was not fetched again
            for name, run_id in runs.items():
                await look(client, run_id, f"abuse-{name}")
                await client.asked("signal", workflow_id=run_id, signal_type="retry", agent_id=AGENT)
                await client.asked("signal", workflow_id=run_id, signal_type="data", agent_id=AGENT, payload={
                    "signal": "song", "words": CANARIES[name], CANARIES[name]: {"n": [CANARIES[name]]}})  # fmt: skip
                ended = await client.asked("status", workflow_id=run_id)
                assert ended["status"] == "completed", ended
        for name in ("PLAIN", "ODD", "NUMBER", "PEM"):
            file = tmp_path / f"{name}.json"
            definition = abuse(name, echo, area)
            file.write_text(json.dumps({**definition, "steps": definition["steps"][:-3]}))  # what follows would wait
            shape = ["--json"] if name in ("ODD", "NUMBER") else []
            house.command("run", str(file), "--input", f"given={CANARIES[name]}", *shape)
        for words in (["list"], ["list", "--json"], ["get", "PLAIN"], ["verify"], ["audit", "--json"]):
            house.command("secret", *words)
        house.command("secret", "set", "PLAIN", CANARIES["PLAIN"], ends=2)
        house.command("doctor")
        sung = set(echo.heard)
    for name, value in CANARIES.items():  # the actions themselves got the very value, in many ways
        assert sum(value in heard for heard in sung) >= 3, name
    places = house.places()
    looked_for = sum(len(needles) for value in CANARIES.values() for needles in spellings(value).values())
    with capsys.disabled():
        size = sum(map(len, places.values())) / 1e6
        sys.stdout.write(
            f"\n{len(CANARIES)} canaries in {len(spellings('canary'))} encodings ({looked_for} texts) looked for in "
            f"{len(places)} places ({size:.1f} MB), after {len(echo.heard)} requests with secrets in them\n"
        )
    assert any("-wal" in name for name in places)
    assert len(places) >= 30
    found = hits(places)
    assert found == [], "\n".join(found[:40])
    assert not [name for name, content in places.items() if PASSPHRASE.encode() in content]


@pytest.mark.parametrize("encoding", list(spellings("canary")))
def test_a_canary_that_is_out_would_be_found(encoding: str) -> None:
    for name, value in CANARIES.items():
        for needle in spellings(value)[encoding]:
            assert any(hit.startswith(f"{name} as ") for hit in hits({"a place": b'{"text":"' + needle + b'"}'}))


def test_the_key_of_the_vault_is_in_no_environment_of_the_daemon(tmp_path: Path) -> None:
    if not Path("/proc/self/environ").exists():
        pytest.skip("this system shows nobody's environment")
    script = (
        "from opcode_kernel.server.settings import load_settings; from pathlib import Path; import os, subprocess; "
        "assert load_settings().vault_key == os.environ['WANTED'][::-1]; print(Path('/proc/self/environ').read_bytes()); "
        "print(subprocess.run(['env'], capture_output=True).stdout)"
    )
    environ = {**os.environ, "OPCODE_HOME": str(tmp_path), "OPCODE_VAULT_KEY": PASSPHRASE, "WANTED": PASSPHRASE[::-1]}
    done = subprocess.run([sys.executable, "-c", script], env=environ, capture_output=True, timeout=30, check=True)
    assert b"WANTED" in done.stdout
    assert PASSPHRASE.encode() not in done.stdout
