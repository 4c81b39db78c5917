import gc
import os
import select
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from opcode_jq import documents
from opcode_jq.evaluator import JqEvaluator
from opcode_jq.sandbox import MAX_OUTPUTS, Sandbox, WorkerLostError
from opcode_kernel import ExpressionError


@pytest.fixture
def hasty():
    evaluator = JqEvaluator(seconds=0.2)
    yield evaluator
    evaluator.close()


def worker_of(evaluator):
    return evaluator._sandbox._process


@pytest.mark.parametrize(
    "text",
    ["[range(1e9)] | length", "def f: f; f", "last(repeat(1))", '"a" | until(false; .)', "[limit(1e9; repeat(1))]"],
)
def test_a_program_that_does_not_end_is_killed_in_time(hasty, text):
    program = hasty.compile(text)
    started = time.monotonic()
    with pytest.raises(ExpressionError, match=r"ends within 0\.2 s"):
        program.evaluate({})
    assert time.monotonic() - started < 1.5
    assert worker_of(hasty) is None


def test_a_backtracking_pattern_is_killed_in_time(hasty):
    with pytest.raises(ExpressionError) as caught:
        hasty.compile(f'"{"a" * 200}b" | test("^(a|a)+$")').evaluate({})
    assert caught.value.code == "EXECUTION_ERROR"


def test_after_a_kill_the_next_program_runs_in_a_new_worker(hasty):
    program = hasty.compile("1 + 1")
    assert program.evaluate({}) == 2
    first = worker_of(hasty).pid
    with pytest.raises(ExpressionError):
        hasty.compile("def f: f; f").evaluate({})
    assert program.evaluate({}) == 2
    assert worker_of(hasty).pid != first


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux limits the address space")
def test_a_program_that_needs_too_much_memory_ends_only_its_worker():
    evaluator = JqEvaluator(seconds=20)
    with pytest.raises(ExpressionError, match="less memory"):
        evaluator.compile('"x" * 400000000 | [. + "a", . + "b", . + "c"] | length').evaluate({})
    assert evaluator.compile("1 + 1").evaluate({}) == 2
    evaluator.close()


def test_too_many_outputs_and_too_large_results_are_refused(jq):
    assert len(jq.compile(f"range({MAX_OUTPUTS})").outputs({})) == MAX_OUTPUTS
    with pytest.raises(ExpressionError, match="at most 100000 outputs"):
        jq.compile(f"range({MAX_OUTPUTS + 1})").outputs({})
    with pytest.raises(ExpressionError, match="at most 16777216 bytes"):
        jq.compile('"x" * 20000000').outputs({})
    with pytest.raises(ExpressionError, match="at most 300000 values, found 400001"):
        jq.compile("[range(400000)]").outputs({})
    assert len(jq.compile('"1,[2],{3}," * 100000').evaluate({})) == 1_000_000  # commas in a text are no values


def test_input_and_output_larger_than_any_pipe_pass(jq):
    items = [{"id": n, "text": "y" * 50} for n in range(20_000)]
    assert jq.compile("[.inputs.items[] | .]").evaluate({"inputs": {"items": items}}) == items


def test_a_worker_that_died_while_idle_is_replaced(hasty):
    assert hasty.compile("1 + 1").evaluate({}) == 2
    process = worker_of(hasty)
    os.kill(process.pid, signal.SIGKILL)
    process.wait(5)
    assert hasty.compile("1 + 2").evaluate({}) == 3


