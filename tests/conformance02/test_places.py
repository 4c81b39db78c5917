"""Where references are resolved, where they are refused, what is missing there, and that no secret shows."""

from __future__ import annotations

import json
from typing import Any

import pytest
import structlog
from structlog.testing import capture_logs

from opcode_kernel import DefinitionError, Json
from opcode_kernel.store.base import RunFilter

pytestmark = pytest.mark.anyio

BEFORE = {"id": "s", "action": "probe.take"}
OUTPUT = {"o": {"k": [1, 2]}, "t": "text", "n": 1.0}


def take(value: Json, **more: Any) -> dict[str, Any]:
    return {"id": "e", "action": "probe.take", "params": {"v": value}, **more}


async def asked(world: Any, config: dict[str, Json], inputs: Json = None, **more: Any) -> dict[str, Any]:
    """Run up to a question; returns its context, or the error of the step that should have asked."""
    world.probe.answer = OUTPUT
    ask = {"id": "q", "type": "reasoning", "depends_on": ["s"], "config": {"prompt_context": "Look", **config}}
    async with world.engine() as engine:
        await engine.define("t", {"steps": [BEFORE, ask], **more}, agent_id="me")
        result = await engine.run("t", agent_id="me", params=inputs)
    if "error" in result["steps"]["q"]:
        return dict(result["steps"]["q"]["error"])
    (decision,) = result["pending_decisions"]
    return dict(decision["context"])


# Resolved -------------------------------------------------------------------------------------------------------------


@pytest.mark.spec("10.6")
async def test_params_are_resolved_at_any_depth_of_steps(world: Any) -> None:
    inner = [
        {"id": "a", "action": "probe.take", "params": {"v": "${{loop.item.k}}"}},
        {
            "id": "b",
            "action": "probe.take",
            "params": {"v": ["${{loop.index}}", "${{steps.a.taken}}", "${{loop.parent.item}}"]},
        },
    ]
    loop = {"id": "l", "type": "loop", "config": {"over": "[{'k': 'x'}]", "body": inner}}
    outer = {"id": "o", "type": "loop", "config": {"over": "[7]", "body": [loop]}}
    result = await world.run([{"id": "p", "type": "parallel", "config": {"branches": [[outer]]}}])
    assert result["status"] == "completed", result
    assert [each["v"] for each in world.probe.taken] == ["x", [0, True, 7]]


@pytest.mark.spec("10.6", "15.K10")
async def test_what_is_injected_into_a_question_keeps_its_type(world: Any) -> None:
    inject = {
        "object": "${{steps.s.o}}", "bare": "steps.s.output.o.k", "brackets": "steps['s'].o['k'][1]", "input": "inputs.deep.x",
        "text": "n=${{steps.s.n}}", "words": "see inputs.deep", "number": "${{inputs.deep.x}}", "workflow": "workflow.name",
    }  # fmt: skip
    context = await asked(world, {"data_inject": inject}, {"deep": {"x": 5}}, metadata={"name": "n"})
    assert context["data_inject"] == {
        "object": {"k": [1, 2]}, "bare": [1, 2], "brackets": 2, "input": 5, "text": "n=1", "words": "see inputs.deep",
        "number": 5, "workflow": "n",
    }  # fmt: skip


@pytest.mark.spec("10.6", "15.K10")
async def test_a_question_in_a_loop_sees_the_loop(world: Any) -> None:
    body = [
        {
            "id": "q",
            "type": "reasoning",
            "config": {"prompt_context": "Item ${{loop.index}}", "data_inject": {"a": "loop.item", "b": "iter.item.k"}},
        }
    ]
    async with world.engine() as engine:
        steps = [{"id": "l", "type": "loop", "config": {"over": "[{'k': 1}]", "body": body}}]
        await engine.define("t", {"steps": steps}, agent_id="me")
        (decision,) = (await engine.run("t", agent_id="me"))["pending_decisions"]
    assert decision["context"]["prompt_context"] == "Item 0"
    assert decision["context"]["data_inject"] == {"a": {"k": 1}, "b": 1}


@pytest.mark.spec("10.6")
async def test_an_injected_path_to_nowhere_fails_the_question(world: Any) -> None:
    error = await asked(world, {"data_inject": {"a": "steps.s.nope.x"}})
    assert (error["code"], error["retryable"]) == ("INTERPOLATION_ERROR", False)
    context = await asked(world, {"data_inject": {"a": "no path at all", "b": "steps"}})
    assert context["data_inject"] == {"a": "no path at all", "b": "steps"}


