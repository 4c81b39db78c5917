"""Every event of the catalogue is produced, with exactly the payload keys that stand there (contract, section 5.2).

One row per set of keys that an event may carry, with a scenario that shows it. Every event of every scenario is held
against the table as well, so a key that stands nowhere does not pass.
"""

from __future__ import annotations

import re
from typing import Any

import pytest

from opcode_kernel import RESERVED_EVENTS

pytestmark = pytest.mark.anyio

CATALOGUE = [
    "workflow_started", "workflow_resumed", "workflow_suspended", "workflow_completed", "workflow_failed",
    "workflow_cancelled", "workflow_timed_out", "workflow_interrupted", "step_started", "step_completed",
    "step_failed", "step_skipped", "step_retry_attempt", "step_retrying", "step_suspended", "decision_requested",
    "decision_resolved", "signal_received", "variable_set", "dag_mutated", "error_handler_invoked", "step_ignored",
    "step_fallback", "circuit_breaker_open", "circuit_breaker_half_open", "circuit_breaker_closed",
    "condition_evaluated", "loop_iter_started", "loop_iter_completed", "loop_completed", "parallel_started",
    "parallel_completed", "wait_started", "wait_completed",
]  # fmt: skip
ASKED = "prompt_context prompt decision_id options"
HANDLER = "strategy step_id error fallback"
BREAKER = "action state consecutive_failures failure_threshold cooldown target"
RETRY = "step_id attempt max_attempts error retryable delay_ms code"

ROWS: list[tuple[str, str, str]] = [
    ("workflow_started", "plain", "template_name template_version"),
    ("workflow_started", "child", "template_name template_version parent_workflow_id"),
    ("workflow_resumed", "asked", "reason step_id"),
    ("workflow_resumed", "restarted", "reason"),
    ("workflow_suspended", "asked", "reason steps"),
    ("workflow_completed", "plain", "output duration_ms"),
    ("workflow_completed", "ignored", "duration_ms"),
    ("workflow_failed", "failed", "error"),
    ("workflow_cancelled", "cancelled", "reason"),
    ("workflow_cancelled", "cancelled by", "reason cancelled_by"),
    ("workflow_timed_out", "timed out", "timeout on_timeout"),
    ("workflow_interrupted", "restarted", "reason steps"),
    ("step_started", "plain", "attempt type action"),
    ("step_started", "choice", "attempt type"),
    ("step_completed", "plain", "output duration_ms attempt"),
    ("step_completed", "empty", "duration_ms attempt"),
    ("step_completed", "large", "output_truncated duration_ms attempt"),
    ("step_failed", "timed out step", "error code retryable attempt duration_ms"),
    ("step_failed", "failed", "error code details retryable attempt duration_ms"),
    ("step_skipped", "unneeded", "reason"),
    ("step_skipped", "guarded", "reason condition"),
    ("step_skipped", "guarded", "reason condition missing_input"),
    ("step_skipped", "ignored", "reason code"),
    ("step_skipped", "skipped with", "reason output"),
    ("step_retry_attempt", "retried", RETRY),
    ("step_retrying", "retried", ""),
    ("step_suspended", "asked", "reason"),
    ("step_suspended", "child", "reason child_workflow_id"),
    ("step_suspended", "restarted", "reason outcome"),
    ("decision_requested", "asked", ASKED),
    ("decision_requested", "in a loop", f"{ASKED} loop"),
    ("decision_requested", "aimed",
     f"{ASKED} data data_inject step_outputs timeout_at fallback target_agent_id"),
    ("decision_requested", "overdue", f"{ASKED} timeout_at fallback"),
    ("decision_requested", "missed", f"{ASKED} timeout_at"),
    ("decision_resolved", "asked", "choice reasoning data resolved_by decision_id"),
    ("decision_resolved", "answered", "choice decision_id"),
    ("decision_resolved", "overdue", "choice reasoning resolved_by decision_id timed_out"),
    ("decision_resolved", "missed", "reasoning resolved_by decision_id timed_out"),
    ("signal_received", "cancelled", "type"),
    ("signal_received", "failed and retried", "type step_id"),
    ("signal_received", "answered", "type step_id payload"),
    ("signal_received", "cancelled by", "type agent_id payload"),
    ("signal_received", "asked", "type step_id agent_id payload reasoning"),
    ("variable_set", "data", "key value"),
    ("error_handler_invoked", "ignored", HANDLER),
    ("step_ignored", "ignored", HANDLER),
    ("step_fallback", "rescued", "original_step fallback_step original_error"),
    ("circuit_breaker_open", "tripped", BREAKER),
    ("circuit_breaker_half_open", "tripped", BREAKER),
    ("circuit_breaker_closed", "tripped", BREAKER),
    ("condition_evaluated", "choice", "expression result branch"),
    ("condition_evaluated", "empty", "expression result"),
    ("loop_iter_started", "items", "iteration item"),
    ("loop_iter_started", "tested", "iteration"),
    ("loop_iter_completed", "items", "iteration item"),
    ("loop_iter_completed", "tested", "iteration"),
    ("loop_completed", "items", "iterations truncated"),
    ("loop_completed", "tested", "iterations"),
    ("parallel_started", "fan", "mode branches"),
    ("parallel_completed", "fan", ""),
    ("parallel_completed", "race", "winner"),
    ("wait_started", "waits", "duration signal wake_at"),
    ("wait_started", "data", "duration signal"),
    ("wait_completed", "waits", ""),
    ("wait_completed", "waits", "timed_out"),
]  # fmt: skip
#: What the engine writes besides the catalogue: progress of a container that nothing else tells of.
BESIDES = {"step_progressed"}

