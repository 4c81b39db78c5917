"""Ignored failures and circuit breakers, as documented."""

from __future__ import annotations

from typing import Any

import pytest

from opcode_kernel.runtime.engine import wall_clock

pytestmark = pytest.mark.anyio
IGNORE = {"strategy": "ignore"}


def do(step_id: str, name: str = "t.echo", **keys: Any) -> dict[str, Any]:
    return {"id": step_id, "action": name, **keys}


def call(step_id: str = "c", host: str = "dead", **keys: Any) -> dict[str, Any]:
    params = {"host": host, **{key: keys.pop(key) for key in ("code", "gate") if key in keys}}
    return do(step_id, "t.call", params=params, **keys)


class Clock:
    """The clock of an engine, which a test may put forward."""

    ahead = 0

    def __call__(self) -> int:
        return wall_clock() + self.ahead


@pytest.fixture
def late() -> Clock:
    return Clock()


async def trip(house: Any, engine: Any, times: int = 5, **keys: Any) -> str:
    """Let calls of one step fail that often; the id of the last run."""
    house.down.add("dead")
    for _ in range(times):
        result = await house.run(engine, [call(**keys)])
        assert result["status"] == "failed"
    return result["workflow_id"]  # type: ignore[no-any-return]


@pytest.mark.spec("10.30", "10.40")
async def test_five_failures_open_a_breaker_and_each_change_is_told_to_the_run_that_caused_it(house, late):
    async with house.engine(clock=late) as engine:
        opened = await trip(house, engine)
        blocked = await house.run(engine, [call(retry={"max": 3})])
        error = blocked["steps"]["c"]["error"]
        late.ahead = 30_000_000
        house.down.clear()
        probed = await house.run(engine, [call()])
        after = await house.run(engine, [call()])
        kinds = ("circuit_breaker_open", "circuit_breaker_half_open", "circuit_breaker_closed")
        told = {
            name: [event["event_type"] for event in await house.events(engine, run_id, *kinds)]
            for name, run_id in (
                ("opened", opened), ("blocked", blocked["workflow_id"]), ("probed", probed["workflow_id"]),
                ("after", after["workflow_id"]),
            )
        }  # fmt: skip
        stored = [event for kind in kinds for event in await house.events(engine, opened, kind)]
    assert (error["code"], len(house.seen["c"])) == ("CIRCUIT_OPEN", 7)
    assert error["details"] == {
        **error["details"], "action": "t.call", "consecutive_failures": 5, "state": "open", "target": "dead",
    }  # fmt: skip
    assert error["details"]["cooldown_remaining"]
    assert (probed["status"], after["status"]) == ("completed", "completed")
    assert told == {
        "opened": ["circuit_breaker_open"], "blocked": [], "after": [],
        "probed": ["circuit_breaker_half_open", "circuit_breaker_closed"],
    }  # fmt: skip
    assert stored[0]["payload"] == {
        "action": "t.call", "target": "dead", "state": "open", "consecutive_failures": 5, "failure_threshold": 5,
        "cooldown": "30s",
    }  # fmt: skip


@pytest.mark.spec("10.40")
async def test_one_dead_host_leaves_the_others_reachable(house):
    async with house.engine() as engine:
        await trip(house, engine)
        assert (await house.run(engine, [call(host="alive")]))["status"] == "completed"
        assert (await house.run(engine, [call()]))["steps"]["c"]["error"]["code"] == "CIRCUIT_OPEN"


@pytest.mark.spec("10.40")
@pytest.mark.parametrize("code", [
    "VALIDATION_ERROR", "ASSERTION_FAILED", "PERMISSION_DENIED", "PATH_DENIED", "INTERPOLATION_ERROR", "NOT_FOUND",
])  # fmt: skip
async def test_failures_that_are_the_users_own_open_nothing(house, code):
    async with house.engine() as engine:
        await trip(house, engine, 7, code=code)
        house.down.clear()
        assert (await house.run(engine, [call()]))["status"] == "completed"


@pytest.mark.spec("10.40")
@pytest.mark.parametrize("code", ["EXECUTION_ERROR", "TIMEOUT_ERROR", "ISOLATION_ERROR"])
async def test_failures_of_the_infrastructure_open_it(house, code):
    async with house.engine() as engine:
        await trip(house, engine, 5, code=code)
        house.down.clear()
        assert (await house.run(engine, [call()]))["steps"]["c"]["error"]["code"] == "CIRCUIT_OPEN"


