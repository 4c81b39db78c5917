"""Inputs that a template does not know: remarks with the name that was meant."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

import opcode_cel
import opcode_expr
import opcode_steps
from opcode_kernel.plugin.manager import registry_of
from opcode_kernel.server import tools
from opcode_kernel.server.unknown_inputs import inputs_read, unknown_inputs

REGISTRY = registry_of(opcode_steps, opcode_cel, opcode_expr)
READS = {
    "output": {"all": "${{inputs.total}}"},
    "steps": [
        {"id": "a", "action": "demo", "condition": "inputs.guard > 1", "params": {"x": "${{inputs.who ?? 'you'}}"}},
        {"id": "b", "action": "expr.eval", "params": {"expression": "inputs.program + 1"}},
        {"id": "c", "type": "loop", "config": {"mode": "for_each", "over": "${{inputs.items}}", "body": []}},
    ],
}
NAMES = {"properties": {"who": {}, "n": {}}}


def remarks(schema: Any, given: dict[str, Any], definition: dict[str, Any] = READS) -> dict[str, str]:
    return unknown_inputs(definition, schema, given, lambda: inputs_read(definition, REGISTRY))


def test_what_a_schema_does_not_list_is_remarked_upon():
    assert remarks(NAMES, {"whoo": 1, "n": 2}) == {
        "whoo": "input_schema has no property 'whoo'; did you mean 'who'?",
    }
    assert remarks(NAMES, {"quite_other": 1}, {"inputs": {"n": 1, "m": 2}, "steps": []}) == {
        "quite_other": "input_schema has no property 'quite_other'; known are who, n, m",
    }
    assert len(remarks(NAMES, {f"key_{number}": 1 for number in range(1_000)})) == 5


@pytest.mark.parametrize("more", [{"additionalProperties": True}, {"patternProperties": {"x": {}}}, {"$ref": "#/x"}])
def test_a_schema_that_may_allow_other_names_leaves_them_alone(more):
    assert remarks({**NAMES, **more}, {"whoo": 1}) == {}


@pytest.mark.parametrize("schema", [None, {}, {"type": "object"}])
@pytest.mark.parametrize(
    ("given", "meant"),
    [("whoo", "who"), ("gaurd", "guard"), ("totl", "total"), ("progam", "program"), ("item", "items")],
)
def test_without_listed_names_an_input_that_is_nearly_one_that_is_read_is_remarked_upon(schema, given, meant):
    assert remarks(schema, {given: 1}) == {given: f"nothing reads the input {given!r}; did you mean {meant!r}?"}


@pytest.mark.parametrize("given", [{"moon": 1}, {"whoo": 1, "who": 2}, {"who": 1}, {}])
def test_without_listed_names_any_other_input_may_be_meant(given):
    assert remarks(None, given) == {}


def test_defaults_are_names_as_well():
    assert list(remarks(None, {"colour": 1}, {"inputs": {"color": 1}, "steps": []})) == ["colour"]
    assert remarks(None, {"color": 1}, {"inputs": {"color": 1}, "steps": []}) == {}


@pytest.mark.anyio
async def test_a_run_does_not_look_through_its_workflow_again(monkeypatch: pytest.MonkeyPatch):
    looked: list[Any] = []
    monkeypatch.setattr(tools, "inputs_read", lambda definition, registry: looked.append(definition) or {"who"})
    row = SimpleNamespace(name="t", version=1, definition=READS, input_schema=None)

    async def resolve(name: str, version: str | None) -> Any:
        return SimpleNamespace(row=row)

    engine = SimpleNamespace(library=SimpleNamespace(resolve=resolve), registry=REGISTRY)
    kernel = tools.KernelTools(engine, SimpleNamespace())
    for _ in range(3):
        found = await kernel._unknown_params("t", None, {"whoo": 1})
        assert found == ["params.whoo: nothing reads the input 'whoo'; did you mean 'who'?"]
    assert len(looked) == 1
