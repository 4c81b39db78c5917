import threading

import anyio
import pytest

import opcode_fs
from opcode_fs import actions
from opcode_kernel import PathRules, Policy
from opcode_kernel.testing import FakeContext, call

pytestmark = pytest.mark.anyio
ACTIONS = {action.name: action for action in opcode_fs.opcode_actions()}


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request):
    return request.param


async def cancelled_in_its_thread(action, params):
    """Cancel the step, then let its thread go on; return whether the action came to its end."""
    decoded = action.decoder.decode(params)
    started, cancelled, finished = anyio.Event(), threading.Event(), threading.Event()

    def run():
        anyio.from_thread.run_sync(started.set)
        cancelled.wait(5)
        action.run(FakeContext(), decoded)
        finished.set()

    with anyio.fail_after(5):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(anyio.to_thread.run_sync, run)
            await started.wait()
            tasks.cancel_scope.cancel()
            cancelled.set()
    return finished.is_set()


async def test_a_cancelled_read_stops_in_its_thread(tmp_path):
    (tmp_path / "f").write_bytes(b"x" * 3_000_000)
    assert not await cancelled_in_its_thread(actions.read, {"path": str(tmp_path / "f")})


@pytest.mark.parametrize("name", ["fs.list", "fs.delete", "fs.copy", "fs.move"])
async def test_cancelled_work_on_a_tree_stops_and_leaves_nothing_half_done(tmp_path, name):
    (tmp_path / "tree/sub").mkdir(parents=True)
    (tmp_path / "tree/sub/f").write_text("x")
    tree = str(tmp_path / "tree")
    paths = {"src": tree, "dst": f"{tree}2"} if name in ("fs.copy", "fs.move") else {"path": tree, "recursive": True}
    assert not await cancelled_in_its_thread(ACTIONS[name], paths)
    assert [path.name for path in tmp_path.iterdir()] == ["tree"]
    assert (tmp_path / "tree/sub/f").read_text() == "x"


async def test_a_write_cancelled_half_way_leaves_the_old_file_and_no_temporary_one(tmp_path):
    (tmp_path / "f").write_text("old")
    assert not await cancelled_in_its_thread(actions.write, {"path": str(tmp_path / "f"), "content": "x" * 3_000_000})
    assert (tmp_path / "f").read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["f"]


async def test_an_action_runs_in_a_worker_thread_and_outside_of_one(tmp_path):
    (tmp_path / "f").write_text("x")
    context = FakeContext(policy=Policy(paths=PathRules()))
    assert (await call(actions.read, {"path": str(tmp_path / "f")}, context))["content"] == "x"
    params = actions.read.decoder.decode({"path": str(tmp_path / "f")})
    assert (await anyio.to_thread.run_sync(actions.read.run, context, params))["content"] == "x"
