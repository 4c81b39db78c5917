"""Diagrams of workflows and runs: the MCP tool opcode.diagram. Programs can call `opcode_diagram.draw.draw`."""

from collections.abc import Iterable
from typing import Any

from opcode_diagram.tool import diagram_tool
from opcode_kernel import Tool, hookimpl


@hookimpl
def opcode_tools(engine: Any) -> Iterable[Tool]:
    """Offer the tool over a running engine."""
    return [diagram_tool(engine)]
