"""Lists over a real store: shapes, order, limits and what is refused."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from opcode_kernel import action
from opcode_kernel.core.events import Event
from opcode_kernel.errors import DefinitionError
from opcode_kernel.plugin.hookspecs import hookimpl
from opcode_kernel.plugin.manager import registry_of
from opcode_kernel.server.queries import query
from opcode_kernel.store.base import DecisionRow, RunRow, RunWrite, Store, TemplateRow
from opcode_kernel.store.memory import MemoryStore

pytestmark = pytest.mark.anyio

SECOND = 1_000_000
BASE = 1_900_000_000 * SECOND


@action("demo.echo", summary="Say it again.")
def echo(ctx: Any, params: Any) -> Any:
    return params


class Plugin:
    @hookimpl
    def opcode_actions(self) -> Any:
        return [echo]


REGISTRY = registry_of(Plugin())


def run_row(number: int, **changes: Any) -> RunRow:
    at = BASE + number * SECOND
    row = RunRow(
        f"r{number}", "t", 10 if number == 2 else 9, "T", "completed", "a", None, None, None, {"n": number},
        {"sum": number}, None, at, at, at, at,
    )  # fmt: skip
    return row._replace(**changes)


@pytest.fixture
async def store() -> AsyncIterator[Store]:
    async with MemoryStore() as opened:
        for number in range(10):
            row = TemplateRow("t", 0, f"d{number}", {"steps": [number]}, None, None, None, "a", BASE)
            await opened.save_template(row)
        for number in range(3):
            events = [
                Event(1, "workflow_started", None, {"n": number}, BASE + number * SECOND, "a", {"hidden": True}),
                Event(2, "step_completed", "one", None, BASE + number * SECOND + 1),
                Event(3, "step_completed", "two", None, BASE + number * SECOND + 2),
            ]
            run = run_row(number, status="failed" if number == 0 else "completed")
            await opened.append([RunWrite(run.id, events, run)])
        decision = DecisionRow(
            "r1_ask", "r1", "ask", "a", "ops", {"prompt": "ok?"}, [], BASE, "no", None, None, None, "pending", BASE
        )
        await opened.append(
            [RunWrite("r1", [Event(4, "decision_requested", "ask", {}, BASE + 9)], None, (), [decision])]
        )
        await opened.touch_agent("a", now=BASE)
        yield opened


async def ask(store: Store, resource: str, **where: Any) -> dict[str, Any]:
    return await query(store, REGISTRY, resource, where)


@pytest.mark.parametrize(
    ("resource", "where"),
    [
        ("workflows", {"since": "yesterday"}),
        ("workflows", {"until": "2031-13-01"}),
        ("workflows", {"order": "random"}),
        ("workflows", {"fields": "some"}),
        ("workflows", {"cursor": "garbage"}),
        ("workflows", {"status": 3}),
        ("events", {}),
        ("events", {"step_id": "one"}),
    ],
)
async def test_filters_that_make_no_sense_are_refused(store, resource, where):
    with pytest.raises(DefinitionError):
        await ask(store, resource, **where)


async def test_nothing_found_is_an_empty_list(store):
    assert await ask(store, "workflows", status="pending") == {"workflows": [], "total": 0}
    assert await ask(store, "templates", agent_id="none") == {"templates": []}
    assert await ask(store, "events", workflow_id="none") == {"events": []}
    assert await ask(store, "decisions", workflow_id="none") == {"decisions": []}


@pytest.mark.parametrize(
    ("resource", "where", "remark"),
    [
        ("workflows", {"status": "complete"}, "nothing has the status 'complete'; did you mean 'completed'?"),
        (
            "decisions",
            {"status": "done"},
            "nothing has the status 'done'; known are pending, resolved, timed_out, cancelled",
        ),
        ("actions", {"name": "demo.eco"}, "nothing has the name 'demo.eco'; did you mean 'demo.echo'?"),
        ("templates", {"name": "tt"}, "nothing has the name 'tt'; did you mean 't'?"),
        ("templates", {"template_name": "none"}, "nothing has the template_name 'none'; known are t"),
        ("workflows", {"reason": "interupted"}, "nothing has the reason 'interupted'; did you mean 'interrupted'?"),
        ("workflows", {"template_name": "tt"}, "nothing has the template_name 'tt'; did you mean 't'?"),
        (
            "events",
            {"event_type": "workflow_startd"},
            "nothing has the event_type 'workflow_startd'; did you mean 'workflow_started'?",
        ),
    ],
)
async def test_a_filter_that_nothing_can_match_is_an_empty_list_with_a_remark(store, resource, where, remark):
    answer = await ask(store, resource, **where)
    assert (answer[resource], answer["warnings"]) == ([], [remark])


async def test_several_filters_that_nothing_can_match_are_all_remarked_upon(store):
    answer = await ask(store, "workflows", status="faild", reason="signl", template_name="none")
    assert [remark.split()[3] for remark in answer["warnings"]] == ["status", "reason", "template_name"]


async def test_filters_that_match_nothing_yet_are_no_mistake(store):
    for resource, where in (
        ("workflows", {"template_name": "t", "status": "pending"}),
        ("workflows", {"reason": "interrupted"}),
        ("events", {"event_type": "invoice_sent"}),
        ("events", {"event_type": "workflow_failed"}),
    ):
        assert "warnings" not in await ask(store, resource, **where)


async def test_runs_come_newest_first_with_definition_versions_and_times(store):
    answer = await ask(store, "workflows")
    first = answer["workflows"][0]
    assert [item["id"] for item in answer["workflows"]] == ["r2", "r1", "r0"]
    assert first["template_version"] == "v10"
    assert first["definition"] == {"steps": [9]}
    assert first["created_at"] == "2030-03-17T17:46:42Z"
    assert "parent_workflow_id" not in first
    assert answer["total"] == 3


async def test_a_summary_leaves_out_what_is_long(store):
    item = (await ask(store, "workflows", fields="summary", limit=1))["workflows"][0]
    assert not {"definition", "input_params", "output"} & set(item)
    assert "definition" not in (await ask(store, "templates", fields="summary"))["templates"][0]


async def test_pages_are_walked_with_the_cursor(store):
    seen, cursor = [], None
    while True:
        answer = await ask(store, "workflows", limit=1, **({"cursor": cursor} if cursor else {}))
        seen += [item["id"] for item in answer["workflows"]]
        cursor = answer.get("next_cursor")
        if cursor is None:
            break
    assert seen == ["r2", "r1", "r0"]


async def test_times_are_compared_as_times_whatever_their_offset(store):
    later = await ask(store, "workflows", since="2030-03-17T19:46:41+02:00")
    earlier = await ask(store, "workflows", until="2030-03-17T17:46:41Z", order="asc")
    assert [item["id"] for item in later["workflows"]] == ["r2", "r1"]
    assert [item["id"] for item in earlier["workflows"]] == ["r0"]


async def test_filters_of_runs_are_combined(store):
    assert [i["id"] for i in (await ask(store, "workflows", status="failed", agent_id="a"))["workflows"]] == ["r0"]
    assert (await ask(store, "workflows", status="failed", agent_id="b"))["total"] == 0


async def test_events_of_a_run_ascend_and_honour_every_filter(store):
    every = (await ask(store, "events", workflow_id="r1"))["events"]
    assert [event["sequence"] for event in every] == [1, 2, 3, 4]
    assert "private" not in every[0]
    assert every[0]["payload"] == {"n": 1}
    some = (await ask(store, "events", workflow_id="r1", step_id="two"))["events"]
    assert [event["sequence"] for event in some] == [3]
    page = await ask(store, "events", workflow_id="r1", limit=2)
    assert len(page["events"]) == 2
    rest = await ask(store, "events", workflow_id="r1", limit=2, cursor=page["next_cursor"])
    assert [event["sequence"] for event in rest["events"]] == [3, 4]


async def test_events_of_a_type_come_newest_first(store):
    every = (await ask(store, "events", event_type="step_completed", limit=3))["events"]
    assert [(event["workflow_id"], event["step_id"]) for event in every] == [
        ("r2", "two"),
        ("r2", "one"),
        ("r1", "two"),
    ]
    one_run = (await ask(store, "events", event_type="step_completed", workflow_id="r1", limit=1))["events"]
    assert [event["step_id"] for event in one_run] == ["two"]


async def test_the_newest_of_a_type_is_found_in_a_very_long_run(store):
    events = [Event(number, "note", None, None, BASE) for number in range(1, 10_502)]
    await store.append([RunWrite("long", events)])
    first = await ask(store, "events", event_type="note", workflow_id="long", limit=2)
    after = await ask(store, "events", event_type="note", workflow_id="long", limit=2, cursor=first["next_cursor"])
    assert [event["sequence"] for event in first["events"] + after["events"]] == [10_501, 10_500, 10_499, 10_498]


async def test_templates_count_versions_as_numbers(store):
    answer = await ask(store, "templates", limit=2)
    assert [item["version"] for item in answer["templates"]] == ["v10", "v9"]
    assert "next_cursor" in answer


async def test_decisions_agents_and_actions_are_listed_too(store):
    decision = (await ask(store, "decisions", status="pending"))["decisions"][0]
    assert (decision["id"], decision["options"], decision["target_agent_id"]) == ("r1_ask", [], "ops")
    assert decision["timeout_at"] == "2030-03-17T17:46:40Z"
    assert (await ask(store, "agents"))["agents"][0]["id"] == "a"
    actions = (await ask(store, "actions", fields="summary"))["actions"]
    assert actions == [{"name": "demo.echo", "description": "Say it again."}]
    assert (await ask(store, "actions", name="none"))["actions"] == []
