"""The lines of a picture, read back: every one must lead to the box that the workflow says."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from opcode_diagram.draw import draw
from opcode_diagram.model import build
from opcode_diagram.text import char_width, width_of
from opcode_kernel import Json

ARMS = {
    "│": "ud", "╎": "ud", "─": "lr", "╌": "lr", "┌": "dr", "┐": "dl", "└": "ur", "┘": "ul", "├": "udr", "┤": "udl",
    "┬": "dlr", "┴": "ulr", "┼": "udlr", "▼": "u",
}  # fmt: skip
STEP = {"u": (0, -1), "d": (0, 1), "l": (-1, 0), "r": (1, 0)}
BACK = {"u": "d", "d": "u", "l": "r", "r": "l"}


class Picture:
    """The boxes of a picture by name, and what is joined to what."""

    def __init__(self, text: str) -> None:
        head = text.split("\n\n--- ")[0].split("\n\nnote: ")[0].splitlines()
        self.grid = [self._columns(line) for line in head]
        self.boxes: dict[tuple[int, int, int], str] = {}
        for y, row in enumerate(self.grid):
            line = "".join(row)
            for match in re.finditer("┌─*┐", line):
                if self.at(match.start(), y + 1) == "│" and self.at(match.start() + 2, y + 1).strip():
                    inside = row[match.start() + 1 : match.end() - 1]
                    assert set(inside) == {"─"}
                    name = "".join(self.grid[y + 1][match.start() + 2 : match.end() - 2]).replace("\0", "").strip()
                    self.boxes[match.start(), match.end() - 1, y] = name

    @staticmethod
    def _columns(line: str) -> list[str]:
        cells: list[str] = []
        for char in line:
            if char_width(char) == 0:
                cells[-1] += char
            else:
                cells += [char, *["\0"] * (char_width(char) - 1)]
        return cells

    def at(self, x: int, y: int) -> str:
        return self.grid[y][x] if 0 <= y < len(self.grid) and 0 <= x < len(self.grid[y]) else " "

    def edges(self) -> set[tuple[str, str, bool]]:
        """Follow every line that leaves a box; return (from, to, dashed)."""
        found = set()
        for (left, right, top), name in self.boxes.items():
            bottom = next(y for y in range(top + 1, len(self.grid)) if self.at(left, y) == "└")
            for x in range(left + 1, right):
                if self.at(x, bottom) == "┬":
                    found |= {(name, target, dashed) for target, dashed in self._follow(x, bottom + 1)}
        return found

    def _follow(self, x: int, y: int) -> set[tuple[str, bool]]:
        ends, seen = set(), set()
        waiting = [(x, y, "d", False)]
        while waiting:
            x, y, way, dashed = waiting.pop()
            if (x, y, way) in seen:
                continue
            seen.add((x, y, way))
            char = self.at(x, y)
            assert char in ARMS, f"a line runs into {char!r} at {x}, {y}"
            if char == "▼":
                ends.add((self._below(x, y), dashed))
            elif char in "│╎" and way in "lr":  # the other wire passes over this one
                waiting.append((x + STEP[way][0], y, way, dashed))
            else:
                dashed = dashed or char in "╎╌"
                assert BACK[way] in ARMS[char], f"{char!r} at {x}, {y} does not meet a line going {way}"
                waiting += [
                    (x + STEP[arm][0], y + STEP[arm][1], arm, dashed)
                    for arm in ARMS[char]
                    if arm not in (BACK[way], "u")
                ]
        return ends

    def _below(self, x: int, y: int) -> str:
        (name,) = [name for (left, right, top), name in self.boxes.items() if top == y + 1 and left < x < right]
        return name


def listed_edges(text: str) -> set[tuple[str, str, bool]]:
    """Return the edges given in words."""
    if "--- more edges ---" not in text:
        return set()
    block = text.split("--- more edges ---\n")[1].split("\n\n")[0].splitlines()
    found = set()
    for line in block:
        if re.fullmatch(r" *… \d+ more", line):
            continue
        match = re.fullmatch(r" *(.*) ([─╌])→ (.*)", line)
        assert match, line
        found.add((match[1], match[3], match[2] == "╌"))
    return found


@st.composite
def workflows(draw_value: st.DrawFn) -> dict[str, Json]:
    """Workflows with branches, merges, long ways, fallbacks and hooks; boxes of different sizes."""
    count = draw_value(st.integers(1, 14))
    steps: list[dict[str, Json]] = []
    for number in range(count):
        before = [f"s{other}" for other in range(number)]
        step: dict[str, Json] = {
            "id": f"s{number}",
            "action": "a" * draw_value(st.sampled_from([1, 12, 40])),
            "depends_on": draw_value(st.lists(st.sampled_from(before), unique=True, max_size=4)) if before else [],
        }
        if number + 1 < count and draw_value(st.booleans()):
            rescue = f"s{draw_value(st.integers(number + 1, count - 1))}"
            step["on_error"] = {"strategy": "fallback_step", "fallback_step": rescue}
        steps.append(step)
    hooks = {key: {"id": f"h-{key}"} for key in draw_value(st.sets(st.sampled_from(["on_complete", "on_error"])))}
    return {"steps": steps, **hooks}


def expected_edges(definition: dict[str, Json]) -> tuple[set[str], set[tuple[str, str, bool]]]:
    diagram = build(definition)
    names = {node.id: node.name for node in diagram.nodes}
    return set(names.values()), {(names[edge.source], names[edge.target], edge.dashed) for edge in diagram.edges}


@settings(max_examples=80, deadline=None, database=None)
@given(workflows(), st.sampled_from([40, 60, 100, 200]))
def test_every_line_leads_where_the_workflow_says_and_no_edge_is_lost(definition: dict[str, Json], width: int) -> None:
    text = draw(definition, width=width)
    picture = Picture(text)
    boxes, edges = expected_edges(definition)
    drawn, listed = picture.edges(), listed_edges(text)
    assert set(picture.boxes.values()) == boxes
    assert drawn | listed == edges
    assert not drawn & listed
    assert max(map(width_of, text.splitlines())) <= width


def plain(step_id: str, *depends_on: str) -> dict[str, Json]:
    return {"id": step_id, "action": "http.get", "depends_on": list(depends_on)}


SHAPES: dict[str, list[dict[str, Json]]] = {
    "chain": [plain("s0"), *(plain(f"s{n}", f"s{n - 1}") for n in range(1, 60))],
    "wide": [plain(f"s{n}") for n in range(60)],
    "diamond": [plain("a"), plain("b", "a"), plain("c", "a"), plain("d", "b", "c")],
    "everything to everything": [*(plain(f"a{n}") for n in range(12)),
                                 *(plain(f"b{n}", *(f"a{m}" for m in range(12))) for n in range(12))],
    "far and near": [plain("a"), plain("b", "a"), plain("c", "b"), plain("d", "a", "c"), plain("e", "a", "d")],
    "wide characters": [plain("数据"), plain("ÅÅ", "数据"), plain("e\u0301t\u00e9", "数据"), plain("🚀-go", "ÅÅ", "数据")],
}  # fmt: skip


@pytest.mark.parametrize("shape", SHAPES)
def test_known_shapes_are_drawn_whole_on_a_usual_page(shape: str) -> None:
    definition = {"steps": SHAPES[shape]}
    text = draw(definition)
    names, edges = expected_edges(definition)
    assert "more edges" not in text
    assert Picture(text).edges() == edges
    assert set(Picture(text).boxes.values()) == names
    assert max(map(width_of, text.splitlines())) <= 100


def test_edges_that_find_no_room_are_listed_in_words() -> None:
    crossing = [plain(f"a{n}") for n in range(40)] + [plain(f"b{n}", f"a{39 - n}") for n in range(40)]
    text = draw({"steps": crossing}, width=40)
    assert "--- more edges ---" in text
    assert Picture(text).edges() | listed_edges(text) == expected_edges({"steps": crossing})[1]


def test_a_very_long_list_of_edges_is_counted_instead() -> None:
    steps = [plain(f"s{n}", *(f"s{m}" for m in range(n))) for n in range(60)]
    text = draw({"steps": steps}, width=40)
    drawn, listed = Picture(text).edges(), listed_edges(text)
    (rest,) = re.findall(r"… (\d+) more", text)
    assert len(drawn) + len(listed) + int(rest) == len(expected_edges({"steps": steps})[1])
