"""The validation pipeline is wired to everything that stores or starts a workflow."""

from __future__ import annotations

from typing import Any

import pytest

from opcode_kernel import DefinitionError, registry_of
from opcode_kernel.store.base import RunFilter

pytestmark = pytest.mark.anyio


def do(step_id: str, name: str = "t.echo", **keys: Any) -> dict[str, Any]:
    return {"id": step_id, "action": name, **keys}


def of(step_id: str, type: str, **config: Any) -> dict[str, Any]:
    return {"id": step_id, "type": type, "config": config}


#: A definition that no stage may let pass, and where its first error stands. One or more per stage.
REFUSED: list[tuple[Any, str, str]] = [
    (None, "/", "VALIDATION_ERROR"), ([], "/", "VALIDATION_ERROR"), ("steps", "/", "VALIDATION_ERROR"),
    ({}, "steps", "VALIDATION_ERROR"), ({"steps": []}, "steps", "VALIDATION_ERROR"),
    ({"steps": {"id": "a"}}, "steps", "VALIDATION_ERROR"), ({"steps": [7]}, "steps[0]", "VALIDATION_ERROR"),
    ({"steps": [{"action": "t.echo"}]}, "steps[0].id", "VALIDATION_ERROR"),
    ({"steps": [do("a.b")]}, "steps[0].id", "VALIDATION_ERROR"), ({"steps": [do("__a")]}, "steps[0].id", "VALIDATION_ERROR"),
    ({"steps": [do("a"), do("a")]}, "steps[1].id", "VALIDATION_ERROR"),
    ({"steps": [do("a", dependsOn=[])]}, "steps[0].dependsOn", "VALIDATION_ERROR"),
    ({"steps": [do("a", conditon="true")]}, "steps[0].conditon", "VALIDATION_ERROR"),
    ({"steps": [of("l", "loop", over=[1], body=[of("x", "moon")])]}, "steps[0].config.body[0].type", "VALIDATION_ERROR"),
    ({"steps": [{"id": "a"}]}, "steps[0].action", "VALIDATION_ERROR"),
    ({"steps": [do("a", "http.moon")]}, "steps[0].action", "ACTION_UNAVAILABLE"),
    ({"steps": [do("a", depends_on=["b"])]}, "steps[0].depends_on[0]", "VALIDATION_ERROR"),
    ({"steps": [do("a", depends_on=["a"])]}, "steps[0].depends_on[0]", "CYCLE_DETECTED"),
    ({"steps": [do("a", depends_on=["b"]), do("b", depends_on=["a"])]}, "steps", "CYCLE_DETECTED"),
    ({"steps": [do("a", params={"value": "${{steps.b.output}}"}), do("b", depends_on=["a"])]}, "steps", "CYCLE_DETECTED"),
    ({"steps": [do("a", on_error={"strategy": "fallback_step", "fallback_step": "b"}),
                do("b", on_error={"strategy": "fallback_step", "fallback_step": "a"})]},
     "steps[0].on_error.fallback_step", "VALIDATION_ERROR"),
    ({"steps": [do("a", condition="1 +")]}, "steps[0].condition", "VALIDATION_ERROR"),
    ({"steps": [do("a", params={"value": "${{steps.b.output"})]}, "steps[0].params.value", "VALIDATION_ERROR"),
    ({"steps": [do("a", params={"value": "${{moon.b}}"})]}, "steps[0].params.value", "VALIDATION_ERROR"),
    ({"steps": [do("a", params={"value": "${{loop.item}}"})]}, "steps[0].params.value", "VALIDATION_ERROR"),
    ({"steps": [do("a", "assert.equals", params={"expected": 1})]}, "steps[0].params", "VALIDATION_ERROR"),
]  # fmt: skip


@pytest.mark.spec("10.24")
@pytest.mark.parametrize(("definition", "path", "code"), REFUSED)
async def test_what_a_stage_refuses_is_stored_nowhere_and_takes_no_version(house, definition, path, code):
    async with house.engine() as engine:
        assert (await engine.define("t", {"steps": [do("a")]}, agent_id="me"))["version"] == "v1"
        with pytest.raises(DefinitionError) as caught:
            await engine.define("t", definition, agent_id="me")
        found = [(issue["path"], issue["code"]) for issue in caught.value.details["errors"]]
        assert any(
            where == path or where.startswith(f"{path}.") for where, found_code in found if found_code == code
        ), found
        assert all(issue["severity"] == "error" and issue["message"] for issue in caught.value.details["errors"])
        assert (await engine.define("t", {"steps": [do("a")]}, agent_id="me"))["version"] == "v2"


