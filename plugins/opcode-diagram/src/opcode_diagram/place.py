"""Columns: where in its row each box and lane stands, and through which columns wires enter and leave.

Two wires may cross but never share a column between two rows. That holds because a wire never enters a row in a
column through which another one leaves the row above, and those columns are never next to each other.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from opcode_diagram.rows import GAP, LANE, Row, Wire

_SWEEPS = 3


@dataclass(eq=False, slots=True)
class Slot:
    """A box (`box` set) or a lane (`wire` set) of a row. `above` and `below` are the wires it is joined to there."""

    box: str | None
    wire: int | None
    width: int
    left: int = 0
    above: list[int] = field(default_factory=list)
    below: list[int] = field(default_factory=list)
    #: Column of each wire that leaves downwards.
    exits: dict[int, int] = field(default_factory=dict)

    @property
    def center(self) -> float:
        """Middle of the slot."""
        return self.left + (self.width - 1) / 2


@dataclass(slots=True)
class Ends:
    """Columns of one wire between two rows: coming from above, going into boxes, and going on in a lane."""

    tops: list[int] = field(default_factory=list)
    arrows: list[int] = field(default_factory=list)
    lanes: list[int] = field(default_factory=list)


Joint = tuple[list[Slot], list[Slot]]


def place(
    rows: Sequence[Row], wires: Mapping[int, Wire], widths: Mapping[str, int], page: int
) -> tuple[list[list[Slot]], list[dict[int, Ends]]]:
    """Return the slots of each row from left to right, and for each gap between two rows the ends of its wires."""
    slots = [
        [Slot(each, None, widths[each]) for each in row.boxes] + [Slot(None, each, LANE) for each in row.lanes]
        for row in rows
    ]
    joints = [_joints(upper, lower, wires) for upper, lower in pairwise(slots)]
    _arrange(slots, joints, page)
    return slots, _ports(slots, joints)


def _joints(upper: Sequence[Slot], lower: Sequence[Slot], wires: Mapping[int, Wire]) -> dict[int, Joint]:
    """Find which slots each wire joins across one gap, and note it in the slots."""
    boxes_above, boxes_below = ({slot.box: slot for slot in row if slot.box} for row in (upper, lower))
    lanes_above, lanes_below = ({slot.wire: slot for slot in row if slot.wire is not None} for row in (upper, lower))
    joints: dict[int, Joint] = {}
    for number, wire in wires.items():
        tops = [boxes_above[each] for each in wire.sources if each in boxes_above]
        tops += [lanes_above[number]] if number in lanes_above else []
        bottoms = [boxes_below[each] for each in wire.targets if each in boxes_below]
        bottoms += [lanes_below[number]] if number in lanes_below else []
        if tops and bottoms:
            joints[number] = tops, bottoms
            for slot in tops:
                slot.below.append(number)
            for slot in bottoms:
                slot.above.append(number)
    return joints


def _arrange(slots: list[list[Slot]], joints: Sequence[dict[int, Joint]], page: int) -> None:
    """Order each row after the one above, then let rows pull each other straight, down and up in turn."""
    for index, row in enumerate(slots):
        pull = _pull(row, joints[index - 1], 0) if index else [0.0] * len(row)
        wanted = [float("inf") if each is None else each for each in pull]
        row[:] = [slot for _, _, slot in sorted(zip(wanted, range(len(row)), row, strict=True), key=lambda t: t[:2])]
        _set(row, sorted(wanted), page)
    for _ in range(_SWEEPS):
        for index in range(len(slots) - 2, -1, -1):
            _set(slots[index], _pull(slots[index], joints[index], 1), page)
        for index in range(1, len(slots)):
            _set(slots[index], _pull(slots[index], joints[index - 1], 0), page)
    margin = min(slot.left for row in slots for slot in row)
    for row in slots:
        for slot in row:
            slot.left -= margin


def _pull(row: Sequence[Slot], joints: Mapping[int, Joint], side: int) -> list[float | None]:
    """Return where each slot's centre is drawn by the other row: side 0 is the one above, 1 the one below."""
    middle = {n: sum(slot.center for slot in joint[side]) / len(joint[side]) for n, joint in joints.items()}
    numbers = [slot.below if side else slot.above for slot in row]
    return [sum(middle[n] for n in each) / len(each) if each else None for each in numbers]


