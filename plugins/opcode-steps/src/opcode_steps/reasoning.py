"""`reasoning`: ask an agent to decide, and complete with its choice."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from opcode_kernel import (
    Body,
    Compiler,
    Complete,
    ConfigProblem,
    Decision,
    Directive,
    Json,
    Slot,
    Step,
    StepView,
    Template,
    Wait,
    canonical_text,
    parse_duration,
)  # fmt: skip
from opcode_steps.checks import check_duration, check_text, has_reference, nearest, shown
from opcode_steps.configs import REASONING, keys_of
from opcode_steps.sizes import within

#: A bare path such as `steps.a.output`, `inputs['x']` or `loop.item`; `iter.item` is how CEL spells the last one.
_PATH = re.compile(
    r"""(steps|inputs|workflow|context|loop|iter|secrets)((?:\.[\w-]+|\[(?:'[^']*'|"[^"]*"|[^\]'"])+\])+)"""
)
#: Bytes of one step output that a question shows.
_SHOWN_OUTPUT = 16_384
#: What an option may hold, annotations included.
_OPTION_KEYS = ("id", "description", "name", "notes")
#: A longer text is no id of an option but a description.
_LONG_ID = 60
#: How many ids a message lists.
_LISTED = 20


@dataclass(frozen=True, slots=True)
class Question:
    """The compiled config: templates for what is shown, `timeout` in microseconds, `fallback` the choice it applies."""

    prompt: Template
    inject: dict[str, Template]
    options: Template
    target_agent: Template | None
    timeout: int | None
    fallback: str | None


class ReasoningStep:
    """A gate for a decision. A question is asked once per attempt and never again on resume."""

    name = "reasoning"
    keys = keys_of(REASONING)
    config_schema = REASONING

    def bodies(self, config: dict[str, Json]) -> Iterable[Body]:
        """Return nothing: a question has no nested lists."""
        return ()

    def slots(self, config: dict[str, Json]) -> Iterator[Slot]:
        """Return every text that may hold references; secrets may appear in none of them."""
        for key in ("prompt_context", "target_agent"):
            if isinstance(config.get(key), str):
                yield Slot(key, "template", config[key])
        if isinstance(config.get("options"), list):
            yield Slot("options", "template", config["options"])
        if isinstance(config.get("data_inject"), dict):
            for name, text in config["data_inject"].items():
                if isinstance(text, str):
                    yield Slot(f"data_inject.{name}", "template", as_template(text))

    def check(self, config: dict[str, Json]) -> Iterator[ConfigProblem]:
        """Check the question, its options and the fallback."""
        yield from check_text(config, "prompt_context")
        yield from check_duration(config, "timeout")
        ids: dict[str, None] = {}
        options = config.get("options")
        if options is not None and not isinstance(options, list):
            yield ConfigProblem(
                "options", f'expected a list of {{"id", "description"}} objects, found {shown(options)}'
            )
        for index, option in enumerate(options if isinstance(options, list) else []):
            yield from _check_option(option, index, ids)
        yield from _check_fallback(config.get("fallback"), ids)
        yield from _check_inject(config.get("data_inject"))
        target = config.get("target_agent")
        if target is not None and not isinstance(target, str):
            yield ConfigProblem("target_agent", f"expected the id of an agent, found {shown(target)}")

    def compile(self, step: Step, compiler: Compiler) -> Question:
        """Compile every text of the question."""
        config = step.config
        inject = config.get("data_inject") or {}
        timeout, target = config.get("timeout"), config.get("target_agent")
        return Question(
            prompt=compiler.template(config["prompt_context"]),
            inject={name: compiler.template(as_template(text)) for name, text in inject.items()},
            options=compiler.template(config.get("options") or []),
            target_agent=compiler.template(target) if target else None,
            timeout=max(round(parse_duration(timeout) * 1_000_000), 1) if timeout else None,
            fallback=config.get("fallback") or None,
        )

    def advance(self, step: StepView) -> Directive:
        """Ask, or complete with the answer."""
        if "decision" in step.arrived:
            answer = step.arrived["decision"]
            return Complete({
                "choice": answer["choice"], "reasoning": answer.get("reasoning") or "",
                "data": answer.get("data") or {}, "resolved_by": answer.get("resolved_by") or "",
                "timed_out": bool(answer.get("timed_out")),
            })  # fmt: skip
        question: Question = step.config
        target = None if question.target_agent is None else step.resolve(question.target_agent)
        decision = Decision(
            context=_context(step, question), options=[_option(option) for option in step.resolve(question.options)],
            timeout=question.timeout, fallback=question.fallback,
            target_agent=None if target is None else canonical_text(target) or None,
        )  # fmt: skip
        return Wait(decision=decision)


def as_template(text: str) -> str:
    """Read a bare path as a reference, anything else as it is.

    >>> as_template("steps.lookup.output.total"), as_template("iter.item"), as_template("see inputs.x")
    ('${{steps.lookup.output.total}}', '${{loop.item}}', 'see inputs.x')
    """
    path = None if has_reference(text) else _PATH.fullmatch(text.strip())
    if path is None:
        return text
    root = "loop" if path[1] == "iter" else path[1]
    return f"${{{{{root}{path[2]}}}}}"


def _option(option: dict[str, Json]) -> dict[str, Json]:
    """A description that was one reference is shown as text, whatever its value is; null is none."""
    shown_option = {key: value for key, value in option.items() if key != "description"}
    if option.get("description") is not None:
        shown_option["description"] = canonical_text(option["description"])
    return shown_option


def _context(step: StepView, question: Question) -> dict[str, Json]:
    prompt = canonical_text(step.resolve(question.prompt))
    context: dict[str, Json] = {"prompt_context": prompt, "prompt": prompt}
    if question.inject:
        data = {name: step.resolve(template) for name, template in question.inject.items()}
        context["data_inject"] = data
        context["data"] = data
    outputs = {step_id: within(output, _SHOWN_OUTPUT) for step_id, output in step.outputs().items()}
    if outputs:
        context["step_outputs"] = outputs
    context.update(step.context())
    return context


def _check_option(option: Json, index: int, ids: dict[str, None]) -> Iterator[ConfigProblem]:
    where = f"options[{index}]"
    if not isinstance(option, dict):
        usable = (
            isinstance(option, str) and bool(option.strip()) and len(option) <= _LONG_ID and not has_reference(option)
        )
        hint = f'; write {{"id": {shown(option)}}}'.replace("'", '"') if usable else ""
        yield ConfigProblem(
            where, f'expected an object with a non-empty "id", found {shown(option)}{hint}',
            repair={"id": option} if usable else None,
        )  # fmt: skip
        return
    name, description = option.get("id"), option.get("description")
    for key in option:
        if key not in _OPTION_KEYS and not key.startswith("x-"):
            meant = nearest(key.lower(), _OPTION_KEYS)
            hint = f"; did you mean {meant!r}?" if meant else " (prefix it with x- to keep it as a note)"
            yield ConfigProblem(
                f"{where}.{key}", f"the key {shown(key)} is unknown in an option, which has an id and a description{hint}",
                "error" if meant else "warning", rename=meant if meant not in option else None,
            )  # fmt: skip
    if not isinstance(name, str) or not name.strip():
        yield ConfigProblem(f"{where}.id", f"expected a non-empty text, found {shown(name)}")
    elif has_reference(name):
        yield ConfigProblem(
            f"{where}.id", f"expected an id without references, found {shown(name)}; describe it instead"
        )
    elif name in ids:
        yield ConfigProblem(f"{where}.id", f"expected an id of its own, found {shown(name)} again; rename one")
    else:
        ids[name] = None
    if description is not None and not isinstance(description, str):
        yield ConfigProblem(f"{where}.description", f"expected a text, found {shown(description)}")


def _check_fallback(fallback: Json, ids: dict[str, None]) -> Iterator[ConfigProblem]:
    if fallback is not None and not isinstance(fallback, str):
        yield ConfigProblem("fallback", f"expected the id of an option, found {shown(fallback)}")
    elif fallback and ids and fallback not in ids:
        listed = ", ".join(list(ids)[:_LISTED])
        yield ConfigProblem(
            "fallback", f"expected one of the options {listed}, found {shown(fallback)}",
            did_you_mean=nearest(fallback, ids),
        )  # fmt: skip


def _check_inject(inject: Json) -> Iterator[ConfigProblem]:
    if inject is not None and not isinstance(inject, dict):
        yield ConfigProblem("data_inject", f"expected an object of name to reference, found {shown(inject)}")
    for name, text in inject.items() if isinstance(inject, dict) else ():
        if not isinstance(text, str):
            yield ConfigProblem(f"data_inject.{name}", f"expected a reference or a text, found {shown(text)}")
