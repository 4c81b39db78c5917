"""One tool call to a live daemon, for commands that must not open its database behind its back."""

from __future__ import annotations

from typing import Any

from mcp.client.session import ClientSession
from mcp.client.sse import sse_client

from opcode_kernel.errors import Json, OpcodeError


async def call_daemon(url: str, token: str | None, tool: str, arguments: dict[str, Json]) -> dict[str, Json]:
    """Return the structured answer of a tool.

    Raises:
        OpcodeError: the tool refused, with its own code and details, or the daemon does not answer.
    """
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    try:
        async with sse_client(f"{url}/sse", headers=headers) as (read, write), ClientSession(read, write) as session:
            await session.initialize()
            result: Any = await session.call_tool(tool, arguments)
    except Exception as error:
        raise unreachable(url, error) from error
    data: dict[str, Json] = result.structured_content
    if result.is_error:
        problem = data["error"]
        raise OpcodeError(problem["message"], code=problem["code"], details=problem.get("details"))
    return data


def unreachable(url: str, error: BaseException) -> OpcodeError:
    """Return the sentence for a connection that failed, with the innermost reason."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return OpcodeError(f"the server at {url} cannot be reached: {error or type(error).__name__}; is it running?")
