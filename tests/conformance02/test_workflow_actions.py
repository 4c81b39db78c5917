"""`workflow.*` as steps of real runs: children, events of one's own, the context, deliberate failure, log, notification."""

from __future__ import annotations

import json
import uuid
from typing import Any

import anyio
import pytest
import structlog
from structlog.testing import capture_logs

from opcode_kernel import DefinitionError, Json
from opcode_kernel.store.base import RunFilter

pytestmark = pytest.mark.anyio


# workflow.run ---------------------------------------------------------------------------------------------------------


async def parent_of(world: Any, child: Json, *, params: Json = None, **step: Any) -> tuple[dict[str, Any], Any]:
    """Run a parent of one child; returns the step of the parent and all rows of runs."""
    given = {"template_name": "child", **({} if params is None else {"params": params})}
    async with world.engine() as engine:
        schema = child.pop("input_schema", None)
        await engine.define("child", child, agent_id="me", input_schema=schema)
        await engine.define(
            "t", {"steps": [{"id": "s", "action": "workflow.run", "params": given, **step}]}, agent_id="me"
        )
        result = await engine.run("t", agent_id="me")
        rows, _ = await engine.store.runs(RunFilter(limit=100))
    return result["steps"]["s"], rows


@pytest.mark.spec("8.1", "15.K5", "18.5")
async def test_a_child_gets_inputs_and_gives_its_output(world: Any) -> None:
    child = {
        "steps": [{"id": "a", "action": "probe.take", "params": {"v": "${{inputs.n}}"}}],
        "output": {"n": "${{inputs.n}}"},
    }
    for params in ({"n": 1048576}, '{"n": 1048576}'):
        step, rows = await parent_of(world, dict(child), params=params)
        assert step["output"] == {"n": 1048576}
    (row,) = [each for each in rows if each.parent_run_id and each.id == step.get("child_workflow_id", each.id)][-1:]
    assert (row.agent_id, row.template_name) == ("me", "child")
    assert world.probe.taken[-1] == {"v": 1048576}


@pytest.mark.spec("8.1")
async def test_without_a_version_the_highest_number_runs(world: Any) -> None:
    async with world.engine() as engine:
        for number in range(1, 12):
            child = {"steps": [{"id": "a", "action": "crypto.uuid"}], "output": number}
            await engine.define("child", child, agent_id="me")
        found = []
        for version in (None, "v2", "v11"):
            params = {"template_name": "child", **({"version": version} if version else {})}
            await engine.define(
                "t", {"steps": [{"id": "s", "action": "workflow.run", "params": params}]}, agent_id="me"
            )
            found.append((await engine.run("t", agent_id="me"))["output"])
        params = {"template_name": "child", "version": "v99"}
        await engine.define("t", {"steps": [{"id": "s", "action": "workflow.run", "params": params}]}, agent_id="me")
        error = (await engine.run("t", agent_id="me"))["steps"]["s"]["error"]
    assert found == [11, 2, 11]
    assert error["code"] == "NOT_FOUND"


@pytest.mark.spec("8.1", "18.5")
@pytest.mark.parametrize(
    ("child", "params", "code"),
    [
        ({"steps": [{"id": "a", "action": "crypto.uuid"}], "input_schema": {"required": ["n"]}}, {}, "VALIDATION_ERROR"),
        ({"steps": [{"id": "a", "action": "assert.equals", "params": {"expected": 1, "actual": 2}}]}, None, "NON_RETRYABLE"),
        ({"steps": [{"id": "a", "action": "workflow.fail", "params": {"reason": "enough"}}]}, None, "NON_RETRYABLE"),
    ],
)  # fmt: skip
async def test_what_goes_wrong_with_a_child_goes_wrong_with_the_step(
    world: Any, child: Json, params: Json, code: str
) -> None:
    step, _ = await parent_of(world, dict(child), params=params)
    assert step["error"]["code"] == code
    step, _ = await parent_of(world, dict(child), params=params, on_error={"strategy": "ignore"})
    assert step["status"] == "skipped"


@pytest.mark.spec("8.1", "18.5")
async def test_a_child_that_waits_suspends_its_parent_which_goes_on_with_it(world: Any) -> None:
    child = {"steps": [{"id": "q", "type": "reasoning", "config": {"prompt_context": "?", "options": [{"id": "yes"}]}}]}
    async with world.engine() as engine:
        await engine.define("child", child, agent_id="me")
        parent = [{"id": "s", "action": "workflow.run", "params": {"template_name": "child"}}]
        await engine.define("t", {"steps": parent}, agent_id="me")
        result = await engine.run("t", agent_id="me")
        assert result["status"] == "suspended"
        child_id = result["waiting"][0]["child_workflow_id"]
        await engine.signal(child_id, "decision", payload={"choice": "yes"}, step_id="q")
        with anyio.fail_after(5):
            while (ended := await engine.status(result["workflow_id"]))["status"] != "completed":  # noqa: ASYNC110
                await anyio.sleep(0.002)
    assert ended["output"]["choice"] == "yes"


