"""One owner per run: order, waiting, idempotent starts, what a caller sees."""

from __future__ import annotations

import anyio
import pytest

from opcode_kernel.errors import ConflictError, DefinitionError, NotFoundError
from opcode_kernel.store.memory import MemoryStore

pytestmark = pytest.mark.anyio

ASK = {
    "id": "ask",
    "type": "reasoning",
    "config": {"prompt_context": "go on?", "options": [{"id": "yes"}, {"id": "no"}]},
}
PURE = {"steps": [{"id": "a", "action": "fake.pure", "params": {"value": "${{inputs.x}}"}}]}
GATED = {"steps": [{"id": "a", "action": "fake.gate"}]}


async def test_an_unknown_template_or_version_is_refused(world):
    async with world.engine() as engine:
        await engine.define("t", PURE, agent_id="me")
        with pytest.raises(NotFoundError, match="nowhere"):
            await engine.run("nowhere", agent_id="me")
        with pytest.raises(NotFoundError, match="v2"):
            await engine.run("t", agent_id="me", version="v2")
        with pytest.raises(DefinitionError, match="version"):
            await engine.run("t", agent_id="me", version="latest")
    assert world.store._runs == {}


@pytest.mark.parametrize("agent", ["", "  ", "x" * 129, "a\nb"])
async def test_an_agent_id_that_is_no_name_is_refused(world, agent):
    async with world.engine() as engine:
        with pytest.raises(DefinitionError, match="agent_id"):
            await engine.define("t", PURE, agent_id=agent)


async def test_unknown_runs_are_not_found(world):
    async with world.engine() as engine:
        for ask in (engine.status("nope"), engine.signal("nope", "cancel")):
            with pytest.raises(NotFoundError, match="nope"), anyio.fail_after(5):
                await ask
        assert not engine.live


@pytest.mark.parametrize("limit", [-1, -0.001, float("nan")])
async def test_a_waiting_limit_that_makes_no_sense_is_refused_before_anything_starts(world, limit):
    async with world.engine() as engine:
        await engine.define("t", PURE, agent_id="me")
        with pytest.raises(DefinitionError, match="wait_timeout"):
            await engine.run("t", agent_id="me", params={"x": 1}, wait_timeout=limit)
    assert world.store._runs == {}


async def test_status_refuses_unknown_parts(world):
    async with world.engine() as engine:
        await engine.define("t", PURE, agent_id="me")
        run_id = (await engine.run("t", agent_id="me", params={"x": 1}))["workflow_id"]
        with pytest.raises(DefinitionError, match="include"):
            await engine.status(run_id, include=["everything"])
        status = await engine.status(run_id, include=["events"], events_limit=2)
    assert not {"steps", "output", "params", "waiting"} & {*status}, "what is long comes with the part it belongs to"
    assert [event["event_type"] for event in status["events"]] == ["step_completed", "workflow_completed"]
    assert status["events_truncated"] is True
    assert "events_next" not in status, "nothing follows"


async def test_a_log_is_paged_forward_to_its_end(world):
    steps = [{"id": f"s{n}", "action": "fake.pure", "depends_on": [f"s{n - 1}"] if n else []} for n in range(10)]
    async with world.engine() as engine:
        await engine.define("t", {"steps": steps}, agent_id="me")
        run_id = (await engine.run("t", agent_id="me"))["workflow_id"]
        pages, since = [], 0
        while since is not None:
            status = await engine.status(run_id, include=["events"], events_since=since, events_limit=5)
            pages.append([event["sequence"] for event in status["events"]])
            since = status.get("events_next")
            assert status.get("events_truncated", False) is (since is not None)
        whole = await engine.status(run_id, events_limit=22)
        newest = await engine.status(run_id, events_limit=21)
        beyond = await engine.status(run_id, events_since=22)
        below = await engine.status(run_id, events_since=-5, events_limit=1)
    assert pages == [[1, 2, 3, 4, 5], [6, 7, 8, 9, 10], [11, 12, 13, 14, 15], [16, 17, 18, 19, 20], [21, 22]]
    assert not {"events_truncated", "events_next"} & {*whole, *beyond}
    assert (newest["events"][0]["sequence"], newest["events_truncated"]) == (2, True)
    assert beyond["events"] == []
    assert (below["events"][0]["sequence"], below["events_next"]) == (1, 1)


