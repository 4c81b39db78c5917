"""From params to output: what an action is asked, what it may answer, how its failures are told, and when it is not asked."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable
from typing import Any

import anyio
import pytest

from opcode_kernel import ActionContext, ActionError, Json, action, hookimpl, registry_of
from opcode_kernel.errors import CODES, Failure, OpcodeError, is_retryable
from opcode_kernel.testing import AnyParams, installed_plugins

pytestmark = pytest.mark.anyio


@pytest.fixture
def offer(world: Any) -> Callable[..., None]:
    """Return a function that adds an action `own.act` made of a function of its params."""

    def add(act: Callable[[dict[str, Json]], Json], **declared: Any) -> None:
        declared.setdefault("effect", "pure")

        @action("own.act", summary="Do", params=AnyParams, **declared)
        def run(ctx: ActionContext, params: AnyParams) -> Json:
            return act(params.given)

        own = type("own", (), {"__doc__": "Own.", "__name__": "own", "opcode_actions": hookimpl(lambda: [run])})
        world.registry = registry_of(*installed_plugins(), world.probe.module(), own)

    return add


def nested(levels: int) -> Json:
    value: Json = 1
    for _ in range(levels):
        value = [value]
    return value


# Outputs --------------------------------------------------------------------------------------------------------------


@pytest.mark.spec("1.3")
@pytest.mark.parametrize(
    ("output", "words"),
    [
        (float("nan"), "finite number"), ({"a": [float("inf")]}, "finite number, found inf at a.0"),
        ([-float("inf")], "finite number"), ({1: 2}, "string keys"), ({"a": {None: 1}}, "string keys"), ({1, 2}, "JSON value"),
        (b"x", "JSON value"), (object(), "JSON value"), (10**5000, "JSON value"), (nested(255), "at most 254 levels"),
        (nested(20_000), "deep"),
    ],
    ids=range(11),
)  # fmt: skip
@pytest.mark.parametrize("effect", ["pure", "effect"])
async def test_an_output_that_is_no_json_fails_the_step_for_good(
    world: Any, offer: Any, output: Any, words: str, effect: str
) -> None:
    offer(lambda given: output, effect=effect)
    error = await world.call("own.act", {"secret": "${{secrets.P}}"}, retry={"max": 3})
    assert (error["code"], error["retryable"]) == ("EXECUTION_ERROR", False)
    assert words in error["message"]


@pytest.mark.spec("1.3")
@pytest.mark.parametrize("output", [None, 0, "", False, [], nested(254), "\ud800", 10**40, -(2**63), [None] * 3])
async def test_any_json_value_is_an_output(world: Any, offer: Any, output: Json) -> None:
    offer(lambda given: output)
    result = await world.run([{"id": "s", "action": "own.act", "params": {"secret": "${{secrets.P}}"}}])
    assert result["status"] == "completed"
    assert result["steps"]["s"].get("output") == output


@pytest.mark.spec("1.3")
async def test_an_action_sees_where_it_stands_by_the_full_id_of_its_step(world: Any) -> None:
    seen: list[tuple[str, str, str]] = []

    @action("own.look", summary="Look", effect="pure")
    def look(ctx: ActionContext, params: None) -> Json:
        seen.append((str(uuid.UUID(ctx.run_id)), ctx.step_id, ctx.agent_id))
        return ctx.scope.select()["inputs"]

    own = type("own", (), {"__doc__": "Own.", "__name__": "own", "opcode_actions": hookimpl(lambda: [look])})
    world.registry = registry_of(*installed_plugins(), own)
    body = [{"id": "b", "type": "parallel", "config": {"branches": [[{"id": "a", "action": "own.look"}]]}}]
    loop = {"id": "l", "type": "loop", "config": {"over": "[7]", "body": body}}
    result = await world.run([{"id": "top", "action": "own.look"}, loop], {"k": "v"})
    assert [step_id for _, step_id, _ in seen] == ["top", "l.iter_0.b.branch_0.a"]
    assert {(run_id, agent) for run_id, _, agent in seen} == {(result["workflow_id"], "me")}
    assert result["steps"]["top"]["output"] == {"k": "v"}


# Failures -------------------------------------------------------------------------------------------------------------


@pytest.mark.spec("1.5", "15.K14")
@pytest.mark.parametrize("code", CODES)
async def test_a_failure_keeps_its_code_details_and_flag_on_the_step_and_inside_the_error_of_the_run(
    world: Any, offer: Any, code: str
) -> None:
    def fail(given: dict[str, Json]) -> Json:
        raise ActionError(code, "it broke", details={"k": [1]})

    offer(fail)
    async with world.engine() as engine:
        await engine.define("t", {"steps": [{"id": "s", "action": "own.act"}]}, agent_id="me")
        result = await engine.run("t", agent_id="me")
        status = await engine.status(result["workflow_id"])
    error = {
        "code": code,
        "message": "it broke",
        "details": {"k": [1]},
        "step_id": "s",
        "retryable": is_retryable(code),
    }
    assert result["steps"]["s"]["error"] == error
    (event,) = [each for each in status["events"] if each["event_type"] == "step_failed"]
    kept = {key: event["payload"][key] for key in ("error", "code", "details", "retryable")}
    assert kept == {"error": "it broke", "code": code, "details": {"k": [1]}, "retryable": is_retryable(code)}
    assert result["error"]["code"] in ("NON_RETRYABLE", "STEP_FAILED", "RETRY_EXHAUSTED", code)
    cause = result["error"]["details"].get("cause", result["error"])
    assert {key: cause[key] for key in ("code", "message")} == {"code": code, "message": "it broke"}
    assert str(Failure.from_json(error)) == f"[{code}] step s: it broke"


def caused(error: OpcodeError, *causes: BaseException) -> OpcodeError:
    found: BaseException = error
    for cause in causes:
        found.__cause__ = cause
        found = cause
    return error


CANCELLED = asyncio.CancelledError()
REFUSED = ActionError("PATH_DENIED", "no")


@pytest.mark.spec("1.5")
@pytest.mark.parametrize(
    ("error", "retryable"),
    [
        (REFUSED, False),
        (ActionError("EXECUTION_ERROR", "no"), True),
        (caused(ActionError("VALIDATION_ERROR", "no"), TimeoutError()), True),
        (caused(ActionError("VALIDATION_ERROR", "no"), ValueError(), TimeoutError()), True),
        (caused(ActionError("EXECUTION_ERROR", "no"), CANCELLED), False),
        (caused(ActionError("EXECUTION_ERROR", "no"), TimeoutError(), CANCELLED), True),
        (caused(ActionError("EXECUTION_ERROR", "no"), ActionError("PATH_DENIED", "inner")), True),
        (caused(ActionError("PATH_DENIED", "no"), ActionError("EXECUTION_ERROR", "inner")), False),
        (caused(ActionError("EXECUTION_ERROR", "no", retryable=False), TimeoutError()), False),
    ],
    ids=range(9),
)
def test_a_deadline_or_a_cancellation_below_says_more_than_the_code(error: OpcodeError, retryable: bool) -> None:
    assert Failure.of(error).retryable is retryable


@pytest.mark.spec("1.5")
async def test_an_exception_without_a_code_is_retried(world: Any, offer: Any) -> None:
    calls: list[int] = []

    def crash(given: dict[str, Json]) -> Json:
        calls.append(1)
        raise KeyError("nothing")

    offer(crash)
    error = await world.call("own.act", {}, retry={"max": 2, "delay": "1ms"})
    assert (error["code"], error["retryable"], len(calls)) == ("EXECUTION_ERROR", True, 3)


@pytest.mark.spec("1.5")
@pytest.mark.parametrize("details", [None, {"kept": "short", "cut": "y" * 100_000}])
async def test_a_failure_of_any_length_leaves_a_readable_answer(world: Any, offer: Any, details: Json) -> None:
    def fail(given: dict[str, Json]) -> Json:
        raise ActionError("EXECUTION_ERROR", "x" * 1_000_000, details=details)

    offer(fail)
    error = await world.call("own.act", {})
    assert error["message"] == "x" * 8192
    assert error.get("details") == (details and {"kept": "short", "cut": {"truncated": True, "bytes": 100_002}})


@pytest.mark.spec("1.5", "15.K13", "18.13")
@pytest.mark.parametrize(
    ("name", "params", "code"),
    [
        ("fs.read", {"path": "/nonexistent/file"}, "EXECUTION_ERROR"),
        ("workflow.run", {"template_name": "nobody"}, "NOT_FOUND"),
        ("probe.take", {"v": "${{inputs.a.b.c}}"}, "INTERPOLATION_ERROR"),
        ("expr.eval", {"expression": "'${{inputs.text}}' +"}, "VALIDATION_ERROR"),
        ("shell.exec", {"command": "no-such-command-anywhere"}, "EXECUTION_ERROR"),
    ],
)
async def test_what_can_only_fail_again_is_not_retried(
    world: Any, name: str, params: dict[str, Json], code: str
) -> None:
    async with world.engine() as engine:
        step = {"id": "s", "action": name, "params": params, "retry": {"max": 3, "delay": "1h"}}
        await engine.define("t", {"steps": [step]}, agent_id="me")
        with anyio.fail_after(5):
            result = await engine.run("t", agent_id="me", params={"a": {"b": {}}, "text": "1"})
        events = (await engine.status(result["workflow_id"]))["events"]
    error = result["steps"]["s"]["error"]
    assert (error["code"], error["retryable"]) == (code, False)
    assert "step_retrying" not in [each["event_type"] for each in events]


# Breakers -------------------------------------------------------------------------------------------------------------


@pytest.mark.spec("1.8")
@pytest.mark.parametrize(
    ("name", "params"),
    [
        ("assert.equals", {"expected": 1, "actual": 2}), ("expr.eval", {"expression": "fromJSON('{')"}),
        ("workflow.fail", {"reason": "enough"}), ("crypto.hash", {"data": "x", "data_encoding": "hex"}),
        ("shell.exec", {"command": "no-such-command-anywhere"}), ("fs.read", {"path": "/nonexistent"}),
    ],
)  # fmt: skip
async def test_what_calls_nobody_never_blocks_itself(world: Any, name: str, params: dict[str, Json]) -> None:
    async with world.engine() as engine:
        await engine.define("t", {"steps": [{"id": "s", "action": name, "params": params}]}, agent_id="me")
        codes = {(await engine.run("t", agent_id="me"))["steps"]["s"]["error"]["code"] for _ in range(8)}
    assert "CIRCUIT_OPEN" not in codes
    assert len(codes) == 1


@pytest.mark.spec("1.8")
async def test_a_server_that_answers_never_blocks_itself_and_one_that_is_gone_does(world: Any, server: Any) -> None:
    answers = {"url": server.answer("/no", status=404), "fail_on_error_status": True}
    gone = {"url": "http://127.0.0.1:1/"}  # nothing listens on the port of a service long forgotten
    async with world.engine() as engine:
        for name, params in (("answers", answers), ("gone", gone)):
            await engine.define(name, {"steps": [{"id": "s", "action": "http.get", "params": params}]}, agent_id="me")
        codes = {
            name: [(await engine.run(name, agent_id="me"))["steps"]["s"]["error"]["code"] for _ in range(7)]
            for name in ("answers", "gone")
        }
    assert codes["answers"] == ["NON_RETRYABLE"] * 7
    assert codes["gone"] == ["EXECUTION_ERROR"] * 5 + ["CIRCUIT_OPEN"] * 2


@pytest.mark.spec("1.8")
async def test_a_call_that_never_came_about_leaves_the_probe_to_the_next(world: Any, server: Any) -> None:
    now = [1_000_000]
    port = server.server_address[1]
    step = {
        "id": "s", "action": "http.get",
        "params": {"url": f"http://127.0.0.1:{port}/${{{{inputs.path}}}}", "max_redirects": "${{inputs.most}}"},
    }  # fmt: skip
    server.routes["/down"] = lambda nth: (500, {}, b"")
    step["params"]["fail_on_error_status"] = True
    server.answer("/up", {"ok": True})
    async with world.engine(clock=lambda: now[0]) as engine:
        await engine.define("t", {"steps": [step]}, agent_id="me")

        async def ask(path: str, most: Json = 1) -> str:
            params = {"path": path, "most": most} if path else {"most": most}
            found = (await engine.run("t", agent_id="me", params=params))["steps"]["s"]
            return str(found["error"]["code"] if "error" in found else found["status"])

        opened = [await ask("down") for _ in range(6)]
        now[0] += 31_000_000
        broken = [await ask(""), await ask("up", "many")]
        assert await ask("up") == "completed"
    assert opened[:5] == ["EXECUTION_ERROR"] * 5
    assert broken == ["INTERPOLATION_ERROR", "VALIDATION_ERROR"]
