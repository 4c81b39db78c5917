"""The main job of OPCODE, end to end, in under a minute: `make demo`.

A real MCP client talks over SSE to a real daemon: it defines a workflow, sees its diagram, runs it, decides, reads the
result; then a second run is cut off with `kill -9` and goes on after a restart. Exits non-zero if anything of what
it claims did not hold.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
from daemon import Daemon
from mcp.client.session import ClientSession
from mcp.client.sse import sse_client
from outside import Site

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
AGENT = "demo-agent"


class DemoFailed(Exception):
    """Something the demo claims did not hold."""


def say(text: str = "") -> None:
    print(text, flush=True)


def title(number: int, text: str) -> None:
    say(f"\n\033[1m{number}. {text}\033[0m" if sys.stdout.isatty() else f"\n{number}. {text}")


def must(holds: bool, claim: str) -> None:
    """Show a claim, and stop the demo when it is false."""
    say(f"   {'ok ' if holds else 'NOT'}  {claim}")
    if not holds:
        raise DemoFailed(claim)


@asynccontextmanager
async def agent(url: str, heard: list[Any]) -> AsyncIterator[ClientSession]:
    """Connect as an agent would; `heard` collects the notifications pushed to it."""

    async def listen(message: Any) -> None:
        heard.append(message.data)

    async with sse_client(f"{url}/sse") as (read, write), ClientSession(read, write, logging_callback=listen) as client:
        await client.initialize()
        yield client


async def call(client: ClientSession, tool: str, progress: Any = None, **arguments: Any) -> dict[str, Any]:
    result = await client.call_tool(tool, arguments, progress_callback=progress)
    answer = result.structured_content or {}
    if result.is_error:
        raise DemoFailed(f"{tool} answered {json.dumps(answer)}")
    return answer


async def show_progress(done: float, total: float | None, message: str | None) -> None:
    say(f"   {int(done):>3}  {message}")


def table(steps: dict[str, Any]) -> None:
    width = max(len(name) for name in steps)
    say(f"   {'STEP':<{width}}  {'STATUS':<10} {'MS':>5}  OUTPUT")
    for name, step in steps.items():
        output = json.dumps(step.get("output"), ensure_ascii=False) if "output" in step else "-"
        shown = output if len(output) <= 72 else output[:71] + "…"
        say(f"   {name:<{width}}  {step['status']:<10} {step.get('duration_ms', 0):>5}  {shown}")


async def define(client: ClientSession, name: str) -> dict[str, Any]:
    template = json.loads((HERE / f"{name}.json").read_text())
    answer = await call(client, "opcode.define", agent_id=AGENT, **template)
    count = json.dumps(template["definition"]).count('"id":')
    say(f"   template {answer['name']} {answer['version']}, {count} steps and options")
    return answer


async def first_run(daemon: Daemon, site: Site, out: Path) -> None:
    heard: list[Any] = []
    async with agent(daemon.url, heard) as client:
        tools = [tool.name for tool in (await client.list_tools()).tools]
        say(f"   tools: {', '.join(tools)}")
        must(len(tools) == 6, "the daemon offers six tools")

        title(2, "The agent defines a workflow: all six step types, actions of all seven families")
        await define(client, "report")
        picture = await call(client, "opcode.diagram", template_name="checkout-report", format="ascii")
        say("\n" + "\n".join(f"   {line}" for line in picture["diagram"].splitlines()))

        title(3, "It runs it, for zero tokens; every line below is a live notification")
        run = await call(
            client, "opcode.run", show_progress, template_name="checkout-report", agent_id=AGENT,
            params={"root": str(ROOT), "site": site.url, "out": str(out)},
        )  # fmt: skip
        must(run["status"] == "suspended", "the run waits for a decision before anything is published")
        must(not site.received, "the outside server has received nothing so far")

        title(4, "It reads the question and decides")
        status = await call(client, "opcode.status", workflow_id=run["workflow_id"])
        question = status["pending_decisions"][0]
        say(f"   {question['context']['prompt']}  {json.dumps(question['context']['data'])}")
        say(f"   options: {', '.join(option['id'] for option in question['options'])}  ->  publish")
        signal = await call(
            client, "opcode.signal", workflow_id=run["workflow_id"], signal_type="decision", step_id="consent",
            agent_id=AGENT, payload={"choice": "publish"}, reasoning="the numbers look right",
        )  # fmt: skip

        title(5, "The result")
        table(signal["steps"])
        say(f"\n   output: {json.dumps(signal.get('output'))}")
        must(signal["status"] == "completed", "the run completed")
        must(len(site.received) == 1, "the outside server received the report exactly once")
        must((out / "report.json").is_file(), "the report is on disk")
        receipt = signal["output"]["receipt"]
        with anyio.move_on_after(3):
            while {"receipt": receipt} not in heard:
                await anyio.sleep(0.02)
        must({"receipt": receipt} in heard, "workflow.notify reached the agent's own connection with the receipt")


def booked(ledger: Path) -> list[str]:
    return ledger.read_text().split() if ledger.exists() else []


async def killed_run(daemon: Daemon, ledger: Path) -> None:
    title(6, "A second run, and kill -9 in the middle of it")
    async with agent(daemon.url, []) as client:
        await define(client, "ledger")
        run = await call(client, "opcode.run", template_name="ledger", agent_id=AGENT, wait=False,
                         params={"ledger": str(ledger)})  # fmt: skip
        run_id = run["workflow_id"]
        with anyio.fail_after(20):
            while len(booked(ledger)) < 4:
                await anyio.sleep(0.02)
        status = await call(client, "opcode.status", workflow_id=run_id, include=["steps"])
    done = [name for name, step in status["steps"].items() if step["status"] == "completed"]
    pid = daemon.kill()
    say(f"   process {pid} is gone; the ledger file says: {' '.join(booked(ledger))}")
    say(f"   completed before the cut: {', '.join(done)}")
    must(len(done) >= 2, "some steps had completed, one was in the middle")

    title(7, "Restart, look, continue")
    say(f"   the daemon is ready again after {daemon.start() * 1000:.0f} ms")
    async with agent(daemon.url, []) as client:
        found = await call(client, "opcode.query", resource="workflows", filter={"status": "suspended"})
        must([each["id"] for each in found["workflows"]] == [run_id], "the interrupted run is there, suspended")
        status = await call(client, "opcode.status", workflow_id=run_id)
        say(f"   waiting: {json.dumps(status['waiting'])}")
        kept = [name for name, step in status["steps"].items() if step["status"] == "completed"]
        must(set(done) <= set(kept), "every step that had completed still is")
        answer = await call(client, "opcode.signal", show_progress, workflow_id=run_id, signal_type="retry",
                            agent_id=AGENT)  # fmt: skip
        must(answer["status"] == "completed", "with the agent's consent the run went on and completed")

    title(8, "What the outside says: a file that only the child processes wrote")
    lines = booked(ledger)
    say(f"   {' '.join(lines)}")
    items = ["rent", "power", "water", "tea", "paper", "ink", "post", "closed"]
    completed = {items[int(name.split(".")[1].removeprefix("iter_"))] for name in kept if ".iter_" in name}
    twice = sorted({item for item in lines if lines.count(item) > 1})
    must(
        all(lines.count(item) == 1 for item in completed),
        f"no completed step ran twice ({', '.join(sorted(completed))})",
    )
    must(set(items) <= set(lines), "and nothing was left out")
    must(
        len(twice) <= 1,
        f"only the step that was cut off was repeated, and only after consent: {', '.join(twice) or 'none'}",
    )


async def main() -> None:
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="opcode-demo-") as scratch, Site() as site:
        home = Path(scratch) / "home"
        home.mkdir(mode=0o700)
        daemon = Daemon(home)
        try:
            title(1, "A daemon on a free loopback port, an agent connected over SSE")
            say(f"   {daemon.url}/sse, ready after {daemon.start() * 1000:.0f} ms; the outside world is at {site.url}")
            await first_run(daemon, site, Path(scratch) / "out")
            await killed_run(daemon, Path(scratch) / "ledger.txt")
        finally:
            daemon.stop()
    say(f"\nAll of it held, in {time.monotonic() - began:.1f} s. What to do next:\n")
    say("   .venv/bin/opcode serve                      start your own daemon on 127.0.0.1:4100")
    say("   .venv/bin/opcode run examples/hello.json --input who=you     no daemon needed")
    say("   .venv/bin/opcode actions                    everything a step can do")
    say("   point your agent's MCP client at http://localhost:4100/sse   (see README.md)")


def reason(error: BaseException) -> str:
    """Say what went wrong, past the groups that task groups wrap around it."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return str(error) if isinstance(error, DemoFailed) else f"{type(error).__name__}: {error}"


if __name__ == "__main__":
    try:
        anyio.run(main)
    except Exception as failure:
        sys.exit(f"\nThe demo failed: {reason(failure)}")
