"""Whether a line of shell ends in a command that takes arguments. After one that does not, they would be the command.

What is quoted or substituted may hold anything, so it is blotted out first, with the rules by which the shell finds
its end. Where that end is not certain the answer is no.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

#: Where a command of its own begins, unless it is part of a redirection.
_BEGINS_A_COMMAND = re.compile(r"(?<![<>])[;&|(\n]")
#: What may stand before the name of a command without being it, and a redirection with its target still to come.
_BEFORE_A_NAME = re.compile(
    r"if|then|elif|else|while|until|do|time|!|\{|[A-Za-z_]\w*(?:\[[^]]*\])?\+?=.*|(?:\d*|\{\w+\})[<>].*", re.DOTALL
)
_TARGET_FOLLOWS = re.compile(r"(?:\d*|\{\w+\})(?:<|>|>>|<>|>\||<&|>&)")
#: Blanks as the shell knows them: it has fewer than Unicode.
_WORD = re.compile(r"[^ \t]+")

#: What ends each kind of text that hides others, and which kinds it may hide in turn.
_ENDS = {"'": "'", '"': '"', "`": "`", "$(": ")", "${": "}", "(": ")"}
_QUOTABLE = ("$(", "${", "`")
_OUTSIDE = (*_QUOTABLE, '"', "'")
_WITHIN = {
    "'": (), "`": (), '"': _QUOTABLE, "${": _OUTSIDE, "$(": (*_OUTSIDE, "("), "(": (*_OUTSIDE, "("),
}  # fmt: skip
#: Not `$#`, which counts them, nor `$0`, which is the shell.
_ARGUMENT = re.compile(r"\$(?:[1-9@*]|\{(?:[1-9][0-9]*|[@*])[^}]{0,99}\})")
_OTHER_ARGUMENTS = re.compile(r"\(\s*\)|\b(?:function|set|shift)\s")
#: What stands for such text, and for such text without an end.
_BLOT, _ENDLESS = "Q", ")"


#: What to do about a line that was given where a program was expected.
NOT_SPLIT = "command is not split into words: put those after the first into args, or set shell to true"


def is_line(command: str) -> bool:
    """Tell whether what should name a program has blanks in it, as a line has."""
    return re.search(r"\s", command.strip()) is not None


def takes_arguments(line: str) -> bool:
    """Tell whether a line ends in a command that has a name, so that what follows are its arguments."""
    if "<<" in line:  # quotes in a here-document are none
        line = line.rpartition("\n")[2]
    last = _BEGINS_A_COMMAND.split("".join(_blotted(line)))[-1]
    if ")" in last:  # the end of a group or of a pattern, or there is no end
        return False
    words = iter(_WORD.findall(last))
    for word in words:
        if not _BEFORE_A_NAME.fullmatch(word):
            return True
        if _TARGET_FOLLOWS.fullmatch(word):
            next(words, None)
    return False


def uses_arguments(line: str) -> str:
    """Return how a line itself first refers to its arguments, such as `$1` or `$@`; empty when it does not.

    A line that defines a function or sets arguments of its own may mean those, so it is passed over.
    """
    if _OTHER_ARGUMENTS.search(line):
        return ""
    index, doubly_quoted = 0, False
    while index < len(line):
        if line[index] == "\\":
            index += 1
        elif line[index] == '"':
            doubly_quoted = not doubly_quoted
        elif line[index] == "'" and not doubly_quoted:
            index = line.find("'", index + 1)
            if index < 0:
                break
        elif found := _ARGUMENT.match(line, index):
            return found[0]
        index += 1
    return ""


def _blotted(line: str) -> Iterator[str]:
    """Yield a line without its comments, and with a letter for what is escaped, quoted or substituted."""
    index = 0
    while index < len(line):
        if line[index] == "#" and (index == 0 or line[index - 1] in " \t\n;&|("):
            index += len(line[index:].partition("\n")[0])
        elif line.startswith("\\\n", index):
            index += 2
        elif (end := _end(line, index, _OUTSIDE)) > index:
            yield _BLOT if end <= len(line) else _ENDLESS
            index = end
        else:
            yield line[index]
            index += 1


def _end(line: str, start: int, kinds: tuple[str, ...]) -> int:
    """Return where what begins at `start` ends: `start` itself for a plain character, past the line when it does not."""
    if line[start] == "\\":
        return start + 2
    kind = next((each for each in kinds if line.startswith(each, start)), None)
    if kind is None:
        return start
    index, opened = start + len(kind), [kind]
    while opened and index < len(line):
        inner = opened[-1]
        deeper = next((each for each in _WITHIN[inner] if line.startswith(each, index)), None)
        if line[index] == _ENDS[inner]:
            opened.pop()
            index += 1
        elif line[index] == "\\" and inner != "'":
            index += 2
        elif deeper is not None:
            opened.append(deeper)
            index += len(deeper)
        else:
            index += 1
    return len(line) + 1 if opened else index
