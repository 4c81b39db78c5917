"""`opcode serve`: the server, in the foreground."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from opcode_kernel.server.commands.common import add_settings_flags, settings_of

if TYPE_CHECKING:
    from opcode_kernel.server.settings import Settings


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declare the command."""
    parser = commands.add_parser("serve", help="start the server (the default)")
    add_settings_flags(parser)
    parser.set_defaults(handler=serve)


def serve(args: argparse.Namespace) -> int:
    """Become the server until a signal ends it."""
    return become_server(args, settings_of(args))


def become_server(args: argparse.Namespace, settings: Settings) -> int:
    """Run the daemon; on SIGHUP it reads the same sources again."""
    from opcode_kernel.server.daemon import serve

    return serve(settings, lambda: settings_of(args))
