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
    compact_json,
    parse_duration,
)  # fmt: skip
from opcode_steps.checks import check_duration, check_text

#: A bare path such as `steps.a.output`, `inputs['x']` or `loop.item`.
_PATH = re.compile(r"(steps|inputs|workflow|context|loop|secrets)(\.[\w-]+|\[[^\]]+\])+")
_SHOWN_OUTPUT = 16_384


@dataclass(frozen=True, slots=True)
class Question:
    """The compiled config."""

    prompt: Template
    inject: dict[str, Template]
    options: Template
    target_agent: Template | None
    timeout: int | None
    fallback: str | None


class ReasoningStep:
    """A gate for a decision. A question is asked once per attempt and never again on resume."""

    name = "reasoning"
    keys = frozenset({"prompt_context", "options", "data_inject", "timeout", "fallback", "target_agent"})

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
                yield Slot(f"data_inject.{name}", "template", as_template(text))

    def check(self, config: dict[str, Json]) -> Iterator[ConfigProblem]:
        """Check the question, its options and the fallback."""
        yield from check_text(config, "prompt_context")
        yield from check_duration(config, "timeout")
        ids: list[str] = []
        options = config.get("options")
        if options is not None and not isinstance(options, list):
            yield ConfigProblem("options", 'expected a list of {"id", "description"} objects')
        for index, option in enumerate(options if isinstance(options, list) else []):
            yield from _check_option(option, index, ids)
        fallback = config.get("fallback")
        if fallback is not None and not isinstance(fallback, str):
            yield ConfigProblem("fallback", "expected the id of an option")
        elif fallback and ids and fallback not in ids:
            yield ConfigProblem("fallback", f"expected one of the options {', '.join(ids)}, found {fallback!r}")
        inject = config.get("data_inject")
        if inject is not None and not isinstance(inject, dict):
            yield ConfigProblem("data_inject", "expected an object of name to reference")
        target = config.get("target_agent")
        if target is not None and not isinstance(target, str):
            yield ConfigProblem("target_agent", "expected the id of an agent")

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
            timeout=round(parse_duration(timeout) * 1_000_000) if timeout else None,
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
        target = None if question.target_agent is None else canonical_text(step.resolve(question.target_agent))
        decision = Decision(
            context=_context(step, question), options=step.resolve(question.options), timeout=question.timeout,
            fallback=question.fallback, target_agent=target or None,
        )  # fmt: skip
        return Wait(decision=decision)


def as_template(text: Json) -> Json:
    """Read a bare path as a reference, anything else as it is."""
    if isinstance(text, str) and "${{" not in text and _PATH.fullmatch(text.strip()):
        return f"${{{{{text.strip()}}}}}"
    return text


def _context(step: StepView, question: Question) -> dict[str, Json]:
    prompt = canonical_text(step.resolve(question.prompt))
    context: dict[str, Json] = {"prompt_context": prompt, "prompt": prompt}
    if question.inject:
        data = {name: step.resolve(template) for name, template in question.inject.items()}
        context["data_inject"] = data
        context["data"] = data
    outputs = {step_id: _shown(output) for step_id, output in step.outputs().items()}
    if outputs:
        context["step_outputs"] = outputs
    context.update(step.context())
    return context


def _shown(output: Json) -> Json:
    size = len(compact_json(output)) if isinstance(output, dict | list | str) else 0
    return output if size <= _SHOWN_OUTPUT else {"truncated": True, "bytes": size}


def _check_option(option: Json, index: int, ids: list[str]) -> Iterator[ConfigProblem]:
    name = option.get("id") if isinstance(option, dict) else None
    if not isinstance(name, str) or not name:
        yield ConfigProblem(f"options[{index}]", 'expected an object with a non-empty "id"')
    elif name in ids:
        yield ConfigProblem(f"options[{index}].id", f"the option id {name!r} is used twice")
    else:
        ids.append(name)
