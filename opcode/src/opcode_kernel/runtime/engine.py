"""The engine: what programs and surfaces talk to. Runs belong to it, not to whoever started them.

async with open_engine(store, registry) as engine:
    await engine.define("hello", {"steps": [...]}, agent_id="me")
    result = await engine.run("hello", agent_id="me")
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AbstractContextManager, asynccontextmanager, contextmanager, nullcontext
from typing import Any

import anyio

from opcode_kernel.core.commands import RunAction
from opcode_kernel.core.messages import Message, Signal, Start, TimerFired
from opcode_kernel.core.node import ACTIVE
from opcode_kernel.core.run import Run
from opcode_kernel.core.state import RunState
from opcode_kernel.core.validation import Report
from opcode_kernel.errors import ConflictError, DefinitionError, Json, NotFoundError
from opcode_kernel.isolation.launcher import Launcher, open_launcher
from opcode_kernel.plugin.manager import Registry
from opcode_kernel.runtime import answers, hints
from opcode_kernel.runtime.actions import ActionRunner
from opcode_kernel.runtime.admission import Admission
from opcode_kernel.runtime.agents import Agents
from opcode_kernel.runtime.asking import naming_children, show_children
from opcode_kernel.runtime.breaker import Breakers
from opcode_kernel.runtime.children import cancel_children, tell_parent
from opcode_kernel.runtime.committer import Committer
from opcode_kernel.runtime.driver import LiveRun
from opcode_kernel.runtime.hub import Hub, Listener
from opcode_kernel.runtime.library import Library, Template
from opcode_kernel.runtime.lifespans import serve_lifespans
from opcode_kernel.runtime.loading import load
from opcode_kernel.runtime.nursery import Nursery, open_nursery
from opcode_kernel.runtime.options import EngineOptions as EngineOptions
from opcode_kernel.runtime.options import check_wait_timeout
from opcode_kernel.runtime.options import wall_clock as wall_clock
from opcode_kernel.runtime.ports import Notifier as Notifier
from opcode_kernel.runtime.ports import Vault
from opcode_kernel.runtime.providers import Providers
from opcode_kernel.runtime.recovery import POLICIES, recover
from opcode_kernel.runtime.redaction import Redactor
from opcode_kernel.runtime.reply import Reply
from opcode_kernel.runtime.secrets import Secrets
from opcode_kernel.runtime.shutdown import shut_down
from opcode_kernel.runtime.snapshots import snapshot
from opcode_kernel.runtime.start_keys import StartKeys
from opcode_kernel.runtime.starts import Request, new_id, start_new, start_once
from opcode_kernel.runtime.timers import Timers
from opcode_kernel.store.base import Store

#: For calls that nobody listens to.
_UNHEARD = nullcontext()


class Engine:
    """One open engine; made by `open_engine`."""

    def __init__(
        self, store: Store, registry: Registry, options: EngineOptions, vault: Vault | None,
        notifier: Notifier | None, nursery: Nursery, launcher: Launcher,
    ) -> None:  # fmt: skip
        self.store = store
        self.registry = registry
        self.options = options
        self.secrets = Secrets(vault)
        self.notifier = notifier
        self.nursery = nursery
        self.clock = options.clock
        self.hub = Hub()
        self.breakers = Breakers()
        self.committer = Committer(store, self.hub, self._write_lost)
        self.admission = Admission(nursery, self.committer)
        self.start_keys = StartKeys(store)
        self.agents = Agents(store, self.clock)
        self.providers = Providers(self, vault)
        self.library = Library(store, registry, options.limits, self.clock, vault)
        self.runner = ActionRunner(self)
        self.launcher = launcher
        self.timers = Timers(self.clock, self._fire, patience=1.0 if self.clock is wall_clock else 3600.0)
        self.live: dict[str, LiveRun] = {}
        #: No action and no run is started any more.
        self.closing = False

    # Templates -----------------------------------------------------------------------------------------------------

    def check(
        self, definition: Json, *, input_schema: Json = None, output_schema: Json = None, triggers: Json = None
    ) -> Report:
        """Return everything that is wrong with a definition, without storing anything."""
        return self.library.check(definition, input_schema=input_schema, output_schema=output_schema, triggers=triggers)

    async def define(
        self, name: str, definition: Json, *, agent_id: str, description: str | None = None, input_schema: Json = None,
        output_schema: Json = None, triggers: Json = None,
    ) -> dict[str, Json]:  # fmt: skip
        """Store the next version of a template; returns `{name, version, warnings?}`.

        Raises:
            DefinitionError: with all problems in `details.errors`.
        """
        await self.agents.touch(agent_id)
        return await self.library.define(
            name, definition, agent_id=agent_id, description=description, input_schema=input_schema,
            output_schema=output_schema, triggers=triggers,
        )  # fmt: skip

    # Runs ----------------------------------------------------------------------------------------------------------

    async def run(
        self, template_name: str, *, agent_id: str, version: str | None = None, params: dict[str, Json] | None = None,
        wait: bool = True, wait_timeout: float | None = None, idempotency_key: str | None = None,
        listener: Listener | None = None,
    ) -> dict[str, Json]:  # fmt: skip
        """Start a run and return its result once it settles (completed, failed, cancelled or suspended).

        With `wait=False`, or when `wait_timeout` seconds pass first, the answer is `{workflow_id, status: "active"}`,
        with `pending_decisions` if the run asks something meanwhile, and the run goes on. `listener(run_id, events)` hears
        of every commit meanwhile. The same `idempotency_key` of the same agent with the same template and input gives the
        same run, whatever has become of it.

        Raises:
            NotFoundError: no such template or version.
            DefinitionError, InterpolationError: the input is refused; nothing is stored.
            ConflictError: the key was used for another run, named in `details.workflow_id`; or the engine is closing.
        """
        check_wait_timeout(wait_timeout)
        request = Request(new_id(), template_name, version, params or {}, agent_id)
        with self._heard(request.run_id, listener):
            if idempotency_key is None:
                return await self._result(await start_new(self, request), wait, wait_timeout)
            found = await start_once(self, request, idempotency_key)
            live = self.live.get(found) if isinstance(found, str) else found
            if live is None:
                return await show_children(self.store, answers.run_result((await self.load(str(found))).state))
            return await self._result(live, wait, wait_timeout)

    def start(
        self, template: Template, inputs: dict[str, Any], *, agent_id: str, start_key: str | None = None,
        run_id: str | None = None, parent: RunState | None = None, command: RunAction | None = None,
        redactor: Redactor | None = None,
    ) -> LiveRun:  # fmt: skip
        """Start driving a run of a resolved template; nothing is durable yet when this returns."""
        self.refuse_when_closing()
        run_id = run_id or new_id()
        live = LiveRun(self, run_id, Run(template.plan), redactor)
        self.live[run_id] = live
        message = Start(run_id, inputs, agent_id, start_key=start_key)
        if parent is not None and command is not None:
            message.parent_run_id, message.depth = parent.run_id, parent.depth + 1
            message.parent_step_id, message.parent_task = command.step_id, command.task
            live.parent_run_id = parent.run_id
        live.push(message)
        if live.sprint():
            self.admission.leave()
        else:
            self.start_keys.remember(live.run.state)
            self.nursery.spawn(live.drive)
        return live

    async def start_child(
        self, run_id: str, template_name: str, *, version: str | None, params: dict[str, Json], parent: RunState,
        command: RunAction,
    ) -> RunState:  # fmt: skip
        """Run a child, or find the one that exists, and return its state once it settled."""
        live = self.live.get(run_id)
        if live is None and await self.store.run(run_id) is None:
            template = await self.library.resolve(template_name, version, check=True)
            given = self.library.prepare_inputs(template, params, run_id, parent.agent_id, parent.run_id)
            inputs = await self.secrets.prepare(template.plan, given, passed_on=True)
            if self.closing:
                await anyio.sleep_forever()  # until this step is parked, and starts its child after the restart
            live = self.start(template, inputs.values, agent_id=parent.agent_id, run_id=run_id, parent=parent,
                              command=command, redactor=inputs.redactor)  # fmt: skip
        if live is None:
            state = (await self.load(run_id)).state
            if state.status != ACTIVE:
                return state
            live = self.wake(run_id)
        await live.settled()
        return live.run.state

    async def signal(
        self, run_id: str, signal_type: str, *, payload: dict[str, Json] | None = None, step_id: str | None = None,
        agent_id: str | None = None, reasoning: str | None = None, wait: bool = True, wait_timeout: float | None = None,
        listener: Listener | None = None,
    ) -> dict[str, Json]:  # fmt: skip
        """Send a signal and, where it moves the run, wait until the run settles again, or for `wait_timeout` seconds.

        Raises:
            NotFoundError, ConflictError, DefinitionError: the signal is refused and leaves no trace.
        """
        check_wait_timeout(wait_timeout)
        if agent_id:
            await self.agents.touch(agent_id)
        with self._heard(run_id, listener):
            message = Signal(signal_type, payload or {}, step_id or None, agent_id or None, reasoning)
            reply = Reply(lambda run: (answers.run_result(run.state), hints.unheard(run.state, message)))
            live = self.wake(run_id)
            live.push(message, reply)
            try:
                result, warnings = await reply.wait()
            except NotFoundError as error:
                if signal_type == "decision" and error.details.get("candidates") == []:
                    raise await naming_children(self.store, run_id, error) from None
                raise
            if wait and result["status"] == ACTIVE and signal_type in answers.RESUMING:
                with anyio.move_on_after(wait_timeout):
                    await live.settled()
                    result = answers.run_result(live.run.state)
        answer = await show_children(self.store, answers.signal_answer(run_id, signal_type, result, reply.moved))
        return {**answer, "warnings": warnings} if warnings else answer

    async def status(
        self, run_id: str, *, include: Sequence[str] | None = None, events_since: int | None = None,
        events_limit: int = 200,
    ) -> dict[str, Json]:  # fmt: skip
        """Return a snapshot of one run with its newest events, or with the first ones after `events_since`.

        Where that leaves events out, `events_truncated` is true; `events_next`, if more follow, is the next `events_since`.

        Raises:
            NotFoundError: there is no such run.
        """
        return await snapshot(self, run_id, include, events_since, events_limit)

    async def ask(self, run_id: str, question: Callable[[Run], Any]) -> Any:
        """Return `question(run)` as of now; for a live run, as of what is durable."""
        live = self.live.get(run_id)
        if live is None:
            return question(await self.load(run_id))
        reply = Reply(question)
        live.push(None, reply)
        return await reply.wait()

    async def deliver(self, run_id: str, message: Message, reply: Reply) -> Any:
        """Send a message to a run, waking it when it is not in memory, and return the answer."""
        self.wake(run_id).push(message, reply)
        return await reply.wait()

    # The inside ----------------------------------------------------------------------------------------------------

    async def load(self, run_id: str) -> Run:
        """Fold a run from the store (raises `NotFoundError`)."""
        return await load(self.store, self.library, run_id)

    def let_go(self, live: LiveRun) -> None:
        """Forget a run that rests; whoever waits for it as a parent or child is told."""
        if self.live.get(live.run_id) is live:
            del self.live[live.run_id]
            if live.loaded:
                self.start_keys.forget(live.run.state)
        if live.error is not None or not live.run.state.is_terminal:
            return
        self.hub.forget(live.run_id)
        state = live.run.state
        if state.parent_run_id is not None:
            tell_parent(self, state)
        if not self.closing and "workflow.run" in live.run.plan.actions:
            self.nursery.spawn(cancel_children, self, live.run_id, "the parent workflow ended")

    def wake(self, run_id: str) -> LiveRun:
        """Return the run in memory, loading it when it rests."""
        live = self.live.get(run_id)
        if live is None:
            live = self.live[run_id] = LiveRun(self, run_id)
            self.nursery.spawn(live.drive)
        return live

    def refuse_when_closing(self) -> None:
        """Refuse to start anything once the engine is being closed.

        Raises:
            ConflictError: it is.
        """
        if self.closing:
            raise ConflictError("the engine is shutting down and starts no more workflows")

    def _write_lost(self, run_id: str) -> None:
        """Have a run look at its failed write; it may be waiting for something else."""
        live = self.live.get(run_id)
        if live is not None:
            live.push(None, Reply())

    def _fire(self, run_id: str, task: str) -> None:
        if not self.closing:
            self.wake(run_id).push(TimerFired(task))

    async def _result(self, live: LiveRun, wait: bool, wait_timeout: float | None) -> dict[str, Json]:
        if wait and (wait_timeout is None or live.rested):
            return await self._settled(live)
        if wait:
            with anyio.move_on_after(wait_timeout):
                return await self._settled(live)
        if live.rested:
            await live.settled()
            return answers.under_way(live.run.state)
        reply = Reply(lambda run: answers.under_way(run.state))
        live.push(None, reply)
        under_way: dict[str, Json] = await reply.wait()
        return under_way

    async def _settled(self, live: LiveRun) -> dict[str, Json]:
        await live.settled()
        return await show_children(self.store, answers.run_result(live.run.state))

    def _heard(self, run_id: str, listener: Listener | None) -> AbstractContextManager[None]:
        return _UNHEARD if listener is None else self._listening(run_id, listener)

    @contextmanager
    def _listening(self, run_id: str, listener: Listener) -> Iterator[None]:
        remove = self.hub.listen(run_id, listener)
        try:
            yield
        finally:
            remove()


@asynccontextmanager
async def open_engine(
    store: Store, registry: Registry, *, options: EngineOptions | None = None, vault: Vault | None = None,
    notifier: Notifier | None = None,
) -> AsyncIterator[Engine]:  # fmt: skip
    """Open an engine over an open store; leaving the block stops it, and nothing of it is running any more.

    Raises:
        DefinitionError: an option is malformed.
        SettingsError: isolation is required that this machine cannot give.
    """
    options = options or EngineOptions()
    if options.recovery not in POLICIES:
        raise DefinitionError(f"expected recovery to be one of {', '.join(POLICIES)}, found {options.recovery!r}")
    failed: Exception | None = None
    async with (
        open_launcher(options.policy.isolation.mode) as launcher,
        open_nursery() as nursery,
        anyio.create_task_group() as services,
    ):
        engine = Engine(store, registry, options, vault, notifier, nursery, launcher)
        for source, observer in registry.hooks("opcode_committed"):
            engine.hub.observe(source.distribution, observer)
        services.start_soon(engine.committer.serve)
        try:
            await launcher.require(options.policy)
            await services.start(serve_lifespans, registry, options.policy.expressions)
            await services.start(engine.providers.serve)
            await recover(engine)
            services.start_soon(engine.timers.serve)
            yield engine
        except Exception as error:  # noqa: BLE001 - kept out of the group, so that callers see it as it is
            failed = error
        finally:
            with anyio.CancelScope(shield=True):
                await shut_down(engine)
            services.cancel_scope.cancel()
    if failed is not None:
        raise failed
