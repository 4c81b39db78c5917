"""What `define` refuses and what it only warns of: every row of the table of issues, by severity, code and path."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import Any

import pytest

from opcode_kernel import DefinitionError, NotFoundError
from opcode_kernel.store.base import RunFilter

pytestmark = pytest.mark.anyio

A: dict[str, Any] = {"id": "a", "action": "t.echo"}
B: dict[str, Any] = {"id": "b", "action": "t.echo"}
INVALID, CYCLE, UNAVAILABLE = "VALIDATION_ERROR", "CYCLE_DETECTED", "ACTION_UNAVAILABLE"


def a(**keys: Any) -> dict[str, Any]:
    return {**A, **keys}


def made(kind: str, defaults: dict[str, Any], config: dict[str, Any]) -> dict[str, Any]:
    """Return a step of a type; a config key that is given as None is left out."""
    return {"id": "c", "type": kind, "config": {k: v for k, v in {**defaults, **config}.items() if v is not None}}


def condition(**config: Any) -> dict[str, Any]:
    return made("condition", {"expression": "inputs.x", "branches": {"true": [A]}}, config)


def loop(**config: Any) -> dict[str, Any]:
    return made("loop", {"over": "inputs.xs", "body": [A]}, config)


def parallel(**config: Any) -> dict[str, Any]:
    return made("parallel", {"branches": [[A]]}, config)


def wait(**config: Any) -> dict[str, Any]:
    return made("wait", {}, config)


def ask(**config: Any) -> dict[str, Any]:
    return made("reasoning", {"prompt_context": "Go?"}, config)


def rescue(name: Any) -> dict[str, Any]:
    return {"strategy": "fallback_step", "fallback_step": name}


CIRCLE = [a(depends_on=["c"]), {**B, "depends_on": ["a"]}, {**A, "id": "c", "depends_on": ["b"]}]
MUTUAL = [a(on_error=rescue("b")), {**B, "on_error": rescue("a")}]

#: Definition (a list is its steps), code, path.
ERRORS: list[tuple[Any, str, str]] = [
    (None, INVALID, "/"), ("text", INVALID, "/"), (5, INVALID, "/"),
    ({}, INVALID, "steps"), ([], INVALID, "steps"), ({"steps": {}}, INVALID, "steps"),
    ([{"action": "t.echo"}], INVALID, "steps[0].id"), ([a(id="")], INVALID, "steps[0].id"),
    ([a(id="a.b")], INVALID, "steps[0].id"), ([a(id="a b")], INVALID, "steps[0].id"), ([A, A], INVALID, "steps[1].id"),
    ([loop(body=[A, A])], INVALID, "steps[0].config.body[1].id"),
    ([parallel(branches=[[A], [A, A]])], INVALID, "steps[0].config.branches[1][1].id"),
    ([a(type="teleport")], INVALID, "steps[0].type"),
    ([condition(branches={"prod": [a(type="nope")]})], INVALID, "steps[0].config.branches[prod][0].type"),
    ([condition(default=[a(type="nope")])], INVALID, "steps[0].config.default[0].type"),
    ([loop(body=[B, a(type="nope")])], INVALID, "steps[0].config.body[1].type"),
    ([parallel(branches=[[A], [a(type="nope")]])], INVALID, "steps[0].config.branches[1][0].type"),
    ({"steps": [A], "on_complete": {**B, "type": "nope"}}, INVALID, "on_complete.type"),
    ([{"id": "a"}], INVALID, "steps[0].action"), ([loop(body=[{"id": "a"}])], INVALID, "steps[0].config.body[0].action"),
    *[([a(action=f"{name}.teleport")], UNAVAILABLE, "steps[0].action")
      for name in ("http", "fs", "shell", "crypto", "assert", "expr", "workflow")],
    ({"steps": [A], "on_error": {**B, "action": "http.teleport"}}, UNAVAILABLE, "on_error.action"),
    ([a(params=[])], INVALID, "steps[0].params"), ([a(params="x")], INVALID, "steps[0].params"),
    *[([a(action="http.get", params=params)], INVALID, "steps[0].params") for params in ({}, {"url": "http://x", "headers": 5})],
    ([a(depends_on=["zz"])], INVALID, "steps[0].depends_on[0]"),
    ([a(depends_on=["b", "b"]), B], INVALID, "steps[0].depends_on[1]"),
    ([loop(body=[a(depends_on=["b"]), B])], INVALID, "steps[0].config.body[0].depends_on[0]"),
    ([B, loop(body=[a(depends_on=["b"])])], INVALID, "steps[1].config.body[0].depends_on[0]"),
    ([a(depends_on=["a"])], CYCLE, "steps[0].depends_on[0]"), (CIRCLE, CYCLE, "steps"),
    ([a(params={"v": "${{steps.b.output}}"}), {**B, "depends_on": ["a"]}], CYCLE, "steps"),
    ([a(on_error={})], INVALID, "steps[0].on_error.strategy"),
    ([a(on_error={"strategy": "explode"})], INVALID, "steps[0].on_error.strategy"),
    ([a(on_error={"strategy": "fallback_step"})], INVALID, "steps[0].on_error.fallback_step"),
    ([a(on_error=rescue("zz"))], INVALID, "steps[0].on_error.fallback_step"),
    ([a(on_error=rescue("a"))], INVALID, "steps[0].on_error.fallback_step"),
    (MUTUAL, INVALID, "steps[0].on_error.fallback_step"),
    ([loop(body=[a(on_error=rescue("zz"))])], INVALID, "steps[0].config.body[0].on_error.fallback_step"),
    ([loop(body=[a(on_error=rescue("a"))])], INVALID, "steps[0].config.body[0].on_error.fallback_step"),
    ([loop(body=MUTUAL)], INVALID, "steps[0].config.body[0].on_error.fallback_step"),
    *[([a(retry={"max": 1, key: value})], INVALID, f"steps[0].retry.{key}") for key, value in [
        ("max", -1), ("max", "1"), ("max", 1.5), ("backoff", "cubic"), ("delay", "soon"), ("delay", 5), ("delay", "-1s"),
        ("max_delay", "1d"), ("jitter", "yes")]],
    ([a(retry={})], INVALID, "steps[0].retry.max"),
    *[([a(timeout=value)], INVALID, "steps[0].timeout") for value in ("0s", "-5s", "5", 5, "1d", "8761h", "soon")],
    *[({"steps": [A], "timeout": value}, INVALID, "timeout") for value in ("0s", "5", 5, "1d", "8761h")],
    ({"steps": [A], "on_timeout": "panic"}, INVALID, "on_timeout"),
    *[([{"id": "c", "type": kind}], INVALID, "steps[0].config")
      for kind in ("condition", "loop", "parallel", "wait", "reasoning")],
    ([{"id": "c", "type": "wait", "config": []}], INVALID, "steps[0].config"),
    ([loop(mode="sideways")], INVALID, "steps[0].config.mode"), ([parallel(mode="some")], INVALID, "steps[0].config.mode"),
    ([condition(expression=None)], INVALID, "steps[0].config.expression"),
    ([condition(expression="((")], INVALID, "steps[0].config.expression"),
    *[([loop(mode=mode, over=None, max_iter=3, condition=test)], INVALID, "steps[0].config.condition")
      for mode in ("while", "until") for test in (None, "((")],
    ([loop(over=None)], INVALID, "steps[0].config.over"), ([loop(over="((")], INVALID, "steps[0].config.over"),
    ([loop(body=[])], INVALID, "steps[0].config.body"), ([loop(body=None)], INVALID, "steps[0].config.body"),
    ([condition(branches={})], INVALID, "steps[0].config.branches"),
    ([parallel(branches=[])], INVALID, "steps[0].config.branches"),
    ([parallel(mode="race", branches=[[A], []])], INVALID, "steps[0].config.branches[1]"),
    ([wait()], INVALID, "steps[0].config.duration"), ([wait(duration="soon")], INVALID, "steps[0].config.duration"),
    ([wait(signal="")], INVALID, "steps[0].config.signal"), ([wait(signal=5)], INVALID, "steps[0].config.signal"),
    ([ask(prompt_context="")], INVALID, "steps[0].config.prompt_context"),
    ([ask(prompt_context="${{secrets.K}}")], INVALID, "steps[0].config.prompt_context"),
    ([ask(options="yes")], INVALID, "steps[0].config.options"),
    ([ask(options=[{"id": "x"}], fallback="y")], INVALID, "steps[0].config.fallback"),
    ([ask(data_inject={"k": "secrets.K"})], INVALID, "steps[0].config.data_inject.k"),
    ([ask(data_inject={"k": "${{secrets.K}}"})], INVALID, "steps[0].config.data_inject.k"),
    ([a(params={"x": ["${{"]})], INVALID, "steps[0].params.x[0]"),
    ([a(params={"x": "${{planets.y}}"})], INVALID, "steps[0].params.x"),
    ([a(params={"x": {"y": "${{steps.zz.output}}"}})], INVALID, "steps[0].params.x.y"),
    ([a(params={"x": "${{loop.item}}"})], INVALID, "steps[0].params.x"),
    ([a(condition="steps.zz.ok")], INVALID, "steps[0].condition"), ([a(condition="((")], INVALID, "steps[0].condition"),
    ({"steps": [A], "context": {"k": "${{secrets.K}}"}}, INVALID, "context.k"),
    *[({"steps": [A], hook: step}, INVALID, f"{hook}.type") for hook in ("on_complete", "on_error")
      for step in ({**ask(), "id": "h"}, {**wait(signal="s"), "id": "h"})],
    ({"steps": [A], "on_complete": A}, INVALID, "on_complete.id"),
    *[({"steps": [A], key: 5}, INVALID, key) for key in ("inputs", "context", "metadata")],
    ([a(dependsOn=[])], INVALID, "steps[0].dependsOn"), ([a(conditon="true")], INVALID, "steps[0].conditon"),
]  # fmt: skip

#: Definition, the `input_schema` if it matters, code, paths.
WARNINGS: list[tuple[Any, Any, str, list[str]]] = [
    ([a(action="acme.do")], None, UNAVAILABLE, ["steps[0].action"]),
    ([a(retry={"max": 11})], None, INVALID, ["steps[0].retry.max"]),
    ({"steps": [{**ask(timeout="3h"), "timeout": "1h"}], "timeout": "2h"}, None, INVALID,
     ["steps[0].config.timeout", "steps[0].config.timeout"]),
    *[({"steps": [A], hook: {**B, "depends_on": ["a"]}}, None, INVALID, [f"{hook}.depends_on"])
      for hook in ("on_complete", "on_error")],
    ([A, {**B, "params": {"v": "${{steps.a.output}}"}}], None, INVALID, ["steps[1].params.v"]),
    ([A, {**B, "condition": "steps.a.ok"}], None, INVALID, ["steps[1].condition"]),
    *[([loop(mode=mode, over=None, condition="iter.index < 3")], None, INVALID, ["steps[0].config.max_iter"])
      for mode in ("while", "until")],
    ([a(config={"x": 1})], None, INVALID, ["steps[0].config"]),
    ([{**wait(duration="1s"), "params": {"x": 1}}], None, INVALID, ["steps[0].params"]),
    *[([{**step, "retry": {"max": 1}}], None, INVALID, ["steps[0].retry"]) for step in (wait(duration="1s"), ask())],
    *[([condition(branches={"x": [A], key: []})], None, INVALID, [f"steps[0].config.branches[{key}]"])
      for key in ("a.b", "default")],
    ([condition(expression="inputs.x > 1", branches={"true": [], "yes": []})], None, INVALID,
     ["steps[0].config.branches[yes]"]),
    ([a(params={"v": "${{inputs.user}}"})], {"properties": {"name": {}}}, INVALID, ["inputs.user"]),
    ([a(colour="red")], None, INVALID, ["steps[0].colour"]),
]  # fmt: skip


def shaped(definition: Any) -> Any:
    return {"steps": definition} if isinstance(definition, list) else definition


@pytest.mark.spec("11.20", "10.24", "10.52")
async def test_each_error_of_the_table_is_refused_with_its_code_and_path_and_nothing_is_stored(house):
    wrong: list[Any] = []
    async with house.engine() as engine:
        for definition, code, path in ERRORS:
            try:
                await engine.define("t", shaped(definition), agent_id="me")
            except DefinitionError as error:
                found = [(each["severity"], each["code"], each["path"]) for each in error.details["errors"]]
                if found != [("error", code, path)] or error.details["error_count"] != 1:
                    wrong.append((definition, (code, path), found))
            else:
                wrong.append((definition, (code, path), "accepted"))
        assert wrong == []
        assert await engine.store.templates() == []
        assert (await engine.define("t", {"steps": [A]}, agent_id="me"))["version"] == "v1"


@pytest.mark.spec("11.20")
async def test_each_warning_of_the_table_is_answered_by_define_and_does_not_block(house):
    wrong: list[Any] = []
    async with house.engine() as engine:
        for number, (definition, schema, code, paths) in enumerate(WARNINGS, 1):
            answer = await engine.define("t", shaped(definition), agent_id="me", input_schema=schema)
            found = [(each["severity"], each["code"], each["path"]) for each in answer.get("warnings", [])]
            if found != [("warning", code, path) for path in paths] or answer["version"] != f"v{number}":
                wrong.append((definition, (code, paths), found))
    assert wrong == []


@pytest.mark.spec("11.20")
async def test_steps_that_no_root_leads_to_are_named_in_a_warning_beside_the_cycle(house):
    steps = [*CIRCLE, {**A, "id": "z", "depends_on": ["c"]}]
    async with house.engine() as engine:
        with pytest.raises(DefinitionError) as caught:
            await engine.define("t", {"steps": steps}, agent_id="me")
    details = caught.value.details
    assert [(each["path"], each["severity"]) for each in details["warnings"]] == [("steps[z]", "warning")]
    cycle = details["errors"][0]["details"]["cycle"]
    start = cycle.index("a")
    assert cycle[start:] + cycle[:start] in (["a", "b", "c"], ["a", "c", "b"])


@pytest.mark.spec("11.20")
async def test_several_errors_are_counted_and_stand_in_the_order_of_the_document(house):
    definition = [a(action="http.teleport"), {**B, "depends_on": ["zz"]}, {**A, "id": "c", "timeout": "1h"}]
    async with house.engine() as engine:
        with pytest.raises(DefinitionError) as caught:
            await engine.define("t", shaped(definition), agent_id="me")
        with pytest.raises(DefinitionError) as single:
            await engine.define("t", shaped(definition[:1]), agent_id="me")
    details = caught.value.details
    assert [each["path"] for each in details["errors"]] == ["steps[0].action", "steps[1].depends_on[0]"]
    assert (details["error_count"], details["warning_count"], details["warnings"]) == (2, 0, [])
    assert caught.value.message == "validation failed with 2 errors"
    assert single.value.message == single.value.details["errors"][0]["message"]


def rows(house: Any, table: str) -> int:
    with closing(sqlite3.connect(house.database)) as connection:
        return int(connection.execute(f"select count(*) from {table}").fetchone()[0])


@pytest.mark.spec("11.20", "10.16")
async def test_a_run_that_is_refused_before_it_starts_creates_no_row(house):
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
    async with house.engine() as engine:
        await engine.define("t", {"steps": [A]}, agent_id="me", input_schema=schema)
        for name, version, params, error in [
            ("nobody", None, None, NotFoundError), ("t", "v7", None, NotFoundError), ("t", "seven", None, DefinitionError),
            ("t", None, None, DefinitionError), ("t", None, {"n": "x"}, DefinitionError),
            ("t", None, {"n": 1, "__x": 1}, DefinitionError),
        ]:  # fmt: skip
            with pytest.raises(error):
                await engine.run(name, version=version, params=params, agent_id="me")
        with pytest.raises(DefinitionError) as caught:
            await engine.run("t", params={"n": "x"}, agent_id="me")
        assert caught.value.details["violations"] == [caught.value.details["violations"][0]]
        assert caught.value.details["violations"][0].startswith("/n: ")
        assert await engine.store.runs(RunFilter()) == ([], 0)
    assert [rows(house, table) for table in ("runs", "steps", "events", "decisions")] == [0, 0, 0, 0]


@pytest.mark.spec("10.16")
@pytest.mark.parametrize("broken", [{"timeout": "soon"}, {"steps": CIRCLE}, {"steps": [a(action="http.teleport")]}])
async def test_a_stored_definition_that_is_no_longer_valid_is_refused_before_a_row_exists(house, broken):
    """The database may be older than the rules: a run checks again what `define` once let in."""
    async with house.engine() as engine:
        await engine.define("t", {"steps": [A]}, agent_id="me")
        await engine.store.save_template(
            (await engine.store.template("t"))._replace(definition={"steps": [A], **broken})
        )
    async with house.engine() as engine:
        with pytest.raises(DefinitionError):
            await engine.run("t", agent_id="me")
    assert [rows(house, table) for table in ("runs", "steps", "events")] == [0, 0, 0]
