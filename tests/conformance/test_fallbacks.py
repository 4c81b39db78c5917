"""A fallback runs instead of a step that failed: only then, once, and for everybody who depends on that step."""

from __future__ import annotations

import pytest

from opcode_kernel import DefinitionError
from opcode_kernel.testing.steps import ask, fan

pytestmark = pytest.mark.anyio


def do(step_id, **keys):
    return {"id": step_id, "action": "t.do", **keys}


def to(fallback):
    return {"on_error": {"strategy": "fallback_step", "fallback_step": fallback}}


def failing(step_id, fallback=None, times=10**9, **keys):
    return {"id": step_id, "action": "t.fail", "params": {"times": times}, **(to(fallback) if fallback else {}), **keys}


def read(step_id, of, **keys):
    return do(step_id, params={"value": {"read": f"${{{{steps.{of}.output}}}}"}}, **keys)


def choose(step_id, *steps):
    return {"id": step_id, "type": "condition", "config": {"expression": "true", "branches": {"true": list(steps)}}}


#: Lists in which `a` fails over to `f`, with the prefix of their ids.
PLACES = {
    "top level": (lambda *steps: list(steps), ""),
    "condition": (lambda *steps: [choose("c", *steps)], "c.true."),
    "loop": (lambda *steps: [{"id": "c", "type": "loop", "config": {"over": "[1]", "body": list(steps)}}], "c.iter_0."),
    "parallel": (lambda *steps: [fan(list(steps), [do("x")])], "p.branch_0."),
}


def place(name, *steps):
    """Put the steps somewhere; what follows `a` depends on it where there are dependencies."""
    if name == "top level":
        steps = [{**step, "depends_on": ["a"]} if step["id"] == "z" else step for step in steps]
    put, at = PLACES[name]
    return put(*steps), at


@pytest.mark.spec("11.8", "10.4")
@pytest.mark.parametrize("where", PLACES)
@pytest.mark.parametrize("order", ["before", "after"])
async def test_a_fallback_does_not_run_when_its_step_succeeds(house, where, order):
    steps, at = place(where, *([do("f")] if order == "before" else []), do("a", **to("f")), read("z", "a"),
                      *([do("f")] if order == "after" else []))  # fmt: skip
    async with house.engine() as engine:
        result = await house.run(engine, steps)
        types = await house.types(engine, result["workflow_id"], f"{at}f")
    assert result["status"] == "completed"
    assert [step for step in house.effects() if not step.endswith("x")] == [f"{at}a", f"{at}z"]
    assert house.seen[f"{at}z"] == [{"value": {"read": {"ran": f"{at}a"}}}]
    if where == "top level":
        assert (result["steps"]["f"]["status"], result["steps"]["f"]["reason"]) == ("skipped", "fallback_not_needed")
        assert types == ["step_skipped"]
    else:
        assert "step_started" not in types


@pytest.mark.spec("11.8", "10.4")
@pytest.mark.parametrize("where", PLACES)
@pytest.mark.parametrize("retries", [0, 2])
async def test_a_fallback_runs_once_on_failure_and_dependents_read_its_output(house, where, retries):
    steps, at = place(
        where, failing("a", "f", retry={"max": retries}), do("f", params={"value": {"by": "f"}}), read("z", "a")
    )
    async with house.engine() as engine:
        result = await house.run(engine, steps)
        run_id = result["workflow_id"]
        assert result["status"] == "completed"
        assert [step for step in house.effects() if not step.endswith("x")] == [f"{at}f", f"{at}z"]
        assert house.seen[f"{at}z"] == [{"value": {"read": {"by": "f"}}}]
        assert house.failures[f"{at}a"] == retries + 1
        assert result["steps"][f"{at}a"]["status"] == "failed"
        last = [event["sequence"] for event in await house.events(engine, run_id, "step_started", step=f"{at}a")][-1]
        events = [
            (event["event_type"], event["step_id"])
            for event in await house.events(engine, run_id)
            if event["sequence"] > last and event.get("step_id") in (f"{at}a", f"{at}f")
        ]
        assert events == [
            ("error_handler_invoked", f"{at}a"), ("step_fallback", f"{at}a"), ("step_failed", f"{at}a"),
            ("step_started", f"{at}f"), ("step_completed", f"{at}f"),
        ]  # fmt: skip
        (told,) = await house.events(engine, run_id, "step_fallback")
    assert told["payload"] == {"original_step": f"{at}a", "fallback_step": f"{at}f", "original_error": "it broke"}


@pytest.mark.spec("11.8")
async def test_the_leaf_that_was_rescued_gives_the_output_of_its_fallback(house):
    async with house.engine() as engine:
        result = await house.run(engine, [failing("a", "f"), do("f", params={"value": {"by": "f"}})])
    assert (result["status"], result["output"]) == ("completed", {"by": "f"})


@pytest.mark.spec("11.8", "10.4")
@pytest.mark.parametrize("where", ["top level", "condition"])
async def test_several_steps_that_fail_share_one_run_of_their_fallback(house, where):
    originals = [failing("a", "f"), failing("b", "f"), failing("c", "f")]
    if where == "top level":
        steps = [*originals, do("f"), read("z", "c", depends_on=["a", "b", "c"])]
    else:
        steps = [choose("if", *originals, do("f"), read("z", "c"))]
    async with house.engine() as engine:
        result = await house.run(engine, steps)
        assert len(await house.events(engine, result["workflow_id"], "step_fallback")) == 3
    at = "" if where == "top level" else "if.true."
    assert (result["status"], house.effects()) == ("completed", [f"{at}f", f"{at}z"])
    assert house.seen[f"{at}z"] == [{"value": {"read": {"ran": f"{at}f"}}}]


