"""What becomes of params, results and errors of actions, and what an action may do besides."""

from __future__ import annotations

import anyio
import pytest
import structlog
from structlog.testing import capture_logs

from opcode_kernel.core.limits import Limits

pytestmark = pytest.mark.anyio


async def one(world, action, params=None, registry=None, **more):
    options = more.pop("options", {})
    async with world.engine(registry=registry, **options) as engine:
        await engine.define(
            "t", {"steps": [{"id": "a", "action": action, "params": params or {}, **more}]}, agent_id="me"
        )
        with anyio.fail_after(5):
            return await engine.run("t", agent_id="me", params={"x": "seven"})


async def test_params_are_checked_at_run_time_and_not_retried(world):
    result = await one(world, "fake.strict", {"count": "${{inputs.x}}"}, retry={"max": 3})
    error = result["steps"]["a"]["error"]
    assert (error["code"], error["retryable"]) == ("VALIDATION_ERROR", False)
    assert "count" in error["message"]
    assert world.ran() == []


async def test_params_are_coerced_to_what_the_action_declares(world):
    result = await one(world, "fake.strict", {"count": "7"})
    assert result["output"] == {"count": 7, "text": "none"}


async def test_an_action_nobody_offers_fails_with_a_code_of_its_own(world):
    async with world.engine() as engine:
        await engine.define("t", {"steps": [{"id": "a", "action": "fake.note"}]}, agent_id="me")
    async with world.engine(registry=world.registry_with(without=["fake.note"])) as engine:
        with anyio.fail_after(5):
            result = await engine.run("t", agent_id="me")
    assert result["steps"]["a"]["error"]["code"] == "ACTION_UNAVAILABLE"
    assert "fake.note" in result["steps"]["a"]["error"]["message"]


async def test_what_a_plugin_raises_fails_the_step_and_not_the_engine(world):
    result = await one(world, "fake.crash", {"message": "boom"})
    error = result["steps"]["a"]["error"]
    assert (error["code"], error["message"]) == ("EXECUTION_ERROR", "ZeroDivisionError: boom")


async def test_codes_and_details_of_an_action_error_are_kept(world):
    result = await one(world, "fake.fail", {"code": "PATH_DENIED", "message": "no", "details": {"path": "/x"}})
    error = result["steps"]["a"]["error"]
    assert (error["code"], error["details"]["path"]) == ("PATH_DENIED", "/x")
    assert result["error"]["code"] == "NON_RETRYABLE"


@pytest.mark.parametrize("kind", ["nan", "object", "set", "keys", "loop", "bytes"])
async def test_an_output_that_is_not_json_fails_the_step_for_good(world, kind):
    result = await one(world, "fake.odd", {"kind": kind}, retry={"max": 2})
    error = result["steps"]["a"]["error"]
    assert (error["code"], error["retryable"]) == ("EXECUTION_ERROR", False)
    assert "JSON" in error["message"]


async def test_an_output_beyond_the_limit_fails_the_step(world):
    result = await one(world, "fake.odd", {"kind": "large"}, options={"limits": Limits(step_output_size=4_000)})
    assert "at most 4000 bytes" in result["steps"]["a"]["error"]["message"]


@pytest.mark.parametrize("kind", ["none", "surrogate", "tuple"])
async def test_unusual_json_is_accepted(world, kind):
    assert (await one(world, "fake.odd", {"kind": kind}))["status"] == "completed"


async def test_the_idempotency_key_is_the_same_for_every_attempt_and_after_a_restart(world, until):
    params = {"times": 2}
    async with world.engine() as engine:
        steps = [
            {"id": "a", "action": "fake.fail", "params": params, "retry": {"max": 2}},
            {"id": "b", "action": "fake.gate", "depends_on": ["a"]},
        ]
        await engine.define("t", {"steps": steps}, agent_id="me")
        run_id = (await engine.run("t", agent_id="me", wait=False))["workflow_id"]
        await until(lambda: "b" in world.ran())
    world.gate("gate").set()
    async with world.engine() as engine:
        with anyio.fail_after(5):
            assert (await engine.signal(run_id, "retry"))["status"] == "completed"
    assert world.seen["a"] == [f"{run_id}:a:1"] * 3
    assert world.seen["b"] == [f"{run_id}:b:1"] * 2


async def test_repeating_a_failed_step_on_purpose_gives_a_new_key(world):
    async with world.engine() as engine:
        await engine.define("t", {"steps": [{"id": "a", "action": "fake.fail", "params": {"times": 1}}]}, agent_id="me")
        run_id = (await engine.run("t", agent_id="me"))["workflow_id"]
        assert (await engine.signal(run_id, "retry", step_id="a"))["status"] == "completed"
    assert world.seen["a"] == [f"{run_id}:a:1", f"{run_id}:a:2"]


async def test_emitted_events_and_context_are_written_with_the_completion(world):
    result = await one(world, "fake.emit", {"type": "my.thing", "payload": {"n": 1}, "context": {"k": "v"}})
    events = await world.events(result["workflow_id"])
    types = [event.type for event in events]
    assert types == [
        "workflow_started",
        "step_started",
        "my.thing",
        "variable_set",
        "step_completed",
        "workflow_completed",
    ]
    assert (events[2].step_id, events[2].payload) == ("a", {"n": 1})


async def test_an_attempt_that_fails_leaves_no_event_of_its_own(world):
    result = await one(world, "fake.emit", {"type": "my.thing", "fail": 1}, retry={"max": 1})
    assert (await world.types(result["workflow_id"])).count("my.thing") == 1


@pytest.mark.parametrize("params", [{"type": "step_completed"}, {"type": "my.thing", "bad": True}])
async def test_no_action_can_write_events_of_the_engine_or_what_is_not_json(world, params):
    result = await one(world, "fake.emit", params)
    assert result["steps"]["a"]["error"]["code"] in ("VALIDATION_ERROR", "EXECUTION_ERROR")
    assert (await world.types(result["workflow_id"]))[-1] == "workflow_failed"


async def test_a_log_record_says_where_it_came_from(world):
    structlog.reset_defaults()
    with capture_logs() as records:
        result = await one(world, "fake.log", {"message": "hello", "fields": {"n": 1, "step_id": "forged"}})
    assert result["status"] == "completed"
    (record,) = [each for each in records if each["event"] == "hello"]
    assert (record["step_id"], record["workflow_id"], record["n"]) == ("a", result["workflow_id"], 1)
