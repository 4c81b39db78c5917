"""`opcode run FILE`: one workflow, in this process, start to end."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from opcode_kernel.errors import ConflictError, Json
from opcode_kernel.server.commands.common import (
    add_json,
    complain,
    key_values,
    read_definition,
    readable_text,
    say,
    say_json,
    settings_of,
)
from opcode_kernel.server.commands.definitions import describe
from opcode_kernel.server.commands.results import render, tell, tell_record

if TYPE_CHECKING:
    from opcode_kernel.plugin.external import ExternalPlugin
    from opcode_kernel.server.commands.common import DefinitionFile
    from opcode_kernel.server.settings import Settings

EXIT = {"completed": 0, "suspended": 3}


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declare the command."""
    parser = commands.add_parser("run", help="run a workflow file here and now")
    parser.add_argument("file", metavar="FILE", help="definition as JSON; - is stdin")
    parser.add_argument(
        "--input",
        "-i",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="an input of the run; VALUE is JSON where it parses as JSON, else text (n='\"3\"' is text, n=3 a number)",
    )
    parser.add_argument(
        "--decide",
        action="append",
        default=[],
        metavar="STEP=CHOICE",
        help="answer to give when that step asks; a nested step by its full id, such as each.iter_0.ask",
    )
    parser.add_argument("--db", metavar="PATH", help="keep the run in this database (default: memory only)")
    parser.add_argument("--agent", default="cli", metavar="ID", help="agent id of the run (default cli)")
    add_json(parser)
    parser.set_defaults(handler=run)


def run(args: argparse.Namespace) -> int:
    """Run the file; lines about its steps go to stderr, the result to stdout."""
    import anyio

    from opcode_kernel.server import logs

    inputs = key_values(args.input, "--input")
    answers = {key: str(value) for key, value in key_values(args.decide, "--decide").items()}
    file = read_definition(args.file)
    for remark in unknown_templates(file, args.db):
        sys.stderr.write(f"warning: {remark}\n")
    settings = settings_of(args)
    quiet = settings.log_level == "info"  # what the engine says at this level, the lines about the steps say better
    logs.configure(settings.log_level, take=lambda record: tell_record(record) or (quiet and not is_error(record)))
    try:
        result = anyio.run(_run, settings, file, inputs, answers, args)
    except ConflictError as error:
        raise with_ways_out(error, args.file) from None
    if args.json:
        say_json(result)
    else:
        say(render(result))
    if result["status"] == "suspended":
        sys.stderr.write(how_to_answer(result, args))
    code = EXIT.get(result["status"], 1)
    if problem := unused_answers(file, result, answers):
        complain(problem)
        return code or 2
    for step in never_asked(file, answers):
        sys.stderr.write(f"warning: --decide {step}: the step {step} never asks, only steps of type reasoning do\n")
    return code


def is_error(record: Mapping[str, Any]) -> bool:
    """Tell whether a log record is about a failure."""
    return record["level"] in ("error", "critical")


def with_ways_out(error: ConflictError, file: str) -> ConflictError:
    """Return the refusal of a database that another process uses, with what else can be done."""
    if "database" not in error.details:
        return error
    return ConflictError(
        f"{error.message}; or leave --db out: the run is then kept in memory only; or let the server of that database "
        f"run it: 'opcode define {file}' saves it there, and an MCP client starts it with opcode.run",
        details=error.details,
    )


def unknown_templates(file: DefinitionFile, db: str | None) -> Iterator[str]:
    """Yield a remark where a file runs other templates and no database has any."""
    if db is None and "workflow.run" in _values(file.definition, "action"):
        yield (
            "without --db there are no stored templates, so workflow.run finds this file alone; save the others with "
            "'opcode define FILE --db PATH', and give --db PATH here too"
        )


def never_asked(file: DefinitionFile, unused: dict[str, str]) -> list[str]:
    """Return the answers that were given to steps which ask nothing."""
    kinds = {step["id"]: step.get("type", "action") for step in _objects(file.definition) if _is_step(step)}
    return [step for step in unused if kinds.get(step.rpartition(".")[2], "reasoning") != "reasoning"]


def unused_answers(file: DefinitionFile, result: dict[str, Json], unused: dict[str, str]) -> str | None:
    """Return what is wrong with answers nobody asked for, or None.

    An answer for a step of the file is fine while the run did not get there; not when the run waits for another one.
    """
    pending = [decision["step_id"] for decision in result.get("pending_decisions") or ()]
    ids = {value for value in _values(file.definition, "id") if isinstance(value, str)}
    wrong = [step for step in unused if result["status"] == "suspended" or step.rpartition(".")[2] not in ids]
    if not wrong:
        return None
    return f"--decide {', '.join(wrong)}: no such step asked; pending are {', '.join(pending) or 'none'}"


