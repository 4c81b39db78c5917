"""From the tools of a server to actions: what can be one, and what is left out with the reason."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from time import monotonic

from opcode_kernel import (
    Action,
    ActionContext,
    Allowance,
    ConflictError,
    DefinitionError,
    ExternalPlugin,
    Json,
    JsonSchema,
    SchemaParams,
)

#: Calls a tool with its arguments and returns the output of the step.
Call = Callable[[str, SchemaParams, dict[str, Json]], Awaitable[Json]]

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_./-]{0,127}")
#: Checking the schemas of one listing may take so long, in seconds; what is left then is left out.
_SECONDS = 5.0
_LONGEST_SUMMARY = 2_000
#: What one entry may hold: how deep, how many values, how many characters.
_DEEPEST, _MOST_VALUES, _MOST_CHARACTERS = 64, 20_000, 262_144
_REMARKS = 20


@dataclass(slots=True)
class Listing:
    """The tools of a server as actions, and a sentence for each that cannot be one."""

    actions: list[Action] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)

    def remark(self, name: Json, reason: str) -> None:
        """Note that an entry is left out."""
        shown = name if isinstance(name, str) else type(name).__name__
        self.left_out.append(f"{shown[:80]!a}: {reason}")


def actions_of(
    entries: list[Json], plugin: ExternalPlugin, call: Call, redact: Callable[[str], str],
    clock: Callable[[], float] = monotonic,
) -> Listing:  # fmt: skip
    """Return the actions for the entries of `tools/list`. It may take seconds, so it belongs into a thread.

    Raises:
        ConflictError: two different tools have the same name; nothing of the list is used then.
    """
    listing, allowance = Listing(), Allowance()
    known: dict[str, Json] = {}
    until = clock() + _SECONDS
    for entry in entries:
        name = entry.get("name") if isinstance(entry, dict) else entry
        masked = redact(name) if isinstance(name, str) else name
        if not isinstance(entry, dict) or not isinstance(name, str) or not _NAME.fullmatch(name):
            listing.remark(masked, "expected a name of at most 128 letters, digits, _ . / and -")
        elif masked != name:
            listing.remark("***", "its name holds a secret")
        elif name in known:
            if known[name] != entry:
                raise ConflictError(f"the server has two different tools called {name!r}")
        elif clock() > until:
            listing.remark(name, f"checking the schemas of this server took more than {_SECONDS:g} s")
        elif (problem := _unfit(entry)) is not None:
            listing.remark(name, problem)
        else:
            known[name] = entry
            try:
                listing.actions.append(_action(name, entry, plugin, call, redact, allowance))
            except DefinitionError as error:
                listing.remark(name, f"its inputSchema cannot be used: {redact(error.message)[:300]}")
    return listing


def left_out(listing: Listing) -> list[str]:
    """Return what is to be said of the tools that are left out, the first ones by name."""
    more = len(listing.left_out) - _REMARKS
    return listing.left_out[:_REMARKS] + ([f"and {more} more"] if more > 0 else [])


def _action(
    name: str, entry: dict[str, Json], plugin: ExternalPlugin, call: Call, redact: Callable[[str], str],
    allowance: Allowance,
) -> Action:  # fmt: skip
    schema = entry.get("inputSchema")
    params = SchemaParams({"type": "object"} if schema is None else schema, allowance)
    hints = entry.get("annotations")
    hints = hints if isinstance(hints, dict) else {}
    repeatable = hints.get("readOnlyHint") is True or hints.get("idempotentHint") is True

    async def run(context: ActionContext, given: dict[str, Json]) -> Json:
        return await call(name, params, given)

    return Action(
        f"{plugin.name}.{name}", _summary(entry, name, redact), run, params=params, output=_output(entry),
        effect="idempotent" if repeatable else "effect", breaker=lambda given: plugin.id, circuit=f"{plugin.name}.*",
    )  # fmt: skip


def _summary(entry: dict[str, Json], name: str, redact: Callable[[str], str]) -> str:
    """Return the description on one line, without anything a terminal would act on."""
    texts = [entry.get(key) for key in ("description", "title")]
    text = next((each for each in texts if isinstance(each, str) and each.strip()), f"The tool {name}")
    printable = "".join(char if char.isprintable() else " " for char in redact(text)[:_LONGEST_SUMMARY])
    return " ".join(printable.split())


def _output(entry: dict[str, Json]) -> dict[str, Json]:
    """Return the schema of the output: what the server says of its structured content, around it what all results have."""
    structured = {"allOf": [declared]} if _is_schema(declared := entry.get("outputSchema")) else {}
    return {
        "type": "object",
        "required": ["content", "text"],
        "properties": {
            "content": {"type": "array", "description": "what the tool answered, part by part"},
            "structuredContent": {**structured, "description": "what it answered as JSON, if it did"},
            "text": {"type": "string", "description": "the text parts, one after the other"},
            "json": {**structured, "description": "structuredContent, or the value that text spells, or null"},
            "isError": {"type": "boolean", "description": "never true: then the step fails"},
            "_meta": {"type": "object", "description": "whatever the server adds"},
        },
        "additionalProperties": True,
    }


def _is_schema(declared: Json) -> bool:
    if not isinstance(declared, dict):
        return False
    try:
        JsonSchema(declared)
    except DefinitionError:
        return False
    return True


def _unfit(entry: dict[str, Json]) -> str | None:
    """Return why an entry is more than anybody should have to read, or None."""
    pending: list[tuple[Json, int]] = [(entry, 1)]
    values = characters = 0
    while pending:
        value, depth = pending.pop()
        values += 1
        if isinstance(value, str):
            characters += len(value)
        elif isinstance(value, dict):
            characters += sum(map(len, value))
            pending += [(item, depth + 1) for item in value.values()]
        elif isinstance(value, list):
            pending += [(item, depth + 1) for item in value]
        if depth > _DEEPEST or values > _MOST_VALUES or characters > _MOST_CHARACTERS:
            return f"expected at most {_DEEPEST} levels, {_MOST_VALUES} values and {_MOST_CHARACTERS} characters, found more"
    return None
