"""A grid of characters that knows wide ones, and lines that join their own kind and bridge all others."""

from __future__ import annotations

from opcode_diagram.text import char_width

_UP, _DOWN, _LEFT, _RIGHT = 1, 2, 4, 8
_LINES = {
    _UP: "╵", _DOWN: "╷", _LEFT: "╴", _RIGHT: "╶",
    _UP | _DOWN: "│", _LEFT | _RIGHT: "─",
    _DOWN | _RIGHT: "┌", _DOWN | _LEFT: "┐", _UP | _RIGHT: "└", _UP | _LEFT: "┘",
    _UP | _DOWN | _RIGHT: "├", _UP | _DOWN | _LEFT: "┤", _DOWN | _LEFT | _RIGHT: "┬", _UP | _LEFT | _RIGHT: "┴",
    _UP | _DOWN | _LEFT | _RIGHT: "┼",
}  # fmt: skip
_DASHED = {"│": "╎", "─": "╌"}


class Canvas:
    """Cells by (x, y). A line belongs to a wire; where two wires meet, the vertical one passes over the other."""

    def __init__(self) -> None:
        self._text: dict[tuple[int, int], str] = {}
        self._lines: dict[tuple[int, int], tuple[int, int, bool]] = {}

    def write(self, x: int, y: int, text: str) -> None:
        """Write text from a cell on; it hides lines under it."""
        for char in text:
            if char_width(char) == 0:
                self._text[x - 1, y] = self._text.get((x - 1, y), "") + char
                continue
            self._text[x, y] = char
            if char_width(char) == 2:
                # The second half of a wide character must print nothing at all.
                self._text[x + 1, y] = ""
            x += char_width(char)

    def box(self, x: int, y: int, width: int, lines: list[str]) -> None:
        """Draw a frame with one line of text per row inside."""
        self.write(x, y, f"┌{'─' * (width - 2)}┐")
        for number, line in enumerate(lines, start=1):
            self.write(x, y + number, "│")
            self.write(x + 2, y + number, line)
            self.write(x + width - 1, y + number, "│")
        self.write(x, y + len(lines) + 1, f"└{'─' * (width - 2)}┘")

    def down(self, x: int, top: int, bottom: int, wire: int, *, enters: bool, leaves: bool, dashed: bool) -> None:
        """Draw a vertical line; `enters` and `leaves` tell whether it goes on above its top and below its bottom."""
        for y in range(top, bottom + 1):
            bits = (_UP if enters or y > top else 0) | (_DOWN if leaves or y < bottom else 0)
            self._join(x, y, bits, wire, dashed=dashed)

    def across(self, y: int, left: int, right: int, wire: int, *, dashed: bool) -> None:
        """Draw a horizontal line."""
        for x in range(left, right + 1):
            bits = (_LEFT if x > left else 0) | (_RIGHT if x < right else 0)
            self._join(x, y, bits, wire, dashed=dashed)

    def _join(self, x: int, y: int, bits: int, wire: int, *, dashed: bool) -> None:
        old = self._lines.get((x, y))
        if old is not None and old[1] == wire:
            self._lines[x, y] = (old[0] | bits, wire, dashed)
        elif old is None or bits & (_UP | _DOWN):
            self._lines[x, y] = (bits, wire, dashed)

    def lines(self) -> list[str]:
        """Return the picture without blanks at the ends of its lines."""
        cells: dict[int, dict[int, str]] = {}
        for (x, y), (bits, _, dashed) in self._lines.items():
            char = _LINES.get(bits, " ")
            cells.setdefault(y, {})[x] = _DASHED.get(char, char) if dashed else char
        for (x, y), char in self._text.items():
            cells.setdefault(y, {})[x] = char
        out = []
        for y in range(max(cells, default=-1) + 1):
            row = cells.get(y, {})
            out.append("".join(row.get(x, " ") for x in range(max(row, default=-1) + 1)).rstrip())
        return out
