"""A value from outside never changes what is run: nothing hostile is executed, and every byte arrives where it was put.

In the values `@` stands for the path of a file that must never appear, and a file called `glob-me` lies where the command
runs. Each goes into every place a value may have: an argument, part of one, an argument of a command line, standard
input, and a variable.
"""

from __future__ import annotations

import json
import sys

import anyio
import pytest

import opcode_shell
import opcode_steps
from opcode_kernel import MemoryStore, canonical_text, open_engine, registry_of

pytestmark = pytest.mark.anyio

TOUCH = "touch @"

#: Ways to begin another command, each before and after which another text may stand.
SEPARATORS = [
    ";", "&", "&&", "|", "||", "|&", "\n", "\r\n", "\r", ";;", "&\n", "\n\n", "\x0b", "\x0c", "\u2028", "\u2029", "\x85", "\t;\t",
    " ; ", "%0a", "%3B", "\\n", "\\;", "^", ";#", "\x1b;", "\x7f;",
]  # fmt: skip

SUBSTITUTIONS = [
    "$(touch @)", "`touch @`", "${x:-$(touch @)}", "$((1+$(touch @)))", "$(( `touch @` ))", '"$(touch @)"', '"`touch @`"',
    "<(touch @)", ">(touch @)", "${IFS:0:$(touch @)}", "$[$(touch @)]", "@(touch @)", "a$(touch @)b", "a`touch @`b", "\\$(touch @)",
    "\\`touch @\\`", "$( touch @ )", "$(\ntouch @\n)", "${!x@P}", "$'\\x24(touch @)'", "${PATH:0:1}", "$(</etc/passwd)", "~root", "~",
    "$HOME", "${HOME}", "$0", "$$", "$?", "$#", "$*", "$@", "$1", "${1}", "${#}", "$-", "$!", "$_",
]  # fmt: skip

QUOTES = [
    "'", '"', "''", '""', "'; touch @ #", '"; touch @ #', "'; touch @; '", '"; touch @; "', "' && touch @ && '", "'$(touch @)'",
    '\'"$(touch @)"\'', "\\'; touch @; \\'", '\\"; touch @; \\"', "'\n touch @ \n'", '"\n touch @ \n"', "$'; touch @'", '$"; touch @"',
    "\\", "\\\\", "\\\n", "a\\", "'\\''; touch @; '\\''", '"\'"; touch @ #', "\u2018; touch @; \u2019", "\uff07; touch @; \uff07",
    "\u201c; touch @; \u201d", "\xb4; touch @", "\uff1b touch @", "\uff5c touch @", "\uff04(touch @)",
]  # fmt: skip

WORDS_AND_GLOBS = [
    "", " ", "  ", "\t", "\n", "\r", "a b", " a", "a ", "a\tb", "a\nb", "a  b", "*", "?", "[a-z]*", "glob-*", "gl?b-me", "g{lob-me,x}",
    "!(x)", "+(g)*", "**/*", ".*", "../*", "/*", "!!", "!$", "!touch", "^a^b", "#", "# comment", "a #b", "=", "a=b", "a=$(touch @)",
    "a=b touch @", "IFS=; touch @", "IFS=,;touch,@", "touch${IFS}@", "touch$IFS@", ";touch${IFS}@;", "{touch,@}", ";{touch,@}",
    "$IFS$9touch$IFS$9@", "(touch @)", "{ touch @; }", ") touch @ (", "} touch @ {", "if true; then touch @; fi", "; fi; touch @",
    "; done; touch @", "; esac; touch @", "; } ; touch @", "function x { touch @; }; x", "() { :;}; touch @", "() { touch @; }",
    "eval touch @", "exec touch @", "; eval 'touch @'", ". @", "source @", "alias ls='touch @'", "trap 'touch @' EXIT",
    "> @", ">> @", ">@", "2> @", "&> @", ">| @", "<> @", "< /etc/passwd > @", "<<EOF\ntouch @\nEOF", "<<<x touch @", "| tee @",
    "; cat /etc/passwd > @", "1>@ 2>&1",
]  # fmt: skip

