"""From the result of a tool to the output of a step, or to its failure."""

from __future__ import annotations

from collections.abc import Callable

import anyio.to_thread
from mcp.shared.exceptions import MCPError
from mcp_types import INVALID_PARAMS, METHOD_NOT_FOUND

from opcode_kernel import ActionError, Json
from opcode_mcp_bridge.failures import shown
from opcode_mcp_bridge.messages import UnreadableError, parse

#: Values and separators in a text that is read as JSON.
_MAX_STRUCTURE = 500_000
#: Longer texts are read in a thread.
_LONG = 65_536
#: Characters of what a tool says that its failure shows, and that stand in its details.
_SHOWN, _DETAILED = 4_000, 65_536


async def output_of(result: dict[str, Json], name: str, redact: Callable[[str], str]) -> dict[str, Json]:
    """Return the result with `text`, its text parts, and `json`, its structured content or what the text spells.

    Raises:
        ActionError: `EXECUTION_ERROR`, the tool says that it failed. It did answer, so its server is well.
    """
    content = result.get("content")
    parts = [part for part in content if isinstance(part, dict)] if isinstance(content, list) else []
    text = "\n".join(
        [part["text"] for part in parts if part.get("type") == "text" and isinstance(part.get("text"), str)]
    )
    if result.get("isError") is True:
        raise ActionError(
            "EXECUTION_ERROR", f"{name}: {shown(text, _SHOWN, redact) or 'the tool failed and did not say why'}", answered=True,
            details={"text": shown(text, _DETAILED, redact), "is_error": True},
        )  # fmt: skip
    structured = result.get("structuredContent")
    if structured is None and len(text) > _LONG:
        structured = await anyio.to_thread.run_sync(_spelled, text, abandon_on_cancel=True)
    elif structured is None:
        structured = _spelled(text)
    return {**result, "text": text, "json": structured}


def failure_of(error: MCPError, name: str, redact: Callable[[str], str]) -> ActionError:
    """Return the failure of a step for an error of the protocol."""
    code, said = error.error.code, shown(error.error.message, _SHOWN, redact)
    message = f"{name}: {said or 'the server refused the call'}"
    details: dict[str, Json] = {"rpc_code": code}
    if code == INVALID_PARAMS:
        return ActionError("VALIDATION_ERROR", message, details=details, answered=True)
    if code == METHOD_NOT_FOUND:
        return ActionError("EXECUTION_ERROR", message, details=details, retryable=False, answered=True)
    return ActionError("EXECUTION_ERROR", message, details=details)


def _spelled(text: str) -> Json:
    """Return the JSON value that a text spells, or None."""
    if not text.strip():
        return None
    try:
        return parse(text.encode("utf-8", "replace"), _MAX_STRUCTURE, strict=True)
    except UnreadableError:
        return None