@pytest.mark.spec("10.6", "15.K9")
async def test_inputs_context_output_hooks_and_waits_are_resolved(world: Any) -> None:
    world.probe.answer = {"ran": True}
    definition = {
        "inputs": {"own": "${{workflow.name}}", "token": "${{secrets.P}}"}, "metadata": {"name": "named"},
        "context": {"seen": "${{inputs.own}}"}, "output": {"in": "${{inputs.own}}", "s": "${{steps.s}}"},
        "steps": [
            BEFORE,
            {"id": "w", "type": "wait", "config": {"duration": "${{inputs.pause}}"}},
            take(["${{context.seen}}", "${{inputs.token}}"], depends_on=["s", "w"]),
        ],
        "on_complete": {"id": "done", "action": "probe.take", "params": {"v": ["${{workflow.output.in}}", "${{inputs.own}}"]}},
    }  # fmt: skip
    result = await world.run(definition, {"pause": "1ms"})
    assert (result["status"], result["output"]) == ("completed", {"in": "named", "s": {"ran": True}})
    assert [each.get("v") for each in world.probe.taken] == [None, ["named", "hunter22"], ["named", "named"]]
    definition = {
        "steps": [{"id": "f", "action": "workflow.fail", "params": {"reason": "enough"}}],
        "on_error": {"id": "bad", "action": "probe.take", "params": {"v": "${{workflow.error.message}}"}},
    }
    await world.run(definition)
    assert world.probe.taken[-1] == {"v": "enough"}


@pytest.mark.spec("10.6")
async def test_a_signal_is_waited_for_under_its_resolved_name(world: Any) -> None:
    async with world.engine() as engine:
        wait = {"id": "w", "type": "wait", "config": {"signal": "go-${{inputs.n}}"}}
        await engine.define("t", {"steps": [wait]}, agent_id="me")
        run_id = (await engine.run("t", agent_id="me", params={"n": 7}))["workflow_id"]
        payload = {"signal": "go-7", "data": {"k": 1}}
        assert (await engine.signal(run_id, "data", payload=payload))["status"] == "completed"


@pytest.mark.spec("10.6")
async def test_a_token_that_is_a_whole_expression_is_unwrapped(world: Any) -> None:
    world.probe.answer = {"code": 200, "rows": [1, 2]}
    guarded = {**take(1), "depends_on": ["s"], "condition": "${{steps.s.code != 200}}"}
    choose = {
        "id": "c",
        "type": "condition",
        "depends_on": ["s"],
        "config": {
            "expression": "${{steps.s.code == 200}}",
            "branches": {"true": [{"id": "b", "action": "probe.take"}]},
        },
    }
    loop = {
        "id": "l",
        "type": "loop",
        "depends_on": ["s"],
        "config": {"over": "${{steps.s.output.rows}}", "body": [{"id": "b", "action": "probe.take"}]},
    }
    steps = (await world.run([BEFORE, guarded, choose, loop]))["steps"]
    assert steps["e"]["status"] == "skipped"
    assert steps["c"]["output"]["branch"] == "true"
    assert steps["l"]["output"]["iterations"] == 2


# Refused --------------------------------------------------------------------------------------------------------------


@pytest.mark.spec("10.6")
@pytest.mark.parametrize(
    ("definition", "path"),
    [
        ([{"id": "${{inputs.x}}", "action": "probe.take"}], "steps[0].id"),
        ([BEFORE, {**take(1), "depends_on": ["${{inputs.x}}"]}], "steps[1].depends_on[0]"),
        ([take(1, timeout="${{inputs.x}}")], "steps[0].timeout"),
        ([take(1, retry={"max": "${{inputs.x}}"})], "steps[0].retry.max"),
        ([take(1, retry={"max": 1, "delay": "${{inputs.x}}"})], "steps[0].retry.delay"),
        ([take(1, type="${{inputs.x}}")], "steps[0].type"),
        ([{"id": "s", "action": "${{inputs.x}}"}], "steps[0].action"),
        ({"steps": [BEFORE], "timeout": "${{inputs.x}}"}, "timeout"),
        ({"steps": [BEFORE], "metadata": {"a": {"b": ["${{inputs.x}}"]}}}, "metadata.a.b[0]"),
        ([take(1, metadata={"a": "${{inputs.x}}"})], "steps[0].metadata.a"),
    ],
)
async def test_a_token_where_nothing_is_resolved_is_refused(refused: Any, definition: Json, path: str) -> None:
    problem = await refused(definition)
    assert problem["path"] == path


