"""Long campaigns of simulated runs; the first failing seed is printed with its definition and its history.

python -m opcode_kernel.testing.simulator --seeds 100000 --jobs 4
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import signal
import sys
import time
import traceback
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import replace
from typing import Any

from opcode_kernel.core.compiling import compile_plan
from opcode_kernel.core.holes import Hole, Secret
from opcode_kernel.core.plan import Plan
from opcode_kernel.core.scope import Scope
from opcode_kernel.core.state import RunState
from opcode_kernel.errors import Json
from opcode_kernel.plugin.manager import discover
from opcode_kernel.testing.faults import Faults
from opcode_kernel.testing.generator import INPUT_SCHEMA, INPUTS, Features, SeededChooser, generate
from opcode_kernel.testing.outsiders import Outsiders
from opcode_kernel.testing.restarts import expect_no_trace
from opcode_kernel.testing.simulator import Simulator
from opcode_kernel.testing.snapshots import Outcome
from opcode_kernel.testing.vocabulary import TestVocabulary, vocabulary_of

#: The value of the one secret. The core never learns it, so it may turn up nowhere.
SECRET = "hunter22"  # noqa: S105 - it is the secret of the tests


def plan_of(definition: dict[str, Json], vocabulary: TestVocabulary) -> Plan:
    """Compile a generated definition."""
    return compile_plan(definition, vocabulary, input_schema=INPUT_SCHEMA)


def simulate(plan: Plan, seed: int, faults: Faults | None = None, outsiders: Outsiders | None = None) -> Simulator:
    """Run a generated definition to its rest and return the simulator; raises `InvariantBroken`."""
    around = outsiders or Outsiders(seed)
    simulator = Simulator(plan, seed=seed, faults=faults, outsiders=around, forbidden=(SECRET,))
    simulator.start(inputs_of(plan))
    simulator.finish()
    return simulator


def inputs_of(plan: Plan) -> dict[str, Any]:
    """Return the inputs of a generated definition's run, a hole for the secret among them."""
    nothing = RunState(plan)
    return {**plan.inputs.resolve(Scope(nothing, nothing.root)), **INPUTS, "key": Hole(("k-", Secret("P")))}


def campaign(seed: int, vocabulary: TestVocabulary) -> None:
    """Try everything with one seed: an undisturbed run, restarts, crashes, and people who meddle."""
    definition = generate(SeededChooser(seed), Features())
    plan = plan_of(definition, vocabulary)
    calm = simulate(plan, seed)
    expect_no_trace(plan, inputs_of(plan), seed, restarts=3)
    for pauses in (0.0, 0.3):
        crashing = Faults(0.1, 0.1, 0.1, 0.5, pauses, policy=[None, "resume"][seed % 2])
        expect_same(calm, simulate(plan, seed, crashing))
    for policy in ("resume", "suspend"):
        simulate(
            plan,
            seed,
            Faults(0.05, 0.05, 0.1, 0.5, 0.2, 0.3, policy),
            Outsiders(seed, answers=0.8, sends=0.7, meddles=0.15),
        )


def expect_same(calm: Simulator, simulator: Simulator) -> None:
    """Check that a disturbed run ended like the undisturbed one. Raises `AssertionError` with its history.

    With its process an action that was cancelled ends at once, which others wait for. So how far the losers of a race
    got is left to chance, and which of several failures came first where something was awaited. After a crash between
    two pieces of work what is left may be done in another order: then who won a race, or failed first, is chance too.
    Work that is repeated takes longer: a failure that does not wait for people may come before or after their answer.
    """
    expected, found = calm.outcome(), simulator.outcome()
    chance = bool(simulator.faults.pauses) or any("ending" in (event.private or {}) for event in simulator.log)
    if (chance or _cuts_rest(calm) or _cuts_rest(simulator)) and (
        found.status == expected.status == "failed" or _races(found) != _races(expected)
    ):
        return
    one, other = replace(found, steps=_that_counts(found)), replace(expected, steps=_that_counts(expected))
    assert one == other, f"a crash changed the outcome\nexpected {expected}\nfound    {found}\n{simulator.history()}"


def _cuts_rest(simulator: Simulator) -> bool:
    """Tell whether a failure ended something that waited for people or for the time: a step, or the list it is in."""
    nodes, resting = simulator.run.state.nodes, set()
    for event in simulator.log:
        path = event.step_id or ""
        if event.type == "step_suspended":
            resting.add(path)
        elif path in resting and (event.type == "step_skipped" or (event.type == "step_failed" and nodes[path].blocks)):
            return True
    return False


