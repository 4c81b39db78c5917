"""The action: check, run, describe the end. A command that fails is a result; a command that cannot start is an error."""

from __future__ import annotations

import signal

import anyio

from opcode_kernel import ActionContext, ActionError, Json, action, process_limits
from opcode_shell.command import build_command
from opcode_shell.lint import lint
from opcode_shell.output import parse_document, to_text
from opcode_shell.params import ExecOutput, ExecParams
from opcode_shell.process import Finished, run_command

#: Text longer than this is parsed in a thread, to keep the event loop free.
_LONG = 262_144
#: How much of each stream an error carries, counted from the end.
_TAIL = 65_536


@action(
    "shell.exec", summary="Run a command and answer its output and exit code", params=ExecParams, output=ExecOutput,
    lint=lint,
)  # fmt: skip
async def execute(ctx: ActionContext, params: ExecParams) -> Json:
    """Run a command under the operator's rules; its exit code is data unless `fail_on_nonzero`."""
    rules = ctx.policy.shell
    command = build_command(params, ctx.policy)
    finished = await run_command(
        ctx.launcher,
        command,
        stdin=params.stdin.encode(errors="replace"),
        time_limit=rules.timeout if params.timeout is None else params.timeout,
        max_output=rules.max_output_bytes,
        limits=process_limits(ctx.policy),
    )
    if finished.survivors:
        ctx.log.warning("a process of the command was killed and does not end", command=command.argv[0])
    result = _describe(finished)
    if finished.oom:
        raise _out_of_memory(command.argv[0], result)
    if params.fail_on_nonzero and result["exit_code"] != 0:
        raise _failed(command.argv[0], result)
    if params.parse_json and not finished.stdout.truncated:
        result["stdout"] = await _parse(result["stdout_raw"])
    return result


def _describe(finished: Finished) -> dict[str, Json]:
    out = to_text(bytes(finished.stdout.data), cut=finished.stdout.truncated)
    code = finished.returncode
    return {
        "stdout": out,
        "stdout_raw": out,
        "stderr": to_text(bytes(finished.stderr.data), cut=finished.stderr.truncated),
        "exit_code": -1 if finished.killed or code < 0 else code,
        "duration_ms": round(finished.seconds * 1000),
        "killed": finished.killed,
        "signal": _signal_name(-code) if code < 0 else None,
        "stdout_truncated": finished.stdout.truncated,
        "stderr_truncated": finished.stderr.truncated,
    }


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"SIG{number}"  # a real-time signal has no name of its own


async def _parse(text: str) -> Json:
    if len(text) <= _LONG:
        return parse_document(text)
    return await anyio.to_thread.run_sync(parse_document, text, limiter=anyio.CapacityLimiter(1))


def _out_of_memory(program: str, result: dict[str, Json]) -> ActionError:
    return ActionError(
        "EXECUTION_ERROR",
        f"expected {program} to do with less memory, the kernel killed it at isolation.max_memory_bytes",
        details={"reason": "oom", **_details(result)},
    )


def _details(result: dict[str, Json]) -> dict[str, Json]:
    details = {name: value for name, value in result.items() if name != "stdout_raw"}
    for stream in ("stdout", "stderr"):
        if len(details[stream]) > _TAIL:
            details[stream] = details[stream][-_TAIL:]
            details[f"{stream}_truncated"] = True
    return details


def _failed(program: str, result: dict[str, Json]) -> ActionError:
    details = _details(result)
    if result["killed"]:
        return ActionError(
            "TIMEOUT_ERROR", f"expected {program} to end in time, killed it after {result['duration_ms']} ms",
            details=details,
        )  # fmt: skip
    found = result["signal"] or f"exit code {result['exit_code']}"
    return ActionError("EXECUTION_ERROR", f"expected {program} to exit with 0, got {found}", details=details)
