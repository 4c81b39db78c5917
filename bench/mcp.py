"""`opcode.run` as an agent calls it: over SSE, against a real daemon in another process, on its database file."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial

from bench.daemon import daemon
from bench.mcp_client import connect
from bench.measure import Case, Operation, Options, Scenario, Subject
from bench.workloads import AGENT, counted, parallel, sequential

CONNECTIONS = (1, 16)

#: The cheapest built-in action without params, run where it is called; a daemon knows no bench actions.
_ACTION = "crypto.uuid"
_DEFINITIONS = {"parallel": parallel(10, _ACTION), "sequential": sequential(10, _ACTION)}


@asynccontextmanager
async def _calls(port: int, template: str, connections: int) -> AsyncIterator[Operation]:
    """Every caller has a connection of its own and one call in flight."""
    async with AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(connect(port)) for _ in range(connections)]
        arguments = {"template_name": template, "agent_id": AGENT}

        async def run(number: int) -> None:
            result = await clients[number].call("opcode.run", arguments)
            if result["status"] != "completed":
                raise RuntimeError(f"expected a completed run, found {result}")

        yield run


@asynccontextmanager
async def _pings(port: int, connections: int) -> AsyncIterator[Operation]:
    """The transport alone."""
    async with AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(connect(port)) for _ in range(connections)]

        async def ping(number: int) -> None:
            await clients[number].request("ping", {})

        yield ping


@asynccontextmanager
async def _cases(options: Options) -> AsyncIterator[list[Case]]:
    cases: list[Case] = []
    async with AsyncExitStack() as stack:
        for durability in options.durabilities:
            port = await stack.enter_async_context(daemon(durability))
            async with connect(port) as client:
                for name, definition in _DEFINITIONS.items():
                    arguments = {"name": name, "definition": definition, "agent_id": AGENT}
                    await client.call("opcode.define", arguments)
            for count in CONNECTIONS:
                for name in _DEFINITIONS:
                    subject = Subject(partial(_calls, port, name, count), count)
                    title = f"run-{name}-{counted(count, 'connection')}-{durability}"
                    cases.append(Case(title, subject, unit="call"))
        pings = [(f"ping-{counted(count, 'connection')}", partial(_pings, port, count), count) for count in CONNECTIONS]
        yield [*cases, *(Case(name, Subject(opens, count), unit="call") for name, opens, count in pings)]


MCP = Scenario("mcp", "opcode.run over SSE, ten steps, against a daemon", _cases)
