"""`opcode secret`: the vault from the command line. Values come on stdin or from a file, never as arguments."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from opcode_kernel.errors import DefinitionError, SettingsError
from opcode_kernel.server.commands.common import add_json, complain, say, say_json, settings_of, table

if TYPE_CHECKING:
    from opcode_kernel.server.settings import Settings

#: More than this is never read; the vault says what the limit is.
_MOST = 1 << 20

Say = Callable[["argparse.Namespace", "Settings"], int]


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declare the command."""
    parser = commands.add_parser("secret", help="store, list, show and delete secrets, and change their key")
    verbs = parser.add_subparsers(dest="verb", metavar="VERB")
    parser.set_defaults(handler=lambda _: parser.error(f"expected a verb: {', '.join(_VERBS)}"))
    for verb, (text, name, work) in _VERBS.items():
        sub = verbs.add_parser(verb, help=text, description=_LONG.get(verb, f"{text[0].upper()}{text[1:]}."))
        if name:
            optional = name.startswith("?")
            sub.add_argument("name", metavar=name.lstrip("?"), nargs="?" if optional else None, help=_NAMES.get(verb))
        _add_options(sub, verb)
        sub.add_argument("--db-path", metavar="PATH", help="database (default: the server's)")
        add_json(sub)
        sub.set_defaults(handler=secret, work=work)


def _add_options(sub: argparse.ArgumentParser, verb: str) -> None:
    if verb == "set":
        # Taken only to be refused with the reason: what stands on a command line, other users can see.
        sub.add_argument("value", nargs="*", metavar="VALUE", help="not accepted here: the value is read from stdin")
        sub.add_argument("--from-file", metavar="FILE", help="read the value from this file, as it is")
        sub.add_argument(
            "--allow-template", action="append", metavar="NAME",
            help="only runs of this template may use it; may be given again",
        )  # fmt: skip
        sub.add_argument(
            "--allow-host", action="append", metavar="HOST",
            help="only http actions may use it, and send it only to this host (or *.suffix); may be given again",
        )  # fmt: skip
        sub.add_argument("--unrestricted", action="store_true", help="lift what was allowed only before")
    elif verb == "get":
        sub.add_argument("--reveal", action="store_true", help="print the value; without it only what is known of it")
    elif verb == "import":
        sub.add_argument("--replace", action="store_true", help="replace secrets that exist here")
    elif verb == "audit":
        sub.add_argument("--limit", type=_count, default=100, metavar="N", help="how many to show (default 100)")


