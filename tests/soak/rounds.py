"""One round: many lives over one database, each ended by a kill, then everything driven to its end and audited."""

from __future__ import annotations

import asyncio
import random
import signal
from collections.abc import Iterable
from pathlib import Path

from tests.soak import audit
from tests.soak.daemon import DaemonLife
from tests.soak.failpoints import POINTS, RECOVERING, RECOVERY_POINTS, Plan
from tests.soak.ledger import Book
from tests.soak.lives import EngineLife, Life, Lost
from tests.soak.nursery import Nursery
from tests.soak.outsider import Outsider
from tests.soak.report import Report, Task

#: Seconds that a life serves before it is killed at a random time.
_BUSY = {"engine": 0.12, "daemon": 0.8}
#: A failpoint that is not reached within so many seconds gives way to a kill from outside.
_PATIENCE = 1.5
_CLIENTS = 4
#: Everything has come to its end within so many seconds, or something hangs.
_FINISH = 60.0
#: One life takes no longer, or something hangs.
_LIFE = 60.0
#: The thorough checks after so many kills.
_THOROUGH = 10


class Round:
    """The lives of one database."""

    def __init__(self, task: Task, directory: Path, nursery: Nursery, expected: audit.Outcomes) -> None:
        self.report = Report()
        self._task = task
        self._directory = directory
        directory.mkdir(mode=0o700)
        self._nursery = nursery
        self._expected = expected
        self._chance = random.Random(task.seed)
        self._book = Book(directory / "ledger")
        self._outsider = Outsider(random.Random(f"{task.seed}/client"), self._book)
        #: Seconds from the first sign of a life until it serves, as last seen.
        self._recovery = 1.2 if task.kind == "daemon" else 0.05

    async def run(self) -> Report:
        """Kill as often as ordered, finish, and report."""
        left = {"kill": self._task.kills, "recovery": self._task.recovery_kills}
        await self._first_life()
        while any(left.values()) and not self.report.violations:
            kind = self._chance.choices(list(left), list(left.values()))[0]
            try:
                async with asyncio.timeout(_LIFE):
                    done = await (self._recovery_life() if kind == "recovery" else self._serving_life())
            except TimeoutError:
                self._violate([f"a process neither served nor died within {_LIFE:.0f} s"])
                break
            left[done] -= left[done] > 0
            await self._check_dead()
        if not self.report.violations:
            await self._finish()
        self._count()
        return self.report

    # Lives -------------------------------------------------------------------------------------------------------

    def _start(self, plan: Plan | None, recovery: str | None = None) -> Life:
        recovery = recovery or self._chance.choice(self._task.policies)
        self.report.policies[recovery] += 1
        if self._task.kind == "daemon":
            return DaemonLife.start(self._nursery, self._directory, recovery, plan)
        return EngineLife(self._nursery, {
            "directory": str(self._directory), "recovery": recovery, "plan": plan and plan.to_json(),
            "sabotage": self._task.sabotage,
        })  # fmt: skip

    async def _first_life(self) -> None:
        """Define the templates; nothing is killed yet."""
        from tests.soak.load import TEMPLATES, definition
        from tests.soak.outsider import AGENT

        life = self._start(None)
        try:
            if not await life.ready():
                self._violate(["the first process did not come up"])
                return
            (link,) = await life.links(1)
            for name in TEMPLATES:
                await link.call("define", name=name, definition=definition(name), agent_id=AGENT)
        finally:
            life.stop()
            await life.ended()

    async def _serving_life(self) -> str:
        """Serve for a while under load and die; returns what kind of kill it came to."""
        plan = None
        if self._chance.random() < 0.6:
            plan = Plan(self._chance.choice(POINTS), 1 + int(self._chance.expovariate(0.1)))
        lasts = _PATIENCE if plan else self._chance.uniform(0.0, _BUSY[self._task.kind])
        life = self._start(plan)
        try:
            came_up = await life.ready()
            working = asyncio.create_task(self._press(life))
            await asyncio.wait({working}, timeout=lasts if came_up else None)
        finally:
            await self._kill(life)
        await working
        place = self._place()
        # A daemon serves the runs that go on by themselves before it serves clients, so it may come to its point early.
        if not came_up and place == "at random":
            self._violate(["the process did not come up again"])
        self.report.kills[place] += 1
        self.report.load.update(order.template for order in self._outsider.orders if order.open)
        return "kill"

    async def _press(self, life: Life) -> None:
        """Put the load on a process until it is gone."""
        try:
            await self._outsider.press(await life.links(_CLIENTS if self._task.kind == "engine" else 3))
        except Lost:
            return

    async def _recovery_life(self) -> str:
        """Die before it serves; returns what kind of kill it came to."""
        plan = None
        if self._chance.random() < 0.6:
            point = self._chance.choice(RECOVERY_POINTS)
            nth = 1 + int(self._chance.expovariate(0.2 if point == "after_load" else 2.0))
            plan = Plan(point, nth, RECOVERING)
        clock = asyncio.get_running_loop().time
        life = self._start(plan)
        try:
            await life.opening()
            began = clock()
            ready = asyncio.create_task(life.ready())
            least = 0.4 if self._task.kind == "daemon" else 0.0
            lasts = 60.0 if plan else self._chance.uniform(least, 1.0) * self._recovery
            await asyncio.wait({ready}, timeout=lasts)
            if ready.done() and ready.result():
                self._recovery = clock() - began
        finally:
            await self._kill(life)
        if await ready:  # it was quicker than expected, so this is a kill like any other
            self.report.kills[self._place()] += 1
            return "kill"
        self.report.recovery_kills[self._place()] += 1
        return "recovery"

    async def _kill(self, life: Life) -> None:
        """Make sure of the end. Any other end than by SIGKILL is a violation."""
        try:
            life.kill()
        finally:
            code = await life.ended()
        if code != -signal.SIGKILL:
            self._violate([f"a process ended by itself with status {code}"])

    def _place(self) -> str:
        """Return where the process has just died: at a point, or wherever it was."""
        grave = self._directory / "grave"
        if not grave.exists():
            return "at random"
        point = grave.read_text()
        grave.unlink()
        return point

    # Audits ------------------------------------------------------------------------------------------------------

    async def _check_dead(self) -> None:
        """Look at what is on the disk between two lives: at the runs that were touched, now and then at all of it."""
        kills = self.report.kills.total() + self.report.recovery_kills.total()
        thorough = kills % _THOROUGH == 0
        await self._check(None if thorough else self._outsider.touched, thorough=thorough)
        self._outsider.touched.clear()

    async def _check(self, run_ids: Iterable[str] | None, *, thorough: bool) -> audit.Evidence:
        database, told, lines = self._directory / "x.db", self._outsider.promises, self._book.lines()
        evidence = audit.gather(database, run_ids)
        self._violate(told.violations)
        self._violate(audit.logs(evidence))
        self._violate(audit.promises(told, evidence))
        self._violate(audit.effects(lines, evidence))
        if thorough:
            self._violate(audit.integrity(database))
            self._violate(await audit.history(database, lines, told))
        return evidence

    async def _finish(self) -> None:
        """Drive everything to its end by consent, and compare the whole with undisturbed runs."""
        life = self._start(None, "suspend")
        try:
            if not await life.ready():
                self._violate(["the last process did not come up"])
                return
            async with asyncio.timeout(_FINISH):
                await finish(self._outsider, life)
        except TimeoutError:
            stuck = [f"{each.template} {each.run_id}" for each in self._outsider.orders if each.open]
            self._violate([f"these runs never came to their end: {stuck}"])
        except Lost:
            self._violate(["the last process died"])
        finally:
            life.stop()
            await life.ended()
        evidence = await self._check(None, thorough=True)
        self._violate(audit.ends(self._outsider.orders, self._book.lines(), evidence, self._expected))
        self.report.totals.update(f"{row.status} runs" for row in evidence.rows.values())
        self.report.totals["events"] += sum(map(len, evidence.logs.values()))

    def _violate(self, found: Iterable[str]) -> None:
        self.report.violations += [f"round {self._task.index} ({self._task.kind}): {each}" for each in found]

    def _count(self) -> None:
        told = self._outsider.promises
        self.report.totals.update(f"acknowledged {kind} signals" for _, kind in told.accepted.values())
        self.report.totals.update({
            "effects": len(self._book.lines()), "acknowledged starts": len(told.runs),
            "refused signals": len(told.refused),
            "acknowledged ends": len(told.ended), "repeated starts": told.repeats,
        })  # fmt: skip


async def finish(outsider: Outsider, life: Life) -> None:
    """Attend to every order, and to the runs nobody knew of, until nothing is open any more."""
    links = await life.links(_CLIENTS)
    while True:
        await outsider.adopt(links[0])
        waiting = [order for order in outsider.orders if order.open]
        if not waiting:
            return
        for start in range(0, len(waiting), _CLIENTS):
            some = zip(links, waiting[start : start + _CLIENTS], strict=False)
            await asyncio.gather(*(outsider.attend(link, order, eager=True) for link, order in some))
