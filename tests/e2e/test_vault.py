"""The vault under real processes: a rotation that is killed in the middle, and changes beside a live daemon."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from bench.mcp_client import connect

from opcode_kernel.errors import VaultError
from opcode_kernel.runtime.vault import open_vault
from opcode_kernel.store.tortoise import SqlStore

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(200)]

_MAIN = "from opcode_kernel.server.cli import main; raise SystemExit(main())"
#: The command, made to kill itself with -9 after so many statements of the transaction that exchanges the key.
_KILLED = (
    """
import os, signal
from opcode_kernel.store import statements
exchange, left = statements.change_vault, [int(os.environ["KILL_AFTER"])]
def counted(statement):
    left[0] -= 1
    if left[0] <= 0:
        os.kill(os.getpid(), signal.SIGKILL)
def killing(connection, *given):
    connection.set_trace_callback(counted)
    exchange(connection, *given)
    if os.environ.get("KILL_AT_COMMIT"):
        left[0] = 1
        return
    connection.set_trace_callback(None)
statements.change_vault = killing
if os.environ.get("KILL_AFTER_COMMIT"):
    statements.add_secret_uses = lambda *given: os.kill(os.getpid(), signal.SIGKILL)
"""
    + _MAIN
)
SECRETS = {f"S{n}": f"value {n} " * 40 for n in range(60)}


def environ(home: Path, **more: str) -> dict[str, str]:
    kept = {key: value for key, value in os.environ.items() if not key.startswith("OPCODE_")}
    return kept | {"OPCODE_HOME": str(home), "OPCODE_LISTEN_ADDR": "127.0.0.1:0", "OPCODE_PLUGINS": "steps,expr",
                   "OPCODE_SHUTDOWN_GRACE": "1s", **more}  # fmt: skip


def command(
    home: Path, *words: str, stdin: str = "", program: str = _MAIN, **more: str
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", program, *words], env=environ(home, **more), input=stdin, capture_output=True, text=True,
        timeout=60, check=False,
    )  # fmt: skip


async def fill(home: Path, passphrase: str) -> None:
    async with SqlStore(home / "opcode.db") as store:
        vault = await open_vault(store, passphrase)
        for name, value in SECRETS.items():
            await vault.set(name, value)


async def opened_by(home: Path, passphrases: list[str]) -> list[str]:
    """Return the passphrases that open the vault; whichever does reads every secret."""
    fitting = []
    async with SqlStore(home / "opcode.db") as store:
        for passphrase in passphrases:
            try:
                vault = await open_vault(store, passphrase)
            except VaultError:
                continue
            fitting.append(passphrase)
            assert {name: await vault.peek(name) for name in await vault.list()} == SECRETS
    return fitting


async def test_a_rotation_that_is_killed_anywhere_has_happened_as_a_whole_or_not_at_all(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    await fill(tmp_path, "old")
    keys = {"OPCODE_VAULT_KEY": "old", "OPCODE_VAULT_KEY_NEW": "new"}
    outcomes = []
    # The transaction reads, writes the parameters, and then each of the secrets; the last kill is at its commit.
    for after in (1, 2, 4, 5, 6, 20, 40, 63, 64):
        done = command(tmp_path, "secret", "rotate", program=_KILLED, KILL_AFTER=str(after), **keys)
        assert done.returncode == -signal.SIGKILL, (after, done.stdout, done.stderr)
        outcomes.append(await opened_by(tmp_path, ["old", "new"]))
    done = command(tmp_path, "secret", "rotate", program=_KILLED, KILL_AFTER="100000", KILL_AT_COMMIT="1", **keys)
    assert done.returncode == -signal.SIGKILL, (done.stdout, done.stderr)
    outcomes.append(await opened_by(tmp_path, ["old", "new"]))
    assert outcomes == [["old"]] * len(outcomes)
    done = command(tmp_path, "secret", "rotate", program=_KILLED, KILL_AFTER="100000", KILL_AFTER_COMMIT="1", **keys)
    assert done.returncode == -signal.SIGKILL, (done.stdout, done.stderr)
    assert await opened_by(tmp_path, ["old", "new"]) == ["new"]
    with capsys.disabled():
        sys.stdout.write(
            f"\n{len(outcomes) + 1} rotations of {len(SECRETS)} secrets killed with -9: {len(outcomes)} before or at the "
            "commit, all secrets open with the old passphrase alone; one after it, with the new one alone\n"
        )
    back = {"OPCODE_VAULT_KEY": "new", "OPCODE_VAULT_KEY_NEW": "old"}
    done = command(tmp_path, "secret", "rotate", **back)
    assert (done.returncode, done.stdout) == (
        0,
        "60 secrets are under the new passphrase; from now on it is OPCODE_VAULT_KEY\n",
    )
    assert await opened_by(tmp_path, ["old", "new"]) == ["old"]


async def test_a_rotation_that_is_killed_at_any_time_has_happened_as_a_whole_or_not_at_all(tmp_path: Path) -> None:
    await fill(tmp_path, "pass0")
    current, seen = 0, set()
    started = asyncio.get_running_loop().time()
    whole = command(tmp_path, "secret", "rekey", OPCODE_VAULT_KEY="pass0")
    takes = asyncio.get_running_loop().time() - started
    assert whole.returncode == 0, whole.stderr
    for n in range(10):
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", _MAIN, "secret", "rotate", stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            env=environ(tmp_path, OPCODE_VAULT_KEY=f"pass{current}", OPCODE_VAULT_KEY_NEW=f"pass{current + 1}"),
        )  # fmt: skip
        try:
            async with asyncio.timeout(takes * (0.5 + 0.06 * n)):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()
        fitting = await opened_by(tmp_path, [f"pass{current}", f"pass{current + 1}"])
        assert len(fitting) == 1
        seen.add(process.returncode)
        current = int(fitting[0].removeprefix("pass"))
    assert -signal.SIGKILL in seen


Call = Callable[..., Awaitable[dict[str, Any]]]


@asynccontextmanager
async def daemon(home: Path, **more: str) -> AsyncIterator[tuple[Call, int]]:
    """A live daemon: how its tools are called, and its process id."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        _MAIN,
        "serve",
        env=environ(home, **more),
        stderr=subprocess.PIPE,
        stdin=subprocess.DEVNULL,
    )
    try:
        assert process.stderr is not None
        port = 0
        async with asyncio.timeout(40):
            while not port:
                line = await process.stderr.readline()
                assert line, "the daemon ended"
                record = json.loads(line)
                if record.get("msg") == "ready":
                    port = int(record["url"].removesuffix("/sse").rpartition(":")[2])
        drained = asyncio.create_task(process.stderr.read())

        async def call(tool: str, **given: Any) -> dict[str, Any]:
            async with connect(
                port
            ) as client:  # each time, for the commands in between take longer than a socket is kept
                return await client.call(f"opcode.{tool}", given)

        yield call, process.pid
    finally:
        process.terminate()
        await process.wait()
        await drained


