"""`python -m tests.soak --kills 1000 --recovery-kills 200`: kill -9 at random times and at named points, under load.

Every round of kills has a database of its own; two rounds run side by side. Ends with 1 when anything was violated, and
then says how to repeat the round. The seed decides who does what and where a process dies; the clock has a say too, so a
repetition may take a few tries.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from tests.soak import undisturbed
from tests.soak.audit import Outcomes
from tests.soak.nursery import Nursery
from tests.soak.report import POLICIES, Report, Task
from tests.soak.rounds import Round

#: Kills per round: enough for a database to fill, few enough to audit it often.
_ROUND = 40
#: Violations that are printed; one defect breaks many things at once.
_SHOWN = 25


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the campaign of the command line; returns 1 when something was violated."""
    options = _options(arguments)
    began = time.monotonic()
    scratch = Path(tempfile.mkdtemp(prefix="opcode-soak-", dir=options.scratch))
    (scratch / "undisturbed").mkdir()
    report = asyncio.run(_campaign(options, scratch))
    if options.json:
        sys.stdout.write(json.dumps({"seed": options.seed, **vars(report)}) + "\n")
    else:
        sys.stdout.write(report.text(time.monotonic() - began))
    if not report.violations:
        shutil.rmtree(scratch)
        return 0
    index = report.violations[0].split()[1]
    sys.stderr.write(
        f"\nseed {options.seed} fails; databases, ledgers and logs are kept in {scratch}\nrepeat with: python -m tests.soak "
        f"--seed {options.seed} --kills {options.kills} --recovery-kills {options.recovery_kills} "
        f"--daemon-share {options.daemon_share} --round {index}\n"
    )
    return 1


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description="Kill engines under load, and look.")
    parser.add_argument("--kills", type=int, default=1_000, help="kills while a process serves")
    parser.add_argument("--recovery-kills", type=int, default=200, help="kills while a process recovers, besides")
    parser.add_argument("--daemon-share", type=float, default=0.1, help="the part that hits the real daemon (0.1)")
    parser.add_argument("--lanes", type=int, default=2, help="how many rounds run side by side")
    parser.add_argument("--seed", default="0", help="what the random choices derive from")
    parser.add_argument("--round", type=int, help="only this round of the campaign")
    parser.add_argument("--policies", nargs="+", choices=POLICIES, default=POLICIES, help="what a restart may do")
    parser.add_argument("--json", action="store_true", help="print the summary as JSON")
    parser.add_argument("--scratch", type=Path, help="where databases are made (the temporary directory)")
    parser.add_argument("--sabotage", action="store_true", help="acknowledge before the disk has it; must be noticed")
    return parser.parse_args(arguments)


def plan(options: argparse.Namespace) -> list[Task]:
    """Return the rounds of a campaign; the slow ones of the daemon come first."""
    tasks: list[Task] = []
    for kind, share in (("daemon", options.daemon_share), ("engine", 1.0 - options.daemon_share)):
        kills, recoveries = round(options.kills * share), round(options.recovery_kills * share)
        rounds = -(-(kills + recoveries) // _ROUND)
        for nth in range(rounds):
            part, further = _part(kills, rounds, nth), _part(recoveries, rounds, nth)
            index = len(tasks)
            tasks.append(
                Task(index, kind, f"{options.seed}/{index}", part, further, options.policies, options.sabotage)
            )
    return tasks


def _part(total: int, parts: int, nth: int) -> int:
    return total * (nth + 1) // parts - total * nth // parts


async def _campaign(options: argparse.Namespace, scratch: Path) -> Report:
    tasks = [task for task in plan(options) if options.round in (None, task.index)]
    total = Report()
    with ExitStack() as stack:
        nurseries = [stack.enter_context(Nursery(scratch / f"lane-{lane}.log")) for lane in range(options.lanes)]
        expected = await undisturbed.outcomes(scratch / "undisturbed", nurseries[0])

        async def lane(nursery: Nursery) -> None:
            while tasks and not total.violations:
                await _round(tasks.pop(0), scratch, nursery, expected, total)

        await asyncio.gather(*map(lane, nurseries))
    return total


async def _round(task: Task, scratch: Path, nursery: Nursery, expected: Outcomes, total: Report) -> None:
    directory = scratch / f"round-{task.index}"
    report = await Round(task, directory, nursery, expected).run()
    total.add(report)
    kills = report.kills.total() + report.recovery_kills.total()
    sys.stderr.write(
        f"round {task.index} ({task.kind}): {kills} kills, {report.totals['acknowledged starts']} runs, "
        f"{report.totals['effects']} effects, {len(report.violations)} violations\n"
    )
    for violation in report.violations[:_SHOWN]:
        sys.stderr.write(f"VIOLATION {violation}\n")
    if not report.violations:
        shutil.rmtree(directory)


if __name__ == "__main__":
    raise SystemExit(main())
