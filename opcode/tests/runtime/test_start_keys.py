"""Idempotent starts: one run per agent and key, however often and however early it is asked for again."""

from __future__ import annotations

from collections import Counter

import anyio
import pytest

from opcode_kernel.errors import ConflictError, DefinitionError, StoreError
from opcode_kernel.runtime.start_keys import KEY_LENGTH

pytestmark = pytest.mark.anyio

PURE = {"steps": [{"id": "a", "action": "fake.pure", "params": {"value": "${{inputs.x}}"}}]}
NOTE = {"steps": [{"id": "a", "action": "fake.note"}]}
GATED = {"steps": [{"id": "a", "action": "fake.gate"}]}
FAILING = {"steps": [{"id": "a", "action": "fake.fail"}]}
ASKING = {"steps": [{"id": "a", "type": "reasoning", "config": {"prompt_context": "?", "options": [{"id": "yes"}]}}]}


@pytest.mark.parametrize("key", ["", "   ", "x" * (KEY_LENGTH + 1), "a\nb", "a\x00", "\ud800", 7, ["k"]])
async def test_what_is_no_key_is_refused_and_nothing_is_stored(world, key):
    async with world.engine() as engine:
        await engine.define("t", PURE, agent_id="owner")
        with pytest.raises(DefinitionError, match="idempotency_key"):
            await engine.run("t", agent_id="me", params={"x": 1}, idempotency_key=key)
    assert world.store._runs == {}
    assert "me" not in world.store._agents


@pytest.mark.parametrize(
    ("key", "found"),
    [("", "a blank one"), ("x" * 300, "300"), ("a\nb", r"'\\n', which cannot be printed"), (7, "a number")],
)
async def test_a_refused_key_is_told_what_was_expected_and_what_is_wrong_with_it(world, key, found):
    async with world.engine() as engine:
        await engine.define("t", PURE, agent_id="owner")
        with pytest.raises(DefinitionError, match=rf"1 to 256 printable characters, found {found}; leave it out"):
            await engine.run("t", agent_id="me", params={"x": 1}, idempotency_key=key)


@pytest.mark.parametrize("key", ["k", "x" * KEY_LENGTH, "order 17: café / 你好"])
async def test_the_same_key_gives_the_same_run_to_the_same_agent(world, key):
    async with world.engine() as engine:
        await engine.define("t", PURE, agent_id="me")
        first = await engine.run("t", agent_id="me", params={"x": 1}, idempotency_key=key)
        again = await engine.run("t", agent_id="me", params={"x": 1}, idempotency_key=key, version="v1")
        other = await engine.run("t", agent_id="you", params={"x": 1}, idempotency_key=key)
    assert again == first
    assert other["workflow_id"] != first["workflow_id"]
    assert world.ran() == ["a", "a"]


async def test_another_request_under_a_used_key_is_a_conflict_that_names_the_run(world):
    async with world.engine() as engine:
        await engine.define("t", PURE, agent_id="me")
        await engine.define("u", PURE, agent_id="me")
        first = await engine.run("t", agent_id="me", params={"x": 1}, idempotency_key="k")
        await engine.define("t", PURE, agent_id="me")
        for template, version, x in (
            ("t", "v1", 2),
            ("t", "v1", True),
            ("t", "v1", [1]),
            ("t", "v2", 1),
            ("u", None, 1),
        ):
            with pytest.raises(ConflictError, match="'k'") as caught:
                await engine.run(template, version=version, agent_id="me", params={"x": x}, idempotency_key="k")
            assert caught.value.details["workflow_id"] == first["workflow_id"]
            assert first["workflow_id"] in caught.value.message
    assert len(world.store._runs) == 1


async def test_a_request_that_names_no_version_still_means_its_run_when_there_is_a_newer_one(world):
    async with world.engine() as engine:
        await engine.define("t", PURE, agent_id="me")
        first = await engine.run("t", agent_id="me", params={"x": 1}, idempotency_key="k")
        schema = {"type": "object", "required": ["y"]}
        await engine.define("t", NOTE, agent_id="me", input_schema=schema)
        again = await engine.run("t", agent_id="me", params={"x": 1}, idempotency_key="k")
    assert again == first


