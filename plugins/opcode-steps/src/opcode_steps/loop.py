"""`loop`: run a body for each item of a list, while a test holds, or until it does."""

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
    ExpressionError,
    Fail,
    Failure,
    InterpolationError,
    Json,
    Note,
    OpcodeError,
    Open,
    OpenBlock,
    Program,
    Slot,
    Step,
    StepView,
    Template,
    Wait,
    json_type,
)  # fmt: skip
from opcode_steps.checks import check_count, check_enum, check_steps, check_text, has_reference, is_given, shown
from opcode_steps.configs import LOOP, keys_of
from opcode_steps.sizes import cut, within

#: Bytes of an item that events show.
_SHOWN_ITEM = 4_096
_MODES = ("for_each", "while", "until")


@dataclass(frozen=True, slots=True)
class LoopPlan:
    """The compiled config. `over` is a program, a template, or None for `while` and `until`."""

    mode: str
    over: Program | Template | None
    condition: Program | None
    condition_text: str
    max_iter: int | None


class LoopStep:
    """Iterations run one after another, each in a block of its own. The list of a `for_each` is frozen at the start."""

    name = "loop"
    keys = keys_of(LOOP)
    config_schema = LOOP

    def bodies(self, config: dict[str, Json]) -> Iterator[Body]:
        """Return the body."""
        if config.get("body") is not None:
            yield Body("body", "body", ("body",), config["body"], loops=True)

    def slots(self, config: dict[str, Json]) -> Iterator[Slot]:
        """Return the list expression or the test."""
        if config.get("over") is not None:
            yield Slot("over", "over", config["over"])
        if isinstance(config.get("condition"), str) and config["condition"].strip():
            yield Slot("condition", "cel", config["condition"], own_iteration=True)

    def check(self, config: dict[str, Json]) -> Iterator[ConfigProblem]:
        """Check mode, source, test and limits."""
        yield from check_enum(config, "mode", _MODES)
        yield from check_steps(config, "body")
        yield from check_count(config, "max_iter")
        mode = config.get("mode") or "for_each"
        if mode == "for_each":
            over = config.get("over")
            if not isinstance(over, list) and not (isinstance(over, str) and over.strip()):
                yield ConfigProblem("over", f"expected an expression or a list to iterate over, found {shown(over)}")
        elif mode in _MODES:
            yield from check_text(config, "condition")
            if config.get("max_iter") is None:
                yield ConfigProblem(
                    "max_iter", "without max_iter this loop ends only by its condition, or with an error after as "
                    "many iterations as the engine allows", "warning",
                )  # fmt: skip
        unused = "condition" if mode == "for_each" else "over"
        if mode in _MODES and is_given(config.get(unused)):
            yield ConfigProblem(unused, f"{unused} has no effect in a loop of mode {mode}; remove it", "warning")

    def compile(self, step: Step, compiler: Compiler) -> LoopPlan:
        """Compile source, test and body."""
        config = step.config
        mode = config.get("mode") or "for_each"
        compiler.block("body", config["body"])
        if mode == "for_each":
            return LoopPlan(mode, _source(config["over"], compiler), None, "", config.get("max_iter"))
        condition = config["condition"]
        return LoopPlan(mode, None, compiler.expression(condition), condition, config.get("max_iter"))

    def advance(self, step: StepView) -> Directive:
        """Close the iteration that ended, then start the next one or complete."""
        plan: LoopPlan = step.config
        blocks = step.blocks
        notes: list[Note] = []
        if blocks:
            last = blocks[-1]
            if last.failure is not None:
                return Fail(_with_progress(last.failure, len(blocks) - 1))
            if not last.ended:
                return Wait()
            notes.append(("loop_iter_completed", _iteration(last, step.memo)))
        if plan.mode == "for_each":
            return self._for_each(step, plan, blocks, notes)
        return self._tested(step, plan, blocks, notes)

    def _for_each(self, step: StepView, plan: LoopPlan, blocks: Sequence[BlockView], notes: list[Note]) -> Directive:
        memo = step.memo
        fresh = memo is None
        if fresh:
            memo = _freeze(_items(step, plan), plan, step.limits.loop_iterations)
        items = memo["items"]
        index = len(blocks)
        if index == len(items):
            extra: dict[str, Json] = {"truncated": True, "total": memo["total"]} if "total" in memo else {}
            return _complete(blocks, notes, extra)
        notes.append(("loop_iter_started", {"iteration": index, "item": _shown(items[index])}))
        block = OpenBlock("body", f"iter_{index}", index, items[index])
        return Open([block], memo=memo if fresh else None, notes=notes)

    def _tested(self, step: StepView, plan: LoopPlan, blocks: Sequence[BlockView], notes: list[Note]) -> Directive:
        index = len(blocks)
        if plan.mode == "while" or index:
            try:
                done = _test(step, plan, blocks) is (plan.mode == "until")
            except OpcodeError as error:  # not let through: the notes of the iteration that ended would be lost
                return Fail(_with_progress(Failure.of(error), index), notes)
            if done:
                return _complete(blocks, notes, {})
        if plan.max_iter is not None and index >= plan.max_iter:
            return _complete(blocks, notes, {"max_iter_reached": True})
        most = step.limits.loop_iterations
        if index >= most:
            return Fail(_with_progress(_too_many(index + 1, most), index), notes)
        notes.append(("loop_iter_started", {"iteration": index}))
        return Open([OpenBlock("body", f"iter_{index}", index)], notes=notes)