OPTIONS = [
    "-", "--", "---", "-c", "-c touch @", "--help", "--version", "-e", "-exec", "-o", "-o@", "--output=@", "-rf", "-i", "-s", "-x",
    "--rcfile=@", "--init-file=@", "-n", "-ctouch @", "--eval=touch @", "+x", "-\n", "-;touch @", "\u2010c", "\u2212c", "\uff0dc",
]  # fmt: skip

TEXTS = [
    "\x01", "\x07", "\x08", "\x1b[2J", "\x1b]0;x\x07", "\x7f", "\x80", "\xa0", "\xad", "\u200b", "\u202e; touch @", "\ufeff", "\ufffd",
    "\ufffe", "e\u0301", "\u0130", "\U0001f600", "\U000e0001", "\ud7ff", "\uff0e\uff0e/", "../../etc/passwd", "%s%n%x", "%00", "\\0", "\\x00",
    "{{7*7}}", "${7*7}", "#{7*7}", "<%= 7*7 %>", "\\${{secrets.K}}", "${{secrets.K}}", "${{inputs.other}}", "${{", "}}", "\\u0000",
    '{"shell":true}', '","shell":true,"x":"', '"],"shell":true,"args":["', "__proto__", "null", "true", "NaN", "0x10", "1e999", "0b1",
    "x" * 4096, "; " * 1000 + "touch @", "'" * 999, '"' * 999, "`" * 998, "$(" * 500, "\\" * 999, "\n" * 1000, "é" * 20_000, "x" * 100_000,
]  # fmt: skip

#: Values that are not texts; a template puts their canonical text where a text is wanted.
VALUES = [
    0, -1, 1.0, 1e21, -0.5, 10**30, True, False, [], {}, ["; touch @", "$(touch @)"], {"a": "'; touch @; '"}, {"; touch @": 1},
    [["`touch @`"]], {"shell": True, "command": "touch @"}, ["-c", "touch @"], {"$(touch @)": {"\n": "\\"}}, ["\"'\\"],
]  # fmt: skip

PAYLOADS = [
    *(f"{separator}{TOUCH}" for separator in SEPARATORS),
    *(f"x{separator}{TOUCH}{separator}y" for separator in SEPARATORS),
    *SUBSTITUTIONS, *QUOTES, *WORDS_AND_GLOBS, *OPTIONS, *TEXTS, *VALUES,
]  # fmt: skip

#: Says as JSON what it was started with. `-IS` leaves out what an interpreter looks for before; there are hundreds.
ECHO = (
    "import json, os, sys; print(json.dumps({'argv': sys.argv[1:], 'env': os.environ.get('VALUE'), 'cwd': os.getcwd(),"
    " 'stdin': sys.stdin.buffer.read().decode()}))"
)
#: One value in every place that is for values.
DEFINITION = {
    "steps": [
        {"id": "argv", "type": "action", "action": "shell.exec", "params": {
            "command": sys.executable, "args": ["-ISc", ECHO, "${{inputs.value}}", "--name=${{inputs.value}}.txt", "--", "last"],
            "env": {"VALUE": "${{inputs.value}}"}, "stdin": "${{inputs.value}}", "cwd": "${{inputs.cwd}}",
        }},
        {"id": "line", "type": "action", "action": "shell.exec", "params": {
            "command": 'exec "$PYTHON" -ISc "$ECHO" first', "shell": True, "args": ["${{inputs.value}}", "a${{inputs.value}}b"],
            "env": {"PYTHON": sys.executable, "ECHO": ECHO, "VALUE": "${{inputs.value}}"}, "stdin": "${{inputs.value}}",
            "cwd": "${{inputs.cwd}}",
        }},
    ]
}  # fmt: skip


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def canary(tmp_path):
    """The file that must never appear."""
    path = tmp_path / "canary"
    yield path
    assert not path.exists()


