"""Facts first, effects after: what must be durable before an action starts, a wait can be seen or an answer is given."""

from __future__ import annotations

import anyio
import pytest

from opcode_kernel.core.messages import Interrupted
from opcode_kernel.errors import OpcodeError
from opcode_kernel.runtime.driver import Reply
from opcode_kernel.store.base import RunWrite

pytestmark = pytest.mark.anyio

ASK = {"id": "ask", "type": "reasoning", "config": {"prompt_context": "go on?", "options": [{"id": "yes"}]}}


async def test_an_action_with_effects_starts_only_after_its_start_is_durable(world):
    steps = [
        {"id": "a", "action": "fake.note"},
        {"id": "b", "action": "fake.gate", "depends_on": ["a"]},
        {"id": "c", "action": "fake.block", "depends_on": ["b"]},
        {"id": "d", "action": "fake.fail", "params": {"times": 1}, "retry": {"max": 1}, "depends_on": ["c"]},
    ]
    world.gate("gate").set()
    async with world.engine() as engine:
        await engine.define("t", {"steps": steps}, agent_id="me")
        with anyio.fail_after(5):
            result = await engine.run("t", agent_id="me")
    assert result["status"] == "completed"
    assert world.ran() == ["a", "b", "c", "d", "d"]
    for step in "abcd":
        assert world.log.index(("step_started", step)) < world.log.index(("run", step))
    starts = [i for i, entry in enumerate(world.log) if entry == ("step_started", "d")]
    runs = [i for i, entry in enumerate(world.log) if entry == ("run", "d")]
    assert starts[0] < runs[0] < starts[1] < runs[1]


async def test_pure_inline_steps_share_one_commit(world):
    steps = [{"id": f"s{n}", "action": "fake.pure", "depends_on": [f"s{n - 1}"] if n else []} for n in range(20)]
    async with world.engine() as engine:
        await engine.define("t", {"steps": steps}, agent_id="me")
        assert (await engine.run("t", agent_id="me"))["status"] == "completed"
    assert len(world.store.batches) == 1


@pytest.mark.parametrize("action", ["fake.note", "fake.gate"])
async def test_nothing_with_effects_runs_while_the_append_is_pending(world, until, action):
    async with world.engine() as engine:
        await engine.define("t", {"steps": [{"id": "a", "action": action}]}, agent_id="me")
        world.gate("gate").set()
        world.store.gate = anyio.Event()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(lambda: engine.run("t", agent_id="me"))
            await until(lambda: world.store.waiting)
            assert world.ran() == []
            world.store.gate.set()
    assert world.ran() == ["a"]


async def test_a_run_without_waiting_is_answered_only_when_it_is_durable(world, until):
    answers = []
    async with world.engine() as engine:
        await engine.define("t", {"steps": [{"id": "a", "action": "fake.gate"}]}, agent_id="me")
        world.store.gate = anyio.Event()

        async def start(**given):
            answers.append(await engine.run("t", agent_id="me", **given))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(lambda: start(wait=False))
            tasks.start_soon(lambda: start(wait_timeout=0.0))
            await until(lambda: world.store.waiting)
            for _ in range(20):
                await anyio.lowlevel.checkpoint()
            assert answers == []
            world.store.gate.set()
        for answer in answers:
            assert answer["status"] == "active"
            assert (await world.types(answer["workflow_id"]))[0] == "workflow_started"
        world.gate("gate").set()


async def test_a_suspension_is_answered_only_when_it_is_durable(world, until):
    answers = []
    async with world.engine() as engine:
        await engine.define("t", {"steps": [ASK]}, agent_id="me")
        world.store.gate = anyio.Event()

        async def start():
            answers.append(await engine.run("t", agent_id="me"))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(start)
            await until(lambda: world.store.waiting)
            assert answers == []
            world.store.gate.set()
        assert answers[0]["status"] == "suspended"
        assert (await world.types(answers[0]["workflow_id"]))[-1] == "workflow_suspended"


async def test_an_answer_to_a_signal_shows_only_what_is_durable(world, until):
    """The run goes on while the answer is on its way; what it does meanwhile is not part of the answer."""
    async with world.engine() as engine:
        steps = [{"id": "a", "action": "fake.gate"}, {"id": "b", "action": "fake.gate", "params": {"gate": "b"}}]
        await engine.define("t", {"steps": steps}, agent_id="me")
        run_id = (await engine.run("t", agent_id="me", wait=False))["workflow_id"]
        await until(lambda: len(world.ran()) == 2)
        answer = await engine.signal(run_id, "data", payload={"x": 1})
        assert answer["status"] == "active"
        shown = {event.type for event in await world.events(run_id)}
        assert "variable_set" in shown
        world.gate("gate").set()
        world.gate("b").set()
        await until(lambda: not engine.live)


async def test_what_is_announced_is_durable(world):
    heard = []

    def listen(run_id, events):
        stored = world.store._logs[run_id].events
        heard.extend(event.type for event in events if event in stored)

    async with world.engine() as engine:
        steps = [{"id": "a", "action": "fake.note"}, {"id": "b", "action": "fake.pure", "depends_on": ["a"]}]
        await engine.define("t", {"steps": steps}, agent_id="me")
        result = await engine.run("t", agent_id="me", listener=listen)
    assert heard == await world.types(result["workflow_id"])


async def test_a_refused_signal_writes_nothing(world):
    async with world.engine() as engine:
        await engine.define("t", {"steps": [ASK]}, agent_id="me")
        run_id = (await engine.run("t", agent_id="me"))["workflow_id"]
        before: list[list[RunWrite]] = list(world.store.batches)
        for signal, payload in (("decision", {"choice": "no"}), ("nonsense", {}), ("retry", {})):
            with pytest.raises(OpcodeError):
                await engine.signal(run_id, signal, payload=payload)
    events = [event for batch in world.store.batches for write in batch for event in write.events]
    assert events == [event for batch in before for write in batch for event in write.events]


async def test_a_run_whose_last_action_ends_during_the_append_comes_to_rest(world, until):
    async with world.engine() as engine:
        await engine.define("t", {"steps": [{"id": "a", "action": "fake.gate"}]}, agent_id="me")
        run_id = (await engine.run("t", agent_id="me", wait=False))["workflow_id"]
        await until(world.ran)
        world.store.gate, world.store.waiting = anyio.Event(), 0
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(engine.deliver, run_id, Interrupted("shutdown"), Reply())
            await until(lambda: world.store.waiting and world.ran("cancelled") and not engine.live[run_id].scopes)
            world.store.gate.set()
        await until(lambda: not engine.live)
    assert world.status(run_id) == "suspended"
