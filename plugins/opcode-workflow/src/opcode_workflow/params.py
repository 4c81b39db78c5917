"""Params and outputs of the workflow actions: one declaration each for the decoder, the schema and the docs."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Literal, NotRequired, TypedDict

from opcode_kernel import FreeText, Json, Param, Rest

#: At least one character that is not white space.
_NOT_BLANK = r"\S"

_EVENT_TYPE = "^[A-Za-z0-9_.:-]{1,128}$"


@dataclass(frozen=True, slots=True)
class RunParams:
    """`workflow.run`."""

    template_name: Annotated[str, Param("name of the template to run as a child", pattern=_NOT_BLANK)]
    version: Annotated[str | None, Param("version such as v3; the highest when absent")] = None
    params: Annotated[dict[str, Json], Param("inputs of the child")] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class EmitParams:
    """`workflow.emit`."""

    event_type: Annotated[
        str,
        Param(
            "type of the event, none that the engine writes itself", aliases=("event", "signal"), pattern=_EVENT_TYPE
        ),
    ]
    payload: Annotated[Json, Param("content of the event, up to 256 KiB as JSON", aliases=("data",))] = None


@dataclass(frozen=True, slots=True)
class ContextParams:
    """`workflow.context`."""

    action: Annotated[Literal["read", "update"], Param("what to do with the record")]
    workflow_id: Annotated[
        str | None, Param("the run whose record is meant: this one when absent, else an ancestor or a descendant")
    ] = None
    data: Annotated[
        dict[str, Json] | None, Param("update: keys merged into the accumulated data, up to 1 MiB as JSON")
    ] = None
    agent_notes: Annotated[str | None, Param("update: replaces the notes; kept when absent")] = None
    replace: Annotated[bool, Param("update: data replaces the accumulated data instead of being merged")] = False


@dataclass(frozen=True, slots=True)
class FailParams:
    """`workflow.fail`."""

    reason: Annotated[str, Param("message of the failure", pattern=_NOT_BLANK)]


@dataclass(frozen=True, slots=True)
class LogParams:
    """`workflow.log`."""

    message: Annotated[FreeText, Param("what to log")]
    level: Annotated[Literal["debug", "info", "warn", "warning", "error"], Param("severity of the record")] = "info"
    data: Annotated[Json, Param("structured content of the record")] = None
    fields: Annotated[Rest, Param("any other name joins the data")] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class NotifyParams:
    """`workflow.notify`."""

    message: Annotated[FreeText, Param("what to tell the agent of this run")]
    data: Annotated[Json, Param("structured content that goes with the message")] = None


class Emitted(TypedDict):
    """Output of `workflow.emit`."""

    emitted: Annotated[bool, Param("always true")]


class ContextRecord(TypedDict):
    """Output of `workflow.context` with `read`; what was never set is absent or null."""

    workflow_id: Annotated[str, Param("the run")]
    agent_id: NotRequired[Annotated[Json, Param("agent of the run")]]
    original_intent: NotRequired[Annotated[Json, Param("why the run was started")]]
    decisions_log: NotRequired[Annotated[Json, Param("decisions made so far")]]
    accumulated_data: NotRequired[Annotated[Json, Param("what expressions see under context")]]
    agent_notes: NotRequired[Annotated[Json, Param("free notes")]]
    created_at: NotRequired[Annotated[Json, Param("time of the first entry")]]
    updated_at: NotRequired[Annotated[Json, Param("time of the last change")]]


class ContextUpdated(TypedDict):
    """Output of `workflow.context` with `update`."""

    updated: Annotated[bool, Param("always true")]
    workflow_id: Annotated[str, Param("the run")]


class Logged(TypedDict):
    """Output of `workflow.log`."""

    logged: Annotated[bool, Param("always true")]


class Notified(TypedDict):
    """Output of `workflow.notify`."""

    notified: Annotated[bool, Param("whether the message reached a connection")]
    reason: NotRequired[Annotated[str, Param("agent_not_connected, no_notifier or send_failed")]]
