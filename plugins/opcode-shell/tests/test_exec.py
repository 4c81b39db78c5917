import sys

import anyio
import pytest

import opcode_shell
from opcode_kernel import ShellRules

pytestmark = pytest.mark.anyio


async def test_an_interpreter_that_is_missing_is_a_final_error(shell, tmp_path):
    (tmp_path / "x").write_text("#!/no/such/interpreter\n")
    (tmp_path / "x").chmod(0o755)
    error = await shell.fails(str(tmp_path / "x"))
    assert (error.code, error.retryable) == ("EXECUTION_ERROR", False)


@pytest.mark.parametrize("command", ["ls -la", "/bin/echo hi"])
async def test_a_line_without_a_shell_is_an_error_that_says_where_its_words_belong(shell, command):
    error = await shell.fails(command)
    assert (error.code, error.retryable, error.details["errno"]) == ("EXECUTION_ERROR", False, "ENOENT")
    assert "is not split into words: put those after the first into args, or set shell to true" in error.message
    assert "not split" not in (await shell.fails(command.partition(" ")[0] + "-none")).message


def test_the_descriptor_says_who_gets_the_arguments_of_a_line():
    schema = opcode_shell.opcode_actions()[0].describe()["input_schema"]["properties"]
    assert "the last command of the line gets all of them" in schema["args"]["description"]
    assert "args then go to the last command of the line" in schema["shell"]["description"]
    assert "those after the first go into args" in schema["command"]["description"]


async def test_arguments_too_long_for_the_system_are_a_final_error(shell):
    error = await shell.fails("echo", "x" * 10_000_000)
    assert (error.code, error.retryable, error.details["errno"]) == ("EXECUTION_ERROR", False, "E2BIG")


async def test_a_failing_command_is_a_result(shell):
    answer = await shell("sh", "-c", "echo out; echo err >&2; exit 3")
    duration = answer.pop("duration_ms")
    assert 0 <= duration < 10_000
    assert answer == {
        "stdout": "out\n", "stdout_raw": "out\n", "stderr": "err\n", "exit_code": 3, "killed": False, "signal": None,
        "stdout_truncated": False, "stderr_truncated": False,
    }  # fmt: skip


async def test_a_failing_command_is_an_error_on_request(shell):
    error = await shell.fails("sh", "-c", "echo out; echo err >&2; exit 3", fail_on_nonzero=True)
    assert (error.code, error.retryable) == ("EXECUTION_ERROR", True)
    assert (error.details["exit_code"], error.details["stdout"], error.details["stderr"]) == (3, "out\n", "err\n")
    assert (await shell("true", fail_on_nonzero=True))["exit_code"] == 0


async def test_an_error_carries_the_end_of_long_output(shell):
    error = await shell.fails("head -c 100000 /dev/zero; echo; echo end; exit 1", shell=True, fail_on_nonzero=True)
    assert len(error.details["stdout"]) == 65_536
    assert error.details["stdout"].endswith("end\n")
    assert error.details["stdout_truncated"] is True


async def test_death_by_a_signal_is_named(shell):
    answer = await shell("sh", "-c", "kill -SEGV $$")
    assert (answer["exit_code"], answer["killed"], answer["signal"]) == (-1, False, "SIGSEGV")
    error = await shell.fails("sh", "-c", "kill -USR1 $$", fail_on_nonzero=True)
    assert (error.code, "SIGUSR1" in error.message) == ("EXECUTION_ERROR", True)


@pytest.mark.parametrize(
    ("printed", "value"),
    [("null", None), ("3", 3), ('{"a":1}', {"a": 1}), ("{} {}", "{} {}"), ("NaN", "NaN"), ("", "")],
)
async def test_output_that_is_one_document_becomes_its_value(shell, printed, value):
    answer = await shell("printf", "%s", printed)
    assert (answer["stdout"], answer["stdout_raw"]) == (value, printed)


async def test_parsing_can_be_switched_off(shell):
    assert (await shell("echo", "3", parse_json=False))["stdout"] == "3\n"


