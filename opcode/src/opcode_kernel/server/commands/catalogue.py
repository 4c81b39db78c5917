"""`opcode actions`, `opcode plugins`, `opcode schema`, `opcode version`: what is installed, and what it accepts."""

from __future__ import annotations

import argparse
from difflib import get_close_matches
from typing import Any

from opcode_kernel import __version__
from opcode_kernel.errors import NotFoundError
from opcode_kernel.server.commands.common import add_json, say, say_json, settings_of, table


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declare the commands."""
    parser = commands.add_parser("actions", help="list the actions, or show one with its schemas")
    parser.add_argument("name", nargs="?", metavar="NAME")
    add_json(parser)
    parser.set_defaults(handler=actions)
    parser = commands.add_parser("plugins", help="list the installed plugins and what they add")
    add_json(parser)
    parser.set_defaults(handler=plugins)
    parser = commands.add_parser("schema", help="print the JSON Schema of definitions")
    parser.set_defaults(handler=schema)
    parser = commands.add_parser("version", help="print the version")
    add_json(parser)
    parser.set_defaults(handler=version)


def actions(args: argparse.Namespace) -> int:
    """List all actions, or describe one."""
    from opcode_kernel.server.engines import load_registry

    registry = load_registry(settings_of(args))
    if args.name is None:
        found = [registry.actions[name] for name in sorted(registry.actions)]
        if args.json:
            say_json({"actions": [action.describe() for action in found]})
        else:
            rows = [(a.name, a.effect, registry.owners["action", a.name].distribution, a.summary) for a in found]
            say(table(("ACTION", "EFFECT", "FROM", "SUMMARY"), rows))
        return 0
    action = registry.actions.get(args.name)
    if action is None:
        hint = get_close_matches(args.name, registry.actions, n=1)
        raise NotFoundError(
            f"no installed action is called {args.name!r}"
            + (f"; did you mean {hint[0]!r}?" if hint else "; 'opcode actions' lists them")
        )
    say_json(action.describe())
    return 0


def plugins(args: argparse.Namespace) -> int:
    """List the plugins with what each of them adds."""
    from opcode_kernel.server.engines import load_registry

    registry = load_registry(settings_of(args))
    rows: list[dict[str, Any]] = []
    for source in registry.sources:
        adds = sorted(f"{kind} {name}" for (kind, name), owner in registry.owners.items() if owner == source)
        rows.append({"name": source.name, "distribution": source.distribution, "version": source.version, "adds": adds})
    if args.json:
        say_json({"plugins": rows})
    else:
        lines = [(row["name"], row["distribution"], row["version"], str(len(row["adds"]))) for row in rows]
        say(table(("PLUGIN", "DISTRIBUTION", "VERSION", "ADDS"), lines))
    return 0


def schema(args: argparse.Namespace) -> int:
    """Print the JSON Schema of definitions, for the installed step types and the limits of the settings."""
    from opcode_kernel.core.validation.published import definition_schema
    from opcode_kernel.server.engines import load_registry

    settings = settings_of(args)
    say_json(definition_schema(load_registry(settings).step_types, settings.limits))
    return 0


def version(args: argparse.Namespace) -> int:
    """Print the version."""
    if args.json:
        say_json({"version": __version__})
    else:
        say(__version__)
    return 0
