"""`opcode secret set|list|delete`: the vault from the command line. Values come on stdin, never as arguments."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from opcode_kernel.errors import NotFoundError, SettingsError
from opcode_kernel.server.commands.common import add_json, say, say_json, settings_of, table

if TYPE_CHECKING:
    from opcode_kernel.server.settings import Settings


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declare the command."""
    parser = commands.add_parser("secret", help="set, list or delete secrets")
    verbs = parser.add_subparsers(dest="verb", metavar="VERB", required=True)
    for verb, text in (
        ("set", "store a secret; its value is read from stdin"),
        ("list", "list the names of the secrets"),
        ("delete", "delete a secret"),
    ):
        sub = verbs.add_parser(verb, help=text)
        if verb != "list":
            sub.add_argument("name", metavar="NAME")
        if verb == "set":
            # Taken only to be refused with the reason: what stands on a command line, other users can see.
            sub.add_argument(
                "value", nargs="*", metavar="VALUE", help="not accepted here: the value is read from standard input"
            )
        sub.add_argument("--db-path", metavar="PATH", help="database (default: the server's)")
        add_json(sub)
        sub.set_defaults(handler=secret)


def secret(args: argparse.Namespace) -> int:
    """Do what the verb says."""
    import anyio

    if args.verb == "set" and args.value:
        raise SettingsError("the value is read from standard input, not from the command line, which others can see")
    settings = settings_of(args)
    if args.verb == "set":
        anyio.run(_set, settings, args.name, _value())
        result = {"name": args.name, "stored": True}
    elif args.verb == "delete":
        anyio.run(_delete, settings, args.name)
        result = {"name": args.name, "deleted": True}
    else:
        rows = anyio.run(_list, settings)
        if args.json:
            say_json({"secrets": rows})
        elif rows:
            say(table(("NAME", "UPDATED"), [(row["name"], row["updated_at"]) for row in rows]))
        return 0
    if args.json:
        say_json(result)
    else:
        say(f"{args.name} {'stored' if args.verb == 'set' else 'deleted'}")
    return 0


def _value() -> str:
    """Read the value from stdin, without echo on a terminal; one trailing line break is not part of it."""
    if sys.stdin.isatty():
        import getpass

        try:
            value = getpass.getpass("value: ")
        except EOFError:
            raise SettingsError("no value was entered, so nothing is stored") from None
    else:
        value = sys.stdin.read()
        value = value.removesuffix("\n").removesuffix("\r")
    if not value:
        raise SettingsError("the value of the secret is read from stdin, which was empty")
    return value


async def _set(settings: Settings, name: str, value: str) -> None:
    from opcode_kernel.server.engines import make_store, make_vault

    if settings.vault_key is None:
        raise SettingsError("a secret needs a vault key: set OPCODE_VAULT_KEY or OPCODE_VAULT_KEY_FILE")
    async with make_store(settings, settings.db_path, sole=False) as store:
        vault = await make_vault(store, settings)
        await vault.set(name, value)


async def _delete(settings: Settings, name: str) -> None:
    from opcode_kernel.server.engines import make_store

    async with make_store(settings, settings.db_path, sole=False) as store:
        if not await store.delete_secret(name):
            raise NotFoundError(f"there is no secret {name!r}; 'opcode secret list' names them")


async def _list(settings: Settings) -> list[dict[str, str]]:
    from opcode_kernel.core.times import iso
    from opcode_kernel.server.engines import make_store

    async with make_store(settings, settings.db_path, sole=False) as store:
        return [
            {"name": row.name, "created_at": iso(row.created_at), "updated_at": iso(row.updated_at)}
            for row in await store.secrets()
        ]
