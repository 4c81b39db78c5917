"""Runs inside runs: outcome, suspension, cancellation and what survives a restart."""

from __future__ import annotations

from copy import deepcopy

import anyio
import pytest

from opcode_kernel.errors import ConflictError, NotFoundError

pytestmark = pytest.mark.anyio

ASK = {"id": "ask", "type": "reasoning", "config": {"prompt_context": "go on?", "options": [{"id": "yes"}]}}


def call(template, step_id="call", params=None, **more):
    return {
        "id": step_id,
        "action": "workflow.run",
        "params": {"template_name": template, "params": params or {}},
        **more,
    }


async def family(engine, child_steps, parent_steps=None, **parent):
    await engine.define("child", {"steps": child_steps}, agent_id="me")
    await engine.define("parent", {"steps": parent_steps or [call("child")], **parent}, agent_id="me")


async def child_of(world, run_id, status=None):
    rows = [row for row in world.store._runs.values() if row.parent_run_id == run_id]
    rows = [row for row in rows if status is None or row.status == status]
    return rows[-1].id if rows else None


async def test_a_completed_child_gives_its_output_to_the_parent(world):
    async with world.engine() as engine:
        await family(engine, [{"id": "a", "action": "fake.pure", "params": {"value": "${{inputs.x}}"}}],
                     [call("child", params={"x": 7})])  # fmt: skip
        with anyio.fail_after(5):
            result = await engine.run("parent", agent_id="me")
    assert (result["status"], result["output"]) == ("completed", 7)
    child = world.store._runs[await child_of(world, result["workflow_id"])]
    assert (child.parent_step_id, child.agent_id, child.status) == ("call", "me", "completed")


async def test_a_failed_child_fails_the_parent_step_with_its_code_and_details(world):
    async with world.engine() as engine:
        await family(engine, [{"id": "a", "action": "fake.fail", "params": {"code": "ASSERTION_FAILED"}}])
        with anyio.fail_after(5):
            result = await engine.run("parent", agent_id="me")
    assert result["status"] == "failed"
    error = result["steps"]["call"]["error"]
    child_id = await child_of(world, result["workflow_id"])
    assert error["details"]["child_workflow_id"] == child_id
    assert error["details"]["child_status"] == "failed"
    assert error["details"]["child_error"]["code"] == "NON_RETRYABLE"
    assert error["retryable"] is False


async def test_a_retry_of_the_parent_step_starts_a_new_child(world):
    async with world.engine() as engine:
        await family(engine, [{"id": "a", "action": "fake.fail", "params": {"times": 1}}],
                     [call("child", retry={"max": 1})])  # fmt: skip
        with anyio.fail_after(5):
            result = await engine.run("parent", agent_id="me")
    assert result["status"] == "completed"
    children = [row for row in world.store._runs.values() if row.parent_run_id == result["workflow_id"]]
    assert sorted(row.status for row in children) == ["completed", "failed"]


async def test_an_unknown_template_fails_the_step(world):
    async with world.engine() as engine:
        await engine.define("parent", {"steps": [call("nowhere")]}, agent_id="me")
        result = await engine.run("parent", agent_id="me")
    assert result["steps"]["call"]["error"]["code"] == "NOT_FOUND"


async def test_a_suspended_child_suspends_the_parent_and_its_end_resumes_it(world, until):
    async with world.engine() as engine:
        await family(engine, [ASK, {"id": "after", "action": "fake.note", "depends_on": ["ask"]}],
                     [call("child"), {"id": "last", "action": "fake.note", "depends_on": ["call"]}])  # fmt: skip
        with anyio.fail_after(5):
            result = await engine.run("parent", agent_id="me")
            assert result["status"] == "suspended"
            child_id = await child_of(world, result["workflow_id"])
            (entry,) = result["waiting"]
            assert (entry["step_id"], entry["reason"], entry["child_workflow_id"]) == ("call", "child", child_id)
            await until(lambda: not engine.live)
            answer = await engine.signal(child_id, "decision", payload={"choice": "yes"})
            assert answer["status"] == "completed"
            await until(lambda: world.status(result["workflow_id"]) == "completed")
    assert world.ran() == ["after", "last"]


