#!/usr/bin/env python3
"""Write `docs/reference/` from the code: one page each for actions, step types, hooks, events, errors and so on.

`python docs/generate.py` writes the pages; `--check` says which ones are out of date. What code cannot say for itself
stands in `reference.toml`. Only the plugins of this repository count, whatever else is installed.
"""

from __future__ import annotations

import inspect
import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import fields
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace

from operating import WORDS, cli_page, settings_page
from tables import kind, properties, table

from opcode_kernel.core import events
from opcode_kernel.core.limits import Limits
from opcode_kernel.core.references import NAMESPACES
from opcode_kernel.core.validation.fields import DEFINITION, ON_ERROR, RETRY, STEP
from opcode_kernel.core.validation.published import SCHEMA_ID, definition_schema
from opcode_kernel.errors import CODES, is_retryable
from opcode_kernel.plugin import hookspecs
from opcode_kernel.plugin.manager import Registry, registry_of
from opcode_kernel.server.sessions import Sessions
from opcode_kernel.server.tools import collect_tools

HERE = Path(__file__).resolve().parent
TARGET = HERE / "reference"
_NOTICE = "<!-- Written by docs/generate.py; change the code or docs/reference.toml and run it again. -->"

#: Where the reference says more about a key.
_SEE = {"step.retry": ", see below", "step.on_error": ", see below", "step.config": ", see [step types](step-types.md)"}


def built_in() -> Registry:
    """Return the registry of the plugins in this repository."""
    names = sorted(path.name.replace("-", "_") for path in (HERE.parent / "plugins").glob("opcode-*"))
    return registry_of(*(import_module(name) for name in names))


def actions_page(registry: Registry) -> Iterator[str]:
    """Every action with params and output."""
    yield "# Actions"
    yield (
        "What a step can do, by name. `opcode actions NAME` prints the same as JSON Schema. A `pure` action touches "
        "nothing, an `idempotent` one may be repeated, an `effect` is not repeated after a crash without consent."
    )
    yield WORDS["notes"]["actions"]
    for name in sorted(registry.actions):
        described = registry.actions[name].describe()
        owner = registry.owners["action", name].distribution.replace("_", "-")
        yield f"## {name}"
        yield f"{described['description']}. Effect: `{described['effect']}`. From `{owner}`."
        yield "**Params**"
        yield properties(described["input_schema"])
        yield "**Output**"
        yield properties(described["output_schema"], output=True)


def definition_page(registry: Registry) -> Iterator[str]:
    """The format of definitions: its keys, references and limits."""
    yield "# Definitions"
    yield (
        "What `opcode.define` takes as `definition`. Durations are texts such as `500ms`, `90s` or `1h30m`. A key that "
        "nearly is a known one is an error, any other unknown one a warning; `name`, `description`, `notes` and `x-...` "
        "may stand anywhere."
    )
    yield (
        f"The same as JSON Schema (draft 2020-12, `{SCHEMA_ID}`) stands in [definition.schema.json](definition.schema.json). "
        "`opcode schema` prints it, and the server has it at `/schema/definition.json` and, by version, at "
        "`/schema/definition/v1.json`."
    )
    spoken = {"count": "whole number", "delay": "duration"}
    parts = {"workflow": DEFINITION, "step": STEP, "retry": RETRY, "on_error": ON_ERROR}
    for part, keys in parts.items():
        yield f"## {part}"
        rows = [
            (f"`{key}`", kind({"enum": field.choices} if field.choices else {"type": spoken.get(field.kind, field.kind)}),
             "required" if field.required else "", f"{field.text}{_SEE.get(f'{part}.{key}', '')}.")
            for key, field in keys.items()
        ]  # fmt: skip
        yield table(("Key", "Type", "", "Meaning"), rows)
        if part in WORDS["notes"]:
            yield WORDS["notes"][part]
    yield "## References"
    yield (
        "`${{...}}` is one of these. Alone in a text it keeps the type of the value; inside a longer text it becomes text. "
        "`${{inputs.name ?? 'nobody'}}` has a default for what is not there, `${{inputs.id | text}}` is always a text, "
        "`${{inputs.rows | json}}` JSON text, and `\\${{` stands for the characters. What is put in is never read again."
    )
    yield table(("Root", "Meaning"), [(f"`{name}`", f"{WORDS['references'][name]}.") for name in NAMESPACES])
    yield "Fields of `workflow`:"
    yield "\n".join(f"- `{name}`: {text}." for name, text in WORDS["workflow"].items())
    yield "Short ids, nested steps and results of iterations:"
    yield "\n".join(f"- {text}." for text in WORDS["addresses"].values())
    yield "## Names in expressions"
    yield "`condition` and `expression` are CEL, `over` is a reference, CEL or jq, `expr.eval` takes Expr. What they see:"
    yield table(("Language", "Names"), [(f"{name}", f"{text}.") for name, text in WORDS["expressions"].items()])
    yield "## Limits"
    bounds = [
        (f"`{field.name}`", f"{getattr(Limits(), field.name)}", WORDS["limits"][field.name]) for field in fields(Limits)
    ]
    yield table(("Limit", "At most", "Of what"), bounds)


def step_types_page(registry: Registry) -> Iterator[str]:
    """Every step type with the keys of its config."""
    yield "# Step types"
    yield "What may stand in `type`, and the keys of `config` for each. The default is `action`."
    for name in sorted(registry.step_types):
        step_type = registry.step_types[name]
        yield f"## {name}"
        yield inspect.getdoc(step_type) or ""
        config = step_type.config_schema
        required = config.get("required", ())
        rows = [
            (f"`{key}`", "required" if key in required else "", schema["description"])
            for key, schema in config["properties"].items()
        ]
        yield table(("Key", "", "Meaning"), rows) if rows else "No config."
        yield f"{WORDS['outputs'][name]}."