DEFINITION = {
    "steps": [{"id": "s", "action": "expr.eval", "params": {"expression": "len(data)", "data": "${{secrets.TOKEN}}"}}]
}


async def length_of_token(call: Call, template: str = "t") -> Any:
    """Return how long the secret is that a run gets, or why it gets none."""
    run = await call("run", template_name=template, agent_id="me")
    step = run["steps"]["s"]
    return step["output"]["result"] if step["status"] == "completed" else step["error"]


async def test_a_live_daemon_sees_what_is_stored_deleted_and_rekeyed_beside_it_at_once(tmp_path: Path) -> None:
    keys = {"OPCODE_VAULT_KEY": "old"}
    async with daemon(tmp_path, **keys) as (call, _):
        await call("define", name="t", agent_id="me", definition=DEFINITION)
        assert (await length_of_token(call))["details"]["cause"]["code"] == "NOT_FOUND"
        assert command(tmp_path, "secret", "set", "TOKEN", stdin="12345678", **keys).returncode == 0
        assert await length_of_token(call) == 8
        assert command(tmp_path, "secret", "set", "TOKEN", stdin="1234567890", **keys).returncode == 0
        assert await length_of_token(call) == 10
        assert "by itself" in command(tmp_path, "secret", "rekey", **keys).stdout
        assert await length_of_token(call) == 10
        assert command(tmp_path, "secret", "delete", "TOKEN", **keys).returncode == 0
        assert (await length_of_token(call))["details"]["cause"]["code"] == "NOT_FOUND"
    uses = json.loads(command(tmp_path, "secret", "audit", "TOKEN", "--json").stdout)["uses"]
    assert [use["action"] for use in uses] == ["delete", "resolve", "rekey", "resolve", "set", "resolve", "set"]
    resolved = [use for use in uses if use["action"] == "resolve"]
    assert {(use["agent_id"], use["template"], use["step_id"]) for use in resolved} == {("me", "t", "s")}
    assert len({use["run_id"] for use in resolved}) == 3


