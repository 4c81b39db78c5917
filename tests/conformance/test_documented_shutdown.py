"""Stopping is graceful: what runs may finish, the rest is parked as interrupted, and nothing is lost or done twice."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import pytest
from mcp.client.session import ClientSession
from mcp.client.sse import sse_client

pytestmark = pytest.mark.anyio

COMMAND = [sys.executable, "-c", "from opcode_kernel.server.cli import main; raise SystemExit(main())"]


def do(step_id: str, name: str = "t.do", **keys: Any) -> dict[str, Any]:
    return {"id": step_id, "action": name, **keys}


@pytest.mark.spec("10.32")
async def test_a_running_attempt_may_finish_within_the_grace_and_nothing_new_starts(house, until):
    steps = [do("held", "t.gate"), do("late", depends_on=["held"])]
    async with anyio.create_task_group() as tasks, house.engine(shutdown_grace=5) as engine:
        await engine.define("t", {"steps": steps}, agent_id="me")
        run_id = (await engine.run("t", agent_id="me", wait=False))["workflow_id"]
        await until(lambda: house.effects() == ["held"])

        async def open_the_gate() -> None:
            await until(lambda: engine.closing)
            house.gate().set()

        tasks.start_soon(open_the_gate)
    assert (house.effects(), house.cancelled) == (["held"], [])
    async with house.engine() as engine:
        shown = await engine.status(run_id)
        assert (shown["status"], shown["steps"]["held"]["status"]) == ("suspended", "completed")
        await engine.signal(run_id, "retry")
        assert (await engine.status(run_id))["status"] == "completed"
    assert house.effects() == ["held", "late"]


@pytest.mark.spec("10.32", "10.34")
async def test_what_outlives_the_grace_is_cancelled_and_parked_as_interrupted(house, until):
    async with house.engine(shutdown_grace=0.05) as engine:
        await engine.define("t", {"steps": [do("held", "t.gate")]}, agent_id="me")
        run_id = (await engine.run("t", agent_id="me", wait=False))["workflow_id"]
        await until(lambda: house.effects() == ["held"])
    assert house.cancelled == ["held"]
    async with house.engine() as engine:
        shown = await engine.status(run_id)
        types = [event["event_type"] for event in shown["events"]]
        assert (shown["status"], shown["steps"]["held"]["reason"]) == ("suspended", "interrupted")
        assert types[2:] == ["workflow_interrupted", "step_suspended", "workflow_suspended"]
        assert shown["events"][2]["payload"]["reason"] == "shutdown"
        assert [entry["reason"] for entry in shown["waiting"]] == ["interrupted"]


@pytest.mark.spec("10.32", "10.34")
async def test_the_interrupted_event_names_the_steps_it_stopped(house, until):
    async with house.engine() as engine:
        await engine.define("t", {"steps": [do("held", "t.gate"), do("done")]}, agent_id="me")
        run_id = (await engine.run("t", agent_id="me", wait=False))["workflow_id"]
        await until(lambda: sorted(house.effects()) == ["done", "held"])
    async with house.engine() as engine:
        (event,) = await house.events(engine, run_id, "workflow_interrupted")
    assert event["payload"] == {"reason": "shutdown", "steps": ["held"]}


@pytest.mark.spec("10.32")
async def test_whoever_waits_for_a_run_is_answered_when_the_engine_stops(house, until):
    answers: list[Any] = []
    async with anyio.create_task_group() as tasks, house.engine() as engine:
        await engine.define("t", {"steps": [do("held", "t.gate")]}, agent_id="me")

        async def run() -> None:
            answers.append(await engine.run("t", agent_id="me"))

        tasks.start_soon(run)
        await until(lambda: house.effects() == ["held"])
    assert [answer["status"] for answer in answers] == ["suspended"]


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[..., tuple[subprocess.Popen[str], str]]]:
    """Return a function that starts `opcode serve` and returns the process and its address."""
    started: list[subprocess.Popen[str]] = []

    def start(**environ: str) -> tuple[subprocess.Popen[str], str]:
        inherited = {key: value for key, value in os.environ.items() if not key.startswith("OPCODE_")}
        process = subprocess.Popen(
            [*COMMAND, "serve", "--listen-addr", "127.0.0.1:0"], stderr=subprocess.PIPE, text=True,
            env={**inherited, "OPCODE_PLUGINS": "steps,shell,cel", "OPCODE_HOME": str(tmp_path / "home"), **environ},
        )  # fmt: skip
        started.append(process)
        assert process.stderr is not None
        for line in process.stderr:
            if line.startswith("{") and json.loads(line)["msg"] == "ready":
                return process, str(json.loads(line)["url"]).removesuffix("/sse")
        raise AssertionError("the daemon ended before it was ready")

    yield start
    for process in started:
        if process.poll() is None:
            process.kill()
        process.communicate()


async def call(url: str, tool: str, **arguments: Any) -> Any:
    async with sse_client(f"{url}/sse") as (read, write), ClientSession(read, write) as client:
        await client.initialize()
        return (await client.call_tool(f"opcode.{tool}", arguments)).structured_content


def shell(step_id: str, script: str, **keys: Any) -> dict[str, Any]:
    params = {"command": "sh", "args": ["-c", script]}
    return {"id": step_id, "type": "action", "action": "shell.exec", "params": params, **keys}


@pytest.mark.spec("10.32")
async def test_a_daemon_that_is_told_to_stop_finishes_what_runs_and_loses_nothing(serve, tmp_path, until):
    ledger, go = tmp_path / "ledger", tmp_path / "go"
    held = f"echo held >> {ledger}; while [ ! -e {go} ]; do sleep 0.02; done; echo through >> {ledger}"
    steps = [shell("held", held), shell("late", f"echo late >> {ledger}", depends_on=["held"])]
    process, url = await anyio.to_thread.run_sync(serve)
    await call(url, "define", name="t", definition={"steps": steps}, agent_id="me")
    run_id = (await call(url, "run", template_name="t", agent_id="me", wait=False))["workflow_id"]
    await until(ledger.exists)
    process.send_signal(signal.SIGTERM)
    await anyio.sleep(0.1)
    assert process.poll() is None
    go.touch()
    assert await anyio.to_thread.run_sync(lambda: process.wait(timeout=15)) == 0
    assert ledger.read_text().split() == ["held", "through"]
    _, url = await anyio.to_thread.run_sync(serve)
    shown = await call(url, "status", workflow_id=run_id)
    assert (shown["status"], shown["steps"]["held"]["status"]) == ("suspended", "completed")
    answer = await call(url, "signal", workflow_id=run_id, signal_type="retry", payload={})
    assert (answer["status"], ledger.read_text().split()) == ("completed", ["held", "through", "late"])


@pytest.mark.spec("10.32")
async def test_a_daemon_kills_the_child_process_of_what_outlives_the_grace(serve, tmp_path, until):
    pid, go = tmp_path / "pid", tmp_path / "never"
    steps = [shell("held", f"echo $$ > {pid}.new; mv {pid}.new {pid}; while [ ! -e {go} ]; do sleep 0.02; done")]
    process, url = await anyio.to_thread.run_sync(lambda: serve(OPCODE_SHUTDOWN_GRACE="0.2s"))
    await call(url, "define", name="t", definition={"steps": steps}, agent_id="me")
    run_id = (await call(url, "run", template_name="t", agent_id="me", wait=False))["workflow_id"]
    await until(pid.exists)
    process.send_signal(signal.SIGTERM)
    assert await anyio.to_thread.run_sync(lambda: process.wait(timeout=10)) == 0
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid.read_text()), 0)
    _, url = await anyio.to_thread.run_sync(serve)
    shown = await call(url, "status", workflow_id=run_id)
    assert (shown["status"], shown["waiting"][0]["reason"]) == ("suspended", "interrupted")
    assert "workflow_interrupted" in [event["event_type"] for event in shown["events"]]
