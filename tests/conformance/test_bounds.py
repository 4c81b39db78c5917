"""Every bound that the contract names holds to the byte, and what is kept in memory stays within its number."""

from __future__ import annotations

import gc
from typing import Any
from uuid import uuid4

import pytest

from opcode_kernel import DefinitionError, MemoryStore
from opcode_kernel.core.limits import Limits
from opcode_kernel.server.queries import query
from opcode_kernel.store.base import RunFilter

pytestmark = pytest.mark.anyio


def do(step_id: str, name: str = "t.echo", **keys: Any) -> dict[str, Any]:
    return {"id": step_id, "action": name, **keys}


def of(step_id: str, type: str, **config: Any) -> dict[str, Any]:
    return {"id": step_id, "type": type, "config": config}


def deep(levels: int) -> dict[str, Any]:
    step = do("x")
    for level in range(levels):
        step = of(f"c{level}", "condition", expression="true", branches={"true": [step]})
    return step


def padded(size: int) -> dict[str, Any]:
    """Return a definition of exactly so many bytes."""
    definition = {"steps": [{"id": "a", "action": "t.echo", "params": {"value": ""}}]}
    definition["steps"][0]["params"] = {
        "value": "x" * (size - len('{"steps":[{"id":"a","action":"t.echo","params":{"value":""}}]}'))
    }
    return definition


def alive(name: str) -> int:
    """Count the objects of a class."""
    gc.collect()
    return sum(type(each).__name__ == name for each in gc.get_objects())


@pytest.mark.spec("10.56")
def test_the_defaults_are_those_of_the_contract():
    limits = Limits()
    assert (limits.definition_size, limits.params_size, limits.step_output_size) == (2**20, 2**20, 8 * 2**20)
    assert (limits.steps_per_list, limits.nesting_depth, limits.sub_workflow_depth) == (1000, 16, 10)
    assert (limits.loop_iterations, limits.nested_instances) == (10_000, 100_000)


@pytest.mark.spec("10.56")
@pytest.mark.parametrize(
    ("fits", "exceeds"),
    [
        (padded(2**20), padded(2**20 + 1)), ({"steps": [deep(16)]}, {"steps": [deep(17)]}),
        ({"steps": [do(f"s{n}") for n in range(1000)]}, {"steps": [do(f"s{n}") for n in range(1001)]}),
        ({"steps": [of("l", "loop", over=[1], body=[do(f"s{n}") for n in range(1000)])]},
         {"steps": [of("l", "loop", over=[1], body=[do(f"s{n}") for n in range(1001)])]}),
    ],
    ids=["size", "depth", "steps", "nested steps"],
)  # fmt: skip
async def test_a_definition_may_reach_its_limits_and_not_pass_them(house, fits, exceeds):
    async with house.engine() as engine:
        assert not engine.check(fits).errors
        found = engine.check(exceeds).errors
        assert {issue.code for issue in found} == {"VALIDATION_ERROR"}
        with pytest.raises(DefinitionError):
            await engine.define("t", exceeds, agent_id="me")


@pytest.mark.spec("10.56")
async def test_params_of_a_run_may_reach_their_limit_and_not_pass_it(house):
    async with house.engine() as engine:
        await engine.define("t", {"steps": [do("a")]}, agent_id="me")
        fits = {"x": "y" * (2**20 - len('{"x":""}'))}
        assert (await engine.run("t", agent_id="me", params=fits))["status"] == "completed"
        with pytest.raises(DefinitionError) as caught:
            await engine.run("t", agent_id="me", params={"x": fits["x"] + "y"})
        assert caught.value.code == "VALIDATION_ERROR"
        assert (await engine.store.runs(RunFilter()))[1] == 1


@pytest.mark.spec("10.56")
@pytest.mark.parametrize(("size", "status"), [(100, "completed"), (101, "failed")])
async def test_an_output_may_reach_its_limit_and_not_pass_it(house, size, status):
    async with house.engine(limits=Limits(step_output_size=100)) as engine:
        result = await house.run(engine, [do("a", params={"value": "x" * (size - 2)})])
    assert result["status"] == status
    if status == "failed":
        error = result["steps"]["a"]["error"]
        assert (error["code"], error["retryable"]) == ("EXECUTION_ERROR", False)