async def test_a_long_document_is_parsed_too(shell):
    answer = await shell(sys.executable, "-c", "print(list(range(100000)))")
    assert answer["stdout"][-1] == 99_999


async def test_output_past_the_cap_is_dropped_while_the_command_runs_on(shell):
    shell.rules = ShellRules(max_output_bytes=10)
    answer = await shell(
        "head -c 1000000 /dev/zero | tr '\\0' 1; head -c 11 /dev/zero >&2; echo done >&2; exit 4", shell=True
    )
    assert (answer["stdout"], answer["stdout_truncated"]) == ("1111111111", True)
    assert (len(answer["stderr"]), answer["stderr_truncated"], answer["exit_code"]) == (10, True, 4)


async def test_output_of_exactly_the_cap_is_whole(shell):
    shell.rules = ShellRules(max_output_bytes=4)
    answer = await shell("printf", "1234")
    assert (answer["stdout"], answer["stdout_truncated"]) == (1234, False)


async def test_bytes_that_are_no_text_are_replaced(shell):
    assert (await shell("printf", "caf\\351"))["stdout"] == "caf\ufffd"


@pytest.mark.parametrize(
    ("given", "text"), [("a\nb", "a\nb"), ({"k": [1, 2.0]}, '{"k":[1,2]}'), (None, "null"), ("", ""), ("a\ud800", "a?")]
)
async def test_standard_input_is_text_or_json(shell, given, text):
    assert (await shell("cat", stdin=given))["stdout_raw"] == text


async def test_without_input_standard_input_is_empty(shell):
    assert (await shell("cat"))["stdout"] == ""


async def test_long_input_and_output_flow_at_the_same_time(shell):
    text = "0123456789abcde\n" * 100_000
    assert (await shell("cat", stdin=text))["stdout_raw"] == text


async def test_a_command_that_does_not_read_its_input_is_no_error(shell):
    answer = await shell("true", stdin="x" * 1_000_000)
    assert (answer["exit_code"], answer["killed"]) == (0, False)
    answer = await shell("sh", "-c", "exec <&-; echo closed", stdin="x" * 1_000_000)
    assert answer["stdout"] == "closed\n"


async def test_arguments_are_not_split_or_parsed(shell):
    assert (await shell("printf", "%s|", "a b", "$HOME", ";id", 3, True))["stdout"] == "a b|$HOME|;id|3|true|"


@pytest.mark.parametrize("hostile", ["a; id", "$(id)", "`id`", "' ; id; '", "a\nid"])
async def test_arguments_of_a_command_line_are_never_code(shell, hostile):
    assert (await shell("echo", hostile, shell=True))["stdout"] == f"{hostile}\n"
    assert (await shell("echo\n", hostile, shell=True))["stdout"] == f"{hostile}\n"


@pytest.mark.parametrize("line", ["echo a;", "echo a & ", "echo a |", "true &&\n", "false ||"])
async def test_a_line_after_which_an_argument_would_be_run_is_refused(shell, line):
    error = await shell.fails(line, "id", shell=True)
    assert (error.code, error.retryable) == ("VALIDATION_ERROR", False)


async def test_a_line_may_end_with_an_escaped_operator_or_have_no_arguments(shell, tmp_path):
    find = f"find {tmp_path} -exec echo {{}} \\;"
    assert (await shell(find, "-exec", "echo", "more", ";", shell=True))["stdout"] == f"{tmp_path}\nmore\n"
    assert (await shell("echo a;", shell=True))["stdout"] == "a\n"


async def test_a_command_line_without_arguments_is_left_as_it_is(shell):
    assert (await shell("echo a | tr a b # comment", shell=True))["stdout"] == "b\n"


async def test_a_command_in_a_pipeline_sees_its_reader_leave(shell):
    assert (await shell("yes | head -n 1", shell=True))["stdout"] == "y\n"


async def test_many_commands_run_side_by_side(shell):
    answers = []

    async def one(number):
        answers.append((await shell("echo", str(number)))["stdout"])

    async with anyio.create_task_group() as tasks:
        for number in range(20):
            tasks.start_soon(one, number)
    assert sorted(answers) == list(range(20))
