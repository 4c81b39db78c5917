"""`wait`: sleep for a time, wait for a named signal, or for whichever comes first."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from opcode_kernel import (
    Body,
    Compiler,
    Complete,
    ConfigProblem,
    Directive,
    ExpressionError,
    Json,
    Slot,
    Step,
    StepView,
    Template,
    Wait,
    canonical_text,
    json_type,
    parse_duration,
)  # fmt: skip
from opcode_steps.checks import check_duration, check_text, is_given
from opcode_steps.configs import WAIT, keys_of


@dataclass(frozen=True, slots=True)
class WaitPlan:
    """The compiled config: templates for a duration text and a signal name, None where not given."""

    duration: Template | None
    signal: Template | None


class WaitStep:
    """Holds no slot while it waits; its deadline survives a restart."""

    name = "wait"
    keys = keys_of(WAIT)
    config_schema = WAIT

    def bodies(self, config: dict[str, Json]) -> Iterable[Body]:
        """Return nothing: a wait has no nested lists."""
        return ()

    def slots(self, config: dict[str, Json]) -> Iterator[Slot]:
        """Return both parts, where references are allowed."""
        for key in ("duration", "signal"):
            if isinstance(config.get(key), str):
                yield Slot(key, "template", config[key])

    def check(self, config: dict[str, Json]) -> Iterator[ConfigProblem]:
        """Check that there is something to wait for."""
        if not is_given(config.get("duration")) and not is_given(config.get("signal")):
            where = "signal" if "signal" in config and "duration" not in config else "duration"
            yield ConfigProblem(where, "expected a duration, a signal or both, found neither")
        yield from check_duration(config, "duration", zero=True, template=True)
        yield from check_text(config, "signal", required=False)

    def compile(self, step: Step, compiler: Compiler) -> WaitPlan:
        """Compile both parts."""
        duration, signal = step.config.get("duration"), step.config.get("signal")
        return WaitPlan(
            compiler.template(duration) if duration else None,
            compiler.template(signal) if signal else None,
        )

    def advance(self, step: StepView) -> Directive:
        """Start waiting, or complete with what arrived."""
        if not step.arrived:
            return self._start(step)
        name = step.memo["signal"]
        if "signal" in step.arrived:
            return Complete({"signal": name, "payload": step.arrived["signal"]}, [("wait_completed", {})])
        waited = step.waited() // 1000
        if name is None:
            return Complete({"waited": waited}, [("wait_completed", {})])
        output = {"waited": waited, "signal": name, "timed_out": True}
        return Complete(output, [("wait_completed", {"timed_out": True})])

    def _start(self, step: StepView) -> Wait:
        plan: WaitPlan = step.config
        text = None if plan.duration is None else canonical_text(step.resolve(plan.duration))
        name = None if plan.signal is None else _name(step.resolve(plan.signal))
        try:
            duration = None if text is None else round(parse_duration(text) * 1_000_000)
        except ValueError as error:
            raise ExpressionError(f"wait: {error}") from None
        note = ("wait_started", {"duration": text or "", "signal": name or ""})
        return Wait(duration=duration, signal=name, memo={"signal": name}, notes=[note])


def _name(value: Json) -> str:
    """A reference may yield anything; null or an object as a name would be waited for in vain."""
    name = canonical_text(value) if isinstance(value, str | int | float) else ""
    if not name.strip():
        found = "an empty text" if isinstance(value, str) else json_type(value)
        raise ExpressionError(f"wait: expected the name of a signal, found {found}")
    return name
