import os
from dataclasses import replace

import anyio
import pytest

import opcode_shell
from opcode_kernel import (
    IsolationRules,
    OpcodeError,
    PathRules,
    Policy,
    ProcessLimits,
    ShellRules,
    open_launcher,
)
from opcode_kernel.testing import FakeContext, call

[EXEC] = opcode_shell.opcode_actions()


@pytest.fixture(
    params=["asyncio", pytest.param(("asyncio", {"use_uvloop": True}), id="uvloop"), "trio"],
)
def anyio_backend(request):
    return request.param


@pytest.fixture(scope="session")
def there():
    """What this machine can do, found out once."""

    async def find_out():
        async with open_launcher() as launcher:
            return await launcher.capabilities()

    return anyio.run(find_out)


class Shell:
    """Calls `shell.exec` the way the engine does, under changeable rules."""

    def __init__(self, launcher):
        self.launcher = launcher
        self.rules = ShellRules()
        self.paths = PathRules()
        self.limits = ProcessLimits()
        self.context = FakeContext()

    async def __call__(self, command=None, *args, **params):
        given = {"command": command, "args": list(args), **params}
        if command is None:
            del given["command"]
        policy = Policy(shell=self.rules, paths=self.paths, isolation=IsolationRules(limits=self.limits))
        self.context = FakeContext(policy=policy, launcher=self.launcher)
        with anyio.fail_after(10):
            return await call(EXEC, given, self.context)

    async def fails(self, command=None, *args, **params):
        """Run what must fail, and return its error."""
        with pytest.raises(OpcodeError) as caught:
            await self(command, *args, **params)
        return caught.value


@pytest.fixture
async def shell(anyio_backend, there):
    # Without control groups, which on some machines come with processes that have numbers of their own.
    async with open_launcher(there=replace(there, group=None, controllers=frozenset())) as launcher:
        yield Shell(launcher)


@pytest.fixture
async def grouped_shell(anyio_backend, there):
    """The same with control groups, where there are any."""
    async with open_launcher(there=there) as launcher:
        yield Shell(launcher)


@pytest.fixture
def cwd(tmp_path):
    """Where the commands run, with a file for patterns to find."""
    path = tmp_path / "cwd"
    path.mkdir()
    (path / "glob-me").write_text("")
    yield path
    assert [each.name for each in path.iterdir()] == ["glob-me"]


async def wait_until_gone(pid):
    """Wait for the end of a process that is no child of ours; fail when it is still there after five seconds."""
    with anyio.fail_after(5):
        if not hasattr(os, "pidfd_open"):
            while _is_there(pid):  # noqa: ASYNC110, the system offers no event for it
                await anyio.sleep(0.01)
            return
        try:
            handle = os.pidfd_open(pid)
        except ProcessLookupError:
            return
        try:
            await anyio.wait_readable(handle)
        finally:
            os.close(handle)


def _is_there(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.fixture
def gone():
    return wait_until_gone
