"""Contract checks for third parties. Each takes the thing under test, needs no pytest, and raises AssertionError.

import opcode_mine
from opcode_kernel.testing import check_plugin

def test_contract():
    check_plugin(opcode_mine)
"""

from __future__ import annotations

import inspect
import json
import re
from typing import Any

from opcode_kernel.errors import ExpressionError
from opcode_kernel.plugin.action import Action
from opcode_kernel.plugin.manager import registry_of

_ACTION_NAME = re.compile(r"[a-z][a-z0-9_-]*(\.[a-z][a-z0-9_]*)+")


def check_plugin(plugin: Any) -> None:
    """Check everything a plugin module offers: hooks, names, schemas, descriptions, step types and evaluators."""
    registry = registry_of(plugin)
    assert plugin.__doc__, f"{plugin.__name__} needs a docstring: it is what `opcode plugins` shows"
    for action in registry.actions.values():
        check_action(action)
    for step_type in registry.step_types.values():
        check_step_type(step_type)
    for evaluator in registry.evaluators.values():
        check_evaluator(evaluator)
    for _, offered in registry.hooks("opcode_providers"):
        for provider in offered():
            assert inspect.iscoroutinefunction(provider.serve), "a provider needs `async def serve`"
            provider.reconcile(())


def check_action(action: Action) -> None:
    """Check one action: its name, its summary, and that both schemas are JSON Schema with every field described."""
    assert _ACTION_NAME.fullmatch(action.name), f"{action.name!r} must look like family.verb"
    assert action.summary and action.summary[0].isupper(), f"{action.name} needs a summary that starts with a capital"
    assert callable(action.run), f"{action.name} needs a function"
    assert len(inspect.signature(action.run).parameters) == 2, f"{action.name} takes (context, params)"
    described = action.describe()
    json.dumps(described, allow_nan=False)
    from jsonschema import Draft202012Validator

    Draft202012Validator.check_schema(described["input_schema"])
    Draft202012Validator.check_schema(described["output_schema"])
    for name, schema in described["input_schema"].get("properties", {}).items():
        assert schema.get("description"), f"{action.name}: parameter {name!r} needs a description"
    assert described["output_schema"], f"{action.name} must declare its output"


def check_step_type(step_type: Any) -> None:
    """Check that a step type has the shape of `StepType` and survives hostile configs without raising."""
    assert isinstance(step_type.name, str) and step_type.name
    assert isinstance(step_type.keys, frozenset)
    assert set(step_type.config_schema["properties"]) == step_type.keys
    odd: tuple[Any, ...] = (None, 7, "x", [], {})
    hostile: list[dict[str, Any]] = [{}, *({key: value} for key in step_type.keys for value in odd)]
    for config in hostile:
        for body in step_type.bodies(config):
            assert isinstance(body.key, str)
        for slot in step_type.slots(config):
            assert isinstance(slot.language, str)
        for problem in step_type.check(config):
            assert problem.message and problem.severity in ("error", "warning")


def check_evaluator(evaluator: Any) -> None:
    """Check that an evaluator refuses bad text with a typed error and evaluates repeatably."""
    assert isinstance(evaluator.name, str) and evaluator.name
    for text in ("", "(", "1 +"):
        try:
            evaluator.compile(text)
        except ExpressionError as error:
            assert error.code == "VALIDATION_ERROR", f"{text!r} must be refused with VALIDATION_ERROR"
        else:
            raise AssertionError(f"{evaluator.name} accepted {text!r}")
    program = evaluator.compile("1 + 1")
    assert program.evaluate({}) == program.evaluate({}) == 2
