"""The tools as an MCP server: listing, calling, the result envelope. The same object serves every transport."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import replace
from typing import Any
from uuid import uuid4

import mcp_types as types
from mcp.server.context import ServerRequestContext
from mcp.server.lowlevel import Server
from mcp.shared.exceptions import MCPError

from opcode_kernel import __version__
from opcode_kernel.errors import Json, OpcodeError
from opcode_kernel.plugin.tool import Tool, ToolResult
from opcode_kernel.server import logs
from opcode_kernel.server.calls import Calls, describe
from opcode_kernel.server.channels import SessionChannel, open_request_channel
from opcode_kernel.server.readable import readable
from opcode_kernel.server.refusals import full_text
from opcode_kernel.server.sessions import CONNECTION, Sessions
from opcode_kernel.server.strays import check_arguments, with_remarks

Context = ServerRequestContext[Any, Any]

INSTRUCTIONS = (
    "OPCODE runs workflows for agents: reason once, save the plan, run it again without thinking. opcode.define saves "
    "a workflow as a named template, opcode.run starts it and returns its results, opcode.status shows a run, "
    "opcode.signal answers its questions or cancels, retries and skips, opcode.query lists runs, events and templates, "
    "opcode.diagram draws a template or a run. A run that needs a decision comes back suspended: answer with "
    "opcode.signal and it continues by itself."
)

#: Clients (by the name they give) whose model providers refuse tool names with a dot and which do not rewrite them.
_DOTLESS = ("openai-agents", "openai-mcp", "openai-python")

#: Ids in arguments that log records of the call carry.
_LOGGED = ("workflow_id", "step_id", "agent_id")
_LOGGED_LENGTH = 200


class CallSession:
    """The connection of one call, as tools see it."""

    def __init__(self, ctx: Context, connection_id: str) -> None:
        self._ctx = ctx
        self.connection_id = connection_id
        self.wants_progress = progress_token(ctx.params) is not None

    async def progress(self, done: float, total: float | None, message: str) -> None:
        """Report progress if the client asked for it; a client that has gone is no reason to fail."""
        if self.wants_progress:
            try:
                await self._ctx.session.report_progress(done, total, message)
            except Exception as error:  # noqa: BLE001
                logs.get_logger().debug("progress not delivered", error=str(error))


def progress_token(params: Mapping[str, Any] | None) -> str | int | None:
    """Return the progress token of a request, if it carries one."""
    meta = (params or {}).get("_meta")
    token = meta.get("progressToken") if isinstance(meta, Mapping) else None
    return token if isinstance(token, str | int) and not isinstance(token, bool) else None


class ToolServer:
    """The handlers of `tools/list`, `tools/call` and logging over a table of tools."""

    def __init__(self, sessions: Sessions, calls: Calls, *, tool_names: str = "auto") -> None:
        self._sessions = sessions
        self._calls = calls
        self._tool_names = tool_names
        self.install({})

    def install(self, tools: Mapping[str, Tool]) -> None:
        """Offer these tools from now on; there are none until the engine is open."""
        self._tools = tools
        self._aliases = {name.replace(".", "_"): tool for name, tool in tools.items()}
        self._listed = {
            dotless: types.ListToolsResult(tools=[_listing(tool, dotless) for tool in tools.values()])
            for dotless in (False, True)
        }

    async def list_tools(self, ctx: Context, params: types.PaginatedRequestParams | None) -> types.ListToolsResult:
        """Answer `tools/list`: all of them, sorted, on one page."""
        return self._listed[self._dotless(ctx)]

    async def call_tool(self, ctx: Context, params: types.CallToolRequestParams) -> types.CallToolResult:
        """Answer `tools/call`; a tool's own refusal is a result, an unknown tool or a crash a protocol error."""
        tool = self._tools.get(params.name) or self._aliases.get(params.name)
        if tool is None:
            known = ", ".join(self._tools)
            raise MCPError(types.INVALID_PARAMS, f"tool {params.name[:100]!r} not found; there are {known}")
        given = params.arguments or {}
        connection_id = CONNECTION.get() or f"request-{uuid4()}"
        ids = {key: given[key][:_LOGGED_LENGTH] for key in _LOGGED if isinstance(given.get(key), str)}
        with ExitStack() as stack:
            stack.enter_context(logs.bind(tool=tool.name, call_id=str(ctx.request_id), **ids))
            stack.enter_context(open_request_channel(ctx, connection_id, self._sessions, self._calls))
            return await self._call(tool, given, CallSession(ctx, connection_id))

    async def set_level(self, ctx: Context, params: types.SetLevelRequestParams) -> types.EmptyResult:
        """Answer `logging/setLevel`: graver notifications only, from now on, on this connection."""
        self._sessions.set_level(CONNECTION.get(), params.level)
        return types.EmptyResult()

    async def initialized(self, ctx: Context, params: types.NotificationParams | None) -> None:
        """Open a way back to a client whose transport has none of its own (streamable HTTP, stdio)."""
        connection_id = CONNECTION.get()
        if connection_id and connection_id not in self._sessions:
            channel = SessionChannel(ctx.session, self._calls)
            over_http = ctx.request is not None
            self._sessions.open(connection_id, channel.push, channel.close, needs_stream=over_http)

    async def _call(self, tool: Tool, given: dict[str, Json], session: CallSession) -> types.CallToolResult:
        log = logs.get_logger()
        try:
            remarks = check_arguments(tool.input_schema, given)
            if tool.read_only:
                result = await tool.handler(given, session)
            else:
                result = await self._calls.run(lambda: tool.handler(given, session))
        except OpcodeError as error:
            log.info("tool call refused", code=error.code, error=error.message)
            return failure(error)
        except Exception as error:
            log.exception("tool call crashed")
            raise MCPError(
                types.INTERNAL_ERROR,
                f"tool {tool.name!r} failed inside the server: {type(error).__name__}; the log has the details",
            ) from error
        log.debug("tool call answered")
        if remarks:
            result = replace(result, data=with_remarks(result.data, remarks, tool.output_schema))
        return success(result)

    def _dotless(self, ctx: Context) -> bool:
        if self._tool_names != "auto":
            return self._tool_names == "underscore"
        client = ctx.session.client_params
        name = client.client_info.name.lower() if client else ""
        return any(known in name for known in _DOTLESS)