def _values(value: Json, key: str) -> Iterator[Json]:
    """Yield everything that stands under a key, however deep; what is data and not a step does no harm."""
    return (found[key] for found in _objects(value) if key in found)


def _is_step(value: dict[str, Json]) -> bool:
    return isinstance(value.get("id"), str) and ("action" in value or "type" in value)


def _objects(value: Json) -> Iterator[dict[str, Json]]:
    level = [value]
    while level:
        found = level.pop()
        if isinstance(found, dict):
            yield found
            level += found.values()
        elif isinstance(found, list):
            level += found


def wanted_plugins(settings: Settings, definition: dict[str, Json]) -> tuple[ExternalPlugin, ...]:
    """Return the external plugins that a definition may call: there is no need to start the others."""
    actions = {action.partition(".") for action in _values(definition, "action") if isinstance(action, str)}
    if ("workflow", ".", "run") in actions:
        return settings.plugins  # what other templates call is not looked at
    families = {family for family, _, _ in actions}
    return tuple(plugin for plugin in settings.plugins if plugin.name in families)


async def _run(
    settings: Settings,
    file: DefinitionFile,
    inputs: dict[str, Json],
    answers: dict[str, str],
    args: argparse.Namespace,
) -> dict[str, Json]:
    from opcode_kernel.server.engines import open_engine_at
    from opcode_kernel.server.unknown_inputs import inputs_read, unknown_inputs

    async with open_engine_at(settings, args.db, plugins=wanted_plugins(settings, file.definition)) as engine:
        saved = await engine.define(
            file.name,
            file.definition,
            agent_id=args.agent,
            description=file.description,
            input_schema=file.input_schema,
            output_schema=file.output_schema,
        )
        for warning in saved.get("warnings", ()):
            sys.stderr.write(f"warning: {describe(warning)}\n")
        found = unknown_inputs(
            file.definition, file.input_schema, inputs, lambda: inputs_read(file.definition, engine.registry)
        )
        for key, remark in found.items():
            sys.stderr.write(f"warning: --input {key}: {remark}\n")
        result = await engine.run(
            file.name, agent_id=args.agent, version=saved["version"], params=inputs, listener=tell
        )
        while result["status"] == "suspended" and (step_id := _answerable(result, answers)) is not None:
            await engine.signal(
                result["workflow_id"],
                "decision",
                payload={"choice": answers.pop(step_id)},
                step_id=step_id,
                agent_id=_asked(result, step_id) or args.agent,
                listener=tell,
            )
            result = await engine.status(result["workflow_id"], include=["steps", "decisions"])
        shown: dict[str, Json] = engine.secrets.known.value(result)
        return shown


def _answerable(result: dict[str, Json], answers: dict[str, str]) -> str | None:
    asked = (decision["step_id"] for decision in result.get("pending_decisions") or ())
    return next((step_id for step_id in asked if step_id in answers), None)


def _asked(result: dict[str, Json], step_id: str) -> str | None:
    """Return the agent a question is addressed to."""
    decisions = result.get("pending_decisions") or ()
    return next((d.get("target_agent_id") for d in decisions if d["step_id"] == step_id), None)


def how_to_answer(result: dict[str, Json], args: argparse.Namespace) -> str:
    """Return the open questions and the words that answer them."""
    lines: list[str] = []
    for decision in result.get("pending_decisions") or ():
        context = decision.get("context") or {}
        choices = [option["id"] for option in decision.get("options") or ()]
        question = context.get("prompt_context") or context.get("prompt") or "a decision"
        lines.append(f"{decision['step_id']} asks: {readable_text(str(question))}")
        lines.append(f"  choices: {', '.join(choices) or 'any text'}")
        choice = choices[0] if choices else "TEXT"
        lines.append(f"  answer:  opcode run {args.file} ... --decide {decision['step_id']}={choice}")
    if not lines:
        lines = [f"{item['step_id']} waits: {item['reason']}" for item in result.get("waiting") or ()]
    if args.db:
        lines.append(
            f"the run is kept in {args.db}: 'opcode serve --db-path {args.db}' and opcode.signal with workflow_id "
            f"{result['workflow_id']} continue it"
        )
    return "".join(f"{line}\n" for line in lines)