@pytest.mark.spec("10.24")
async def test_a_cycle_is_told_by_its_ids_in_order(house):
    steps = [do("a", depends_on=["c"]), do("b", depends_on=["a"]), do("c", depends_on=["b"]), do("d")]
    async with house.engine() as engine:
        (issue,) = engine.check({"steps": steps}).errors
    cycle = issue.to_json()["details"]["cycle"]
    assert set(cycle) == {"a", "b", "c"}
    position = cycle.index("a")
    ordered = list(cycle[position:] + cycle[:position])
    assert list(dict.fromkeys(ordered)) in (["a", "b", "c"], ["a", "c", "b"])


@pytest.mark.spec("10.24", "10.16")
async def test_a_stored_definition_is_looked_at_again_before_a_run_is_made_of_it(house):
    plugins = [plugin for plugin in house.registry.manager.get_plugins() if plugin.__name__ != "opcode_crypto"]
    async with house.engine() as engine:
        await engine.define("t", {"steps": [do("a", "t.do"), do("b", "crypto.uuid")]}, agent_id="me")
    async with house.engine(registry=registry_of(*plugins)) as engine:
        with pytest.raises(DefinitionError, match=r"crypto\.uuid"):
            await engine.run("t", agent_id="me")
        assert await engine.store.runs(RunFilter()) == ([], 0)
    assert house.effects() == []


@pytest.mark.spec("10.24")
async def test_an_action_of_a_plugin_that_may_come_later_is_a_warning_and_fails_its_step_until_then(house):
    async with house.engine() as engine:
        defined = await engine.define("t", {"steps": [do("a", "moon.walk")]}, agent_id="me")
        assert [(issue["path"], issue["code"]) for issue in defined["warnings"]] == [
            ("steps[0].action", "ACTION_UNAVAILABLE"),
        ]  # fmt: skip
        result = await engine.run("t", agent_id="me")
        assert (result["status"], result["steps"]["a"]["error"]["code"]) == ("failed", "ACTION_UNAVAILABLE")


#: Params that an action refuses whatever the rest is.
WRONG: list[tuple[str, dict[str, Any]]] = [
    ("crypto.hash", {"algorithm": "moon", "data": "x"}), ("http.get", {"url": "http://a.example", "headers": "moon"}),
    ("fs.write", {"path": "x", "content": "x", "create_dirs": "moon"}), ("shell.exec", {"command": "true", "args": "moon"}),
    ("workflow.run", {"template_name": " "}), ("workflow.fail", {"reason": ""}), ("workflow.emit", {"event_type": "a b"}),
    ("workflow.context", {"action": "moon"}), ("workflow.log", {"message": "x", "level": "moon"}),
    ("assert.schema", {"data": 1, "schema": "moon"}), ("workflow.context", {"action": "read", "replace": "moon"}),
]  # fmt: skip
REQUIRED = [
    "assert.equals", "assert.contains", "assert.matches", "assert.schema", "crypto.hash", "crypto.hmac", "expr.eval", "fs.read",
    "fs.write", "http.get", "http.post", "http.request", "shell.exec", "workflow.context", "workflow.emit",
    "workflow.fail", "workflow.log", "workflow.notify", "workflow.run",
]  # fmt: skip


@pytest.mark.spec("10.24", "10.53")
@pytest.mark.parametrize(("action", "params"), WRONG)
async def test_params_are_held_against_the_rules_of_the_action_before_it_runs_and_not_retried(house, action, params):
    given = {key: f"${{{{inputs.{key}}}}}" for key in params}
    step = do("a", action, params=given, retry={"max": 3})
    async with house.engine() as engine:
        result = await house.run(engine, [step], params)
        assert (result["status"], result["steps"]["a"]["error"]["code"]) == ("failed", "VALIDATION_ERROR")
        assert "step_retry_attempt" not in await house.types(engine, result["workflow_id"])
        literal = engine.check({"steps": [do("a", action, params=params)]}).errors
        assert [issue.path for issue in literal if not issue.path.startswith("steps[0].params")] == []
        assert literal


@pytest.mark.spec("10.53")
@pytest.mark.parametrize("action", REQUIRED)
async def test_every_action_with_required_params_checks_them(house, action):
    async with house.engine() as engine:
        found = engine.check({"steps": [do("a", action, params={})]}).errors
        assert [(issue.path, issue.code) for issue in found][:1] == [("steps[0].params", "VALIDATION_ERROR")]


@pytest.mark.spec("10.53")
async def test_emit_takes_the_names_of_the_examples_and_log_takes_any_name(house):
    steps = [
        do("a", "workflow.emit", params={"event": "shipped", "data": {"n": 1}}),
        do("b", "workflow.emit", params={"event_type": "paid", "payload": {"n": 2}}, depends_on=["a"]),
        do("c", "workflow.log", params={"message": "hi", "extra": 1, "order": {"n": 3}}, depends_on=["b"]),
    ]
    async with house.engine() as engine:
        result = await house.run(engine, steps)
        mine = await house.events(engine, result["workflow_id"], "shipped", "paid")
    assert result["status"] == "completed"
    assert [(event["event_type"], event["payload"]) for event in mine] == [("shipped", {"n": 1}), ("paid", {"n": 2})]


