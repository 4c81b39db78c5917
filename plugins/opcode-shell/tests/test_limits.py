import json
import sys

import pytest

from opcode_kernel import ActionError, ShellRules
from opcode_shell import limits

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(not limits.can_limit(), reason="limits need prlimit"),
]

SHOW = "import json, resource as r; print(json.dumps({n: r.getrlimit(getattr(r, 'RLIMIT_' + n)) for n in %s}))"


def show(*names):
    return SHOW % json.dumps(names)


async def test_a_limit_that_cannot_be_set_stops_the_command(shell, tmp_path):
    shell.rules = ShellRules(limits={"max_open_files": -5})
    error = await shell.fails("touch", str(tmp_path / "ran"))
    assert error.code == "ISOLATION_ERROR"
    assert "max_open_files" in error.message
    assert not (tmp_path / "ran").exists()


async def test_limits_hold_before_the_command_runs(shell):
    shell.rules = ShellRules(limits={"max_open_files": 40, "max_file_bytes": 5000, "max_memory_bytes": 2**31})
    answer = await shell(sys.executable, "-c", show("NOFILE", "FSIZE", "AS", "CORE"))
    assert answer["stdout"] == {"NOFILE": [40, 40], "FSIZE": [5000, 5000], "AS": [2**31, 2**31], "CORE": [0, 0]}


async def test_standard_input_is_whole_under_limits(shell):
    shell.rules = ShellRules(limits={"max_open_files": 40})
    assert (await shell("cat", stdin="a\nb"))["stdout"] == "a\nb"
    assert (await shell("cat"))["stdout"] == ""


async def test_arguments_are_whole_under_limits(shell):
    shell.rules = ShellRules(limits={"max_open_files": 40})
    assert (await shell("printf", "%s|", "a b", "", "$HOME", "'"))["stdout"] == "a b||$HOME|'|"
    assert (await shell("echo", "a; id", shell=True))["stdout"] == "a; id\n"


async def test_a_command_that_cannot_start_under_limits_is_an_error(shell, tmp_path):
    shell.rules = ShellRules(limits={"max_open_files": 40})
    path = tmp_path / "x"
    path.write_text("#!/no/such/interpreter\n")
    path.chmod(0o755)
    error = await shell.fails(str(path))
    assert (error.code, error.retryable) == ("EXECUTION_ERROR", False)
    assert (await shell("sh", "-c", "exit 127"))["exit_code"] == 127


async def test_the_number_of_processes_counts_from_what_runs_already(shell):
    shell.rules = ShellRules(limits={"max_processes": 7})
    [soft, _] = (await shell(sys.executable, "-c", show("NPROC")))["stdout"]["NPROC"]
    assert soft > 7


async def test_a_file_past_the_limit_ends_the_writer(shell, tmp_path):
    shell.rules = ShellRules(limits={"max_file_bytes": 1000})
    answer = await shell("dd", "if=/dev/zero", f"of={tmp_path / 'f'}", "bs=5000", "count=1")
    assert answer["exit_code"] != 0
    assert (tmp_path / "f").stat().st_size == 1000


async def test_core_dumps_are_off_without_any_limits(shell):
    # The command waits for input, so that the limit is set before it looks.
    code = f"import sys; sys.stdin.read(); {show('CORE')}"
    assert (await shell(sys.executable, "-c", code, stdin="x"))["stdout"] == {"CORE": [0, 0]}


async def test_limits_that_nothing_enforces_are_reported(shell):
    shell.rules = ShellRules(limits={"max_cpu_percent": 50})
    await shell("true")
    assert shell.context.log.records == [("warning", "shell_limits_not_enforced", {"limits": ["max_cpu_percent"]})]


def test_a_limit_above_what_the_process_may_have_is_lowered(monkeypatch):
    calls = []

    def prlimit(pid, kind, value=None):
        calls.append((kind, value))
        return (5, 9)

    monkeypatch.setattr(limits.resource, "prlimit", prlimit)
    limits.apply_limits(1, {"max_cpu_seconds": 100})
    limits.apply_limits(1, {"max_cpu_seconds": 5})
    assert [value for kind, value in calls if kind == limits.resource.RLIMIT_CPU and value] == [(9, 9), (5, 6)]


def test_a_process_that_is_gone_cannot_be_limited():
    with pytest.raises(ActionError):
        limits.apply_limits(2**22 + 1, {"max_open_files": 5})