def test_the_worker_has_no_environment_and_one_is_shared_by_all_threads(monkeypatch, jq):
    monkeypatch.setenv("OPCODE_TEST_SECRET", "hunter22")
    sandbox = Sandbox()
    # past the screening, to see what libjq itself would find
    assert sandbox.ask('$ENV | keys - ["LC_CTYPE", "LD_LIBRARY_PATH"]', b"{}", time.monotonic() + 1.0) == ("o", b"[[]]")
    process, answers = sandbox._process, []

    def ask(n):
        answers.append(sandbox.ask(f"{n} + 0", b"{}", time.monotonic() + 5.0))

    threads = [threading.Thread(target=ask, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(answers) == [("o", f"[{n}]".encode()) for n in range(8)]
    assert sandbox._process is process
    sandbox.close()


def test_a_program_does_not_pay_for_the_time_that_another_thread_takes():
    sandbox, asked, answers = Sandbox(), threading.Event(), []
    sandbox.ask("1", b"{}", time.monotonic() + 5.0)

    def endless():
        with pytest.raises(TimeoutError):
            sandbox.ask("last(repeat(1))", b"{}", time.monotonic() + 0.5)
        asked.set()

    thread = threading.Thread(target=endless)
    thread.start()
    while not sandbox._lock.locked():
        time.sleep(0.001)
    answers.append(sandbox.ask("2", b"{}", time.monotonic() + 0.4))
    assert asked.wait(5)
    thread.join()
    assert answers == [("o", b"[2]")]
    sandbox.close()


def test_the_worker_ends_with_its_owner():
    evaluator = JqEvaluator()
    assert evaluator.compile("1 + 1").evaluate({}) == 2
    process = worker_of(evaluator)
    del evaluator
    gc.collect()
    assert process.poll() is not None


def test_the_worker_ends_with_the_interpreter_and_leaves_no_warning():
    code = (
        "from opcode_jq.evaluator import JqEvaluator\n"
        "evaluator = JqEvaluator()\n"
        "assert evaluator.compile('1 + 1').evaluate({}) == 2\n"
        "print(evaluator._sandbox._process.pid)\n"
    )
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr == ""
    with pytest.raises(ProcessLookupError):
        os.kill(int(done.stdout), 0)


def test_a_worker_that_cannot_be_started_is_an_error_with_the_reason(monkeypatch):
    monkeypatch.setattr(sys, "executable", "/nonexistent/python")
    with pytest.raises(ExpressionError, match="expected to start a worker process") as caught:
        JqEvaluator().compile("1 + 1")
    assert caught.value.code == "EXECUTION_ERROR"


def test_a_killed_worker_is_gone_and_leaves_nothing_behind(hasty):
    assert hasty.compile("1 + 1").evaluate({}) == 2
    process = worker_of(hasty)
    with pytest.raises(ExpressionError):
        hasty.compile("last(repeat(1))").evaluate({})
    assert process.wait(10) == -signal.SIGKILL
    with pytest.raises(ProcessLookupError):
        os.kill(process.pid, 0)


def test_a_worker_lost_to_what_earlier_programs_left_behind_is_replaced_once(monkeypatch, hasty):
    program = hasty.compile("1 + 1")
    first, exchange, lost = worker_of(hasty), Sandbox._exchange, []

    def losing(process, request, deadline):
        if process is first:
            lost.append(process)
            raise WorkerLostError
        return exchange(process, request, deadline)

    monkeypatch.setattr(Sandbox, "_exchange", staticmethod(losing))
    assert program.evaluate({}) == 2
    assert lost == [first]


def test_the_worker_ends_itself_when_its_parent_is_gone():
    sandbox = Sandbox()
    assert sandbox.ask("1", b"{}", time.monotonic() + 1.0) == ("o", b"[1]")
    process = sandbox._process
    process.stdin.close()
    assert process.wait(5) == 0
    sandbox.close()


PARENT = """
from opcode_jq.evaluator import JqEvaluator
evaluator = JqEvaluator(seconds=1)
evaluator.compile("1 + 1").evaluate({})
program = evaluator.compile(PROGRAM)
print(evaluator._sandbox._process.pid, flush=True)
program.evaluate({})
print("done", flush=True)
input()
"""


@pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="the end of another's child cannot be awaited on this system")
@pytest.mark.parametrize("program", ["last(repeat(1))", "2 + 2"])
def test_the_worker_does_not_survive_a_kill_of_the_daemon(program):
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT.replace("PROGRAM", repr(program))], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    worker = int(parent.stdout.readline())
    if program == "2 + 2":  # an idle worker; the other one is busy
        assert parent.stdout.readline() == b"done\n"
    end = os.pidfd_open(worker)
    parent.kill()
    parent.wait()
    ready, _, _ = select.select([end], [], [], 10)
    os.close(end)
    parent.stdin.close()
    parent.stdout.close()
    assert ready, "the worker is still there"


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux shows what a process has")
def test_the_worker_inherits_neither_environment_nor_descriptors(monkeypatch, tmp_path):
    monkeypatch.setenv("OPCODE_VAULT_KEY", "hunter22")
    with (tmp_path / "secret").open("w") as secret:
        os.set_inheritable(secret.fileno(), True)
        sandbox = Sandbox()
        assert sandbox.ask("1", b"{}", time.monotonic() + 5.0) == ("o", b"[1]")
        process = Path(f"/proc/{sandbox._process.pid}")
        environment = (process / "environ").read_bytes()
        assert {entry.partition(b"=")[0] for entry in environment.split(b"\0") if entry} <= {b"LD_LIBRARY_PATH"}
        assert sorted(path.name for path in (process / "fd").iterdir()) == ["0", "1", "2"]
        assert str((process / "cwd").readlink()) == "/"
        sandbox.close()


def test_the_worker_opens_no_file_even_if_a_program_gets_past_the_screening(tmp_path):
    (tmp_path / "data.json").write_text('"hunter22"')
    (tmp_path / "code.jq").write_text('def found: "hunter22";')
    sandbox = Sandbox()
    for program in (
        f'import "data" as $data {{search: "{tmp_path}"}}; $data',
        f'import "code" as code {{search: "{tmp_path}"}}; code::found',
        f'include "code" {{search: "{tmp_path}"}}; found',
    ):  # fmt: skip
        kind, answer = sandbox.ask(program, b"{}", time.monotonic() + 5.0)
        assert kind == "c"
        assert b"hunter22" not in answer
    sandbox.close()


def test_an_input_that_takes_too_long_to_write_down_is_given_up(monkeypatch):
    evaluator = JqEvaluator(seconds=0.2)
    program = evaluator.compile(". | length")
    monkeypatch.setattr(documents, "_text", lambda value: time.sleep(0.01) or "1")
    with pytest.raises(ExpressionError, match="an input that is read within"):
        program.evaluate({"inputs": dict.fromkeys(map(str, range(1000)), 1)})
    evaluator.close()
