"""Who hears of committed events, and that nobody who listens can do harm."""

from __future__ import annotations

from types import ModuleType

import anyio
import pytest

from opcode_kernel import hookimpl
from opcode_kernel.core.events import Event
from opcode_kernel.runtime.hub import BUFFER, Hub

pytestmark = pytest.mark.anyio

ONE = [Event(1, "step_progressed", None, None, 0)]
ASK = {"steps": [{"id": "ask", "type": "reasoning", "config": {"prompt_context": "?", "options": []}}]}


def observer(name, heard, *, broken=False):
    module = ModuleType(name)

    @hookimpl
    def opcode_committed(run_id, events):
        heard.extend(event.type for event in events)
        if broken:
            raise RuntimeError("observer trouble")

    module.opcode_committed = opcode_committed
    return module


async def test_an_observer_that_raises_is_named_in_the_log_and_forgotten(world, caplog):
    heard, others = [], []
    registry = world.registry_with(observer("noisy", heard, broken=True), observer("quiet", others))
    async with world.engine(registry=registry) as engine:
        await engine.define("t", {"steps": [{"id": "a", "action": "fake.note"}]}, agent_id="me")
        result = await engine.run("t", agent_id="me")
    assert result["status"] == "completed"
    assert heard == others == await world.types(result["workflow_id"])
    assert {record.owner for record in caplog.records if record.name == "opcode.hub"} == {"noisy"}


async def test_a_listener_hears_its_run_while_the_caller_waits_and_not_longer(world):
    heard = []
    async with world.engine() as engine:
        await engine.define("t", ASK, agent_id="me")
        run_id = (await engine.run("t", agent_id="me", listener=lambda run, events: heard.append(run)))["workflow_id"]
        await engine.run("t", agent_id="me")
        count = len(heard)
        await engine.signal(run_id, "decision", payload={"choice": "x"})
        assert set(heard) == {run_id}
        assert len(heard) == count
        assert not engine.hub._listeners


async def test_a_listener_of_a_signal_hears_what_follows_from_it(world):
    heard = []
    async with world.engine() as engine:
        await engine.define("t", ASK, agent_id="me")
        run_id = (await engine.run("t", agent_id="me"))["workflow_id"]
        await engine.signal(
            run_id, "decision", payload={"choice": "x"},
            listener=lambda run, events: heard.extend(event.type for event in events),
        )  # fmt: skip
        assert heard[0] == "signal_received"
        assert heard[-1] == "workflow_completed"
        assert not engine.hub._listeners


async def test_a_listener_that_raises_does_no_harm(world):
    def listen(run_id, events):
        raise RuntimeError

    async with world.engine() as engine:
        await engine.define("t", {"steps": [{"id": "a", "action": "fake.note"}]}, agent_id="me")
        assert (await engine.run("t", agent_id="me", listener=listen))["status"] == "completed"


async def test_a_subscriber_gets_every_batch_in_order(world):
    async with world.engine() as engine:
        await engine.define("t", {"steps": [{"id": "a", "action": "fake.note"}]}, agent_id="me")
        async with engine.hub.subscribe() as batches:
            result = await engine.run("t", agent_id="me")
            got = []
            with anyio.fail_after(5):
                while "workflow_completed" not in got:
                    run_id, events = await batches.receive()
                    assert run_id == result["workflow_id"]
                    got += [event.type for event in events]
    assert got == await world.types(result["workflow_id"])


async def test_a_slow_subscriber_is_told_of_the_gap_and_goes_on():
    hub = Hub()
    async with hub.subscribe() as batches:
        for number in range(BUFFER + 50):
            hub.publish(f"r{number}", ONE)
        got = [batches.receive_nowait() for _ in range(BUFFER + 1)]
        assert got[0] == ("r0", ONE)
        assert got[-1] is None
        assert None not in got[:-1]
        with pytest.raises(anyio.WouldBlock):
            batches.receive_nowait()
        hub.publish("again", ONE)
        assert batches.receive_nowait() == ("again", ONE)


async def test_a_subscriber_that_leaves_while_events_come_does_no_harm():
    hub = Hub()

    async def come_and_go():
        async with hub.subscribe():
            await anyio.lowlevel.checkpoint()

    async with anyio.create_task_group() as tasks:
        for _ in range(20):
            tasks.start_soon(come_and_go)
        for _ in range(20):
            hub.publish("r", ONE)
            await anyio.lowlevel.checkpoint()
    assert hub._streams == []


async def test_a_subscriber_that_closes_its_stream_itself_does_no_harm():
    hub = Hub()
    async with hub.subscribe() as batches:
        batches.close()
        hub.publish("r", ONE)


def test_a_removed_listener_hears_nothing_and_others_go_on():
    hub, first, second = Hub(), [], []
    remove = hub.listen("r", lambda run, events: first.append(run))
    hub.listen("r", lambda run, events: second.append(run))
    hub.publish("r", ONE)
    remove()
    remove()
    hub.publish("r", ONE)
    hub.publish("other", ONE)
    hub.forget("r")
    hub.publish("r", ONE)
    assert (first, second) == (["r"], ["r", "r"])
