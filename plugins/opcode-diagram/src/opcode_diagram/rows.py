"""From levels to rows that fit the page, and from edges to wires.

A wire joins every one of its sources with every one of its targets, so that drawing it as one line with many ends
says nothing false: all steps that lead to exactly the same steps share a wire. Where a wire passes a row it has no
business in, it takes a lane between the boxes. Wires for which there is no room are left out and listed in words.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

#: Columns between two neighbours of a row, and those of a lane.
GAP, LANE = 2, 1


class Link(NamedTuple):
    """One edge between boxes."""

    source: str
    target: str
    dashed: bool


@dataclass(frozen=True, slots=True)
class Wire:
    """Edges from each of the sources to each of the targets."""

    sources: tuple[str, ...]
    targets: tuple[str, ...]
    dashed: bool


@dataclass(slots=True)
class Row:
    """Boxes side by side, and the numbers of the wires that pass between them."""

    boxes: list[str]
    lanes: list[int] = field(default_factory=list)


def wires_of(links: Iterable[Link], order: Sequence[str], most: int) -> tuple[list[Wire], list[Link]]:
    """Bundle links that go down the order into wires; return them with the links that find no place.

    At most `most` wires end in one box: each needs an entrance of its own.
    """
    rank = {each: index for index, each in enumerate(order)}
    targets: dict[tuple[str, bool], list[str]] = {}
    loose: list[Link] = []
    for link in links:
        if rank[link.source] < rank[link.target]:
            targets.setdefault((link.source, link.dashed), []).append(link.target)
        else:
            loose.append(link)
    sources: dict[tuple[tuple[str, ...], bool], list[str]] = {}
    for (source, dashed), found in targets.items():
        sources.setdefault((tuple(sorted(set(found), key=rank.__getitem__)), dashed), []).append(source)
    wires: list[Wire] = []
    entrances: dict[str, int] = {}
    for (ends, dashed), starts in sources.items():
        wire = Wire(tuple(sorted(starts, key=rank.__getitem__)), ends, dashed)
        if any(entrances.get(each, 0) >= most for each in ends):
            loose += links_of(wire)
            continue
        for each in ends:
            entrances[each] = entrances.get(each, 0) + 1
        wires.append(wire)
    return wires, loose


def links_of(wire: Wire) -> list[Link]:
    """Return the edges a wire stands for."""
    return [Link(source, target, wire.dashed) for source in wire.sources for target in wire.targets]


def pack(
    levels: Sequence[Sequence[str]], wires: Sequence[Wire], widths: Mapping[str, int], page: int
) -> tuple[list[Row], dict[int, Wire], list[Link]]:
    """Break levels into rows no wider than the page, lanes included.

    Returns the rows, the wires that are drawn, by the number that `Row.lanes` uses, and the links given up for want
    of room. Every box alone must fit the page.
    """
    packer = _Packer(wires, widths, page)
    for level in levels:
        pending = list(level)
        while pending:
            count = packer.fitting(pending)
            if count:
                packer.take(pending[:count])
                pending = pending[count:]
            else:
                packer.give_up_a_wire()
    drawn: dict[int, Wire] = {}
    lost: list[Link] = []
    for number, wire in enumerate(wires):
        missed = packer.missed.get(number, frozenset())
        kept = tuple(each for each in wire.targets if each not in missed)
        if kept:
            drawn[number] = Wire(wire.sources, kept, wire.dashed)
        lost += [link for link in links_of(wire) if link.target in missed]
    return packer.rows, drawn, lost


class _Packer:
    def __init__(self, wires: Sequence[Wire], widths: Mapping[str, int], page: int) -> None:
        self.widths, self.page = widths, page
        self.rows: list[Row] = []
        self.missed: dict[int, frozenset[str]] = {}  # targets of wires that were given up
        self.open: dict[int, set[str]] = {}  # begun wires and the targets they still have to reach
        self.targets = [frozenset(wire.targets) for wire in wires]
        self.into: dict[str, list[int]] = {}
        self.out_of: dict[str, list[int]] = {}
        for number, wire in enumerate(wires):
            for each in wire.targets:
                self.into.setdefault(each, []).append(number)
            for each in wire.sources:
                self.out_of.setdefault(each, []).append(number)

    def fitting(self, pending: Sequence[str]) -> int:
        """Return how many of the boxes fit beside the lanes that are needed then."""
        used, best, closed = -GAP, 0, 0
        left = {number: len(targets) for number, targets in self.open.items()}
        for count, box in enumerate(pending, start=1):
            used += self.widths[box] + GAP
            if used > self.page:
                break
            for number in self.into.get(box, ()):
                if number in left:
                    left[number] -= 1
                    closed += left[number] == 0
            if used + (len(left) - closed) * (LANE + GAP) <= self.page:
                best = count
        return best

    def take(self, boxes: Sequence[str]) -> None:
        """Make a row of these boxes; wires that go on below it get a lane."""
        for box in boxes:
            for number in self.into.get(box, ()):
                if number in self.open:
                    self.open[number].discard(box)
                    if not self.open[number]:
                        del self.open[number]
        self.rows.append(Row(list(boxes), list(self.open)))
        for box in boxes:
            for number in self.out_of.get(box, ()):
                if number not in self.missed and number not in self.open:
                    self.open[number] = set(self.targets[number])

    def give_up_a_wire(self) -> None:
        """End the open wire with most targets left, the youngest of several, where it reached a target last."""
        number = max(self.open, key=lambda each: (len(self.open[each]), each))
        self.missed[number] = frozenset(self.open.pop(number))
        reached = self.targets[number] - self.missed[number]
        for row in reversed(self.rows):
            if number in row.lanes:
                row.lanes.remove(number)
            if not reached.isdisjoint(row.boxes):
                break
