"""What the kernel of this machine lets us do, found out by doing it; runs in a supervisor that ends afterwards."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import Any

from opcode_kernel.isolation.process import cgroups, tree

_KINDS = ("pid", "mount", "network")


def probe() -> dict[str, Any]:
    """Return what there is, as `Capabilities` reads it. Makes the base group, and sweeps it."""
    found: dict[str, Any] = {
        "platform": sys.platform, "root": os.geteuid() == 0, "subreaper": tree.adopt_orphans(), "landlock": 0,
        "namespaces": [], "user_namespaces": [], "group": None, "controllers": [], "reasons": {},
    }  # fmt: skip
    if sys.platform != "linux":
        return found
    try:
        from opcode_kernel.isolation.process import landlock, namespaces
    except (ImportError, AttributeError) as error:
        found["reasons"] = dict.fromkeys(("landlock", "namespaces"), f"this Python has no ctypes: {error}")
    else:
        found["landlock"] = landlock.version()
        for key, more in (("namespaces", []), ("user_namespaces", ["user"])):
            for kind in _KINDS:
                reason = _try(lambda kinds: namespaces.enter(kinds, [], release=lambda: None), [*more, kind])
                if reason:
                    found["reasons"][f"{key}.{kind}"] = reason
                else:
                    found[key].append(kind)
    found["group"], controllers, found["reasons"]["cgroup"] = cgroups.find_base()
    found["controllers"] = list(controllers)
    if found["group"] is not None:
        cgroups.sweep(found["group"])
    return found


def _try(attempt: Callable[[list[str]], object], kinds: list[str]) -> str:
    """Return why an attempt fails, in a fork so that its success changes nothing; nothing when it succeeds."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            attempt(kinds)
            os.write(writer, b"+")
        except OSError as error:
            os.write(writer, f"-{os.strerror(error.errno or 0).lower()}".encode())
        finally:
            os._exit(0)
    os.close(writer)
    answer = os.read(reader, 4096).decode(errors="replace")
    os.close(reader)
    os.waitpid(child, 0)
    return "" if answer == "+" else answer[1:] or "the attempt ended without a word"
