"""Loops of ten thousand iterations: the work per iteration does not grow, and the limit is exact."""

from __future__ import annotations

import gc
import time
from collections.abc import Sequence
from typing import Any, NamedTuple

import pytest

from opcode_kernel import SqlStore, compact_json
from opcode_kernel.core.limits import Limits
from opcode_kernel.store.base import RunWrite

pytestmark = [pytest.mark.anyio, pytest.mark.alone]

LARGE = 10_000


class Work(NamedTuple):
    """What a run cost: rows and bytes written, and processor time in seconds."""

    events: int
    rows: int
    bytes: int
    seconds: float


class Meter(SqlStore):
    """Counts what is appended."""

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self.written = self.rows = self.bytes = 0

    async def append(self, writes: Sequence[RunWrite]) -> None:
        await super().append(writes)
        for write in writes:
            self.written += len(write.events)
            self.rows += len(write.steps)
            self.bytes += sum(len(compact_json([event.payload, event.private])) for event in write.events)


def loop(over: Any = "inputs.items", **config: Any) -> list[dict[str, Any]]:
    body = [{"id": "e", "action": "t.echo", "params": {"value": "${{loop.index}}"}}]
    return [{"id": "l", "type": "loop", "config": {"over": over, "body": body, **config}}]


def counting(mode: str, **config: Any) -> list[dict[str, Any]]:
    config["condition"] = "iter.index < inputs.n" if mode == "while" else "iter.index + 1 >= inputs.n"
    return loop(None, mode=mode, **config)


async def measured(house: Any, definition: Any, params: dict[str, Any], name: str) -> tuple[dict[str, Any], Work]:
    house.compare = False  # which would fold twenty thousand steps once more
    house.seen.clear()
    meter = Meter(house.folder / f"{name}.db")
    async with house.engine(store=meter) as engine:
        before = time.process_time()
        result = await house.run(engine, definition, params)
        seconds = time.process_time() - before
    return result, Work(meter.written, meter.rows, meter.bytes, seconds)


@pytest.mark.spec("11.24", "10.55")
@pytest.mark.parametrize(("mode", "size"), [("for_each", LARGE), ("while", 6_000), ("until", 6_000)])
async def test_four_times_as_many_iterations_cost_four_times_as_much(house, mode, size):
    work = {}
    for count in (size // 4, size):
        definition = loop() if mode == "for_each" else counting(mode)
        params = {"items": list(range(count))} if mode == "for_each" else {"n": count}
        result, work[count] = await measured(house, definition, params, f"{mode}{count}")
        assert result["status"] == "completed", result.get("error")
        output = result["steps"]["l"]["output"]
        assert output["iterations"] == count
        assert output["results"] == list(range(count))
        assert len(house.seen) == count
    small, large = work[size // 4], work[size]
    assert large.events - small.events == 3 * size, "two events of the iteration and two of its step"
    assert large.rows <= 4.2 * small.rows
    assert large.bytes <= 4.6 * small.bytes, "the numbers themselves get longer"
    assert large.seconds <= 6.5 * small.seconds, "linear is 4, quadratic 16"


@pytest.mark.spec("11.24", "10.55")
async def test_a_guard_in_the_body_does_not_pay_for_the_list_it_does_not_look_at(house):
    guard = "iter.index >= inputs.least && iter.index <= steps.fetch.output.most"
    body = [{"id": "e", "action": "t.echo", "condition": guard, "params": {"value": "${{steps.fetch.output.most}}"}}]
    work = {}
    for count in (1_250, 5_000):
        steps = [
            {"id": "fetch", "action": "t.echo", "params": {"value": {"most": count, "rows": "${{inputs.rows}}"}}},
            {"id": "l", "type": "loop", "depends_on": ["fetch"], "config": {"over": "steps.fetch.rows", "body": body}},
        ]  # fmt: skip
        rows = [{"n": n} for n in range(count)]
        result, work[count] = await measured(house, steps, {"rows": rows, "least": 0}, f"guard{count}")
        assert result["steps"]["l"]["output"] == {"iterations": count, "results": [count] * count}
    assert work[5_000].seconds <= 9 * work[1_250].seconds, "linear is 4, quadratic 16"


@pytest.mark.spec("11.24", "10.46")
async def test_the_limit_is_exact_for_every_mode(house):
    for mode in ("for_each", "while", "until"):
        definition = loop() if mode == "for_each" else counting(mode)
        params = {"items": [0] * (LARGE + 1)} if mode == "for_each" else {"n": LARGE + 1}
        result, _ = await measured(house, definition, params, mode)
        error = result["steps"]["l"]["error"]
        assert (result["status"], error["code"], error["retryable"]) == ("failed", "EXECUTION_ERROR", False)
        assert str(LARGE) in error["message"]
        assert str(LARGE + 1) in error["message"]
        if mode != "for_each":
            assert error["details"]["completed_iterations"] == LARGE
    result, _ = await measured(house, loop(), {"items": [0] * LARGE}, "exactly")
    assert (result["status"], result["steps"]["l"]["output"]["iterations"]) == ("completed", LARGE)


@pytest.mark.spec("11.24", "10.46")
@pytest.mark.parametrize(("mode", "count", "outcome"), [
    ("for_each", 5, "completed"), ("for_each", 6, "failed"), ("while", 5, "completed"), ("while", 6, "failed"),
    ("until", 5, "completed"), ("until", 6, "failed"),
])  # fmt: skip
async def test_the_limit_can_be_set_and_max_iter_ends_the_loop_before_it(house, mode, count, outcome):
    def definition(**config: Any) -> Any:
        return loop(**config) if mode == "for_each" else counting(mode, **config)

    params = {"items": [0] * count, "n": count}
    async with house.engine(limits=Limits(loop_iterations=5)) as engine:
        result = await house.run(engine, definition(), params)
        cut = await house.run(engine, definition(max_iter=4), params, name="cut")
        exact = await house.run(engine, definition(max_iter=count), params, name="exact")
    assert result["status"] == outcome
    assert len(house.seen) == 5 or (mode, outcome) == ("for_each", "failed")
    extra = {"truncated": True, "total": count} if mode == "for_each" else {"max_iter_reached": True}
    assert cut["output"] == {"iterations": 4, "results": [0, 1, 2, 3], **extra}
    assert exact["status"] == outcome
    assert outcome == "failed" or exact["output"] == {"iterations": 5, "results": [0, 1, 2, 3, 4]}


@pytest.mark.spec("11.24")
async def test_memory_grows_with_the_iterations_and_is_given_back_after_the_run(house):
    """Objects are counted, not bytes: how many are alive while it ran, and after it was let go."""
    house.compare = False
    seen: dict[int, int] = {}
    async with house.engine() as engine:
        await engine.define("t", {"steps": loop()}, agent_id="me")
        await engine.run("t", agent_id="me", params={"items": [0] * 50})
        house.seen.clear()
        gc.collect()
        before = len(gc.get_objects())
        for count in (500, 2_000):
            watch: list[int] = []
            house.keys.clear()

            def listener(run_id: str, events: Sequence[Any], watch: list[int] = watch) -> None:
                if any(event.type == "workflow_completed" for event in events):
                    gc.collect()
                    watch.append(len(gc.get_objects()))

            result = await engine.run("t", agent_id="me", params={"items": [0] * count}, listener=listener)
            seen[count] = watch[0] - before
            del result
            house.seen.clear()
            house.keys.clear()
            gc.collect()
            assert len(gc.get_objects()) - before < 1_000, "the run is still in memory"
    assert seen[2_000] <= 5 * seen[500]
