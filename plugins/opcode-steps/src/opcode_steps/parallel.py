"""`parallel`: run branches at the same time, all of them or the first to succeed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from opcode_kernel import (
    BlockView,
    Body,
    Compiler,
    Complete,
    ConfigProblem,
    Directive,
    Fail,
    Json,
    Note,
    Open,
    OpenBlock,
    Slot,
    Step,
    StepView,
    Wait,
)  # fmt: skip
from opcode_steps.checks import check_count, check_enum, shown
from opcode_steps.configs import PARALLEL, keys_of


@dataclass(frozen=True, slots=True)
class Branches:
    """The compiled config; `width` is how many branches may run at once."""

    mode: str
    count: int
    width: int


class ParallelStep:
    """Branches are isolated from each other until the step completes."""

    name = "parallel"
    keys = keys_of(PARALLEL)
    config_schema = PARALLEL

    def bodies(self, config: dict[str, Json]) -> Iterator[Body]:
        """Return one list per branch."""
        branches = config.get("branches")
        if isinstance(branches, list):
            for index, steps in enumerate(branches):
                yield Body(f"branch_{index}", f"branches[{index}]", ("branches", index), steps)

    def slots(self, config: dict[str, Json]) -> Iterator[Slot]:
        """Return nothing: there are no expressions here."""
        yield from ()

    def check(self, config: dict[str, Json]) -> Iterator[ConfigProblem]:
        """Check mode, branches and width."""
        yield from check_enum(config, "mode", ("all", "race"))
        yield from check_count(config, "max_concurrency")
        branches = config.get("branches")
        if not isinstance(branches, list) or not branches:
            lists = list(branches.values()) if isinstance(branches, dict) else []
            yield ConfigProblem(
                "branches", f"expected a list with at least one branch, each a list of steps, found {shown(branches)}",
                repair=lists or None,
            )  # fmt: skip
        elif config.get("mode") == "race":
            for index, steps in enumerate(branches):
                if steps == []:
                    yield ConfigProblem(f"branches[{index}]", "an empty branch would win every race; remove it")

    def compile(self, step: Step, compiler: Compiler) -> Branches:
        """Compile every branch."""
        branches = step.config["branches"]
        for index, steps in enumerate(branches):
            compiler.block(f"branch_{index}", steps)
        width = step.config.get("max_concurrency") or len(branches)
        return Branches(step.config.get("mode") or "all", len(branches), width)

    def advance(self, step: StepView) -> Directive:
        """Start branches up to the width, then decide as soon as the mode allows."""
        plan: Branches = step.config
        blocks = step.blocks
        if not blocks:
            started: Note = ("parallel_started", {"mode": plan.mode, "branches": plan.count})
            return Open([_branch(index) for index in range(min(plan.width, plan.count))], notes=[started])
        decided = _race(blocks, plan) if plan.mode == "race" else _all(blocks, plan)
        if decided is not None:
            return decided
        if len(blocks) < plan.count:
            running = sum(not block.ended for block in blocks)
            more = min(plan.width - running, plan.count - len(blocks))
            if more > 0:
                return Open([_branch(len(blocks) + offset) for offset in range(more)])
        return Wait()


def _branch(index: int) -> OpenBlock:
    return OpenBlock(f"branch_{index}", f"branch_{index}")


def _all(blocks: Sequence[BlockView], plan: Branches) -> Directive | None:
    # From the end: branches mostly end in their order, so the last one tells at once that there is more to come.
    if len(blocks) < plan.count or not all(block.ended or block.suspended for block in reversed(blocks)):
        return None
    failed = [index for index, block in enumerate(blocks) if block.failure is not None]
    if failed:
        return _failed(blocks, failed)
    if not all(block.ended for block in reversed(blocks)):
        return None
    return Complete({"mode": "all", "branches": [block.output for block in blocks]}, [("parallel_completed", {})])


def _race(blocks: Sequence[BlockView], plan: Branches) -> Directive | None:
    for index, block in enumerate(blocks):
        if block.ended and block.failure is None:
            output = {"mode": "race", "winner": index, "output": block.output}
            return Complete(output, [("parallel_completed", {"winner": index})])
    if len(blocks) == plan.count and all(block.ended for block in blocks):
        return _failed(blocks, list(range(len(blocks))))
    return None


def _failed(blocks: Sequence[BlockView], failed: list[int]) -> Fail:
    errors: list[Json] = []
    for index in failed:
        failure = blocks[index].failure
        if failure is not None:
            errors.append({"branch": index, **failure.to_json()})
    first = blocks[failed[0]].failure
    assert first is not None
    return Fail(replace(first, details={**first.details, "branch_errors": errors}))
