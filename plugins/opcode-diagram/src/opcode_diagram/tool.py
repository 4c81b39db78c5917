"""The MCP tool `opcode.diagram`: looks up what to draw, and draws it off the event loop."""

from __future__ import annotations

import re
from functools import partial
from typing import Any

from anyio import CapacityLimiter, to_thread

from opcode_diagram.ascii import MAX_WIDTH, MIN_WIDTH
from opcode_diagram.draw import FORMATS, draw
from opcode_kernel import DefinitionError, Json, NotFoundError, Tool, ToolResult, ToolSession, json_type

_INPUT: dict[str, Json] = {
    "type": "object",
    "properties": {
        "format": {
            "type": "string",
            "enum": list(FORMATS),
            "description": "ascii: a picture in text; mermaid: source for a Mermaid renderer",
        },
        "template_name": {"type": "string", "description": "template to draw; this or workflow_id is required"},
        "version": {"type": "string", "description": "version of the template such as v3; the highest when absent"},
        "workflow_id": {
            "type": "string",
            "description": "run to draw, with the status of its steps; wins over template_name",
        },
        "include_status": {
            "type": "boolean",
            "default": True,
            "description": "false draws a run without the status of its steps",
        },
        "width": {
            "type": "integer",
            "minimum": MIN_WIDTH,
            "maximum": MAX_WIDTH,
            "default": 100,
            "description": "ascii: columns of the page",
        },
    },
    "required": ["format"],
}
_OUTPUT: dict[str, Json] = {
    "type": "object",
    "properties": {
        "format": {"type": "string", "enum": list(FORMATS), "description": "format of the diagram"},
        "diagram": {"type": "string", "description": "the diagram, same as the text of the answer"},
    },
    "required": ["format", "diagram"],
}


def diagram_tool(engine: Any) -> Tool:
    """Return the tool over an engine; of it only `engine.store` is used, and only for reading."""
    # Two at a time are plenty for pictures, and leave the worker threads to the actions.
    limiter = CapacityLimiter(2)

    async def handle(arguments: dict[str, Json], session: ToolSession) -> ToolResult:
        wanted, width = _format(arguments.get("format")), _width(arguments.get("width"))
        definition, steps = await _subject(engine.store, arguments)
        try:
            work = partial(draw, definition, steps, format=wanted, width=width)
            picture = await to_thread.run_sync(work, limiter=limiter)
        except DefinitionError as error:
            raise DefinitionError(
                f"diagram build failed: {error.message}", code=error.code, details=error.details
            ) from error
        return ToolResult({"format": wanted, "diagram": picture}, text=picture)

    return Tool(
        name="opcode.diagram",
        description="Draw a template or a run as text or Mermaid",
        input_schema=_INPUT,
        output_schema=_OUTPUT,
        handler=handle,
        read_only=True,
        idempotent=True,
    )


async def _subject(store: Any, arguments: dict[str, Json]) -> tuple[Json, Any]:
    """Return the definition and the step rows to draw; a run wins over a template."""
    run_id, name = _text(arguments, "workflow_id"), _text(arguments, "template_name")
    if run_id is not None:
        with_status = _flag(arguments.get("include_status"))
        run = await store.run(run_id)
        if run is None:
            raise NotFoundError(f"workflow not found: {run_id[:128]}")
        definition = await _definition(store, run.template_name, run.template_version)
        return definition, await store.steps(run_id) if with_status else None
    if name is None:
        raise DefinitionError("template_name or workflow_id is required: name the template or the run to draw")
    return await _definition(store, name, _version(arguments.get("version"))), None


async def _definition(store: Any, name: str, version: int | None) -> Json:
    row = await store.template(name, version)
    if row is None:
        which = f"{name[:128]!r}" + (f" in version v{version}" if version is not None else "")
        raise NotFoundError(f"template lookup failed: expected a stored template, found none called {which}")
    return row.definition


def _format(value: Json) -> str:
    if not isinstance(value, str) or not value.strip():
        raise DefinitionError("format is required")
    if value == "image":
        raise DefinitionError(
            f"image render failed: pictures as PNG are not available yet; use one of {', '.join(FORMATS)}",
            details={"format": value, "available": list(FORMATS)},
        )
    if value not in FORMATS:
        raise DefinitionError("format must be ascii, mermaid, or image", details={"available": list(FORMATS)})
    return value


def _text(arguments: dict[str, Json], name: str) -> str | None:
    value = arguments.get(name)
    if value is not None and not isinstance(value, str):
        raise DefinitionError(f"{name}: expected a text, found {json_type(value)}")
    return value.strip() or None if value else None


def _flag(value: Json) -> bool:
    if value is None:
        return True
    if value in ("true", "false") or isinstance(value, bool):
        return value in (True, "true")
    raise DefinitionError(f"include_status: expected true or false, found {json_type(value)}")


def _version(value: Json) -> int | None:
    if value is None or value == "":
        return None
    if (match := re.fullmatch(r"v?(\d{1,9})", str(value).strip(), re.ASCII)) and not isinstance(value, bool):
        return int(match[1])
    raise DefinitionError(f"template lookup failed: version: expected a version such as v3, found {str(value)[:40]!r}")


def _width(value: Json) -> int:
    if value is None:
        return 100
    text = str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)
    if re.fullmatch(r"\d{1,4}", text, re.ASCII) and MIN_WIDTH <= int(text) <= MAX_WIDTH:
        return int(text)
    raise DefinitionError(f"width: expected an integer from {MIN_WIDTH} to {MAX_WIDTH}, found {text[:40]!r}")
