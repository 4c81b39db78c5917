"""Real kills: a child process drives a run, dies by -9 at some moment, and the next process goes on.

Effects are counted in a file that only the actions append to (fsynced), so the engine cannot flatter itself.
"""

from __future__ import annotations

import json
import random
import signal
import sqlite3
import subprocess
import sys
import textwrap
import time
from collections import Counter
from contextlib import closing
from pathlib import Path

import pytest

PROGRAM = textwrap.dedent(
    '''
    """Open the engine over a database, take up what is there, start a run if there is none, and drive it to its end."""

    import os, sys, types
    import anyio
    import opcode_steps
    from opcode_kernel import action, hookimpl
    from opcode_kernel.plugin.manager import registry_of
    from opcode_kernel.runtime.engine import EngineOptions, open_engine
    from opcode_kernel.store.base import RunFilter
    from opcode_kernel.store.tortoise import SqlStore

    database, ledger = sys.argv[1:]

    @action("ledger.book", summary="Append one line", effect="effect")
    async def book(ctx, params):
        line = f"{ctx.step_id} {ctx.idempotency_key}\\n".encode()
        handle = os.open(ledger, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        os.write(handle, line)
        os.fsync(handle)
        os.close(handle)
        await anyio.sleep(0.002)
        return {"booked": ctx.step_id}

    @action("ledger.note", summary="Do nothing", effect="pure")
    def note(ctx, params):
        return {"noted": ctx.step_id}

    ledger_plugin = types.ModuleType("ledger_plugin", "Actions of this test.")
    ledger_plugin.opcode_actions = hookimpl(lambda: [book, note])
    ledger_plugin.opcode_actions.__name__ = "opcode_actions"

    LOOP = {"id": "each", "type": "loop", "config": {"over": ["a", "b", "c", "d"], "body": [
        {"id": "note", "action": "ledger.note"}, {"id": "book", "action": "ledger.book"}]}}
    FAN = {"id": "fan", "type": "parallel", "config": {"branches": [
        [{"id": "x", "action": "ledger.book"}, {"id": "y", "action": "ledger.book"}],
        [{"id": "z", "action": "ledger.book"}, {"id": "w", "type": "wait", "config": {"duration": "3ms"}}]]}}
    LAST = {"id": "last", "action": "ledger.book", "depends_on": ["each", "fan"]}

    async def main():
        async with SqlStore(database) as store:
            async with open_engine(store, registry_of(opcode_steps, ledger_plugin), options=EngineOptions()) as engine:
                rows, _ = await store.runs(RunFilter())
                if rows:
                    run_id = rows[0].id
                else:
                    if await store.template("t") is None:
                        await engine.define("t", {"steps": [LOOP, FAN, LAST]}, agent_id="a")
                    run_id = (await engine.run("t", agent_id="a", wait=False))["workflow_id"]
                print("ready", flush=True)
                while True:
                    status = await engine.status(run_id, include=["steps"])
                    if status["status"] == "suspended":
                        await engine.signal(run_id, "retry")
                    elif status["status"] != "active":
                        break
                    await anyio.sleep(0.001)
                print("ended", status["status"], flush=True)

    anyio.run(main)
    '''
)


def events(database: Path) -> list[tuple[int, str, str | None]]:
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
        return list(connection.execute("select sequence, type, step_id from events order by sequence"))


@pytest.mark.parametrize("seed", range(3))
def test_no_completed_step_runs_again_however_often_the_process_is_killed(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    program, database, ledger = tmp_path / "program.py", tmp_path / "x.db", tmp_path / "ledger"
    program.write_text(PROGRAM)
    kills = 0
    for _ in range(12):
        with (
            (tmp_path / "stderr").open("w") as errors,
            subprocess.Popen(
                [sys.executable, program, database, ledger], stdout=subprocess.PIPE, stderr=errors, text=True
            ) as process,
        ):
            assert process.stdout is not None
            try:
                assert process.stdout.readline() == "ready\n", (tmp_path / "stderr").read_text()
                before = {step for _, kind, step in events(database) if kind == "step_completed"}
                if kills == 5:
                    out = process.stdout.read()
                else:
                    time.sleep(chance.uniform(0.0, 0.03))
            finally:
                process.send_signal(signal.SIGKILL)
        if kills == 5:
            assert out == "ended completed\n", (tmp_path / "stderr").read_text()
            break
        kills += 1
        done = {step for _, kind, step in events(database) if kind == "step_completed"}
        assert before <= done, "what was acknowledged must be kept"
    log = events(database)
    assert [sequence for sequence, _, _ in log] == list(range(1, len(log) + 1))
    completed = Counter(step for _, kind, step in log if kind == "step_completed")
    assert set(completed.values()) == {1}
    started = Counter(step for _, kind, step in log if kind == "step_started")
    booked = Counter(line.split()[0] for line in ledger.read_text().splitlines())
    for step, count in booked.items():
        assert count <= started[step], f"{step} had more effects than recorded starts: {json.dumps(booked)}"
    assert set(booked) == {step for step in completed if step.split(".")[-1] in ("book", "x", "y", "z", "last")}
    assert sum(booked.values()) - len(booked) <= kills * 2, "only what was cut off may have been repeated"
