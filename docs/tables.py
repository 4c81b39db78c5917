#!/usr/bin/env python3
"""How `generate.py` shows schemas, settings, commands and values: Markdown tables and short words. Nothing here knows a page."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterable, Iterator
from typing import Any


def table(header: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """Return a Markdown table; bars inside cells are escaped."""
    lines = [list(header), *[list(row) for row in rows]]
    cells = [" | ".join(cell.replace("|", r"\|").replace("\n", " ") for cell in line) for line in lines]
    return "\n".join([f"| {cells[0]} |", "|" + "---|" * len(lines[0]), *[f"| {cell} |" for cell in cells[1:]]])


def code(value: Any) -> str:
    """Return a JSON value as inline code."""
    return f"`{json.dumps(value, ensure_ascii=False)}`"


def kind(schema: dict[str, Any]) -> str:
    """Return the type that a schema allows, in a few words.

    >>> kind({"type": "array", "items": {"type": "string"}}), kind({"enum": ["a", "b"]}), kind({})
    ('array of string', '`a`, `b`', 'any')
    """
    if "enum" in schema:
        return ", ".join(f"`{word}`" for word in schema["enum"])
    if "anyOf" in schema:
        return " or ".join(kind(option) for option in schema["anyOf"])
    if schema.get("type") == ["string", "number"]:
        return "duration"
    name = schema.get("type", "any")
    if name == "array" and schema.get("items"):
        return f"array of {kind(schema['items'])}"
    return " or ".join(name) if isinstance(name, list) else str(name)


def _bounds(schema: dict[str, Any]) -> str:
    limits = (("minimum", "at least"), ("maximum", "at most"), ("minLength", "length at least"), ("pattern", "matches"))
    said = [f"{words} {code(schema[key])}" for key, words in limits if key in schema and kind(schema) != "duration"]
    said += [f"also `{alias}`" for alias in schema.get("x-aliases", ())]
    return f" ({', '.join(said)})" if said else ""


def properties(schema: dict[str, Any], *, output: bool = False) -> str:
    """Return the table of an object schema, or a sentence when it has no fields."""
    if "anyOf" in schema and not schema.get("properties"):
        return "\n\nor\n\n".join(properties(option, output=output) for option in schema["anyOf"])
    required = set(schema.get("required", ()))
    rows = []
    for name, field in schema.get("properties", {}).items():
        default = code(field["default"]) if "default" in field else "required" if name in required else ""
        text = field.get("description", "") + _bounds(field)
        rows.append((f"`{name}`", kind(field), text) if output else (f"`{name}`", kind(field), default, text))
    if not rows:
        return capital(schema.get("description", "none")) + "."
    return table(("Field", "Type", "Meaning") if output else ("Field", "Type", "Default", "Meaning"), rows)


def accepted(reader: Callable[[Any], Any]) -> str:
    """Return in words what a reader of settings accepts: it says so when it gets nonsense."""
    try:
        reader(object())
    except ValueError as error:
        return str(error)
    raise AssertionError("this reader takes anything")


def default(value: Any) -> str:
    """Return the default of a setting as it is shown."""
    if value is None or value in ("", (), {}):
        return "none"
    return f"`{value}`" if not isinstance(value, bool) else f"`{str(value).lower()}`"


def capital(text: str) -> str:
    """Return a sentence with a capital; the rest stays as it is."""
    return text[:1].upper() + text[1:]


def commands(parser: argparse.ArgumentParser, above: str = "") -> Iterator[tuple[str, str, argparse.ArgumentParser]]:
    """Yield name, help and parser of every command that does something, verbs of a command included."""
    for group in parser._actions:  # noqa: SLF001 - argparse has no public way to list them
        if not isinstance(group, argparse._SubParsersAction):  # noqa: SLF001
            continue
        texts = {choice.dest: choice.help or "" for choice in group._choices_actions}  # noqa: SLF001
        for name, command in group.choices.items():
            below = list(commands(command, f"{above}{name} "))
            yield from below or [(f"{above}{name}", texts[name], command)]
