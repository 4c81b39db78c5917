"""Arguments nobody asked for: refused when they plainly mean a known one, else ignored with a remark.

The published rule is that unknown arguments are ignored. But `inputs` sent for `params` would start a run with its
defaults, and nobody would notice. So a key that stands in for a known one is an error, and the rest is remarked upon.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from difflib import get_close_matches

from opcode_kernel.errors import DefinitionError, Json

#: Other words for known keys; the first that the tool knows is meant.
_OTHER_WORDS: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(("input", "inputs", "arg", "args", "arguments", "parameters", "variables"), ("params",)),
    "name": ("template_name",),
    "template": ("template_name", "name"),
    "template_name": ("name",),
    "workflow": ("template_name", "workflow_id", "definition"),
    "workflow_name": ("template_name", "name"),
    **dict.fromkeys(("id", "run", "run_id"), ("workflow_id",)),
    "steps": ("definition",),
    "schema": ("input_schema",),
    **dict.fromkeys(("signal", "kind"), ("signal_type",)),
    "type": ("signal_type", "event_type"),
    "step": ("step_id",),
    **dict.fromkeys(("choice", "data", "output"), ("payload",)),
    **dict.fromkeys(("agent", "author", "owner"), ("agent_id",)),
    "timeout": ("wait_timeout",),
    "state": ("status",),
    **dict.fromkeys(("filters", "where"), ("filter",)),
}

#: What goes where, for the keys that are sent under many names.
_PURPOSES = {
    "params": "the inputs of a run go in",
    "payload": "what a signal carries goes in",
    "definition": "the steps of a workflow go in",
}
_LISTED = 5
_SHOWN = 60
_EMPTY: tuple[Json, ...] = (None, "", {}, [])


def check_arguments(schema: Mapping[str, Json], given: Mapping[str, Json]) -> list[str]:
    """Return a remark for every argument that the schema of a tool does not know.

    Raises:
        DefinitionError: an unknown argument stands in for a known one, or a required one is missing beside it.
    """
    known = schema.get("properties")
    if not isinstance(known, dict) or given.keys() <= known.keys() or "additionalProperties" in schema:
        return []
    inner = known.get("filter", {}).get("properties", {})
    remarks = check_keys(known, given, "argument", elsewhere=("filter", inner))
    missing = next((name for name in schema.get("required", ()) if given.get(name) in (None, "")), None)
    if missing is not None and remarks:
        raise DefinitionError(f"{missing} is required; {remarks[0]}")
    return remarks


def check_keys(
    known: Iterable[str],
    given: Mapping[str, Json],
    noun: str,
    *,
    elsewhere: tuple[str, Iterable[str]] = ("", ()),
) -> list[str]:
    """Return a remark for every unknown key; `elsewhere` names an argument and the keys that belong inside it.

    Raises:
        DefinitionError: an unknown key plainly means a known one that was not given.
    """
    names = tuple(known)
    strays = [key for key in given if key not in names and not key.startswith("_")]
    for key in strays:
        meant = meant_by(key, names)
        if meant is not None and given.get(meant) in _EMPTY:
            purpose = _PURPOSES.get(meant)
            remedy = f"{purpose} {meant!r}" if purpose else f"did you mean {meant!r}?"
            raise DefinitionError(
                f"unknown {noun} {key[:_SHOWN]!r}; {remedy}", details={"unknown": key[:_SHOWN], "did_you_mean": meant}
            )
    place, inside = elsewhere
    remarks: list[str] = []
    for key in strays[:_LISTED]:
        hint = f"it belongs in {place!r}" if key in inside else f"known are {', '.join(names)}"
        remarks.append(f"unknown {noun} {key[:_SHOWN]!r} was ignored; {hint}")
    if len(strays) > _LISTED:
        remarks.append(f"{len(strays) - _LISTED} more unknown {noun}s were ignored")
    return remarks


def meant_by(key: str, known: Iterable[str], *, cutoff: float = 0.8) -> str | None:
    """Return the known name that a key is a misspelling of, or another word for.

    >>> meant_by("inputSchema", ("name", "input_schema")), meant_by("run_id", ("workflow_id",)), meant_by("x", ("y",))
    ('input_schema', 'workflow_id', None)
    """
    folded = {_folded(name): name for name in known}
    for other in _OTHER_WORDS.get(key.lower()[:_SHOWN], ()):
        if (name := folded.get(_folded(other))) is not None:
            return name
    close = get_close_matches(_folded(key[:_SHOWN]), folded, n=1, cutoff=cutoff)
    return folded[close[0]] if close else None


def _folded(name: str) -> str:
    return name.replace("_", "").replace("-", "").lower()


def with_remarks(data: dict[str, Json], remarks: list[str], schema: Mapping[str, Json]) -> dict[str, Json]:
    """Return an answer with the remarks among its `warnings`, in the shape its schema has for them, if it has room."""
    known = schema.get("properties", {})
    shape = known.get("warnings")
    if not remarks or (shape is None and schema.get("additionalProperties") is False):
        return data
    earlier = data.get("warnings", [])
    if not isinstance(earlier, list):
        return data
    as_objects = isinstance(shape, dict) and shape.get("items", {}).get("type") == "object"
    return {**data, "warnings": [*earlier, *(_issue(text) if as_objects else text for text in remarks)]}


def _issue(text: str) -> dict[str, Json]:
    return {"path": "", "code": "UNKNOWN_ARGUMENT", "severity": "warning", "message": text}