def build_server(tools: ToolServer) -> Server[Any]:
    """Return the SDK's server around the handlers; it holds no connection and may serve any number of them."""
    server: Server[Any] = Server(
        "opcode",
        version=__version__,
        instructions=INSTRUCTIONS,
        on_list_tools=tools.list_tools,
        on_call_tool=tools.call_tool,
    )
    # Not the constructor argument: the SDK warns about it, for the newest protocol has no such request any more.
    server.add_request_handler("logging/setLevel", types.SetLevelRequestParams, tools.set_level)
    server.add_notification_handler("notifications/initialized", types.NotificationParams, tools.initialized)
    server.middleware.clear()
    return server


def success(result: ToolResult) -> types.CallToolResult:
    """Wrap an answer: its JSON as text (or the text the tool gave) and as structured content."""
    text, data = readable(result.data)
    content: list[Any] = [types.TextContent(type="text", text=text if result.text is None else result.text)]
    if result.image is not None:
        mime_type, base64_data = result.image
        content.append(types.ImageContent(type="image", data=base64_data, mime_type=mime_type))
    return types.CallToolResult(content=content, structured_content=data)


def failure(error: OpcodeError) -> types.CallToolResult:
    """Wrap a refusal: plain sentences as text, the code and details as structured content."""
    _, data = readable({"error": describe(error)})
    message = types.TextContent(type="text", text=full_text(error).encode("utf-8", "replace").decode("utf-8"))
    return types.CallToolResult(content=[message], structured_content=data, is_error=True)


def _listing(tool: Tool, dotless: bool) -> types.Tool:
    hints: dict[str, Any] = {
        "readOnlyHint": tool.read_only,
        "destructiveHint": tool.destructive,
        "idempotentHint": tool.idempotent,
        "openWorldHint": tool.open_world,
        **tool.annotations,
    }
    return types.Tool(
        name=tool.name.replace(".", "_") if dotless else tool.name,
        description=tool.description,
        input_schema=tool.input_schema,
        output_schema=tool.output_schema,
        annotations=types.ToolAnnotations.model_validate(hints),
    )
