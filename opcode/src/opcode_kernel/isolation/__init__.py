"""Child processes: started by a launcher, limited by the kernel, and ended for good, with all they started.

    async with open_launcher() as launcher:
        async with await launcher.spawn(["/usr/bin/jq", "."], stdin=PIPE, stdout=PIPE) as child:
            await child.stdin.send(b"{}")
            await child.stdin.aclose()
            text = await child.stdout.receive()
            code = await child.wait()

`launcher.spawn(argv, *, cwd="/", env={}, stdin=DEVNULL, stdout=DEVNULL, stderr=DEVNULL, limits=ProcessLimits())` starts
one program; each of the three streams is `DEVNULL`, `PIPE` or a file descriptor of the caller. The answer is a `Child`:
`pid`, `stdin`, `stdout` and `stderr` (anyio byte streams where they were `PIPE`), `returncode`, `oom`, `await wait()`,
`terminate()` (SIGTERM to everything it started), `kill()` (SIGKILL), `await aclose()`. The environment is exactly `env`.
What cannot be started raises the `OSError` of the attempt; what cannot be isolated as asked raises `ISOLATION_ERROR`.

`launcher.capabilities()` tells what the kernel of this machine lets us enforce, and by what.

How it works. The launcher is one small process with one thread and an empty environment; nothing else forks. It gets a
socket and the three streams of a command, forks, and is ready for the next. The fork, the supervisor, reads from that
socket what to do, becomes the reaper of everything that will come of the command (Linux), prepares its control group and
namespaces, and forks the command itself, which limits itself and then becomes the program. The supervisor answers over
the same socket. When that closes, for whatever reason, a SIGKILL of the daemon included, it kills everything at once: so
nothing outlives a daemon. Outside of Linux there is the process group, and nothing beyond it.

`isolation.process` is what runs in the launcher: it imports nothing but the standard library and itself.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from opcode_kernel.isolation.access import process_limits
    from opcode_kernel.isolation.capabilities import Capabilities
    from opcode_kernel.isolation.child import Child
    from opcode_kernel.isolation.launcher import DEVNULL, PIPE, Launcher, open_launcher
    from opcode_kernel.isolation.rules import IsolationRules, PathAccess, ProcessLimits

_MODULES = {
    "access": ("process_limits",),
    "capabilities": ("Capabilities",),
    "child": ("Child",),
    "launcher": ("DEVNULL", "PIPE", "Launcher", "open_launcher"),
    "rules": ("IsolationRules", "PathAccess", "ProcessLimits"),
}
_HOMES = {name: module for module, names in _MODULES.items() for name in names}


def __getattr__(name: str) -> Any:
    # Looked up when first used: the launcher imports this package too, and is small for not importing all of it.
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(f"{__name__}.{home}"), name)
    return value


__all__ = [
    "DEVNULL",
    "PIPE",
    "Capabilities",
    "Child",
    "IsolationRules",
    "Launcher",
    "PathAccess",
    "ProcessLimits",
    "open_launcher",
    "process_limits",
]
