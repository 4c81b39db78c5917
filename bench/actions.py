"""A plugin of actions that do nothing, so that what is left is the engine."""

from __future__ import annotations

from collections.abc import Iterable

import anyio

from opcode_kernel import Action, ActionContext, Json, action, hookimpl
from opcode_kernel.testing import AnyParams

OK: Json = {"ok": True}


@action("bench.noop", summary="Do nothing, where it is called", effect="pure")
def noop(ctx: ActionContext, params: None) -> Json:
    return OK


@action("bench.given", summary="Return what is given", params=AnyParams, effect="pure")
def given(ctx: ActionContext, params: AnyParams) -> Json:
    return params.given


@action("bench.task", summary="Do nothing, in a task of its own", effect="pure")
async def task(ctx: ActionContext, params: None) -> Json:
    return OK


@action("bench.effect", summary="Do nothing, after the barrier that an effect needs", effect="effect")
def effect(ctx: ActionContext, params: None) -> Json:
    return OK


@action("bench.sleep", summary="Wait a microsecond", effect="pure")
async def sleep(ctx: ActionContext, params: None) -> Json:
    await anyio.sleep(1e-6)
    return OK


@hookimpl
def opcode_actions() -> Iterable[Action]:
    return [noop, given, task, effect, sleep]
