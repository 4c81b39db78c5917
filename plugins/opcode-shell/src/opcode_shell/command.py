"""From parameters and rules to what is started: program, arguments, directory, environment."""

from __future__ import annotations

import errno
import os
from dataclasses import dataclass
from pathlib import Path

from opcode_kernel import ActionError, Policy, ShellRules, resolve_read
from opcode_shell.environment import child_environment, search_path
from opcode_shell.line import NOT_SPLIT, is_line, takes_arguments
from opcode_shell.params import ExecParams

_SHELL = "/bin/sh"


@dataclass(frozen=True, slots=True)
class Command:
    """What to start. `argv[0]` is an absolute path."""

    argv: tuple[str, ...]
    cwd: str
    env: dict[str, str]


def build_command(params: ExecParams, policy: Policy) -> Command:
    """Check everything that can be checked before a process exists.

    Raises:
        ActionError: `PERMISSION_DENIED` by the settings, `PATH_DENIED` for the directory, `VALIDATION_ERROR` for
            text no process can be given, `EXECUTION_ERROR` (not retried) when there is nothing to start.
    """
    rules = policy.shell
    if not rules.enabled:
        raise ActionError("PERMISSION_DENIED", "shell.exec is switched off; set shell.enabled to true to allow it")
    _require_passable("command", params.command)
    for index, argument in enumerate(params.args):
        _require_passable(f"args[{index}]", argument)
    env = child_environment(os.environ, inherit=params.inherit_env, added=params.env, deny=rules.env_deny)
    for name, value in params.env.items():
        _require_passable(f"env.{name}", name + value)
    cwd = _directory(params.cwd, policy)
    if params.cwd is not None and "PWD" not in params.env:
        env["PWD"] = cwd
    argv = _shell_line(params) if params.shell else (_find(params.command, search_path(env), cwd), *params.args)
    _require_allowed(argv[0], rules)
    return Command(argv, cwd, env)


def not_started(what: str, number: int, *, bound: bool = False, hint: str = "") -> ActionError:
    """Return the error for a command that cannot be started; only a lack of resources is worth another try.

    `bound` tells that path rules hold for commands too, which may be the reason.
    """
    lacking = number in (errno.EAGAIN, errno.ENOMEM, errno.EMFILE, errno.ENFILE)
    if bound and number == errno.EACCES:
        hint = "; commands reach only what fs.writable_paths and fs.read_only_paths name, and the system's own programs"
    return ActionError(
        "EXECUTION_ERROR",
        f"cannot start {what}: {os.strerror(number).lower()}{hint}",
        retryable=lacking, details={"errno": errno.errorcode.get(number, str(number)), "command": what},
    )  # fmt: skip


def _shell_line(params: ExecParams) -> tuple[str, ...]:
    if not params.args:
        return (_SHELL, "-c", params.command)
    # Positional parameters: the shell hands them over as they are. Without a command before them the first one would be it.
    line = params.command.rstrip("\r\n")
    if not takes_arguments(line):
        raise ActionError(
            "VALIDATION_ERROR",
            f"command: expected a line that args can follow, found one that ends in {line.rstrip()[-20:]!r}, after which"
            " the first of args could be run; end the line with the command that is to take them",
        )
    return (_SHELL, "-c", f'{line} "$@"', "sh", *params.args)


def _directory(given: str | None, policy: Policy) -> str:
    if given is None:
        try:
            return str(Path.cwd())
        except OSError as error:
            raise ActionError(
                "EXECUTION_ERROR", "the directory the engine was started in is gone; give cwd", retryable=False
            ) from error
    resolved = resolve_read(policy.paths, given)
    if not resolved.is_dir():
        number = errno.ENOTDIR if resolved.exists() else errno.ENOENT
        raise ActionError(
            "EXECUTION_ERROR", f"cwd: expected a directory at {resolved}, found {os.strerror(number).lower()}",
            retryable=False, details={"errno": errno.errorcode[number], "cwd": str(resolved)},
        )  # fmt: skip
    return str(resolved)


def _find(name: str, directories: list[str], cwd: str) -> str:
    if "/" in name:
        path = str(Path(cwd) / name)
        if _is_program(path):
            return path
        if os.path.lexists(path):
            raise not_started(path, errno.EACCES)
        raise not_started(path, errno.ENOENT, hint=f"; {NOT_SPLIT}" if is_line(name) else "")
    for directory in directories:
        if _is_program(path := str(Path(directory) / name)):
            return path
    remedy = NOT_SPLIT if is_line(name) else "give its absolute path"
    raise ActionError(
        "EXECUTION_ERROR", f"cannot start {name}: expected an executable of that name in PATH, found none; {remedy}",
        retryable=False, details={"errno": "ENOENT", "command": name},
    )  # fmt: skip


def _is_program(path: str) -> bool:
    # `Path.is_file` raises for a name that is too long.
    return os.path.isfile(path) and os.access(path, os.X_OK)  # noqa: PTH113


def _require_allowed(program: str, rules: ShellRules) -> None:
    """Hold the program against `shell.allow_commands`.

    Names in the list are looked up with the daemon's own PATH, because the workflow may set that of the child.
    Directories are compared without links, file names as they are: one binary may be many programs by its name.
    """
    if not rules.allow_commands:
        return
    directories = search_path(os.environ)
    for entry in rules.allow_commands:
        candidates = [entry] if "/" in entry else [str(Path(directory) / entry) for directory in directories]
        if any(_place(candidate) == _place(program) for candidate in candidates):
            return
    raise ActionError(
        "PERMISSION_DENIED", f"may not start {program}: it is not in shell.allow_commands",
        details={"command": program},
    )  # fmt: skip


def _place(path: str) -> tuple[str, str]:
    directory, name = os.path.split(path)
    return os.path.realpath(directory), name


def _require_passable(where: str, text: str) -> None:
    if "\0" in text:
        raise ActionError("VALIDATION_ERROR", f"{where}: expected text without NUL, found one")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ActionError("VALIDATION_ERROR", f"{where}: expected Unicode text, found a lone surrogate") from error