def _count(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 1_000_000:
        raise argparse.ArgumentTypeError(f"expected a number from 1 to 1000000, found {text!r}")
    return int(text)


def secret(args: argparse.Namespace) -> int:
    """Do what the verb says."""
    if getattr(args, "value", None):
        raise SettingsError("the value is read from standard input, not from the command line, which others can see")
    work: Say = args.work
    return work(args, settings_of(args))


def _do(work: Callable[..., Any], *given: Any) -> Any:
    from functools import partial

    import anyio

    return anyio.run(partial(work, *given))


def _say(args: argparse.Namespace, result: dict[str, Any], sentence: str) -> int:
    if args.json:
        say_json(result)
    else:
        say(sentence)
    return 0


def _set(args: argparse.Namespace, settings: Settings) -> int:
    from opcode_kernel.server.secret_work import set_secret

    if args.unrestricted and (args.allow_template or args.allow_host):
        raise SettingsError("--unrestricted lifts what --allow-template and --allow-host ask for; give one of them")
    lifted: list[str] | None = [] if args.unrestricted else None
    value = _value(args.from_file)
    templates, hosts = args.allow_template or lifted, args.allow_host or lifted
    result = _do(set_secret, settings, args.name, value, templates, hosts)
    _say(args, result, f"{args.name} stored{_bounds(result)}")
    for warning in result["warnings"]:
        complain(f"warning: {warning}")
    return 0


def _value(file: str | None) -> str:
    """Read the value, from a terminal without echo. One line break that ends stdin is not part of it; a file is as it is."""
    if file is not None:
        try:
            with Path(file).open("rb") as source:
                return _text(source.read(_MOST))
        except OSError as error:
            raise SettingsError(f"{file} cannot be read: {error.strerror or error}") from None
    if sys.stdin.isatty():
        import getpass

        try:
            value = getpass.getpass("value: ")
        except EOFError:
            raise SettingsError("no value was entered, so nothing is stored") from None
    else:
        value = _text(sys.stdin.buffer.read(_MOST)) if hasattr(sys.stdin, "buffer") else sys.stdin.read()
        value = value.removesuffix("\n").removesuffix("\r")
    if not value:
        raise SettingsError("the value of the secret is read from stdin, which was empty")
    return value


def _text(raw: bytes) -> str:
    try:
        return raw.decode()
    except UnicodeDecodeError as error:
        # Without the cause, which carries the value.
        raise DefinitionError(
            f"expected a value of UTF-8 text, found other bytes at position {error.start}; encode them, for example as base64"
        ) from None


def _get(args: argparse.Namespace, settings: Settings) -> int:
    from opcode_kernel.server.secret_work import describe_secret, reveal_secret

    if not args.reveal:
        found = _do(describe_secret, settings, args.name)
        return _say(args, found, f"{args.name}: version {found['version']} of {found['updated_at']}{_bounds(found)}; "
                    "--reveal prints the value")  # fmt: skip
    value = _do(reveal_secret, settings, args.name)
    if args.json:
        say_json({"name": args.name, "value": value})
    else:
        # Exactly the value, so that `opcode secret get NAME --reveal > FILE` can be read back.
        sys.stdout.write(f"{value}\n" if sys.stdout.isatty() else value)
    return 0


def _delete(args: argparse.Namespace, settings: Settings) -> int:
    from opcode_kernel.server.secret_work import delete_secret

    _do(delete_secret, settings, args.name)
    return _say(args, {"name": args.name, "deleted": True}, f"{args.name} deleted")


def _list(args: argparse.Namespace, settings: Settings) -> int:
    from opcode_kernel.server.secret_work import list_secrets

    rows = _do(list_secrets, settings)
    if args.json:
        say_json({"secrets": rows})
    elif rows:
        bounded = any(row["templates"] or row["hosts"] for row in rows)
        shown = [(row["name"], row["updated_at"], _bounds(row).removeprefix(", ")) for row in rows]
        say(
            table(("NAME", "UPDATED", "ONLY"), shown) if bounded else table(("NAME", "UPDATED"), [r[:2] for r in shown])
        )
    else:
        say("no secrets; 'opcode secret set NAME' stores one")
    return 0


def _rotate(args: argparse.Namespace, settings: Settings) -> int:
    from opcode_kernel.server.secret_work import rotate_vault

    count, keys = _do(rotate_vault, settings), settings.vault_keys
    given = "OPCODE_VAULT_KEY_NEW_FILE" if keys.is_in_file("OPCODE_VAULT_KEY_NEW") else "OPCODE_VAULT_KEY_NEW"
    others = (
        "" if keys.is_in_file("OPCODE_VAULT_KEY") else " wherever that is set, for the server and for this command,"
    )
    _say(args, {"secrets": count, "rotated": True}, f"{_counted(count)} under the new passphrase, and the old one opens "
         f"nothing any more. Now {keys.to_set} the new one{others} and take away {given}")  # fmt: skip
    if (pid := _server(settings)) and not args.json:
        complain(
            f"the running server (pid {pid}) keeps working if it reads its passphrase from a file that holds the new one, or "
            "was started with the new one as OPCODE_VAULT_KEY or OPCODE_VAULT_KEY_NEW; otherwise each use of a secret fails "
            "until you set its OPCODE_VAULT_KEY to the new one and restart it (kill -HUP does not read that again)"
        )
    return 0


def _counted(secrets: int) -> str:
    return "1 secret is" if secrets == 1 else f"{secrets} secrets are"


def _server(settings: Settings) -> int:
    from opcode_kernel.server.instance import live_owner

    owner = live_owner(settings.home)
    return owner.pid if owner is not None and owner.url else 0


def _rekey(args: argparse.Namespace, settings: Settings) -> int:
    from opcode_kernel.server.secret_work import rekey_vault

    count = _do(rekey_vault, settings)
    return _say(args, {"secrets": count, "rekeyed": True}, f"{_counted(count)} under a new key of the same passphrase; a "
                "running server takes it over by itself")  # fmt: skip


def _verify(args: argparse.Namespace, settings: Settings) -> int:
    from opcode_kernel.server.secret_work import verify_vault

    found = _do(verify_vault, settings)
    count, damaged = found.secrets, found.damaged
    _say(args, {"secrets": count, "damaged": list(damaged), "reasons": dict(damaged), "former": found.former,
                "sealed": found.sealed}, f"{count - len(damaged)} of {count} secrets can be read")  # fmt: skip
    for reason in damaged.values():
        complain(reason)
    if found.advice is not None:
        complain(found.advice)
    return 1 if damaged else 0


def _import(args: argparse.Namespace, settings: Settings) -> int:
    from opcode_kernel.server.secret_work import import_secrets

    found = _do(lambda: import_secrets(settings, Path(args.name), replace=args.replace))
    lines = [f"{len(found['imported'])} secrets imported"]
    if found["kept"]:
        lines.append(f"kept, for they exist here (--replace takes the others): {', '.join(found['kept'])}")
    if found["refused"]:
        lines.append(f"{len(found['refused'])} refused")
    _say(args, found, "\n".join(lines))
    for name, reason in found["reasons"].items():
        complain(f"{name!r:.140}: {reason}")
    return 1 if found["refused"] else 0


def _audit(args: argparse.Namespace, settings: Settings) -> int:
    from opcode_kernel.server.secret_work import uses_of_secrets

    uses = _do(uses_of_secrets, settings, args.name, args.limit)
    if args.json:
        say_json({"uses": uses})
    elif uses:
        columns = ("at", "action", "name", "agent_id", "template", "run_id", "step_id")
        header = ("AT", "ACTION", "NAME", "AGENT", "TEMPLATE", "WORKFLOW", "STEP")
        say(table(header, [[use[column] or "" for column in columns] for use in uses]))
    else:
        say("nothing was done with secrets so far")
    return 0


def _bounds(row: dict[str, Any]) -> str:
    """Return where alone a secret may be used, as the end of a sentence."""
    parts = [("for template", row["templates"]), ("for host", row["hosts"])]
    return "".join(f", {word} {' '.join(names)}" for word, names in parts if names)


#: Verb -> what it does, its argument (`?` if it may be left out), and the function.
_VERBS: dict[str, tuple[str, str, Say]] = {
    "set": ("store a secret; its value is read from stdin", "NAME", _set),
    "get": ("say what is known of a secret, or print its value", "NAME", _get),
    "list": ("list the names of the secrets", "", _list),
    "delete": ("delete a secret", "NAME", _delete),
    "rotate": ("move the vault to another passphrase", "", _rotate),
    "rekey": ("give the vault a new key under the same passphrase", "", _rekey),
    "verify": ("try to read every secret", "", _verify),
    "audit": ("list what was done with secrets, newest first", "?NAME", _audit),
    "import": ("take over the secrets of a database of the original", "FILE", _import),
}
_NAMES = {
    "import": "the database file; it is only read",
    "audit": "only this secret",
    "set": "letters, digits, _ . and -",
}
_LONG = {
    "set": "Store a secret, or a new value for it. The value is read from stdin (without echo on a terminal) or from a file; "
    "what was allowed before stays allowed.",
    "rotate": "Move the vault from OPCODE_VAULT_KEY to OPCODE_VAULT_KEY_NEW: every secret is encrypted anew, all in one "
    "transaction. Who knows only the old passphrase can read nothing that is stored from then on.",
    "rekey": "Give the vault a new key, with a new salt, under the same passphrase: every secret is encrypted anew, all in "
    "one transaction. Nobody has to learn a new passphrase, and a running server goes on by itself.",
}
