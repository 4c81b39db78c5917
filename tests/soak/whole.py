"""The whole of `opcode` as a child of the nursery: everything is real but the start of Python and its imports."""

from __future__ import annotations

import importlib
import os
import pkgutil
import sys
from importlib.metadata import entry_points
from typing import Any

import opcode_kernel.server
from opcode_kernel.server.cli import main as opcode

#: What is imported late, and takes a while. Nothing of it runs before it is asked to.
_LATE = (
    "anyio._backends._asyncio",
    "tortoise.backends.sqlite",
    "uvicorn.lifespan.off",
    "uvloop",
    "opcode_kernel.runtime.vault",
)

for _module in pkgutil.walk_packages(opcode_kernel.server.__path__, "opcode_kernel.server."):
    importlib.import_module(_module.name)
for _name in _LATE:
    importlib.import_module(_name)
for _plugin in entry_points(group="opcode"):
    _plugin.load()


def main(order: dict[str, Any], handles: list[int]) -> int:
    """Run the words of the order as a shell would; returns how it ends."""
    for standard, handle in enumerate(handles):
        os.dup2(handle, standard)
    for handle in handles:
        os.close(handle)
    sys.stdin = open(0, closefd=False)  # noqa: SIM115 - as long as the process
    os.environ.clear()
    os.environ.update(order["environ"])
    os.chdir(order["directory"])
    sys.path[:0] = [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path]
    sys.argv[1:] = order["words"]
    return opcode()
