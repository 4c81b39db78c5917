"""The plug points. This file is the reference manual for them.

A hook returns what it offers and does nothing else: no I/O, no reading of settings, no registering. Those that offer
something are called once, while the registry is built or the application starts; `opcode_committed` is collected then
and called after each commit. Nothing on the path of a step calls pluggy.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, Any

import pluggy

if TYPE_CHECKING:
    from opcode_kernel.core.evaluator import Evaluator
    from opcode_kernel.core.events import Event
    from opcode_kernel.core.step_type import StepType
    from opcode_kernel.plugin.action import Action
    from opcode_kernel.plugin.provider import Provider
    from opcode_kernel.plugin.tool import Tool

#: The entry-point group, and the name under which hooks are marked.
GROUP = "opcode"

hookspec = pluggy.HookspecMarker(GROUP)
hookimpl = pluggy.HookimplMarker(GROUP)


@hookspec
def opcode_actions() -> Iterable[Action]:  # type: ignore[empty-body]
    """Offer actions that steps may call by name.

    Called once, while the registry is built. Names have the form `family.verb`. Two distributions offering the same
    name stop the start-up, with both of them named in the error.
    """


@hookspec
def opcode_step_types() -> Iterable[StepType]:  # type: ignore[empty-body]
    """Offer step types: objects with the methods of `StepType`.

    Called once, while the registry is built. Duplicate names stop the start-up.
    """


@hookspec
def opcode_evaluators() -> Iterable[Evaluator]:  # type: ignore[empty-body]
    """Offer expression languages, each with a unique `name`.

    Called once, while the registry is built. `cel` serves guards and conditions, `jq` serves loops, `expr` serves
    `expr.eval`; a definition that needs a language nobody offers is refused when it is defined.
    """


@hookspec
def opcode_tools(engine: Any) -> Iterable[Tool]:  # type: ignore[empty-body]
    """Offer MCP tools, built over the running engine.

    Called once, when the application starts. Duplicate names stop the start-up.
    """


@hookspec
def opcode_providers() -> Iterable[Provider]:  # type: ignore[empty-body]
    """Offer sources of actions that come and go while a program runs, such as servers that are asked for their tools.

    Called once for each engine, while it is opened and before interrupted runs are taken up: return new objects. Each
    is handed what `plugins` in the settings says, and serves until the engine is closed; see `Provider`. One that fails
    loses its actions, and nothing else happens.
    """


@hookspec
def opcode_lifespan() -> AbstractAsyncContextManager[None]:  # type: ignore[empty-body]
    """Offer something that is open as long as an engine is, such as connections that actions share.

    Called once for each engine: return a new asynchronous context manager. It is entered before runs are taken up and
    left after the last of them has ended. What it raises while it is entered stops the start-up.
    """


@hookspec
def opcode_committed(run_id: str, events: Sequence[Event]) -> None:
    """Look at events that have just become durable.

    Called after each commit, in order, off the path of the step. Must be quick, may not wait, cannot stop a run: what
    it raises is logged with the name of the distribution and forgotten.
    """