@pytest.mark.spec("10.56")
@pytest.mark.parametrize(("count", "status"), [(5, "completed"), (6, "failed")])
@pytest.mark.parametrize("mode", ["for_each", "while", "until"])
async def test_a_loop_may_reach_its_limit_and_not_pass_it(house, mode, count, status):
    config = {"for_each": {"over": list(range(count))}, "while": {"condition": f"iter.index < {count}"},
              "until": {"condition": f"iter.index == {count - 1}"}}[mode]  # fmt: skip
    async with house.engine(limits=Limits(loop_iterations=5)) as engine:
        result = await house.run(engine, [of("l", "loop", mode=mode, body=[do("x")], **config)])
    assert (result["status"], result["steps"]["l"].get("error", {}).get("code")) == (
        status, None if status == "completed" else "EXECUTION_ERROR",
    )  # fmt: skip


@pytest.mark.spec("10.56")
@pytest.mark.parametrize(("count", "status"), [(10, "completed"), (11, "failed")])
async def test_nested_steps_may_reach_their_limit_and_not_pass_it(house, count, status):
    async with house.engine(limits=Limits(nested_instances=10)) as engine:
        result = await house.run(engine, [of("l", "loop", over=list(range(count)), body=[do("x")])])
    assert result["status"] == status
    if status == "failed":
        assert result["steps"]["l"]["error"]["code"] == "EXECUTION_ERROR"


@pytest.mark.spec("10.56")
@pytest.mark.parametrize("limit", [0, 2])
async def test_children_may_be_as_deep_as_the_limit(house, limit):
    async with house.engine(limits=Limits(sub_workflow_depth=limit)) as engine:
        await engine.define("d0", {"steps": [do("a")]}, agent_id="me")
        for level in range(1, 4):
            call = do("c", "workflow.run", params={"template_name": f"d{level - 1}"})
            await engine.define(f"d{level}", {"steps": [call]}, agent_id="me")
        found = [(await engine.run(f"d{level}", agent_id="me"))["status"] for level in range(4)]
    assert found == ["completed"] * (limit + 1) + ["failed"] * (3 - limit)


@pytest.mark.spec("10.56")
@pytest.mark.parametrize(("size", "shown"), [(65_536, True), (65_537, False)])
async def test_an_event_shows_an_output_of_up_to_64_kib_and_the_step_shows_it_whole(house, size, shown):
    value = "x" * (size - 2)
    async with house.engine() as engine:
        result = await house.run(engine, [do("a", params={"value": value})])
        (event,) = await house.events(engine, result["workflow_id"], "step_completed")
        (listed,) = (await query(engine.store, engine.registry, "events", {"event_type": "step_completed"}))["events"]
        kept = (await engine.status(result["workflow_id"]))["steps"]["a"]["output"]
    assert kept == result["output"] == value
    for payload in (event["payload"], listed["payload"]):
        assert ("output" in payload, payload.get("output_truncated")) == (shown, None if shown else True)


@pytest.mark.spec("10.56")
@pytest.mark.parametrize("item", ["x" * 5000, ["x"] * 2000, {"k": "é" * 3000}])
async def test_an_event_of_a_loop_shows_an_item_of_up_to_4_kib_and_the_body_sees_it_whole(house, item):
    async with house.engine() as engine:
        result = await house.run(engine, [of("l", "loop", over="inputs.v", body=[do("x", params={"value": "${{loop.item}}"})])],
                                 {"v": [item, "short", "y" * 4094]})  # fmt: skip
        events = await house.events(engine, result["workflow_id"], "loop_iter_started", "loop_iter_completed")
    assert result["output"]["results"] == [item, "short", "y" * 4094]
    shown = [event["payload"]["item"] for event in events]
    assert shown[0] == shown[1] != item
    assert len(str(shown[0])) < 4_200
    assert shown[2:] == ["short", "short", "y" * 4094, "y" * 4094]


