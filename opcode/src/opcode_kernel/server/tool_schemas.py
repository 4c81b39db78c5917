"""JSON Schemas of the kernel's tools: what agents may send and what they get back.

Every answer may be a failure (`{"error": {...}}`), and some clients check even those against the output schema. So no
key is required outright; the answer has the keys of a success or it has `error`.
"""

from __future__ import annotations

from opcode_kernel.errors import Json

Schema = dict[str, Json]

SIGNALS = ("decision", "data", "cancel", "retry", "skip")
INCLUDES = ("steps", "events", "decisions", "context")


def text(description: str, **more: Json) -> Schema:
    """Return the schema of a text."""
    return {"type": "string", "description": description, **more}


def loose(description: str) -> Schema:
    """Return the schema of an object without fixed keys."""
    return {"type": "object", "description": description}


def arguments(required: list[str], **properties: Schema) -> Schema:
    """Return the schema of a tool's arguments; unknown ones are allowed and ignored."""
    return {"type": "object", "properties": properties, "required": required}


ERROR: Schema = {
    "type": "object",
    "description": "what went wrong: branch on code, read message",
    "properties": {
        "code": {"type": "string"},
        "message": {"type": "string"},
        "step_id": {"type": "string"},
        "details": {"type": "object"},
        "retryable": {"type": "boolean", "description": "of a failed run: whether trying again can help"},
        "reason": {"type": "string", "description": "of a cancelled run: why"},
    },
    "required": ["code", "message"],
}


def answer(required: list[str], **properties: Schema) -> Schema:
    """Return the schema of an answer that has these keys or is an error."""
    return {
        "type": "object",
        "properties": {**properties, "error": ERROR},
        "anyOf": [{"required": required}, {"required": ["error"]}],
    }


_TIME = {"type": "string", "format": "date-time"}
_OBJECTS: Schema = {"type": "array", "items": {"type": "object"}}
_STEPS: Schema = {
    "type": "object",
    "additionalProperties": {"type": "object"},
    "description": "by full step id; duration_ms counts from the first start, waiting and downtime included",
}
_PENDING: Schema = {
    **_OBJECTS,
    "description": "open questions: step_id, context {prompt, data, ...}, options; answer with signal_type decision",
}
_WAITING: Schema = {
    **_OBJECTS,
    "description": "what a suspended run waits for: step_id; reason decision, signal, timer, child or interrupted; "
    "signal and until of a wait; child_workflow_id with the child's own pending_decisions and waiting: answer the child; "
    "outcome unknown where an effect was cut off, with the question and its answers",
}
_AGENT = text("who you are; registered on first use")
_WORKFLOW = text("the id that opcode.run returned")

_WAIT: Schema = {"type": "boolean", "default": True, "description": "false: answer at once, go on in the background"}
_WAIT_TIMEOUT: Schema = {
    "type": ["string", "number"],
    "minimum": 0,
    "description": "longest wait for the answer: a number of seconds, or a text with units such as 50s or 1m30s; the run "
    "goes on behind it",
}

#: All that an agent must know to write a workflow; it has no other manual at hand.
DEFINITION = """\
the workflow: {steps: [...]}, and optionally inputs (defaults), output, timeout, on_timeout, on_complete, on_error
step keys: id, type, action, params, depends_on ([ids]), condition (CEL), timeout ("30s"), retry ({max, delay, backoff}), \
on_error ({strategy: ignore|fail_workflow|fallback_step, fallback_step}), config
config by type: action (default): none; condition: expression, branches {key: [steps]}, default [steps]; \
loop: mode for_each|while|until, over, condition, body [steps], max_iter; parallel: branches [[steps]], mode all|race, \
max_concurrency; reasoning: prompt_context, options [{id, description}], data_inject, timeout, fallback, target_agent; \
wait: duration, signal
references: ${{steps.ID.output.FIELD}}, ${{inputs.NAME}}, ${{secrets.NAME}}, ${{loop.item}} in the body of a loop
the actions with their schemas: opcode.query resource=actions, one of them with filter={"name": "http.get"}
{"steps": [
  {"id": "fetch", "action": "http.get", "params": {"url": "${{inputs.url}}"}, "retry": {"max": 2, "delay": "1s"}},
  {"id": "ok", "type": "reasoning", "depends_on": ["fetch"], "config": {"prompt_context": "Publish it?",
    "options": [{"id": "yes"}, {"id": "no"}], "data_inject": {"page": "${{steps.fetch.output.body}}"}}},
  {"id": "note", "action": "workflow.log", "depends_on": ["ok"], "params": {"message": "${{steps.ok.output.choice}}"}}
]}"""

DEFINE_IN = arguments(
    ["name", "definition", "agent_id"],
    name=text("name of the template"),
    definition=loose(DEFINITION),
    agent_id=_AGENT,
    description=text("one line for lists"),
    input_schema=loose("JSON Schema (2020-12) that params of a run must satisfy"),
    output_schema=loose("JSON Schema that the final output must satisfy"),
    triggers=loose("when to start by itself; stored with the template"),
)
DEFINE_OUT = answer(
    ["name", "version"], name={"type": "string"}, version=text("v1, v2, ..."), warnings=_OBJECTS
)  # fmt: skip

