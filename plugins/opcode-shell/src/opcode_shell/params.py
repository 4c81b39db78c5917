"""What `shell.exec` takes and answers. JSON schemas, checks and the reference come from these declarations."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, TypedDict

from opcode_kernel import FreeText, Json, Param, Seconds

#: The longest timeout accepted: that of the longest duration a definition may name.
_YEAR = 8760 * 3600


@dataclass(frozen=True, slots=True)
class ExecParams:
    """The parameters of `shell.exec`."""

    command: Annotated[
        str,
        Param(
            "executable name or path, not split into words: those after the first go into args; with shell, a command line",
            min_length=1,
        ),
    ]
    args: Annotated[
        list[str],
        Param(
            'arguments; with shell the line is run with "$@" after it, so the last command of the line gets all of them after '
            "its own, and they are never parsed as code"
        ),
    ] = field(default_factory=list)
    env: Annotated[dict[str, str], Param("variables added to the inherited environment")] = field(default_factory=dict)
    cwd: Annotated[
        str | None, Param("working directory; default: that of the daemon", aliases=("workdir",), min_length=1)
    ] = None
    stdin: Annotated[FreeText, Param("text for standard input; arrays and objects are sent as JSON")] = ""
    timeout: Annotated[Seconds | None, Param("kill the command after this time; default: shell.timeout")] = None
    shell: Annotated[
        bool, Param("run command as a line of /bin/sh -c; args then go to the last command of the line")
    ] = False
    inherit_env: Annotated[
        bool | list[str],
        Param("false: only PATH, HOME, LANG, LC_*, TZ, TMPDIR of the daemon; a list: only these names"),
    ] = True
    fail_on_nonzero: Annotated[bool, Param("fail the step when the command fails or is killed")] = False
    parse_json: Annotated[bool, Param("answer stdout as a value when it is exactly one JSON document")] = True


class ExecOutput(TypedDict):
    """The output of `shell.exec`."""

    stdout: Annotated[Json, Param("the JSON value that was printed, else the text")]
    stdout_raw: Annotated[str, Param("standard output as text")]
    stderr: Annotated[str, Param("standard error as text")]
    exit_code: Annotated[int, Param("-1 when a signal ended the command")]
    duration_ms: Annotated[int, Param("from start to end", ge=0)]
    killed: Annotated[bool, Param("whether the timeout ended the command")]
    signal: Annotated[str | None, Param("the signal that ended the command, such as SIGKILL, else null")]
    stdout_truncated: Annotated[bool, Param("whether standard output was cut at shell.max_output_bytes")]
    stderr_truncated: Annotated[bool, Param("whether standard error was cut at shell.max_output_bytes")]
