"""`opcode mcp`: MCP over stdin and stdout, for clients that start their servers themselves."""

from __future__ import annotations

import argparse

from opcode_kernel.server.commands.common import settings_of


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declare the command."""
    parser = commands.add_parser("mcp", help="speak MCP on stdin and stdout")
    parser.add_argument("--stdio", action="store_true", help="accepted for clarity; stdio is the only way here")
    parser.add_argument("--db", metavar="PATH", help="run an engine of its own on this database")
    parser.add_argument("--url", metavar="URL", help="pass everything to the server at this URL")
    parser.set_defaults(handler=mcp)


def mcp(args: argparse.Namespace) -> int:
    """Pass messages to the live server of the data directory, or run an engine of its own when there is none."""
    import anyio

    from opcode_kernel.server import logs
    from opcode_kernel.server.instance import InstanceLock, live_owner
    from opcode_kernel.server.stdio import bridge, serve_stdio

    settings = settings_of(args)
    logs.configure(settings.log_level)
    for warning in settings.warnings:
        logs.get_logger().warning(warning)
    owner = live_owner(settings.home)
    url = args.url or (owner.url if owner is not None and args.db is None else "")
    if url:
        anyio.run(bridge, url, settings.auth_token)
    elif args.db:
        anyio.run(serve_stdio, settings, args.db)
    else:
        with InstanceLock(settings.home):
            anyio.run(serve_stdio, settings, settings.db_path)
    return 0
