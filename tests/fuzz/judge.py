"""What must hold for every input: an answer or a typed error, that JSON can carry, within a second.

An answer slower than that is asked for again before it counts: the machine may have been busy.
"""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import anyio
import structlog
from tests.fuzz import judge
from tests.fuzz.spoiling import definition_of, expression_of

import opcode_assert
import opcode_cel
import opcode_crypto
import opcode_expr
import opcode_jq
import opcode_steps
import opcode_workflow
from opcode_kernel import Action, ActionContext, ActionError, Json, action, hookimpl, open_engine, registry_of
from opcode_kernel.codec import encode
from opcode_kernel.errors import OpcodeError
from opcode_kernel.runtime.engine import Engine
from opcode_kernel.store.memory import MemoryStore
from opcode_kernel.testing import AnyParams

#: What an answer may take, in seconds.
LIMIT = 1.0
#: How long a run may take before it is left and cancelled, in seconds.
PATIENCE = 0.05

INPUTS: dict[str, Json] = {
    "n": 4,
    "flag": True,
    "kind": "p",
    "items": ["x", {"y": 1}, 2],
    "tags": ["xy"],
    "text": 'a "b"\n${{secrets.P}}',
    "x-y": 1,
}
SCOPE: dict[str, Json] = {
    "inputs": INPUTS, "steps": {"a": {"ok": True, "items": [{"name": "n"}], "k": [1]}}, "workflow": {"run_id": "r"}, "context": {"intent": "i"},
    "iter": {"index": 0, "item": {"x": 1}}, "loop": {"index": 0, "item": {"x": 1}}, "data": [{"x": 1, "y": "\ud800"}, {"x": 2}, {"x": 10**20}],
}  # fmt: skip


@action("test.echo", summary="Return a value", params=AnyParams, effect="pure")
def echo(ctx: ActionContext, params: AnyParams) -> Json:
    return params.given.get("value")


def _failing(name: str) -> Action:
    def fail(ctx: ActionContext, params: AnyParams) -> Json:
        raise ActionError("EXECUTION_ERROR", "as it was told")

    return action(name, summary="Fail", params=AnyParams, effect="pure")(fail)


@hookimpl
def opcode_actions() -> Iterable[Action]:
    """The actions that generated definitions name."""
    names = ("test.slow", "test.child", "test.patch")
    same = [
        action(name, summary="Return a value", params=AnyParams, effect="pure")(lambda ctx, params: 1) for name in names
    ]
    return [echo, *same, *(_failing(name) for name in ("test.fail", "test.flaky", "test.abort"))]


PLUGINS = (opcode_steps, opcode_cel, opcode_expr, opcode_jq, opcode_crypto, opcode_assert, opcode_workflow, judge)


@dataclass
class Verdict:
    """What became of many inputs: how each ended, the slowest one, and everything that may not happen."""

    outcomes: Counter[str] = field(default_factory=Counter)
    slowest: tuple[float, int] = (0.0, -1)
    violations: list[str] = field(default_factory=list)

    def add(self, other: Verdict) -> None:
        """Take in what another stretch found."""
        self.outcomes += other.outcomes
        self.slowest = max(self.slowest, other.slowest)
        self.violations += other.violations


async def judge_definitions(seeds: Iterable[int]) -> Verdict:
    """Check, define and run a definition per seed."""
    verdict = Verdict()
    async with _engine() as engine:
        for seed in seeds:
            await _time(verdict, "definition", seed, partial(answer_to, engine, f"t{seed}", definition_of(seed)))
    return verdict


async def judge_expressions(seeds: Iterable[int]) -> Verdict:
    """Compile and evaluate an expression or a template per seed."""
    verdict = Verdict()
    async with _engine() as engine:
        for seed in seeds:
            language, text = expression_of(seed)
            await _time(verdict, f"{language} expression", seed, partial(_evaluate, engine, language, text))
    return verdict


KINDS = {"definitions": judge_definitions, "expressions": judge_expressions}


def judge_stretch(stretch: tuple[str, int, int]) -> Verdict:
    """Judge one kind of input from one seed up to another, in an event loop of its own."""
    kind, low, high = stretch
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL)
    )  # `workflow.log` would fill the screen
    return anyio.run(KINDS[kind], range(low, high))


@asynccontextmanager
async def _engine() -> AsyncIterator[Engine]:
    async with MemoryStore() as store, open_engine(store, registry_of(*PLUGINS)) as engine:
        yield engine


async def _time(verdict: Verdict, kind: str, seed: int, ask: Callable[[], Awaitable[str]]) -> None:
    seconds = LIMIT
    for _ in range(3):
        began = time.perf_counter()
        try:
            outcome = await ask()
        except Exception as error:  # noqa: BLE001 - this is what is being looked for
            verdict.violations.append(f"{kind} {seed}: {type(error).__name__}: {error!s:.300}")
            return
        seconds = time.perf_counter() - began
        if seconds < LIMIT:
            break
    else:
        verdict.violations.append(f"{kind} {seed}: {outcome} took {seconds:.2f} s, three times in a row")
    verdict.outcomes[outcome] += 1
    verdict.slowest = max(verdict.slowest, (seconds, seed))


async def answer_to(engine: Engine, name: str, definition: Any) -> str:
    """Check, define and run a definition; returns in a word what became of it. What it raises may not be raised."""
    report = engine.check(definition)
    encode(report.to_json())
    if report.errors:
        encode(report.error().to_json())
        return "refused"
    try:
        await engine.define(name, definition, agent_id="fuzz")
        answer = await engine.run(name, agent_id="fuzz", params=INPUTS, wait_timeout=PATIENCE)
        encode(answer)
        encode(await engine.status(str(answer["workflow_id"])))
        if answer["status"] not in ("completed", "failed", "cancelled"):
            await engine.signal(str(answer["workflow_id"]), "cancel")
    except OpcodeError as error:
        encode(error.to_json())
        return f"refused at run: {error.code}"
    return str(answer["status"])


async def _evaluate(engine: Engine, language: str, text: str) -> str:
    if language == "template":
        steps: Json = [
            {"id": "a", "action": "test.echo", "params": {"value": {"k": [1, {"x": "y"}]}}},
            {"id": "b", "action": "test.echo", "params": {"value": text}, "depends_on": ["a"]},
        ]
        return await answer_to(engine, "template", {"steps": steps})
    try:
        program = engine.registry.evaluators[language].compile(text)
    except OpcodeError as error:
        encode(error.to_json())
        return f"{language}: does not compile"
    try:
        result = encode(program.evaluate(SCOPE))
        again = encode(program.evaluate(SCOPE))
    except OpcodeError as error:
        encode(error.to_json())
        return f"{language}: {error.code}"
    assert result == again or "now" in text or "date" in text, (
        f"{text!r:.200} gives {result:.100} and then {again:.100}"
    )
    return f"{language}: a value"
