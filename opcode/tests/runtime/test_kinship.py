"""What a step may ask about other runs: context records of its family, and notifications."""

from __future__ import annotations

import anyio
import pytest

pytestmark = pytest.mark.anyio

ASK = {"id": "ask", "type": "reasoning", "config": {"prompt_context": "?", "options": []}}


def context(name, **params):
    return {"id": name, "action": "workflow.context", "params": params}


class Notifier:
    def __init__(self, answer=(True, None)):
        self.answer, self.sent = answer, []

    async def notify(self, agent_id, params):
        self.sent.append((agent_id, params))
        return self.answer


async def test_a_stranger_is_refused_and_an_unknown_run_not_found(world):
    async with world.engine() as engine:
        await engine.define("other", {"steps": [ASK]}, agent_id="me")
        other = (await engine.run("other", agent_id="me"))["workflow_id"]
        for target, code in ((other, "PERMISSION_DENIED"), ("nope", "NOT_FOUND")):
            for what in ({"action": "read"}, {"action": "update", "data": {"k": 1}}):
                await engine.define("t", {"steps": [context("a", workflow_id=target, **what)]}, agent_id="me")
                result = await engine.run("t", agent_id="me")
                assert result["steps"]["a"]["error"]["code"] == code
        assert "context" not in str((await engine.status(other))["steps"])


async def test_a_descendant_reads_and_updates_its_ancestors(world):
    steps = [
        {**context("write", workflow_id="${{inputs.top}}", action="update", data={"from": "below"})},
        {**context("read", workflow_id="${{inputs.top}}", action="read"), "depends_on": ["write"]},
    ]
    call = {"id": "call", "action": "workflow.run"}
    async with world.engine() as engine:
        await engine.define("leaf", {"steps": steps, "output": "${{steps.read.output}}"}, agent_id="me")
        await engine.define("middle", {"steps": [
            {**call, "params": {"template_name": "leaf", "params": {"top": "${{inputs.top}}"}}},
        ]}, agent_id="me")  # fmt: skip
        await engine.define("top", {"steps": [
            {**call, "params": {"template_name": "middle", "params": {"top": "${{workflow.run_id}}"}}},
        ], "context": {"intent": "test"}}, agent_id="me")  # fmt: skip
        with anyio.fail_after(5):
            result = await engine.run("top", agent_id="me")
        assert result["status"] == "completed", result
        record = result["output"]
    assert record["workflow_id"] == result["workflow_id"]
    assert (record["accumulated_data"], record["original_intent"]) == ({"from": "below"}, "test")


async def test_the_own_context_is_read_and_changed_with_the_completion(world):
    steps = [
        context("write", action="update", data={"k": 1}, agent_notes="careful"),
        {**context("read", action="read"), "depends_on": ["write"]},
    ]
    async with world.engine() as engine:
        await engine.define("t", {"steps": steps}, agent_id="me")
        result = await engine.run("t", agent_id="me")
    assert result["output"]["accumulated_data"] == {"k": 1}
    assert result["output"]["agent_notes"] == "careful"


@pytest.mark.parametrize(("notifier", "output"), [
    (None, {"notified": False, "reason": "no_notifier"}), (Notifier(), {"notified": True}),
    (Notifier((False, "not_connected")), {"notified": False, "reason": "not_connected"}),
])  # fmt: skip
async def test_a_notification_is_best_effort(world, notifier, output):
    world.vault.secrets["TOKEN"] = "hunter2-hunter2"
    step = {"id": "a", "action": "workflow.notify", "params": {"message": "${{secrets.TOKEN}}", "data": {"n": 1}}}
    async with world.engine(vault=world.vault, notifier=notifier) as engine:
        await engine.define("t", {"steps": [step]}, agent_id="me")
        result = await engine.run("t", agent_id="me")
    assert result["output"] == output
    if notifier is not None:
        params = {"message": "***", "data": {"n": 1}, "workflow_id": result["workflow_id"], "step_id": "a"}
        assert notifier.sent[-1] == ("me", params)


@pytest.mark.parametrize("wait", [True, False])
async def test_a_data_signal_is_merged_and_wakes_its_waiter(world, until, wait):
    steps = [
        {"id": "sig", "type": "wait", "config": {"signal": "go"}},
        {"id": "a", "action": "fake.pure", "params": {"value": "${{context.n}}"}, "depends_on": ["sig"]},
    ]
    if not wait:
        steps.append({"id": "busy", "action": "fake.gate"})
    async with world.engine() as engine:
        await engine.define("t", {"steps": steps, "output": "${{steps.a.output}}"}, agent_id="me")
        run_id = (await engine.run("t", agent_id="me", wait=wait))["workflow_id"]
        assert "resumed" not in await engine.signal(run_id, "data", payload={"n": 1})
        assert (await engine.status(run_id))["steps"]["sig"]["status"] == "suspended"
        answer = await engine.signal(run_id, "data", payload={"signal": "go", "n": 2})
        assert (answer["ok"], answer["resumed"]) == (True, True)
        world.gate("gate").set()
        await until(lambda: world.status(run_id) == "completed")
        assert (await engine.status(run_id))["output"] == 2
