"""What must hold for every definition and every history (design: style section 11).

`Simulator` checks most of it after each transition: fold equals live, counters, gap-free sequences, order of events,
dependencies first, no secret in any event, closed tasks are silent. The properties here compare whole runs.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

import opcode_steps
from opcode_kernel.testing.campaign import expect_same, failure_of, inputs_of, plan_of, simulate
from opcode_kernel.testing.faults import Faults
from opcode_kernel.testing.generator import Features, SeededChooser, generate
from opcode_kernel.testing.outsiders import Outsiders
from opcode_kernel.testing.restarts import expect_no_trace
from opcode_kernel.testing.simulator import Simulator
from opcode_kernel.testing.strategies import definitions, faults, seeds
from opcode_kernel.testing.vocabulary import vocabulary_of

VOCABULARY = vocabulary_of(opcode_steps.opcode_step_types())
#: Nothing in these depends on who comes first.
CALM = Features(timing=False)

#: Every run of the tests sees the same examples, and a failing one is shown as it was found: campaigns over seeds are
#: for hunting, and shrinking such definitions takes minutes (add `Phase.shrink` to do it).
many = settings(
    max_examples=100, deadline=None, derandomize=True, database=None, phases=[Phase.explicit, Phase.generate],
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)  # fmt: skip


@pytest.mark.parametrize("first", range(0, 2_000, 250))
def test_every_invariant_holds_for_two_thousand_seeds(first: int) -> None:
    still_open = {param.values[0] for param in kept_seeds() if param.marks}
    seeds = [seed for seed in range(first, first + 250) if seed not in still_open]
    assert [failure for seed in seeds if (failure := failure_of(seed, VOCABULARY)) is not None] == []


def kept_seeds() -> Iterator[Any]:
    """Read `seeds.txt`; what is still open there has to fail, until it is mended and the word is taken away."""
    for line in (Path(__file__).parent / "seeds.txt").read_text(encoding="utf-8").splitlines():
        if not line or line.startswith("#"):
            continue
        seed, why = line.split(None, 1)
        marks = [pytest.mark.xfail(reason=why, strict=True)] if why.startswith("open:") else []
        yield pytest.param(int(seed), marks=marks, id=seed)


@pytest.mark.parametrize("seed", list(kept_seeds()))
def test_a_seed_that_once_failed_holds(seed: int) -> None:
    failure = failure_of(seed, VOCABULARY)
    assert failure is None, failure
    plan = plan_of(generate(SeededChooser(seed), Features()), VOCABULARY)
    expect_no_trace(plan, inputs_of(plan), seed)


@pytest.mark.parametrize("first", range(0, 100, 25))
def test_a_restart_anywhere_leaves_no_trace_in_the_log(first: int) -> None:
    for seed in range(first, first + 25):
        plan = plan_of(generate(SeededChooser(seed)), VOCABULARY)
        expect_no_trace(plan, inputs_of(plan), seed)


@many
@given(definitions(), seeds(), faults())
def test_a_crash_anywhere_changes_no_outcome(data: dict[str, Any], seed: int, broken: Faults) -> None:
    plan = plan_of(data, VOCABULARY)
    expect_same(simulate(plan, seed), simulate(plan, seed, broken))


@pytest.mark.parametrize("seed", [3, 14, 27, 43, 58])
def test_a_crash_at_every_single_message_changes_no_outcome(seed: int) -> None:
    plan = plan_of(generate(SeededChooser(seed)), VOCABULARY)
    calm = simulate(plan, seed)
    for number in range(min(calm.messages, 40)):
        for when in ("before", "after"):
            for policy in (None, "resume"):
                crashed = simulate(plan, seed, Faults(crash_at=(number, when), policy=policy))
                expect_same(calm, crashed)


@many
@given(definitions(CALM), seeds(), seeds())
def test_the_order_of_independent_results_does_not_change_the_output(data: dict[str, Any], one: int, two: int) -> None:
    plan = plan_of(data, VOCABULARY)
    first, second = simulate(plan, one).outcome(), simulate(plan, two).outcome()
    assert first.status == second.status
    assert first.output == second.output
    if first.status == "completed":
        assert first.steps == second.steps


@many
@given(definitions(), seeds(), faults((None, "resume", "suspend")), st.sampled_from([0.05, 0.3]))
def test_whatever_people_do_every_run_comes_to_rest(
    data: dict[str, Any], seed: int, broken: Faults, meddles: float
) -> None:
    outsiders = Outsiders(seed, answers=0.7, sends=0.5, meddles=meddles)
    simulate(plan_of(data, VOCABULARY), seed, broken, outsiders)


@many
@given(definitions(), seeds(), st.integers(0, 40))
def test_a_cancelled_run_starts_nothing(data: dict[str, Any], seed: int, number: int) -> None:
    simulator = cancelled_at(data, seed, number)
    kinds = [event.type for event in simulator.log]
    if "workflow_cancelled" in kinds:
        assert set(kinds[kinds.index("workflow_cancelled") + 1 :]) <= {"step_skipped"}
        assert simulator.status == "cancelled"


def cancelled_at(data: dict[str, Any], seed: int, number: int) -> Simulator:
    class Impatient(Outsiders):
        def react(self, state: Any, events: Any, now: int) -> Any:
            from opcode_kernel.core.messages import Signal

            yield from super().react(state, events, now)
            if any(event.sequence == number for event in events):
                yield now, Signal("cancel")

    return simulate(plan_of(data, VOCABULARY), seed, outsiders=Impatient(seed))


@many
@given(definitions(), seeds())
def test_every_step_of_a_completed_run_is_done(data: dict[str, Any], seed: int) -> None:
    simulator = simulate(plan_of(data, VOCABULARY), seed)
    state = simulator.run.state
    if state.status == "completed":
        assert all(node is not None and node.is_terminal for node in state.root.nodes)
        assert all(node.is_terminal for node in state.nodes.values())
    assert not state.is_terminal or not state.outstanding


def test_the_same_seed_gives_the_same_bytes_whatever_the_hash_seed() -> None:
    program = (
        "import sys; sys.path.insert(0, sys.argv[1]); from test_properties import fingerprints; print(fingerprints())"
    )
    found = set()
    for hash_seed in ("0", "1", "77"):
        environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
        done = subprocess.run(
            [sys.executable, "-c", program, str(Path(__file__).parent)],
            env=environment, capture_output=True, text=True, check=True,
        )  # fmt: skip
        found.add(done.stdout)
    assert len(found) == 1
    assert found == {fingerprints() + "\n"}


def fingerprints() -> str:
    """The definition and the log of fifty runs, as short as a text can be that still tells all of them apart."""
    shown = []
    for seed in range(50):
        definition = generate(SeededChooser(seed))
        troubled = Faults(0.1, 0.1, 0.1, 0.5, pauses=0.2, lingers=0.3, policy="resume")
        simulator = simulate(plan_of(definition, VOCABULARY), seed, troubled, Outsiders(seed, meddles=0.1))
        shown.append(hashlib.sha256(f"{json.dumps(definition)}{simulator.fingerprint()}".encode()).hexdigest())
    return "\n".join(shown)


def test_a_broken_invariant_shows_the_seed_and_the_whole_history() -> None:
    from opcode_kernel.testing.invariants import InvariantBroken

    simulator = simulate(plan_of(generate(SeededChooser(5)), VOCABULARY), 5)
    simulator.run.state.agent_id = "somebody"
    with pytest.raises(InvariantBroken, match=r"(?s)agent_id.*seed 5.*1900000000000000 workflow_started"):
        simulator.signal("skip", "no-such-step")
