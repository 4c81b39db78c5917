"""What all signals share: whom they mean, that they were accepted, and that they cannot be."""

from __future__ import annotations

from typing import TYPE_CHECKING

from opcode_kernel.core.messages import Signal
from opcode_kernel.core.node import CANCELLED, Node
from opcode_kernel.errors import ConflictError, DefinitionError, Json

if TYPE_CHECKING:
    from opcode_kernel.core.run import Run


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
