"""A small vocabulary: the real step types, three actions, and languages that refuse only what holds `((`."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import pytest

import opcode_steps
from opcode_kernel import ExpressionError, References, StepType, find_references
from opcode_kernel.core.validation import Report, validate


@dataclass
class FakeProgram:
    text: str
    references: References

    def evaluate(self, scope: Any) -> Any:
        return None


class FakeEvaluator:
    def __init__(self, name: str) -> None:
        self.name = name

    def compile(self, text: str) -> FakeProgram:
        if "((" in text or not text:
            raise ExpressionError(f"cannot read {text!r}", code="VALIDATION_ERROR")
        return FakeProgram(text, find_references(text, dotted=self.name == "jq"))


@dataclass
class FakeVocabulary:
    step_types: dict[str, StepType]
    evaluators: dict[str, Any] = field(default_factory=lambda: {"cel": FakeEvaluator("cel"), "jq": FakeEvaluator("jq")})
    #: Action name to the names of its params; a param called `url` must be a text.
    actions: dict[str, tuple[str, ...]] = field(
        default_factory=lambda: {
            "http.get": ("url", "headers"),
            "http.post": ("url", "body"),
            "noop": ("a", "b"),
            "calc": ("program",),
        }
    )
    outputs: dict[str, Any] = field(
        default_factory=lambda: {
            "http.post": {
                "type": "object", "additionalProperties": True,
                "properties": {
                    "uuid": {"type": "string"}, "body": {}, "headers": {"type": "object", "additionalProperties": {}},
                    "rows": {"type": "array", "items": {"type": "object", "properties": {"name": {}}}},
                },
            }
        }
    )  # fmt: skip

    def has_action(self, name: str) -> bool:
        return name in self.actions

    def action_names(self) -> Iterable[str]:
        return self.actions

    def check_params(self, action: str, params: Any, dynamic: Callable[[Any], bool]) -> list[tuple[str, str]]:
        wrong = [name for name in ("url",) if name in params and not isinstance(params[name], str)]
        return [(name, "expected a text") for name in wrong if not dynamic(params[name])]

    def unknown_params(self, action: str, params: Any) -> list[str]:
        return sorted(set(params) - set(self.actions[action]))

    def lint(self, action: str, params: Any) -> list[tuple[str, str]]:
        return [("a[0]", "a risky value")] if params.get("a") == ["risky"] else []

    def param_names(self, action: str) -> Iterable[str]:
        return self.actions[action]

    def programs(self, action: str) -> dict[str, str]:
        return {"program": "jq"} if "program" in self.actions[action] else {}

    def output_schema(self, action: str) -> dict[str, Any]:
        return dict(self.outputs.get(action, {}))

    def check_schema(self, schema: Any) -> str | None:
        return "type is no list of types" if schema.get("type") == "nonsense" else None


@pytest.fixture(scope="session")
def words() -> FakeVocabulary:
    return FakeVocabulary({step_type.name: step_type for step_type in opcode_steps.opcode_step_types()})


@pytest.fixture(scope="session")
def check(words: FakeVocabulary) -> Callable[..., Report]:
    """Validate a definition, or a list of steps."""

    def run(definition: Any, **given: Any) -> Report:
        return validate({"steps": definition} if isinstance(definition, list) else definition, words, **given)

    return run
