"""A hundred agents answer one question at the same moment, each over a session of its own."""

from __future__ import annotations

from collections import Counter

import anyio
import pytest

pytestmark = pytest.mark.anyio

AGENTS = 100
ASK = {
    "id": "ask",
    "type": "reasoning",
    "config": {"prompt_context": "which?", "options": [{"id": f"o{n}"} for n in range(7)]},
}
AFTER = {
    "id": "after",
    "action": "assert.equals",
    "depends_on": ["ask"],
    "params": {"expected": "${{steps.ask.output.choice}}", "actual": "${{steps.ask.output.choice}}"},
}


async def test_of_a_hundred_answers_exactly_one_wins_and_the_others_get_a_conflict(serving, connect):
    answers: dict[int, dict] = {}
    with serving() as daemon, anyio.fail_after(60):
        async with connect(daemon.url) as session:
            sessions = [await session() for _ in range(AGENTS)]
            first = sessions[0]
            await first.call("define", name="t", agent_id="owner", definition={"steps": [ASK, AFTER]})
            run_id = (await first.call("run", template_name="t", agent_id="owner"))["workflow_id"]

            async def answer(number, own):
                answers[number] = await own.call(
                    "signal", workflow_id=run_id, signal_type="decision", step_id="ask", agent_id=f"agent-{number}",
                    payload={"choice": f"o{number % 7}"},
                )  # fmt: skip

            async with anyio.create_task_group() as tasks:
                for number, own in enumerate(sessions):
                    tasks.start_soon(answer, number, own)
            status = await first.call("status", workflow_id=run_id)
    (winner,) = (number for number, given in answers.items() if "error" not in given)
    assert (answers[winner]["resumed"], answers[winner]["status"]) == (True, "completed")
    codes = Counter(given["error"]["code"] for given in answers.values() if "error" in given)
    assert codes == {"CONFLICT": AGENTS - 1}
    types = Counter(event["event_type"] for event in status["events"])
    assert types["decision_resolved"] == types["signal_received"] == types["workflow_resumed"] == 1
    output = status["steps"]["ask"]["output"]
    assert (output["choice"], output["resolved_by"]) == (f"o{winner % 7}", f"agent-{winner}")
    assert status["steps"]["after"]["status"] == "completed"
