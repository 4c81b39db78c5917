"""How long it is remembered who did what with secrets."""

from __future__ import annotations

import time
from typing import NoReturn

import anyio
import structlog

from opcode_kernel.errors import OpcodeError
from opcode_kernel.store.base import Store

#: Uses that are remembered at most, which take some 150 MB.
MOST = 1_000_000
#: Uses that are forgotten in one transaction: others write in between.
_AT_ONCE = 5_000
#: Seconds between two looks.
_EVERY = 3_600.0
_DAY = 86_400 * 1_000_000


async def prune(store: Store, days: int, *, now: int | None = None, most: int = MOST) -> int:
    """Forget uses of secrets that are older than so many days, and all but the newest `most`; returns how many.

    `now` is in microseconds UTC.
    """
    before = (time.time_ns() // 1000 if now is None else now) - days * _DAY
    total = 0
    while True:
        gone = await store.prune_secret_uses(before=before, keep=most, at_once=_AT_ONCE)
        total += gone
        if gone < _AT_ONCE:
            return total


async def keep_bounded(store: Store, days: int) -> NoReturn:
    """Prune now and then, for as long as the store is open; what fails is said and tried again."""
    while True:
        try:
            await prune(store, days)
        except OpcodeError as error:
            structlog.get_logger("opcode.vault").warning("old uses of secrets are not forgotten", error=error.message)
        await anyio.sleep(_EVERY)
