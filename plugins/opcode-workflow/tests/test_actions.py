"""What is special about the workflow actions: what they ask of the engine, and what they refuse."""

from __future__ import annotations

from typing import Any

import pytest

from opcode_kernel import RESERVED_EVENTS, ActionError, DefinitionError, Failure, Json, NotFoundError
from opcode_kernel.testing import FakeContext, FakeWorkflows, call
from opcode_workflow import actions, opcode_actions

pytestmark = pytest.mark.anyio


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> Any:
    return request.param


@pytest.fixture
def ctx() -> FakeContext:
    return FakeContext()


def test_the_six_actions_are_offered_by_name() -> None:
    assert sorted(each.name for each in opcode_actions()) == [
        "workflow.context", "workflow.emit", "workflow.fail", "workflow.log", "workflow.notify", "workflow.run",
    ]  # fmt: skip


def test_only_waiting_for_a_child_holds_no_slot() -> None:
    assert [each.name for each in opcode_actions() if not each.holds_slot] == ["workflow.run"]


def test_what_needs_no_waiting_runs_inline() -> None:
    assert {each.name for each in opcode_actions() if each.inline} == {"workflow.emit", "workflow.fail", "workflow.log"}


class TestRun:
    @pytest.mark.parametrize("name", [None, "", "  \n"])
    async def test_a_child_without_a_template_name_is_refused(self, ctx: FakeContext, name: Json) -> None:
        with pytest.raises(DefinitionError, match="template_name"):
            await call(actions.run, {"template_name": name}, ctx)
        assert ctx.workflows.requests == []

    async def test_params_that_are_no_object_are_refused(self, ctx: FakeContext) -> None:
        with pytest.raises(DefinitionError, match="params: expected an object, found array"):
            await call(actions.run, {"template_name": "t", "params": [1]}, ctx)

    async def test_the_failure_of_the_child_passes_through_unchanged(self) -> None:
        class Nobody(FakeWorkflows):
            async def run_child(self, template_name: str, *, version: str | None, params: dict[str, Json]) -> Json:
                raise NotFoundError(f"no template {template_name}")

        with pytest.raises(NotFoundError, match="no template t"):
            await call(actions.run, {"template_name": "t"}, FakeContext(workflows=Nobody()))

    @pytest.mark.parametrize("output", [None, 7, "text", [1], {"sha": "ab"}])
    async def test_the_output_is_that_of_the_child_whatever_it_is(self, ctx: FakeContext, output: Json) -> None:
        ctx.workflows.child_output = output
        assert await call(actions.run, {"template_name": "t"}, ctx) == output

    async def test_version_and_object_text_are_handed_on(self, ctx: FakeContext) -> None:
        await call(actions.run, {"template_name": "t", "version": 3, "params": '{"a": 1}'}, ctx)
        await call(actions.run, {"template_name": "t", "version": " ", "params": None}, ctx)
        assert ctx.workflows.requests == [
            ("run_child", {"template_name": "t", "version": "3", "params": {"a": 1}}),
            ("run_child", {"template_name": "t", "version": None, "params": {}}),
        ]


class TestEmit:
    @pytest.mark.parametrize("name", sorted(RESERVED_EVENTS))
    async def test_a_type_of_the_engine_is_refused(self, ctx: FakeContext, name: str) -> None:
        with pytest.raises(ActionError, match=f"prefix it, for example my.{name}") as caught:
            await call(actions.emit, {"event_type": name}, ctx)
        assert (caught.value.code, caught.value.retryable, ctx.emitted) == ("VALIDATION_ERROR", False, [])

    @pytest.mark.parametrize("name", [None, "", "a b", "a\n", "a\r\nevent: x", "é", "a" * 129])
    async def test_a_malformed_type_is_refused(self, ctx: FakeContext, name: Json) -> None:
        with pytest.raises(DefinitionError, match="event_type"):
            await call(actions.emit, {"event_type": name}, ctx)

    async def test_a_payload_beyond_256_kib_is_refused(self, ctx: FakeContext) -> None:
        await call(actions.emit, {"event_type": "x", "payload": "é" * (128 * 1024 - 1)}, ctx)
        with pytest.raises(ActionError, match="payload: expected at most 262144 bytes as JSON, found 262146"):
            await call(actions.emit, {"event_type": "x", "payload": "é" * (128 * 1024)}, ctx)
        assert len(ctx.emitted) == 1

    @pytest.mark.parametrize("name", ["event_type", "event", "signal"])
    async def test_every_spelling_of_the_type_is_accepted(self, ctx: FakeContext, name: str) -> None:
        assert await call(actions.emit, {name: "order.paid:v1-2_3"}, ctx) == {"emitted": True}
        assert ctx.emitted == [("order.paid:v1-2_3", None)]

    @pytest.mark.parametrize("name", ["payload", "data"])
    async def test_the_payload_may_be_any_json(self, ctx: FakeContext, name: str) -> None:
        for value in (1, None, [True], {"deep": {"x": "\ud800"}}):
            await call(actions.emit, {"event_type": "x", name: value}, ctx)
        assert [payload for _, payload in ctx.emitted] == [1, None, [True], {"deep": {"x": "\ud800"}}]