async def test_every_answer_of_a_parent_says_whom_to_answer_however_deep_the_question_is(world, until):
    async with world.engine() as engine:
        await engine.define("leaf", {"steps": [ASK]}, agent_id="me")
        await family(engine, [call("leaf", "down")])
        result = await engine.run("parent", agent_id="me")
        run_id, child_id = result["workflow_id"], await child_of(world, result["workflow_id"])
        leaf_id = await child_of(world, child_id)
        status = await engine.status(run_id)
        fed = await engine.signal(run_id, "data", payload={"x": 1})
        for answer in (result, status, fed):
            (child,) = answer["waiting"]
            (leaf,) = child["waiting"]
            (question,) = leaf["pending_decisions"]
            assert (child["child_workflow_id"], leaf["child_workflow_id"]) == (child_id, leaf_id)
            assert (question["workflow_id"], question["step_id"], question["options"]) == (
                leaf_id,
                "ask",
                [{"id": "yes"}],
            )
        for step_id in (None, "call"):
            with pytest.raises(NotFoundError, match=f"its child workflow {leaf_id} asks at step ask") as caught:
                await engine.signal(run_id, "decision", step_id=step_id, payload={"choice": "yes"})
            assert caught.value.details["candidates"] == [{"workflow_id": leaf_id, "step_id": "ask"}]
        await engine.signal(leaf_id, "decision", payload={"choice": "yes"})
        await until(lambda: world.status(run_id) == "completed")
        assert "waiting" not in await engine.status(run_id)


async def test_a_parent_shows_that_nobody_knows_whether_something_happened_in_its_child(world, until):
    async with world.engine() as engine:
        await family(engine, [{"id": "g", "action": "fake.gate"}])
        run_id = (await engine.run("parent", agent_id="me", wait=False))["workflow_id"]
        await until(lambda: "g" in world.ran())
        child_id = await child_of(world, run_id)
        await engine.ask(run_id, lambda run: None)
        rows = {name: deepcopy(value) for name, value in vars(world.store).items() if isinstance(value, dict | list)}
        number = world.store._next_id
    vars(world.store).update(rows, _next_id=number)  # as a crash leaves it
    async with world.engine(recovery="resume") as engine:
        await until(lambda: world.status(run_id) == "suspended")
        (entry,) = (await engine.status(run_id))["waiting"]
        assert entry["child_workflow_id"] == child_id
        assert [(each["step_id"], each["outcome"]) for each in entry["waiting"]] == [("g", "unknown")]


async def test_a_child_that_fails_after_a_suspension_fails_the_parent(world, until):
    async with world.engine() as engine:
        await family(engine, [ASK, {"id": "after", "action": "fake.crash", "depends_on": ["ask"]}])
        result = await engine.run("parent", agent_id="me")
        await until(lambda: not engine.live)
        await engine.signal(await child_of(world, result["workflow_id"]), "decision", payload={"choice": "yes"})
        await until(lambda: world.status(result["workflow_id"]) == "failed")
        status = await engine.status(result["workflow_id"])
    assert status["steps"]["call"]["error"]["details"]["child_error"]["code"] == "STEP_FAILED"


async def test_a_cancelled_child_cancels_the_step_of_the_parent(world, until):
    async with world.engine() as engine:
        await family(engine, [{"id": "a", "action": "fake.gate"}])
        run_id = (await engine.run("parent", agent_id="me", wait=False))["workflow_id"]
        await until(lambda: world.ran())
        await engine.signal(await child_of(world, run_id), "cancel", payload={"reason": "enough"})
        await until(lambda: world.status(run_id) == "failed")
        status = await engine.status(run_id)
    assert status["steps"]["call"]["error"]["code"] == "CANCELLED"
    assert status["steps"]["call"]["error"]["details"]["child_status"] == "cancelled"


@pytest.mark.parametrize("waiting", [True, False])
async def test_a_cancelled_parent_cancels_all_generations(world, until, waiting):
    leaf = ASK if waiting else {"id": "a", "action": "fake.gate"}
    async with world.engine() as engine:
        await engine.define("leaf", {"steps": [leaf]}, agent_id="me")
        await engine.define("middle", {"steps": [call("leaf")]}, agent_id="me")
        await engine.define("top", {"steps": [call("middle")]}, agent_id="me")
        run_id = (await engine.run("top", agent_id="me", wait=waiting))["workflow_id"]
        await until((lambda: not engine.live) if waiting else world.ran)
        await engine.signal(run_id, "cancel")
        await until(lambda: {row.status for row in world.store._runs.values()} == {"cancelled"})
    assert world.ran("cancelled") == ([] if waiting else ["a"])


async def test_a_child_that_is_not_durable_yet_is_cancelled_too(world, until):
    async with world.engine() as engine:
        await family(engine, [{"id": "a", "action": "fake.gate"}])
        run_id = (await engine.run("parent", agent_id="me", wait=False))["workflow_id"]
        parent = engine.live[run_id]
        if len(engine.live) < 2:
            await until(lambda: len(engine.live) == 2)
        world.store.gate = anyio.Event()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(lambda: engine.signal(run_id, "cancel"))
            await until(lambda: parent.run.state.is_terminal)
            world.store.gate.set()
        await until(lambda: not engine.live)
        await until(lambda: {row.status for row in world.store._runs.values()} == {"cancelled"})


