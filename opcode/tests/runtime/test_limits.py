"""Every limit of an engine can be lowered, and what exceeds it is refused where the format says (spec 01 section 1.7)."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import pytest

from opcode_kernel import DefinitionError, Limits

pytestmark = pytest.mark.anyio

NOTE: dict[str, Any] = {"id": "a", "action": "fake.pure"}
LOOP: dict[str, Any] = {"id": "l", "type": "loop", "config": {"over": "inputs.xs", "body": [NOTE]}}
WHILE: dict[str, Any] = {
    "id": "l", "type": "loop", "config": {"mode": "while", "condition": "iter.index < inputs.n", "body": [NOTE]},
}  # fmt: skip
SELF: dict[str, Any] = {"id": "a", "action": "workflow.run", "params": {"template_name": "t"}}


def fan(width: int, step: dict[str, Any] = NOTE) -> dict[str, Any]:
    return {"id": "p", "type": "parallel", "config": {"branches": [[step] for _ in range(width)]}}


#: Limit, its value, and two definitions: one at the limit and one beyond it.
DEFINED: list[tuple[str, int, Any, Any]] = [
    ("definition_size", 200, [NOTE], [{**NOTE, "notes": "x" * 200}]),
    ("definition_size", 73, [{**NOTE, "notes": "x" * 19}], [{**NOTE, "notes": "é" * 10}]),
    ("steps_per_list", 2, [{**NOTE, "id": f"s{n}"} for n in range(2)], [{**NOTE, "id": f"s{n}"} for n in range(3)]),
    ("steps_per_list", 2, [fan(3)], [{**LOOP, "config": {"over": "inputs.xs", "body": [{**NOTE, "id": f"s{n}"} for n in range(3)]}}]),
    ("nesting_depth", 1, [fan(1)], [fan(1, fan(1))]),
]  # fmt: skip


@pytest.mark.parametrize(("limit", "value", "at", "beyond"), DEFINED)
async def test_a_definition_beyond_a_limit_is_not_stored(world, limit, value, at, beyond):
    async with world.engine(limits=Limits(**{limit: value})) as engine:
        with pytest.raises(DefinitionError, match="at most") as caught:
            await engine.define("t", {"steps": beyond}, agent_id="me")
        assert caught.value.code == "VALIDATION_ERROR"
        assert world.store._templates == {}
        assert (await engine.define("t", {"steps": at}, agent_id="me"))["version"] == "v1"


async def test_a_definition_stored_under_wider_limits_does_not_run(world):
    async with world.engine() as engine:
        await engine.define("t", {"steps": [fan(1, fan(1))]}, agent_id="me")
    async with world.engine(limits=Limits(nesting_depth=1)) as engine:
        with pytest.raises(DefinitionError, match="at most 1 containers inside each other"):
            await engine.run("t", agent_id="me")
    assert world.store._runs == {}


async def test_params_beyond_the_limit_start_nothing(world):
    async with world.engine(limits=Limits(params_size=20)) as engine:
        await engine.define("t", {"steps": [NOTE], "inputs": {"own": "x" * 100}}, agent_id="me")
        with pytest.raises(DefinitionError, match="at most 20 bytes as JSON, found 21"):
            await engine.run("t", agent_id="me", params={"x": "é" * 6 + "y"})
        assert world.store._runs == {}
        assert (await engine.run("t", agent_id="me", params={"x": "é" * 6}))["status"] == "completed"


async def test_params_of_a_child_beyond_the_limit_start_no_child(world):
    parent = {**SELF, "params": {"template_name": "child", "params": {"x": "${{inputs.x}}"}}}
    async with world.engine(limits=Limits(params_size=100)) as engine:
        await engine.define("child", {"steps": [NOTE]}, agent_id="me")
        await engine.define("t", {"steps": [parent], "inputs": {"x": "x" * 101}}, agent_id="me")
        result = await engine.run("t", agent_id="me")
    assert result["steps"]["a"]["error"]["code"] == "VALIDATION_ERROR"
    assert len(world.store._runs) == 1


#: Limit, its value, steps, inputs at the limit, and inputs beyond it.
RUN: list[tuple[str, int, Any, Any, Any]] = [
    ("step_output_size", 30, [{**NOTE, "params": {"value": "${{inputs.x}}"}}], {"x": "y" * 28}, {"x": "y" * 29}),
    ("loop_iterations", 3, [LOOP], {"xs": [1, 2, 3]}, {"xs": [1, 2, 3, 4]}),
    ("loop_iterations", 3, [WHILE], {"n": 3}, {"n": 4}),
    ("nested_instances", 4, [LOOP], {"xs": [1, 2, 3]}, {"xs": [1, 2, 3, 4, 5]}),
]


@pytest.mark.parametrize(("limit", "value", "steps", "at", "beyond"), RUN)
async def test_a_run_beyond_a_limit_fails_with_an_execution_error(world, limit, value, steps, at, beyond):
    async with world.engine(limits=Limits(**{limit: value})) as engine:
        await engine.define("t", {"steps": steps}, agent_id="me")
        assert (await engine.run("t", agent_id="me", params=at))["status"] == "completed"
        result = await engine.run("t", agent_id="me", params=beyond)
    assert result["status"] == "failed"
    error = result["steps"][steps[0]["id"]]["error"]
    assert error["code"] == "EXECUTION_ERROR"
    assert f"at most {value}" in error["message"]


async def test_runs_inside_runs_stop_at_the_limit(world):
    async with world.engine(limits=Limits(sub_workflow_depth=2)) as engine:
        await engine.define("t", {"steps": [SELF]}, agent_id="me")
        assert (await engine.run("t", agent_id="me"))["status"] == "failed"
    errors = [row.error["details"]["cause"] for row in world.store._runs.values()]
    assert len(errors) == 3
    assert [each["details"]["chain"] for each in errors if "chain" in each["details"]] == [["t"] * 3]


def test_no_limit_goes_without_a_test():
    tested = {row[0] for row in (*DEFINED, *RUN)} | {"params_size", "sub_workflow_depth"}
    assert tested == {limit.name for limit in fields(Limits)}
