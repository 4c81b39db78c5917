"""The simulator itself: its command line, its tiny language, and that it notices what it is there to notice."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

import opcode_steps
from opcode_kernel.core.compiling import compile_plan
from opcode_kernel.core.events import Event
from opcode_kernel.errors import ExpressionError
from opcode_kernel.testing import Simulator, campaign, check_evaluator
from opcode_kernel.testing.generator import SeededChooser, generate
from opcode_kernel.testing.invariants import InvariantBroken
from opcode_kernel.testing.laws import Story
from opcode_kernel.testing.simulator import simulated
from opcode_kernel.testing.vocabulary import TinyEvaluator, vocabulary_of

VOCABULARY = vocabulary_of(opcode_steps.opcode_step_types())
ONE = {"steps": [{"id": "a", "action": "test.echo"}]}


def test_the_command_line_runs_a_campaign_and_warns_of_nothing() -> None:
    command = [sys.executable, "-W", "error", "-m", "opcode_kernel.testing.simulator", "--seeds", "3", "--first", "9"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout == "3 seeds from 9 on: every invariant holds\n"
    assert done.stderr == ""


def test_a_failing_seed_is_printed_with_its_definition_and_what_happened(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(seed: int, vocabulary: Any) -> None:
        if seed == 4:
            raise InvariantBroken("the history of it")

    monkeypatch.setattr(campaign, "campaign", broken)
    assert campaign.main(["--seeds", "10"]) == 1
    printed = capsys.readouterr().out
    assert "seed 4 fails" in printed
    assert generate(SeededChooser(4))["steps"][0]["id"] in printed
    assert "the history of it" in printed


def test_a_long_campaign_says_how_far_it_is_and_where_it_could_go_on(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    tried: list[int] = []

    def interrupted(seed: int, vocabulary: Any) -> None:
        if seed == 2 * campaign.PIECE + 30:
            raise KeyboardInterrupt
        tried.append(seed)

    monkeypatch.setattr(campaign, "campaign", interrupted)
    assert campaign.main(["--seeds", str(3 * campaign.PIECE), "--first", "10"]) == 130
    assert tried == list(range(10, 2 * campaign.PIECE + 30))
    said = capsys.readouterr()
    assert said.out == f"stopped; go on with --first {10 + 2 * campaign.PIECE} --seeds {campaign.PIECE}\n"
    assert f"{campaign.PIECE} of {3 * campaign.PIECE} seeds" in said.err
    assert f"all below {10 + 2 * campaign.PIECE} are done" in said.err


def test_pieces_that_come_out_of_order_count_where_all_before_them_are_done() -> None:
    progress = campaign.Progress(0, 30)
    for piece, reached in ((range(10, 20), 0), (range(20, 30), 0), (range(10), 30)):
        progress.done(piece)
        assert progress.next == reached


def test_several_processes_try_the_seeds_of_one_campaign() -> None:
    seeds = campaign.PIECE + 20
    command = [
        sys.executable,
        "-W",
        "error",
        "-m",
        "opcode_kernel.testing.simulator",
        "--seeds",
        str(seeds),
        "--jobs",
        "2",
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout == f"{seeds} seeds from 0 on: every invariant holds\n"
    assert f"{seeds} of {seeds} seeds" in done.stderr


@pytest.mark.parametrize("wrong", [["--seeds", "0"], ["--jobs", "-1"], ["--seeds", "many"]])
def test_a_campaign_of_nothing_is_refused(wrong: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        campaign.main(wrong)
    assert "error: argument" in capsys.readouterr().err


def test_the_tiny_language_keeps_the_contract_of_evaluators() -> None:
    check_evaluator(TinyEvaluator())
    program = TinyEvaluator().compile("inputs.n > 1 && !(inputs.s == 'a && b') || has(inputs.x)")
    assert program.evaluate({"inputs": {"n": 2, "s": "b"}}) is True
    assert program.evaluate({"inputs": {"n": 2, "s": "a && b"}}) is False
    with pytest.raises(ExpressionError) as caught:
        program.evaluate({"inputs": {}})
    assert caught.value.missing == "n"


@pytest.mark.parametrize(
    "text", ["__import__('os')", "(lambda: 1)()", "[x for x in inputs.xs]", "inputs.n.__class__", "f'{inputs}'"]
)
def test_the_tiny_language_reaches_nothing_but_its_scope(text: str) -> None:
    with pytest.raises(ExpressionError):
        TinyEvaluator().compile(text).evaluate({"inputs": {"n": 1, "xs": []}})


def test_a_counter_that_is_wrong_is_noticed() -> None:
    found = simulated({"steps": [{"id": "w", "type": "wait", "config": {"signal": "go"}}]}, VOCABULARY)
    found.run.state.root.resting += 1
    with pytest.raises(InvariantBroken, match="root/resting"):
        found.signal("data", None, {"k": 1})


def test_a_run_that_cannot_go_on_is_noticed() -> None:
    found = simulated({"steps": [{"id": "a", "action": "test.echo"}]}, VOCABULARY, results={"a": None})
    assert found.finish().status == "completed"
    plan = compile_plan(ONE, VOCABULARY)
    with pytest.raises(InvariantBroken, match="never started"):
        Simulator(plan).finish()


def test_a_choice_that_a_replay_makes_otherwise_is_noticed() -> None:
    choice = {
        "id": "c",
        "type": "condition",
        "config": {"expression": "inputs.n > 1", "branches": {"true": [], "false": []}},
    }
    plan = compile_plan({"steps": [{"id": "w", "type": "wait", "config": {"signal": "go"}}, choice | {"depends_on": ["w"]}]},
                        VOCABULARY)  # fmt: skip
    simulator = Simulator(plan).start({"n": 2})
    simulator.run.state.inputs = {"n": 0}  # as if a guard could see what no event says
    with pytest.raises(InvariantBroken, match=r"(?s)decided anew it is .*broken is: a replay makes the same choices"):
        simulator.signal("data", None, {"signal": "go"})


@pytest.mark.parametrize(
    ("types", "text"),
    [
        (["step_started"], "workflow_started must be the first"),
        (["workflow_started", "workflow_started"], "workflow_started must be the first"),
        (["workflow_started", "workflow_completed", "step_started"], "step_started after the run was completed"),
        (["workflow_started", "step_completed"], "step_completed of a after"),
        (["workflow_started", "step_started", "step_started"], "starts again before"),
        (["workflow_started", "step_started", "step_retrying"], "stands after"),
        (["workflow_started", "step_started", "step_retry_attempt", "step_completed"], "stands before"),
    ],
)
def test_a_wrong_order_of_events_is_noticed(types: list[str], text: str) -> None:
    story = Story(compile_plan(ONE, VOCABULARY))
    steps = ["a" if kind.startswith("step") else None for kind in types]
    events = [Event(number, kind, steps[number - 1], {"attempt": 1}, 0) for number, kind in enumerate(types, 1)]
    for event in events[:-1]:
        assert list(story.see(event)) == []
    assert [text in what for _, what in story.see(events[-1])] == [True]
