"""Data signals: what they make visible, and which of several waiting steps they wake."""

from __future__ import annotations

from typing import Any

import pytest

from opcode_kernel import ConflictError

pytestmark = pytest.mark.anyio


def wait(step_id: str, signal: str, **keys: Any) -> dict[str, Any]:
    return {"id": step_id, "type": "wait", "config": {"signal": signal}, **keys}


def echo(step_id: str, value: Any, **keys: Any) -> dict[str, Any]:
    return {"id": step_id, "action": "t.echo", "params": {"value": value}, **keys}


GATE = {"id": "gate", "type": "reasoning", "config": {"prompt_context": "Go?"}}


@pytest.mark.spec("11.18")
async def test_data_shows_as_context_in_params_guards_and_prompts_from_the_next_evaluation_on(house):
    definition = {"context": {"k": "old", "kept": 1}, "steps": [
        echo("before", "${{context.k}}"), {**GATE, "depends_on": ["before"]},
        echo("param", ["${{context.k}}", "${{context.kept}}", "${{context.rows[0]}}"], depends_on=["gate"]),
        {**echo("guard", "ran"), "condition": "context.k == 'new'", "depends_on": ["gate"]},
        {"id": "asked", "type": "reasoning", "depends_on": ["gate"],
         "config": {"prompt_context": "${{context.k}}?", "data_inject": {"k": "context.k"}}},
    ]}  # fmt: skip
    async with house.engine() as engine:
        run_id = (await house.run(engine, definition))["workflow_id"]
        answer = await engine.signal(run_id, "data", payload={"k": "new", "rows": [7]}, agent_id="other")
        assert {key: answer[key] for key in ("ok", "workflow_id", "signal_type", "status")} == {
            "ok": True, "workflow_id": run_id, "signal_type": "data", "status": "suspended",
        }  # fmt: skip
        assert "resumed" not in answer
        status = await engine.status(run_id)
        assert status["context"]["accumulated_data"] == {"k": "new", "rows": [7]}
        assert [each["step_id"] for each in status["pending_decisions"]] == ["gate"]
        await engine.signal(run_id, "decision", payload={"choice": "on"}, agent_id="me")
        steps = (await engine.status(run_id))["steps"]
        assert steps["before"]["output"] == "old"
        assert steps["param"]["output"] == ["new", 1, 7]
        assert steps["guard"]["output"] == "ran"
        (asked,) = (await engine.status(run_id))["pending_decisions"]
        assert (asked["context"]["prompt"], asked["context"]["data"]) == ("new?", {"k": "new"})
        assert asked["context"]["accumulated_data"] == {"k": "new", "rows": [7]}
        received, *stored = await house.events(engine, run_id, "signal_received", "variable_set")
    assert (received["payload"], received["agent_id"]) == (
        {"type": "data", "agent_id": "other", "payload": {"k": "new", "rows": [7]}}, "other",
    )  # fmt: skip
    assert [(event["event_type"], event.get("payload")) for event in stored[:2]] == [
        ("variable_set", {"key": "k", "value": "new"}), ("variable_set", {"key": "rows", "value": [7]}),
    ]  # fmt: skip


@pytest.mark.spec("11.18")
async def test_data_reaches_a_run_that_is_still_active(house):
    steps = [{"id": "g", "action": "t.gate"}, echo("after", "${{context.k}}", depends_on=["g"])]
    async with house.engine() as engine:
        run_id = (await house.run(engine, steps, wait=False))["workflow_id"]
        assert (await engine.signal(run_id, "data", payload={"k": 5}))["status"] == "active"
        house.gate().set()
        result = await settled(engine, run_id)
        with pytest.raises(ConflictError):
            await engine.signal(run_id, "data", payload={"k": 6})
    assert result["steps"]["after"]["output"] == 5


async def settled(engine: Any, run_id: str) -> dict[str, Any]:
    live = engine.live.get(run_id)
    if live is not None:
        await live.settled()
    status: dict[str, Any] = await engine.status(run_id)
    return status


@pytest.mark.spec("11.18")
@pytest.mark.parametrize(("names", "sent"), [
    (("x", "y"), {"payload": {"signal": "y", "n": 1}}), (("x", "x"), {"payload": {"n": 1}, "step_id": "second"}),
    (("x", "data"), {"payload": {"n": 1}}), (("x", "y"), {"payload": {"signal": "x", "n": 1}, "step_id": "second"}),
])  # fmt: skip
@pytest.mark.parametrize("restart", [False, True])
async def test_a_signal_wakes_the_one_waiter_it_means_and_leaves_the_other(house, names, sent, restart):
    steps = [
        wait("first", names[0]),
        wait("second", names[1], depends_on=[]),
        echo("after", "ran", depends_on=["second"]),
    ]
    async with house.daemon() as daemon:
        run_id = (await house.run(daemon.engine, steps))["workflow_id"]
        engine = await daemon.restart(restart)
        await engine.signal(run_id, "data", **sent)
        status = await settled(engine, run_id)
    woken, other = ("first", "second") if sent["payload"].get("signal") == names[0] else ("second", "first")
    assert status["steps"][woken]["status"] == "completed"
    assert status["steps"][woken]["output"]["payload"] == sent["payload"]
    assert status["steps"][other]["status"] == "suspended"
    assert status["status"] == "suspended"
    assert status["waiting"] == [
        {"step_id": other, "reason": "signal", "signal": names[("first", "second").index(other)]}
    ]


@pytest.mark.spec("11.18")
async def test_of_two_that_match_the_one_that_started_first_is_woken_and_each_signal_wakes_one(house):
    steps = [
        {"id": "s", "type": "wait", "config": {"duration": "2ms"}},
        wait("late", "x", depends_on=["s"]),
        wait("early", "x"),
    ]
    async with house.engine() as engine:
        run_id = (await house.run(engine, steps))["workflow_id"]
        await engine.signal(run_id, "data", payload={"signal": "x", "n": 1})
        first = await settled(engine, run_id)
        await engine.signal(run_id, "data", payload={"signal": "x", "n": 2})
        last = await settled(engine, run_id)
    assert (first["steps"]["early"]["status"], first["steps"]["late"]["status"]) == ("completed", "suspended")
    assert last["steps"]["late"]["output"] == {"signal": "x", "payload": {"signal": "x", "n": 2}}
    assert last["status"] == "completed"


@pytest.mark.spec("11.18")
@pytest.mark.parametrize("restart", [False, True])
async def test_a_signal_that_comes_before_its_waiter_is_kept_for_it_the_latest_per_name_and_taken_once(house, restart):
    steps = [
        GATE,
        wait("w", "x", depends_on=["gate"]),
        wait("other", "y", depends_on=["gate"]),
        wait("again", "x", depends_on=["w"]),
    ]
    async with house.daemon() as daemon:
        run_id = (await house.run(daemon.engine, steps))["workflow_id"]
        for payload in ({"signal": "x", "n": 1}, {"signal": "y", "n": 2}, {"signal": "x", "n": 3}):
            await daemon.engine.signal(run_id, "data", payload=payload)
        engine = await daemon.restart(restart)
        answer = await engine.signal(run_id, "decision", payload={"choice": "on"}, agent_id="me")
    assert answer["steps"]["w"]["output"] == {"signal": "x", "payload": {"signal": "x", "n": 3}}
    assert answer["steps"]["other"]["output"] == {"signal": "y", "payload": {"signal": "y", "n": 2}}
    assert answer["waiting"] == [{"step_id": "again", "reason": "signal", "signal": "x"}]
