"""Signals that name nothing: a warning where they are kept, and the step that was meant where they are refused."""

from __future__ import annotations

from typing import Any

import pytest

from opcode_kernel.errors import NotFoundError

pytestmark = pytest.mark.anyio


def wait(step_id: str, signal: str) -> dict[str, Any]:
    return {"id": step_id, "type": "wait", "config": {"signal": signal}}


async def started(engine: Any, *steps: dict[str, Any]) -> str:
    await engine.define("t", {"steps": list(steps)}, agent_id="me")
    return str((await engine.run("t", agent_id="me"))["workflow_id"])


async def test_a_signal_that_nobody_waits_for_is_kept_and_says_what_is_waited_for(world):
    async with world.engine() as engine:
        run_id = await started(engine, wait("w", "go"), {**wait("x", "gone"), "depends_on": ["w"]}, wait("y", "stop"))
        answer = await engine.signal(run_id, "data", payload={"signal": "gp"})
        assert (answer["ok"], answer["status"]) == (True, "suspended")
        (warning,) = answer["warnings"]
        assert (warning["path"], warning["severity"], warning["did_you_mean"]) == ("payload.signal", "warning", "go")
        assert "waited for are go, stop" in warning["message"]
        (warning,) = (await engine.signal(run_id, "data", payload={"signal": "gone"}))["warnings"]
        assert "kept for one that will" in warning["message"]
        assert "warnings" not in await engine.signal(run_id, "data", payload={"signal": "go"})
        assert (await engine.signal(run_id, "data", payload={"signal": "stop"}))["status"] in ("active", "completed")
        done = await engine.status(run_id)
        assert done["steps"]["x"]["output"]["signal"] == "gone"  # stored, and consumed on arrival


async def test_signals_that_mean_a_step_and_those_without_a_name_are_no_warning(world):
    async with world.engine() as engine:
        run_id = await started(engine, wait("w", "go"), wait("x", "go"))
        assert "warnings" not in await engine.signal(run_id, "data", payload={"k": 1})
        assert "warnings" not in await engine.signal(run_id, "data", payload={"signal": "other"}, step_id="w")
        assert "warnings" not in await engine.signal(run_id, "data", payload={"signal": "go"})


async def test_a_signal_to_a_step_that_is_not_there_says_which_one_waits(world):
    async with world.engine() as engine:
        run_id = await started(engine, wait("gate", "go"))
        (warning,) = (await engine.signal(run_id, "data", payload={"k": 1}, step_id="gaet"))["warnings"]
        assert (warning["path"], warning["did_you_mean"]) == ("step_id", "gate")


async def test_nothing_waited_for_is_said_as_such(world):
    async with world.engine() as engine:
        run_id = await started(engine, {"id": "ask", "type": "reasoning", "config": {"prompt_context": "?"}})
        (warning,) = (await engine.signal(run_id, "data", payload={"signal": "go"}))["warnings"]
        assert warning["message"].endswith("none is waited for now")
        assert "did_you_mean" not in warning


@pytest.mark.parametrize("signal_type", ["skip", "retry"])
async def test_an_override_of_a_step_that_is_not_there_names_the_one_that_was_meant(world, signal_type):
    async with world.engine() as engine:
        branches = [[{"id": "pay", "action": "fake.fail"}]]
        run_id = await started(engine, {"id": "p", "type": "parallel", "config": {"branches": branches}})
        with pytest.raises(NotFoundError) as caught:
            await engine.signal(run_id, signal_type, step_id="pai")
        assert caught.value.details["did_you_mean"] == "p.branch_0.pay"
        assert caught.value.message.endswith("did you mean 'p.branch_0.pay'?")
        with pytest.raises(NotFoundError, match="no step moon"):
            await engine.signal(run_id, signal_type, step_id="moon")
        with pytest.raises(NotFoundError, match="workflow 'none' not found"):
            await engine.signal("none", signal_type, step_id="pay")


async def test_a_decision_for_a_step_that_is_not_there_names_the_one_that_was_meant(world):
    async with world.engine() as engine:
        run_id = await started(engine, {"id": "approve", "type": "reasoning", "config": {"prompt_context": "?"}})
        with pytest.raises(NotFoundError) as caught:
            await engine.signal(run_id, "decision", step_id="aprove", payload={"choice": "x"})
        assert caught.value.details == {"candidates": ["approve"], "did_you_mean": "approve"}
