"""Draw a definition in one call: what the tool, the command line and the demo use."""

from __future__ import annotations

from collections.abc import Iterable

from opcode_diagram import ascii as text_picture
from opcode_diagram import mermaid
from opcode_diagram.model import MAX_NODES, build
from opcode_diagram.overlay import StepState
from opcode_kernel import DefinitionError, Json

#: Formats that can be drawn.
FORMATS = ("ascii", "mermaid")
#: Longest picture in bytes; beyond it fewer steps are drawn.
MAX_BYTES = 200_000


def draw(
    definition: Json,
    steps: Iterable[StepState] | None = None,
    format: str = "ascii",
    width: int = 100,
    title: str | None = None,
) -> str:
    """Return the picture of a workflow as text, ending in a line break.

    `steps` are the step rows of a run, laid over the picture; `width` is the page of the ascii format in columns;
    `title` replaces the one from the metadata of the definition.

    Raises:
        DefinitionError: the definition cannot be drawn, or the format is unknown.
    """
    if format not in FORMATS:
        raise DefinitionError(f"expected a format out of {', '.join(FORMATS)}, found {format!r}")
    rows = list(steps or ())
    limit = MAX_NODES
    while True:
        diagram = build(definition, rows, title=title, limit=limit)
        text = text_picture.render(diagram, width=width) if format == "ascii" else mermaid.render(diagram)
        if len(text.encode()) <= MAX_BYTES or limit == 1:
            return text
        limit = max(1, min(limit, len(diagram.nodes)) // 2)