async def test_the_child_of_a_lost_race_is_cancelled(world, until):
    race = {"id": "race", "type": "parallel", "config": {
        "mode": "race", "branches": [[call("child")], [{"id": "fast", "action": "fake.gate", "params": {"gate": "b"}}]],
    }}  # fmt: skip
    async with world.engine() as engine:
        await family(engine, [{"id": "a", "action": "fake.gate"}], [race])
        run_id = (await engine.run("parent", agent_id="me", wait=False))["workflow_id"]
        await until(lambda: len(world.ran()) == 2)
        world.gate("b").set()
        await until(lambda: world.status(run_id) == "completed")
        child_id = await child_of(world, run_id)
        await until(lambda: world.status(child_id) == "cancelled")


@pytest.mark.parametrize("restart", [False, True])
async def test_a_resting_child_of_a_lost_race_is_cancelled_although_its_parent_goes_on(world, until, restart):
    quick = {"id": "quick", "type": "wait", "config": {"signal": "go"}}
    race = {"id": "race", "type": "parallel", "config": {"mode": "race", "branches": [[call("child")], [quick]]}}
    gate = {"id": "gate", "type": "reasoning", "config": {"prompt_context": "?"}, "depends_on": ["race"]}
    async with world.engine() as engine:
        await family(engine, [ASK], [race, gate])
        run_id = (await engine.run("parent", agent_id="me"))["workflow_id"]
        child_id = await child_of(world, run_id)
        assert world.status(child_id) == "suspended"
        if not restart:
            await engine.signal(run_id, "data", payload={"signal": "go"})
            await until(lambda: world.status(child_id) == "cancelled")
    if restart:
        async with world.engine() as engine:
            await engine.signal(run_id, "data", payload={"signal": "go"})
            await until(lambda: world.status(child_id) == "cancelled")
    assert world.status(run_id) == "suspended"


@pytest.mark.parametrize("lose", ["data", "cancel"])
async def test_resting_children_that_nobody_waits_for_any_more_are_looked_at_once(world, until, lose):
    """A branch key may hold what separates the parts of a task's name; and many children cost as many reads, not the square."""
    losers = [
        [{"id": f"c{index}", "type": "condition",
          "config": {"expression": "'go!#'", "branches": {"go!#": [call("child", timeout="1h")]}}}]
        for index in range(12)
    ]  # fmt: skip
    quick = {"id": "quick", "type": "wait", "config": {"signal": "go"}}
    race = {"id": "race", "type": "parallel", "config": {"mode": "race", "branches": [*losers, [quick]]}}
    gate = {"id": "gate", "type": "reasoning", "config": {"prompt_context": "?"}, "depends_on": ["race"]}
    async with world.engine() as engine:
        await family(engine, [ASK], [race, gate])
        run_id = (await engine.run("parent", agent_id="me"))["workflow_id"]
        children = [row.id for row in world.store._runs.values() if row.parent_run_id == run_id]
        loads = []
        load = engine.load
        engine.load = lambda run_id: loads.append(run_id) or load(run_id)
        await engine.signal(run_id, lose, payload={"signal": "go"} if lose == "data" else {})
        await until(lambda: {world.status(child_id) for child_id in children} == {"cancelled"})
        await until(lambda: not engine.live)
    assert len(children) == len(losers)
    assert world.status(run_id) == ("suspended" if lose == "data" else "cancelled")
    assert len(loads) <= 3 * len(children) + 1


async def test_a_template_that_calls_itself_stops_at_the_depth_limit(world):
    async with world.engine(pool_size=1) as engine:
        await engine.define("self", {"steps": [call("self")]}, agent_id="me")
        with anyio.fail_after(5):
            result = await engine.run("self", agent_id="me")
    assert result["status"] == "failed"
    assert len(world.store._runs) == 11
    deepest = [row for row in world.store._runs.values() if row.error["details"]["cause"]["code"] == "VALIDATION_ERROR"]
    assert "at most 10" in str(deepest[0].error)
    assert deepest[0].error["details"]["cause"]["details"]["chain"] == ["self"] * 11


async def test_one_place_is_enough_for_three_generations(world):
    world.gate("gate").set()
    async with world.engine(pool_size=1) as engine:
        await engine.define("leaf", {"steps": [{"id": "a", "action": "fake.gate"}]}, agent_id="me")
        await engine.define("middle", {"steps": [call("leaf")]}, agent_id="me")
        await engine.define("top", {"steps": [call("middle"), call("middle", "again")]}, agent_id="me")
        with anyio.fail_after(5):
            assert (await engine.run("top", agent_id="me"))["status"] == "completed"
    assert world.most == 1


