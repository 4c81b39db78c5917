"""Long campaigns of simulated runs; the first failing seed is printed with its definition and its history.

python -m opcode_kernel.testing.campaign --seeds 10000
"""

from __future__ import annotations

import argparse
import json
import sys
import traceback
from collections.abc import Sequence

from opcode_kernel.core.interpolation import Hole, Secret
from opcode_kernel.core.plan import Plan, compile_plan
from opcode_kernel.errors import Json
from opcode_kernel.plugin.manager import discover
from opcode_kernel.testing.faults import Faults
from opcode_kernel.testing.generator import INPUT_SCHEMA, INPUTS, Features, SeededChooser, generate
from opcode_kernel.testing.outsiders import Outsiders
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
    simulator.start({**INPUTS, "key": Hole(("k-", Secret("P")))})
    simulator.finish()
    return simulator


def campaign(seed: int, vocabulary: TestVocabulary) -> None:
    """Try everything with one seed: an undisturbed run, crashes, and people who meddle."""
    definition = generate(SeededChooser(seed), Features())
    plan = plan_of(definition, vocabulary)
    calm = simulate(plan, seed)
    crashing = Faults(0.1, 0.1, 0.1, 0.5, 0.3, policy=[None, "resume"][seed % 2])
    expect_same(calm.outcome(), simulate(plan, seed, crashing))
    for policy in ("resume", "suspend"):
        simulate(
            plan,
            seed,
            Faults(0.05, 0.05, 0.1, 0.5, 0.2, 0.3, policy),
            Outsiders(seed, answers=0.8, sends=0.7, meddles=0.15),
        )


def expect_same(expected: Outcome, simulator: Simulator) -> None:
    """Check that a disturbed run ended like the undisturbed one. Raises `AssertionError` with its history."""
    found = simulator.outcome()
    assert found == expected, (
        f"a crash changed the outcome\nexpected {expected}\nfound    {found}\n{simulator.history()}"
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the campaign of the command line; returns 1 and prints the first failing seed with its history."""
    parser = argparse.ArgumentParser(
        prog="python -m opcode_kernel.testing.campaign", description="Simulate random runs."
    )
    parser.add_argument("--seeds", type=int, default=1_000, help="how many seeds to try")
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    options = parser.parse_args(arguments)
    vocabulary = vocabulary_of(discover(only=["opcode-steps"]).step_types.values())
    for seed in range(options.first, options.first + options.seeds):
        try:
            campaign(seed, vocabulary)
        except Exception:  # noqa: BLE001 - whatever it was, the seed has to be known
            definition = generate(SeededChooser(seed), Features())
            sys.stdout.write(f"seed {seed} fails\n{json.dumps(definition, indent=1)}\n{traceback.format_exc()}\n")
            return 1
    sys.stdout.write(f"{options.seeds} seeds from {options.first} on: every invariant holds\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
