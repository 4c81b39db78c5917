"""A start that is repeated because its answer got lost: the daemon was killed, or the client went away."""

from __future__ import annotations

import signal

import anyio
import httpx2
import pytest

pytestmark = pytest.mark.anyio

NAP = {"id": "nap", "type": "wait", "config": {"signal": "go"}}
LONG = {"id": "long", "action": "shell.exec", "params": {"command": "sleep", "args": ["5"]}}
WANTED = {"template_name": "t", "agent_id": "a", "params": {"n": 1}, "idempotency_key": "order 17"}


async def define(session, *steps):
    assert "error" not in await session.call("define", name="t", agent_id="a", definition={"steps": list(steps)})


async def workflows(session):
    return (await session.call("query", resource="workflows", filter={"fields": "summary"}))["workflows"]


async def until_one_runs(session):
    with anyio.fail_after(20):
        while not (found := await workflows(session)):  # noqa: ASYNC110 - the daemon is another process
            await anyio.sleep(0.01)
    return found


async def test_a_daemon_killed_between_accepting_and_answering_knows_the_run_when_asked_again(serving, connect):
    with serving() as daemon:
        async with connect(daemon.url) as session:
            first, other = await session(), await session()
            await define(first, LONG)
            async with anyio.create_task_group() as tasks:

                async def never_answered():
                    with pytest.raises(httpx2.TransportError):
                        await first.call("run", **WANTED)

                tasks.start_soon(never_answered)
                (started,) = await until_one_runs(other)
                daemon.end(signal.SIGKILL)
    with serving() as daemon:
        async with connect(daemon.url) as session:
            own = await session()
            again = await own.call("run", **WANTED)
            refused = await own.call("run", **{**WANTED, "params": {"n": 2}})
            assert [row["id"] for row in await workflows(own)] == [started["id"]]
    assert (again["workflow_id"], again["status"]) == (started["id"], "suspended")
    assert refused["error"]["code"] == "CONFLICT"
    assert refused["error"]["details"]["workflow_id"] == started["id"]
    assert refused["error"]["message"].startswith("workflow execution failed: [CONFLICT]")


async def test_a_client_that_goes_away_loses_its_answer_and_nothing_else(serving, connect):
    with serving() as daemon:
        async with connect(daemon.url) as session:
            own = await session()
            await define(own, NAP, {**NAP, "id": "second", "depends_on": ["nap"]})
            async with connect(daemon.url) as gone:
                brief = await gone()
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(lambda: brief.call("run", **WANTED))
                    (started,) = await until_one_runs(own)
                    tasks.cancel_scope.cancel()
            for _ in range(2):
                await own.call("signal", workflow_id=started["id"], signal_type="data", payload={"signal": "go"})
            ended = await own.call("run", **WANTED)
    assert (ended["workflow_id"], ended["status"]) == (started["id"], "completed")


async def test_a_wait_that_is_too_short_answers_in_time_and_the_run_goes_on(serving, connect):
    with serving() as daemon, anyio.fail_after(30):
        async with connect(daemon.url) as session:
            own = await session()
            steps = [{"id": "nap", "action": "shell.exec", "params": {"command": "sleep", "args": ["0.5"]}}]
            await define(own, *steps)
            for wait in ({"wait": False}, {"wait": "false"}, {"wait_timeout": "10ms"}, {"wait_timeout": 0}):
                run = await own.call("run", template_name="t", agent_id="a", **wait)
                assert set(run) == {"workflow_id", "status"}
                assert run["status"] == "active"
            for wrong in ({"wait": 1}, {"wait_timeout": -1}, {"wait_timeout": "soon"}, {"wait_timeout": True},
                          {"wait_timeout": "9000h"}, {"wait_timeout": []}):  # fmt: skip
                refused = await own.call("run", template_name="t", agent_id="a", **wrong)
                assert refused["error"]["code"] == "VALIDATION_ERROR"
                assert next(iter(wrong)) in refused["error"]["message"]
            while {row["status"] for row in await workflows(own)} != {"completed"}:  # noqa: ASYNC110
                await anyio.sleep(0.02)
            assert len(await workflows(own)) == 4