def _set(row: Sequence[Slot], centers: Sequence[float | None], page: int) -> None:
    """Move slots as near to the wanted centres as order, gaps and the page allow (least squares, pooled)."""
    offsets, total = [], 0
    for slot in row:
        offsets.append(total)
        total += slot.width + GAP
    # One column is kept free on the right: a lane may have to step aside.
    slack = max(0, page - 1 - (total - GAP))
    pools: list[tuple[float, int]] = []
    for slot, center, offset in zip(row, centers, offsets, strict=True):
        known = center is not None and center != float("inf")
        wanted = center - (slot.width - 1) / 2 if known and center is not None else float(slot.left)
        pools.append((wanted - offset, 1))
        while len(pools) > 1 and pools[-2][0] >= pools[-1][0]:
            (a, n), (b, m) = pools[-2:]
            pools[-2:] = [((a * n + b * m) / (n + m), n + m)]
    shifts = [shift for shift, count in pools for _ in range(count)]
    for slot, shift, offset in zip(row, shifts, offsets, strict=True):
        slot.left = round(min(max(shift, 0.0), float(slack))) + offset


def _ports(slots: Sequence[Sequence[Slot]], joints: Sequence[Mapping[int, Joint]]) -> list[dict[int, Ends]]:
    gaps: list[dict[int, Ends]] = []
    for joined, (upper, lower) in zip(joints, pairwise(slots), strict=True):
        for slot in upper:
            _leave(slot, joined)
        ends = {n: Ends(sorted(slot.exits[n] for slot in tops)) for n, (tops, _) in joined.items()}
        owner = {column: n for n, each in ends.items() for column in each.tops}
        for slot in lower:
            if slot.wire is not None:
                column = _lane_column(slot, slot.wire, ends[slot.wire].tops, owner)
                slot.exits[slot.wire] = column
                ends[slot.wire].lanes.append(column)
            else:
                for number, column in _entrances(slot, ends, owner).items():
                    ends[number].arrows.append(column)
        gaps.append(ends)
    return gaps


def _leave(slot: Slot, joined: Mapping[int, Joint]) -> None:
    """Give the wires that leave a box their columns: one in the middle, two around it. A lane keeps its own."""
    if slot.box is None:
        return
    middle = slot.left + slot.width // 2
    numbers = sorted(slot.below, key=lambda n: sum(each.center for each in joined[n][1]) / len(joined[n][1]))
    slot.exits = {n: middle + (2 * index - len(numbers) + 1) for index, n in enumerate(numbers)}


def _lane_column(slot: Slot, number: int, tops: Sequence[int], owner: Mapping[int, int]) -> int:
    free = [column for column in (slot.left, slot.left + 1) if owner.get(column, number) == number]
    return next((column for column in free if column in tops), free[0])


def _entrances(slot: Slot, ends: Mapping[int, Ends], owner: Mapping[int, int]) -> dict[int, int]:
    inside = range(slot.left + 1, slot.left + slot.width - 1)
    if len(slot.above) == 1:
        (number,) = slot.above
        tops = ends[number].tops
        wanted = tops[0] if len(tops) == 1 and tops[0] in inside else slot.left + slot.width // 2
        free = [column for column in inside if owner.get(column, number) == number]
        return {number: min(free, key=lambda column: abs(column - wanted))}
    free = [column for column in inside if column not in owner]
    numbers = sorted(slot.above, key=lambda n: sum(ends[n].tops) / len(ends[n].tops))
    return {n: free[(2 * index + 1) * len(free) // (2 * len(numbers))] for index, n in enumerate(numbers)}
