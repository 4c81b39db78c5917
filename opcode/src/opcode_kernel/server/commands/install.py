"""`opcode install`: write the settings file, then start the server or tell the live one."""

from __future__ import annotations

import argparse
import os
import signal
from typing import TYPE_CHECKING

from opcode_kernel.errors import Json
from opcode_kernel.server.commands.common import (
    FLAGS,
    add_json,
    add_settings_flags,
    complain,
    say,
    say_json,
    settings_of,
)
from opcode_kernel.server.commands.serve import become_server

if TYPE_CHECKING:
    from pathlib import Path


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declare the command."""
    parser = commands.add_parser("install", help="write settings, then start the server or reload a live one")
    add_settings_flags(parser)
    parser.add_argument("--no-start", action="store_true", help="only write the settings")
    parser.add_argument(
        "--vault-key",
        "-vault-key",
        metavar="KEY",
        help="discouraged: other users can see it; prefer OPCODE_VAULT_KEY_FILE. Never written to disk",
    )
    add_json(parser)
    parser.set_defaults(handler=install)


def install(args: argparse.Namespace) -> int:
    """Merge the given flags into the settings file; keys that were not given keep their values."""
    from opcode_kernel.server.instance import live_owner, prepare_home

    if args.vault_key:
        complain("--vault-key can be seen by other users of this machine; prefer OPCODE_VAULT_KEY_FILE")
        os.environ["OPCODE_VAULT_KEY"] = args.vault_key
        os.environ.pop("OPCODE_VAULT_KEY_FILE", None)
    settings = settings_of(args)
    prepare_home(settings.home)
    given = {key: getattr(args, key) for key in (*FLAGS, "panel") if getattr(args, key) is not None}
    merge_settings(settings.file, given)
    owner = live_owner(settings.home)
    pid = owner.pid if owner is not None and owner.url else 0
    if args.json:
        say_json({"settings": str(settings.file), "reloaded_pid": pid or None})
    else:
        say(f"settings: {settings.file}")
    if pid:
        os.kill(pid, signal.SIGHUP)
        if not args.json:
            say(f"told the running server (pid {pid}) to read them again; what needs a restart is in its log")
        if args.vault_key:
            complain("the running server has not got the vault key; restart it with OPCODE_VAULT_KEY set")
        return 0
    if args.no_start:
        return 0
    return become_server(args, settings)


def merge_settings(file: Path, given: dict[str, str]) -> None:
    """Write the given values over those of the file, atomically and readable by the owner only.

    Raises:
        SettingsError: the file is malformed; it is left alone.
        OpcodeError: it cannot be written.
    """
    from opcode_kernel.server.settings import READERS
    from opcode_kernel.server.settings_file import change_settings

    def merge(content: dict[str, Json]) -> None:
        for key, text in given.items():
            value = READERS[key](text)
            content[key] = value if isinstance(value, bool | int) else text

    change_settings(file, merge)