def _races(outcome: Outcome) -> dict[str, Json]:
    """Return who won each race."""
    return {
        path: output["winner"]
        for path, (_, output) in outcome.steps.items()
        if isinstance(output, dict) and output.get("mode") == "race"
    }


def _that_counts(outcome: Outcome) -> dict[str, tuple[str, Json]]:
    """Return how the steps ended, without those in the lists that lost a race."""
    winners = {
        path: f"{path}.branch_{output['winner']}."
        for path, (_, output) in outcome.steps.items()
        if isinstance(output, dict) and output.get("mode") == "race"
    }
    return {
        path: ended
        for path, ended in outcome.steps.items()
        if all(path.startswith(won) for race, won in winners.items() if path.startswith(f"{race}."))
    }


def failure_of(seed: int, vocabulary: TestVocabulary) -> str | None:
    """Return what is wrong with a seed, with its definition and its history; None when nothing is."""
    try:
        campaign(seed, vocabulary)
    except Exception:  # noqa: BLE001 - whatever it was, the seed has to be known
        definition = generate(SeededChooser(seed), Features())
        return f"seed {seed} fails\n{json.dumps(definition, indent=1)}\n{traceback.format_exc()}"
    return None


def first_failure(seeds: range) -> str | None:
    """Try some seeds, in whatever process; returns what `failure_of` says of the first that fails."""
    vocabulary = vocabulary_of(discover(only=["opcode-steps"]).step_types.values())
    return next((failure for seed in seeds if (failure := failure_of(seed, vocabulary)) is not None), None)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the campaign of the command line; returns 1 and prints the first failing seed with its history."""
    parser = argparse.ArgumentParser(
        prog="python -m opcode_kernel.testing.simulator",
        description="Simulate random runs under crashes, repeated and late messages, and people who meddle.",
    )
    parser.add_argument("--seeds", type=_count, default=1_000, help="how many seeds to try")
    parser.add_argument("--first", type=int, default=0, help="the first seed: a run that was stopped says how to go on")
    parser.add_argument("--jobs", type=_count, default=1, help="how many processes to use")
    options = parser.parse_args(arguments)
    last = options.first + options.seeds
    pieces = [range(first, min(first + PIECE, last)) for first in range(options.first, last, PIECE)]
    progress = Progress(options.first, options.seeds)
    try:
        for piece, failure in _tried(pieces, options.jobs):
            if failure is not None:
                sys.stdout.write(failure + "\n")
                return 1
            progress.done(piece)
    except KeyboardInterrupt:
        sys.stdout.write(f"stopped; go on with --first {progress.next} --seeds {last - progress.next}\n")
        return 130
    sys.stdout.write(f"{options.seeds} seeds from {options.first} on: every invariant holds\n")
    return 0


#: Seeds that one process tries before it reports.
PIECE = 200


class Progress:
    """Says on stderr how far a long campaign is, and where it could go on."""

    def __init__(self, first: int, seeds: int) -> None:
        #: Every seed below this one was tried.
        self.next = first
        self._first = first
        self._seeds = seeds
        self._ahead: dict[int, range] = {}
        self._began = time.monotonic()

    def done(self, piece: range) -> None:
        """Take in that some seeds were tried; pieces may come in any order."""
        self._ahead[piece.start] = piece
        while self.next in self._ahead:
            self.next = self._ahead.pop(self.next).stop
        if self._seeds > PIECE:
            tried = self.next - self._first + sum(map(len, self._ahead.values()))
            speed = tried / max(time.monotonic() - self._began, 0.001)
            sys.stderr.write(f"{tried} of {self._seeds} seeds, {speed:.0f} a second; all below {self.next} are done\n")


def _tried(pieces: Sequence[range], jobs: int) -> Iterator[tuple[range, str | None]]:
    """Yield each piece with its first failure, as they come."""
    if jobs == 1:
        for piece in pieces:
            yield piece, first_failure(piece)
        return
    # An interrupt goes to all of them, and is for this process alone to answer.
    ignore = (signal.SIGINT, signal.SIG_IGN)
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(jobs, context, initializer=signal.signal, initargs=ignore) as pool:
        asked = {pool.submit(first_failure, piece): piece for piece in pieces}
        try:
            for done in as_completed(asked):
                yield asked[done], done.result()
        finally:
            # Whoever stops early does not want the rest.
            pool.shutdown(wait=True, cancel_futures=True)


def _count(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number of at least 1, found {text}")
    return number


if __name__ == "__main__":
    raise SystemExit(main())