def _source(over: Json, compiler: Compiler) -> Program | Template:
    """Read `over` as validation reads it: `${{ }}` is a reference, or if it is none the wrapping of an expression."""
    if isinstance(over, str) and not has_reference(over):
        return compiler.expression(over, "over")
    try:
        return compiler.template(over)
    except InterpolationError:
        if not isinstance(over, str):
            raise
        return compiler.expression(over, "over")


def _test(step: StepView, plan: LoopPlan, blocks: Sequence[BlockView]) -> bool:
    """Evaluate the condition: `while` looks at the iteration about to run, `until` at the one just finished."""
    assert plan.condition is not None
    index = len(blocks) if plan.mode == "while" else len(blocks) - 1
    holds = step.evaluate_test(plan.condition, index, blocks[-1].output if blocks else None)
    if not isinstance(holds, bool):
        raise ExpressionError(
            f"expected the {plan.mode} condition to yield true or false, found {json_type(holds)}",
            details={"expression": plan.condition_text},
        )
    return holds


def _items(step: StepView, plan: LoopPlan) -> list[Json]:
    source = plan.over
    assert source is not None
    value = step.resolve(source) if isinstance(source, Template) else step.evaluate_list(source)
    if value is None:
        return []
    if not isinstance(value, list):
        raise ExpressionError(f"expected a list or null to iterate over, found {json_type(value)}")
    return value


def _freeze(items: list[Json], plan: LoopPlan, most: int) -> dict[str, Json]:
    kept = items if plan.max_iter is None else items[: plan.max_iter]
    if len(kept) > most:
        raise ExpressionError(_too_many(len(kept), most).message)
    return {"items": kept} if len(kept) == len(items) else {"items": kept, "total": len(items)}


def _too_many(count: int, most: int) -> Failure:
    return Failure(
        "EXECUTION_ERROR", f"expected at most {most} iterations, found {count}; split the work or set max_iter",
        retryable=False,
    )  # fmt: skip


def _complete(blocks: Sequence[BlockView], notes: list[Note], extra: dict[str, Json]) -> Complete:
    payload: dict[str, Json] = {"iterations": len(blocks)}
    if extra.get("truncated"):
        payload["truncated"] = True
    notes.append(("loop_completed", payload))
    return Complete({"iterations": len(blocks), "results": [block.output for block in blocks], **extra}, notes)


def _iteration(block: BlockView, memo: Json) -> dict[str, Json]:
    payload: dict[str, Json] = {"iteration": block.index}
    if memo is not None and block.index is not None:
        payload["item"] = _shown(memo["items"][block.index])
    return payload


def _shown(item: Json) -> Json:
    """Cut a large item: events are read by agents, and the item itself is kept apart."""
    return cut(item, _SHOWN_ITEM) if isinstance(item, str) else within(item, _SHOWN_ITEM)


def _with_progress(failure: Failure, completed: int) -> Failure:
    return replace(failure, details={**failure.details, "completed_iterations": completed})
