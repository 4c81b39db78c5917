"""What is started is decided by the author: names, lines, directories and variables that look like code are none."""

from __future__ import annotations

import json
import sys

import pytest

pytestmark = pytest.mark.anyio

#: Names that are no program: without `shell` they are looked up as they are, and nothing of that name is there.
COMMANDS = [
    "true; touch @", "true && touch @", "true|touch @", "true\ntouch @", "$(touch @)", "`touch @`", "touch @", "touch\t@", "touch${IFS}@",
    "true #", "'true'", '"true"', "true\\", "~/true", "$0", "$SHELL", "${SHELL}", "-c", "--", "*", "t?ue", "[t]rue", "{true,false}", "(true)",
    "!true", ">@", "<@", "true>@", "A=1 true", ". @", "eval", "exec true", "alias", "cd", "\ufefftrue", "tr\u200bue", "true\r", " true",
    "true ", "\uff54rue", "./no-such-file", "../../../../no-such", "/bin/true; touch @", "/bin/true touch @", "/bin/true\n", "%SystemRoot%",
]  # fmt: skip

#: Names and values of variables that make some program or shell run something, when it believes in them.
VARIABLES = {
    "ENV": "@.sh", "BASH_ENV": "@.sh", "SHELLOPTS": "xtrace", "PS4": "$(touch @)", "PS1": "$(touch @)", "PROMPT_COMMAND": "touch @",
    "IFS": "/", "CDPATH": "/", "HOME": "$(touch @)", "BASH_FUNC_echo%%": "() { touch @; }", "echo": "() { touch @; }",
    "BASH_FUNC_x()": "() { :;}; touch @", "x": "() { :;}; touch @", "LD_PRELOAD": "/no/such/library.so", "LD_LIBRARY_PATH": "/no/such",
    "LD_AUDIT": "/no/such/audit.so", "PYTHONSTARTUP": "@.py", "PYTHONINSPECT": "", "PAGER": "touch @", "EDITOR": "touch @",
    "GIT_SSH_COMMAND": "touch @", "MAIL": "$(touch @)", "MAILPATH": "/no/such?$(touch @)", "FCEDIT": "touch @", "OLDPWD": "$(touch @)",
    "PWD": "$(touch @)", "LC_ALL": "C; touch @", "TERM": "$(touch @)", "A B": "$(touch @)", "A;touch @": "x", "$(touch @)": "x",
    "`touch @`": "x", "A\ntouch @": "x", "é": "$(touch @)", "-c": "touch @", "1": "touch @", "*": "touch @", "\\": "touch @",
}  # fmt: skip

#: Names of directories to run in, which exist and are entered as they are.
DIRECTORIES = [
    "; touch here", "$(touch here)", "`touch here`", "a b", "'", '"', "a\nb", "*", "-", "--", "-rf", "~", "\\", "#", "&", "|", ">here",
    "\u202e", "é", "%s", "$HOME", "${IFS}", "{a,b}", "!!", "(x)",
]  # fmt: skip


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def canary(tmp_path):
    """The file that must never appear; who runs a script of that name in its place makes it appear, too."""
    path = tmp_path / "canary"
    for suffix, text in ((".sh", f"touch {path}\n"), (".py", f"open({str(path)!r}, 'w')\n")):
        (tmp_path / f"canary{suffix}").write_text(text)
    yield path
    assert not path.exists()


def planted(value, canary):
    """Return a value with the path of the canary in every text of it."""
    return json.loads(json.dumps(value).replace("@", str(canary)))


def test_the_tables_are_as_long_as_they_should_be(capsys):
    counts = {"commands": len(COMMANDS), "variables": len(VARIABLES), "directories": len(DIRECTORIES)}
    with capsys.disabled():
        sys.stdout.write(f"\nshell starts: {sum(counts.values())} vectors {counts}\n")
    assert sum(counts.values()) >= 100


async def test_a_command_is_a_name_and_never_a_line(shell, canary, cwd):
    for each in COMMANDS:
        error = await shell.fails(planted(each, canary), "x", cwd=str(cwd))
        assert (error.code, error.retryable) == ("EXECUTION_ERROR", False), each
        assert not canary.exists(), each


async def test_a_program_with_a_hostile_name_is_that_program(shell, canary, tmp_path):
    for number, each in enumerate(DIRECTORIES):
        program = tmp_path / f"p{number}" / f"x{each}".replace("/", "_")
        program.parent.mkdir()
        program.write_text('#!/bin/sh\nprintf "%s|" "$0" "$@"\n')
        program.chmod(0o755)
        answer = await shell(str(program), "; touch here", cwd=str(program.parent))
        assert answer["stdout_raw"] == f"{program}|; touch here|", each
        assert list(program.parent.iterdir()) == [program], each


async def test_a_directory_with_a_hostile_name_is_entered(shell, tmp_path):
    for each in DIRECTORIES:
        place = tmp_path / each
        place.mkdir()
        for given in ({"cwd": str(place)}, {"workdir": str(place)}):
            answer = await shell("pwd", shell=True, parse_json=False, **given)
            assert answer["stdout"] == f"{place}\n", each
        assert list(place.iterdir()) == [], each
        error = await shell.fails("pwd", cwd=f"{place}/{each}")
        assert (error.code, error.details["errno"]) == ("EXECUTION_ERROR", "ENOENT"), each
        assert list(place.iterdir()) == [], each


