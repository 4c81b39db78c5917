"""The order of events inside one workflow (contract, section 5.3), rule by rule."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import anyio
import pytest

pytestmark = pytest.mark.anyio

ENDS = {"workflow_completed", "workflow_failed", "workflow_cancelled"}
CLOSED = {"step_completed", "step_failed", "step_skipped", "step_retrying"}


def by_run(events: list[dict[str, Any]]) -> list[list[dict[str, Any]]]:
    runs: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for event in events:
        runs[event["workflow_id"]].append(event)
    return list(runs.values())


def marks(events: list[dict[str, Any]], *, without: str = "") -> list[str]:
    """Return the events as `type` or `type step`."""
    return [
        f"{event['event_type']} {event['step_id']}" if "step_id" in event else event["event_type"]
        for event in events
        if event["event_type"] not in without.split()
    ]


def echo(step_id: str, **keys: Any) -> dict[str, Any]:
    return {"id": step_id, "action": "t.echo", **keys}


def fail(step_id: str, **keys: Any) -> dict[str, Any]:
    return {"id": step_id, "action": "t.fail", **keys}


async def test_the_first_is_the_start_and_nothing_follows_the_end_but_an_override(happened, scenario):
    for events in by_run(await happened(scenario)):
        types = [event["event_type"] for event in events]
        assert (types[0], types.count("workflow_started")) == ("workflow_started", 1)
        for position, type_ in enumerate(types[:-1]):
            follows = types[position + 1]
            if type_ == "workflow_cancelled":
                assert set(types[position + 1 :]) == {"step_skipped"}
            elif type_ == "workflow_failed":
                assert follows in ("signal_received", "workflow_resumed")
            else:
                assert type_ != "workflow_completed"


async def test_every_attempt_starts_once_and_ends_exactly_once(happened, scenario):
    for events in by_run(await happened(scenario)):
        last: dict[str, int] = {}
        open_: dict[str, str] = {}
        for event in events:
            step, type_ = event.get("step_id"), event["event_type"]
            if type_ == "step_started":
                # An interrupted attempt has no end; the operator's `retry` begins another one.
                assert open_.get(step, "step_suspended") == "step_suspended", (step, event)
                assert event["payload"]["attempt"] == last.get(step, 0) + 1
                last[step] = event["payload"]["attempt"]
                open_[step] = type_
            elif type_ == "step_suspended":
                assert step in open_
                open_[step] = type_
            elif type_ in CLOSED:
                assert type_ == "step_skipped" or step in open_, event
                open_.pop(step, None)
        if events[-1]["event_type"] in ENDS:
            assert open_ == {}


async def test_what_happens_below_a_container_stands_between_its_start_and_its_end(happened, scenario):
    for events in by_run(await happened(scenario)):
        containers = {"c", "l", "p"} & {event.get("step_id") for event in events}
        for container in containers:
            nested = [n for n, e in enumerate(events) if e.get("step_id", "").startswith(f"{container}.")]
            own = [n for n, e in enumerate(events) if e.get("step_id") == container]
            assert all(own[0] < position for position in nested)
            if events[own[-1]]["event_type"] in CLOSED:
                assert all(position < own[-1] for position in nested)


async def test_a_dependency_ends_before_its_dependent_starts(house):
    steps = [
        fail("ignored", on_error={"strategy": "ignore"}), echo("a"), echo("skipped", condition="false"),
        fail("rescued", on_error={"strategy": "fallback_step", "fallback_step": "spare"}), echo("spare"),
        echo("late", depends_on=["ignored", "a", "skipped", "rescued"]), echo("last", depends_on=["late"]),
    ]  # fmt: skip
    async with house.engine() as engine:
        result = await house.run(engine, steps)
        found = marks(await house.events(engine, result["workflow_id"]))
    start = found.index("step_started late")
    for ended in ("step_skipped ignored", "step_completed a", "step_skipped skipped", "step_completed spare"):
        assert found.index(ended) < start
    assert found.index("step_completed late") < found.index("step_started last")


async def test_a_retry_is_announced_before_it_waits_and_starts(happened):
    assert marks(await happened("retried"))[1:-1] == [
        "step_started a", "step_retry_attempt a", "step_retrying a", "step_started a", "step_completed a",
    ]  # fmt: skip


async def test_an_ignored_failure_is_handled_ignored_and_skipped(happened):
    assert marks(await happened("ignored"))[1:-1] == [
        "step_started a", "error_handler_invoked a", "step_ignored a", "step_skipped a",
    ]  # fmt: skip


async def test_a_fallback_starts_after_the_original_has_failed(happened):
    assert marks(await happened("rescued"))[1:-1] == [
        "step_started a", "error_handler_invoked a", "step_fallback a", "step_failed a", "step_started spare",
        "step_completed spare",
    ]  # fmt: skip


async def test_fail_workflow_fails_the_step_then_skips_the_others_then_fails_the_workflow(house, until):
    steps = [
        {"id": "held", "action": "t.gate"},
        fail("a", on_error={"strategy": "fail_workflow"}, condition="true", depends_on=["first"]),
        {"id": "first", "action": "t.safe", "params": {"gate": "first"}},
    ]
    async with house.engine() as engine:
        await engine.define("t", {"steps": steps}, agent_id="me")
        run_id = (await engine.run("t", agent_id="me", wait=False))["workflow_id"]
        await until(lambda: house.effects() == ["held"])
        house.gate("first").set()
        await until(lambda: house.cancelled)
        found = marks(await house.events(engine, run_id))
    assert found[-5:] == [
        "step_started a", "error_handler_invoked a", "step_failed a", "step_skipped held", "workflow_failed",
    ]  # fmt: skip


async def test_a_decision_is_requested_received_resolved_and_completes_the_step(happened):
    assert marks(await happened("asked")) == [
        "workflow_started", "step_started ask", "decision_requested ask", "step_suspended ask", "workflow_suspended",
        "signal_received ask", "decision_resolved ask", "workflow_resumed", "step_completed ask", "workflow_completed",
    ]  # fmt: skip
    assert marks(await happened("overdue"))[4:] == [
        "workflow_suspended", "decision_resolved ask", "workflow_resumed", "step_completed ask", "workflow_completed",
    ]  # fmt: skip


async def test_a_decision_in_a_run_that_is_still_active_resumes_nothing(house, until):
    steps = [{"id": "ask", "type": "reasoning", "config": {"prompt_context": "?"}}, {"id": "held", "action": "t.gate"}]
    async with house.engine() as engine:
        await engine.define("t", {"steps": steps}, agent_id="me")
        run_id = (await engine.run("t", agent_id="me", wait=False))["workflow_id"]
        await until(lambda: house.effects() == ["held"])
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(lambda: engine.signal(run_id, "decision", payload={"choice": "x"}))
            found: list[str] = []
            with anyio.fail_after(5):
                while "step_completed ask" not in found:
                    found = marks(await house.events(engine, run_id))
            house.gate().set()
        found = marks(await house.events(engine, run_id))
    ask = [mark for mark in found if mark.endswith(" ask") or mark.startswith("workflow_")]
    assert ask == [
        "workflow_started", "step_started ask", "decision_requested ask", "step_suspended ask", "signal_received ask",
        "decision_resolved ask", "step_completed ask", "workflow_completed",
    ]  # fmt: skip
    assert found.index("step_completed ask") < found.index("step_completed held")


@pytest.mark.parametrize(
    ("name", "tail"),
    [
        ("timed out", ["workflow_timed_out", "step_skipped nap", "workflow_failed"]),
        ("timed out, suspended", ["workflow_timed_out", "step_suspended nap", "workflow_suspended"]),
        ("timed out, cancelled", ["workflow_timed_out", "workflow_cancelled", "step_skipped nap"]),
    ],
)
async def test_a_budget_that_is_used_up_is_told_before_what_it_leads_to(happened, name, tail):
    assert marks(await happened(name))[-3:] == tail


async def test_a_cancel_comes_before_one_skip_for_each_step_that_is_not_done(house):
    def ask(step_id: str) -> dict[str, Any]:
        return {"id": step_id, "type": "reasoning", "config": {"prompt_context": "?"}}

    fan = {"id": "p", "type": "parallel", "config": {"branches": [[ask("n"), echo("after")], [echo("m")]]}}
    steps = [echo("done"), ask("gate"), fan, echo("late", depends_on=["gate"])]
    async with house.engine() as engine:
        run_id = (await house.run(engine, steps))["workflow_id"]
        await engine.signal(run_id, "cancel")
        found = marks(await house.events(engine, run_id))
        status = await engine.status(run_id)
    after = found[found.index("workflow_cancelled") + 1 :]
    assert sorted(after) == [
        "step_skipped gate", "step_skipped late", "step_skipped p", "step_skipped p.branch_0.n",
    ]  # fmt: skip
    assert {path: step["status"] for path, step in status["steps"].items()} == {
        "done": "completed", "gate": "skipped", "p": "skipped", "p.branch_0.n": "skipped", "p.branch_1.m": "completed",
        "late": "skipped",
    }  # fmt: skip
