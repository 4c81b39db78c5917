"""What the commands share: options, reading a definition file, and writing results."""

from __future__ import annotations

import argparse
import json
import re
import shutil
import sys
import textwrap
from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from opcode_kernel.errors import DefinitionError, Json, SettingsError
from opcode_kernel.server.json_fault import json_fault

if TYPE_CHECKING:
    from opcode_kernel.server.settings import Settings

Subparsers = "argparse._SubParsersAction[argparse.ArgumentParser]"

#: Settings that may be given as flags, with what --help says about them.
FLAGS = {
    "listen_addr": "where to listen (default 127.0.0.1:4100; a bare :PORT means loopback)",
    "base_url": "the URL clients use, when it differs",
    "db_path": "database file (default $OPCODE_HOME/opcode.db)",
    "log_level": "debug, info, warning or error (default info)",
    "pool_size": "how many actions run at once (default 10)",
}


def add_settings_flags(parser: argparse.ArgumentParser) -> None:
    """Add the flags of `FLAGS` and `--panel`, with one dash or two."""
    for key, text in FLAGS.items():
        name = key.replace("_", "-")
        parser.add_argument(f"--{name}", f"-{name}", dest=key, metavar="VALUE", help=text)
    parser.add_argument(
        "--allow-locked-vault",
        dest="vault_optional",
        action="store_const",
        const="true",
        help="start without secrets when the vault key is wrong",
    )
    parser.add_argument(
        "--panel",
        "-panel",
        dest="panel",
        nargs="?",
        const="true",
        metavar="BOOL",
        help="the web panel comes later; ignored for now",
    )


def add_json(parser: argparse.ArgumentParser) -> None:
    """Add `--json`."""
    parser.add_argument("--json", action="store_true", help="print the result as JSON")


def settings_of(args: argparse.Namespace) -> Settings:
    """Load the settings with the flags of this command.

    Raises:
        SettingsError: see `load_settings`.
    """
    from opcode_kernel.server.settings import load_settings

    return load_settings({key: getattr(args, key, None) for key in (*FLAGS, "panel", "vault_optional")})


#: The name of a definition that comes from standard input and brings none.
STDIN = "stdin"

#: A column is not wrapped to fewer characters than these.
_NARROWEST = 24

_AROUND = ("name", "description", "definition", "input_schema", "output_schema", "triggers")


class DefinitionFile(NamedTuple):
    """A definition with what may stand around it."""

    name: str
    definition: dict[str, Json]
    description: str | None
    input_schema: dict[str, Json] | None
    output_schema: dict[str, Json] | None
    triggers: dict[str, Json] | None


def read_definition(file: str) -> DefinitionFile:
    """Read a bare definition or `{name, description, input_schema, definition}`; `-` is stdin.

    Raises:
        DefinitionError: not readable, not JSON, or not an object; with the line.
    """
    try:
        text = sys.stdin.read() if file == "-" else Path(file).read_text(encoding="utf-8")
        content = json.loads(text)
    except OSError as error:
        raise DefinitionError(f"{file} cannot be read: {error.strerror or error}") from None
    except UnicodeDecodeError as error:
        raise DefinitionError(f"{file} is not a definition in UTF-8 JSON: {error}") from None
    except (ValueError, RecursionError) as error:
        raise DefinitionError(f"{file}, {json_fault(error)}") from None
    if not isinstance(content, dict):
        raise DefinitionError(f"{file}: expected a JSON object with a definition")
    _check_wrapper(file, content)
    wrapped = content if "definition" in content else {"definition": content}
    fallback = STDIN if file == "-" else Path(file).stem
    name = wrapped.get("name")
    return DefinitionFile(
        name if isinstance(name, str) and name.strip() else fallback,
        wrapped["definition"],
        _typed(file, wrapped, "description", str),
        _typed(file, wrapped, "input_schema", dict),
        _typed(file, wrapped, "output_schema", dict),
        _typed(file, wrapped, "triggers", dict),
    )