GOOD = ["1ns", "1us", "1µs", "500ms", "90s", "1m", "1h30m", "1.5h", "8760h", "1h0.5s"]
BAD = ["", "5", 5, "-1s", "1d", "1 s", "s", "1s2", "8761h", "1e3s", "∞s", "1S", None]
#: Where a duration stands in a step or a definition, whether zero is legal there.
DURATIONS: list[tuple[str, Any, str, bool]] = [
    ("timeout", lambda d: {"steps": [do("a")], "timeout": d}, "timeout", False),
    ("step", lambda d: {"steps": [do("a", timeout=d)]}, "steps[0].timeout", False),
    ("delay", lambda d: {"steps": [do("a", retry={"max": 1, "delay": d})]}, "steps[0].retry.delay", True),
    ("max_delay", lambda d: {"steps": [do("a", retry={"max": 1, "max_delay": d})]}, "steps[0].retry.max_delay", True),
    ("wait", lambda d: {"steps": [of("w", "wait", duration=d)]}, "steps[0].config.duration", True),
    ("ask", lambda d: {"steps": [of("r", "reasoning", prompt_context="?", timeout=d)]}, "steps[0].config.timeout", False),
]  # fmt: skip


@pytest.mark.spec("10.52")
@pytest.mark.parametrize(("name", "make", "path", "zero"), DURATIONS, ids=[row[0] for row in DURATIONS])
async def test_one_grammar_of_durations_holds_everywhere_and_at_define_time(house, name, make, path, zero):
    async with house.engine() as engine:
        for text in [*GOOD, *(["0s"] if zero else [])]:
            assert not engine.check(make(text)).errors, text
        # Null and an empty text mean that the key is absent, which only a wait cannot do without.
        absent = ["", None] if name != "wait" else []
        for text in [*BAD, *([] if zero else ["0s"])]:
            found = [issue.path for issue in engine.check(make(text)).errors]
            assert found == ([] if text in absent else [path]), text


@pytest.mark.spec("10.52")
@pytest.mark.parametrize("text", ["moon", "5", "-1s", "{}"])
async def test_a_duration_that_is_computed_fails_only_its_step(house, text):
    async with house.engine() as engine:
        result = await house.run(engine, [of("w", "wait", duration="${{inputs.d}}")], {"d": text})
        again = await house.run(engine, [of("w", "wait", duration="${{inputs.d}}")], {"d": "1ms"})
    assert (result["status"], result["steps"]["w"]["error"]["code"]) == ("failed", "EXECUTION_ERROR")
    assert again["status"] == "completed"


@pytest.mark.spec("10.27")
@pytest.mark.parametrize(
    ("over", "items"),
    [
        (".inputs.rows[] | select(.n > 1) | .n", [2, 3]), ("[.inputs.rows[].n]", [1, 2, 3]), (".steps.a.output", [7, 8]),
        ("[range(3)]", [0, 1, 2]), ("inputs.rows.filter(r, r.n > 1)", [{"n": 2}, {"n": 3}]),
        ("${{steps.a.output}}", [7, 8]), ("${{inputs.rows}}", [{"n": 1}, {"n": 2}, {"n": 3}]), ([1, "x", None], [1, "x", None]),
        ("inputs.nothing", []), (".inputs.nothing", []), ("[]", []),
    ],
)  # fmt: skip
async def test_a_loop_runs_over_cel_jq_references_and_lists_without_max_iter(house, over, items):
    loop = {**of("l", "loop", over=over, body=[do("x", params={"value": "${{loop.item}}"})]), "depends_on": ["a"]}
    rows = [{"n": 1}, {"n": 2}, {"n": 3}]
    async with house.engine() as engine:
        result = await house.run(engine, [do("a", params={"value": [7, 8]}), loop], {"rows": rows, "nothing": None})
        again = engine.check({"steps": [do("a"), loop]})
    assert result["output"] == {"iterations": len(items), "results": items}
    assert [issue for issue in again.errors + again.warnings if "max_iter" in issue.path] == []


@pytest.mark.spec("10.27")
@pytest.mark.parametrize("over", ["1 +", ".[", "'text'", "{}", "5", "inputs.rows[0]"])
async def test_what_is_neither_language_nor_list_is_refused_or_fails_the_loop(house, over):
    loop = of("l", "loop", over=over, body=[do("x")])
    async with house.engine() as engine:
        report = engine.check({"steps": [loop]})
        if report.errors:
            assert [issue.path for issue in report.errors] == ["steps[0].config.over"]
            return
        result = await house.run(engine, [loop], {"rows": [{"n": 1}]})
    assert (result["status"], result["steps"]["l"]["error"]["code"]) == ("failed", "EXECUTION_ERROR")
