"""What the user wrote, typed. Produced from JSON that `validation` has already accepted; nothing here checks.

Field names and defaults are those of the definition format (spec 01 section 1).
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field

from opcode_kernel.core.text import parse_duration
from opcode_kernel.errors import Json


@dataclass(frozen=True, slots=True)
class Retry:
    """`max` further attempts; delays in microseconds."""

    max: int
    backoff: str
    delay: int = 0
    max_delay: int | None = None
    jitter: bool = False


@dataclass(frozen=True, slots=True)
class OnError:
    """What happens when a step failed for good: ignore, fail_workflow, fallback_step or retry (the default)."""

    strategy: str
    fallback_step: str | None = None


@dataclass(frozen=True, slots=True)
class Step:
    """One step. `timeout` is in microseconds, `config` belongs to the step type."""

    id: str
    type: str = "action"
    action: str | None = None
    params: Json = field(default_factory=dict)
    depends_on: tuple[str, ...] = ()
    condition: str | None = None
    timeout: int | None = None
    retry: Retry | None = None
    on_error: OnError | None = None
    config: dict[str, Json] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Definition:
    """A whole workflow. `timeout` is in microseconds."""

    steps: tuple[Step, ...]
    inputs: dict[str, Json] = field(default_factory=dict)
    context: dict[str, Json] = field(default_factory=dict)
    timeout: int | None = None
    on_timeout: str = "fail"
    on_complete: Step | None = None
    on_error: Step | None = None
    metadata: dict[str, Json] = field(default_factory=dict)
    output: Json = None
    has_output: bool = False


def read_definition(data: dict[str, Json]) -> Definition:
    """Turn validated JSON into a `Definition`."""
    return Definition(
        steps=read_steps(data["steps"]),
        inputs=data.get("inputs") or {},
        context=data.get("context") or {},
        timeout=_duration(data.get("timeout")),
        on_timeout=data.get("on_timeout") or "fail",
        on_complete=read_step(data["on_complete"]) if data.get("on_complete") else None,
        on_error=read_step(data["on_error"]) if data.get("on_error") else None,
        metadata=data.get("metadata") or {},
        output=data.get("output"),
        has_output="output" in data,
    )


def read_steps(items: list[Json]) -> tuple[Step, ...]:
    """Turn a validated list of steps into `Step`s."""
    return tuple(read_step(item) for item in items)


def read_step(data: dict[str, Json]) -> Step:
    """Turn one validated step object into a `Step`."""
    retry, on_error = data.get("retry"), data.get("on_error")
    return Step(
        id=data["id"],
        type=data.get("type") or "action",
        action=data.get("action"),
        params=data.get("params") or {},
        depends_on=tuple(data.get("depends_on") or ()),
        condition=unwrapped(data.get("condition")),
        timeout=_duration(data.get("timeout")),
        retry=_retry(retry) if retry else None,
        on_error=OnError(on_error["strategy"], on_error.get("fallback_step")) if on_error else None,
        config=data.get("config") or {},
    )


def unwrapped(text: str | None) -> str | None:
    """Strip a `${{ ... }}` that wraps a whole expression: that spelling means the expression itself."""
    if text is None:
        return None
    inner = text.strip()
    if inner.startswith("${{") and inner.endswith("}}") and "${{" not in inner[3:]:
        return inner[3:-2].strip()
    return text


def json_list(text: str) -> list[Json] | None:
    """Return the list that a text spells in JSON; None when it spells something else, or nothing."""
    if not text.startswith("["):
        return None
    try:
        value = json.loads(text, parse_constant=_refuse)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, list) else None


def _refuse(constant: str) -> Json:
    raise ValueError(f"JSON has no {constant}")


def _retry(data: dict[str, Json]) -> Retry:
    delay = _duration(data.get("delay")) or 0
    backoff = data.get("backoff") or ("constant" if data.get("delay") else "none")
    return Retry(data["max"], backoff, delay, _duration(data.get("max_delay")), bool(data.get("jitter")))


def _duration(text: str | None) -> int | None:
    """Return microseconds. What is shorter than one is one: no time at all would mean no limit."""
    if not text:
        return None
    seconds = parse_duration(text)
    return max(round(seconds * 1_000_000), 1) if seconds else 0
