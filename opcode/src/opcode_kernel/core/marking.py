"""What is known about the steps of the top level before any run of them: which are fallbacks, which need no decision."""

from __future__ import annotations

from typing import TYPE_CHECKING

from opcode_kernel.core.commands import RunAction

if TYPE_CHECKING:
    from opcode_kernel.core.plan import BlockPlan, StepPlan


def mark(plans: list[StepPlan], index: dict[str, int]) -> None:
    """Fill in what follows from all of the steps together; their dependencies are known already."""
    _mark_fallbacks(plans, index)
    fallbacks = any(plan.is_fallback for plan in plans)
    for plan in plans:
        plan.first = _first_command(plan)
        plan.leaf = not plan.dependents and not fallbacks


def _first_command(plan: StepPlan) -> RunAction | None:
    """Return what `tasks.command_of` will, for a plain step: it depends on nothing in the run."""
    if not plan.plain or plan.call is None or plan.action is None:
        return None
    params = plan.call.params.value
    return RunAction(f"{plan.id}#1", plan.id, plan.action, plan.binding, params, [], 1, 1, plan.timeout, plan.immediate)


def _mark_fallbacks(plans: list[StepPlan], index: dict[str, int]) -> None:
    """Mark the top-level steps that run only as fallbacks, and where each of them can be triggered."""
    guarded: dict[int, set[int]] = {}
    for top in plans:
        for step, block in _under(top):
            name = step.on_error.fallback_step if step.on_error else None
            if name and (block is None or name not in block.index) and name in index:
                guarded.setdefault(index[name], set()).add(top.index)
    for position, triggers in guarded.items():
        plans[position].is_fallback = True
        plans[position].guarded = tuple(sorted(triggers))


def _under(top: StepPlan) -> list[tuple[StepPlan, BlockPlan | None]]:
    found: list[tuple[StepPlan, BlockPlan | None]] = [(top, None)]
    for step, _ in found:
        for body in step.bodies.values():
            found.extend((nested, body) for nested in body.steps)
    return found
