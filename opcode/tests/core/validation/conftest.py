"""A small vocabulary: the real step types, three actions, and languages that refuse only what holds `((`."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import pytest

import opcode_steps
from opcode_kernel import DefinitionError, ExpressionError, References, StepType, find_references
from opcode_kernel.core.place import at, locate, pointer_text
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

    schemas: dict[str, Any] = field(default_factory=dict)

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

    def param_schema(self, action: str) -> dict[str, Any]:
        return dict(self.schemas.get(action, {}))

    def check_schema(self, schema: Any) -> DefinitionError | None:
        if schema.get("type") != "nonsense":
            return None
        return DefinitionError("type is no list of types", details={"pointer": "/type", "did_you_mean": "null"})


@pytest.fixture(scope="session")
def words() -> FakeVocabulary:
    return FakeVocabulary({step_type.name: step_type for step_type in opcode_steps.opcode_step_types()})


#: What is given along with a definition: patches of it begin with its name.
BESIDE = ("input_schema", "output_schema", "triggers")


def patched(document: Any, *patches: Any) -> Any:
    """Apply `add`, `remove`, `replace` and `move` of RFC 6902 to a copy; what they name has to be there."""
    document = {"": copy.deepcopy(document)}
    for step in [step for patch in patches for step in patch or ()]:
        value = copy.deepcopy(step.get("value"))
        if step["op"] == "move":
            value = _taken(*_owner(document, step["from"]))
        holder, key = _owner(document, step["path"])
        if step["op"] == "remove":
            _taken(holder, key)
        elif step["op"] == "replace":
            assert key in holder if isinstance(holder, dict) else key < len(holder), step
            holder[key] = value
        elif isinstance(holder, list):
            holder.insert(key, value)
        else:
            holder[key] = value
    return document[""]


def _owner(document: Any, pointer: str) -> tuple[Any, Any]:
    tokens = [token.replace("~1", "/").replace("~0", "~") for token in pointer.split("/")]
    for token in tokens[:-1]:
        document = document[int(token) if isinstance(document, list) else token]
    return document, int(tokens[-1]) if isinstance(document, list) else tokens[-1]


def _taken(holder: Any, key: Any) -> Any:
    return holder.pop(key)


def pointer_of(document: Any, path: str) -> str:
    """Read a dotted path; the published one of a step that never runs has its id in the brackets."""
    if path == "/":
        return ""
    for index, step in enumerate(document["steps"] if isinstance(document.get("steps"), list) else ()):
        if isinstance(step, dict) and path == f"steps[{step.get('id')}]":
            return f"/steps/{index}"
    return pointer_text(locate(document, path))


def hold_promises(definition: Any, beside: dict[str, Any], found: Report, again: Callable[[Any], Report]) -> None:
    """What every issue promises: one place in two spellings, a patch that works alone and with all, a word that is new."""
    document = {**definition, **beside} if isinstance(definition, dict) else definition
    issues = [*found.errors, *found.warnings]
    assert len(issues) < 100, "look at so many with plain_check"
    for issue in issues:
        assert pointer_of(document, issue.path) == issue.pointer, issue
        there = at(document, issue.place.tokens)
        assert issue.did_you_mean is None or there is None or issue.did_you_mean not in (there, issue.place.tokens[-1])
        if issue.patch:
            left = again(patched(document, issue.patch))
            assert issue.to_json() not in [each.to_json() for each in (*left.errors, *left.warnings)], issue
    left = again(patched(document, *(issue.patch for issue in issues)))
    said = [each.to_json() for each in (*left.errors, *left.warnings)]
    assert [issue for issue in issues if issue.patch and issue.to_json() in said] == []


@pytest.fixture(name="patched", scope="session")
def patched_fixture() -> Callable[..., Any]:
    return patched


@pytest.fixture(scope="session")
def plain_check(words: FakeVocabulary) -> Callable[..., Report]:
    """Validate as `check` does, and look at nothing twice: for what is huge or timed."""

    def run(definition: Any, **given: Any) -> Report:
        return validate({"steps": definition} if isinstance(definition, list) else definition, words, **given)

    return run


@pytest.fixture(scope="session")
def check(words: FakeVocabulary) -> Callable[..., Report]:
    """Validate a definition, or a list of steps; whatever is found keeps the promises that every issue makes."""

    def run(definition: Any, **given: Any) -> Report:
        definition = {"steps": definition} if isinstance(definition, list) else definition
        found = validate(definition, words, **given)
        if isinstance(definition, dict) and found.errors + found.warnings:
            beside = {key: value for key, value in given.items() if key in BESIDE and value is not None}

            def again(document: Any) -> Report:
                more = {key: document[key] for key in beside}
                own = {key: value for key, value in document.items() if key not in beside}
                return validate(own, words, **{**given, **more})

            hold_promises(definition, beside, found, again)
        return found

    return run
