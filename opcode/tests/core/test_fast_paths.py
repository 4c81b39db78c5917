"""The short ways of the fold, `start_plain` and `succeed`, give the events, commands and states of the long ones."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

import opcode_steps
from opcode_kernel.core.events import Event
from opcode_kernel.core.messages import ActionSucceeded, ActionSuspended, Start
from opcode_kernel.core.plan import BlockPlan, Plan
from opcode_kernel.core.run import Run
from opcode_kernel.testing.campaign import SECRET, plan_of
from opcode_kernel.testing.faults import Faults
from opcode_kernel.testing.generator import INPUTS, SeededChooser, generate
from opcode_kernel.testing.outsiders import Outsiders
from opcode_kernel.testing.simulator import Simulator
from opcode_kernel.testing.snapshots import difference, snapshot
from opcode_kernel.testing.strategies import definitions, seeds
from opcode_kernel.testing.vocabulary import vocabulary_of
from opcode_kernel.testing.world import HOLD

VOCABULARY = vocabulary_of(opcode_steps.opcode_step_types())

many = settings(
    max_examples=100, deadline=None, derandomize=True, database=None, phases=[Phase.explicit, Phase.generate],
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)  # fmt: skip


class Quick(Simulator):
    """Takes the short way wherever there is one."""

    def _goes_directly(self, message: ActionSucceeded) -> bool:
        return not (message.emitted or message.patch)


class Thorough(Simulator):
    """Takes no short way: every result is a message, every start is decided."""

    def __init__(self, plan: Plan, **keys: Any) -> None:
        super().__init__(plan, **keys)
        _forget_what_is_known(plan.root)

    def _goes_directly(self, message: ActionSucceeded) -> bool:
        return False


def _forget_what_is_known(block: BlockPlan) -> None:
    for step in block.steps:
        step.plain, step.first, step.leaf = False, None, False
        for body in step.bodies.values():
            _forget_what_is_known(body)


def history_of(kind: type[Simulator], data: dict[str, Any], seed: int, meddles: float) -> Simulator:
    found = kind(
        plan_of(data, VOCABULARY), seed=seed, faults=Faults(crash_after=meddles, late=0.5, policy="resume"),
        outsiders=Outsiders(seed, meddles=meddles), forbidden=(SECRET,),
    )  # fmt: skip
    found.start(dict(INPUTS))
    found.finish()
    return found


def expect_the_same(data: dict[str, Any], seed: int, meddles: float) -> None:
    quick, thorough = (history_of(kind, data, seed, meddles) for kind in (Quick, Thorough))
    assert quick.history() == thorough.history()
    assert difference(snapshot(thorough.run.state), snapshot(quick.run.state)) is None


@many
@given(definitions(), seeds(), st.sampled_from([0.0, 0.1]))
def test_a_run_that_takes_every_short_way_has_the_same_history(data: dict[str, Any], seed: int, meddles: float) -> None:
    expect_the_same(data, seed, meddles)


@pytest.mark.parametrize("first", range(0, 100, 25))
def test_it_does_so_for_a_hundred_seeds(first: int) -> None:
    for seed in range(first, first + 25):
        expect_the_same(generate(SeededChooser(seed)), seed, 0.1)


def test_the_command_known_beforehand_is_the_one_that_would_be_issued() -> None:
    steps = [{"id": "a", "action": "test.echo", "params": {"value": 1}}, {"id": "b", "action": "test.echo"}]
    quick, thorough = (kind(plan_of({"steps": steps}, VOCABULARY)) for kind in (Quick, Thorough))
    known = [step.first for step in quick.plan.root.steps]
    issued = [each.run.handle(Start("run", {}), each.now).commands for each in (quick, thorough)]
    assert list(issued[0]) == list(issued[1]) == known


def test_a_result_beside_work_that_was_left_over_takes_the_next_piece_of_it_either_way() -> None:
    loops = [
        {"id": name, "type": "loop", "config": {"over": "[1]", "body": [{"id": "x", "action": "test.echo"}]}}
        for name in "lm"
    ]
    plan = plan_of(
        {"steps": [{"id": "a", "action": "test.echo"}, {"id": "b", "action": "test.echo"}, *loops]}, VOCABULARY
    )
    short, long = Run(plan), Run(plan)
    for run in (short, long):
        run.pause = lambda: True
        run.handle(Start("run", {}), 0)
        assert run.unfinished
    quickly: list[Event] = []
    short.succeed(short.state.outstanding["a#1"], 1, 5, quickly)
    assert quickly == long.handle(ActionSucceeded("a#1", 1), 5).events
    assert len(quickly) > 1


@pytest.mark.parametrize("kind", [Quick, Thorough])
def test_the_last_result_beside_a_resting_child_suspends_the_run(kind: type[Simulator]) -> None:
    steps = [{"id": name, "action": "test.echo"} for name in ("a", "child")]
    found = kind(plan_of({"steps": steps}, VOCABULARY), results={"a": HOLD, "child": HOLD}).start()
    found.send(ActionSuspended("child#1", "child"))
    assert found.status == "active"
    found.succeed("a")
    assert found.status == "suspended"
    assert found.succeed("child").status == "completed"