async def test_a_variable_is_text_to_the_command_and_nothing_to_the_shell(shell, canary, cwd):
    show = "import os, sys; sys.stdout.write(repr(os.environb.get(os.fsencode(sys.argv[1]))))"
    for name, value in planted(VARIABLES, canary).items():
        answer = await shell(sys.executable, "-c", show, name, env={name: value}, cwd=str(cwd))
        expected = str(cwd) if name == "PWD" and value is None else value
        assert answer["stdout"] == repr(expected.encode()), name
        answer = await shell("/bin/echo plain", "$(touch x)", shell=True, env={name: value}, cwd=str(cwd))
        assert answer["stdout"].endswith("plain $(touch x)\n"), name
        assert not canary.exists(), name


async def test_what_no_process_can_be_given_is_refused_in_every_place(shell, canary):
    for bad in ("\0", "a\0b", "\0touch @", "\ud800", "a\udfffb"):
        for given in (
            {"command": f"echo{bad}"}, {"command": "echo", "args": [bad]}, {"command": "echo", "env": {"A": bad}},
            {"command": "echo", "env": {f"A{bad}": "x"}}, {"command": "echo", "args": [bad], "shell": True},
            {"command": f"echo {bad}", "shell": True},
        ):  # fmt: skip
            error = await shell.fails(**{"command": None, **given})
            assert (error.code, error.retryable) == ("VALIDATION_ERROR", False), given
        assert (await shell.fails("echo", cwd=f"/{bad}")).code in ("PATH_DENIED", "EXECUTION_ERROR")


@pytest.mark.parametrize("name", ["", "A=B", "=", "A=\n"])
async def test_names_that_no_environment_can_hold_are_refused(shell, name):
    assert (await shell.fails("env", env={name: "x"})).code == "VALIDATION_ERROR"


async def test_a_directory_of_the_workflow_does_not_lend_its_programs(shell, canary, cwd, tmp_path):
    for name in ("ls", "echo", "true"):
        trap = tmp_path / "traps" / name
        trap.parent.mkdir(exist_ok=True)
        trap.write_text(f"#!/bin/sh\ntouch {canary}\n")
        trap.chmod(0o755)
    traps = str(tmp_path / "traps")
    for path in (
        "",
        ".",
        ":",
        "::",
        "./",
        "traps",
        "../traps",
        "~",
        ":/bin",
        "/bin:",
        "/bin::/usr/bin",
        ".:/bin",
        f"/bin:{traps[1:]}",
    ):
        if any(each in ("/bin", "/usr/bin") for each in path.split(":")):
            assert "true" in (await shell("ls", env={"PATH": path}, cwd=traps, parse_json=False))["stdout"], path
        else:
            assert (await shell.fails("ls", env={"PATH": path}, cwd=traps)).details["errno"] == "ENOENT", path
        assert not canary.exists(), path


@pytest.mark.parametrize(
    "line", ["true;", "true &", "true |", "true &&\n", "true ||  ", "(", "A=1", "A=1 B=2", "> out", ">out", "2>&1", "> out 2>&1", "!", "time",
             "true; A=1", "true\nA=1", "true && > out", "if true; then", "while true; do", "if", "if !", "true; {", " ", "\t", "\n", "< in A=1",
             "echo $(", "true &> out", "A=$(date)", "A='x y'", 'A="x y"', "A=`date -u`", '> "a b"', "A=$((1+1))", "A=\\ x", "A=1\xa0x",
             'A="$(echo "x y")"', "A=${B:-x y}", "A=$(case x in x) echo;; esac)", "echo # don't\nA=1", "cat <<E\nit's\nE\nA=1", "A=\\\n1",
             "A=$(echo ')' y)", "a[0]=1", "A=(1 2)", 'echo "', "echo '", "echo `", "echo ${", "echo \\", "case x in x)", "f() {", "true; A=$(true; echo y)", "{f}> out"],
)  # fmt: skip
async def test_a_line_whose_arguments_would_be_the_command_is_refused(shell, cwd, line):
    error = await shell.fails(line, "touch", "here", shell=True, cwd=str(cwd))
    assert (error.code, error.retryable) == ("VALIDATION_ERROR", False)


@pytest.mark.parametrize(
    "line", ["(echo", "echo <<E", "echo #", "for x in", "case x in", "f() { echo; }"],
)  # fmt: skip
async def test_a_line_that_is_not_whole_runs_no_argument(shell, cwd, line):
    await shell(line, "touch here", "touch", "here", shell=True, cwd=str(cwd))


@pytest.mark.parametrize(
    ("line", "printed"), [("echo", "a;b\n"), ("A=1 echo", "a;b\n"), ("true; echo", "a;b\n"), ("2>&1 echo", "a;b\n"), ("echo x\\;", "x; a;b\n"),
                          ("> /dev/null true; echo", "a;b\n"), ("! echo", "a;b\n"), ("echo do", "do a;b\n"), ("echo a=1", "a=1 a;b\n"),
                          ("A='x y' echo", "a;b\n"), ("A=$(echo x y) echo", "a;b\n"), ('echo "x; A=1"', "x; A=1 a;b\n"), ("echo 'x' \\\n y", "x y a;b\n"),
                          ('"$(echo "echo")"', "a;b\n"), ("true # don't\necho", "a;b\n"), ("echo $(A=1)", "a;b\n"), ("echo x#y", "x#y a;b\n")],
)  # fmt: skip
async def test_a_line_that_ends_in_a_command_takes_arguments(shell, line, printed):
    assert (await shell(line, "a;b", shell=True))["stdout"] == printed