def loop_over(text: str) -> list[dict[str, Any]]:
    return [{"id": "l", "type": "loop", "config": {"over": text, "body": [take(1)]}}]


@pytest.mark.spec("10.6", "10.7")
@pytest.mark.parametrize(
    ("definition", "path"),
    [
        ([{"id": "q", "type": "reasoning", "config": {"prompt_context": "${{secrets.P}}"}}], "steps[0].config.prompt_context"),
        ([{"id": "q", "type": "reasoning", "config": {"prompt_context": "x", "data_inject": {"a": "secrets.P"}}}],
         "steps[0].config.data_inject.a"),
        ([{"id": "q", "type": "reasoning", "config": {"prompt_context": "x", "options": [{"id": "a", "description": "${{secrets.P}}"}]}}],
         "steps[0].config.options[0].description"),
        ([{"id": "w", "type": "wait", "config": {"duration": "${{secrets.P}}"}}], "steps[0].config.duration"),
        ([{"id": "w", "type": "wait", "config": {"signal": "x-${{secrets.P}}"}}], "steps[0].config.signal"),
        (loop_over("${{secrets.P}}"), "steps[0].config.over"),
        ([take(1, condition="secrets.P == 'x'")], "steps[0].condition"),
        ({"steps": [BEFORE], "output": "${{secrets.P}}"}, "output"),
        ({"steps": [BEFORE], "context": {"a": "${{secrets.P}}"}}, "context.a"),
    ],
)  # fmt: skip
async def test_a_secret_is_refused_where_its_value_would_be_stored(refused: Any, definition: Json, path: str) -> None:
    assert (await refused(definition))["path"] == path


# Missing --------------------------------------------------------------------------------------------------------------

SCHEMA = {"properties": {"maybe": {"type": "string"}, "given": {}, "filled": {"default": "f"}}, "required": ["given"]}


@pytest.mark.spec("10.5")
async def test_an_optional_input_that_was_not_given_is_null_alone_and_nothing_inside_a_text(taken: Any) -> None:
    value = [
        "${{inputs.maybe}}",
        "<${{inputs.maybe}}>",
        "${{inputs.maybe ?? 1}}",
        "${{inputs.maybe | text}}",
        "${{inputs.filled}}",
    ]
    assert await taken(value, inputs={"given": 1}, input_schema=SCHEMA) == [None, "<>", 1, "", "f"]


@pytest.mark.spec("10.5")
async def test_for_expressions_it_stays_absent(world: Any) -> None:
    steps = [{**take(1), "condition": "has(inputs.maybe)"}]
    result = await world.run(steps, {"given": 1}, input_schema=SCHEMA)
    assert result["steps"]["e"]["status"] == "skipped"


@pytest.mark.spec("10.5")
async def test_a_step_that_was_skipped_or_ignored_reads_as_nothing(world: Any) -> None:
    off = {"id": "off", "action": "probe.take", "condition": "false"}
    lost = {
        "id": "lost",
        "action": "assert.equals",
        "params": {"expected": 1, "actual": 2},
        "on_error": {"strategy": "ignore"},
    }
    value = [
        "${{steps.off.output}}",
        "<${{steps.off.output}}>",
        "${{steps.lost}}",
        "<${{steps.lost.output}}>",
        "${{steps.off.status}}",
        "${{steps.off.x ?? 'd'}}",
    ]
    await world.run([off, lost, take(value, depends_on=["off", "lost"])])
    assert world.probe.taken[-1]["v"] == [None, "<>", None, "<>", "skipped", "d"]
    error = (await world.run([off, take("${{steps.off.x}}", depends_on=["off"])]))["steps"]["e"]["error"]
    assert (error["code"], error["details"]["reason"]) == ("INTERPOLATION_ERROR", "step_skipped")


@pytest.mark.spec("10.5")
@pytest.mark.parametrize(
    ("template", "details"),
    [
        ("${{steps.s.nope}}", {"available_fields": ["n", "o", "t"]}), ("${{inputs.nope}}", {"available_fields": ["a", "b"]}),
        ("${{steps.s.o.nope}}", {"available_fields": ["k"]}), ("${{context.nope}}", {"available_fields": ["agent_id", "c"]}),
    ],
)  # fmt: skip
async def test_what_is_missing_tells_what_is_there(world: Any, template: str, details: dict[str, Json]) -> None:
    world.probe.answer = OUTPUT
    steps = [
        BEFORE, {"id": "e", "action": "probe.take"},
        {"id": "c", "type": "condition", "depends_on": ["s", "e"], "config": {"expression": "true", "branches": {
            "true": [{"id": "x", "action": "probe.take", "params": {"v": template}}]}}},
    ]  # fmt: skip
    result = await world.run({"steps": steps, "context": {"c": 1}}, {"a": 1, "b": 2})
    error = result["steps"]["c.true.x"]["error"]
    assert error["details"] == {"expression": template[3:-2], **details}