def planted(value, canary):
    """Return a value with the path of the canary in every text of it."""
    return json.loads(json.dumps(value).replace("@", str(canary)))


def test_the_table_is_as_long_as_it_should_be(capsys):
    with capsys.disabled():
        sys.stdout.write(f"\nshell injections: {len(PAYLOADS)} values in 5 places each\n")
    assert len(PAYLOADS) >= 200
    assert len({json.dumps(each) for each in PAYLOADS}) == len(PAYLOADS), "each is there once"


async def test_a_value_in_every_place_arrives_and_runs_nothing(canary, cwd):
    async with open_engine(MemoryStore(), registry_of(opcode_shell, opcode_steps)) as engine:
        await engine.define("t", DEFINITION, agent_id="me")

        async def check(payload):
            value = planted(payload, canary)
            text = canonical_text(value)
            with anyio.fail_after(60):
                result = await engine.run("t", agent_id="me", params={"value": value, "cwd": str(cwd)})
            assert result["status"] == "completed", (payload, result)
            argv, line = (result["output"][step]["stdout"] for step in ("argv", "line"))
            assert argv == {
                "argv": [text, f"--name={text}.txt", "--", "last"],
                "env": text,
                "stdin": text,
                "cwd": str(cwd),
            }, payload
            assert line == {"argv": ["first", text, f"a{text}b"], "env": text, "stdin": text, "cwd": str(cwd)}, payload
            assert not canary.exists(), payload

        for first in range(0, len(PAYLOADS), 4):
            async with anyio.create_task_group() as tasks:
                for payload in PAYLOADS[first : first + 4]:
                    tasks.start_soon(check, payload)


async def test_a_list_from_outside_becomes_exactly_its_items(shell, canary, cwd):
    items = [planted(each, canary) for each in PAYLOADS if isinstance(each, str) and len(each) < 5000]
    answer = await shell(sys.executable, args=["-c", ECHO, *items], cwd=str(cwd))
    assert answer["stdout"]["argv"] == items
    line = await shell(
        '"$PYTHON" -c "$ECHO"', args=items, shell=True, cwd=str(cwd), env={"PYTHON": sys.executable, "ECHO": ECHO}
    )
    assert line["stdout"]["argv"] == items


async def test_a_list_in_the_form_of_a_text_becomes_its_items(shell, canary):
    items = planted(["; touch @", "$(touch @)", ""], canary)
    answer = await shell(sys.executable, args=json.dumps(["-c", ECHO, *items]))
    assert answer["stdout"]["argv"] == items


async def test_no_value_can_become_another_param(canary, cwd):
    """What stands in a param is that param's value, whatever it looks like."""
    steps = [
        {"id": "a", "type": "action", "action": "shell.exec", "params": {"command": "${{inputs.value}}", "cwd": str(cwd)}},
        {"id": "b", "type": "action", "action": "shell.exec", "params": {
            "command": "echo", "args": ["x"], "shell": "${{inputs.value}}", "cwd": str(cwd)}},
        {"id": "c", "type": "action", "action": "shell.exec", "params": {
            "command": "echo", "args": ["x"], "env": "${{inputs.value}}", "timeout": "${{inputs.value}}"}},
    ]  # fmt: skip
    async with open_engine(MemoryStore(), registry_of(opcode_shell, opcode_steps)) as engine:
        for step in steps:
            await engine.define(step["id"], {"steps": [step]}, agent_id="me")
        for value in ({"command": "touch @", "shell": True}, '{"command": "touch @", "shell": true}', '","shell":true,"x":"', "true; touch @",
                      "maybe", 1, ["touch", "@"]):  # fmt: skip
            for step in steps:
                given = planted(value, canary)
                result = await engine.run(step["id"], agent_id="me", params={"value": given})
                assert result["status"] == "failed", (step["id"], value)
                assert not canary.exists(), (step["id"], value)