@pytest.mark.spec("8.1")
async def test_a_child_runs_inside_the_deadline_of_its_step(world: Any) -> None:
    child = {"steps": [{"id": "w", "action": "shell.exec", "params": {"command": "sleep", "args": ["60"]}}]}
    with anyio.fail_after(20):
        step, rows = await parent_of(world, child, timeout="50ms")
    assert step["error"]["code"] == "TIMEOUT_ERROR"
    assert "completed" not in {row.status for row in rows}


# The others -----------------------------------------------------------------------------------------------------------


@pytest.mark.spec("8.2", "18.12")
@pytest.mark.parametrize(
    "params",
    [
        {"event_type": "workflow_completed"}, {"event_type": "step_failed"}, {"event_type": ""}, {"event_type": "a b"},
        {"event_type": "x\n"}, {"event_type": "x" * 129}, {"event_type": "é"}, {"event_type": None}, {},
        {"event_type": "x", "payload": "y" * 262_143},
    ],
    ids=range(10),
)  # fmt: skip
async def test_an_event_of_the_engine_or_of_a_wrong_shape_is_not_emitted(world: Any, params: dict[str, Json]) -> None:
    dynamic = {name: f"${{{{inputs.{name}}}}}" for name in params}
    error = await world.call("workflow.emit", dynamic, inputs=params) if params else None
    if error is not None:
        assert error["code"] == "VALIDATION_ERROR"
    else:
        with pytest.raises(DefinitionError):
            await world.call("workflow.emit", params)


@pytest.mark.spec("8.2")
@pytest.mark.parametrize(
    ("type_name", "payload_name"), [("event_type", "payload"), ("event", "data"), ("signal", "data")]
)
async def test_an_emitted_event_is_recorded_under_each_of_its_names(
    world: Any, type_name: str, payload_name: str
) -> None:
    async with world.engine() as engine:
        params = {type_name: "A-z_0.9:x", payload_name: {"k": 1}}
        await engine.define("t", {"steps": [{"id": "s", "action": "workflow.emit", "params": params}]}, agent_id="me")
        run_id = (await engine.run("t", agent_id="me"))["workflow_id"]
        events = (await engine.status(run_id))["events"]
    (event,) = [each for each in events if each["event_type"] == "A-z_0.9:x"]
    assert (event["workflow_id"], event["step_id"], event["payload"]) == (run_id, "s", {"k": 1})


@pytest.mark.spec("8.3", "15.K11", "18.6")
async def test_an_update_of_the_context_merges_and_keeps_what_it_does_not_name(world: Any) -> None:
    def update(step_id: str, **params: Json) -> dict[str, Json]:
        return {"id": step_id, "action": "workflow.context", "params": {"action": "update", **params}}

    steps = [
        update("a", data={"k": {"old": 1}, "kept": 1}, agent_notes="first"), update("b", data='{"k": {"new": 2}}'),
        {"id": "c", "action": "probe.take", "params": {"v": ["${{context.k}}", "${{context.kept}}"]}},
        {"id": "d", "action": "workflow.context", "params": {"action": "read"}},
        update("e", data={"only": 1}, replace=True), {"id": "f", "action": "workflow.context", "params": {"action": "read"}},
    ]  # fmt: skip
    result = await world.run(
        [{**step, "depends_on": [steps[n - 1]["id"]]} if n else step for n, step in enumerate(steps)]
    )
    assert result["steps"]["a"]["output"] == {"updated": True, "workflow_id": result["workflow_id"]}
    assert world.probe.taken[-1] == {"v": [{"new": 2}, 1]}
    read = result["steps"]["d"]["output"]
    assert (read["accumulated_data"], read["agent_notes"]) == ({"k": {"new": 2}, "kept": 1}, "first")
    assert (read["workflow_id"], read["agent_id"]) == (result["workflow_id"], "me")
    assert {"original_intent", "created_at", "updated_at"} <= set(read)
    assert result["steps"]["f"]["output"]["accumulated_data"] == {"only": 1}


@pytest.mark.spec("8.3")
async def test_a_context_is_for_the_family_only(world: Any) -> None:
    async with world.engine() as engine:
        await engine.define("other", {"steps": [{"id": "a", "action": "crypto.uuid"}]}, agent_id="me")
        other = (await engine.run("other", agent_id="me"))["workflow_id"]
        params = {"action": "${{inputs.action}}", "workflow_id": "${{inputs.id}}", "data": {"a": 1}}
        await engine.define(
            "t", {"steps": [{"id": "s", "action": "workflow.context", "params": params}]}, agent_id="me"
        )
        codes = [
            (await engine.run("t", agent_id="me", params={"action": act, "id": run_id}))["steps"]["s"]["error"]["code"]
            for act in ("read", "update") for run_id in (other, str(uuid.uuid4()))
        ]  # fmt: skip
    assert codes == ["PERMISSION_DENIED", "NOT_FOUND"] * 2


