"""What is risky or mistaken about the params of `shell.exec`, as far as it can be seen before they have values."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

from opcode_kernel import Json

_REFERENCE = re.compile(r"(?<!\\)\$\{\{")
#: Text that begins with what a loop goes over; its index is a number and never negative.
_BEGINS_WITH_ITEM = re.compile(r"\s*\$\{\{\s*loop\b(?!\s*\.\s*index\b)")


def lint(params: dict[str, Json]) -> Iterator[tuple[str, str]]:
    """Yield (param, warning); `params` is any JSON object, with references not resolved."""
    command, args = params.get("command"), params.get("args")
    shell = params.get("shell") not in (None, False, "false")
    if isinstance(command, str):
        if shell and _REFERENCE.search(command):
            yield (
                "command",
                (
                    "a value that is put into a command line can change what it does; pass it in args, where it follows the"
                    ' line as "$1", "$2" and so on, or in stdin or env'
                ),
            )
        if not shell and re.search(r"\s", command.strip()) and not _REFERENCE.search(command) and not _is_file(params):
            yield (
                "command",
                (
                    f"expected the name or path of a program, found {command[:60]!r}, which is not split into words; put those"
                    " after the first into args, or set shell to true"
                ),
            )
    if not isinstance(args, list):
        return
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