@pytest.mark.parametrize("recovery", ["suspend", "auto", "resume"])
async def test_a_parent_whose_child_was_going_on_finds_it_again_after_a_restart(world, until, recovery):
    """The child had been resumed and was at work when the process died; the parent still waited for it."""
    steps = [ASK, {"id": "after", "action": "fake.safe", "depends_on": ["ask"]}]
    store = await crashed(world, until, steps)
    world.gate("gate").set()
    async with world.engine(store=store, recovery=recovery) as engine:
        parent_id = next(row.id for row in store._runs.values() if row.parent_run_id is None)
        child_id = next(row.id for row in store._runs.values() if row.parent_run_id == parent_id)
        if recovery == "suspend":
            assert (await engine.status(child_id))["status"] == "suspended"
            await engine.signal(child_id, "retry")
        await until(lambda: store._runs[parent_id].status == "completed")
        assert store._runs[child_id].status == "completed"


async def crashed(world, until, steps):
    """Return a store as a crash leaves it, with the child at work and the parent waiting for it."""
    async with world.engine() as engine:
        await family(engine, steps)
        result = await engine.run("parent", agent_id="me")
        await until(lambda: not engine.live)
        child_id = await child_of(world, result["workflow_id"])
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(lambda: engine.signal(child_id, "decision", payload={"choice": "yes"}))
            await until(world.ran)
            await until(lambda: world.store._logs[child_id].events[-1].type == "step_started")
            store = copied(world.store)
            tasks.cancel_scope.cancel()
    return store


def copied(original):
    """Return a store as a crash would leave it now."""
    store = type(original)([])
    for name, value in vars(original).items():
        if name.startswith("_"):
            setattr(store, name, deepcopy(value) if not isinstance(value, int) else value)
    return store


@pytest.mark.parametrize("crash", [False, True])
async def test_only_the_child_is_interrupted_by_a_restart_and_its_parent_goes_on_with_it(world, until, crash):
    async with world.engine() as engine:
        await family(engine, [{"id": "a", "action": "fake.gate"}])
        run_id = (await engine.run("parent", agent_id="me", wait=False))["workflow_id"]
        await until(world.ran)
        child_id = await child_of(world, run_id)
        await until(lambda: world.store._logs[child_id].events[-1].type == "step_started")
        crashed_store = copied(world.store)
    store = crashed_store if crash else world.store
    async with world.engine(store=store) as engine:
        await until(lambda: store._steps[run_id]["call"].waiting is not None)
        shown = await engine.status(run_id)
        assert (shown["status"], shown["waiting"][0]["reason"]) == ("suspended", "child")
        assert shown["waiting"][0]["waiting"][0] == {"step_id": "a", "reason": "interrupted", "outcome": "unknown"}
        moves = [each["payload"]["reason"] for each in shown["events"] if each["event_type"] == "workflow_suspended"]
        assert moves == ["interrupted", "child"]
        with pytest.raises(ConflictError, match=f"waits for the workflow {child_id}"):
            await engine.signal(run_id, "retry")
        world.gate("gate").set()
        with anyio.fail_after(5):
            assert (await engine.signal(child_id, "retry"))["status"] == "completed"
            await until(lambda: store._runs[run_id].status == "completed")


async def test_a_secret_for_a_child_stays_a_reference(world):
    world.vault.secrets["TOKEN"] = "hunter2-hunter2"
    async with world.engine(vault=world.vault) as engine:
        await engine.define("child", {"steps": [
            {"id": "use", "action": "fake.note", "params": {"token": "${{inputs.token}}"}},
        ]}, agent_id="me")  # fmt: skip
        await engine.define("parent", {"steps": [
            call("child", params={"token": "${{secrets.TOKEN}}", "text": "x ${{secrets.TOKEN}}"}),
        ]}, agent_id="me")  # fmt: skip
        with anyio.fail_after(5):
            result = await engine.run("parent", agent_id="me")
    assert result["status"] == "completed"
    assert world.seen["use"] == [{"token": "hunter2-hunter2"}]
    assert "hunter2" not in repr(await world.all_events())
    assert "hunter2" not in repr(list(world.store._runs.values()))


async def test_no_child_starts_while_the_engine_closes(world):
    async with world.engine() as engine:
        await engine.define("child", {"steps": [{"id": "a", "action": "fake.note"}]}, agent_id="me")
        template = await engine.library.resolve("child")
    with pytest.raises(ConflictError, match="shutting down"):
        engine.start(template, {}, agent_id="me")