async def test_the_events_of_a_status_are_those_of_its_snapshot(world, until):
    """What is written while the events are read belongs to the next answer."""
    async with world.engine() as engine:
        await engine.define("t", GATED, agent_id="me")
        run_id = (await engine.run("t", agent_id="me", wait=False))["workflow_id"]
        await until(world.ran)
        await engine.signal(run_id, "data", payload={"early": 1})
        find = world.store.find_events

        async def later(where):
            await engine.signal(run_id, "data", payload={"late": 2})
            return await find(where)

        world.store.find_events = later
        first = await engine.status(run_id)
        world.store.find_events = find
        second = await engine.status(run_id, events_since=first["events"][-1]["sequence"])
        world.gate("gate").set()
    assert first["events"][-1]["payload"] == {"key": "early", "value": 1}
    assert first["context"]["accumulated_data"] == {"early": 1}
    assert [event["event_type"] for event in second["events"]] == ["signal_received", "variable_set"]
    assert second["context"]["accumulated_data"] == {"early": 1, "late": 2}


@pytest.mark.parametrize("quick", [True, False])
async def test_a_run_gives_its_output_and_is_let_go(world, quick):
    async with world.engine(store=MemoryStore() if quick else world.store) as engine:
        await engine.define("t", PURE, agent_id="me")
        with anyio.fail_after(5):
            result = await engine.run("t", agent_id="me", params={"x": 3})
            later = await engine.run("t", agent_id="me", params={"x": 4}, wait=False)
            timed = await engine.run("t", agent_id="me", params={"x": 5}, wait_timeout=5)
        assert (result["status"], result["output"]) == ("completed", 3)
        assert (await engine.status(later["workflow_id"]))["output"] == 4
        assert timed["output"] == 5
        assert not engine.live


async def test_not_waiting_and_a_waiting_limit_answer_active_and_the_run_goes_on(world, until):
    async with world.engine() as engine:
        await engine.define("t", GATED, agent_id="me")
        answers = [
            await engine.run("t", agent_id="me", wait=False),
            await engine.run("t", agent_id="me", wait_timeout=0.001),
        ]
        assert [set(answer) for answer in answers] == [{"workflow_id", "status"}] * 2
        assert {answer["status"] for answer in answers} == {"active"}
        world.gate("gate").set()
        await until(lambda: {world.status(answer["workflow_id"]) for answer in answers} == {"completed"})


async def test_a_caller_that_goes_away_does_not_stop_the_run(world, until):
    async with world.engine() as engine:
        await engine.define("t", GATED, agent_id="me")
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(lambda: engine.run("t", agent_id="me"))
            await until(world.ran)
            tasks.cancel_scope.cancel()
        world.gate("gate").set()
        (run_id,) = world.store._runs
        await until(lambda: world.status(run_id) == "completed")


async def test_messages_are_handled_in_the_order_they_came(world, until):
    async with world.engine() as engine:
        await engine.define("t", GATED, agent_id="me")
        run_id = (await engine.run("t", agent_id="me", wait=False))["workflow_id"]
        order = []

        async def send(number):
            answer = engine.signal(run_id, "data", payload={"n": number})
            order.append(number)
            await answer

        async with anyio.create_task_group() as tasks:
            for number in range(20):
                tasks.start_soon(send, number)
        world.gate("gate").set()
        await until(lambda: world.status(run_id) == "completed")
        said = [event.payload["value"] for event in await world.events(run_id) if event.type == "variable_set"]
    assert said == order


