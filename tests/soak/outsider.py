"""The client outside: it starts runs, answers decisions, sends signals, consents, cancels, and writes down what it was told."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any

import anyio
from tests.soak.ledger import Book
from tests.soak.lives import Link, Lost, Refused
from tests.soak.load import NOBODY, TEMPLATES
from tests.soak.promises import TERMINAL, Order, Promises, choice_of

AGENT = "outsider"
#: Of a signal that came too late these are honest answers. Anything else is a defect.
_TOO_LATE = ("CONFLICT", "NOT_FOUND")
#: Runs the client wants to have open at a time.
_OPEN = 24


class Outsider:
    """All clients of one database over all lives of its processes."""

    def __init__(self, chance: random.Random, book: Book, choose: Callable[[str], str] = choice_of) -> None:
        self.promises = Promises()
        self.orders: list[Order] = []
        #: The runs that something was asked of since the last audit.
        self.touched: set[str] = set()
        self._chance = chance
        self._book = book
        self._choose = choose
        self._tokens = 0

    async def press(self, links: Sequence[Link]) -> None:
        """Work as several clients until the process is gone."""
        async with anyio.create_task_group() as clients:
            for link in links:
                clients.start_soon(self._work, link)

    async def _work(self, link: Link) -> None:
        try:
            await self._look_back(link)
            while True:
                order = self._next()
                if order is None:
                    await anyio.sleep(0.001)
                    continue
                await self.attend(link, order, eager=False)
        except Lost:
            return

    def _next(self) -> Order | None:
        waiting = [order for order in self.orders if order.open and not order.busy]
        if not waiting or (len(waiting) < _OPEN and self._chance.random() < 0.3):
            return self.order(self._chance.choice(list(TEMPLATES)))
        return self._chance.choice(waiting)

    def order(self, template: str) -> Order:
        """Want one more run."""
        number = len(self.orders)
        key = f"key-{number}" if self._chance.random() < 0.6 else None
        self.orders.append(Order(number, template, key, cancels=self._chance.random() < 0.06))
        return self.orders[-1]

    async def _look_back(self, link: Link) -> None:
        """Ask again for runs that have ended: they may not have changed."""
        for run_id in self._chance.sample(sorted(self.promises.ended), min(2, len(self.promises.ended))):
            await self._status(link, run_id)

    async def adopt(self, link: Link) -> None:
        """Take charge of the runs nobody told us of: children, and those whose start went unanswered."""
        for status in ("active", "suspended"):
            where = {"status": status, "limit": 1000}
            for row in (await link.call("query", resource="workflows", filter=where))["workflows"]:
                if row["id"] not in self.promises.runs:
                    order = Order(len(self.orders), row["template_name"], run_id=row["id"])
                    self.orders.append(order)
                    self.promises.runs[row["id"]] = order.number

    async def attend(self, link: Link, order: Order, *, eager: bool) -> None:
        """Do the next thing for an order; an eager client always does what can be done."""
        order.busy = True
        try:
            if order.run_id is None:
                await self._start(link, order)
                return
            self.touched.add(order.run_id)
            status = await self._status(link, order.run_id)
            if status["status"] in TERMINAL:
                order.closed = True
            elif not await self._move(link, order, status, eager=eager):
                await anyio.sleep(0.002)
        except Refused as error:
            self.promises.violations.append(f"order {order.number} ({order.template}, run {order.run_id}): {error}")
            order.closed = True
        finally:
            order.busy = False

    async def _start(self, link: Link, order: Order) -> None:
        if order.sent and order.key is None:
            order.lost = True
            return
        order.sent = True
        given: dict[str, Any] = {"template_name": order.template, "agent_id": AGENT, "params": order.params}
        if order.key is not None:
            given["idempotency_key"] = order.key
        if self._chance.random() < 0.3:
            given["wait_timeout"] = 0.05
        else:
            given["wait"] = False
        answer = await link.call("run", **given)
        self.promises.started(order, answer["workflow_id"])
        if "steps" in answer:
            self.promises.seen(answer)

    async def _status(self, link: Link, run_id: str) -> dict[str, Any]:
        status = await link.call("status", workflow_id=run_id, include=["steps", "decisions"])
        self.promises.seen(status)
        return status

    async def _move(self, link: Link, order: Order, status: dict[str, Any], *, eager: bool) -> bool:
        """Do one thing for a run that waits for it; tells whether there was one."""
        if order.cancels and self._chance.random() < 0.2:
            await self._signal(link, order, "cancel", None, {})
            return True
        if order.key is not None and self._chance.random() < 0.1:
            await self._start(link, order)  # the same start again, which is no second run
            self.promises.repeats += 1
        if order.template == "naps" and self._chance.random() < 0.15:
            await self._signal(
                link, order, "data", None, {"signal": "go"}
            )  # too early, mostly: it is kept for the wait
            return True
        possible = [("decision", each) for each in status.get("pending_decisions", ())
                    if each.get("target_agent_id") != NOBODY]  # fmt: skip
        possible += [(each["reason"], each) for each in status.get("waiting", ())]
        possible = [(kind, each) for kind, each in possible if kind in ("decision", "signal", "interrupted")
                    and "step_id" in each and not (kind == "decision" and "id" not in each)]  # fmt: skip
        if not possible or not (eager or self._chance.random() < 0.7):
            return False
        kind, entry = self._chance.choice(possible)
        if kind == "decision":
            choice = self._choose(entry["workflow_id"])
            await self._signal(link, order, "decision", entry["step_id"], {"choice": choice})
        elif kind == "signal":
            await self._signal(link, order, "data", entry["step_id"], {"signal": entry["signal"]})
        else:
            await self._consent(link, order, entry)
        return True

    async def _consent(self, link: Link, order: Order, entry: dict[str, Any]) -> None:
        """Answer whether it happened, by what the outside says."""
        assert order.run_id is not None
        step_id = entry["step_id"]
        if self._book.holds("book", order.run_id, step_id):
            if not str(entry.get("question")).startswith("did it happen?"):
                self.promises.violations.append(
                    f"nobody asks whether {step_id} of run {order.run_id} happened: {entry}"
                )
            await self._signal(link, order, "skip", step_id, {"output": {"done": step_id}})
        else:
            await self._signal(link, order, "retry", step_id, {})

    async def _signal(
        self, link: Link, order: Order, kind: str, step_id: str | None, payload: dict[str, Any]
    ) -> None:  # fmt: skip
        assert order.run_id is not None
        self._tokens += 1
        token, promises = f"token-{self._tokens}", self.promises
        promises.sent[token] = order.run_id
        given: dict[str, Any] = {"workflow_id": order.run_id, "signal_type": kind, "payload": payload,
                                 "agent_id": AGENT, "reasoning": token}  # fmt: skip
        if step_id is not None:
            given["step_id"] = step_id
        try:
            answer = await link.call("signal", **given)
        except Refused as error:
            if error.code not in _TOO_LATE:
                raise
            promises.refused[token] = order.run_id
            return
        promises.accepted[token] = order.run_id, kind
        if kind == "decision" and step_id is not None:
            promises.choices[order.run_id, step_id] = payload["choice"]
        if "steps" in answer:
            promises.seen(answer, token)
