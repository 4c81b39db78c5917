"""`opcode actions`, `opcode plugins`, `opcode schema`, `opcode version`: what is installed, and what it accepts."""

from __future__ import annotations

import argparse
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

from opcode_kernel import __version__
from opcode_kernel.errors import Json, NotFoundError, OpcodeError
from opcode_kernel.server.commands.common import (
    add_json,
    complain,
    say,
    say_json,
    settings_of,
    shorten,
    table,
    terminal_width,
)

if TYPE_CHECKING:
    from opcode_kernel.plugin.manager import Registry
    from opcode_kernel.server.settings import Settings


#: What a plugin adds by these hooks; how much of it is known only while a server runs.
_HOOKS = {
    "opcode_tools": "MCP tools",
    "opcode_providers": "actions of external servers",
    "opcode_lifespan": "shared resources",
    "opcode_committed": "an observer of events",
}


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
    """List all actions, or describe one; those of external plugins as a running server knows them."""
    from opcode_kernel.server.engines import load_registry

    settings = settings_of(args)
    registry = load_registry(settings)
    if args.name in registry.actions:
        say_json(registry.actions[args.name].describe())
        return 0
    found = _external(settings, args.name)
    if args.name is not None:
        if not found:
            hint = get_close_matches(args.name, registry.actions, n=1)
            raise NotFoundError(
                f"no installed action is called {args.name!r}"
                + (f"; did you mean {hint[0]!r}?" if hint else "; 'opcode actions' lists them")
            )
        say_json(found[0])
        return 0
    known = {action["name"]: action for action in found} | {
        name: action.describe() for name, action in registry.actions.items()
    }
    if args.json:
        say_json({"actions": [known[name] for name in sorted(known)]})
    else:
        say(table(("ACTION", "EFFECT", "FROM", "SUMMARY"), [
            (name, known[name]["effect"], _offered_by(registry, name), shorten(" ".join(known[name]["description"].split()), 100))
            for name in sorted(known)
        ]))  # fmt: skip
    return 0


def _external(settings: Settings, name: str | None) -> list[dict[str, Json]]:
    """Return what external plugins offer; a list is printed without them when they cannot be asked."""
    if not settings.plugins:
        return []
    import anyio

    from opcode_kernel.server.external import external_actions

    try:
        found = anyio.run(external_actions, settings, name)
    except OpcodeError as error:
        if name is not None:
            raise
        complain(f"without external plugins: {error.message}")
        return []
    if name is None and not found:
        complain("without external plugins, for no server is running; 'opcode actions NAME' asks one of them")
    return found


def _offered_by(registry: Registry, name: str) -> str:
    owner = registry.owners.get(("action", name))
    return f"plugin {name.partition('.')[0]}" if owner is None else owner.distribution


def plugins(args: argparse.Namespace) -> int:
    """List the plugins with what each of them adds."""
    from opcode_kernel.server.engines import load_registry

    registry = load_registry(settings_of(args))
    rows: list[dict[str, Any]] = []
    for source in registry.sources:
        adds = sorted(f"{kind} {name}" for (kind, name), owner in registry.owners.items() if owner == source)
        adds += [what for hook, what in _HOOKS.items() if any(owner == source for owner, _ in registry.hooks(hook))]
        rows.append({"name": source.name, "distribution": source.distribution, "version": source.version, "adds": adds})
    if args.json:
        say_json({"plugins": rows})
    else:
        lines = [(row["name"], row["distribution"], row["version"], _counted(row["adds"])) for row in rows]
        say(table(("PLUGIN", "DISTRIBUTION", "VERSION", "ADDS"), lines, terminal_width()))
    return 0


def _counted(adds: list[str]) -> str:
    """Return what a plugin adds in few words: how many actions and step types, which languages, and what else."""
    counts = {kind: sum(each.startswith(f"{kind} ") for each in adds) for kind in ("action", "step type")}
    parts = [f"{count} {kind}{'s' * (count != 1)}" for kind, count in counts.items() if count]
    languages = [each.removeprefix("evaluator ") for each in adds if each.startswith("evaluator ")]
    parts += [f"the expression language {name}" for name in languages]
    parts += [what for what in _HOOKS.values() if what in adds]
    return ", ".join(parts) or "nothing"


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
