"""The operator's limits, as a command meets them. What the kernel makes of each is tested where they are enforced."""

import json
import sys

import pytest

from opcode_kernel import ProcessLimits

pytestmark = pytest.mark.anyio

SHOW = "import json, resource as r; print(json.dumps({n: r.getrlimit(getattr(r, 'RLIMIT_' + n)) for n in %s}))"


def show(*names):
    return SHOW % json.dumps(names)


async def test_a_limit_that_cannot_be_set_stops_the_command(shell, tmp_path):
    shell.limits = ProcessLimits(max_open_files=-5)
    error = await shell.fails("touch", str(tmp_path / "ran"))
    assert error.code == "ISOLATION_ERROR"
    assert "NOFILE" in error.message
    assert not (tmp_path / "ran").exists()


async def test_limits_hold_before_the_command_runs(shell):
    shell.limits = ProcessLimits(max_open_files=40, max_file_bytes=5000, max_cpu_seconds=7)
    answer = await shell(sys.executable, "-c", show("NOFILE", "FSIZE", "CPU", "CORE"))
    assert answer["stdout"] == {"NOFILE": [40, 40], "FSIZE": [5000, 5000], "CPU": [7, 8], "CORE": [0, 0]}


async def test_input_and_arguments_are_whole_under_limits(shell):
    shell.limits = ProcessLimits(max_open_files=40)
    assert (await shell("cat", stdin="a\nb"))["stdout"] == "a\nb"
    assert (await shell("cat"))["stdout"] == ""
    assert (await shell("printf", "%s|", "a b", "", "$HOME", "'"))["stdout"] == "a b||$HOME|'|"
    assert (await shell("echo", "a; id", shell=True))["stdout"] == "a; id\n"


async def test_a_command_that_cannot_start_under_limits_is_an_error(shell, tmp_path):
    shell.limits = ProcessLimits(max_open_files=40)
    path = tmp_path / "x"
    path.write_text("#!/no/such/interpreter\n")
    path.chmod(0o755)
    error = await shell.fails(str(path))
    assert (error.code, error.retryable) == ("EXECUTION_ERROR", False)
    assert (await shell("sh", "-c", "exit 127"))["exit_code"] == 127


async def test_a_file_past_the_limit_ends_the_writer(shell, tmp_path):
    shell.limits = ProcessLimits(max_file_bytes=1000)
    answer = await shell("dd", "if=/dev/zero", f"of={tmp_path / 'f'}", "bs=5000", "count=1")
    assert (answer["exit_code"], answer["signal"]) == (-1, "SIGXFSZ")
    assert (tmp_path / "f").stat().st_size == 1000


@pytest.mark.parametrize("anyio_backend", ["asyncio"])  # a second of work each, and the kernel alone counts it
async def test_a_command_past_its_processor_time_ends(shell):
    shell.limits = ProcessLimits(max_cpu_seconds=1)
    answer = await shell("while :; do :; done", shell=True, timeout="9s")
    assert (answer["exit_code"], answer["signal"], answer["killed"]) == (-1, "SIGXCPU", False)


async def test_an_out_of_memory_kill_is_an_error_with_its_reason(grouped_shell, there):
    if not there.can_limit_memory:
        pytest.skip(f"no control group with memory: {dict(there.lines())['control group']}")
    grouped_shell.limits = ProcessLimits(max_memory_bytes=64 << 20)
    error = await grouped_shell.fails(sys.executable, "-c", "x = bytearray(512 << 20); print(len(x))")
    assert (error.code, error.details["reason"]) == ("EXECUTION_ERROR", "oom")