#: Values that the catalogue fixes: type, scenario, key, what it may be.
VALUES: list[tuple[str, str, str, set[Any]]] = [
    ("workflow_started", "plain", "template_version", {"v1"}),
    ("workflow_resumed", "asked", "reason", {"decision"}), ("workflow_resumed", "overdue", "reason", {"timeout"}),
    ("workflow_resumed", "data", "reason", {"signal"}), ("workflow_resumed", "failed and retried", "reason", {"retry"}),
    ("workflow_resumed", "skipped", "reason", {"skip"}), ("workflow_resumed", "child", "reason", {"child", "decision"}),
    ("workflow_suspended", "asked", "reason", {"decision"}), ("workflow_suspended", "data", "reason", {"signal"}),
    ("workflow_suspended", "long wait", "reason", {"timer"}),
    ("workflow_suspended", "child", "reason", {"child", "decision"}),
    ("workflow_suspended", "timed out, suspended", "reason", {"timeout"}),
    ("workflow_suspended", "restarted", "reason", {"interrupted"}),
    ("workflow_timed_out", "timed out", "timeout", {"20ms"}),
    ("workflow_timed_out", "timed out, cancelled", "on_timeout", {"cancel"}),
    ("workflow_interrupted", "restarted", "reason", {"process_restart"}),
    ("workflow_cancelled", "timed out, cancelled", "reason", {"timeout"}),
    ("workflow_cancelled", "cancelled", "reason", {"cancelled by signal"}),
    ("step_started", "fan", "type", {"parallel", "action"}), ("step_started", "plain", "action", {"t.echo"}),
    ("step_completed", "large", "output_truncated", {True}),
    ("step_failed", "failed", "error", {"it broke"}), ("step_failed", "failed", "code", {"EXECUTION_ERROR"}),
    ("step_skipped", "guarded", "reason", {"condition_false"}), ("step_skipped", "guarded", "missing_input", {"x"}),
    ("step_skipped", "ignored", "reason", {"ignored_error"}),
    ("step_skipped", "unneeded", "reason", {"fallback_not_needed"}),
    ("step_skipped", "skipped", "reason", {"signal_skip"}), ("step_skipped", "race", "reason", {"race_lost"}),
    ("step_skipped", "decision cancelled", "reason", {"decision_cancelled"}),
    ("step_skipped", "cancelled by", "reason", {"workflow_cancelled"}),
    ("step_skipped", "timed out", "reason", {"workflow_failed"}),
    ("step_retry_attempt", "retried", "attempt", {1}), ("step_retry_attempt", "retried", "max_attempts", {2}),
    ("step_retry_attempt", "retried", "retryable", {True}), ("step_retry_attempt", "retried", "delay_ms", {0}),
    ("step_suspended", "asked", "reason", {"decision"}), ("step_suspended", "data", "reason", {"signal"}),
    ("step_suspended", "long wait", "reason", {"timer"}), ("step_suspended", "restarted", "reason", {"interrupted"}),
    ("step_suspended", "child", "reason", {"child", "decision"}),
    ("decision_resolved", "overdue", "reasoning", {"timeout_auto_resolved"}),
    ("decision_resolved", "missed", "reasoning", {"timeout_no_fallback"}),
    ("decision_resolved", "missed", "resolved_by", {"system"}),
    ("signal_received", "asked", "type", {"decision"}), ("signal_received", "skipped", "type", {"skip"}),
    ("error_handler_invoked", "ignored", "fallback", {None}),
    ("error_handler_invoked", "rescued", "fallback", {"spare"}),
    ("step_fallback", "rescued", "original_step", {"a"}), ("step_fallback", "rescued", "original_error", {"it broke"}),
    ("circuit_breaker_open", "tripped", "consecutive_failures", {5}),
    ("circuit_breaker_open", "tripped", "state", {"open"}),
    ("circuit_breaker_half_open", "tripped", "target", {"a.example:443"}),
    ("circuit_breaker_closed", "tripped", "cooldown", {"30s"}),
    ("condition_evaluated", "empty", "result", {"x"}), ("condition_evaluated", "choice", "branch", {"true"}),
    ("loop_completed", "items", "iterations", {2}), ("parallel_started", "fan", "branches", {2}),
    ("parallel_completed", "race", "winner", {0}), ("wait_started", "data", "duration", {""}),
    ("wait_started", "long wait", "duration", {"2h"}), ("wait_started", "data", "signal", {"go"}),
]  # fmt: skip


