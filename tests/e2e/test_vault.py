"""The vault under real processes: a rotation that is killed in the middle, and changes beside a live daemon."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, closing, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from bench.mcp_client import connect

from opcode_kernel.errors import VaultError
from opcode_kernel.runtime.vault import Vault, keys, open_vault
from opcode_kernel.runtime.vault.rotation import rotate
from opcode_kernel.store.tortoise import SqlStore

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(200)]

#: Keys are derived with the fewest rounds that are accepted; how many are used otherwise is proven beside the vault.
_MAIN = """
from opcode_kernel.runtime.vault import keys
keys.ITERATIONS = keys.ITERATIONS_ALLOWED.start
from opcode_kernel.server.cli import main
"""
_RUN = f"{_MAIN}raise SystemExit(main())"
#: For each line that it reads: forks `opcode secret rotate`, to be ended at the point that the line names, and writes its
#: exit code. What is needed is imported once, before the first of them.
_KILLED = (
    _MAIN
    + """
import os, signal, sys
from opcode_kernel.runtime.vault import rotation
from opcode_kernel.server import secret_work
from opcode_kernel.store import statements, tortoise

def die(*_):
    os.kill(os.getpid(), signal.SIGKILL)

def arm(point, count=1):
    if point == "after the commit":
        exchange = tortoise.SqlStore.change_vault
        async def and_die(*given, **more):
            await exchange(*given, **more)
            die()
        tortoise.SqlStore.change_vault = and_die
        return
    exchange, left = statements.change_vault, [int(count)]
    def counted(statement):
        left[0] -= statement.strip().startswith(point)
        if left[0] <= 0:
            die()
    def killing(connection, *given):
        connection.set_trace_callback(counted)
        exchange(connection, *given)
    statements.change_vault = killing

for line in sys.stdin:
    pid = os.fork()
    if pid == 0:
        os.dup2(2, 1)
        arm(*line.rstrip("\\n").split("|"))
        os._exit(main(["secret", "rotate"]))
    print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)
"""
)
SECRETS = {f"S{n}": f"value {n} " * 200 for n in range(20)}
#: Where a rotation is killed in its transaction: before a statement that starts like this for the so manieth time.
POINTS = (
    "SELECT value FROM meta", "SELECT name", "INSERT INTO meta", "UPDATE secrets|1", "UPDATE secrets|2", "UPDATE secrets|11",
    "UPDATE secrets|20", "INSERT INTO secret_uses", "COMMIT",
)  # fmt: skip


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Derive keys in this process with the fewest rounds, too."""
    monkeypatch.setattr(keys, "ITERATIONS", keys.ITERATIONS_ALLOWED.start)


def environ(home: Path, **more: str) -> dict[str, str]:
    kept = {key: value for key, value in os.environ.items() if not key.startswith("OPCODE_")}
    return kept | {"OPCODE_HOME": str(home), "OPCODE_LISTEN_ADDR": "127.0.0.1:0", "OPCODE_PLUGINS": "steps,expr",
                   "OPCODE_SHUTDOWN_GRACE": "1s", **more}  # fmt: skip