@pytest.mark.spec("11.8", "10.4")
async def test_a_nested_step_may_fall_back_to_a_top_level_step(house):
    loop = {"id": "each", "type": "loop", "config": {"over": "[1, 2, 3]", "body": [failing("a", "f"), read("z", "a")]}}
    async with house.engine() as engine:
        result = await house.run(engine, [loop, do("f", params={"value": 7})])
    assert result["status"] == "completed"
    assert house.effects() == ["f", "each.iter_0.z", "each.iter_1.z", "each.iter_2.z"]
    assert [house.seen[f"each.iter_{n}.z"] for n in range(3)] == [[{"value": {"read": 7}}]] * 3


@pytest.mark.spec("11.8")
async def test_a_fallback_waits_for_its_own_dependencies_and_its_failed_step_counts_as_satisfied(house, until):
    steps = [
        {"id": "slow", "action": "t.gate"},
        failing("a", "f"),
        do("f", depends_on=["slow", "a"]),
        do("z", depends_on=["a"]),
    ]
    async with house.engine() as engine:
        run_id = (await house.run(engine, steps, wait=False))["workflow_id"]
        await until(lambda: house.failures["a"] and house.running)
        assert (await engine.status(run_id))["steps"]["f"]["status"] == "pending"
        house.gate().set()
        await until(lambda: not engine.live)
    assert house.effects() == ["slow", "f", "z"]


@pytest.mark.spec("11.8", "10.4")
@pytest.mark.parametrize("where", PLACES)
async def test_a_fallback_that_its_own_guard_skips_rescues_nobody(house, where):
    steps, at = place(where, failing("a", "f"), do("f", condition="1 > 2"), read("z", "a"))
    async with house.engine() as engine:
        result = await house.run(engine, steps)
    assert (result["status"], result["error"]["details"]["cause"]["message"]) == ("failed", "it broke")
    assert [step for step in house.effects() if not step.endswith("x")] == []
    assert result["steps"][f"{at}f"]["reason"] == "condition_false"


@pytest.mark.spec("11.8")
@pytest.mark.parametrize("where", PLACES)
async def test_a_fallback_that_fails_fails_the_run_with_its_own_error_and_names_the_first(house, where):
    second = {"id": "f", "action": "t.fail", "params": {"message": "so did that", "code": "ISOLATION_ERROR"}}
    steps, _ = place(where, failing("a", "f"), second, read("z", "a"))
    async with house.engine() as engine:
        result = await house.run(engine, steps)
    cause = result["error"]["details"]["cause"]
    assert (result["status"], cause["code"], cause["message"]) == ("failed", "ISOLATION_ERROR", "so did that")
    assert "it broke" in str(cause["details"]["original_error"])


@pytest.mark.spec("11.8")
@pytest.mark.parametrize("where", PLACES)
async def test_a_chain_of_fallbacks_ends_with_the_first_that_succeeds(house, where):
    steps, at = place(where, failing("a", "f"), failing("f", "g"), failing("g", "h"), do("h"), read("z", "a"))
    async with house.engine() as engine:
        result = await house.run(engine, steps)
    assert result["status"] == "completed"
    assert [step for step in house.effects() if not step.endswith("x")] == [f"{at}h", f"{at}z"]
    assert house.seen[f"{at}z"] == [{"value": {"read": {"ran": f"{at}h"}}}]


CYCLES = {
    "itself": [failing("a", "a")],
    "two": [failing("a", "b"), failing("b", "a")],
    "three": [failing("a", "b"), failing("b", "c"), failing("c", "a")],
    "unknown": [failing("a", "nobody")],
    "nested": [choose("c", failing("a", "b"), failing("b", "a"))],
    "through a container": [failing("x", "c"), {**choose("c", failing("a", "x"))}],
}


@pytest.mark.spec("11.8", "10.4")
@pytest.mark.parametrize("cycle", CYCLES)
async def test_a_cycle_of_fallbacks_is_refused_when_it_is_defined(house, cycle):
    async with house.engine() as engine:
        with pytest.raises(DefinitionError) as caught:
            await engine.define("t", {"steps": CYCLES[cycle]}, agent_id="me")
        errors = caught.value.details["errors"]
        assert any("fallback_step" in error["path"] or error["code"] == "CYCLE_DETECTED" for error in errors)
        assert (await engine.define("t", {"steps": [do("a")]}, agent_id="me"))["version"] == "v1"


@pytest.mark.spec("11.8", "10.4")
@pytest.mark.parametrize("where", PLACES)
@pytest.mark.parametrize("crash", [False, True])
async def test_a_fallback_that_asks_goes_on_after_a_restart_and_runs_once(house, where, crash):
    steps, at = place(where, failing("a", "f"), ask("f"), read("z", "a"))
    async with house.daemon() as daemon:
        run_id = (await house.run(daemon.engine, steps))["workflow_id"]
        if crash:
            house.cut_the_power()
        engine = await daemon.restart()
        answer = await engine.signal(run_id, "decision", payload={"choice": "go"})
        requested = await house.events(engine, run_id, "decision_requested")
    assert (answer["status"], len(requested), house.failures[f"{at}a"]) == ("completed", 1, 1)
    assert house.seen[f"{at}z"][0]["value"]["read"]["choice"] == "go"
