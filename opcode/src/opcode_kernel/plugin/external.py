"""External plugins: servers of other programs whose tools become actions. This is what the operator says about one.

An entry of `plugins` in the settings is read here, all problems at once. Nothing is started and nothing is looked up.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, fields
from difflib import get_close_matches
from typing import Annotated, Any

from opcode_kernel.core.holes import MASK
from opcode_kernel.core.interpolation import compile_template
from opcode_kernel.errors import InterpolationError, Json
from opcode_kernel.plugin.params import Param, ParamsDecoder, Problem, Seconds

#: Families that the kernel's own plugins offer, whether they are installed or not.
BUILT_IN = frozenset({"http", "fs", "shell", "crypto", "assert", "expr", "workflow"})

_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
_NAME = re.compile(r"[a-z][a-z0-9_-]{0,31}")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_HEADER = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_URL = re.compile(r"https?://[^\s/?#@\\]+(/[^\s#\\]*)?(\?[^\s#\\]*)?")
#: Headers that belong to the protocol.
_OWN_HEADERS = frozenset({
    "host", "content-length", "content-type", "transfer-encoding", "connection", "accept", "mcp-session-id",
    "mcp-protocol-version", "last-event-id",
})  # fmt: skip
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class Restart:
    """How often a server that ends by itself is started again before it is given up: `max` times in `window` seconds."""

    max: Annotated[int, Param(ge=0, le=1000)] = 5
    window: Seconds = 600.0


@dataclass(frozen=True, slots=True)
class ExternalPlugin:
    """One server: a program that is started (`command`), or a URL. Times are in seconds.

    Values of `env` and `headers` may contain `${{secrets.NAME}}`. `name` is the family of its actions, `name.tool`.
    """

    name: str
    id: str = ""
    command: str | None = None
    args: list[str] = field(default_factory=list)
    env: dict[str, str] = field(default_factory=dict, repr=False)
    cwd: str | None = None
    url: str | None = field(default=None, repr=False)
    headers: dict[str, str] = field(default_factory=dict, repr=False)
    enabled: bool = True
    start_timeout: Annotated[Seconds, Param(le=600)] = 10.0
    call_timeout: Seconds = 30.0
    max_concurrency: Annotated[int, Param(ge=1, le=1000)] = 16
    restart: Restart = Restart()

    def shown(self) -> dict[str, Json]:
        """Return the settings as they may be stored and printed: no value of `env` or `headers` but references."""
        shown: dict[str, Json] = {"name": self.name}
        if self.url is not None:
            shown |= {"url": self.url.partition("?")[0], "headers": _masked(self.headers)}
        else:
            shown |= {"command": self.command, "args": self.args, "env": _masked(self.env), "cwd": self.cwd}
        return shown | {
            "enabled": self.enabled, "start_timeout": self.start_timeout, "call_timeout": self.call_timeout,
            "max_concurrency": self.max_concurrency,
            "restart": {"max": self.restart.max, "window": self.restart.window},
        }  # fmt: skip


class PluginProblems(ValueError):
    """Everything that is wrong with `plugins`; each path leads to the value, such as `plugins[0].env`."""

    def __init__(self, problems: list[Problem]) -> None:
        super().__init__(f"{problems[0].path}: {problems[0].message}")
        self.problems = problems


KEYS = tuple(each.name for each in fields(ExternalPlugin))
_RESTART_KEYS = tuple(each.name for each in fields(Restart))


@dataclass(frozen=True, slots=True)
class _Given:
    """An entry as it is written, before its parts are put together."""

    name: str
    id: str | None = None
    command: str | None = None
    args: list[str] = field(default_factory=list)
    env: dict[str, str] = field(default_factory=dict)
    cwd: str | None = None
    url: str | None = None
    headers: dict[str, str] = field(default_factory=dict)
    enabled: bool = True
    start_timeout: Annotated[Seconds, Param(le=600)] = 10.0
    call_timeout: Seconds = 30.0
    max_concurrency: Annotated[int, Param(ge=1, le=1000)] = 16
    restart: dict[str, Any] = field(default_factory=dict)


_ENTRY, _RESTART = ParamsDecoder(_Given), ParamsDecoder(Restart)


def read_plugins(value: Json) -> tuple[ExternalPlugin, ...]:
    """Read the array `plugins` of the settings.

    Raises:
        ValueError: it is no array of objects; says what is accepted.
        PluginProblems: entries are malformed, or two have the same name or id.
    """
    if not isinstance(value, list) or any(isinstance(item, str) for item in value):
        raise ValueError(
            "a list of objects, one for each external server (to choose among the installed plugins, use plugins_only)"
        )
    read: list[ExternalPlugin] = []
    problems: list[Problem] = []
    for index, item in enumerate(value):
        try:
            read.append(read_plugin(item, f"plugins[{index}]"))
        except PluginProblems as error:
            problems += error.problems
    for key in ("name", "id"):
        values = [getattr(plugin, key) for plugin in read]
        problems += [
            Problem(f"plugins.{key}", f"expected each {key} once, found {twice!r} again")
            for twice in sorted({each for each in values if values.count(each) > 1})
        ]
    if problems:
        raise PluginProblems(problems)
    return tuple(read)


def read_plugin(value: Json, path: str = "plugin") -> ExternalPlugin:
    """Read one entry.

    Raises:
        PluginProblems: with everything that is wrong with it; values of `env` and `headers` are never quoted.
    """
    if not isinstance(value, dict):
        raise PluginProblems([Problem(path, "expected an object")])
    problems = [*_unfit(value, "env"), *_unfit(value, "headers")]
    problems += _ENTRY.check({key: item for key, item in value.items() if key not in ("env", "headers")})
    restart = value.get("restart") if isinstance(value.get("restart"), dict) else {}
    problems += [Problem(f"restart.{each.path}", each.message) for each in _RESTART.check(restart)]
    problems += _unknown(value, KEYS, "") + _unknown(restart or {}, _RESTART_KEYS, "restart.")
    if not problems:
        given = _ENTRY.decode(value)
        problems = list(_problems(given))
    if problems:
        raise PluginProblems([Problem(f"{path}.{each.path}", each.message) for each in problems])
    entry = {key: getattr(given, key) for key in KEYS} | {"restart": _RESTART.decode(restart)}
    cwd = None if given.cwd is None else os.path.expanduser(given.cwd)  # noqa: PTH111
    return ExternalPlugin(**{**entry, "id": given.id or given.name, "cwd": cwd})


def _unknown(value: Mapping[str, Json], known: tuple[str, ...], prefix: str) -> list[Problem]:
    found = []
    for key in sorted(set(value) - set(known)):
        hint = get_close_matches(key, known, n=1)
        meant = f"did you mean {hint[0]!r}?" if hint else f"known are {', '.join(known)}"
        found.append(Problem(f"{prefix}{key}"[:80], f"is no key of an external plugin; {meant}"))
    return found


def _unfit(value: Mapping[str, Json], key: str) -> Iterator[Problem]:
    """Look at what may hold secrets, without showing it."""
    given = value.get(key)
    if given is not None and not isinstance(given, dict):
        yield Problem(key, "expected an object of texts by name")
    for name, text in given.items() if isinstance(given, dict) else ():
        if not isinstance(text, str | int | float):
            yield Problem(f"{key}.{name}"[:80], "expected a text")


def _problems(given: _Given) -> Iterator[Problem]:
    if not _NAME.fullmatch(given.name):
        yield Problem("name", f"expected a-z, 0-9, _ and -, at most 32, first a letter, found {given.name[:60]!r}")
    elif given.name in BUILT_IN:
        yield Problem("name", f"expected none of the built-in families {', '.join(sorted(BUILT_IN))}")
    if given.id is not None and not _ID.fullmatch(given.id):
        yield Problem("id", f"expected letters, digits, _ . and -, at most 64, found {given.id[:80]!r}")
    if (given.command is None) == (given.url is None):
        yield Problem("command", "expected either command, to start a program, or url, to reach a server")
    elif given.url is not None:
        yield from _remote(given)
    else:
        yield from _local(given)


def _local(given: _Given) -> Iterator[Problem]:
    if given.headers:
        yield Problem("headers", "expected headers only beside url; a program takes env")
    for place, text in (("command", given.command or ""), ("cwd", given.cwd or "."), *_numbered(given.args)):
        if "\0" in text or not _is_unicode(text) or (place == "command" and not text.strip()):
            yield Problem(place, "expected a text without NUL and lone surrogates that is not blank")
        if "${{" in text:
            yield Problem(place, "expected no reference: others can see a command line, so pass secrets in env")
    if given.cwd is not None and not given.cwd.startswith(("/", "~")):
        yield Problem("cwd", f"expected an absolute path or one that begins with ~, found {given.cwd[:80]!r}")
    for name, text in given.env.items():
        if not _VARIABLE.fullmatch(name) or name.upper().startswith("OPCODE_"):
            yield Problem("env", f"expected names of variables, none of them OPCODE_*, found {name[:60]!r}")
        elif "\0" in text or not _is_unicode(text):
            yield Problem(f"env.{name}", "expected a text without NUL and lone surrogates")
        yield from _references(f"env.{name}", text)


def _remote(given: _Given) -> Iterator[Problem]:
    if given.args or given.env or given.cwd:
        yield Problem("url", "expected args, env and cwd only beside command")
    if given.url is not None and not _URL.fullmatch(given.url):
        yield Problem("url", "expected an absolute http or https URL without user, password and fragment")
    elif given.url is not None and "${{" in given.url:
        yield Problem("url", "expected no reference: URLs are logged, so pass secrets in headers")
    for name, text in given.headers.items():
        if not _HEADER.fullmatch(name) or name.lower() in _OWN_HEADERS:
            yield Problem("headers", f"expected names of headers that the protocol does not set, found {name[:60]!r}")
        elif _UNPRINTABLE.search(text) or not text.isascii():
            yield Problem(f"headers.{name}", "expected ASCII text on one line")
        yield from _references(f"headers.{name}", text)


def _numbered(args: list[str]) -> list[tuple[str, str]]:
    return [(f"args[{index}]", text) for index, text in enumerate(args)]


def _references(place: str, text: str) -> Iterator[Problem]:
    try:
        references = compile_template(text).references
    except InterpolationError as error:
        yield Problem(place, error.message)
        return
    others = [each.namespace for each in references if each.namespace != "secrets"]
    if others:
        yield Problem(place, f"expected references to secrets only, found one to {others[0]!r:.60}")
    elif any(each.has_default or each.cast for each in references):
        yield Problem(place, "expected plain references such as ${{secrets.NAME}}, found one with a default or a cast")


async def reveal(text: str, secret: Callable[[str], Any]) -> str:
    """Return a text of `env` or `headers` with its secrets filled in by `await secret(name)`."""
    template = compile_template(text)
    if template.constant:
        return text
    found = template.resolve(None)  # type: ignore[arg-type]  # secrets are not looked up in the scope
    parts = [found] if isinstance(found, str) else found.parts
    return "".join([part if isinstance(part, str) else await secret(part.name) for part in parts])


def _masked(values: Mapping[str, str]) -> dict[str, Json]:
    return {name: text if text.startswith("${{") and text.count("}}") == 1 and text.endswith("}}") else MASK
            for name, text in values.items()}  # fmt: skip


def _is_unicode(text: str) -> bool:
    return not any("\ud800" <= char <= "\udfff" for char in text)
