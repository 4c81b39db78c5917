"""What is risky or mistaken about the params of `shell.exec`, as far as it can be seen before they have values."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

from opcode_kernel import Json, json_type
from opcode_shell.line import NOT_SPLIT, is_line, takes_arguments, uses_arguments

_REFERENCE = re.compile(r"(?<!\\)\$\{\{")
#: Text that begins with what a loop goes over; its index is a number and never negative.
_BEGINS_WITH_ITEM = re.compile(r"\s*\$\{\{\s*loop\b(?!\s*\.\s*index\b)")


def lint(params: dict[str, Json]) -> Iterator[tuple[str, str] | tuple[str, str, dict[str, Json]]]:
    """Yield (param, warning), or with it the right params; `params` is any JSON object, with references not resolved."""
    command, args = params.get("command"), params.get("args")
    shell = params.get("shell") not in (None, False, "false")
    if isinstance(command, list | dict):
        yield (
            "command",
            f"expected a text, found {json_type(command)}; {NOT_SPLIT}",
            {} if shell else _parted(command, args),
        )
    if isinstance(command, str):
        if shell and _REFERENCE.search(command):
            yield (
                "command",
                (
                    "a value that is put into a command line can change what it does; pass it in args, which the last command"
                    " of the line gets after its own, or in stdin or env"
                ),
            )
        if not shell and is_line(command) and not _REFERENCE.search(command) and not _is_file(params):
            yield "command", f"expected the name or path of a program, found {command[:60]!r}; {NOT_SPLIT}"
    if not isinstance(args, list):
        return
    if shell and args and isinstance(command, str) and not _REFERENCE.search(command):
        yield from _misplaced(command.rstrip("\r\n"))
    ended = shell and isinstance(command, str) and command.rstrip().endswith(" --")
    for index, argument in enumerate(args):
        ended = ended or argument == "--"
        if not ended and isinstance(argument, str) and _BEGINS_WITH_ITEM.match(argument):
            yield (
                f"args[{index}]",
                (
                    "an item that begins with - is an option to most programs; put -- before it, or ./ for a relative path"
                ),
            )


def _parted(command: Json, args: Json) -> dict[str, Json]:
    """Return a program written as one list with its arguments as `command` and `args`; nothing for anything else."""
    if not isinstance(command, list) or not command or not all(isinstance(word, str) and word for word in command):
        return {}
    if not isinstance(args, list | None):
        return {}
    program, *words = command
    return {"command": program, "args": [*words, *(args or ())]}


def _misplaced(line: str) -> Iterator[tuple[str, str]]:
    """Yield what is mistaken about giving args to a line: they do not go where its author seems to want them."""
    if not takes_arguments(line):
        end = line.rstrip()[-20:]
        yield "args", f"cannot follow a line that ends in {end!r}; end it with the command that is to take them"
    elif used := uses_arguments(line):
        yield (
            "args",
            (
                f'the line uses {used} itself, and "$@" is put after it all the same, so its last command gets all of them;'
                ' to place them yourself, leave shell out and give command "sh" the args "-c", the line, "sh", and yours'
            ),
        )


def _is_file(params: dict[str, Json]) -> bool:
    """Tell whether the command can be a file whose name has blanks in it."""
    command, directory = params["command"], params.get("cwd") or params.get("workdir") or "."
    if "/" not in command:
        # With a PATH of its own nobody knows what it will find.
        return (isinstance(env := params.get("env"), dict) and "PATH" in env) or shutil.which(command) is not None
    if not command.startswith("/") and (not isinstance(directory, str) or _REFERENCE.search(directory)):
        return True
    try:
        return Path(directory if isinstance(directory, str) else ".", command).is_file()
    except (OSError, ValueError):
        return False
