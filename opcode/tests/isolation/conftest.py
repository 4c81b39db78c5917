from __future__ import annotations

import itertools
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import anyio
import pytest

import opcode_kernel
from opcode_kernel.isolation import DEVNULL, PIPE, Capabilities, Child, Launcher, open_launcher

NOBODY = 65534
_NUMBERS = itertools.count()
#: What a shell needs to find its tools.
ENV = {"PATH": os.environ.get("PATH", os.defpath)}


@pytest.fixture(
    params=["asyncio", pytest.param(("asyncio", {"use_uvloop": True}), id="uvloop"), "trio"],
)
def anyio_backend(request):
    return request.param


@pytest.fixture(scope="session")
def there() -> Capabilities:
    """What this machine can do, found out once."""

    async def find_out() -> Capabilities:
        async with open_launcher() as launcher:
            return await launcher.capabilities()

    return anyio.run(find_out)


@pytest.fixture(scope="session")
def simple(there) -> Capabilities:
    """The same without control groups, which on some machines come with processes that have numbers of their own."""
    return replace(there, group=None, controllers=frozenset())


@pytest.fixture
async def launcher(anyio_backend, simple) -> AsyncIterator[Launcher]:
    async with open_launcher(there=simple) as launcher:
        yield launcher


@pytest.fixture
def user_python(tmp_path) -> str:
    """An interpreter that runs as a user who is not root; it need not have any of our packages."""
    python, setpriv = shutil.which("python3", path="/usr/bin:/usr/local/bin"), shutil.which("setpriv")
    if os.geteuid() != 0:
        return sys.executable
    if setpriv is None or python is None:
        pytest.skip("needs setpriv and a Python of the system")
    become = [setpriv, f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", python]
    usable = "import sys; sys.path.append(sys.argv[1]); import opcode_kernel.isolation.process.main, ctypes"
    packages = str(Path(opcode_kernel.__file__).parents[1])
    if subprocess.run([*become, "-I", "-S", "-c", usable, packages], check=False, capture_output=True).returncode:
        pytest.skip("needs a Python and a checkout that everybody may read")
    (tmp_path / "python").write_text(f'#!/bin/sh\nexec {" ".join(become)} "$@"\n')
    (tmp_path / "python").chmod(0o755)
    return str(tmp_path / "python")


@pytest.fixture
async def user_launcher(anyio_backend, user_python, monkeypatch) -> AsyncIterator[Launcher]:
    """A launcher that runs as a user who is not root."""
    monkeypatch.setattr(sys, "executable", user_python)
    async with open_launcher() as launcher:
        yield launcher


class Done(NamedTuple):
    code: int
    out: str
    err: str


async def finish(child: Child) -> Done:
    """Read what a child writes, until it has ended."""
    texts = {"stdout": b"", "stderr": b""}

    async def read(name: str) -> None:
        stream = getattr(child, name)
        if stream is not None:
            async for chunk in stream:
                texts[name] += chunk

    with anyio.fail_after(20):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(read, "stdout")
            tasks.start_soon(read, "stderr")
        code = await child.wait()
    return Done(code, texts["stdout"].decode(errors="replace"), texts["stderr"].decode(errors="replace"))


Run = Callable[..., Awaitable[Done]]


def running(launcher: Launcher) -> Run:
    """Return what runs a line of shell, or an argument list, to its end."""

    async def run(command: str | list[str], **given) -> Done:
        argv = ["/bin/sh", "-c", command] if isinstance(command, str) else command
        given = {"env": ENV, "stdin": DEVNULL, "stdout": PIPE, "stderr": PIPE} | given
        async with await launcher.spawn(argv, **given) as child:
            return await finish(child)

    return run


@pytest.fixture
def run(launcher) -> Run:
    return running(launcher)


@pytest.fixture
def runner() -> Callable[[Launcher], Run]:
    return running


@pytest.fixture
def shared() -> Iterator[Path]:
    """A directory that everybody may use, which `tmp_path` is not."""
    path = Path(tempfile.mkdtemp())
    path.chmod(0o777)
    yield path
    shutil.rmtree(path)


@pytest.fixture
def tcp_port() -> Iterator[int]:
    """A port of this machine that accepts connections."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


@pytest.fixture
def line() -> Callable[[Child], Awaitable[str]]:
    """Return what reads the next line a child writes."""
    return next_line


@pytest.fixture
def gone() -> Callable[..., Awaitable[float]]:
    """Return what waits for the end of a process that is no child of ours, and answers how long that took."""
    return wait_until_gone


class Named:
    """A command that is found by its arguments, whatever number it has in whichever namespace."""

    def __init__(self) -> None:
        self.command = f"sleep 60.{os.getpid()}{next(_NUMBERS):04}"

    def pids(self) -> list[int]:
        """Return the processes that have it among their arguments, that is also the shells that start it."""
        found = []
        for entry in Path("/proc").iterdir():
            try:
                words = (entry / "cmdline").read_bytes().replace(b"\0", b" ") if entry.name.isdigit() else b""
            except OSError:
                continue
            ours = words.startswith(sys.executable.encode())  # who starts it has it among its arguments, too
            if self.command.encode() in words and not ours and is_there(int(entry.name)):
                found.append(int(entry.name))
        return found


@pytest.fixture
def named() -> Named:
    """A command to be looked for."""
    return Named()


@pytest.fixture
def alive() -> Callable[[int], bool]:
    """Return what tells whether a process exists that has not ended."""
    return is_there


async def next_line(child: Child) -> str:
    assert child.stdout is not None
    text = b""
    with anyio.fail_after(10):
        while not text.endswith(b"\n"):
            text += await child.stdout.receive(1)
    return text.decode().strip()


async def wait_until_gone(pid: int, within: float = 5.0) -> float:
    began = anyio.current_time()
    with anyio.fail_after(within):
        while is_there(pid):  # noqa: ASYNC110  (the system offers no event for it)
            await anyio.sleep(0.005)
    return anyio.current_time() - began


def is_there(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    try:
        return Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[0] not in (b"Z", b"X")
    except (FileNotFoundError, ProcessLookupError):
        return sys.platform != "linux"
