"""Parents hold no place while they wait for children: a pool of one is enough for any number of generations."""

from __future__ import annotations

import anyio
import pytest

from opcode_kernel.store.base import RunFilter

pytestmark = pytest.mark.anyio

SHAKY = {"action": "probe.shaky", "retry": {"max": 3, "delay": "5ms"}}
WAIT = {"type": "wait", "config": {"duration": "5ms"}}
ASK = {"type": "reasoning", "config": {"prompt_context": "go on?", "options": [{"id": "yes"}]}}
NAP = {"action": "probe.nap"}


def call(template):
    return {"action": "workflow.run", "params": {"template_name": template}}


async def define_family(engine, link, *grandchild):
    await engine.define("grandchild", link(*grandchild), agent_id="me")
    await engine.define("child", link(NAP, call("grandchild"), NAP), agent_id="me")
    await engine.define("parent", link(NAP, call("child"), NAP), agent_id="me")


async def rows_of(engine, template, **more):
    rows, _ = await engine.store.runs(RunFilter(template_name=template, limit=1_000, **more))
    return rows


async def until_all_completed(engine, count):
    with anyio.fail_after(30):
        while len(await rows_of(engine, "parent", status="completed")) < count:  # noqa: ASYNC110 - no event tells
            await anyio.sleep(0.005)


async def answer_all(engine):
    for decision in await engine.store.decisions(status="pending", limit=1_000):
        await engine.signal(decision.run_id, "decision", payload={"choice": "yes"}, step_id=decision.step_id)


async def test_parent_child_and_grandchild_share_one_place(opened, probe, link):
    async with opened(pool_size=1) as engine:
        await define_family(engine, link, NAP, SHAKY, WAIT, NAP)
        with anyio.fail_after(30):
            result = await engine.run("parent", agent_id="me")
        assert result["status"] == "completed"
        assert {row.status for row in await rows_of(engine, "grandchild")} == {"completed"}
    assert probe.most == 1
    assert probe.ran.count("s1") == 3, "twice in vain, then once more"


@pytest.mark.parametrize("times", [1, 5])
@pytest.mark.parametrize("pool_size", [1, 4])
async def test_as_many_parents_as_places_and_more_never_deadlock(opened, probe, link, pool_size, times):
    count = pool_size * times
    async with opened(pool_size=pool_size) as engine:
        await define_family(engine, link, NAP, SHAKY, WAIT, NAP)
        statuses = []

        async def run():
            statuses.append((await engine.run("parent", agent_id="me"))["status"])

        with anyio.fail_after(30):
            async with anyio.create_task_group() as tasks:
                for _ in range(count):
                    tasks.start_soon(run)
        assert statuses == ["completed"] * count
        assert not engine.live
    assert probe.most <= pool_size


async def test_a_decision_of_the_grandchild_moves_all_three_on_in_one_place(opened, probe, link):
    async with opened(pool_size=1) as engine:
        await define_family(engine, link, NAP, ASK, SHAKY, NAP)
        with anyio.fail_after(30):
            results = [await engine.run("parent", agent_id="me") for _ in range(3)]
        assert {result["status"] for result in results} == {"suspended"}
        await answer_all(engine)
        await until_all_completed(engine, 3)


async def test_three_generations_go_on_after_a_restart_in_one_place(opened, probe, link):
    async with opened(pool_size=1) as engine:
        await define_family(engine, link, NAP, ASK, SHAKY, WAIT, NAP)
        with anyio.fail_after(30):
            for _ in range(3):
                await engine.run("parent", agent_id="me")
    before = list(probe.ran)
    async with opened(pool_size=1) as engine:
        for template in ("parent", "child", "grandchild"):
            assert {row.status for row in await rows_of(engine, template)} == {"suspended"}
        await answer_all(engine)
        await until_all_completed(engine, 3)
        assert len(await rows_of(engine, "grandchild")) == 3, "no child is started twice"
    assert probe.ran[: len(before)] == before
    assert probe.most == 1


async def test_generations_that_were_cut_off_find_each_other_again_in_one_place(opened, probe, link):
    gate = {"action": "probe.gate"}
    async with opened(pool_size=1, shutdown_grace=0.0) as engine:
        await define_family(engine, link, NAP, gate, NAP)
        await engine.run("parent", agent_id="me", wait=False)
        with anyio.fail_after(30):
            while "s1" not in probe.ran:  # noqa: ASYNC110 - set by an action
                await anyio.sleep(0.001)
    probe.gate.set()
    async with opened(pool_size=1) as engine:
        with anyio.fail_after(30):
            for template in ("parent", "child", "grandchild"):
                (row,) = await rows_of(engine, template)
                assert row.status == "suspended"
            await engine.signal(row.id, "retry")  # of the grandchild: only its step was cut off
        await until_all_completed(engine, 1)
        for template in ("child", "grandchild"):
            assert len(await rows_of(engine, template)) == 1, "whoever is repeated takes up the child it has"
    assert probe.ran.count("s1") == 2