RUN_IN = arguments(
    ["template_name", "agent_id"],
    template_name=text("exact name of a saved template"),
    agent_id=_AGENT,
    version=text("v2 or 2; the latest when left out"),
    params=loose("inputs of the run"),
    wait=_WAIT,
    wait_timeout=_WAIT_TIMEOUT,
    idempotency_key=text(
        "the same key from the same agent starts one run only, and answers with it, also after the template got a new "
        "version; CONFLICT for another template, version or params; 1 to 256 printable characters",
        minLength=1,
        maxLength=256,
    ),
)
RUN_OUT = answer(
    ["workflow_id", "status"],
    workflow_id={"type": "string"},
    status=text(
        "completed, failed, suspended, cancelled; or active, with the id and what it asks meanwhile, when the wait ended "
        "first: ask opcode.status"
    ),
    output={},
    started_at=_TIME,
    completed_at=_TIME,
    steps=_STEPS,
    pending_decisions=_PENDING,
    waiting=_WAITING,
    warnings={"type": "array"},
)

STATUS_IN = arguments(
    ["workflow_id"],
    workflow_id=_WORKFLOW,
    include={
        "type": "array",
        "items": {"type": "string", "enum": list(INCLUDES)},
        "description": "only these parts of what is long; output and params come with steps, waiting with steps or "
        "decisions",
    },
    events_since={
        "type": "integer",
        "minimum": 0,
        "description": "the first events after this sequence; 0 is the start",
    },
    events_limit={
        "type": "integer",
        "minimum": 1,
        "default": 200,
        "description": "so many events, the newest without events_since; at most 10000",
    },
)
STATUS_OUT = answer(
    ["workflow_id", "status"],
    workflow_id={"type": "string"},
    status=text("pending, active, suspended, completed, failed or cancelled"),
    name={"type": "string"},
    template_name={"type": "string"},
    template_version={"type": "string"},
    agent_id={"type": "string"},
    parent_workflow_id={"type": "string"},
    params=loose("the inputs of the run, defaults included and secrets masked"),
    created_at=_TIME,
    started_at=_TIME,
    completed_at=_TIME,
    output={},
    steps=_STEPS,
    pending_decisions=_PENDING,
    waiting=_WAITING,
    warnings={"type": "array"},
    context={"type": "object"},
    events=_OBJECTS,
    events_truncated={"type": "boolean", "description": "older or newer events were left out"},
    events_next={"type": "integer", "description": "more events follow: the next events_since"},
)

SIGNAL_IN = arguments(
    ["workflow_id", "signal_type"],
    workflow_id=_WORKFLOW,
    signal_type=text("what to do with the run", enum=list(SIGNALS)),
    payload=loose(
        'decision: {"choice": ID, "data"?: {...}, "reasoning"?: TEXT}; data: {"signal": NAME, ...} for a step that waits for NAME, else '
        'any object; cancel: {"reason"?: TEXT}; retry: {"reason"?: TEXT}; skip: {"output"?: ANY, "reason"?: TEXT}, both '
        'also "reasoning"; other keys are refused, except in data; retry and skip also take up a failed run'
    ),
    step_id=text(
        "full step id, or the end of one that fits one step only; needed when several decisions are pending and for skip; "
        "retry without it repeats all interrupted steps, those with outcome unknown included"
    ),
    agent_id=text("who signals; recorded as resolved_by"),
    reasoning=text("why; kept with the resolution"),
    wait=_WAIT,
    wait_timeout=_WAIT_TIMEOUT,
)
SIGNAL_OUT = answer(
    ["ok", "workflow_id", "signal_type"],
    ok={"type": "boolean"},
    workflow_id={"type": "string"},
    signal_type={"type": "string"},
    resumed={
        "type": "boolean",
        "description": "the signal made the run go on; one of type data or cancel does where it ends what a step waits for",
    },
    status=text("of the run afterwards; active when the wait ended first: ask opcode.status"),
    output={},
    steps=_STEPS,
    pending_decisions=_PENDING,
    waiting=_WAITING,
    warnings=_OBJECTS,
)


#: Keys of the filter of `opcode.query`.
FILTER: dict[str, Schema] = {
    "status": text("of workflows and decisions"),
    "reason": text(
        "of workflows: suspended ones that wait for a decision, signal, timer or child, or for what to do about an "
        "interrupted step"
    ),
    "agent_id": text("owner; of decisions the agent asked"),
    "name": text("of templates and actions"),
    "template_name": text("of workflows"),
    "workflow_id": text("of events and decisions"),
    "parent_workflow_id": text("of workflows"),
    "event_type": text("of events"),
    "step_id": text("of events"),
    "since": text("RFC 3339 time"),
    "until": text("RFC 3339 time, of workflows"),
    "order": text("of workflows", enum=["asc", "desc"]),
    "fields": text("summary leaves out definitions and outputs", enum=["full", "summary"]),
    "limit": {"type": "integer", "description": "at most 1000"},
    "offset": {"type": "integer"},
    "cursor": text("next_cursor of the answer before"),
}


def query_in(resources: list[str]) -> Schema:
    """Return the arguments of `opcode.query` for these resources."""
    return arguments(
        ["resource"],
        resource=text("what to list", enum=resources),
        filter={
            "type": "object",
            "description": "conditions; events need workflow_id or event_type",
            "properties": FILTER,
        },
    )


def query_out(resources: list[str]) -> Schema:
    """Return the answer of `opcode.query`: one list under the name of the resource."""
    properties: dict[str, Schema] = dict.fromkeys(resources, _OBJECTS)
    warnings: Schema = {"type": "array", "items": {"type": "string"}}
    schema = answer([], **properties, next_cursor={"type": "string"}, total={"type": "integer"}, warnings=warnings)
    schema["anyOf"] = [{"required": [name]} for name in (*resources, "error")]
    return schema
