"""Runs inside runs: a pool of one place is enough for any depth, and the depth has an end."""

from __future__ import annotations

from typing import Any

import anyio
import pytest

from opcode_kernel.core.limits import Limits
from opcode_kernel.store.base import RunFilter

pytestmark = pytest.mark.anyio


def call(template: str, **params: Any) -> dict[str, Any]:
    return {"id": "call", "action": "workflow.run", "params": {"template_name": template, "params": params}}


@pytest.mark.spec("11.16", "10.36")
async def test_with_a_single_place_parents_children_and_grandchildren_complete_however_many_there_are(house):
    work = {"id": "work", "action": "t.sleep", "params": {"seconds": 0.001, "value": "${{inputs.n}}"}}
    async with house.engine(pool_size=1) as engine:
        for name, steps in {
            "grandchild": [work], "child": [work, {**call("grandchild", n="${{inputs.n}}"), "depends_on": ["work"]}],
            "parent": [call("child", n="${{inputs.n}}"), {**work, "depends_on": ["call"]}],
        }.items():  # fmt: skip
            await engine.define(name, {"steps": steps, "output": "${{steps.work.output}}"}, agent_id="me")
        results: dict[int, Any] = {}

        async def run(n: int) -> None:
            results[n] = await engine.run("parent", params={"n": n}, agent_id="me")

        with anyio.fail_after(20):
            async with anyio.create_task_group() as tasks:
                for n in range(5):
                    tasks.start_soon(run, n)
        rows, count = await engine.store.runs(RunFilter(limit=100))
    assert [(results[n]["status"], results[n]["output"]) for n in range(5)] == [("completed", n) for n in range(5)]
    assert (count, {row.status for row in rows}) == (15, {"completed"})
    assert house.most == 1


@pytest.mark.spec("11.16", "10.36")
async def test_waits_decisions_and_back_off_hold_no_place_either(house, until):
    steps = [
        {"id": "sleep", "type": "wait", "config": {"duration": "30s"}},
        {"id": "hear", "type": "wait", "config": {"signal": "go"}},
        {"id": "ask", "type": "reasoning", "config": {"prompt_context": "?"}},
        {"id": "again", "action": "t.fail", "retry": {"max": 1, "delay": "1h"}},
        {"id": "fan", "type": "parallel", "config": {"branches": [[{"id": "w", "type": "wait", "config": {"duration": "30s"}}]]}},
    ]  # fmt: skip
    async with house.engine(pool_size=1) as engine:
        run_id = (await house.run(engine, steps, wait=False))["workflow_id"]
        await until(lambda: house.failures["again"])
        with anyio.fail_after(5):
            result = await house.run(engine, [{"id": "a", "action": "t.do"}], name="other")
        assert result["status"] == "completed"
        status = await engine.status(run_id)
        assert {name: row["status"] for name, row in status["steps"].items()} == {
            "sleep": "running", "hear": "suspended", "ask": "suspended", "again": "retrying", "fan": "running",
            "fan.branch_0.w": "running",
        }  # fmt: skip
        await engine.signal(run_id, "cancel")


@pytest.mark.spec("11.16")
@pytest.mark.parametrize("limit", [3, 10])
async def test_a_template_that_calls_itself_stops_at_the_limit_with_the_chain_in_the_details(house, limit):
    async with house.engine(pool_size=1, limits=Limits(sub_workflow_depth=limit)) as engine:
        with anyio.fail_after(20):
            result = await house.run(engine, [call("t")])
        rows, count = await engine.store.runs(RunFilter(limit=100, ascending=True))
    assert result["status"] == "failed"
    assert count == limit + 1, "the run itself and as many inside of it as are allowed"
    assert {row.status for row in rows} == {"failed"}
    refused = deepest(result["steps"]["call"]["error"])
    assert refused["code"] == "VALIDATION_ERROR"
    assert str(limit) in refused["message"]
    assert refused["details"]["chain"] == ["t"] * (limit + 1)


def deepest(error: dict[str, Any]) -> dict[str, Any]:
    """Follow an error down through the children and the wrappers to the one that began it."""
    details = error.get("details") or {}
    inner = details.get("child_error") or details.get("cause")
    return error if inner is None else deepest(inner)


@pytest.mark.spec("11.16")
async def test_a_template_may_call_itself_as_long_as_it_ends_within_the_limit(house):
    steps = [
        {**call("t", n="${{inputs.n}}0"), "condition": "inputs.n.size() < 10"},
        {"id": "own", "action": "t.do", "depends_on": ["call"], "params": {"value": {"below": "${{steps.call.output}}"}}},
    ]  # fmt: skip
    async with house.engine() as engine:
        result = await house.run(engine, steps, {"n": "1"})
    assert result["status"] == "completed", result.get("error")
    output, levels = result["output"], 0
    while output is not None:
        output, levels = output["below"], levels + 1
    assert levels == 10
    assert len(house.effects()) == 10