async def test_a_daemon_that_was_told_of_the_new_passphrase_goes_on_after_a_rotation(tmp_path: Path) -> None:
    """It was started with both: the one to come is its key, the one that still holds the one before."""
    assert command(tmp_path, "secret", "set", "TOKEN", stdin="12345678", OPCODE_VAULT_KEY="old").returncode == 0
    async with daemon(tmp_path, OPCODE_VAULT_KEY="new", OPCODE_VAULT_KEY_PREVIOUS="old") as (call, pid):
        await call("define", name="t", agent_id="me", definition=DEFINITION)
        assert await length_of_token(call) == 8
        done = command(tmp_path, "secret", "rotate", OPCODE_VAULT_KEY="old", OPCODE_VAULT_KEY_NEW="new")
        assert f"the running server (pid {pid}) goes on if" in done.stderr
        assert await length_of_token(call) == 8


async def test_a_daemon_that_reads_its_passphrase_from_a_file_takes_over_the_new_one(tmp_path: Path) -> None:
    file = tmp_path / "key"
    await asyncio.to_thread(file.write_text, "old\n")
    keys = {"OPCODE_VAULT_KEY_FILE": str(file)}
    assert command(tmp_path, "secret", "set", "TOKEN", stdin="12345678", **keys).returncode == 0
    async with daemon(tmp_path, **keys) as (call, _):
        await call("define", name="t", agent_id="me", definition=DEFINITION)
        assert await length_of_token(call) == 8
        assert command(tmp_path, "secret", "rotate", OPCODE_VAULT_KEY_NEW="new", **keys).returncode == 0
        await asyncio.to_thread(file.write_text, "new\n")
        assert await length_of_token(call) == 8


async def test_a_daemon_that_was_not_told_says_what_to_do(tmp_path: Path) -> None:
    keys = {"OPCODE_VAULT_KEY": "old"}
    assert command(tmp_path, "secret", "set", "TOKEN", stdin="12345678", **keys).returncode == 0
    async with daemon(tmp_path, **keys) as (call, _):
        await call("define", name="t", agent_id="me", definition=DEFINITION)
        assert command(tmp_path, "secret", "rotate", OPCODE_VAULT_KEY_NEW="new", **keys).returncode == 0
        error = await length_of_token(call)
        assert (error["code"], error["retryable"], error["details"]["cause"]["code"]) == (
            "INTERPOLATION_ERROR",
            False,
            "VAULT_ERROR",
        )
        assert "restart it with OPCODE_VAULT_KEY set to the new one" in error["message"]
    async with daemon(tmp_path, OPCODE_VAULT_KEY="new") as (call, _):
        assert await length_of_token(call) == 8


async def test_a_locked_vault_fails_each_use_for_good_and_nothing_else(tmp_path: Path) -> None:
    assert command(tmp_path, "secret", "set", "TOKEN", stdin="12345678", OPCODE_VAULT_KEY="old").returncode == 0
    refused = command(tmp_path, "serve", OPCODE_VAULT_KEY="wrong")
    assert (refused.returncode, "wrong vault passphrase" in refused.stderr) == (2, True)
    async with daemon(tmp_path, OPCODE_VAULT_KEY="wrong", OPCODE_VAULT_OPTIONAL="true") as (call, _):
        await call("define", name="t", agent_id="me", definition=DEFINITION)
        error = await length_of_token(call)
        assert (error["retryable"], error["details"]["cause"]["code"]) == (False, "VAULT_ERROR")
        assert "the vault is locked" in error["message"]
        plain = {"steps": [{"id": "s", "action": "expr.eval", "params": {"expression": "1 + 1"}}]}
        await call("define", name="plain", agent_id="me", definition=plain)
        assert await length_of_token(call, "plain") == 2
