"""What a definition is warned of, as its author sees it."""

import pytest

import opcode_shell
import opcode_steps
from opcode_kernel import MemoryStore, open_engine, registry_of
from opcode_shell.lint import lint

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend():
    return "asyncio"


def warned(**params):
    return [where for where, _ in lint(params)]


@pytest.mark.parametrize("params", [{}, {"command": 3}, {"command": None, "args": "x", "shell": []}, {"args": [1, None, {"a": []}, []]},
                                    {"command": "a\0b c/d", "cwd": 7}, {"command": "a b", "env": "x"}, {"command": "/a b" * 9999},
                                    {"command": "\ud800 x", "args": ["${{"]}])  # fmt: skip
def test_any_json_can_be_looked_at(params):
    assert all(isinstance(where, str) and text for where, text in lint(params))


@pytest.mark.parametrize(
    "command", ["echo ${{inputs.x}}", "${{steps.a.output}}", "ls '${{ inputs.x }}'", "a \\${{x}} ${{inputs.y}}"]
)
def test_a_reference_in_a_command_line_is_risky(command):
    assert warned(command=command, shell=True) == ["command"]
    assert warned(command=command, shell="true") == ["command"]
    assert warned(command=command, shell="${{inputs.shell}}") == ["command"]
    assert warned(command=command, shell=False) == warned(command=command) == []


def test_a_constant_line_and_references_elsewhere_are_fine():
    assert (
        warned(
            command="echo a | tr a b",
            shell=True,
            args=["${{inputs.x}}"],
            stdin="${{inputs.x}}",
            env={"A": "${{inputs.x}}"},
        )
        == []
    )
    assert warned(command="echo \\${{inputs.x}}", shell=True) == []


@pytest.mark.parametrize(
    "item", ["${{loop.item}}", "${{ loop.item.name }}", "${{loop.parent.item}}.txt", " ${{loop.item}}"]
)
def test_an_item_of_a_loop_may_be_an_option(item):
    assert warned(command="rm", args=["-f", item]) == ["args[1]"]
    assert warned(command="rm", args=["-f", "--", item]) == []
    assert warned(command="rm", args=[f"./{item}", f"--name={item}"]) == []
    assert warned(command="rm -f", shell=True, args=[item]) == ["args[0]"]
    assert warned(command="rm -f --", shell=True, args=[item]) == []


def test_the_index_of_a_loop_and_other_references_are_no_items():
    assert (
        warned(
            command="echo", args=["${{loop.index}}", "${{inputs.x}}", "${{steps.loop.output}}", "x ${{loop.item}}", 3]
        )
        == []
    )


def test_a_command_with_blanks_that_is_no_file_is_a_line_without_a_shell(tmp_path):
    for command in ("ls -la", "echo\thi", "/bin/echo hi", "no such thing"):
        assert warned(command=command) == ["command"], command
        assert warned(command=command, shell=True) == [], command
    assert warned(command="ls") == warned(command="${{inputs.x}} y") == []
    program = tmp_path / "my tool"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    assert warned(command=str(program)) == []
    assert warned(command="./my tool", cwd=str(tmp_path)) == warned(command="./my tool", workdir=str(tmp_path)) == []
    assert warned(command="./my tool", cwd="/") == ["command"]
    assert warned(command="./my tool", cwd="${{inputs.dir}}") == warned(command="my tool", env={"PATH": "/x"}) == []


@pytest.mark.parametrize("line", ["echo a;", "echo a |", "(echo a)", "x=", "echo a > f; if"])
def test_a_line_that_will_be_refused_with_arguments_is_told_of_before(line):
    assert warned(command=line, shell=True, args=["x"]) == ["args"]
    assert warned(command=line, shell=True) == warned(command=line, shell=True, args=[]) == []


@pytest.mark.parametrize(
    ("line", "used"),
    [
        ('grep "$1" f | wc -l', "$1"),
        ("echo ${2:-x}", "${2:-x}"),
        ('for f in "$@"; do rm', "$@"),
        ('echo "it\'s $*" x', "$*"),
    ],
)
def test_a_line_that_places_its_arguments_itself_gets_them_twice(line, used):
    [(where, text)] = lint({"command": line, "shell": True, "args": ["x"]})
    assert where == "args"
    assert f"the line uses {used} itself" in text
    assert '"$@" is put after it' in text
    assert warned(command=line, shell=True) == []


@pytest.mark.parametrize(
    "line",
    ["awk '{print $1}'", 'awk "{print \\$1}"', "sh -c 'echo $1' sh", 'f() { echo "$1"; }; f', "set -- a; echo $1", "echo $# $0 $$ $x",
     "echo 'open $1", "cd /tmp && tar -cf out.tar"],
)  # fmt: skip
def test_what_only_looks_like_arguments_of_the_line_is_no_mistake(line):
    assert not [text for _, text in lint({"command": line, "shell": True, "args": ["x"]}) if "itself" in text]


async def test_the_author_is_told_when_a_template_is_defined():
    steps = [
        {"id": "line", "action": "shell.exec", "params": {"command": "echo ${{inputs.x}}", "shell": True}},
        {"id": "each", "type": "loop", "config": {"mode": "for_each", "over": ".inputs.items", "body": [
            {"id": "one", "action": "shell.exec", "params": {"command": "touch", "args": ["${{loop.item}}"]}},
        ]}},
        {"id": "words", "action": "shell.exec", "params": {"command": "ls -la"}},
    ]  # fmt: skip
    async with open_engine(MemoryStore(), registry_of(opcode_shell, opcode_steps)) as engine:
        report = engine.check({"steps": steps})
    found = {(issue.path, issue.pointer) for issue in report.warnings if "params" in issue.path}
    assert found == {
        ("steps[0].params.command", "/steps/0/params/command"),
        ("steps[1].config.body[0].params.args[0]", "/steps/1/config/body/0/params/args/0"),
        ("steps[2].params.command", "/steps/2/params/command"),
    }
