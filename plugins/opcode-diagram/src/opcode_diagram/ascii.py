"""The text renderer: boxes in rows from top to bottom, real lines between them, sub-steps in blocks below.

The same definition and rows always give the same text. Nothing is wider than the page except a word that cannot be
broken; nothing is drawn that is not so: wires that found no room are listed instead.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from opcode_diagram.canvas import Canvas
from opcode_diagram.model import END, START, Diagram, Edge, Group, Node
from opcode_diagram.place import Ends, Slot, place
from opcode_diagram.rows import GAP, Link, pack, wires_of
from opcode_diagram.text import clip, width_of, wrap

TAGS = {
    "completed": "[OK]", "failed": "[FAIL]", "running": "[RUN]", "suspended": "[WAIT]", "pending": "[PEND]",
    "scheduled": "[PEND]", "skipped": "[SKIP]", "retrying": "[RETRY]",
}  # fmt: skip
MIN_WIDTH, MAX_WIDTH = 40, 400
#: Widest text inside a box.
_LABEL = 36
#: Edges listed in words when they cannot be drawn.
_LISTED = 200


def render(diagram: Diagram, *, width: int = 100) -> str:
    """Return the picture of a workflow as text, lines at most `width` columns (held between 40 and 400)."""
    width = min(max(width, MIN_WIDTH), MAX_WIDTH)
    picture, loose = _picture(diagram, width)
    out = [*wrap(f"=== {diagram.title} ===", width), "", *picture]
    if loose:
        out += ["", "--- more edges ---", *_listed(loose, diagram, width)]
    for node in diagram.nodes:
        if node.groups:
            heading = wrap(f"--- {node.name} sub-steps ---", width)
            out += ["", *heading, *(line for group in node.groups for line in _group(group, 2, width))]
    out += [line for note in diagram.notes for line in ("", f"note: {note}")]
    return "\n".join(line.rstrip() for line in out) + "\n"


def _picture(diagram: Diagram, width: int) -> tuple[list[str], list[Link]]:
    nodes = {node.id: node for node in diagram.nodes}
    order = [each for level in diagram.levels for each in level]
    hooks = [node.id for node in diagram.nodes if node.id not in set(order)]
    levels = [*diagram.levels, *([tuple(hooks)] if hooks else [])]
    top = {inner.id: node.id for node in diagram.nodes for inner in node.walk()}
    links = dict.fromkeys(Link(top[edge.source], edge.target, edge.dashed) for edge in diagram.edges)
    wires, loose = wires_of(links, [*order, *hooks], (width - 5) // 2)
    texts = {each: _label(node, min(_LABEL, width // 2)) for each, node in nodes.items()}
    entrances = Counter(each for wire in wires for each in wire.targets)
    # A free column beside every entrance, so that wires leaving the row above can never take them all.
    sizes = {each: max(max(map(width_of, text)) + 4, 2 * entrances[each] + 3) for each, text in texts.items()}
    rows, kept, lost = pack(levels, wires, sizes, width - 1)
    slots, gaps = place(rows, kept, sizes, width)
    dashed = {number for number, wire in kept.items() if wire.dashed}
    return _draw(slots, gaps, texts, dashed), [*loose, *lost]


def _label(node: Node, limit: int) -> list[str]:
    lines = wrap(node.name, limit)
    if node.kind not in ("start", "end"):
        lines += wrap(f"({node.detail})", limit)
    if node.role:
        lines.append(node.role if node.role == "fallback" else f"{node.role} hook")
    return lines + [clip(word, limit) for word in _state(node)]


def _state(node: Node) -> Iterator[str]:
    overlay = node.overlay
    if overlay.status is not None:
        yield TAGS.get(overlay.status, f"[{overlay.status.upper()}]")
    if overlay.progress:
        yield overlay.progress
    if overlay.duration_ms > 0:
        yield f"{overlay.duration_ms}ms"
    if overlay.retries > 0:
        yield f"{overlay.retries} {'retry' if overlay.retries == 1 else 'retries'}"


def _draw(
    slots: Sequence[Sequence[Slot]], gaps: Sequence[dict[int, Ends]], texts: dict[str, list[str]], dashed: set[int]
) -> list[str]:
    canvas, y = Canvas(), 0
    for index, row in enumerate(slots):
        height = max(len(texts[slot.box]) + 2 for slot in row if slot.box)
        for slot in row:
            bottom = y - 1
            if slot.box:
                canvas.box(slot.left, y, slot.width, texts[slot.box])
                bottom = y + len(texts[slot.box]) + 1
            for number, column in slot.exits.items():
                if slot.box:
                    canvas.write(column, bottom, "┬")
                canvas.down(
                    column, bottom + 1, y + height - 1, number, enters=True, leaves=True, dashed=number in dashed
                )
        y += height
        if index < len(gaps):
            y = _draw_gap(canvas, y, gaps[index], dashed)
    return canvas.lines()


def _draw_gap(canvas: Canvas, y: int, gap: dict[int, Ends], dashed: set[int]) -> int:
    """Draw the wires between two rows and return the line where the lower row starts."""
    tracks = _tracks(gap)
    # One line more under a dashed wire, so that not all of it is corners.
    arrow_line = y + max([1, *(track + 1 + (number in dashed) for number, track in tracks.items())])
    for number, ends in gap.items():
        style = number in dashed
        if number not in tracks:
            canvas.down(ends.tops[0], y, arrow_line, number, enters=True, leaves=True, dashed=style)
        else:
            line = y + tracks[number]
            columns = [*ends.tops, *ends.arrows, *ends.lanes]
            canvas.across(line, min(columns), max(columns), number, dashed=style)
            for column in ends.tops:
                canvas.down(column, y, line, number, enters=True, leaves=False, dashed=style)
            for column in (*ends.arrows, *ends.lanes):
                canvas.down(column, line, arrow_line, number, enters=False, leaves=True, dashed=style)
        for column in ends.arrows:
            canvas.write(column, arrow_line, "▼")
    return arrow_line + 1


def _tracks(gap: dict[int, Ends]) -> dict[int, int]:
    """Give every wire that moves sideways a line of its own where it would touch another one."""
    spans = []
    for number, ends in gap.items():
        columns = [*ends.tops, *ends.arrows, *ends.lanes]
        if min(columns) < max(columns):
            spans.append((min(columns), max(columns), number))
    right_ends: list[int] = []
    tracks: dict[int, int] = {}
    for left, right, number in sorted(spans):
        track = next((n for n, end in enumerate(right_ends) if end + GAP <= left), len(right_ends))
        right_ends[track : track + 1] = [right]
        tracks[number] = track
    return tracks


def _listed(loose: Sequence[Link], diagram: Diagram, width: int) -> list[str]:
    names = {node.id: node.name for node in diagram.nodes} | {START: "Start", END: "End"}
    lines = [_arrow(names[link.source], names[link.target], link.dashed) for link in loose[:_LISTED]]
    if len(loose) > _LISTED:
        lines.append(f"… {len(loose) - _LISTED} more")
    return [piece for line in lines for piece in _indented(line, 2, width)]


def _group(group: Group, indent: int, width: int) -> Iterator[str]:
    yield from _indented(f"[{group.label}]", indent, width)
    names = {node.id: node.name for node in group.nodes}
    for node in group.nodes:
        role = f" {node.role}" if node.role else ""
        yield from _indented(" ".join([f"{node.name} ({node.detail}){role}", *_state(node)]), indent + 2, width)
        for inner in node.groups:
            yield from _group(inner, indent + 4, width)
    if group.hidden:
        yield from _indented(f"… {group.hidden} more", indent + 2, width)
    for edge in group.edges:
        yield from _indented(_edge(edge, names), indent + 2, width)


def _edge(edge: Edge, names: dict[str, str]) -> str:
    return _arrow(names[edge.source], names[edge.target], edge.dashed) + (f" ({edge.label})" if edge.label else "")


def _arrow(source: str, target: str, dashed: bool) -> str:
    return f"{source} {'╌→' if dashed else '─→'} {target}"


def _indented(text: str, indent: int, width: int) -> list[str]:
    # Deep nesting may not eat the whole line.
    indent = min(indent, width - 24)
    first, *more = wrap(text, width - indent - 2, lines=12)
    return [" " * indent + first, *(" " * (indent + 2) + each for each in more)]
