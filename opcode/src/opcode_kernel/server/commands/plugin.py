"""`opcode plugin add|list|remove`: the external MCP servers whose tools are actions."""

from __future__ import annotations

import argparse
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from opcode_kernel.errors import ConflictError, Json, NotFoundError, SettingsError
from opcode_kernel.server.commands.common import add_json, say, say_json, settings_of, shorten, table, terminal_width

#: Names of actions that are shown of a new plugin.
_SHOWN = 12
#: What looks like the name of a plugin may be repeated in a message.
_NAME = re.compile(r"[a-z][a-z0-9_-]{0,31}")


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declare the command."""
    parser = commands.add_parser("plugin", help="add, list or remove external MCP servers")
    verbs = parser.add_subparsers(dest="verb", metavar="VERB", parser_class=_Parser)
    parser.set_defaults(handler=lambda _: parser.error(f"expected a verb: {', '.join(verbs.choices)}"))
    new = verbs.add_parser(
        "add", help="try a server, write it into the settings and tell a running server; its command stands after --",
        usage="opcode plugin add NAME [options] (--url URL | -- COMMAND [ARGUMENT ...])",
    )  # fmt: skip
    new.takes_command = True
    new.add_argument("name", metavar="NAME", help="family of its actions: NAME.tool")
    new.add_argument("--url", metavar="URL", help="reach a server at this URL instead of starting one")
    for option, text in (("env", "a variable of the program"), ("header", "a header for the URL")):
        new.add_argument(
            f"--{option}", action="append", default=[], metavar="KEY=VALUE",
            help=f"{text}; VALUE may name a secret: '${{{{secrets.NAME}}}}'",
        )  # fmt: skip
    new.add_argument("--cwd", metavar="DIR", help="directory the program works in, absolute")
    new.add_argument("--id", metavar="ID", help="what it is called where its name may change (default: NAME)")
    for name, text in (
        ("start-timeout", "until it is ready (default 10s)"),
        ("call-timeout", "for one call (default 30s)"),
        ("restart-window", "time in which restarts are counted (default 10m)"),
    ):
        new.add_argument(f"--{name}", metavar="DURATION", help=text)
    for name, text in (
        ("max-concurrency", "calls at a time (default 16)"),
        ("restart-max", "restarts in the window before it is given up (default 5)"),
    ):
        new.add_argument(f"--{name}", metavar="N", help=text)
    new.add_argument("--disabled", action="store_true", help="keep it in the settings without starting it")
    new.add_argument("--replace", action="store_true", help="take the place of the plugin of that id")
    new.add_argument("--no-check", action="store_true", help="write it without trying the server first")
    new.set_defaults(handler=add_plugin)
    known = verbs.add_parser("list", help="list the external servers and how they are")
    known.set_defaults(handler=list_plugins)
    gone = verbs.add_parser("remove", help="take a server out of the settings and tell a running server")
    gone.add_argument("name", metavar="NAME", help="name or id")
    gone.set_defaults(handler=remove_plugin)
    for verb in (new, known, gone):
        verb.add_argument("--db-path", metavar="PATH", help="database (default: the server's)")
        add_json(verb)


class _Parser(argparse.ArgumentParser):
    """A parser that leaves alone what stands after `--`, where that is the command of a server with its own options."""

    takes_command = False

    def parse_known_args(self, args: Sequence[str] | None = None, namespace: Any = None) -> Any:  # type: ignore[override]
        """See `ArgumentParser`; sets `command` if this one takes any."""
        words = list(args or ())
        if not self.takes_command:
            return super().parse_known_args(words, namespace)
        end = words.index("--") if "--" in words else len(words)
        self._check(words[:end])
        found, rest = super().parse_known_args(words[:end], namespace)
        found.command = words[end + 1 :]
        return found, rest

    def _check(self, words: Sequence[str]) -> None:
        """Refuse what is neither an option nor the one name; nothing is repeated that may be a value, and so a secret."""
        seen: list[str] = []
        place, named = 0, False
        while place < len(words):
            word, place = words[place], place + 1
            if not word.startswith("-"):
                if named:
                    right = " ".join([self.prog, *seen, "-- COMMAND ..."])
                    self.error(f"the command stands after --, options of 'plugin add' before it; type: {right}")
                named = True
                seen.append(word if _NAME.fullmatch(word) else "NAME")
                continue
            name, divided, _ = word.partition("=")
            option, action = self._option(name)
            if action.nargs is None:
                place += not divided
                seen.append(f"{option}=..." if divided else f"{option} ...")
            else:
                seen.append(option)

    def _option(self, name: str) -> tuple[str, argparse.Action]:
        """Return an option by its name, or by the beginning of it if that is the beginning of no other."""
        known = self._option_string_actions
        fitting = [option for option in known if name.startswith("--") and option.startswith(name)]
        if name in known:
            fitting = [name]
        if len(fitting) != 1:
            shown = name if name.startswith("--") else name[:2]  # -pSECRET is how some programs take a value
            could = f"ambiguous option: {shown} could match {', '.join(fitting)}"
            wrong = could if fitting else f"unrecognized option: {shown}"
            self.error(f"{wrong}; options of 'plugin add' stand before --, those of the command after it")
        return fitting[0], known[fitting[0]]


def add_plugin(args: argparse.Namespace) -> int:
    """Check a plugin, try it, write it, and have a live server take it over."""
    import anyio

    from opcode_kernel.plugin.external import PluginProblems, read_plugin
    from opcode_kernel.server.external import check_place, reloaded, tools_of
    from opcode_kernel.server.instance import prepare_home
    from opcode_kernel.server.settings_file import change_settings

    entry = entry_of(args)
    note = _bind_here(entry)
    try:
        plugin = read_plugin(entry)
    except PluginProblems as error:
        raise SettingsError("\n".join(f"{each.path}: {each.message}" for each in error.problems)) from None
    settings = settings_of(args)
    check_place(settings, plugin, replace=args.replace)
    checked = not args.no_check and plugin.enabled
    actions = anyio.run(tools_of, settings, plugin) if checked else None
    prepare_home(settings.home)
    change_settings(settings.file, lambda content: _put(content, plugin.id, entry, replace=args.replace))
    word = anyio.run(reloaded, settings, plugin.id, plugin)
    if args.json:
        say_json(
            {
                "plugin": {"id": plugin.id, **plugin.shown()},
                "actions": actions,
                "settings": str(settings.file),
                "server": word,
            }
        )
    else:
        say(f"{plugin.name} added to {settings.file}" + (f" with {_counted(actions)}" if actions is not None else ""))
        if note is not None:
            say(note)
        say(_said(word))
    return 1 if word is not None and word["status"] not in ("active", "inactive") else 0


def remove_plugin(args: argparse.Namespace) -> int:
    """Take a plugin out of the settings, and have a live server end it."""
    import anyio

    from opcode_kernel.server.external import reloaded
    from opcode_kernel.server.settings_file import change_settings

    settings = settings_of(args)
    found = next((plugin for plugin in settings.plugins if args.name in (plugin.name, plugin.id)), None)
    if found is None:
        names = ", ".join(plugin.name for plugin in settings.plugins) or "none"
        raise NotFoundError(f"there is no external plugin {args.name!r}; known are {names}")
    change_settings(settings.file, lambda content: _take(content, found.id))
    word = anyio.run(reloaded, settings, found.id, None)
    if args.json:
        say_json({"name": found.name, "id": found.id, "removed": True, "server": word})
    else:
        say(f"{found.name} removed from {settings.file}")
        say(_said(word))
    return 0


def list_plugins(args: argparse.Namespace) -> int:
    """List what is configured, with what a live server says of it."""
    import anyio

    from opcode_kernel.server.external import remark_of, states

    settings = settings_of(args)
    known = anyio.run(states, settings)
    rows = [{"id": plugin.id, **plugin.shown(), **known[plugin.id]} for plugin in settings.plugins]
    if args.json:
        say_json({"plugins": rows})
    elif rows:
        say(table(("NAME", "STATUS", "SERVER", "REMARK"), [
            (row["name"], row["status"], shorten(row.get("url") or " ".join([row["command"], *row["args"]]), 50),
             " ".join(remark_of(row).split())) for row in rows
        ], terminal_width()))  # fmt: skip
    else:
        say(f"no external plugins in {settings.file}; 'opcode plugin add' adds one")
    return 0


def entry_of(args: argparse.Namespace) -> dict[str, Json]:
    """Return the entry of the settings that the words of a command spell; only what was given."""
    command, *rest = args.command or [None]
    given: dict[str, Any] = {
        "id": args.id, "name": args.name, "command": command, "args": rest or None, "env": _texts(args.env, "--env"),
        "cwd": args.cwd, "url": args.url, "headers": _texts(args.header, "--header"),
        "enabled": False if args.disabled else None, "start_timeout": args.start_timeout,
        "call_timeout": args.call_timeout, "max_concurrency": _number(args.max_concurrency),
    }  # fmt: skip
    restart = {"max": _number(args.restart_max), "window": args.restart_window}
    given["restart"] = {key: value for key, value in restart.items() if value is not None}
    return {key: value for key, value in given.items() if value not in (None, {})}


def _bind_here(entry: dict[str, Json]) -> str | None:
    """Have a command mean in the server, which works elsewhere, what it means in this directory; returns what to say of it."""
    command = entry.get("command") or ""
    if "/" in command and _leads_from_here(command):
        entry["command"] = os.path.abspath(command)  # noqa: PTH100 - a link stays one
    if "cwd" in entry:
        return None
    for word in entry.get("args", ()):
        for path in (word, word.partition("=")[2]):  # also that of --option=path
            if _leads_from_here(path):
                entry["cwd"] = str(Path.cwd())
                return f"{shorten(path)} leads there from this directory, so it works in {entry['cwd']}; --cwd names another"
    return None


def _leads_from_here(path: str) -> bool:
    return not path.startswith(("/", "~", "-")) and os.path.exists(path)  # noqa: PTH110 - what is no path is false


def _texts(pairs: list[str], option: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for pair in pairs:
        name, divided, value = pair.partition("=")
        if not divided or not name:
            raise SettingsError(f"{option} expects KEY=VALUE")  # without what was found: it may be half of a secret
        found[name] = value
    return found


def _number(text: str | None) -> Json:
    return int(text) if text is not None and text.isdecimal() else text


def _put(content: dict[str, Json], id: str, entry: dict[str, Json], *, replace: bool) -> None:
    entries = _entries(content)
    places = [place for place, other in enumerate(entries) if _id_of(other) == id]
    names = [other.get("name") for other in entries if isinstance(other, dict) and _id_of(other) != id]
    if (places and not replace) or entry["name"] in names:
        raise ConflictError(f"another command has just added {id if places else entry['name']!r}")
    if places:
        entries[places[0]] = entry
    else:
        entries.append(entry)
    content["plugins"] = entries


def _take(content: dict[str, Json], id: str) -> None:
    content["plugins"] = [entry for entry in _entries(content) if _id_of(entry) != id]
    if not content["plugins"]:
        del content["plugins"]


def _entries(content: dict[str, Json]) -> list[Json]:
    entries = content.get("plugins")
    return list(entries) if isinstance(entries, list) else []


def _id_of(entry: Json) -> Json:
    return (entry.get("id") or entry.get("name")) if isinstance(entry, dict) else None


def _counted(actions: list[str]) -> str:
    more = f" and {len(actions) - _SHOWN} more" if len(actions) > _SHOWN else ""
    return f"{len(actions)} actions: {', '.join(actions[:_SHOWN])}{more}" if actions else "no actions"


def _said(word: dict[str, Json] | None) -> str:
    if word is None:
        return "no server is running; the next start takes it over"
    error = f": {word['error_message']}" if word.get("error_message") else ""
    return f"the running server (pid {word['pid']}) says: {word['status']}{error}"