async def test_every_run_has_one_owner_however_many_wake_it(world):
    async with world.engine() as engine:
        await engine.define("t", {"steps": [ASK]}, agent_id="me")
        run_id = (await engine.run("t", agent_id="me"))["workflow_id"]
        async with anyio.create_task_group() as tasks:
            for number in range(10):
                tasks.start_soon(lambda n=number: engine.signal(run_id, "data", payload={f"k{n}": n}))
        events = await world.events(run_id)
    assert [event.sequence for event in events] == list(range(1, len(events) + 1))
    assert sum(event.type == "variable_set" for event in events) == 10


async def test_of_twenty_answers_to_one_question_exactly_one_wins(world):
    outcomes = []
    async with world.engine() as engine:
        await engine.define(
            "t", {"steps": [ASK, {"id": "z", "action": "fake.note", "depends_on": ["ask"]}]}, agent_id="me"
        )
        run_id = (await engine.run("t", agent_id="me"))["workflow_id"]

        async def answer(number):
            try:
                choice = "yes" if number % 2 else "no"
                await engine.signal(
                    run_id, "decision", payload={"choice": choice}, step_id="ask", agent_id=f"a{number}"
                )
            except ConflictError as error:
                outcomes.append(error.code)
            else:
                outcomes.append("won")

        with anyio.fail_after(5):
            async with anyio.create_task_group() as tasks:
                for number in range(20):
                    tasks.start_soon(answer, number)
    assert sorted(outcomes) == ["CONFLICT"] * 19 + ["won"]
    assert world.ran() == ["z"]
    assert (await world.types(run_id)).count("decision_resolved") == 1


@pytest.mark.parametrize("asked", [0, 1, 2])
async def test_a_decision_for_a_step_that_asks_nothing_is_told_which_steps_do(world, asked):
    names = [f"ask{n}" for n in range(asked)]
    steps = [{**ASK, "id": name} for name in names]
    steps += [] if asked else [{"id": "w", "type": "wait", "config": {"signal": "go"}}]
    async with world.engine() as engine:
        await engine.define("t", {"steps": steps}, agent_id="me")
        run_id = (await engine.run("t", agent_id="me"))["workflow_id"]
        with pytest.raises(NotFoundError, match="no pending decision") as caught:
            await engine.signal(run_id, "decision", step_id="other", payload={"choice": "yes"})
        assert caught.value.details["candidates"] == names
        if asked != 1:
            with pytest.raises((NotFoundError, DefinitionError)) as caught:
                await engine.signal(run_id, "decision", payload={"choice": "yes"})
            assert caught.value.details["candidates"] == names
        types = await world.types(run_id)
    assert "signal_received" not in types


@pytest.mark.parametrize("action", ["fake.note", "fake.pure", "fake.fail"])
async def test_a_decision_answers_with_the_run_at_rest_again(world, action):
    after = {"id": "z", "action": action, "depends_on": ["ask"], "params": {"times": 0}}
    async with world.engine() as engine:
        await engine.define("t", {"steps": [ASK, after]}, agent_id="me")
        run_id = (await engine.run("t", agent_id="me"))["workflow_id"]
        with anyio.fail_after(5):
            answer = await engine.signal(run_id, "decision", payload={"choice": "yes"}, agent_id="me")
        again = await engine.signal(run_id, "decision", payload={"choice": "yes"}, agent_id="me", step_id="ask")
    assert (answer["resumed"], answer["status"]) == (True, "completed")
    assert answer["steps"]["ask"]["output"]["choice"] == "yes"
    assert again["status"] == "completed"


async def test_agents_are_noted_once_a_minute(world):
    now = [10**15]
    async with world.engine(clock=lambda: now[0]) as engine:
        for _ in range(3):
            await engine.agents.touch("me")
        first = world.store._agents["me"].last_seen_at
        now[0] += 61_000_000
        await engine.agents.touch("me")
    assert world.store._agents["me"].last_seen_at == first + 61_000_000


async def test_an_error_in_the_block_leaves_it_as_it_is(world):
    with pytest.raises(ZeroDivisionError):
        async with world.engine():
            raise ZeroDivisionError


async def test_malformed_options_are_refused(world):
    with pytest.raises(DefinitionError, match="recovery"):
        async with world.engine(recovery="maybe"):
            raise AssertionError("must not open")
