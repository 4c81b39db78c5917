"""Stand-ins for what the core hands to a step type, so that `advance` can be tested as the pure function it is."""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from opcode_kernel import Failure, InterpolationError, Limits, References, Step, Template, canonical_text

_TOKEN = re.compile(r"\$\{\{\s*(.*?)\s*\}\}")


@dataclass
class FakeProgram:
    """An expression that is its own name: the view knows what it yields."""

    text: str
    language: str
    references: References = field(default_factory=References)

    def evaluate(self, scope: Any) -> Any:
        raise AssertionError("a step type asks its view, never the program")


@dataclass
class FakeBlock:
    """One nested list; by default it ended well and yielded nothing."""

    key: str = "b"
    index: int | None = None
    ended: bool = True
    failure: Failure | None = None
    suspended: bool = False
    output: Any = None


@dataclass
class FakeView:
    """A `StepView` over plain data. `values` says what each expression, and each reference, yields or raises."""

    config: Any
    values: dict[str, Any] = field(default_factory=dict)
    blocks: list[FakeBlock] = field(default_factory=list)
    memo: Any = None
    arrived: dict[str, Any] = field(default_factory=dict)
    attempt: int = 1
    limits: Limits = field(default_factory=Limits)
    completed: dict[str, Any] = field(default_factory=dict)
    surroundings: dict[str, Any] = field(default_factory=dict)
    microseconds: int = 0
    #: The (index, last) of every loop test that was asked for.
    tests: list[tuple[int, Any]] = field(default_factory=list)

    def evaluate(self, program: FakeProgram) -> Any:
        return self._value(program.text)

    def evaluate_list(self, program: FakeProgram) -> Any:
        return self._value(program.text)

    def evaluate_test(self, program: FakeProgram, index: int, last: Any) -> Any:
        self.tests.append((index, last))
        value = self._value(program.text)
        return value(index, last) if callable(value) else value

    def resolve(self, template: Template) -> Any:
        return template.resolve(self)

    def outputs(self) -> dict[str, Any]:
        return self.completed

    def context(self) -> dict[str, Any]:
        return self.surroundings

    def waited(self) -> int:
        return self.microseconds

    def _value(self, text: str) -> Any:
        value = self.values[text]
        if isinstance(value, Exception):
            raise value
        return value


class FakeCompiler:
    """A `Compiler` that remembers what it compiled."""

    def __init__(self) -> None:
        self.blocks: dict[str, Any] = {}

    def expression(self, text: str, language: str = "cel") -> FakeProgram:
        return FakeProgram(text, language)

    def template(self, value: Any) -> Template:
        for token in _TOKEN.findall(value) if isinstance(value, str) else ():
            if "(" in token:
                raise InterpolationError(f"cannot read the reference {token!r}")
        return Template(lambda view: _resolved(value, view), (), constant=False)

    def params(self, step: Step) -> Template:
        return self.template(step.params)

    def block(self, key: str, steps: Any) -> None:
        self.blocks[key] = steps


def _resolved(value: Any, view: Any) -> Any:
    if isinstance(value, dict):
        return {key: _resolved(item, view) for key, item in value.items()}
    if isinstance(value, list):
        return [_resolved(item, view) for item in value]
    if not isinstance(value, str):
        return value
    whole = _TOKEN.fullmatch(value)
    if whole:
        return view._value(whole[1])
    return _TOKEN.sub(lambda match: canonical_text(view._value(match[1])), value)


def make_view(step_type: Any, config: dict[str, Any], /, **view: Any) -> FakeView:
    """Compile a config as the core does and return a view of a step that has it."""
    refused = [problem for problem in step_type.check(config) if problem.severity == "error"]
    assert not refused, refused
    step = Step(id="s", type=step_type.name, config=config)
    return FakeView(step_type.compile(step, FakeCompiler()), **view)


@pytest.fixture
def view() -> Callable[..., FakeView]:
    return make_view


@pytest.fixture
def block() -> type[FakeBlock]:
    return FakeBlock


@pytest.fixture
def compiler() -> FakeCompiler:
    return FakeCompiler()
