"""What a decision leaves behind for later steps, and that it is taken once, by one owner, whoever else is at work."""

from __future__ import annotations

from collections import Counter

import anyio
import pytest

from opcode_kernel import ConflictError, OpcodeError
from opcode_kernel.testing.steps import ask, fan

pytestmark = pytest.mark.anyio

OPTIONS = [{"id": "yes"}, {"id": "no"}]
GATE = ask("gate", options=OPTIONS)
FOUND = {"total": 42.5, "lines": [{"n": 1}, {"n": 2}], "note": 'a "quoted" line\nand one more'}
LOOKUP = {"id": "lookup", "action": "t.echo", "params": {"value": FOUND}}
USE = {"id": "use", "action": "t.do", "params": {
    "all": "${{steps.lookup.output}}", "total": "${{steps.lookup.output.total}}", "n": "${{steps.lookup.output.lines[1].n}}",
    "choice": "${{steps.gate.output.choice}}", "why": "${{steps.gate.output.reasoning}}", "by": "${{steps.gate.output.resolved_by}}",
    "data": "${{steps.gate.output.data.limit}}", "late": "${{steps.gate.output.timed_out}}",
}}  # fmt: skip


@pytest.mark.spec("11.4", "10.3")
@pytest.mark.parametrize("restart", ["none", "shutdown", "crash"])
async def test_a_step_after_the_decision_reads_the_choice_and_what_ran_before_it(house, restart, put):
    steps, at = put(LOOKUP, GATE, USE)
    async with house.daemon() as daemon:
        run_id = (await house.run(daemon.engine, steps))["workflow_id"]
        if restart == "crash":
            house.cut_the_power()
        engine = await daemon.restart(restart != "none")
        answer = await engine.signal(
            run_id, "decision", payload={"choice": "yes", "data": {"limit": [1]}}, reasoning="it is due", agent_id="you"
        )
        assert answer["status"] == "completed"
        status = await engine.status(run_id)
    assert house.seen[f"{at}use"] == [{
        "all": FOUND, "total": 42.5, "n": 2, "choice": "yes", "why": "it is due", "by": "you", "data": [1], "late": False,
    }]  # fmt: skip
    assert status["steps"][f"{at}gate"]["output"] == {
        "choice": "yes", "reasoning": "it is due", "data": {"limit": [1]}, "resolved_by": "you", "timed_out": False,
    }  # fmt: skip
    assert len(house.seen[f"{at}lookup"]) == 1
    (logged,) = status["context"]["decisions_log"]
    assert logged.items() >= {"choice": "yes", "reasoning": "it is due", "resolved_by": "you"}.items()


@pytest.mark.spec("11.4", "10.3")
@pytest.mark.parametrize(("choice", "ran"), [("yes", "pay"), ("no", "tell")])
async def test_a_condition_branches_on_the_choice(house, put, choice, ran):
    branches = {"yes": [{"id": "pay", "action": "t.do"}], "no": [{"id": "tell", "action": "t.do"}]}
    steps, at = put(
        GATE, {"id": "c", "type": "condition", "config": {"expression": "steps.gate.choice", "branches": branches}}
    )
    async with house.daemon() as daemon:
        run_id = (await house.run(daemon.engine, steps))["workflow_id"]
        answer = await (await daemon.restart()).signal(run_id, "decision", payload={"choice": choice})
    assert (answer["status"], house.effects()) == ("completed", [f"{at}c.{choice}.{ran}"])


async def settle_while_held(house, until, engine, run_id, *signals):
    """Send signals while steps are held, then let these go; returns the answers, an error in place of one if refused."""
    answers = {}

    async def send(number, signal):
        try:
            answers[number] = await engine.signal(run_id, **signal)
        except OpcodeError as error:
            answers[number] = error

    async with anyio.create_task_group() as tasks:
        for number, signal in enumerate(signals):
            tasks.start_soon(send, number, signal)
        await until(lambda: "after" in [step.rpartition(".")[2] for step in house.effects()])
        house.gate().set()
    return [answers[number] for number in range(len(signals))]


def once_each(events):
    return {step: n for step, n in Counter(event["step_id"] for event in events).items() if n != 1} == {}


BESIDE = [{"id": "held", "action": "t.gate"}, {"id": "end", "action": "t.do"}]
BEHIND = [GATE, {"id": "after", "action": "t.do"}]


@pytest.mark.spec("11.5", "10.5")
@pytest.mark.parametrize("where", ["top level", "branches", "deep"])
async def test_a_decision_while_a_sibling_runs_starts_every_step_exactly_once(house, until, where):
    match where:
        case "top level":
            steps = [*house.chain(*BESIDE), *house.chain(*BEHIND)]
        case "branches":
            steps = [fan(BESIDE, BEHIND, [{"id": "held_too", "action": "t.gate"}])]
        case _:
            steps = [*house.nested(*BEHIND)[0], *house.chain(*BESIDE)]
    async with house.engine() as engine:
        run_id = (await house.run(engine, steps, wait=False))["workflow_id"]
        await until(lambda: house.running == (2 if where == "branches" else 1))
        decision = {"signal_type": "decision", "payload": {"choice": "yes"}}
        (answer,) = await settle_while_held(house, until, engine, run_id, decision)
        assert (answer["status"], answer["resumed"]) == ("completed", True)
        started = await house.events(engine, run_id, "step_started")
        assert once_each(started)
        assert once_each(await house.events(engine, run_id, "step_completed"))
        assert {event["step_id"] for event in started} == set(answer["steps"])
        assert (await house.types(engine, run_id)).count("workflow_resumed") == 0
    assert len(house.effects()) == len(set(house.effects()))


