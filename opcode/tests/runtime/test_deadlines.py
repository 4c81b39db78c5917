"""Time-outs of steps and runs, and what becomes of the actions that are running then."""

from __future__ import annotations

import anyio
import pytest

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend(virtual_time):
    return virtual_time


def slow(name, seconds, **more):
    return {"id": name, "action": "fake.slow", "params": {"seconds": seconds}, **more}


async def run(world, clock, steps, pool_size=10, **definition):
    async with world.engine(clock=clock, pool_size=pool_size) as engine:
        await engine.define("t", {"steps": steps, **definition}, agent_id="me")
        started = anyio.current_time()
        result = await engine.run("t", agent_id="me")
        result["took"] = anyio.current_time() - started
        assert not engine.live
        return result


async def test_a_step_that_takes_too_long_fails_with_its_limit(world, clock):
    result = await run(world, clock, [slow("a", 100, timeout="2s")])
    error = result["steps"]["a"]["error"]
    assert (error["code"], "2000 ms" in error["message"]) == ("TIMEOUT_ERROR", True)
    assert result["error"]["code"] == "TIMEOUT_ERROR"
    assert result["took"] == pytest.approx(2)
    assert world.ran("cancelled") == ["a"]


async def test_an_action_that_does_not_end_when_its_time_is_up_is_given_up_after_a_grace(world, clock):
    stubborn = slow("a", 100, timeout="2s")
    stubborn["params"]["tidies"] = 60
    started = anyio.current_time()
    async with world.engine(clock=clock) as engine:
        await engine.define("t", {"steps": [stubborn]}, agent_id="me")
        result = await engine.run("t", agent_id="me")
        assert anyio.current_time() - started == pytest.approx(7)
    assert result["error"]["code"] == "TIMEOUT_ERROR"


async def test_time_spent_in_the_queue_for_a_place_is_not_charged_to_a_step(world, clock):
    steps = [slow("a", 20), slow("b", 2, timeout="3s", depends_on=["x"]), {"id": "x", "action": "fake.note"}]
    result = await run(world, clock, steps, pool_size=1)
    assert (result["status"], result["took"]) == ("completed", pytest.approx(22))


async def test_every_attempt_has_a_fresh_time_out(world, clock):
    result = await run(world, clock, [slow("a", 100, timeout="2s", retry={"max": 2, "delay": "1s"})])
    assert result["error"]["code"] == "RETRY_EXHAUSTED"
    assert result["took"] == pytest.approx(8)
    assert world.ran() == ["a", "a", "a"]


async def test_an_action_that_ends_in_time_is_not_disturbed(world, clock):
    result = await run(world, clock, [slow("a", 1.9, timeout="2s"), slow("b", 5, depends_on=["a"])])
    assert result["status"] == "completed"
    assert world.ran("cancelled") == []


@pytest.mark.parametrize(("on_timeout", "status", "code"), [
    ("fail", "failed", "TIMEOUT_ERROR"), ("cancel", "cancelled", "CANCELLED"), ("suspend", "suspended", None),
])  # fmt: skip
async def test_the_budget_of_a_run_cancels_what_is_running(world, clock, on_timeout, status, code):
    steps = [slow("a", 100), slow("b", 1, depends_on=["a"])]
    result = await run(world, clock, steps, timeout="3s", on_timeout=on_timeout)
    assert (result["status"], result.get("error", {}).get("code")) == (status, code)
    assert result["took"] == pytest.approx(3)
    assert world.ran("cancelled") == ["a"]
    assert world.ran() == ["a"]


async def test_a_run_suspended_by_its_budget_can_go_on(world, clock):
    async with world.engine(clock=clock) as engine:
        await engine.define("t", {"steps": [slow("a", 5)], "timeout": "3s", "on_timeout": "suspend"}, agent_id="me")
        run_id = (await engine.run("t", agent_id="me"))["workflow_id"]
        assert (await engine.signal(run_id, "retry"))["status"] == "suspended"
    assert world.ran() == ["a", "a"]


async def test_cancelling_a_run_stops_its_actions_and_discards_their_results(world, clock):
    async with world.engine(clock=clock) as engine:
        await engine.define("t", {"steps": [slow("a", 10), slow("b", 20)]}, agent_id="me")
        run_id = (await engine.run("t", agent_id="me", wait=False))["workflow_id"]
        await anyio.sleep(1)
        answer = await engine.signal(run_id, "cancel", payload={"reason": "enough"})
        assert (answer["status"], answer["error"]["message"]) == ("cancelled", "enough")
        await anyio.sleep(100)
    assert sorted(world.ran("cancelled")) == ["a", "b"]
    assert world.status(run_id) == "cancelled"
    assert (await world.types(run_id))[-1] == "step_skipped"


async def test_losers_of_a_race_are_cancelled(world, clock):
    race = {"id": "race", "type": "parallel", "config": {
        "mode": "race", "branches": [[slow("tortoise", 50)], [slow("hare", 2)], [slow("snail", 90)]],
    }}  # fmt: skip
    result = await run(world, clock, [race])
    assert result["status"] == "completed"
    assert result["took"] == pytest.approx(2)
    assert len(world.ran("cancelled")) == 2


@pytest.mark.parametrize(("tidies", "took"), [(3, 5), (60, 7)])
async def test_what_follows_a_race_waits_until_its_losers_have_ended_but_not_for_ever(world, clock, tidies, took):
    loser = slow("tortoise", 50)
    loser["params"]["tidies"] = tidies
    race = {"id": "race", "type": "parallel", "config": {"mode": "race", "branches": [[loser], [slow("hare", 2)]]}}
    after = {"id": "after", "action": "fake.note", "depends_on": ["race"]}
    started = anyio.current_time()
    async with world.engine(clock=clock) as engine:
        await engine.define("t", {"steps": [race, after]}, agent_id="me")
        result = await engine.run("t", agent_id="me")
        assert anyio.current_time() - started == pytest.approx(took)
    assert result["steps"]["race.branch_0.tortoise"]["reason"] == "race_lost"
    told = [
        entry
        for entry in world.log
        if entry[1] in ("after", "race.branch_0.tortoise") and entry[0] in ("run", "cancelled")
    ]
    ended = ("cancelled", "race.branch_0.tortoise")
    assert (told.index(ended) < told.index(("run", "after"))) is (tidies == 3)


async def test_a_loser_that_waits_for_a_place_in_the_pool_is_not_waited_for(world, clock):
    race = {"id": "race", "type": "parallel", "config": {
        "mode": "race", "branches": [[slow("hare", 2)], [slow("queued", 1)]],
    }}  # fmt: skip
    other = slow("other", 30)
    result = await run(world, clock, [race, other], pool_size=2)
    assert result["took"] == pytest.approx(30)
    rows = {row.step_id: row for row in await world.store.steps(result["workflow_id"])}
    assert (rows["race"].completed_at - rows["race"].started_at) / 1_000_000 == pytest.approx(1 + 1)


async def test_a_child_of_a_step_that_timed_out_is_cancelled(world, clock):
    async with world.engine(clock=clock) as engine:
        await engine.define("child", {"steps": [slow("a", 100)]}, agent_id="me")
        call = {"id": "call", "action": "workflow.run", "params": {"template_name": "child"}, "timeout": "2s"}
        await engine.define("t", {"steps": [call]}, agent_id="me")
        result = await engine.run("t", agent_id="me")
        assert result["error"]["code"] == "TIMEOUT_ERROR"
        await anyio.sleep(1)
        assert not engine.live
    assert {row.status for row in world.store._runs.values()} == {"failed", "cancelled"}
