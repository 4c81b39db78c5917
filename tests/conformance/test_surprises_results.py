"""Errors, starts, versions and answers are what a reader of a result would expect."""

from __future__ import annotations

from typing import Any

import anyio
import pytest

from opcode_kernel import OpcodeError

pytestmark = pytest.mark.anyio


def do(step_id: str, name: str = "t.echo", **keys: Any) -> dict[str, Any]:
    return {"id": step_id, "action": name, **keys}


def fail(step_id: str, message: str = "it broke", **keys: Any) -> dict[str, Any]:
    return do(step_id, "t.fail", params={"message": message, **keys.pop("params", {})}, **keys)


def of(step_id: str, type: str, config: dict[str, Any], **keys: Any) -> dict[str, Any]:
    return {"id": step_id, "type": type, "config": config, **keys}


def ask(step_id: str = "ask", **config: Any) -> dict[str, Any]:
    return of(step_id, "reasoning", {"prompt_context": "?", **config})


FLAKY = fail("n", params={"times": 2, "value": "won"})
#: A container whose third attempt succeeds, and its output then.
CONTAINERS: dict[str, tuple[dict[str, Any], Any]] = {
    "condition": (
        {"expression": "true", "branches": {"true": [do("m", "t.do"), FLAKY]}},
        {"branch": "true", "output": "won"},
    ),
    "loop": ({"over": [1], "body": [do("m", "t.do"), FLAKY]}, {"iterations": 1, "results": ["won"]}),
    "parallel": ({"branches": [[do("m", "t.do"), FLAKY]]}, {"mode": "all", "branches": ["won"]}),
}


@pytest.mark.spec("10.45")
@pytest.mark.parametrize("kind", CONTAINERS)
async def test_a_container_is_retried_as_a_whole(house, kind):
    config, output = CONTAINERS[kind]
    async with house.engine() as engine:
        result = await house.run(engine, [of("c", kind, config, retry={"max": 2})])
        starts = [
            e["payload"]["attempt"] for e in await house.events(engine, result["workflow_id"], "step_started", step="c")
        ]
        shown = await engine.status(result["workflow_id"])
    assert (result["status"], result["output"], starts) == ("completed", output, [1, 2, 3])
    assert len(house.effects()) == 3
    assert shown["steps"]["c"]["retry_count"] == 2


@pytest.mark.spec("10.45")
@pytest.mark.parametrize(
    "step", [of("w", "wait", {"duration": "1ms"}, retry={"max": 1}), {**ask(), "retry": {"max": 1}}],
)  # fmt: skip
async def test_a_retry_of_a_wait_or_a_question_has_no_effect_and_is_warned_of(house, step):
    async with house.engine() as engine:
        report = engine.check({"steps": [step]})
        assert [issue.path for issue in report.warnings] == ["steps[0].retry"]
        assert not report.errors
    broken = of("w", "wait", {"duration": "${{inputs.d}}"}, retry={"max": 3})
    async with house.engine() as engine:
        result = await house.run(engine, [broken], {"d": "moon"})
        assert (result["status"], "step_retry_attempt" in await house.types(engine, result["workflow_id"])) == (
            "failed", False,
        )  # fmt: skip


@pytest.mark.spec("10.47")
async def test_a_run_starts_once_and_a_question_once_however_often_it_is_resumed(house):
    steps = [ask("one"), ask("two"), ask("three"), do("last", depends_on=["one", "two", "three"])]
    async with house.engine() as engine:
        run_id = (await house.run(engine, steps))["workflow_id"]
    for step in ("two", "one", "three"):
        async with house.engine() as engine:
            await engine.signal(run_id, "decision", step_id=step, payload={"choice": "x"})
            types = await house.types(engine, run_id)
            starts = [event["step_id"] for event in await house.events(engine, run_id, "step_started")]
    assert (types.count("workflow_started"), types.count("workflow_resumed")) == (1, 3)
    assert starts == ["one", "two", "three", "last"]
    assert types.count("decision_requested") == 3


