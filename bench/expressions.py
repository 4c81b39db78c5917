"""What a step adds to a run: an expression, a template, a small action; the yardstick is the same thing written in Python."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import opcode_assert
import opcode_cel
import opcode_crypto
import opcode_expr
import opcode_jq
import opcode_steps
from bench import actions
from bench.measure import Case, Operation, Options, Scenario, Subject
from bench.naive import MemoryLog, NaiveEngine
from bench.workloads import AGENT, Definition
from opcode_kernel.core.interpolation import compile_template
from opcode_kernel.core.scope import Scope
from opcode_kernel.plugin.manager import registry_of
from opcode_kernel.runtime.engine import Engine, EngineOptions, open_engine
from opcode_kernel.store.memory import MemoryStore

#: Evaluations per call: one alone is too short for the clock.
_PER_CALL = 200
_STEPS = 50

Data = dict[str, Any]
_DATA: Data = {
    "inputs": {"n": 5, "name": "box", "tags": ["xy", "z"], "score": 3},
    "steps": {"check": {"ok": True, "status_code": 200, "items": [{"score": n} for n in range(10)]}},
}

#: Language, expression, and what one would write in Python instead.
_EXPRESSIONS: tuple[tuple[str, str, Callable[[Data], Any]], ...] = (
    ("expr", "inputs.n > 3 && steps.check.ok", lambda d: d["inputs"]["n"] > 3 and d["steps"]["check"]["ok"]),
    ("expr", "inputs.n * 2 + len(inputs.tags)", lambda d: d["inputs"]["n"] * 2 + len(d["inputs"]["tags"])),
    (
        "expr",
        "filter(steps.check.items, .score >= inputs.score) | map(.score) | sum()",
        lambda d: sum(i["score"] for i in d["steps"]["check"]["items"] if i["score"] >= d["inputs"]["score"]),
    ),
    ("cel", "steps.check.status_code == 200", lambda d: d["steps"]["check"]["status_code"] == 200),
    ("cel", "inputs.n > 3 && steps['check'].ok", lambda d: d["inputs"]["n"] > 3 and d["steps"]["check"]["ok"]),
    ("cel", "inputs.tags.exists(t, t.startsWith('x'))", lambda d: any(t.startswith("x") for t in d["inputs"]["tags"])),
    ("jq", ".steps.check.items | map(.score)", lambda d: [i["score"] for i in d["steps"]["check"]["items"]]),
)

_TEMPLATE = {
    "url": "https://${{inputs.name}}/v1/${{inputs.n}}",
    "body": {"ok": "${{steps.check.output.value.ok}}", "first": "${{steps.check.output.value.items[0].score}}"},
    "note": "run ${{workflow.run_id}}",
}


@asynccontextmanager
async def _open() -> AsyncIterator[Engine]:
    plugins = (opcode_steps, opcode_crypto, opcode_assert, opcode_cel, opcode_expr, opcode_jq, actions)
    options = EngineOptions(pool_size=10, shutdown_grace=1.0)
    async with MemoryStore() as store, open_engine(store, registry_of(*plugins), options=options) as engine:
        yield engine


def _repeated(evaluate: Callable[[Any], Any], argument: Any) -> Operation:
    async def many(_: int) -> None:
        for _ in range(_PER_CALL):
            evaluate(argument)

    return many


@asynccontextmanager
async def _python(evaluate: Callable[[Data], Any]) -> AsyncIterator[Operation]:
    yield _repeated(evaluate, _DATA)


@asynccontextmanager
async def _program(language: str, text: str) -> AsyncIterator[Operation]:
    async with _open() as engine:
        yield _repeated(engine.registry.evaluators[language].compile(text).evaluate, _DATA)


@asynccontextmanager
async def _template() -> AsyncIterator[Operation]:
    async with _open() as engine:
        check = {"id": "check", "action": "bench.given", "params": {"value": _DATA["steps"]["check"]}}
        await engine.define("bench", {"steps": [check]}, agent_id=AGENT)
        live = engine.start(await engine.library.resolve("bench"), _DATA["inputs"], agent_id=AGENT)
        await live.settled()
        yield _repeated(compile_template(_TEMPLATE).resolve, Scope(live.run.state, live.run.state.root))


def _written(data: Data) -> Data:
    inputs, check = data["inputs"], data["steps"]["check"]
    return {
        "url": f"https://{inputs['name']}/v1/{inputs['n']}",
        "body": {"ok": check["ok"], "first": check["items"][0]["score"]},
        "note": f"run {inputs['name']}",
    }


def _hashes() -> Definition:
    return {"steps": [{"id": f"s{n}", "action": "crypto.hash", "params": {"data": f"text {n}"}} for n in range(_STEPS)]}


@asynccontextmanager
async def _hash_runs() -> AsyncIterator[Operation]:
    async with _open() as engine:
        await engine.define("bench", _hashes(), agent_id=AGENT)
        template = await engine.library.resolve("bench")

        async def one(_: int) -> None:
            await engine.start(template, {}, agent_id=AGENT).settled()

        yield one


@asynccontextmanager
async def _naive_hash_runs() -> AsyncIterator[Operation]:
    def digest(scope: Any, params: Any) -> Any:
        return {"hash": hashlib.sha256(params["data"].encode()).hexdigest(), "algorithm": "sha256"}

    engine = NaiveEngine(MemoryLog(), {"crypto.hash": digest}, 10)
    definition = _hashes()

    async def one(_: int) -> None:
        await engine.run(definition, {})

    yield one


@asynccontextmanager
async def _cases(options: Options) -> AsyncIterator[list[Case]]:
    many = partial(Subject, per=_PER_CALL, warm_up=3)
    cases = [
        Case(
            f"{language}: {text}",
            many(partial(_program, language, text)),
            many(partial(_python, python)),
            unit="evaluation",
        )
        for language, text, python in _EXPRESSIONS
    ]
    cases.append(Case("template-5-references", many(_template), many(partial(_python, _written)), unit="template"))
    hashes = Subject(_hash_runs, per=_STEPS), Subject(_naive_hash_runs, per=_STEPS)
    cases.append(Case("crypto.hash-step", *hashes, unit="step"))
    yield cases


EXPRESSIONS = Scenario("expressions", "compiled programs, a resolved template, a hash as a step", _cases)
