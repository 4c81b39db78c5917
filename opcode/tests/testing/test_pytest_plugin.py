"""The pytest plugin, in a session of its own: what it fails, what it lets pass, and when."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

HEAD = """
import sqlite3
from contextlib import closing

import anyio
import opcode_cel
import opcode_steps
import pytest
from opcode_kernel import open_engine, registry_of
from opcode_kernel.store.memory import MemoryStore
from opcode_kernel.store.tortoise import SqlStore

WAIT = {"steps": [{"id": "w", "type": "wait", "config": {"signal": "go"}}]}


async def run(store):
    async with store, open_engine(store, registry_of(opcode_steps, opcode_cel)) as engine:
        await engine.define("t", WAIT, agent_id="me")
        await engine.run("t", agent_id="me")


def spoil(path):
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("insert into events (run_id, sequence, type, at) select run_id, 9, 'workflow_failed', at from events limit 1")
"""


def session(folder: Path, tests: str) -> tuple[int, str]:
    """Run some tests in a folder of their own; returns the exit status and what pytest printed.

    Without the closing summary (`-rN`): it repeats what failed, in full or cut short, as a variable `CI` is set or not.
    """
    file = folder / "tests" / "test_it.py"
    file.parent.mkdir()
    file.write_text(HEAD + textwrap.dedent(tests), encoding="utf-8")
    command = [
        sys.executable, "-m", "pytest", "-p", "opcode_kernel.testing.pytest_plugin", "-p", "no:cacheprovider", "-q", "-rN", "-W", "error",
        "--strict-markers", "--rootdir", str(file.parent), "--basetemp", str(folder / "tmp"), str(file),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, cwd=folder)
    return done.returncode, done.stdout + done.stderr


# What these sessions leave behind is broken on purpose.
pytestmark = pytest.mark.broken_history("the sessions of these tests break their stores")


def test_an_engine_that_leaves_a_broken_store_fails_its_test(tmp_path: Path) -> None:
    status, printed = session(
        tmp_path,
        """
        class Forgetful(MemoryStore):
            async def append(self, writes):
                await super().append([write._replace(steps=()) for write in writes])

        def test_broken():
            anyio.run(run, Forgetful())

        def test_sound():
            anyio.run(run, MemoryStore())

        def test_sound_on_trio():
            anyio.run(run, MemoryStore(), backend="trio")

        @pytest.mark.broken_history("it forgets its rows")
        def test_broken_on_purpose():
            anyio.run(run, Forgetful())
        """,
    )
    assert status == 1, printed
    assert "_ test_broken _" in printed
    assert "a law of history is broken" in printed
    assert "the state is the fold of the events" in printed
    assert "the step row of w is missing" in printed
    assert "1 failed, 3 passed" in printed
    assert "3 runs were held against the laws of history" in printed


def test_a_database_that_a_test_leaves_behind_is_checked_also_when_another_process_wrote_it(tmp_path: Path) -> None:
    status, printed = session(
        tmp_path,
        """
        import subprocess, sys

        def test_spoilt(tmp_path):
            anyio.run(run, SqlStore(tmp_path / "x.db"))
            spoil(tmp_path / "x.db")

        def test_written_elsewhere(tmp_path):
            (tmp_path / "deep").mkdir()
            program = f"import sys; sys.path.insert(0, {__file__.rpartition('/')[0]!r}); import anyio, test_it; " \\
                "anyio.run(test_it.run, test_it.SqlStore(sys.argv[1])); test_it.spoil(sys.argv[1])"
            subprocess.run([sys.executable, "-c", program, str(tmp_path / "deep" / "y.db")], check=True)

        def test_sound(tmp_path):
            anyio.run(run, SqlStore(tmp_path / "x.db"))
            with closing(sqlite3.connect(tmp_path / "other.db")) as connection, connection:
                connection.execute("create table events (x)")

        @pytest.mark.broken_history("to see that it passes")
        def test_spoilt_on_purpose(tmp_path):
            anyio.run(run, SqlStore(tmp_path / "x.db"))
            spoil(tmp_path / "x.db")
        """,
    )
    assert status == 1, printed
    assert "4 passed, 2 errors" in printed, printed
    assert "ERROR at teardown of test_spoilt " in printed
    assert "ERROR at teardown of test_written_elsewhere " in printed
    assert printed.count("sequence 9 follows 5") == 2, printed


def test_a_mark_without_the_plugin_is_unknown(tmp_path: Path) -> None:
    """So nobody switches the checks off in a suite that has none."""
    file = tmp_path / "test_it.py"
    file.write_text("import pytest\n\n@pytest.mark.broken_history('x')\ndef test_it(): ...\n", encoding="utf-8")
    command = [sys.executable, "-m", "pytest", "-q", "--strict-markers", "--rootdir", str(tmp_path), str(file)]
    done = subprocess.run([*command, "-p", "no:cacheprovider"], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode != 0
    assert "'broken_history' not found" in done.stdout