@pytest.mark.spec("10.48")
async def test_the_error_of_a_run_is_that_of_the_first_failure_and_lists_the_others(house, until):
    steps = [
        do("slow", "t.gate"),
        fail("first", "early"),
        of("p", "parallel", {"branches": [[do("g", "t.gate"), fail("n", "late")]]}),
    ]
    async with house.engine() as engine:
        await engine.define("t", {"steps": steps}, agent_id="me")
        run_id = (await engine.run("t", agent_id="me", wait=False))["workflow_id"]
        await until(lambda: "first" in house.seen and len(house.effects()) == 2)
        house.gate().set()
        shown = await house.becomes(engine, run_id, "failed")
    error = shown["error"]
    assert (error["code"], error["step_id"], error["message"]) == ("STEP_FAILED", "first", "early")
    assert [(other["step_id"], other["message"]) for other in error["details"]["other_errors"]] == [
        ("p.branch_0.n", "late")
    ]


@pytest.mark.spec("10.48")
async def test_the_root_is_wrapped_once_however_deep_it_was(house):
    root = fail("x", "deep", params={"code": "ASSERTION_FAILED", "details": {"k": 1}})
    deep = of("c", "condition", {"expression": "true", "branches": {"true": [
        of("l", "loop", {"over": [1], "body": [of("p", "parallel", {"branches": [[root]]})]}),
    ]}})  # fmt: skip
    async with house.engine() as engine:
        result = await house.run(engine, [deep])
        shown = await engine.status(result["workflow_id"])
    error = result["error"]
    assert (error["code"], error["step_id"], error["retryable"]) == (
        "NON_RETRYABLE", "c.true.l.iter_0.p.branch_0.x", False,
    )  # fmt: skip
    assert {key: error["details"]["cause"][key] for key in ("code", "message")} == {
        "code": "ASSERTION_FAILED", "message": "deep",
    }  # fmt: skip
    assert error["details"]["cause"]["details"]["k"] == 1
    assert error["details"]["path"] == ["c", "c.true.l", "c.true.l.iter_0.p"]
    assert shown["error"] == error
    for step in (*result["steps"].values(), *shown["steps"].values()):
        assert isinstance(step["error"], dict)
        assert step["error"]["code"] == "ASSERTION_FAILED"


@pytest.mark.spec("10.48")
@pytest.mark.parametrize(
    ("step", "code", "root"),
    [
        (fail("a"), "STEP_FAILED", "EXECUTION_ERROR"), (fail("a", retry={"max": 0}), "STEP_FAILED", "EXECUTION_ERROR"),
        (fail("a", retry={"max": 1}), "RETRY_EXHAUSTED", "EXECUTION_ERROR"),
        (fail("a", retry={"max": 1}, params={"code": "NOT_FOUND"}), "NON_RETRYABLE", "NOT_FOUND"),
        (fail("a", retry={"max": 1}, params={"retryable": False}), "NON_RETRYABLE", "EXECUTION_ERROR"),
        (do("a", "t.crash"), "STEP_FAILED", "EXECUTION_ERROR"),
        (do("a", "t.sleep", params={"seconds": 9}, timeout="10ms"), "TIMEOUT_ERROR", "TIMEOUT_ERROR"),
        (do("a", "t.sleep", params={"seconds": 9}, timeout="10ms", retry={"max": 1}), "RETRY_EXHAUSTED", "TIMEOUT_ERROR"),
        (do("a", "workflow.fail", params={"reason": "no"}), "NON_RETRYABLE", "NON_RETRYABLE"),
        (do("a", condition="1 + 1"), "NON_RETRYABLE", "EXECUTION_ERROR"),
    ],
)  # fmt: skip
async def test_the_code_of_the_run_says_why_it_was_not_tried_again_and_keeps_the_root(house, step, code, root):
    async with house.engine() as engine:
        result = await house.run(engine, [step])
    assert (result["status"], result["error"]["code"], result["error"]["step_id"]) == ("failed", code, "a")
    assert result["error"].get("details", {}).get("cause", {"code": code})["code"] == root
    assert result["steps"]["a"]["error"]["code"] == root


@pytest.mark.spec("10.48")
async def test_the_duration_of_a_retried_step_counts_from_the_first_start_to_the_end(house):
    async with house.engine() as engine:
        result = await house.run(engine, [fail("a", params={"times": 1}, retry={"max": 1, "delay": "60ms"})])
        shown = (await engine.status(result["workflow_id"]))["steps"]["a"]
        starts = await house.events(engine, result["workflow_id"], "step_started")
    assert result["steps"]["a"]["duration_ms"] == shown["duration_ms"] >= 60
    assert shown["started_at"] == starts[0]["timestamp"]


