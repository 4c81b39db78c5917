"""The ledger as an installed plugin of the real daemon, and the failpoints around it.

`install` writes what an installer would: a distribution with an entry point, found by the path of the modules alone.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from tests.soak import ledger
from tests.soak.failpoints import SERVING, Failpoints, Plan

NAME = "soakledger"
_ROOT = Path(__file__).resolve().parents[2]


def install(directory: Path) -> str:
    """Install this plugin into a directory; returns the PYTHONPATH that a process finds it by."""
    about = directory / f"{NAME}-1.0.dist-info"
    about.mkdir(parents=True, exist_ok=True)
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {NAME}\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text(f"[opcode]\n{NAME} = tests.soak.daemon_side\n")
    return os.pathsep.join([str(directory), str(_ROOT)])


def environment(book: Path, plan: Plan | None) -> dict[str, str]:
    """Return the variables by which the plugin finds its ledger and its failpoint."""
    return {"SOAK_LEDGER": str(book), "SOAK_PLAN": json.dumps(plan.to_json() if plan else None)}


def open_plugin(environ: dict[str, str]) -> Any:
    """Return the hook of the plugin, with the failpoints installed around the daemon that loads it."""
    plan, book = json.loads(environ["SOAK_PLAN"]), Path(environ["SOAK_LEDGER"])
    points = Failpoints(Plan(**plan) if plan else None, book.parent / "grave")
    points.install()
    if plan:
        _install_daemon_points(points)
    return ledger.plugin(book, points.hit).opcode_actions


def _install_daemon_points(points: Failpoints) -> None:
    """Wrap what only the daemon has: the end of its recovery, and the stream that carries the answers."""
    from opcode_kernel.runtime import engine
    from opcode_kernel.server import sse

    recover, write = engine.recover, sse._write  # type: ignore[attr-defined]

    async def recovered(*arguments: Any) -> Any:
        result = await recover(*arguments)
        points.hit("before_ready")
        points.phase = SERVING
        return result

    async def written(unsent: Any, send: Any, *more: Any) -> None:
        async def sent(message: Any) -> None:
            is_answer = b"structuredContent" in message.get("body", b"")
            if is_answer:
                points.hit("before_ack")
            await send(message)
            if is_answer:
                points.hit("after_ack")

        await write(unsent, sent, *more)

    engine.recover = recovered  # type: ignore[attr-defined,assignment]
    sse._write = written  # type: ignore[assignment]  # the routes hold the methods of the transport already