@pytest.mark.spec("10.56")
async def test_a_question_shows_each_output_of_up_to_16_kib(house):
    sizes = {"small": 16_382, "large": 16_383}
    asked = {**of("ask", "reasoning", prompt_context="?"), "depends_on": list(sizes)}
    async with house.engine() as engine:
        result = await house.run(
            engine, [*(do(name, params={"value": "x" * size}) for name, size in sizes.items()), asked]
        )
        (decision,) = result["pending_decisions"]
        (row,) = await engine.store.decisions(run_id=result["workflow_id"])
    outputs = decision["context"]["step_outputs"]
    assert (
        outputs == {"small": "x" * 16_382, "large": {"truncated": True, "bytes": 16_385}} == row.context["step_outputs"]
    )


@pytest.mark.spec("10.56")
async def test_a_status_shows_the_newest_events_and_pages_through_the_others(house):
    async with house.engine() as engine:
        run_id = (await house.run(engine, [of("l", "loop", over=list(range(150)), body=[do("x")])]))["workflow_id"]
        last = len(await engine.store.events(run_id))
        shown = await engine.status(run_id)
        page = await engine.status(run_id, events_since=10, events_limit=7)
        everything = await query(engine.store, engine.registry, "events", {"workflow_id": run_id, "limit": 100_000})
        first = await query(engine.store, engine.registry, "events", {"workflow_id": run_id, "limit": 400})
        rest = await query(
            engine.store, engine.registry, "events",
            {"workflow_id": run_id, "limit": 400, "cursor": first["next_cursor"]},
        )  # fmt: skip
    assert [event["sequence"] for event in shown["events"]] == list(range(last - 199, last + 1))
    assert shown["events_truncated"] is True
    assert [event["sequence"] for event in page["events"]] == list(range(11, 18))
    assert len(everything["events"]) == min(last, 1000)
    assert [e["sequence"] for e in [*first["events"], *rest["events"]]] == list(range(1, last + 1))
    assert "next_cursor" not in rest


@pytest.mark.spec("10.56")
@pytest.mark.parametrize(("language", "kind"), [("cel", "CelProgram"), ("expr", "ExprProgram"), ("jq", "JqPath")])
async def test_no_more_than_1024_expressions_are_kept_and_those_in_use_stay(house, language, kind):
    evaluator = house.registry.evaluators[language]
    name = f"a{uuid4().hex}"  # programs of other tests may be alive, and a language may keep its own for all evaluators

    def text(n: int) -> str:
        return f".inputs.{name}_{n}" if language == "jq" else f"inputs.{name}_{n} + {n}"

    hot = evaluator.compile(text(0))
    for n in range(1, 1300):
        evaluator.compile(text(n))
        assert evaluator.compile(text(0)) is hot
    gc.collect()
    kept = [each for each in gc.get_objects() if type(each).__name__ == kind and name in each.text]
    assert hot in kept
    assert 1000 < len(kept) <= 1024


@pytest.mark.spec("10.56")
async def test_no_more_than_1024_templates_are_kept_and_those_in_use_stay(house):
    read: list[Any] = []

    class Noting(MemoryStore):
        async def template(self, name: str, version: int | None = None) -> Any:
            read.append(name)
            return await super().template(name, version)

    async with house.engine(store=Noting()) as engine:
        await engine.define("hot", {"steps": [do("a")]}, agent_id="me")
        await engine.run("hot", agent_id="me")
        for n in range(1100):
            await engine.define("cold", {"steps": [do("a")]}, agent_id="me")
            await engine.library.resolve("cold", f"v{n + 1}")
            if n % 40 == 0:
                await engine.library.resolve("hot")
        read.clear()
        await engine.library.resolve("hot")
        assert read == []
        assert alive("Plan") <= 1024 + 64
        await engine.library.resolve("cold", "v1")
        assert read == ["cold"]


@pytest.mark.spec("10.56")
async def test_the_tables_of_an_engine_do_not_grow_with_runs_that_are_over(house):
    async with house.engine() as engine:
        for n in range(30):
            await house.run(engine, [do("a", "t.do"), of("w", "wait", duration="1ms")], name=f"t{n % 3}")
        gc.collect()
        assert not engine.live
        assert alive("LiveRun") <= 1
        assert alive("RunState") <= 2