@pytest.mark.spec("8.3")
async def test_a_context_grows_to_a_mebibyte_and_no_further(world: Any) -> None:
    body = [
        {
            "id": "u",
            "action": "workflow.context",
            "params": {"action": "update", "data": {"k${{loop.index}}": "${{inputs.text}}"}},
        }
    ]
    steps = [{"id": "l", "type": "loop", "config": {"over": list(range(12)), "body": body}}]
    result = await world.run(steps, {"text": "x" * 100_000})
    error = result["steps"]["l.iter_10.u"]["error"]
    assert (error["code"], error["retryable"]) == ("VALIDATION_ERROR", False)
    assert "at most 1048576 bytes" in error["message"]
    assert "replace: true" in error["message"]


@pytest.mark.spec("8.4")
@pytest.mark.parametrize("strategy", [None, "ignore", "fallback_step"])
async def test_a_deliberate_failure_ends_the_run_whatever_the_step_says(world: Any, strategy: str | None) -> None:
    handler = {"on_error": {"strategy": strategy, **({"fallback_step": "f"} if strategy == "fallback_step" else {})}}
    steps = [
        {"id": "s", "action": "workflow.fail", "params": {"reason": "enough"}, "retry": {"max": 3, "delay": "1h"},
         **(handler if strategy else {})},
        {"id": "f", "action": "probe.take"},
    ]  # fmt: skip
    result = await world.run(steps if strategy == "fallback_step" else steps[:1])
    assert (result["status"], result["error"]["code"]) == ("failed", "NON_RETRYABLE")
    assert "enough" in json.dumps(result["error"])
    assert world.probe.taken == []


@pytest.mark.spec("8.4")
async def test_in_a_branch_that_lost_it_fails_nothing(world: Any) -> None:
    branches = [
        [{"id": "a", "action": "crypto.uuid"}],
        [
            {"id": "w", "type": "wait", "config": {"duration": "1h"}},
            {"id": "f", "action": "workflow.fail", "params": {"reason": "x"}},
        ],
    ]
    race = {"id": "p", "type": "parallel", "config": {"mode": "race", "branches": branches}}
    with anyio.fail_after(10):
        assert (await world.run([race]))["status"] == "completed"


@pytest.mark.spec("8.5", "15.I5")
async def test_a_log_record_is_one_bounded_line_with_its_place(world: Any) -> None:
    structlog.reset_defaults()
    params = {
        "message": "a\n${{inputs.v}}",
        "level": "warning",
        "data": {"k": 1},
        "host": "h",
        "token": "${{secrets.P}}",
    }
    with capture_logs() as records:
        async with world.engine() as engine:
            await engine.define(
                "t", {"steps": [{"id": "s", "action": "workflow.log", "params": params}]}, agent_id="me"
            )
            result = await engine.run("t", agent_id="me", params={"v": "\x1b[31m" + "x" * 100_000})
    assert result["steps"]["s"]["output"] == {"logged": True}
    (record,) = [each for each in records if each["event"].startswith("a\\n")]
    assert record["event"].startswith("a\\n\\x1b[31mxxx")
    assert (record["log_level"], record["workflow_id"], record["step_id"]) == ("warning", result["workflow_id"], "s")
    assert record["data"] == {"k": 1, "host": "h", "token": "***"}
    assert len(json.dumps(record)) <= 65_536 + 500


@pytest.mark.spec("8.5")
async def test_an_unknown_level_is_refused(world: Any) -> None:
    with pytest.raises(DefinitionError):
        await world.call("workflow.log", {"message": "x", "level": "loud"})


class Notifier:
    """What a server offers; notes what it was asked to push."""

    def __init__(self, answer: tuple[bool, str | None]) -> None:
        self.answer = answer
        self.pushed: list[tuple[str, dict[str, Json]]] = []

    async def notify(self, agent_id: str, params: dict[str, Json]) -> tuple[bool, str | None]:
        self.pushed.append((agent_id, params))
        return self.answer


@pytest.mark.spec("8.6", "15.K12", "18.7")
@pytest.mark.parametrize(
    ("answer", "output"),
    [
        ((True, None), {"notified": True}),
        ((False, "agent_not_connected"), {"notified": False, "reason": "agent_not_connected"}),
        ((False, "send_failed"), {"notified": False, "reason": "send_failed"}),
        (None, {"notified": False, "reason": "no_notifier"}),
    ],
)
async def test_a_notification_says_whether_it_arrived_and_never_fails_its_step(
    world: Any, answer: Any, output: Json
) -> None:
    notifier = None if answer is None else Notifier(answer)
    step = {"id": "s", "action": "workflow.notify", "params": {"message": "m", "data": [1, "${{secrets.P}}"]}}
    async with world.engine(notifier=notifier) as engine:
        await engine.define("t", {"steps": [step]}, agent_id="me")
        result = await engine.run("t", agent_id="me")
    assert result["steps"]["s"]["output"] == output
    if notifier is not None:
        params = {"message": "m", "workflow_id": result["workflow_id"], "step_id": "s", "data": [1, "***"]}
        assert notifier.pushed == [("me", params)]