@pytest.mark.spec("11.5", "10.5")
async def test_of_many_decisions_at_once_one_is_taken_and_the_run_keeps_one_owner(house, until):
    """Agents that disagree are refused, the one that repeats itself is not; nothing starts twice."""
    steps = [*house.chain(*BESIDE), *house.chain(*BEHIND)]
    sent = [
        {"signal_type": "decision", "payload": {"choice": choice}, "agent_id": agent, "step_id": "gate"}
        for agent, choice in [("a", "yes"), ("b", "no"), ("a", "yes"), ("c", "yes"), ("a", "no")]
    ]
    async with house.engine() as engine:
        run_id = (await house.run(engine, steps, wait=False))["workflow_id"]
        await until(lambda: house.running == 1)
        answers = await settle_while_held(house, until, engine, run_id, *sent)
        assert [isinstance(answer, ConflictError) for answer in answers] == [False, True, False, True, True]
        assert once_each(await house.events(engine, run_id, "step_started"))
        assert len(await house.events(engine, run_id, "signal_received")) == 1
        assert (await engine.status(run_id))["status"] == "completed"
    assert sorted(house.effects()) == ["after", "end", "held"]


@pytest.mark.spec("11.5", "10.5")
async def test_an_active_run_cannot_be_resumed_a_second_time(house, until):
    """`retry` of what runs is refused, and leaves no event behind."""
    async with house.engine() as engine:
        run_id = (await house.run(engine, house.chain(*BESIDE), wait=False))["workflow_id"]
        await until(lambda: house.running == 1)
        before = await house.types(engine, run_id)
        for signal in ({"signal_type": "retry"}, {"signal_type": "retry", "step_id": "held"},
                       {"signal_type": "skip", "step_id": "held"}):  # fmt: skip
            with pytest.raises(ConflictError):
                await engine.signal(run_id, **signal)
        assert await house.types(engine, run_id) == before
        house.gate().set()
        await until(lambda: not engine.live)
    assert house.effects() == ["held", "end"]


@pytest.mark.spec("11.5", "10.5")
async def test_decisions_of_several_gates_sent_at_once_each_move_their_own_branch(house):
    branches = [[ask("gate"), {"id": "mine", "action": "t.do"}] for _ in range(8)]
    async with house.daemon() as daemon:
        run_id = (await house.run(daemon.engine, [fan(*branches)]))["workflow_id"]
        engine = await daemon.restart()
        async with anyio.create_task_group() as tasks:
            for number in range(8):
                tasks.start_soon(lambda n=number: engine.signal(
                    run_id, "decision", step_id=f"p.branch_{n}.gate", payload={"choice": f"c{n}"}))  # fmt: skip
        status = await engine.status(run_id)
        assert status["status"] == "completed"
        assert once_each(await house.events(engine, run_id, "step_started"))
        assert [status["steps"][f"p.branch_{n}.gate"]["output"]["choice"] for n in range(8)] == [
            f"c{n}" for n in range(8)
        ]
    assert sorted(house.effects()) == [f"p.branch_{n}.mine" for n in range(8)]


@pytest.mark.spec("10.5")
async def test_no_second_engine_takes_the_runs_of_an_open_database(house):
    async with house.engine() as engine:
        run_id = (await house.run(engine, [GATE]))["workflow_id"]
        with pytest.raises(ConflictError):
            async with house.engine():
                raise AssertionError("a second owner got in")
        answer = await engine.signal(run_id, "decision", payload={"choice": "yes"})
    assert answer["status"] == "completed"


@pytest.mark.spec("11.7")
async def test_a_decision_that_races_its_own_deadline_is_resolved_exactly_once(house):
    """The moment of the signal wanders around that of the timer; whoever wins, it is one of them."""
    won = Counter()
    gate = ask("gate", timeout="30ms", fallback="late")
    async with house.engine() as engine:
        await engine.define("t", {"steps": house.chain(gate, {"id": "after", "action": "t.do"})}, agent_id="me")

        async def race(delay):
            run_id = (await engine.run("t", agent_id="me"))["workflow_id"]
            await anyio.sleep(delay)
            try:
                await engine.signal(run_id, "decision", payload={"choice": "signal"}, step_id="gate")
                winner = "signal"
            except ConflictError:
                winner = "late"
            status = await house.ended(engine, run_id)
            assert (status["status"], status["steps"]["gate"]["output"]["choice"]) == ("completed", winner)
            types = await house.types(engine, run_id)
            assert (types.count("decision_resolved"), types.count("step_completed")) == (1, 2)
            assert types.count("signal_received") == (winner == "signal")
            won[winner] += 1

        async with anyio.create_task_group() as tasks:
            for number in range(30):
                tasks.start_soon(race, number * 0.002)
    assert sum(won.values()) == 30
    assert len(house.effects()) == 30
