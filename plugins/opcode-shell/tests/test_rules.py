import os
import resource
import sys
from pathlib import Path

import pytest

from opcode_kernel import PathRules, ShellRules

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend():
    return "asyncio"


def script(path, text="#!/bin/sh\necho ran\n", mode=0o755):
    path.write_text(text)
    path.chmod(mode)
    return str(path)


@pytest.mark.parametrize(
    "given",
    [{}, {"command": ""}, {"command": "a\0b"}, {"command": "echo", "args": ["a\0b"]}, {"command": "echo", "args": "x"},
     {"command": "echo", "args": ["\ud800"]}, {"command": "echo", "env": {"A": "\ud800"}}, {"command": "echo", "timeout": 0},
     {"command": "echo", "timeout": "soon"}, {"command": "echo", "timeout": True}, {"command": "echo", "shell": "maybe"},
     {"command": "echo", "cwd": ""}, {"command": "echo", "inherit_env": 3}],
)  # fmt: skip
async def test_bad_parameters_are_validation_errors(shell, given):
    assert (await shell.fails(**{"command": None, **given})).code == "VALIDATION_ERROR"


async def test_the_switch_of_the_operator_wins(shell):
    shell.rules = ShellRules(enabled=False)
    error = await shell.fails("echo")
    assert (error.code, error.retryable) == ("PERMISSION_DENIED", False)
    assert "shell.enabled" in error.message


async def test_what_is_not_there_is_a_final_error(shell, tmp_path):
    for command in ("no-such-command-here", str(tmp_path / "none"), "./none"):
        error = await shell.fails(command)
        assert (error.code, error.retryable, error.details["errno"]) == ("EXECUTION_ERROR", False, "ENOENT")


async def test_what_is_not_executable_is_a_final_error(shell, tmp_path):
    for command in (script(tmp_path / "data", mode=0o644), str(tmp_path)):
        error = await shell.fails(command)
        assert (error.code, error.retryable, error.details["errno"]) == ("EXECUTION_ERROR", False, "EACCES")


async def test_running_out_of_descriptors_may_be_tried_again(shell):
    await shell("true")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    spare = os.open("/", os.O_RDONLY)
    os.close(spare)
    resource.setrlimit(resource.RLIMIT_NOFILE, (spare + 2, hard))
    try:
        error = await shell.fails("echo")
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert (error.code, error.retryable, error.details["errno"]) == ("EXECUTION_ERROR", True, "EMFILE")


async def test_an_engine_whose_own_directory_is_gone_asks_for_another_one(shell, tmp_path, monkeypatch):
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    error = await shell.fails("pwd")
    assert (error.code, error.retryable) == ("EXECUTION_ERROR", False)
    assert (await shell("pwd", cwd="/"))["stdout"] == "/\n"


async def test_the_current_directory_is_not_searched(shell, tmp_path):
    script(tmp_path / "tool")
    for path in ("", ".", ":", "bin"):
        error = await shell.fails("tool", cwd=str(tmp_path), env={"PATH": path})
        assert error.details["errno"] == "ENOENT"


async def test_names_are_looked_up_in_the_path_of_the_child(shell, tmp_path):
    script(tmp_path / "tool")
    assert (await shell("tool", env={"PATH": f"/nowhere:{tmp_path}"}))["stdout"] == "ran\n"


async def test_a_relative_path_is_taken_from_the_directory_of_the_command(shell, tmp_path):
    script(tmp_path / "tool")
    assert (await shell("./tool", cwd=str(tmp_path)))["stdout"] == "ran\n"


async def test_a_missing_directory_is_a_final_error(shell, tmp_path):
    (tmp_path / "file").write_text("")
    for name, code in (("none", "ENOENT"), ("file", "ENOTDIR")):
        error = await shell.fails("pwd", cwd=str(tmp_path / name))
        assert (error.code, error.retryable, error.details["errno"]) == ("EXECUTION_ERROR", False, code)


async def test_a_directory_outside_the_allowed_paths_is_denied(shell, tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "link").symlink_to(tmp_path)
    shell.paths = PathRules(read_only=(str(tmp_path / "in"),))
    assert (await shell.fails("pwd", cwd=str(tmp_path))).code == "PATH_DENIED"
    assert (await shell.fails("pwd", workdir=str(tmp_path / "in" / "link"))).code == "PATH_DENIED"
    assert (await shell("pwd", cwd=str(tmp_path / "in")))["exit_code"] == 0


@pytest.mark.parametrize("name", ["cwd", "workdir"])
async def test_the_command_runs_in_the_given_directory(shell, tmp_path, name):
    real = tmp_path.resolve()
    assert (await shell("pwd", **{name: str(tmp_path)}))["stdout"] == f"{real}\n"
    assert (await shell("printenv", "PWD", **{name: str(tmp_path)}))["stdout"] == f"{real}\n"


async def test_without_a_directory_the_command_runs_where_the_daemon_does(shell):
    assert (await shell("pwd"))["stdout"] == f"{Path.cwd()}\n"


async def test_only_listed_commands_may_start(shell, tmp_path):
    shell.rules = ShellRules(allow_commands=("echo", sys.executable))
    for command in ("cat", script(tmp_path / "tool")):
        error = await shell.fails(command)
        assert (error.code, error.retryable) == ("PERMISSION_DENIED", False)
    assert (await shell("echo", "x"))["stdout"] == "x\n"
    assert (await shell(sys.executable, "-c", "print(1)"))["stdout"] == 1


async def test_a_program_that_borrows_an_allowed_name_is_refused(shell, tmp_path):
    script(tmp_path / "echo")
    shell.rules = ShellRules(allow_commands=("echo",))
    assert (await shell.fails("echo", env={"PATH": str(tmp_path)})).code == "PERMISSION_DENIED"
    assert (await shell.fails("./echo", cwd=str(tmp_path))).code == "PERMISSION_DENIED"


async def test_the_shell_must_be_listed_like_any_other_command(shell):
    shell.rules = ShellRules(allow_commands=("echo",))
    assert (await shell.fails("echo hi", shell=True)).code == "PERMISSION_DENIED"
    shell.rules = ShellRules(allow_commands=("/bin/sh",))
    assert (await shell("echo hi", shell=True))["stdout"] == "hi\n"


async def test_the_key_of_the_vault_does_not_reach_a_child(shell, monkeypatch):
    monkeypatch.setenv("OPCODE_VAULT_KEY", "correct horse")
    for inherit in (True, False, ["OPCODE_VAULT_KEY", "PATH"]):
        answer = await shell("printenv", "OPCODE_VAULT_KEY", inherit_env=inherit)
        assert (answer["exit_code"], answer["stdout"]) == (1, "")


async def test_variables_are_added_as_text(shell):
    answer = await shell("printenv", "N", env={"N": 1048576.0}, inherit_env="false")
    assert answer["stdout"] == 1048576
