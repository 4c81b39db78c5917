"""The `opcode` command: parse the words, call the command, turn every failure into one sentence and an exit code.

Nothing heavy is imported here or by the command modules at import time; `opcode --help` must be instant.
Exit codes: 0 done, 1 failed, 2 usage or settings, 3 a run that waits for an answer.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from types import ModuleType

from opcode_kernel import __version__
from opcode_kernel.errors import OpcodeError, SettingsError
from opcode_kernel.server.commands import (
    catalogue,
    definitions,
    doctor,
    install,
    mcp_stdio,
    plugin,
    run,
    secret,
    serve,
)
from opcode_kernel.server.commands.common import complain, say_json
from opcode_kernel.server.refusals import full_text

COMMANDS: tuple[ModuleType, ...] = (serve, install, mcp_stdio, run, definitions, catalogue, plugin, secret, doctor)

#: What the extra `daemon` of the distribution brings along.
_EXTRAS = frozenset({"mcp", "mcp_types", "pydantic", "starlette", "tortoise", "uvicorn"})


def build_parser() -> argparse.ArgumentParser:
    """Return the parser with every command; each command module adds its own."""
    parser = argparse.ArgumentParser(
        prog="opcode",
        description="Durable, deterministic workflows for AI agents. Without a command the server is started.",
        epilog="exit codes: 0 done, 1 failed, 2 usage or settings, 3 the run waits for an answer",
    )
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for module in COMMANDS:
        module.add(commands)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code; the console script exits with it."""
    words = list(sys.argv[1:] if argv is None else argv)
    if not words or (words[0].startswith("-") and words[0] not in ("-h", "--help", "--version")):
        words.insert(0, "serve")
    args = build_parser().parse_args(words)
    try:
        return int(args.handler(args))
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # Whoever read our output has enough; keep the interpreter from complaining while it flushes.
        sys.stdout = None
        return 0
    except SystemExit:
        raise
    except BaseException as error:  # noqa: BLE001
        # The last place that can still say it in a sentence.
        return _report(root_of(error), json_too=getattr(args, "json", False))


def root_of(error: BaseException) -> BaseException:
    """Return the error that matters in a group: one of ours if there is any, else the first."""
    if not isinstance(error, BaseExceptionGroup):
        return error
    roots = [root_of(inner) for inner in error.exceptions]
    return next((root for root in roots if isinstance(root, OpcodeError)), roots[0])


def _report(error: BaseException, *, json_too: bool) -> int:
    if isinstance(error, KeyboardInterrupt):
        return 130
    safe = _without_secrets(error if isinstance(error, OpcodeError) else OpcodeError(_unexpected(error)))
    complain(_text(safe))
    if json_too:
        details = {"details": safe.details} if safe.details else {}
        say_json({"error": {"code": safe.code, "message": safe.message, **details}})
    return 2 if isinstance(error, SettingsError) else 1


def _text(error: OpcodeError) -> str:
    """Return what there is to say: of a refused definition the list that `opcode validate` prints."""
    lines = definitions.issue_lines(error.details)
    count = error.details.get("error_count")
    if not lines or not isinstance(count, int):
        return full_text(error, "the answer to --json")
    return "\n".join([f"the definition has {count} error{'' if count == 1 else 's'}", *lines])


def _without_secrets(error: OpcodeError) -> OpcodeError:
    redaction = sys.modules.get("opcode_kernel.runtime.redaction")  # not loaded, it has nothing to hide
    for redactor in redaction.open_redactors() if redaction is not None else ():
        error = redactor.error(error)
    return error


def _unexpected(error: BaseException) -> str:
    if isinstance(error, ModuleNotFoundError) and error.name in _EXTRAS:
        return f"this needs the package {error.name}: pip install 'opcode-kernel[daemon]'"
    return f"unexpected failure: {type(error).__name__}: {error}"
