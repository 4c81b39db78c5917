"""`python -m tests.fuzz --definitions 100000 --expressions 100000 --jobs 2`: spoilt input by seed, judged.

Ends with 1 when anything was violated; each violation names the seed, and `--first N --definitions 1` repeats it.
"""

from __future__ import annotations

import argparse
import multiprocessing
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor

from tests.fuzz.judge import KINDS, Verdict, judge_stretch

#: Inputs per engine.
_STRETCH = 500
#: Seconds between two words about how far it has come.
_TELL_EVERY = 20


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the campaign of the command line; returns 1 when something was violated."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description="Feed the engine with spoilt input.")
    parser.add_argument("--definitions", type=int, default=100_000, help="how many definitions (100000)")
    parser.add_argument("--expressions", type=int, default=100_000, help="how many expressions and templates (100000)")
    parser.add_argument("--first", type=int, default=0, help="the first seed (0)")
    parser.add_argument("--jobs", type=int, default=multiprocessing.cpu_count(), help="processes (one per processor)")
    options = parser.parse_args(arguments)
    violations = 0
    with ProcessPoolExecutor(options.jobs, mp_context=multiprocessing.get_context("spawn")) as pool:
        for kind in KINDS:
            end = options.first + getattr(options, kind)
            stretches = [(kind, low, min(low + _STRETCH, end)) for low in range(options.first, end, _STRETCH)]
            violations += _report(kind, end - options.first, pool.map(judge_stretch, stretches))
    return 1 if violations else 0


def _report(kind: str, count: int, verdicts: object) -> int:
    total, began, shown = Verdict(), time.monotonic(), 0
    told = began
    for verdict in verdicts:  # type: ignore[attr-defined]
        total.add(verdict)
        if time.monotonic() - told >= _TELL_EVERY:
            told = time.monotonic()
            sys.stderr.write(f"{sum(total.outcomes.values())} of {count} {kind} after {told - began:.0f} s\n")
        for violation in total.violations[shown:]:
            sys.stderr.write(f"{violation}\n")
        shown = len(total.violations)
    sys.stdout.write(f"{count} {kind} in {time.monotonic() - began:.0f} s: {len(total.violations)} violations\n")
    sys.stdout.write(f"  slowest answer {total.slowest[0] * 1000:.0f} ms (seed {total.slowest[1]})\n")
    for outcome, times in total.outcomes.most_common():
        sys.stdout.write(f"  {times:7} {outcome}\n")
    sys.stdout.flush()
    return len(total.violations)


if __name__ == "__main__":
    sys.exit(main())
