import threading

import anyio
import pytest

from opcode_fs import actions
from opcode_kernel import PathRules, Policy
from opcode_kernel.testing import FakeContext, call

pytestmark = pytest.mark.anyio


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request):
    return request.param


async def test_a_cancelled_read_stops_in_its_thread(tmp_path):
    (tmp_path / "f").write_bytes(b"x" * 3_000_000)
    params = actions.read.decoder.decode({"path": str(tmp_path / "f")})
    started, cancelled, finished = anyio.Event(), threading.Event(), threading.Event()

    def run():
        anyio.from_thread.run_sync(started.set)
        cancelled.wait(5)
        actions.read.run(FakeContext(), params)
        finished.set()

    with anyio.fail_after(5):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(anyio.to_thread.run_sync, run)
            await started.wait()
            tasks.cancel_scope.cancel()
            cancelled.set()
    assert not finished.is_set()


async def test_an_action_runs_in_a_worker_thread_and_outside_of_one(tmp_path):
    (tmp_path / "f").write_text("x")
    context = FakeContext(policy=Policy(paths=PathRules()))
    assert (await call(actions.read, {"path": str(tmp_path / "f")}, context))["content"] == "x"
    params = actions.read.decoder.decode({"path": str(tmp_path / "f")})
    assert (await anyio.to_thread.run_sync(actions.read.run, context, params))["content"] == "x"
