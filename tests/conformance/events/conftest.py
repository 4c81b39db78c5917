"""Runs that between them bring about every event of the catalogue, by name; `happened` runs one."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import pytest

from opcode_kernel import ActionError, Json, action, hookimpl, registry_of

Scenario = Callable[[Any], Awaitable[list[dict[str, Any]]]]


def do(step_id: str, name: str = "t.echo", **keys: Any) -> dict[str, Any]:
    """Return an action step; keys that are no step keys are its params."""
    known = {key: keys.pop(key) for key in ("on_error", "retry", "timeout", "depends_on", "condition") if key in keys}
    return {"id": step_id, "action": name, "params": keys, **known}


def ask(step_id: str = "ask", **config: Any) -> dict[str, Any]:
    return {"id": step_id, "type": "reasoning", "config": {"prompt_context": "Go?", **config}}


def of(step_id: str, type: str, **config: Any) -> dict[str, Any]:
    return {"id": step_id, "type": type, "config": config}


def ran(definition: Json, params: dict[str, Json] | None = None, **keys: Any) -> Scenario:
    """Return the scenario of one run that settles by itself."""

    async def scenario(house: Any) -> list[dict[str, Any]]:
        async with house.engine() as engine:
            run_id = (await house.run(engine, definition, params, **keys))["workflow_id"]
            return await house.events(engine, run_id)  # type: ignore[no-any-return]

    return scenario


def ended(definition: Json) -> Scenario:
    """Return the scenario of a run that rests and goes on by a timer."""

    async def scenario(house: Any) -> list[dict[str, Any]]:
        async with house.engine() as engine:
            run_id = (await house.run(engine, definition))["workflow_id"]
            await house.becomes(engine, run_id, "completed", "failed")
            return await house.events(engine, run_id)  # type: ignore[no-any-return]

    return scenario


def told(definition: Json, signal: str, payload: Json = None, **keys: Any) -> Scenario:
    """Return the scenario of a run that rests and then gets a signal."""

    async def scenario(house: Any) -> list[dict[str, Any]]:
        async with house.engine() as engine:
            run_id = (await house.run(engine, definition))["workflow_id"]
            await engine.signal(run_id, signal, payload=payload, **keys)
            return await house.events(engine, run_id)  # type: ignore[no-any-return]

    return scenario


async def restarted(house: Any) -> list[dict[str, Any]]:
    """An engine that is closed while an action runs, and opened again."""
    async with house.engine(recovery="auto") as engine:
        await engine.define("t", {"steps": [do("held", "t.gate")]}, agent_id="me")
        run_id = (await engine.run("t", agent_id="me", wait=False))["workflow_id"]
        with anyio.fail_after(5):
            while not house.effects():  # noqa: ASYNC110
                await anyio.sleep(0.002)
    async with house.engine() as engine:
        house.gate().set()
        await engine.signal(run_id, "retry")
        return await house.events(engine, run_id)  # type: ignore[no-any-return]


async def recovered(house: Any) -> list[dict[str, Any]]:
    """An engine that goes on by itself after it was opened again."""
    async with house.engine(recovery="auto") as engine:
        await engine.define("t", {"steps": [do("held", "t.safe")]}, agent_id="me")
        run_id = (await engine.run("t", agent_id="me", wait=False))["workflow_id"]
        with anyio.fail_after(5):
            while "held" not in house.seen:  # noqa: ASYNC110
                await anyio.sleep(0.002)
    house.gate().set()
    async with house.engine(recovery="auto") as engine:
        await house.becomes(engine, run_id, "completed", "failed")
        return await house.events(engine, run_id)  # type: ignore[no-any-return]


async def child(house: Any) -> list[dict[str, Any]]:
    """A child that asks, and its parent; the events of both."""
    async with house.engine() as engine:
        await engine.define("inner", {"steps": [ask()]}, agent_id="me")
        result = await house.run(engine, [do("call", "workflow.run", template_name="inner")])
        events = await house.events(engine, result["workflow_id"], step="call")
        inner = next(e["payload"]["child_workflow_id"] for e in events if e["event_type"] == "step_suspended")
        await engine.signal(inner, "decision", payload={"choice": "yes"})
        await house.becomes(engine, result["workflow_id"], "completed")
        return [*await house.events(engine, inner), *await house.events(engine, result["workflow_id"])]


async def tripped(house: Any) -> list[dict[str, Any]]:
    """Six failures of one target open its breaker; half a minute later a probe succeeds."""
    offset = [0]

    @action("plug.call", summary="Fail until it works", effect="idempotent", breaker=lambda params: "a.example:443")
    async def call(ctx: Any, params: Any) -> Json:
        if not offset[0]:
            raise ActionError("EXECUTION_ERROR", "no answer")
        return {}

    class Plug:
        @hookimpl
        def opcode_actions(self) -> list[Any]:
            return [call]

    from opcode_kernel.runtime.engine import wall_clock

    registry = registry_of(*house.registry.manager.get_plugins(), Plug())
    async with house.engine(registry=registry, clock=lambda: wall_clock() + offset[0]) as engine:
        steps = [do("first", "plug.call", retry={"max": 4}, on_error={"strategy": "ignore"})]
        result = await house.run(engine, [*steps, do("blocked", "plug.call", depends_on=["first"])])
        offset[0] = 31_000_000
        again = await engine.run("t", agent_id="me")
        assert (result["status"], again["status"]) == ("failed", "completed")
        return [
            *await house.events(engine, result["workflow_id"]), *await house.events(engine, again["workflow_id"])
        ]  # fmt: skip


IGNORED = {"strategy": "ignore"}
RESCUE = {"strategy": "fallback_step", "fallback_step": "spare"}
OPTIONAL = {"type": "object", "properties": {"x": {"type": "integer"}}}
AIMED = ask(
    timeout="1h", fallback="no", target_agent="you", options=[{"id": "no"}], data_inject={"n": "steps.a.output"}
)  # fmt: skip
SLEEP = do("nap", "t.sleep", seconds=30)
SCENARIOS: dict[str, Scenario] = {
    "plain": ran([do("a")]),
    "empty": ran([of("c", "condition", expression="'x'", branches={"y": [do("n")]}, default=None), do("b", value=None)]),
    "choice": ran([of("c", "condition", expression="1 < 2", branches={"true": [do("n")]})]),
    "large": ran([do("a", value="x" * 70_000)]),
    "failed": ran([do("a", "t.fail", details={"k": 1})]),
    "retried": ran([do("a", "t.fail", times=1, retry={"max": 2})]),
    "guarded": ran([do("a", condition="false"), do("b", condition="inputs.x == 1")], input_schema=OPTIONAL),
    "ignored": ran([do("a", "t.fail", on_error=IGNORED)]),
    "rescued": ran([do("a", "t.fail", on_error=RESCUE), do("spare")]),
    "unneeded": ran([do("a", on_error=RESCUE), do("spare")]),
    "items": ran([of("l", "loop", over=[1, 2, 3], max_iter=2, body=[do("n")])]),
    "tested": ran([of("l", "loop", mode="until", condition="iter.index == 1", max_iter=5, body=[do("n")])]),
    "fan": ran([of("p", "parallel", branches=[[do("n")], [do("m")]])]),
    "narrow": ran([of("p", "parallel", branches=[[do("n")], [do("m")]], max_concurrency=1)]),
    "race": ran([of("p", "parallel", mode="race", branches=[[do("n")], [SLEEP]])]),
    "waits": ended([of("w", "wait", duration="1ms"), {**of("v", "wait", duration="1ms", signal="s"), "depends_on": ["w"]}]),
    "long wait": ran([of("w", "wait", duration="2h")]),
    "asked": told([ask()], "decision", {"choice": "yes", "data": {"k": 1}}, agent_id="you", reasoning="because"),
    "answered": told([ask()], "decision", {"choice": "yes"}),
    "aimed": ran([do("a"), AIMED]),
    "in a loop": ran([of("l", "loop", over=[1], body=[ask()])]),
    "overdue": ended([ask(timeout="5ms", fallback="no")]),
    "missed": ended([ask(timeout="5ms")]),
    "data": told([of("w", "wait", signal="go")], "data", {"signal": "go"}),
    "data aside": told([ask()], "data", {"k": 1}, step_id="nowhere"),
    "cancelled": told([ask()], "cancel"),
    "cancelled by": told([ask(), do("late", depends_on=["ask"])], "cancel", {"reason": "enough"}, agent_id="you"),
    "decision cancelled": told([ask()], "cancel", step_id="ask"),
    "failed and retried": told([do("a", "t.fail", times=1)], "retry", step_id="a"),
    "skipped": told([do("a", "t.fail")], "skip", step_id="a"),
    "skipped with": told([do("a", "t.fail")], "skip", {"output": 1}, step_id="a"),
    "timed out": ran({"steps": [SLEEP], "timeout": "20ms"}),
    "timed out, cancelled": ran({"steps": [SLEEP], "timeout": "20ms", "on_timeout": "cancel"}),
    "timed out, suspended": ran({"steps": [SLEEP], "timeout": "20ms", "on_timeout": "suspend"}),
    "timed out step": ran([do("nap", "t.sleep", seconds=30, timeout="20ms")]),
    "restarted": restarted, "recovered": recovered, "child": child, "tripped": tripped,
}  # fmt: skip


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A test that asks for `scenario` runs once for each of them."""
    if "scenario" in metafunc.fixturenames:
        metafunc.parametrize("scenario", sorted(SCENARIOS))


@pytest.fixture
def happened(house: Any) -> Callable[[str], Awaitable[list[dict[str, Any]]]]:
    """Return a function that runs a scenario and returns its events."""
    return lambda name: SCENARIOS[name](house)


@pytest.fixture
def names() -> frozenset[str]:
    """Return the names of the scenarios."""
    return frozenset(SCENARIOS)