def command(
    home: Path, *words: str, stdin: str = "", program: str = _RUN, **more: str
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


@contextmanager
def rotations(home: Path, current: str, new: str) -> Iterator[Callable[[str], int]]:
    """Rotations that are killed, each a process of its own: called with the point, returns how it ended."""
    process = subprocess.Popen(
        [sys.executable, "-c", _KILLED], env=environ(home, OPCODE_VAULT_KEY=current, OPCODE_VAULT_KEY_NEW=new),
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip

    def rotate(point: str) -> int:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(f"{point}\n")
        process.stdin.flush()
        return int(process.stdout.readline())

    with process:
        yield rotate


async def actions(home: Path) -> list[str]:
    """Return what was done with secrets, newest first."""
    async with SqlStore(home / "opcode.db") as store:
        return [use.action for use in await store.secret_uses()]


async def test_a_rotation_that_is_killed_anywhere_has_happened_as_a_whole_or_not_at_all(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    await fill(tmp_path, "old")
    with rotations(tmp_path, "old", "new") as killed:
        for point in POINTS:
            assert killed(point) == -signal.SIGKILL, point
            assert await opened_by(tmp_path, ["old", "new"]) == ["old"], point
        assert await actions(tmp_path) == ["set"] * len(SECRETS)
        assert killed("after the commit") == -signal.SIGKILL
    assert await opened_by(tmp_path, ["old", "new"]) == ["new"]
    assert await actions(tmp_path) == ["rotate"] + ["set"] * len(SECRETS), "it is written down with what it changed"
    with capsys.disabled():
        sys.stdout.write(
            f"\n{len(POINTS) + 1} rotations of {len(SECRETS)} secrets killed with -9: {len(POINTS)} before or at the "
            "commit, all secrets open with the old passphrase alone; one after it, with the new one alone\n"
        )
    back = {"OPCODE_VAULT_KEY": "new", "OPCODE_VAULT_KEY_NEW": "old"}
    done = command(tmp_path, "secret", "rotate", **back)
    assert (done.returncode, done.stdout) == (
        0,
        (
            f"{len(SECRETS)} secrets are under the new passphrase, and the old one opens nothing any more. Now set "
            "OPCODE_VAULT_KEY to the new one wherever that is set, for the server and for this command, and take away "
            "OPCODE_VAULT_KEY_NEW\n"
        ),
    )
    assert await opened_by(tmp_path, ["old", "new"]) == ["old"]


Call = Callable[..., Awaitable[dict[str, Any]]]


class Daemon(NamedTuple):
    """A live daemon: its directory, how its tools are called, and its process id."""

    home: Path
    call: Call
    pid: int


@contextmanager
def daemon(home: Path, **more: str) -> Iterator[Daemon]:
    process = subprocess.Popen(
        [sys.executable, "-c", _RUN, "serve"], env=environ(home, **more), stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    with process:
        try:
            assert process.stderr is not None
            records = (json.loads(line) for line in process.stderr)
            ready = next(record for record in records if record.get("msg") == "ready")
            port = int(ready["url"].removesuffix("/sse").rpartition(":")[2])
            threading.Thread(target=process.stderr.read, daemon=True).start()

            async def call(tool: str, **given: Any) -> dict[str, Any]:
                async with connect(port) as client:
                    return await client.call(f"opcode.{tool}", given)

            yield Daemon(home, call, process.pid)
        finally:
            process.terminate()
            process.wait()


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """A daemon that was given the passphrase `old`; every test leaves the vault under that one, and no secret in it."""
    with daemon(tmp_path_factory.mktemp("home"), OPCODE_VAULT_KEY="old") as made:
        yield made


@asynccontextmanager
async def vault_beside(home: Path, passphrase: str) -> AsyncIterator[Vault]:
    """The vault as another process than the daemon has it open, which is this one."""
    async with SqlStore(home / "opcode.db", sole=False) as store:
        yield await open_vault(store, passphrase)


DEFINITION = {
    "steps": [{"id": "s", "action": "expr.eval", "params": {"expression": "len(data)", "data": "${{secrets.TOKEN}}"}}]
}


async def length_of_token(call: Call, template: str = "t") -> Any:
    """Return how long the secret is that a run gets, or why it gets none."""
    run = await call("run", template_name=template, agent_id="me")
    step = run["steps"]["s"]
    return step["output"]["result"] if step["status"] == "completed" else step["error"]


async def test_a_live_daemon_sees_what_is_stored_deleted_and_rekeyed_beside_it_at_once(live: Daemon) -> None:
    await live.call("define", name="t", agent_id="me", definition=DEFINITION)
    assert (await length_of_token(live.call))["details"]["cause"]["code"] == "NOT_FOUND"
    async with vault_beside(live.home, "old") as vault:
        await vault.set("TOKEN", "12345678")
        assert await length_of_token(live.call) == 8
        await vault.set("TOKEN", "1234567890")
        assert await length_of_token(live.call) == 10
        assert "by itself" in command(live.home, "secret", "rekey", OPCODE_VAULT_KEY="old").stdout
        assert await length_of_token(live.call) == 10
        await vault.delete("TOKEN")
        assert (await length_of_token(live.call))["details"]["cause"]["code"] == "NOT_FOUND"
    uses = json.loads(command(live.home, "secret", "audit", "TOKEN", "--limit", "7", "--json").stdout)["uses"]
    assert [use["action"] for use in uses] == ["delete", "resolve", "rekey", "resolve", "set", "resolve", "set"]
    resolved = [use for use in uses if use["action"] == "resolve"]
    assert {(use["agent_id"], use["template"], use["step_id"]) for use in resolved} == {("me", "t", "s")}
    assert len({use["run_id"] for use in resolved}) == 3


async def test_a_daemon_that_was_not_told_of_a_new_passphrase_says_what_to_do(live: Daemon) -> None:
    await live.call("define", name="t", agent_id="me", definition=DEFINITION)
    async with vault_beside(live.home, "old") as vault:
        await vault.set("TOKEN", "12345678")
        await rotate(vault, "new")
        error = await length_of_token(live.call)
        assert (error["code"], error["retryable"], error["details"]["cause"]["code"]) == (
            "INTERPOLATION_ERROR",
            False,
            "VAULT_ERROR",
        )
        assert "restart it with OPCODE_VAULT_KEY set to the new one" in error["message"]
        await rotate(vault, "old")
        assert await length_of_token(live.call) == 8
        await vault.delete("TOKEN")


async def test_bounds_that_something_else_widened_open_nothing_to_a_live_daemon(live: Daemon) -> None:
    await live.call("define", name="t", agent_id="me", definition=DEFINITION)
    async with vault_beside(live.home, "old") as vault:
        await vault.set("TOKEN", "12345678", templates=["another"])
        assert (await length_of_token(live.call))["details"]["cause"]["code"] == "PERMISSION_DENIED"
        with closing(sqlite3.connect(live.home / "opcode.db")) as database:
            database.execute("""UPDATE secrets SET templates = '["another","t"]'""")
            database.commit()
        error = await length_of_token(live.call)
        assert (error["retryable"], error["details"]["cause"]["code"]) == (False, "VAULT_ERROR")
        assert "does not fit its name and its bounds" in error["message"]
        done = command(live.home, "secret", "verify", OPCODE_VAULT_KEY="old")
        assert (done.returncode, "'TOKEN' does not fit its name and its bounds" in done.stderr) == (1, True)
        await vault.delete("TOKEN")


async def test_a_daemon_that_was_told_of_the_new_passphrase_goes_on_after_a_rotation(tmp_path: Path) -> None:
    """It was started with both: the one to come is its key, the one that still holds the one before."""
    async with vault_beside(tmp_path, "old") as vault:
        await vault.set("TOKEN", "12345678")
    with daemon(tmp_path, OPCODE_VAULT_KEY="new", OPCODE_VAULT_KEY_PREVIOUS="old") as (_, call, pid):
        await call("define", name="t", agent_id="me", definition=DEFINITION)
        assert await length_of_token(call) == 8
        done = command(tmp_path, "secret", "rotate", OPCODE_VAULT_KEY="old", OPCODE_VAULT_KEY_NEW="new")
        assert f"the running server (pid {pid}) keeps working if" in done.stderr
        assert await length_of_token(call) == 8


async def test_a_daemon_that_reads_its_passphrase_from_a_file_takes_over_the_new_one(tmp_path: Path) -> None:
    file = tmp_path / "key"
    await asyncio.to_thread(file.write_text, "old\n")
    async with vault_beside(tmp_path, "old") as vault:
        await vault.set("TOKEN", "12345678")
        with daemon(tmp_path, OPCODE_VAULT_KEY_FILE=str(file)) as (_, call, _):
            await call("define", name="t", agent_id="me", definition=DEFINITION)
            assert await length_of_token(call) == 8
            await rotate(vault, "new")
            await asyncio.to_thread(file.write_text, "new\n")
            assert await length_of_token(call) == 8


async def test_a_locked_vault_fails_each_use_for_good_and_nothing_else(tmp_path: Path) -> None:
    async with vault_beside(tmp_path, "old") as vault:
        await vault.set("TOKEN", "12345678")
    refused = command(tmp_path, "serve", OPCODE_VAULT_KEY="wrong")
    assert (refused.returncode, "wrong vault passphrase" in refused.stderr) == (2, True)
    with daemon(tmp_path, OPCODE_VAULT_KEY="wrong", OPCODE_VAULT_OPTIONAL="true") as (_, call, _):
        await call("define", name="t", agent_id="me", definition=DEFINITION)
        error = await length_of_token(call)
        assert (error["retryable"], error["details"]["cause"]["code"]) == (False, "VAULT_ERROR")
        assert "the vault is locked" in error["message"]
        plain = {"steps": [{"id": "s", "action": "expr.eval", "params": {"expression": "1 + 1"}}]}
        await call("define", name="plain", agent_id="me", definition=plain)
        assert await length_of_token(call, "plain") == 2
