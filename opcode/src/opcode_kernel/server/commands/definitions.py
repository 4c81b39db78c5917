"""`opcode define` and `opcode validate`: definitions from files."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from opcode_kernel.errors import Json, SettingsError
from opcode_kernel.server.commands.common import (
    STDIN,
    add_json,
    read_definition,
    readable_text,
    say,
    say_json,
    settings_of,
)

if TYPE_CHECKING:
    from opcode_kernel.server.commands.common import DefinitionFile
    from opcode_kernel.server.settings import Settings


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declare both commands."""
    parser = commands.add_parser("define", help="save a workflow file as a template")
    parser.add_argument("file", metavar="FILE", help="definition as JSON; - is stdin")
    parser.add_argument("--name", metavar="NAME", help="template name (default: the file's; needed with -)")
    parser.add_argument("--description", metavar="TEXT", help="one line for lists")
    parser.add_argument("--agent", default="cli", metavar="ID", help="author (default cli)")
    parser.add_argument("--db", metavar="PATH", help="database to save to (default: the server's)")
    add_json(parser)
    parser.set_defaults(handler=define)
    parser = commands.add_parser("validate", help="check a workflow file")
    parser.add_argument("file", metavar="FILE", help="definition as JSON; - is stdin")
    add_json(parser)
    parser.set_defaults(handler=validate)


def define(args: argparse.Namespace) -> int:
    """Save the file as the next version of its template, through the live server if there is one."""
    import anyio

    file = read_definition(args.file)
    if args.file == "-" and file.name == STDIN and not args.name:
        raise SettingsError("a definition from standard input needs a name: add --name NAME")
    file = file._replace(name=args.name or file.name, description=args.description or file.description)
    saved = anyio.run(_define, settings_of(args), file, args)
    if args.json:
        say_json(saved)
    else:
        for warning in saved.get("warnings", ()):
            say(f"warning: {describe(warning)}")
        say(f"{saved['name']} {saved['version']}")
    return 0


async def _define(settings: Settings, file: DefinitionFile, args: argparse.Namespace) -> dict[str, Json]:
    from opcode_kernel.server import logs
    from opcode_kernel.server.client import call_daemon
    from opcode_kernel.server.engines import open_engine_at
    from opcode_kernel.server.instance import InstanceLock, live_owner

    logs.configure("error" if settings.log_level == "info" else settings.log_level)
    given = {**file._asdict(), "agent_id": args.agent}
    owner = live_owner(settings.home)
    if args.db is None and owner is not None and owner.url:
        present = {key: value for key, value in given.items() if value is not None}
        return await call_daemon(owner.url, settings.auth_token, "opcode.define", present)
    name, definition = given.pop("name"), given.pop("definition")
    if args.db is not None:
        async with open_engine_at(settings, args.db) as engine:
            return await engine.define(name, definition, **given)
    with InstanceLock(settings.home):
        async with open_engine_at(settings, settings.db_path) as engine:
            return await engine.define(name, definition, **given)


def validate(args: argparse.Namespace) -> int:
    """Check the file against the installed plugins and say everything that is wrong with it."""
    import anyio

    file = read_definition(args.file)
    report = anyio.run(_check, settings_of(args), file)
    if args.json:
        say_json(report.to_json())
    else:
        for line in issue_lines(report.to_json()):
            say(line)
        if report.ok:
            say(f"{file.name} is valid")
    return 0 if report.ok else 1


async def _check(settings: Settings, file: DefinitionFile) -> Any:
    from opcode_kernel.server import logs
    from opcode_kernel.server.engines import open_engine_at

    logs.configure("error" if settings.log_level == "info" else settings.log_level)
    async with open_engine_at(settings, None) as engine:
        given = file._asdict()
        beside = {key: given[key] for key in ("input_schema", "output_schema", "triggers")}
        return engine.check(file.definition, **beside)


def issue_lines(details: Mapping[str, Json]) -> list[str]:
    """Return a line for each error and each warning in the details of a refused definition, or of a report."""
    found = ((kind, details.get(f"{kind}s")) for kind in ("error", "warning"))
    return [
        f"{kind}: {describe(issue)}"
        for kind, issues in found
        for issue in (issues if isinstance(issues, list) else ())
        if isinstance(issue, dict)
    ]


def describe(issue: Mapping[str, Json]) -> str:
    """Return one issue, given as JSON, as a line; the picture of a place in an expression stands below it."""
    return readable_text(f"{issue.get('path') or 'definition'}: [{issue.get('code')}] {issue.get('message')}")