@pytest.mark.spec("10.58", "10.30", "10.34")
async def test_every_event_carries_exactly_the_keys_of_the_catalogue(happened, scenario):
    events = await happened(scenario)
    for event in events:
        sets = [keys.split() for type_, _, keys in ROWS if type_ == event["event_type"]] or [[]]
        assert sorted(event.get("payload", {})) in [sorted(keys) for keys in sets], event
        assert event["event_type"] in BESIDES or event["event_type"] in CATALOGUE
    for type_, shown_by, keys in ROWS:
        if shown_by == scenario:
            found = [sorted(event.get("payload", {})) for event in events if event["event_type"] == type_]
            assert sorted(keys.split()) in found, type_
    for type_, shown_by, key, allowed in VALUES:
        if shown_by == scenario:
            payloads = [event.get("payload", {}) for event in events if event["event_type"] == type_]
            values = [payload[key] for payload in payloads if key in payload]
            assert values, (type_, key)
            assert set(values) <= allowed, (type_, key)


def test_the_table_covers_the_catalogue_and_nothing_else(names):
    assert {type_ for type_, _, _ in ROWS} == set(CATALOGUE) - {"dag_mutated"}
    assert set(CATALOGUE) | BESIDES == RESERVED_EVENTS
    assert {row[1] for row in [*ROWS, *VALUES]} <= names


async def test_no_action_may_write_an_event_that_only_the_engine_writes(house):
    async with house.engine() as engine:
        for type_ in ("dag_mutated", "step_completed", "workflow_interrupted"):
            step = {"id": "forge", "action": "workflow.emit", "params": {"event_type": type_, "payload": {"forged": 1}}}
            result = await house.run(engine, [step])
            assert result["error"]["details"]["cause"]["code"] == "VALIDATION_ERROR"
            forged = await house.events(engine, result["workflow_id"], type_)
            assert [event for event in forged if event.get("payload") == {"forged": 1}] == []


@pytest.mark.parametrize(
    ("name", "type_", "key"), [("long wait", "wait_started", "wake_at"), ("aimed", "decision_requested", "timeout_at")]
)
async def test_times_in_payloads_are_rfc_3339(happened, name, type_, key):
    (event,) = [event for event in await happened(name) if event["event_type"] == type_]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", event["payload"][key])
