"""The Mermaid renderer: a flow chart in text that web pages and agents can show.

Everything that comes from the definition is escaped to entities, so no label, title or id can leave its place: not
by quotes, not by line breaks, not by a directive.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from opcode_diagram.model import END, START, Diagram, Edge, Group, Node

_SHAPES = {
    "condition": ("{", "}"), "reasoning": ("{{", "}}"), "parallel": ("[[", "]]"), "loop": ("[[", "]]"),
    "wait": ("([", "])"), "start": ("((", "))"), "end": ("((", "))"),
}  # fmt: skip
_CLASSES = {
    "completed": "fill:#2d6a2d,stroke:#1a4a1a,color:#fff",
    "failed": "fill:#8b1a1a,stroke:#5c0e0e,color:#fff",
    "running": "fill:#1a5276,stroke:#0e3a52,color:#fff",
    "suspended": "fill:#b7791a,stroke:#8a5c14,color:#fff",
    "pending": "fill:#6b6b6b,stroke:#4a4a4a,color:#fff",
    "skipped": "fill:#4a4a4a,stroke:#333,color:#aaa,stroke-dasharray: 5 5",
}
#: Defined only where a node has it: the other six are always there, and pages rely on exactly those.
_RETRYING = "fill:#6c3483,stroke:#4a235a,color:#fff"
_CLASS_OF = {**{name: name for name in _CLASSES}, "scheduled": "pending", "retrying": "retrying"}
_KEYWORDS = frozenset({
    "call", "class", "classdef", "click", "default", "direction", "end", "flowchart", "graph", "href", "interpolate",
    "linkstyle", "style", "subgraph", "tb", "td", "bt", "rl", "lr", "br",
})  # fmt: skip
_SAFE = re.compile(r"[\w \-.:,/()=+*!?@\[\]…]")
_NAMED = {'"': "#quot;", "<": "#lt;", ">": "#gt;", "&": "#amp;"}
_MAX_ID = 80


def render(diagram: Diagram) -> str:
    """Return the picture of a workflow as Mermaid source."""
    names = _names(diagram)
    lines = ["graph TD", f"    %% {escape(diagram.title)}", *(f"    %% note: {escape(note)}" for note in diagram.notes)]
    for node in diagram.nodes:
        lines += _declared(node, names, 1)
    lines += [_edge(edge, names, 1) for edge in diagram.edges]
    nodes = [inner for node in diagram.nodes for inner in node.walk()]
    lines += [f"    {names[node.id]} -.-> {names[group.id]}" for node in nodes for group in node.groups]
    lines += ["", *(f"    classDef {name} {style}" for name, style in _CLASSES.items())]
    statuses = [(node, _CLASS_OF[status]) for node in nodes if (status := node.overlay.status) in _CLASS_OF and status]
    if any(name == "retrying" for _, name in statuses):
        lines.append(f"    classDef retrying {_RETRYING}")
    lines += [f"    class {names[node.id]} {name}" for node, name in statuses]
    return "\n".join(lines) + "\n"


def escape(text: str) -> str:
    """Return text that is safe inside quotes and comments: what has a meaning to Mermaid becomes an entity.

    >>> escape('say "hi" %%{init}%%')
    'say #quot;hi#quot; #37;#37;#123;init#125;#37;#37;'
    """
    return "".join(char if _SAFE.match(char) else _NAMED.get(char, f"#{ord(char)};") for char in text)


def _names(diagram: Diagram) -> dict[str, str]:
    """Give every node and group an identifier of its own; top-level steps choose first, so theirs stay plain."""
    names: dict[str, str] = {START: START, END: END}
    taken = {START, END}
    every: list[Node | Group] = [*diagram.nodes]
    for node in diagram.nodes:
        for inner in node.walk():
            for group in inner.groups:
                every += [group, *group.nodes]
    for each in every:
        if each.id not in names:
            base = identifier(each.id)
            found, number = base, 2
            while found in taken:
                found, number = f"{base}_{number}", number + 1
            taken.add(found)
            names[each.id] = found
    return names


def identifier(step_id: str) -> str:
    """Return an identifier Mermaid accepts; different ids can still give the same one.

    >>> identifier("a-b.c"), identifier("End"), identifier("中")
    ('a_b_c', 'n_End', 'n__')
    """
    found = re.sub(r"[^A-Za-z0-9_]", "_", step_id)[:_MAX_ID]
    plain = found.lower() not in _KEYWORDS and re.search(r"[A-Za-z0-9]", found)
    return found if plain else f"n_{found}"


def _declared(node: Node, names: dict[str, str], depth: int) -> Iterator[str]:
    pad = "    " * min(depth, 12)
    opening, closing = _SHAPES.get(node.kind, ("[", "]"))
    yield f'{pad}{names[node.id]}{opening}"{_label(node, nested=depth > 1)}"{closing}'
    for group in node.groups:
        yield from _subgraph(node, group, names, depth)


def _subgraph(node: Node, group: Group, names: dict[str, str], depth: int) -> Iterator[str]:
    pad = "    " * min(depth, 12)
    more = f" … {group.hidden} more" if group.hidden else ""
    yield f'{pad}subgraph {names[group.id]}["{escape(f"{node.name}: {group.label}{more}")}"]'
    for inner in group.nodes:
        yield from _declared(inner, names, depth + 1)
    for edge in group.edges:
        yield _edge(edge, names, depth + 1)
    yield f"{pad}end"


def _label(node: Node, *, nested: bool) -> str:
    label = escape(node.name)
    if node.kind == "action":
        label += f"{' ' if nested else '<br/>'}({escape(node.detail)})"
    if node.overlay.progress:
        label += f"<br/>{escape(node.overlay.progress)}"
    return label


def _edge(edge: Edge, names: dict[str, str], depth: int) -> str:
    arrow = "-.->" if edge.dashed else "-->"
    label = f"|{edge.label}|" if edge.label else ""
    return f"{'    ' * min(depth, 12)}{names[edge.source]} {arrow}{label} {names[edge.target]}"
