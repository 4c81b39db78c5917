"""The kernel's five tools, and those of plugins, as one sorted table of `Tool` objects. No transport is known here."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

from opcode_kernel.errors import DefinitionError, Json, NotFoundError, OpcodeError, PluginError, StoreError
from opcode_kernel.plugin.tool import Tool, ToolResult, ToolSession
from opcode_kernel.runtime.library import KEPT
from opcode_kernel.server import arguments as read
from opcode_kernel.server import tool_schemas as schemas
from opcode_kernel.server.progress import follow
from opcode_kernel.server.queries import RESOURCES, query
from opcode_kernel.server.sessions import Sessions
from opcode_kernel.server.strays import check_keys, with_remarks
from opcode_kernel.server.unknown_inputs import inputs_read, unknown_inputs

#: From an error to the words its sentence starts with.
Prefix = Callable[[OpcodeError], str]

#: This many names are offered for one that was not found.
_CANDIDATES = 20


@contextmanager
def prefixed(prefix: str | Prefix) -> Iterator[None]:
    """Put the published words before the sentence of every failure inside; code and details stay."""
    try:
        yield
    except OpcodeError as error:
        words = prefix if isinstance(prefix, str) else prefix(error)
        step = error.details.get("step_id")
        where = f"step {step}: " if step and f"step {step}" not in error.message else ""
        raise OpcodeError(
            f"{words} [{error.code}] {where}{error.message}{_remedy(error)}",
            code=error.code,
            retryable=error.retryable,
            details=error.details,
        ) from error


def _remedy(error: OpcodeError) -> str:
    """Return what to do about something that was not found, where the sentence does not say it."""
    if error.code != "NOT_FOUND":
        return ""
    if error.message.startswith("workflow ") and error.message.endswith("not found"):
        return "; list runs with opcode.query resource=workflows"
    found = error.details.get("candidates")
    names = [name for name in found if isinstance(name, str)] if isinstance(found, list) else []
    if not names or all(name in error.message for name in names):
        return ""
    return f"; there are {', '.join(names[:_CANDIDATES])}"


@dataclass(frozen=True, slots=True)
class KernelTools:
    """The handlers of the five tools over one engine."""

    engine: Any
    sessions: Sessions
    #: Which inputs a version of a template reads, so that a run need not look for them.
    reads: dict[tuple[str, int], set[str]] = field(default_factory=dict)

    async def define(self, given: dict[str, Json], session: ToolSession) -> ToolResult:
        """Save a definition as the next version of a template."""
        name = read.required_text(given, "name")
        agent_id = read.required_id(given, "agent_id")
        definition = read.optional_object(given, "definition")
        if definition is None:
            raise DefinitionError("definition is required")
        self.sessions.remember(agent_id, session.connection_id)
        with prefixed(_define_prefix):
            return ToolResult(
                await self.engine.define(
                    name,
                    definition,
                    agent_id=agent_id,
                    description=read.optional_text(given, "description"),
                    input_schema=read.optional_object(given, "input_schema"),
                    output_schema=read.optional_object(given, "output_schema"),
                    triggers=read.optional_object(given, "triggers"),
                )
            )

    async def run(self, given: dict[str, Json], session: ToolSession) -> ToolResult:
        """Start a template and wait for the run to end, to suspend, or for the time given."""
        template_name = read.required_text(given, "template_name")
        agent_id = read.required_id(given, "agent_id")
        version = read.optional_version(given)
        params = read.optional_object(given, "params") or {}
        wait = read.optional_flag(given, "wait", True)
        wait_timeout = read.optional_seconds(given, "wait_timeout")
        key = read.optional_text(given, "idempotency_key")
        self.sessions.remember(agent_id, session.connection_id)
        with prefixed(_run_prefix):
            remarks = await self._unknown_params(template_name, version, params) if params else []
            async with follow(session) as listener:
                answer = await self.engine.run(
                    template_name,
                    agent_id=agent_id,
                    version=version,
                    params=params,
                    wait=wait,
                    wait_timeout=wait_timeout,
                    idempotency_key=key,
                    listener=listener,
                )
        return ToolResult(with_remarks(answer, remarks, schemas.RUN_OUT))

    async def _unknown_params(self, template_name: str, version: str | None, params: dict[str, Json]) -> list[str]:
        template = await self.engine.library.resolve(template_name, version)
        row = template.row

        def read_once() -> set[str]:
            version_of = (row.name, row.version)
            if version_of not in self.reads:
                if len(self.reads) >= KEPT:
                    self.reads.clear()
                self.reads[version_of] = inputs_read(row.definition, self.engine.registry)
            return self.reads[version_of]

        found = unknown_inputs(row.definition, row.input_schema, params, read_once)
        return [f"params.{name}: {remark}" for name, remark in found.items()]

    async def status(self, given: dict[str, Json], session: ToolSession) -> ToolResult:
        """Show one run."""
        workflow_id = read.required_text(given, "workflow_id")
        include = read.optional_words(given, "include", schemas.INCLUDES)
        since = read.optional_number(given, "events_since", least=0)
        limit = min(read.optional_number(given, "events_limit", least=1) or 200, 10_000)
        with prefixed("status query failed:"):
            return ToolResult(
                await self.engine.status(workflow_id, include=include, events_since=since, events_limit=limit)
            )

    async def signal(self, given: dict[str, Json], session: ToolSession) -> ToolResult:
        """Answer a decision, feed data, cancel, retry or skip."""
        workflow_id = read.required_text(given, "workflow_id")
        signal_type = read.required_text(given, "signal_type")
        payload = read.optional_object(given, "payload") or {}
        agent_id = read.optional_id(given, "agent_id")
        wait = read.optional_flag(given, "wait", True)
        wait_timeout = read.optional_seconds(given, "wait_timeout")
        if agent_id is not None:
            self.sessions.remember(agent_id, session.connection_id)
        with prefixed(_signal_prefix):
            async with follow(session) as listener:
                return ToolResult(
                    await self.engine.signal(
                        workflow_id,
                        signal_type,
                        payload=payload,
                        step_id=read.optional_text(given, "step_id") or None,
                        agent_id=agent_id,
                        reasoning=read.optional_text(given, "reasoning"),
                        wait=wait,
                        wait_timeout=wait_timeout,
                        listener=listener,
                    )
                )

    async def query(self, given: dict[str, Json], session: ToolSession) -> ToolResult:
        """List runs, events, templates and the rest."""
        resource = read.required_word(given, "resource", tuple(RESOURCES), "unknown resource type:")
        where = read.optional_object(given, "filter") or {}
        remarks = check_keys(schemas.FILTER, where, "filter key")
        try:
            found = await query(self.engine.store, self.engine.registry, resource, where)
            remarks += found.get("warnings", [])
            return ToolResult({**found, "warnings": remarks} if remarks else found)
        except StoreError as error:
            raise StoreError(f"query failed: {error}", details=error.details) from error


def _define_prefix(error: OpcodeError) -> str:
    return "failed to store template:" if isinstance(error, StoreError) else "invalid definition:"


def _run_prefix(error: OpcodeError) -> str:
    if isinstance(error, NotFoundError) or error.code == "NOT_FOUND":
        return "template lookup failed:" if "not found" in error.message else "template lookup failed: not found:"
    return "failed to create workflow:" if isinstance(error, StoreError) else "workflow execution failed:"


def _signal_prefix(error: OpcodeError) -> str:
    resumed = error.details.get("accepted") is True
    return "signal accepted but resume failed:" if resumed else "signal failed:"


def kernel_tools(engine: Any, sessions: Sessions) -> list[Tool]:
    """Return the five tools of the kernel over a running engine."""
    handlers = KernelTools(engine, sessions)
    resources = list(RESOURCES)
    return [
        Tool(
            "opcode.define",
            "Save a workflow as a named template; each save makes the next version",
            schemas.DEFINE_IN,
            schemas.DEFINE_OUT,
            handlers.define,
        ),
        Tool(
            "opcode.run",
            "Start a saved template and report id, state and step results. The answer comes when the run has ended or "
            "suspended; a run that needs a decision comes back suspended with the open questions, once no other step of it "
            "works (opcode.status shows them at once)",
            schemas.RUN_IN,
            schemas.RUN_OUT,
            handlers.run,
            destructive=True,
            open_world=True,
        ),
        Tool(
            "opcode.status",
            "Show one run: steps, open decisions, history",
            schemas.STATUS_IN,
            schemas.STATUS_OUT,
            handlers.status,
            read_only=True,
            idempotent=True,
        ),
        Tool(
            "opcode.signal",
            "Answer a decision, feed data, cancel, retry or skip; the run continues by itself. After decision, retry and "
            "skip the answer comes when the run has ended or suspended again, however long that takes; wait and "
            "wait_timeout bound it, and the answer then has status active",
            schemas.SIGNAL_IN,
            schemas.SIGNAL_OUT,
            handlers.signal,
            destructive=True,
            open_world=True,
        ),
        Tool(
            "opcode.query",
            "List runs, events, templates, decisions, agents or actions, filtered and paged",
            schemas.query_in(resources),
            schemas.query_out(resources),
            handlers.query,
            read_only=True,
            idempotent=True,
        ),
    ]


def collect_tools(engine: Any, sessions: Sessions) -> Mapping[str, Tool]:
    """Return all tools by name, sorted: the kernel's and those plugins offer.

    Raises:
        PluginError: a plugin's hook fails, offers something else than tools, or a name that is taken.
    """
    tools = kernel_tools(engine, sessions)
    owners = {tool.name: "opcode-kernel" for tool in tools}
    for source, hook in engine.registry.hooks("opcode_tools"):
        try:
            offered: Sequence[Any] = list(hook(engine))
        except Exception as error:
            raise PluginError(
                f"opcode_tools of distribution {source.distribution} failed: {type(error).__name__}: {error}"
            ) from error
        for tool in offered:
            if not isinstance(tool, Tool):
                raise PluginError(
                    f"opcode_tools of distribution {source.distribution} must return tools, found {type(tool).__name__}"
                )
            if tool.name in owners:
                raise PluginError(
                    f"tool {tool.name!r} is offered by both {owners[tool.name]} and {source.distribution}; "
                    f"uninstall one of them or set OPCODE_PLUGINS_OFF={source.name}",
                    code="CONFLICT",
                )
            owners[tool.name] = source.distribution
            tools.append(tool)
    safe = (_hiding(tool, engine) for tool in tools)
    return MappingProxyType({tool.name: tool for tool in sorted(safe, key=lambda tool: tool.name)})


def _hiding(tool: Tool, engine: Any) -> Tool:
    """Return a tool whose answers and refusals show no secret, not even one that was stored before anybody knew it."""

    async def handler(given: dict[str, Json], session: ToolSession) -> ToolResult:
        known = engine.secrets.known
        try:
            result = await tool.handler(given, session)
        except OpcodeError as error:
            raise known.error(error) from None if known.armed else error.__cause__
        if not known.armed:
            return result
        return replace(
            result, data=known.value(result.data), text=None if result.text is None else known.text(result.text)
        )

    return replace(tool, handler=handler)