@pytest.mark.spec("10.49")
@pytest.mark.parametrize("agent", [None, "", "other", "ME"])
async def test_only_the_agent_that_is_meant_may_decide(house, agent):
    async with house.engine() as engine:
        run_id = (await house.run(engine, [ask(target_agent="me")]))["workflow_id"]
        before = await house.events(engine, run_id)
        with pytest.raises(OpcodeError) as caught:
            await engine.signal(run_id, "decision", step_id="ask", payload={"choice": "x"}, agent_id=agent)
        assert caught.value.code == "VALIDATION_ERROR"
        assert "me" in caught.value.message
        assert agent is None or agent in caught.value.message
        assert await house.events(engine, run_id) == before
        result = await engine.signal(run_id, "decision", step_id="ask", payload={"choice": "x"}, agent_id="me")
        assert result["output"]["resolved_by"] == "me"


@pytest.mark.spec("10.49")
async def test_an_empty_target_means_everybody(house):
    async with house.engine() as engine:
        run_id = (await house.run(engine, [ask(target_agent="")]))["workflow_id"]
        assert (await engine.signal(run_id, "decision", payload={"choice": "x"}))["status"] == "completed"


@pytest.mark.spec("10.50")
@pytest.mark.parametrize(
    ("signal", "code"),
    [
        ({"signal_type": "decision", "payload": {}}, "VALIDATION_ERROR"),
        ({"signal_type": "decision", "payload": {"choice": " "}}, "VALIDATION_ERROR"),
        ({"signal_type": "decision", "payload": {"choice": 7}}, "VALIDATION_ERROR"),
        ({"signal_type": "decision", "payload": {"choice": "maybe"}}, "VALIDATION_ERROR"),
        ({"signal_type": "decision", "payload": {"choice": "go"}, "step_id": "moon"}, "NOT_FOUND"),
        ({"signal_type": "moon", "payload": {}}, "VALIDATION_ERROR"),
        ({"signal_type": "decision", "payload": "go"}, "VALIDATION_ERROR"),
    ],
)  # fmt: skip
async def test_a_refused_decision_writes_nothing_and_names_the_options(house, signal, code):
    async with house.engine() as engine:
        run_id = (await house.run(engine, [ask(options=[{"id": "go"}, {"id": "stay"}])]))["workflow_id"]
        before = await house.events(engine, run_id)
        with pytest.raises(OpcodeError) as caught:
            await engine.signal(run_id, **signal)
        assert caught.value.code == code
        if signal["payload"] == {"choice": "maybe"}:
            assert all(option in caught.value.message for option in ("go", "stay"))
        assert await house.events(engine, run_id) == before


@pytest.mark.spec("10.50")
async def test_an_unknown_workflow_is_not_found_and_says_its_id(house):
    async with house.engine() as engine:
        for attempt in (engine.status("nobody"), engine.signal("nobody", "decision", payload={"choice": "x"})):
            with pytest.raises(OpcodeError, match="nobody") as caught:
                await attempt
            assert caught.value.code == "NOT_FOUND"


@pytest.mark.spec("10.54")
async def test_the_latest_version_is_the_highest_number_also_after_a_hundred(house):
    async with house.engine() as engine:
        for n in range(1, 112):
            await engine.define("t", {"steps": [do("a", params={"value": n})]}, agent_id="me")
        call = {"steps": [do("c", "workflow.run", params={"template_name": "t"})]}
        child = await house.run(engine, call, name="parent")
        assert ((await engine.run("t", agent_id="me"))["output"], child["output"]) == (111, 111)
        assert (await engine.run("t", agent_id="me", version="v9"))["output"] == 9
    async with house.engine() as engine:
        assert (await engine.run("t", agent_id="me"))["output"] == 111
        assert (await engine.run("parent", agent_id="me"))["output"] == 111
        assert (await engine.run("t", agent_id="me", version="v100"))["output"] == 100


@pytest.mark.spec("10.54")
async def test_simultaneous_defines_get_versions_of_their_own(house):
    answers: dict[int, str] = {}
    async with house.engine() as engine:

        async def define(n: int) -> None:
            answers[n] = (await engine.define("t", {"steps": [do("a", params={"value": n})]}, agent_id="me"))["version"]

        async with anyio.create_task_group() as tasks:
            for n in range(30):
                tasks.start_soon(define, n)
        assert sorted(answers.values(), key=lambda version: int(version[1:])) == [f"v{n}" for n in range(1, 31)]
        for n, version in answers.items():
            assert (await engine.run("t", agent_id="me", version=version))["output"] == n
