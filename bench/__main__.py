"""`python -m bench [NAMES...]`: measure and print. Names are scenarios, or `scenario/case` with wildcards."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace
from fnmatch import fnmatchcase
from importlib.util import find_spec

import anyio

from bench import load, report
from bench.dag import DAG
from bench.durable import DURABLE
from bench.events import EVENTS
from bench.expressions import EXPRESSIONS
from bench.mcp import MCP
from bench.measure import Case, Options, Result, Scenario, run_rounds, tune_gc
from bench.pool import POOL
from bench.startup import STARTUP

#: Measured against bounds, not against other programs, so it is only done when it is asked for.
LOAD = "load"

SCENARIOS: tuple[Scenario, ...] = (DAG, EVENTS, POOL, DURABLE, MCP, STARTUP, EXPRESSIONS)

_FULL = Options()
_QUICK = Options(rounds=2, seconds=0.015)


def _parser() -> argparse.ArgumentParser:
    epilog = "scenarios: " + "; ".join(f"{scenario.name}: {scenario.summary}" for scenario in SCENARIOS)
    epilog += f"; {LOAD}, by itself: answers among a thousand runs, and a run of 100,000 events, against their bounds"
    parser = argparse.ArgumentParser(prog="python -m bench", description="Print the speed figures.", epilog=epilog)
    parser.add_argument("names", nargs="*", metavar="NAME", help="a scenario, or cases of it: 'dag/parallel-*'")
    parser.add_argument("--store", choices=("memory", "sqlite"), help="one store for all in-process scenarios")
    parser.add_argument("--durability", choices=("full", "normal"), help="one mode of the database file (both)")
    parser.add_argument("--rounds", type=_whole, help=f"rounds of every case ({_FULL.rounds})")
    parser.add_argument("--seconds", type=float, help=f"length of one sample ({_FULL.seconds})")
    parser.add_argument("--loop", choices=("uvloop", "asyncio"), help="the event loop (the daemon's choice)")
    parser.add_argument("--quick", action="store_true", help="short samples: does everything run, roughly how fast")
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_const", const=report.as_json, dest="form", help="print JSON")
    form.add_argument("--markdown", action="store_const", const=report.as_markdown, dest="form", help="print a table")
    parser.set_defaults(form=report.as_text)
    return parser


def _whole(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"expected at least 1, found {number}")
    return number


def _options(args: argparse.Namespace) -> Options:
    options = replace(_QUICK if args.quick else _FULL, store=args.store)
    if args.durability:
        options = replace(options, durabilities=(args.durability,))
    if args.rounds:
        options = replace(options, rounds=args.rounds)
    return replace(options, seconds=args.seconds) if args.seconds else options


def _chosen(scenario: Scenario, cases: Sequence[Case], names: Sequence[str]) -> list[Case]:
    return [case for case in cases if not names or any(_matches(scenario, case, name) for name in names)]


def _matches(scenario: Scenario, case: Case, name: str) -> bool:
    wanted, _, pattern = name.partition("/")
    return wanted == scenario.name and fnmatchcase(case.name, pattern or "*")


async def _measure(options: Options, names: Sequence[str]) -> list[Result]:
    results: list[Result] = []
    for scenario in SCENARIOS:
        if names and not any(name.partition("/")[0] == scenario.name for name in names):
            continue
        async with scenario.open(options) as cases:
            tune_gc()
            results += await run_rounds(scenario.name, _chosen(scenario, cases, names), options, report.say)
    return results


def main() -> int:
    parser = _parser()
    args = parser.parse_args()
    known = {LOAD, *(scenario.name for scenario in SCENARIOS)}
    for name in args.names:
        if name.partition("/")[0] not in known:
            parser.error(f"there is no scenario {name!r}; choose from {', '.join(sorted(known))}")
    options = _options(args)
    loop = args.loop or ("uvloop" if find_spec("uvloop") else "asyncio")
    uvloop = {"use_uvloop": loop == "uvloop"}
    if LOAD in args.names:
        if len(args.names) > 1:
            parser.error(f"{LOAD} is measured by itself")
        lines = anyio.run(load.measure, report.say, backend="asyncio", backend_options=uvloop)
        print(*lines, sep="\n")
        return 0 if all(line.value < line.bound for line in lines) else 1
    results = anyio.run(_measure, options, args.names, backend="asyncio", backend_options=uvloop)
    if not results:
        parser.error(f"no case matches {' '.join(args.names)}")
    print(args.form(results, report.conditions(options, loop)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
