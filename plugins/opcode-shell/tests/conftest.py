import os

import anyio
import pytest

import opcode_shell
from opcode_kernel import OpcodeError, PathRules, Policy, ShellRules
from opcode_kernel.testing import FakeContext, call

[EXEC] = opcode_shell.opcode_actions()


@pytest.fixture(
    params=["asyncio", pytest.param(("asyncio", {"use_uvloop": True}), id="uvloop"), "trio"],
)
def anyio_backend(request):
    return request.param


class Shell:
    """Calls `shell.exec` the way the engine does, under changeable rules."""

    def __init__(self):
        self.rules = ShellRules()
        self.paths = PathRules()
        self.context = FakeContext()

    async def __call__(self, command=None, *args, **params):
        given = {"command": command, "args": list(args), **params}
        if command is None:
            del given["command"]
        self.context = FakeContext(policy=Policy(shell=self.rules, paths=self.paths))
        with anyio.fail_after(10):
            return await call(EXEC, given, self.context)

    async def fails(self, command=None, *args, **params):
        """Run what must fail, and return its error."""
        with pytest.raises(OpcodeError) as caught:
            await self(command, *args, **params)
        return caught.value


@pytest.fixture
def shell():
    return Shell()


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