def hooks_page(registry: Registry) -> Iterator[str]:
    """Every hook with its signature and contract."""
    yield "# Hooks"
    yield inspect.getdoc(hookspecs) or ""
    for name in hook_names():
        hook = getattr(hookspecs, name)
        signature = str(inspect.signature(hook)).replace("'", "")
        yield f"## {name}"
        yield f"```python\ndef {name}{signature}: ...\n```"
        yield inspect.getdoc(hook) or ""


def hook_names() -> list[str]:
    """Return the names of all hooks, in the order of the file."""
    return [name for name in vars(hookspecs) if name.startswith("opcode_")]


def events_page(registry: Registry) -> Iterator[str]:
    """Every event type with its meaning and payload."""
    yield "# Events"
    yield (
        "What is written into the log of a run, in order, never changed. `sequence` counts from 1 without gaps. "
        "Fields with `?` may be absent. `workflow.emit` adds types of your own; it may use none of these."
    )
    groups = (
        ("The run", events.WORKFLOW_EVENTS),
        ("Its steps", events.STEP_EVENTS),
        ("Decisions, signals and the rest", events.OTHER_EVENTS),
    )
    for title, names in groups:
        yield f"## {title}"
        yield table(("Event", "Meaning and payload"), [(f"`{name}`", f"{WORDS['events'][name]}.") for name in names])


def errors_page(registry: Registry) -> Iterator[str]:
    """Every error code."""
    yield "# Error codes"
    yield (
        "An error is `{code, message, details?, step_id?, retryable, reason?}`. Branch on the code; read the message. "
        "*Retried* is the default for the code: an error may say otherwise of itself in `retryable`. Only `CANCELLED` has "
        "a `reason`: why the run was cancelled, as whoever did it has put it."
    )
    rows = [(f"`{name}`", "yes" if is_retryable(name) else "no", f"{WORDS['errors'][name]}.") for name in CODES]
    yield table(("Code", "Retried", "Meaning"), rows)
    for title, text in WORDS["details"].items():
        yield f"## {title}"
        yield text


def tools_page(registry: Registry) -> Iterator[str]:
    """Every MCP tool with its arguments and answer."""
    yield "# MCP tools"
    yield (
        "What the server offers to agents. Both spellings can be called: `opcode.run` and `opcode_run`. A refusal has "
        "`isError` set and `{error: {code, message, step_id?, details?}}` as structured content. A run that failed is no "
        "refusal: the answers of run, status and signal then have `status` `failed` and the same `error`."
    )
    for name, tool in collect_tools(SimpleNamespace(registry=registry, store=None), Sessions()).items():
        hints = [word for word in ("read_only", "destructive", "idempotent", "open_world") if getattr(tool, word)]
        said = f" Hints: {', '.join(hint.replace('_', ' ') for hint in hints)}." if hints else ""
        yield f"## {name}"
        yield f"{tool.description}.{said}"
        yield "**Arguments**"
        yield properties(tool.input_schema)
        where = tool.input_schema["properties"].get("filter", {}).get("properties")
        if where:
            yield "**Inside `filter`**"
            yield properties({"properties": where}, output=True)
        yield "**Answer**"
        fine = tool.output_schema["properties"]
        yield properties({"properties": fine}, output=True)
        yield "**Schema of the arguments**"
        yield f"```json\n{json.dumps(tool.input_schema, indent=2, ensure_ascii=False)}\n```"


PAGES: dict[str, Callable[[Registry], Iterator[str]]] = {
    "definition": definition_page,
    "actions": actions_page,
    "step-types": step_types_page,
    "hooks": hooks_page,
    "events": events_page,
    "errors": errors_page,
    "tools": tools_page,
    "settings": settings_page,
    "cli": cli_page,
}


def index_page(registry: Registry) -> Iterator[str]:
    """What stands where."""
    yield "# Reference"
    yield "All of it is written from the code by `python docs/generate.py`, and a test compares the two."
    titles = {name: next(page(registry)).removeprefix("# ") for name, page in PAGES.items()}
    rows = [(f"[{titles[name]}]({name}.md)", inspect.getdoc(page) or "") for name, page in PAGES.items()]
    schema = "The format of definitions as JSON Schema (draft 2020-12)."
    yield table(("Page", "What it lists"), [*rows, ("[definition.schema.json](definition.schema.json)", schema)])
    plugins = sorted(path.parent.name for path in (HERE.parent / "plugins").glob("opcode-*/README.md"))
    yield "What belongs to one plugin, such as the functions of an expression language, stands in its README:"
    yield "\n".join(f"- [{name}](../../plugins/{name}/README.md)" for name in plugins)


def render() -> dict[str, str]:
    """Return the text of every page by file name."""
    registry = built_in()
    written = {**PAGES, "README": index_page}
    pages = {f"{name}.md": "\n\n".join([_NOTICE, *page(registry)]) + "\n" for name, page in written.items()}
    schema = json.dumps(definition_schema(registry.step_types), indent=2, ensure_ascii=False)
    return {**pages, "definition.schema.json": f"{schema}\n"}


def main() -> int:
    """Write the pages, or with `--check` compare them."""
    check = "--check" in sys.argv[1:]
    stale = []
    for name, text in render().items():
        file = TARGET / name
        if not file.exists() or file.read_text(encoding="utf-8") != text:
            stale.append(name)
            if not check:
                TARGET.mkdir(exist_ok=True)
                file.write_text(text, encoding="utf-8")
    sys.stdout.write(f"{'out of date' if check else 'written'}: {', '.join(stale) or 'nothing'}\n")
    return 1 if check and stale else 0


if __name__ == "__main__":
    sys.exit(main())
