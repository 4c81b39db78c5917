"""How a run is shown to a person: a line for each thing that happens, then its steps, its output and its error.

Values are shown exactly. What does not fit is cut with `…`, and a line says where all of it is to be had.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from opcode_kernel.errors import Failure, Json
from opcode_kernel.server.commands.common import cut, one_line, readable_text, table

if TYPE_CHECKING:
    from opcode_kernel.core.events import Event

#: Characters of a step's result, of an error on a line of progress, and of an output that is one line.
_RESULT, _REMARK, _OUTPUT = 60, 300, 2000

#: Statuses of steps that have a duration.
_RAN = ("completed", "failed")

#: Event types worth a line while the run goes on.
_LINES = {
    "step_started": "start",
    "step_completed": "done",
    "step_failed": "failed",
    "step_skipped": "skip",
    "step_ignored": "ignore",
    "step_retrying": "retry",
    "step_suspended": "wait",
    "decision_requested": "ask",
}

#: What every record of a step has beside the fields it was given.
_COMMON = frozenset({"workflow_id", "step_id", "agent_id", "level", "time", "event"})


def tell(run_id: str, events: Sequence[Event]) -> None:
    """Write a line for each event that ends or starts something."""
    for event in events:
        word = _LINES.get(event.type)
        if word is not None:
            sys.stderr.write(f"{word:<6} {event.step_id}{_remark(event.payload or {})}\n")


def tell_record(record: Mapping[str, Any]) -> bool:
    """Write what a step logs as a line; False where a record is not of a step."""
    from opcode_kernel.runtime.redaction import open_redactors

    if not {"workflow_id", "step_id"} <= record.keys():
        return False
    level = "" if record["level"] == "info" else f"{record['level']}: "
    fields = {key: value for key, value in record.items() if key not in _COMMON}
    more = f"  {one_line(fields)}" if fields else ""
    line = f"log    {record['step_id']}  {level}{one_line(record['event'])}{more}"
    for redactor in open_redactors():
        line = redactor.text(line)  # a step masks its records itself, but not what is made of several fields
    sys.stderr.write(f"{line}\n")
    return True


def _remark(payload: dict[str, Json]) -> str:
    """Return what there is to say beside the name of the step: why it failed, or how long it took."""
    if payload.get("error"):
        code = f"[{payload['code']}] " if payload.get("code") else ""
        return f"  {code}{cut(first_line(str(payload['error'])), _REMARK)}"
    return f"  {payload['duration_ms']} ms" if payload.get("duration_ms") is not None else ""


def first_line(message: str) -> str:
    """Return the first line of a message, with `…` where others follow: those are shown once, at the end."""
    first, *others = message.strip().splitlines() or [""]
    return readable_text(first.rstrip()) + (" …" if others else "")


def render(result: dict[str, Json]) -> str:
    """Return a result as a table of steps, what their errors say beyond it, the output, the error, and the status."""
    steps: dict[str, Any] = result.get("steps") or {}
    error = str(Failure.from_json(result["error"])) if result.get("error") else ""
    texts = {step_id: _result(steps[step_id]) for step_id in in_tree_order(steps)}
    rows = [
        (step_id, steps[step_id]["status"], _milliseconds(steps[step_id]), cut(text, _RESULT))
        for step_id, text in texts.items()
    ]
    parts = [table(("STEP", "STATUS", "MS", "RESULT"), rows), *_long_errors(steps, error)] if rows else []
    whole = {step_id for step_id in steps if _message(steps[step_id]) and _message(steps[step_id]) in error}
    is_cut = any(len(text) > _RESULT for step_id, text in texts.items() if step_id not in whole)
    if (output := result.get("output")) is not None:
        lines = isinstance(output, str) and "\n" in output
        text = readable_text(output) if lines else one_line(output)
        parts.append(f"output:\n{text}" if lines else f"output: {cut(text, _OUTPUT)}")
        is_cut = is_cut or (len(text) > _OUTPUT and not lines)
    if is_cut:
        parts.append("(… stands for more; --json shows all of it)")
    if error:
        parts.append(f"error: {readable_text(error)}")
    parts.append(f"{result['status']} ({result['workflow_id']})")
    return "\n".join(parts)


def in_tree_order(paths: Iterable[str]) -> list[str]:
    """Return full step ids with those of nested steps below their container, else in the order given.

    >>> in_tree_order(["all", "end", "all.branch_0.a", "all.branch_1.b", "all.branch_0.c"])
    ['all', 'all.branch_0.a', 'all.branch_0.c', 'all.branch_1.b', 'end']
    """
    places: dict[str, list[int]] = {}
    seen: dict[str, int] = {}
    for path in paths:
        parts = path.split(".")
        prefixes = (".".join(parts[: n + 1]) for n in range(len(parts)))
        places[path] = [seen.setdefault(prefix, len(seen)) for prefix in prefixes]
    return sorted(places, key=places.__getitem__)


def _result(step: dict[str, Any]) -> str:
    """Return what came of a step, on one line: its output, or the code and the first line of its error."""
    if isinstance(step.get("error"), dict):
        return f"[{step['error'].get('code')}] {first_line(_message(step))}"
    return one_line(step["output"]) if "output" in step else ""


def _message(step: dict[str, Any]) -> str:
    return str(step["error"].get("message")) if isinstance(step.get("error"), dict) else ""


def _long_errors(steps: dict[str, Any], error: str) -> list[str]:
    """Return the errors of several lines that the one of the run does not hold, such as those that were ignored."""
    said, found = error, []
    for step_id in in_tree_order(steps):
        message = _message(steps[step_id])
        if "\n" in message.strip() and message not in said:
            said += f"\0{message}"
            found.append(f"{step_id}: {readable_text(message)}")
    return found


def _milliseconds(step: dict[str, Any]) -> str:
    """Return how long a step took; an answer leaves out what is less than one millisecond."""
    ran = step["status"] in _RAN or step.get("ignored")
    return str(step.get("duration_ms", 0 if ran else ""))
