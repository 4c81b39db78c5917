"""A message may end in a picture: a line of an expression, and a caret under the place that is meant.

What is printed on one line loses its meaning, so the picture keeps lines of its own wherever a message is shortened.
"""

from __future__ import annotations

_BEFORE = " | "
#: Lines and characters of a picture; ours are smaller, those of other plugins need not be.
_LINES, _WIDTH = 6, 160


def apart(message: str) -> tuple[str, str]:
    """Return the sentence of a message on one line, and its picture: empty, or lines that each follow a line break.

    >>> apart("expected a name at line 1 | 2\\n | a +\\n | ...^")
    ('expected a name at line 1 | 2', '\\n | a +\\n | ...^')
    """
    lines = message.splitlines()
    end = len(lines)
    while end > 1 and lines[end - 1].startswith(_BEFORE):
        end -= 1
    drawn = "".join(f"\n{line[:_WIDTH]}" for line in lines[end:][:_LINES])
    return " ".join(" ".join(lines[:end]).split()), drawn
