"""What one event is, and who gets to hear of it (contract, section 5.1)."""

from __future__ import annotations

import re
from itertools import groupby
from types import ModuleType
from typing import Any

import anyio
import pytest

from opcode_kernel import MemoryStore, hookimpl, open_vault, registry_of
from opcode_kernel.server.queries import query

pytestmark = pytest.mark.anyio

ASK = {"id": "ask", "type": "reasoning", "config": {"prompt_context": "?"}}


def observer(heard: list[Any]) -> ModuleType:
    module = ModuleType("observer")

    @hookimpl
    def opcode_committed(run_id: str, events: Any) -> None:
        heard.extend((run_id, event.sequence, event.type, event.step_id) for event in events)

    module.opcode_committed = opcode_committed  # type: ignore[attr-defined]
    return module


@pytest.mark.spec("10.57", "10.20")
async def test_sequences_count_from_one_without_a_gap_and_ids_grow(happened, scenario):
    events = await happened(scenario)
    for _, group in groupby(events, key=lambda event: event["workflow_id"]):
        run = list(group)
        assert [event["sequence"] for event in run] == list(range(1, len(run) + 1))
        ids = [event["id"] for event in run]
        assert all(type(id_) is int for id_ in ids)
        assert ids == sorted(set(ids))


@pytest.mark.spec("10.58")
async def test_every_event_names_its_run_its_agent_and_its_time(happened, scenario):
    for event in await happened(scenario):
        assert set(event) - {"step_id", "payload"} == {
            "id", "workflow_id", "event_type", "agent_id", "timestamp", "sequence",
        }  # fmt: skip
        assert event["agent_id"] in ("me", "you")
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", event["timestamp"])


@pytest.mark.spec("10.58")
async def test_what_a_signal_wrote_names_the_agent_that_sent_it_and_the_rest_names_the_runs_own(happened):
    by_type = {event["event_type"]: event["agent_id"] for event in await happened("asked")}
    assert by_type["signal_received"] == by_type["decision_resolved"] == "you"
    assert by_type["workflow_started"] == by_type["step_started"] == by_type["decision_requested"] == "me"


@pytest.mark.spec("10.31")
async def test_every_committed_event_reaches_the_live_stream_once_and_in_order(house, happened, scenario):
    heard: list[Any] = []
    house.registry = registry_of(*house.registry.manager.get_plugins(), observer(heard))
    events = await happened(scenario)
    stored = [(e["workflow_id"], e["sequence"], e["event_type"], e.get("step_id")) for e in events]
    for _, group in groupby(stored, key=lambda event: event[0]):
        run = list(group)
        assert [event for event in heard if event[0] == run[0][0]][: len(run)] == run


@pytest.mark.spec("10.31")
async def test_a_subscriber_hears_the_engine_itself_and_only_what_is_stored_already(house):
    async with house.engine() as engine, engine.hub.subscribe() as stream:
        result = await house.run(engine, [{"id": "a", "action": "t.do"}, ASK])
        heard: list[Any] = []
        with anyio.fail_after(5):
            while not heard or heard[-1].type != "workflow_suspended":
                run_id, batch = await stream.receive()
                assert run_id == result["workflow_id"]
                durable = await engine.store.events(run_id)
                assert [event.sequence for event in batch] == [
                    event.sequence for event in durable if event in batch
                ]  # fmt: skip
                heard += batch
        stored = await engine.store.events(result["workflow_id"])
        assert heard == stored


@pytest.mark.spec("10.31")
async def test_a_listener_of_a_run_hears_events_of_the_engine_while_it_goes_on(house, until):
    heard: list[str] = []
    async with house.engine() as engine, anyio.create_task_group() as tasks:
        await engine.define("t", {"steps": [{"id": "a", "action": "t.gate"}]}, agent_id="me")

        async def run() -> None:
            await engine.run(
                "t", agent_id="me", listener=lambda run_id, events: heard.extend(event.type for event in events)
            )

        tasks.start_soon(run)
        await until(lambda: house.effects() == ["a"])
        assert heard == ["workflow_started", "step_started"]
        house.gate().set()
    assert heard == ["workflow_started", "step_started", "step_completed", "workflow_completed"]


async def test_events_of_a_run_come_ascending_and_events_of_a_type_newest_first(house):
    async with house.engine() as engine:
        runs = [(await house.run(engine, [{"id": "a", "action": "t.echo"}]))["workflow_id"] for _ in range(3)]
        of_run = (await query(engine.store, engine.registry, "events", {"workflow_id": runs[1]}))["events"]
        of_type = (await query(engine.store, engine.registry, "events", {"event_type": "step_completed"}))["events"]
    assert [event["sequence"] for event in of_run] == [1, 2, 3, 4]
    assert [event["workflow_id"] for event in of_type] == runs[::-1]
    assert of_run[2] == of_type[1]


async def test_no_payload_shows_a_secret_that_was_filled_in(house):
    echoed = {"id": "a", "action": "t.fail", "params": {
        "message": "sent ${{secrets.KEY}}", "details": {"again": "x${{secrets.KEY}}x"},
    }, "on_error": {"strategy": "ignore"}}  # fmt: skip
    emitted = {"id": "b", "action": "workflow.emit", "params": {"event": "mine", "data": {"k": "${{secrets.KEY}}"}}}
    shown = {"id": "c", "action": "t.echo", "params": {"value": ["${{secrets.KEY}}"]}}
    store = MemoryStore()
    vault = await open_vault(store, "correct horse")
    await vault.set("KEY", "swordfish")
    async with house.engine(vault=vault) as engine:
        result = await house.run(engine, [echoed, emitted, shown])
        events = await house.events(engine, result["workflow_id"])
        text = repr([result, events, await engine.status(result["workflow_id"])])
    assert house.seen["a"] == [{"message": "sent swordfish", "details": {"again": "xswordfishx"}}]
    assert "swordfish" not in text
    assert next(event["payload"] for event in events if event["event_type"] == "mine") == {"k": "***"}