@pytest.mark.spec("10.5", "10.7")
async def test_no_error_lists_the_names_of_secrets(taken: Any) -> None:
    error = await taken("${{secrets.Q}}")
    assert error["details"] == {
        "cause": {"code": "NOT_FOUND", "message": error["details"]["cause"]["message"]},
        "secret": "Q",
    }
    assert not any(key.startswith("available") for key in error["details"])


@pytest.mark.spec("10.5")
async def test_a_reference_to_a_step_that_does_not_come_before_is_named_when_it_is_defined(
    refused: Any, warned: Any
) -> None:
    problem = await refused([take("${{steps.nobody.output}}")])
    assert "expected the id of a step" in problem["message"]
    body = [
        {"id": "a", "action": "probe.take", "params": {"v": "${{steps.b.output}}"}},
        {"id": "b", "action": "probe.take"},
    ]
    (warning,) = await warned([{"id": "l", "type": "loop", "config": {"over": "[1]", "body": body}}])
    assert "runs after this step" in warning["message"]


# Secrets --------------------------------------------------------------------------------------------------------------


@pytest.mark.spec("10.7", "18.11")
async def test_a_secret_shows_nowhere_once_it_was_used(world: Any) -> None:
    structlog.reset_defaults()
    world.probe.answer = {"echo": "hunter22", "hunter22": 1}
    child = {"steps": [{"id": "e", "action": "probe.take", "params": {"v": "${{inputs.p}}"}}]}
    steps = [
        {"id": "s", "action": "probe.take", "params": {"v": "${{secrets.P}}"}},
        {"id": "log", "action": "workflow.log", "params": {"message": "m ${{secrets.P}}", "data": "${{secrets.P}}"}},
        {"id": "emit", "action": "workflow.emit", "params": {"event": "my.event", "data": {"k": "${{secrets.P}}"}}},
        {"id": "keep", "action": "workflow.context", "params": {"action": "update", "data": {"k": "${{secrets.P}}"}}},
        {"id": "tell", "action": "workflow.notify", "params": {"message": "${{secrets.P}}"}},
        {"id": "eval", "action": "expr.eval", "params": {"expression": "data + '!'", "data": "${{secrets.P}}"}},
        {"id": "run", "action": "workflow.run", "params": {"template_name": "child", "params": {"p": "x${{secrets.P}}"}}},
        {"id": "eq", "action": "assert.equals", "params": {"expected": "x", "actual": "${{secrets.P}}"},
         "on_error": {"strategy": "ignore"}},
        {"id": "bad", "action": "fs.read", "params": {"path": "/nonexistent/${{secrets.P}}"}, "on_error": {"strategy": "ignore"}},
        {"id": "e", "action": "probe.take", "params": {"v": "${{steps.s.echo}}"}},
    ]  # fmt: skip
    chained = [{**step, "depends_on": [steps[n - 1]["id"]]} if n else step for n, step in enumerate(steps)]
    with capture_logs() as records:
        async with world.engine() as engine:
            await engine.define("child", child, agent_id="me")
            await engine.define("t", {"steps": chained}, agent_id="me")
            result = await engine.run("t", agent_id="me")
            everything = [result, await engine.status(result["workflow_id"], include=["steps", "events", "context"])]
            everything += [await engine.status(row.id) for row in (await engine.store.runs(RunFilter(limit=100)))[0]]
    assert result["status"] == "completed", result
    assert [each["v"] for each in world.probe.taken] == ["hunter22", "xhunter22", "***"]
    assert "hunter22" not in json.dumps(everything, default=repr)
    assert "hunter22" not in repr(records)
    assert any(record["event"] == "m ***" for record in records)
    assert result["steps"]["eval"]["output"] == {"result": "***!"}


@pytest.mark.spec("10.7")
async def test_a_secret_reaches_no_expression(world: Any) -> None:
    with pytest.raises(DefinitionError):
        await world.run([take(1, condition="has(secrets.P)")])
    for expression in ("secrets?.P", "$env['secrets']", "secrets"):
        assert await world.call("expr.eval", {"expression": expression}) == {"result": None}