def _check_wrapper(file: str, content: dict[str, Json]) -> None:
    """Refuse misspelt keys around a definition, which would be dropped, or make a definition of the wrapper."""
    wrapped = "definition" in content
    if wrapped and not isinstance(content["definition"], dict):
        raise DefinitionError(f"{file}: definition must be an object")
    if not wrapped and "steps" in content:
        return
    for key in content:
        meant = [] if key in _AROUND else get_close_matches(key.lower(), _AROUND, n=1, cutoff=0.8)
        if meant and meant[0] not in content and (wrapped or meant[0] == "definition"):
            raise DefinitionError(f"{file}: unknown key {key[:60]!r}; did you mean {meant[0]!r}?")


def _typed(file: str, content: dict[str, Json], key: str, kind: type) -> Json:
    value = content.get(key)
    if value is not None and not isinstance(value, kind):
        raise DefinitionError(f"{file}: {key} must be {'text' if kind is str else 'an object'}")
    return value


def key_values(pairs: Iterable[str], option: str) -> dict[str, Json]:
    """Read `key=value` words; a value that is JSON counts as JSON, everything else as text.

    Raises:
        SettingsError: a word without `=` (a mistake of usage, hence exit code 2).
    """
    values: dict[str, Json] = {}
    for pair in pairs:
        key, found, value = pair.partition("=")
        if not found or not key:
            raise SettingsError(f"{option} expects key=value, found {pair!r}")
        try:
            values[key] = json.loads(value)
        except ValueError:
            values[key] = value
    return values


def say(text: str) -> None:
    """Write a line to stdout."""
    sys.stdout.write(f"{text}\n")


def say_json(data: Json) -> None:
    """Write a result as indented JSON to stdout."""
    say(json.dumps(data, indent=2, ensure_ascii=True, default=str))


def complain(text: str) -> None:
    """Write a line to stderr, with the program's name before it."""
    sys.stderr.write(f"opcode: {text}\n")


def table(header: Sequence[str], rows: Iterable[Sequence[str]], width: int | None = None) -> str:
    """Return rows as aligned text; the last column is not padded, and is wrapped where a width is given."""
    lines = [list(header), *[list(row) for row in rows]]
    widths = [max(len(line[column]) for line in lines) for column in range(len(header))]
    if width is not None:
        lines = [part for line in lines for part in _wrapped(line, width - sum(widths[:-1]) - 2 * len(widths[:-1]))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines
    )


def _wrapped(line: list[str], room: int) -> list[list[str]]:
    first, *more = textwrap.wrap(line[-1], max(room, _NARROWEST)) or [""]
    return [[*line[:-1], first], *([*[""] * (len(line) - 1), part] for part in more)]


def terminal_width() -> int | None:
    """Return the columns of the terminal that stdout is, or None when it is none: then nothing is wrapped."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


#: Characters that would move the cursor, colour the terminal, hide or turn text, or cannot be written at all.
_UNSEEN = re.compile(
    r"[\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ud800-\udfff\ufeff]"
)


def readable_text(text: str) -> str:
    r"""Return a text of any number of lines; every other character that cannot be seen is written as in JSON.

    >>> readable_text("one\n\ttwo\x1b[0m")
    'one\n\ttwo\\u001b[0m'
    """
    return _UNSEEN.sub(lambda found: json.dumps(found[0])[1:-1], text)


def one_line(value: Json) -> str:
    r"""Return a value on one line, whole and exact: as JSON, but without quotes where a text is plain.

    >>> one_line("x  y"), one_line("x\ty"), one_line({"n": [1]})
    ('x  y', '"x\\ty"', '{"n": [1]}')
    """
    written = readable_text(json.dumps(value, ensure_ascii=False, default=str))
    plain = isinstance(value, str) and value == value.strip() and value[:1] not in ("", '"')
    return value if plain and not _UNSEEN.search(value) and not {"\n", "\t"} & {*value} else written


def cut(text: str, limit: int) -> str:
    """Return at most `limit` characters of a text; where that is not all, `…` is the last one."""
    return text if len(text) <= limit else f"{text[: limit - 1]}…"


def shorten(value: Json, limit: int = 60) -> str:
    """Return a value as one line of at most `limit` characters."""
    return cut(one_line(value), limit)
