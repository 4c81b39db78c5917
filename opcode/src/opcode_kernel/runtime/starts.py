"""From a request to a live run: the template resolved, the input checked, the key honoured, the start let in."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NamedTuple

from opcode_kernel.errors import Json
from opcode_kernel.runtime.start_keys import check_key

if TYPE_CHECKING:
    from opcode_kernel.runtime.driver import LiveRun
    from opcode_kernel.runtime.engine import Engine


class Request(NamedTuple):
    """What a caller wants to have run; `run_id` is used if a run is started for it."""

    run_id: str
    template_name: str
    version: str | None
    params: dict[str, Json]
    agent_id: str


def new_id() -> str:
    """Return a random UUID, version 4; the standard library takes three times as long to make and print one."""
    raw = os.urandom(16)
    text = raw.hex()
    return f"{text[:8]}-{text[8:12]}-4{text[13:16]}-{'89ab'[raw[8] & 3]}{text[17:20]}-{text[20:]}"


async def start_new(engine: Engine, request: Request, key: str | None = None) -> LiveRun:
    """Start a run; nothing of it is durable yet when this returns."""
    template = await engine.library.resolve(request.template_name, request.version, check=True)
    given = engine.library.prepare_inputs(template, request.params, request.run_id, request.agent_id)
    inputs = await engine.secrets.prepare(template.plan, given)
    await engine.agents.touch(request.agent_id)
    engine.refuse_when_closing()
    await engine.admission.enter()
    return engine.start(
        template, inputs.values, agent_id=request.agent_id, start_key=key, run_id=request.run_id,
        redactor=inputs.redactor,
    )  # fmt: skip


async def start_once(engine: Engine, request: Request, key: str) -> LiveRun | str:
    """Start a run under a key, or return the id of the one that was started under it before."""
    check_key(key)
    async with engine.start_keys.held(request.agent_id, key):
        known = await engine.start_keys.find(request.agent_id, key)
        if known is None:
            return await start_new(engine, request, key)
    version = request.version
    if not version and known.template_name == request.template_name:
        version = str(known.template_version)  # the latest may be another by now, but the request is the same
    template = await engine.library.resolve(request.template_name, version)
    given = engine.library.prepare_inputs(template, request.params, known.run_id, request.agent_id)
    inputs = await engine.secrets.prepare(template.plan, given)
    known.check(key, template, inputs.values)
    await engine.agents.touch(request.agent_id)
    return known.run_id
