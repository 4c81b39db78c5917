"""What lives as long as an engine: what plugins offer with `opcode_lifespan`, and the evaluators that are to be closed."""

from __future__ import annotations

from contextlib import AsyncExitStack

import anyio
from anyio.abc import TaskStatus

from opcode_kernel.errors import PluginError
from opcode_kernel.plugin.manager import Registry
from opcode_kernel.plugin.policy import ExpressionRules


async def serve_lifespans(
    registry: Registry, rules: ExpressionRules, *, task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED
) -> None:
    """Enter every lifespan in the order of registration, and leave them in reverse when cancelled.

    Raises:
        PluginError: one cannot be entered; those entered before it have been left.
    """
    async with AsyncExitStack() as stack:
        for evaluator in registry.evaluators.values():
            if limit := getattr(evaluator, "limit", None):
                limit(rules.timeout, rules.max_cost)
            if close := getattr(evaluator, "close", None):
                stack.callback(close)
        for source, lifespan in registry.hooks("opcode_lifespan"):
            try:
                await stack.enter_async_context(lifespan())
            except Exception as error:
                raise PluginError(
                    f"opcode_lifespan of distribution {source.distribution} failed: {type(error).__name__}: {error}"
                ) from error
        task_status.started()
        await anyio.sleep_forever()