@pytest.mark.parametrize(("definition", "status"), [(GATED, "active"), (FAILING, "failed"), (ASKING, "suspended")])
@pytest.mark.parametrize("restarted", [False, True])
async def test_whatever_has_become_of_the_run_it_is_the_one(world, definition, status, restarted):
    async with world.engine() as engine:
        await engine.define("t", definition, agent_id="me")
        first = await engine.run("t", agent_id="me", idempotency_key="k", wait=status != "active")
        if not restarted:
            again = await engine.run("t", agent_id="me", idempotency_key="k", wait=status != "active")
    if restarted:
        async with world.engine() as engine:
            again = await engine.run("t", agent_id="me", idempotency_key="k")
        status = "suspended" if status == "active" else status
    assert (again["workflow_id"], again["status"]) == (first["workflow_id"], status)
    assert len(world.store._runs) == 1


@pytest.mark.parametrize("action", ["fake.note", "fake.pure", "fake.safe", "fake.gate"])
async def test_fifty_starts_at_once_are_one_run_that_does_its_work_once(world, until, action):
    answers: list = []
    world.gate("gate").set()
    async with world.engine() as engine:
        await engine.define("t", {"steps": [{"id": "a", "action": action}]}, agent_id="me")
        world.store.gate = anyio.Event()

        async def start(number):
            answers.append(await engine.run("t", agent_id="me", idempotency_key="k", wait=number % 2 == 0))

        with anyio.fail_after(5):
            async with anyio.create_task_group() as tasks:
                for number in range(50):
                    tasks.start_soon(start, number)
                await until(lambda: world.store.waiting)
                world.store.gate.set()
            await until(lambda: not engine.live)
        assert not engine.start_keys._held
        assert not engine.start_keys._live
    assert len({answer["workflow_id"] for answer in answers}) == 1
    assert len(world.store._runs) == 1
    assert world.ran() == ["a"]


async def test_of_different_requests_at_once_under_one_key_one_is_run_and_the_others_conflict(world, until):
    outcomes: Counter = Counter()
    async with world.engine() as engine:
        await engine.define("t", PURE, agent_id="me")
        world.store.gate = anyio.Event()

        async def start(number):
            try:
                await engine.run("t", agent_id="me", params={"x": number % 5}, idempotency_key="k")
            except ConflictError as error:
                outcomes[error.details["workflow_id"]] += 1
            else:
                outcomes["ran"] += 1

        with anyio.fail_after(5):
            async with anyio.create_task_group() as tasks:
                for number in range(50):
                    tasks.start_soon(start, number)
                await until(lambda: world.store.waiting)
                world.store.gate.set()
    (run_id,) = world.store._runs
    assert outcomes == {"ran": 10, run_id: 40}


async def test_a_caller_that_gives_up_leaves_the_key_to_the_run_it_started(world, until):
    async with world.engine() as engine:
        await engine.define("t", GATED, agent_id="me")
        world.store.gate = anyio.Event()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(lambda: engine.run("t", agent_id="me", idempotency_key="k"))
            await until(lambda: world.store.waiting)
            tasks.cancel_scope.cancel()
        world.store.gate.set()
        world.gate("gate").set()
        with anyio.fail_after(5):
            assert (await engine.run("t", agent_id="me", idempotency_key="k"))["status"] == "completed"
    assert world.ran() == ["a"]


async def test_a_start_that_could_not_be_stored_leaves_its_key_free(world):
    async with world.engine() as engine:
        await engine.define("t", NOTE, agent_id="me")
        world.store.trouble = lambda writes: ConflictError("another writer was here")
        with pytest.raises(ConflictError, match="another writer"):
            await engine.run("t", agent_id="me", idempotency_key="k")
        world.store.trouble = lambda writes: None
        assert (await engine.run("t", agent_id="me", idempotency_key="k"))["status"] == "completed"
    assert len(world.store._runs) == 1


async def test_a_store_that_cannot_be_asked_starts_nothing(world, monkeypatch):
    async def broken(agent_id, key):
        raise StoreError("gone")

    async with world.engine() as engine:
        await engine.define("t", NOTE, agent_id="me")
        monkeypatch.setattr(world.store, "run_by_key", broken)
        with pytest.raises(StoreError, match="gone"):
            await engine.run("t", agent_id="me", idempotency_key="k")
        assert not engine.start_keys._held
    assert world.store._runs == {}


async def test_secrets_do_not_make_the_same_request_another_one(world):
    world.vault.secrets["TOKEN"] = "hunter2-hunter2"
    definition = {"inputs": {"token": "${{secrets.TOKEN}}"}, **NOTE}
    async with world.engine(vault=world.vault) as engine:
        await engine.define("t", definition, agent_id="me")
        first = await engine.run("t", agent_id="me", idempotency_key="k")
        assert (await engine.run("t", agent_id="me", idempotency_key="k"))["workflow_id"] == first["workflow_id"]