class TestContext:
    @pytest.mark.parametrize(
        ("params", "words"),
        [
            ({}, "action: expected a value"),
            ({"action": "delete"}, "expected one of read, update"),
            ({"action": "update", "data": [1]}, "data: expected an object, found array"),
            ({"action": "update", "replace": True}, "expected an object to replace"),
            ({"action": "update", "data": {"x": "y" * 1024 * 1024}}, "at most 1048576 bytes as JSON"),
            ({"action": "update", "agent_notes": "y" * 1024 * 1024}, "at most 1048576 bytes as JSON"),
        ],
    )
    async def test_a_wrong_request_is_refused(self, ctx: FakeContext, params: dict[str, Json], words: str) -> None:
        with pytest.raises((DefinitionError, ActionError), match=words) as caught:
            await call(actions.context, params, ctx)
        assert caught.value.code == "VALIDATION_ERROR"
        assert ctx.patches == []
        assert "update_context" not in dict(ctx.workflows.requests)

    @pytest.mark.parametrize(
        ("record", "params", "fits"),
        [
            ({"accumulated_data": {"old": "x" * 700_000}}, {"data": {"new": "x" * 400_000}}, False),
            ({"accumulated_data": {"old": "x" * 700_000}}, {"data": {"old": "x" * 900_000}}, True),
            ({"accumulated_data": {"old": "x" * 700_000}}, {"data": {"new": "x" * 900_000}, "replace": True}, True),
            ({"agent_notes": "x" * 700_000}, {"data": {"new": "x" * 400_000}}, False),
            ({"agent_notes": "x" * 700_000}, {"data": {"new": "x" * 400_000}, "agent_notes": ""}, True),
        ],
    )
    async def test_what_counts_is_the_record_after_the_update(
        self, ctx: FakeContext, record: dict[str, Json], params: dict[str, Json], fits: bool
    ) -> None:
        ctx.workflows.context = record
        if fits:
            await call(actions.context, {"action": "update", **params}, ctx)
        else:
            with pytest.raises(ActionError, match="after this update"):
                await call(actions.context, {"action": "update", **params}, ctx)
        assert bool(ctx.patches) is fits

    @pytest.mark.parametrize("target", [None, "", FakeContext.run_id])
    async def test_an_update_of_this_run_travels_with_the_step(self, ctx: FakeContext, target: Json) -> None:
        params = {"action": "update", "workflow_id": target, "data": {"a": 1}, "agent_notes": "n"}
        assert await call(actions.context, params, ctx) == {"updated": True, "workflow_id": ctx.run_id}
        assert ctx.patches == [{"data": {"a": 1}, "agent_notes": "n", "replace": False}]
        assert "update_context" not in dict(ctx.workflows.requests)

    async def test_an_update_of_another_run_is_asked_of_the_engine(self, ctx: FakeContext) -> None:
        params = {"action": "update", "workflow_id": "other", "data": '{"a": 1}', "replace": "true"}
        assert await call(actions.context, params, ctx) == {"updated": True, "workflow_id": "other"}
        assert ctx.patches == []
        assert ctx.workflows.requests == [
            ("read_context", {"run_id": "other"}),
            ("update_context", {"run_id": "other", "data": {"a": 1}, "agent_notes": None, "replace": True}),
        ]

    async def test_reading_returns_the_record_of_the_run_that_was_named(self, ctx: FakeContext) -> None:
        ctx.workflows.context = {"workflow_id": "w", "accumulated_data": {"a": 1}}
        assert await call(actions.context, {"action": "read"}, ctx) == ctx.workflows.context
        assert await call(actions.context, {"action": "read", "workflow_id": "w"}, ctx) == ctx.workflows.context
        assert ctx.workflows.requests == [("read_context", {"run_id": ctx.run_id}), ("read_context", {"run_id": "w"})]


class TestFail:
    @pytest.mark.parametrize("reason", [None, "", " "])
    async def test_a_reason_is_needed(self, reason: Json) -> None:
        with pytest.raises(DefinitionError, match="reason"):
            await call(actions.fail, {"reason": reason})

    async def test_the_failure_is_fatal_and_never_retried(self) -> None:
        with pytest.raises(ActionError) as caught:
            await call(actions.fail, {"reason": "budget spent"})
        assert Failure.of(caught.value) == Failure("NON_RETRYABLE", "budget spent", retryable=False, fatal=True)


class TestNotify:
    async def test_nobody_listening_is_an_answer_with_a_reason(self, ctx: FakeContext) -> None:
        for reason in ("agent_not_connected", "no_notifier", "send_failed"):
            ctx.workflows.delivery = (False, reason)
            assert await call(actions.notify, {"message": "hi"}, ctx) == {"notified": False, "reason": reason}
        ctx.workflows.delivery = (False, None)
        assert await call(actions.notify, {"message": "hi"}, ctx) == {"notified": False, "reason": "send_failed"}

    async def test_a_delivered_message_carries_its_data(self, ctx: FakeContext) -> None:
        ctx.workflows.delivery = (True, None)
        assert await call(actions.notify, {"message": None, "data": [1]}, ctx) == {"notified": True}
        assert ctx.workflows.requests == [("notify", {"message": "null", "data": [1]})]

    async def test_a_message_is_needed(self, ctx: FakeContext) -> None:
        with pytest.raises(DefinitionError, match="message: expected a value"):
            await call(actions.notify, {"data": 1}, ctx)
