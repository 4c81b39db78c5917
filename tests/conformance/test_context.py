"""The context of a run: there from the start, and an update adds to it."""

from __future__ import annotations

from typing import Any

import pytest

pytestmark = pytest.mark.anyio

CONTEXT = {
    "intent": "close ${{inputs.what}}",
    "notes": "be kind",
    "k": "${{inputs.what}}",
    "list": [1, "${{inputs.what}}"],
}


def update(step_id: str, data: Any = None, **params: Any) -> dict[str, Any]:
    given = {"action": "update", **({} if data is None else {"data": data}), **params}
    return {"id": step_id, "action": "workflow.context", "params": given}


def echo(step_id: str, value: Any, **keys: Any) -> dict[str, Any]:
    return {"id": step_id, "action": "t.echo", "params": {"value": value}, **keys}


READ = {"id": "read", "action": "workflow.context", "params": {"action": "read"}}


@pytest.mark.spec("10.21", "10.26")
@pytest.mark.parametrize("restart", [False, True])
async def test_the_context_of_the_definition_is_there_from_the_first_step_on(house, restart):
    steps = [READ, echo("k", ["${{context.k}}", "${{context.list[1]}}", "${{context.intent}}", "${{context.notes}}"]),
             {"id": "q", "type": "reasoning", "config": {"prompt_context": "?"}}]  # fmt: skip
    async with house.daemon() as daemon:
        result = await house.run(daemon.engine, {"context": CONTEXT, "steps": steps}, {"what": "tickets"})
        engine = await daemon.restart(restart)
        status = await engine.status(result["workflow_id"])
    for record in (status["context"], result["steps"]["read"]["output"]):
        assert (record["original_intent"], record["agent_notes"]) == ("close tickets", "be kind")
        assert record["workflow_id"] == result["workflow_id"]
    assert result["steps"]["k"]["output"] == ["tickets", "tickets", "close tickets", "be kind"]
    (decision,) = status["pending_decisions"]
    assert (decision["context"]["workflow_intent"], decision["context"]["agent_notes"]) == ("close tickets", "be kind")


@pytest.mark.spec("10.21")
@pytest.mark.parametrize("restart", [False, True])
async def test_an_update_merges_data_and_leaves_what_it_does_not_name(house, restart):
    gate = {"id": "gate", "type": "reasoning", "config": {"prompt_context": "?"}}
    steps = [
        update("one", {"a": 1, "b": {"x": 1}}), {**update("two", {"b": {"y": 2}, "c": 3}), "depends_on": ["one"]},
        {**gate, "depends_on": ["two"]}, {**update("notes", agent_notes="be quick"), "depends_on": ["gate"]},
        {**update("three", {"d": "${{context.a}}"}), "depends_on": ["notes"]}, {**READ, "depends_on": ["three"]},
        echo("see", ["${{context.a}}", "${{context.b}}", "${{context.d}}", "${{context.intent}}", "${{context.k}}"],
             depends_on=["three"]),
    ]  # fmt: skip
    async with house.daemon() as daemon:
        run_id = (await house.run(daemon.engine, {"context": CONTEXT, "steps": steps}, {"what": "tickets"}))[
            "workflow_id"
        ]
        engine = await daemon.restart(restart)
        before = (await engine.status(run_id))["context"]
        await engine.signal(run_id, "data", payload={"e": 5})
        ended = await engine.signal(run_id, "decision", payload={"choice": "on"}, reasoning="why not", agent_id="me")
        record = (await engine.status(run_id))["context"]
    assert ended["status"] == "completed", ended.get("error")
    assert before["accumulated_data"] == {"a": 1, "b": {"y": 2}, "c": 3}
    assert (before["original_intent"], before["agent_notes"]) == ("close tickets", "be kind")
    assert record["accumulated_data"] == {"a": 1, "b": {"y": 2}, "c": 3, "d": 1, "e": 5}
    assert (record["original_intent"], record["agent_notes"]) == ("close tickets", "be quick")
    assert [(entry["choice"], entry["reasoning"]) for entry in record["decisions_log"]] == [("on", "why not")]
    assert ended["steps"]["see"]["output"] == [1, {"y": 2}, 1, "close tickets", "tickets"]
    read = ended["steps"]["read"]["output"]
    assert (read["accumulated_data"], read["agent_notes"]) == (record["accumulated_data"], "be quick")


@pytest.mark.spec("10.21")
async def test_a_run_without_a_context_has_a_record_as_well_and_a_child_updates_its_own(house):
    async with house.engine() as engine:
        await engine.define(
            "child", {"steps": [update("u", {"mine": 1}), {**READ, "depends_on": ["u"]}]}, agent_id="me"
        )
        call = {"id": "call", "action": "workflow.run", "params": {"template_name": "child"}}
        result = await house.run(engine, [READ, {**update("u", {"ours": 2}), "depends_on": ["read"]}, call])
        status = await engine.status(result["workflow_id"])
    assert result["steps"]["read"]["output"]["original_intent"] is None
    assert result["steps"]["call"]["output"]["accumulated_data"] == {"mine": 1}
    assert status["context"]["accumulated_data"] == {"ours": 2}
