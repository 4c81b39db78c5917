"""`condition`: evaluate an expression and run the branch it names."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal

from opcode_kernel import (
    Body,
    Compiler,
    Complete,
    ConfigProblem,
    Directive,
    ExpressionError,
    Fail,
    Json,
    Note,
    Open,
    OpenBlock,
    Program,
    Slot,
    Step,
    StepView,
    Wait,
    canonical_text,
    json_type,
)  # fmt: skip
from opcode_steps.checks import check_text, shown
from opcode_steps.configs import CONDITION, keys_of

_QUOTED = re.compile(r"'(?:\\.|[^'\\])*'" r'|"(?:\\.|[^"\\])*"')
#: Longer expressions are not looked at.
_LONG = 2_000
#: What stands in the innermost brackets.
_NESTED = re.compile(r"\([^()\[\]{}]*\)|\[[^()\[\]{}]*\]|\{[^()\[\]{}]*\}")
_TEST = re.compile(r"==|!=|<|>|&&|\|\||\sin\s")


@dataclass(frozen=True, slots=True)
class Branches:
    """The compiled config: the test, and for each branch key whether it has steps."""

    expression: str
    program: Program
    filled: dict[str, bool]
    has_default: bool


class ConditionStep:
    """Runs one of several nested lists. The chosen key is recorded once and never recomputed."""

    name = "condition"
    keys = keys_of(CONDITION)
    config_schema = CONDITION

    def bodies(self, config: dict[str, Json]) -> Iterator[Body]:
        """Return one list per branch key, and the default."""
        branches = config.get("branches")
        if isinstance(branches, dict):
            for key, steps in branches.items():
                yield Body(f"branch:{key}", f"branches[{key}]", ("branches", key), steps)
        if config.get("default") is not None:
            yield Body("default", "default", ("default",), config["default"])

    def slots(self, config: dict[str, Json]) -> Iterator[Slot]:
        """Return the expression."""
        if isinstance(config.get("expression"), str) and config["expression"].strip():
            yield Slot("expression", "cel", config["expression"])

    def check(self, config: dict[str, Json]) -> Iterator[ConfigProblem]:
        """Check that there is a test and somewhere to go."""
        yield from check_text(config, "expression")
        branches, default = config.get("branches"), config.get("default")
        if branches is None and default:
            yield ConfigProblem(
                "branches", "expected an object of branch key to list of steps, found nothing; write {} where all goes to "
                "the default", repair={},
            )  # fmt: skip
            return
        if not isinstance(branches, dict) or not (branches or default):
            yield ConfigProblem(
                "branches",
                f"expected an object of branch key to list of steps, or {{}} and a default, found {shown(branches)}",
            )
            return
        for key in branches:
            if key == "default" or "." in key:
                yield ConfigProblem(
                    f"branches[{key}]", f"the branch key {key!r} makes nested ids ambiguous; rename it", "warning"
                )
        boolean = {"true", "false"}
        if boolean & set(branches) or yields_boolean(config.get("expression")):
            for key in sorted(set(branches) - boolean):
                yield ConfigProblem(
                    f"branches[{key}]", f"{key!r} can never be produced by an expression that yields true or false",
                    "warning",
                )  # fmt: skip

    def compile(self, step: Step, compiler: Compiler) -> Branches:
        """Compile the test and every branch."""
        branches = step.config.get("branches") or {}
        default = step.config.get("default") or []
        for key, steps in branches.items():
            compiler.block(f"branch:{key}", steps)
        if default:
            compiler.block("default", default)
        text = step.config["expression"]
        filled = {key: bool(steps) for key, steps in branches.items()}
        return Branches(text, compiler.expression(text), filled, bool(default))

    def advance(self, step: StepView) -> Directive:
        """Choose a branch, wait for it, and pass on its last output."""
        if not step.blocks:
            return self._choose(step)
        block = step.blocks[0]
        if block.failure is not None:
            return Fail(block.failure)
        return Complete({"branch": block.key, "output": block.output}) if block.ended else Wait()

    def _choose(self, step: StepView) -> Directive:
        config: Branches = step.config
        key = branch_key(step.evaluate(config.program), config.expression)
        matched = key in config.filled
        payload: dict[str, Json] = {"expression": config.expression, "result": key}
        notes: list[Note] = [("condition_evaluated", payload)]
        if not matched and not config.has_default:
            return Complete({"branch": key, "skipped": True}, notes)
        branch = payload["branch"] = key if matched else "default"
        if matched and not config.filled[key]:
            return Complete({"branch": key}, notes)
        # A branch may be called `default` too; the prefix of the body tells it from the default list.
        return Open([OpenBlock(f"branch:{key}" if matched else "default", branch)], notes=notes)


def yields_boolean(expression: Json) -> bool:
    """Tell whether an expression is a test on its face: it compares or combines, and chooses nothing.

    >>> yields_boolean("inputs.n > 3"), yields_boolean("!inputs.ok"), yields_boolean("inputs.n > 3 ? 'a' : 'b'")
    (True, True, False)
    """
    if not isinstance(expression, str) or len(expression) > _LONG:
        return False
    text = _QUOTED.sub("''", expression)
    while (flat := _NESTED.sub("_", text)) != text:
        text = flat
    return "?" not in text and (_TEST.search(text) is not None or text.lstrip().startswith("!"))


def branch_key(value: Json, expression: str = "") -> str:
    """Turn the result of a condition into a branch key (spec 01 section 3.4).

    >>> branch_key(True), branch_key(3.0), branch_key(1500000), branch_key(None), branch_key(1e21)
    ('true', '3', '1500000', 'null', '1000000000000000000000')
    """
    if isinstance(value, dict | list):
        raise ExpressionError(
            f"expected a text, number, boolean or null to choose a branch by, found {json_type(value)}",
            details={"expression": expression},
        )
    if isinstance(value, float) and value.is_integer():
        return f"{Decimal(repr(value)) + 0:.0f}"  # no exponent, however large
    return canonical_text(value)