@pytest.mark.spec("10.40")
@pytest.mark.parametrize(
    ("action", "params"),
    [
        ("assert.equals", {"expected": 1, "actual": 2}), ("workflow.fail", {"reason": "no"}),
        ("shell.exec", {"command": "false"}), ("expr.eval", {"expression": "int('moon')"}),
        ("crypto.hash", {"data": "x", "algorithm": "moon"}),
    ],
)  # fmt: skip
async def test_actions_that_call_nobody_have_no_breaker(house, action, params):
    given = {key: f"${{{{inputs.{key}}}}}" for key in params} if action.startswith("crypto") else params
    async with house.engine() as engine:
        for _ in range(7):
            result = await house.run(engine, [do("a", action, params=given)], params)
            assert result["steps"]["a"].get("error", {}).get("code") != "CIRCUIT_OPEN"
            kinds = {event["event_type"] for event in await house.events(engine, result["workflow_id"])}
            assert not any(kind.startswith("circuit_breaker") for kind in kinds)


@pytest.mark.spec("10.40")
async def test_a_success_begins_the_count_anew(house):
    async with house.engine() as engine:
        for _ in range(3):
            await trip(house, engine, 4)
            house.down.clear()
            assert (await house.run(engine, [call()]))["status"] == "completed"


@pytest.mark.spec("10.40")
async def test_a_probe_that_ends_without_a_verdict_gives_its_place_back(house, late, until):
    async with house.engine(clock=late) as engine:
        await trip(house, engine)
        late.ahead = 31_000_000
        house.down.clear()
        await engine.define("probe", {"steps": [call("probe", gate="probe")]}, agent_id="me")
        run_id = (await engine.run("probe", agent_id="me", wait=False))["workflow_id"]
        await until(lambda: "probe" in house.seen)
        assert (await house.run(engine, [call()]))["steps"]["c"]["error"]["code"] == "CIRCUIT_OPEN"
        await engine.signal(run_id, "cancel")
        await until(lambda: not engine.live)
        assert (await house.run(engine, [call()]))["status"] == "completed"


@pytest.mark.spec("10.40")
@pytest.mark.parametrize("code", ["VALIDATION_ERROR", "ASSERTION_FAILED"])
async def test_a_probe_that_fails_for_another_reason_gives_its_place_back_too(house, late, code):
    async with house.engine(clock=late) as engine:
        await trip(house, engine)
        late.ahead = 31_000_000
        await trip(house, engine, 1, code=code)
        house.down.clear()
        assert (await house.run(engine, [call()]))["status"] == "completed"


@pytest.mark.spec("10.40")
async def test_a_probe_that_fails_opens_it_again_and_refusals_do_not_prolong_the_cooldown(house, late):
    async with house.engine(clock=late) as engine:
        await trip(house, engine)
        late.ahead = 31_000_000
        again = await trip(house, engine, 1)
        assert "circuit_breaker_open" in await house.types(engine, again)
        house.down.clear()
        late.ahead = 60_000_000
        assert (await house.run(engine, [call()]))["steps"]["c"]["error"]["code"] == "CIRCUIT_OPEN"
        late.ahead = 62_000_000
        assert (await house.run(engine, [call()]))["status"] == "completed"


@pytest.mark.spec("10.33")
async def test_an_ignored_failure_is_a_skipped_step_that_keeps_its_error(house):
    params = {"code": "EXECUTION_ERROR", "message": "lost", "details": {"k": 1}}
    after = do("after", depends_on=["a"], params={"value": ["${{steps.a.status}}", "${{steps.a.output}}"]})
    guarded = do("on", depends_on=["a"], condition="steps.a.error.code == 'EXECUTION_ERROR'")
    async with house.engine() as engine:
        result = await house.run(engine, [do("a", "t.fail", params=params, on_error=IGNORE), after, guarded])
        shown = (await engine.status(result["workflow_id"]))["steps"]["a"]
        (row,) = [row for row in await engine.store.steps(result["workflow_id"]) if row.step_id == "a"]
        (skipped,) = await house.events(engine, result["workflow_id"], "step_skipped")
    assert (result["status"], result["steps"]["on"]["status"]) == ("completed", "completed")
    assert result["output"]["after"] == ["skipped", None]
    for step in (result["steps"]["a"], shown):
        assert (step["status"], step["ignored"], "output" in step) == ("skipped", True, False)
        assert step["error"] == {**step["error"], "code": "EXECUTION_ERROR", "message": "lost", "details": {"k": 1}}
    assert (row.status, row.error["message"]) == ("skipped", "lost")
    assert skipped["payload"]["reason"] == "ignored_error"


@pytest.mark.spec("10.33")
async def test_an_ignored_failure_is_ignored_only_after_its_retries(house):
    steps = [do("a", "t.fail", retry={"max": 2}, on_error=IGNORE)]
    async with house.engine() as engine:
        result = await house.run(engine, steps)
        shown = (await engine.status(result["workflow_id"]))["steps"]["a"]
    assert (result["status"], house.failures["a"], shown["retry_count"]) == ("completed", 3, 2)
