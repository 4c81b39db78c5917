"""What all signals share: what they carry, whom they mean, that they were accepted, and that they cannot be."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from opcode_kernel.core.messages import Signal
from opcode_kernel.core.node import CANCELLED, Node
from opcode_kernel.core.validation.issues import shown
from opcode_kernel.core.validation.nearness import Suggestions
from opcode_kernel.errors import ConflictError, DefinitionError, Json, NotFoundError

if TYPE_CHECKING:
    from opcode_kernel.core.run import Run

#: What the payload of a signal may hold; that of `data` is free.
PAYLOADS = {
    "decision": ("choice", "data", "reasoning"),
    "cancel": ("reason",),
    "retry": ("reason", "reasoning"),
    "skip": ("output", "reason", "reasoning"),
}
#: What a signal says beside its payload.
_BESIDE = ("workflow_id", "step_id", "agent_id", "signal_type")
#: So many steps are named that a signal could have meant.
_LISTED = 10


def meant(name: Json, known: Iterable[str]) -> tuple[str, dict[str, Json]]:
    """Return the end of a refusal of an unknown name, and what it adds to the details; nothing where none is near."""
    near = Suggestions()(name, lambda: known).meant if isinstance(name, str) else None
    return (f"; did you mean {near!r}?", {"did_you_mean": near}) if near else ("", {})


def check_payload(signal: Signal, options: Sequence[str] = ()) -> None:
    """Refuse a key that the signal does not take: what stands under a misspelt one would be lost for good.

    Raises:
        DefinitionError: with `unknown`, `allowed`, `did_you_mean?` and, of a decision, `options?` in its details.
    """
    allowed = PAYLOADS[signal.type]
    unknown = next((str(key) for key in signal.payload if key not in allowed), None)
    if unknown is None:
        return
    hint, details = ("; it stands beside the payload", {}) if unknown in _BESIDE else meant(unknown, allowed)
    if options:
        hint += f"; the choices are {', '.join(options)}"
        details = {**details, "options": list(options)}
    raise DefinitionError(
        f"expected only {', '.join(allowed)} in the payload of {signal.type}, found {shown(unknown)}{hint}",
        details={"unknown": unknown[:60], "allowed": list(allowed), **details},
    )


def received(run: Run, signal: Signal, node: Node | None, private: dict[str, Json] | None = None) -> None:
    """Write down that a signal was accepted."""
    known = {
        "step_id": node.path if node else signal.step_id, "agent_id": signal.agent_id,
        "payload": signal.payload or None, "reasoning": signal.reasoning,
    }  # fmt: skip
    payload: dict[str, Json] = {"type": signal.type, **{k: v for k, v in known.items() if v is not None}}
    run.emit("signal_received", node, payload, private, signal.agent_id)


def conflict(run: Run, what: str) -> ConflictError:
    """Return the refusal of what the status of the run does not allow."""
    status = run.state.status
    # The code CANCELLED counts as retryable: the same may succeed another time, but never in this run.
    remedy = " and stays so; start a new run instead" if status == CANCELLED else ""
    return ConflictError(
        f"{what} is impossible: the workflow is {status}{remedy}",
        details={"workflow_id": run.state.run_id, "status": status},
    )


def find(run: Run, step_id: str, candidates: list[Node]) -> Node | None:
    """An exact id wins; else the one candidate that ends with it."""
    for node in candidates:
        if node.path == step_id:
            return node
    ending = [node for node in candidates if node.path.endswith(f".{step_id}")]
    if len(ending) > 1:
        paths = sorted(node.path for node in ending)
        raise DefinitionError(
            f"step_id {step_id!r} is ambiguous, use one of {', '.join(paths)}", details={"candidates": paths}
        )
    return ending[0] if ending else None


def listed(candidates: Sequence[Node], what: str) -> tuple[str, list[str]]:
    """Return the steps that a signal would be accepted for, as the end of a refusal and as a list of their first."""
    paths = [node.path for node in candidates[:_LISTED]]
    more = f" and {len(candidates) - _LISTED} more" if len(candidates) > _LISTED else ""
    return (f"; {what} takes {', '.join(paths)}{more}" if paths else f"; no step can take a {what} now"), paths


def no_step(step_id: str, candidates: Sequence[Node], what: str) -> NotFoundError:
    """Return the refusal of a step that the run does not have, with the one that was meant, else those that could be."""
    near = near_step(step_id, candidates)
    if near is not None:
        return NotFoundError(
            f"the workflow has no step {step_id}; did you mean {near!r}?", details={"did_you_mean": near}
        )
    hint, paths = listed(candidates, what)
    return NotFoundError(f"the workflow has no step {step_id}{hint}", details={"candidates": paths})


def near_step(step_id: str, candidates: Sequence[Node]) -> str | None:
    """Return the full id of the step that an unknown full or short id is nearly the one of."""
    names = {node.path: node.path for node in candidates}
    for node in candidates:
        names.setdefault(node.path.rpartition(".")[2], node.path)
    near = Suggestions()(step_id, lambda: names).meant
    return None if near is None else names[near]
