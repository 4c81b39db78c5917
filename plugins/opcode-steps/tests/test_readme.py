"""What the README shows works: the smallest step type, and the example."""

import json
import re
from pathlib import Path
from types import ModuleType

import pytest

import opcode_steps
from opcode_kernel.testing import check_plugin

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
TYPES = {step_type.name: step_type for step_type in opcode_steps.opcode_step_types()}


def block_of(language):
    return re.search(rf"```{language}\n(.*?)```", README, re.DOTALL)[1]


@pytest.fixture
def smallest():
    module = ModuleType("readme")
    exec(block_of("python"), module.__dict__)
    module.__doc__ = module.__dict__["__doc__"]
    return module


def test_the_smallest_step_type_passes_the_contract(smallest):
    check_plugin(smallest)


def test_the_smallest_step_type_computes_a_value(smallest, view):
    step_type = smallest.ValueStep()
    directive = step_type.advance(view(step_type, {"of": ["${{ x }}", 2]}, values={"x": {"a": 1}}))
    assert directive.output == [{"a": 1}, 2]
    assert [problem.where for problem in step_type.check({})] == ["of"]


def test_the_example_is_accepted():
    steps = list(json.loads(block_of("json"))["steps"])
    seen = set()
    while steps:
        step = steps.pop()
        step_type = TYPES[step.get("type", "action")]
        config = step.get("config", {})
        assert list(step_type.check(config)) == []
        seen.add(step_type.name)
        for body in step_type.bodies(config):
            steps.extend(body.steps)
    assert seen == set(TYPES)


def test_every_type_and_every_key_is_in_the_table():
    for name, step_type in TYPES.items():
        row = re.search(rf"^\| `{name}` \|.*", README, re.MULTILINE)[0]
        assert all(f"`{key}`" in row for key in step_type.keys)
