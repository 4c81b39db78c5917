"""Commands that need an engine, over real plugins and real files."""

from __future__ import annotations

import io
import json
import os
import re
import socket
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from mcp.client.session import ClientSession
from mcp.client.stdio import StdioServerParameters, stdio_client

from opcode_kernel.errors import DefinitionError
from opcode_kernel.server.cli import main
from opcode_kernel.server.commands.common import read_definition
from opcode_kernel.server.commands.results import render
from opcode_kernel.store.sqlite import open_writer

PROGRAM = "from opcode_kernel.server.cli import main; raise SystemExit(main())"

EQUALS = {
    "id": "same",
    "type": "action",
    "action": "assert.equals",
    "params": {"expected": 1, "actual": "${{inputs.n}}"},
}
ASKING = {
    "steps": [
        {
            "id": "gate",
            "type": "reasoning",
            "config": {
                "prompt_context": "Ship it?",
                "options": [{"id": "go", "description": "yes"}, {"id": "hold", "description": "no"}],
            },
        }
    ]
}


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("OPCODE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("OPCODE_PLUGINS", "steps,assert")
    return tmp_path / "home"


@pytest.fixture
def file(tmp_path: Path) -> Any:
    def write(definition: Any, name: str = "check.json") -> str:
        path = tmp_path / name
        path.write_text(json.dumps(definition))
        return str(path)

    return write


def test_a_failed_run_is_exit_code_1_and_shows_why(file, capsys):
    assert main(["run", file({"steps": [EQUALS]}), "--input", "n=2"]) == 1
    shown = capsys.readouterr()
    assert "same  failed" in shown.out
    assert "ASSERTION_FAILED" in shown.out
    assert "failed same  [ASSERTION_FAILED]" in shown.err
    assert "error: [NON_RETRYABLE] step same: " in shown.out


def test_a_completed_run_is_exit_code_0_and_keeps_nothing(file, home, capsys):
    assert main(["run", file({"steps": [EQUALS]}), "-i", "n=1"]) == 0
    shown = capsys.readouterr()
    assert "STEP  STATUS" in shown.out
    assert "completed (" in shown.out
    assert "done   same" in shown.err
    assert not (home / "opcode.db").exists()


def test_the_result_is_json_when_asked_for(file, capsys):
    assert main(["run", file({"steps": [EQUALS]}), "--input", "n=1", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["steps"]["same"]["status"] == "completed"


def test_a_run_that_asks_is_exit_code_3_and_says_how_to_answer(file, tmp_path, capsys):
    db = str(tmp_path / "runs.db")
    assert main(["run", file(ASKING), "--db", db]) == 3
    err = capsys.readouterr().err
    assert "gate asks: Ship it?" in err
    assert "choices: go, hold" in err
    assert "--decide gate=go" in err
    assert f"opcode serve --db-path {db}" in err


def test_an_answer_given_beforehand_is_given_when_the_step_asks(file, capsys):
    assert main(["run", file(ASKING), "--decide", "gate=hold", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["steps"]["gate"]["output"]["choice"] == "hold"


def test_an_answer_that_is_no_option_is_refused(file, capsys):
    assert main(["run", file(ASKING), "--decide", "gate=maybe"]) == 1
    assert "maybe" in capsys.readouterr().err


def test_an_answer_for_a_step_that_does_not_exist_is_an_error_at_the_end(file, capsys):
    assert main(["run", file(ASKING), "--decide", "gaet=go"]) == 3
    assert "opcode: --decide gaet: no such step asked; pending are gate" in capsys.readouterr().err
    assert main(["run", file(ASKING), "--decide", "gaet=go", "--decide", "gate=go"]) == 2
    assert "--decide gaet: no such step asked; pending are none" in capsys.readouterr().err


def test_an_answer_for_a_step_the_run_did_not_reach_is_fine(file, capsys):
    skipped = {"steps": [{**ASKING["steps"][0], "condition": "false"}]}
    assert main(["run", file(skipped), "--decide", "gate=go"]) in (0, 1)
    assert "--decide" not in capsys.readouterr().err


def test_an_answer_for_a_step_that_never_asks_is_a_warning(file, capsys):
    assert main(["run", file({"steps": [EQUALS]}), "--input", "n=1", "--decide", "same=yes"]) == 0
    assert capsys.readouterr().err.endswith(
        "warning: --decide same: the step same never asks, only steps of type reasoning do\n"
    )


def test_an_input_the_schema_does_not_know_is_a_warning(file, capsys):
    schema = {"type": "object", "properties": {"who": {}, "n": {}}}
    path = file({"input_schema": schema, "definition": {"steps": [EQUALS]}})
    assert main(["run", path, "--input", "whoo=you", "--input", "n=1"]) == 0
    assert "warning: --input whoo: input_schema has no property 'whoo'; did you mean 'who'?" in capsys.readouterr().err


def test_the_inputs_that_are_known_are_listed_once_each(file, capsys):
    definition = {"inputs": {"n": 1}, "steps": [EQUALS]}
    path = file({"input_schema": {"properties": {"n": {}, "who": {}}}, "definition": definition})
    assert main(["run", path, "--input", "quite_other=1"]) == 0
    assert "; known are n, who\n" in capsys.readouterr().err


def test_without_a_schema_an_input_that_is_nearly_one_that_is_read_is_a_warning(file, capsys):
    reads = {**EQUALS, "params": {"expected": "${{inputs.who ?? 1}}", "actual": 1}}
    assert main(["run", file({"steps": [reads]}), "--input", "whoo=you"]) == 0
    assert "warning: --input whoo: nothing reads the input 'whoo'; did you mean 'who'?" in capsys.readouterr().err


def test_an_input_of_a_file_without_a_schema_is_no_warning(file, capsys):
    assert main(["run", file({"steps": [EQUALS]}), "--input", "whoo=you", "--input", "n=1"]) == 0
    assert "warning" not in capsys.readouterr().err


BAD = {
    "id": "bad", "action": "expr.eval", "on_error": {"strategy": "ignore"},
    "params": {"expression": "inputs.count + inputs.name.size()"},
}  # fmt: skip
PICTURE = " | inputs.count + inputs.name.size()\n | ...........................^\n"


def test_a_place_in_an_expression_is_shown_on_lines_of_its_own(file, capsys, monkeypatch):
    monkeypatch.setenv("OPCODE_PLUGINS", "steps,expr,cel")
    path = file({"steps": [BAD]})
    assert main(["run", path, "--input", "count=3"]) == 0
    shown = capsys.readouterr()
    assert f"line 1, column 28\n{PICTURE}" in shown.out, "the sentence is whole, and the caret under its place"
    [row] = [line for line in shown.out.splitlines() if line.startswith("bad ")]
    assert PICTURE not in row + shown.err
    assert main(["run", path, "--input", "count=3", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["steps"]["bad"]["error"]["message"].endswith(PICTURE.rstrip())


def test_the_step_that_fails_is_shown_with_the_place_too(file, capsys, monkeypatch):
    monkeypatch.setenv("OPCODE_PLUGINS", "steps,expr,cel")
    assert (
        main(["run", file({"steps": [{**BAD, "on_error": {"strategy": "fail_workflow"}}]}), "--input", "count=3"]) == 1
    )
    shown = capsys.readouterr()
    assert shown.out.count(f" at line 1, column 28\n{PICTURE}") == 1
    assert "failed bad  [EXECUTION_ERROR] cannot call" in shown.err
    assert " at line 1, column 28 …\n" in shown.err, "elsewhere its first line says enough"


@pytest.mark.parametrize("command", ["run", "define"])
def test_a_place_in_a_refused_expression_is_shown_on_lines_of_its_own(file, capsys, monkeypatch, command):
    monkeypatch.setenv("OPCODE_PLUGINS", "steps,expr,cel")
    steps = [
        {"id": "a", "action": "expr.eval", "params": {"expression": "1 + nope(3)"}},
        {"id": "b", "type": "condition", "config": {"expression": "inputs.n +* 3", "branches": {"true": []}}},
    ]
    assert main([command, file({"steps": steps})]) == 1
    err = capsys.readouterr().err
    assert "\n | 1 + nope(3)\n | ....^\n" in err
    assert err.endswith("\n | inputs.n +* 3\n | ..........^\n")
    assert main([command, file({"steps": steps[:1]})]) == 1
    assert capsys.readouterr().err.endswith("\n | 1 + nope(3)\n | ....^\n")


def test_a_step_that_took_less_than_a_millisecond_took_none(file, capsys, monkeypatch):
    monkeypatch.setenv("OPCODE_PLUGINS", "steps,expr,cel")
    result = {
        "status": "suspended", "workflow_id": "w",
        "steps": {
            "quick": {"status": "completed", "output": 1}, "slow": {"status": "completed", "duration_ms": 12},
            "bad": {"status": "failed"}, "passed": {"status": "skipped", "ignored": True}, "not": {"status": "skipped"},
            "later": {"status": "pending"}, "asks": {"status": "suspended"},
        },
    }  # fmt: skip
    shown = [line[:24].split() for line in render(result).splitlines()[1:-1]]
    assert shown == [
        ["quick", "completed", "0", "1"], ["slow", "completed", "12"], ["bad", "failed", "0"], ["passed", "skipped", "0"],
        ["not", "skipped"], ["later", "pending"], ["asks", "suspended"],
    ]  # fmt: skip
    assert main(["run", file({"steps": [{"id": "e", "action": "expr.eval", "params": {"expression": "1 + 2"}}]})]) == 0
    shown = capsys.readouterr()
    assert re.search(r"^e     completed  \d+ +\{", shown.out, re.MULTILINE)
    assert re.search(r"^done   e  \d+ ms$", shown.err, re.MULTILINE)


def test_a_database_that_is_no_file_is_exit_code_2(file, capsys):
    assert main(["run", file({"steps": [EQUALS]}), "--db", "postgres://u:s3cret@host/x"]) == 2
    err = capsys.readouterr().err
    assert "expected a file path or sqlite:///path, found a postgres:// URL" in err
    assert "s3cret" not in err


def test_a_definition_from_standard_input_needs_a_name(monkeypatch, capsys):
    monkeypatch.setattr("sys.stdin", io.StringIO(json.dumps({"steps": [EQUALS]})))
    assert main(["define", "-"]) == 2
    assert "add --name NAME" in capsys.readouterr().err
    monkeypatch.setattr("sys.stdin", io.StringIO(json.dumps({"steps": [EQUALS]})))
    assert main(["define", "-", "--name", "piped"]) == 0
    assert "piped v1" in capsys.readouterr().out


def test_a_refused_definition_is_shown_with_every_problem(file, capsys):
    broken = {"steps": [{"id": "a", "type": "run"}, {"id": "b", "type": "walk"}]}
    assert main(["define", file(broken)]) == 1
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "opcode: the definition has 3 errors"
    assert any(line.startswith("error: steps[0]") for line in lines)
    assert any(line.startswith("error: steps[1]") for line in lines)


@pytest.mark.parametrize("command", ["define", "run"])
def test_a_refused_definition_is_shown_as_validate_shows_it_warnings_included(file, capsys, command):
    path = file({"steps": [{"id": "a", "action": "shel.exec"}, {"id": "b", "action": "assert.equal"}]})
    assert main(["validate", path]) == 1
    listed = capsys.readouterr().out.splitlines()
    assert any(line.startswith("warning: steps[0].action: [ACTION_UNAVAILABLE]") for line in listed)
    assert main([command, path]) == 1
    assert capsys.readouterr().err.splitlines() == ["opcode: the definition has 1 error", *listed]


def test_an_invalid_file_is_exit_code_1_with_every_problem(file, capsys):
    broken = {"steps": [{"id": "a", "type": "action", "action": "no.such"}, {"id": "a", "type": "wait"}]}
    assert main(["validate", file(broken)]) == 1
    assert capsys.readouterr().out.count("error: ") >= 2
    assert main(["validate", file(broken), "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["errors"]


def test_a_valid_file_is_called_valid(file, capsys):
    assert main(["validate", file({"steps": [EQUALS]})]) == 0
    assert "check is valid" in capsys.readouterr().out


def test_defining_twice_makes_two_versions(file, capsys):
    path = file({"name": "inner", "definition": {"steps": [EQUALS]}})
    assert main(["define", path]) == 0
    assert main(["define", path, "--name", "inner", "--json"]) == 0
    first, rest = capsys.readouterr().out.split("\n", 1)
    assert first == "inner v1"
    assert json.loads(rest)["version"] == "v2"


def test_an_invalid_definition_is_not_saved(file, capsys):
    assert main(["define", file({"steps": []})]) == 1
    assert "opcode: " in capsys.readouterr().err


def test_actions_are_listed_and_described(capsys):
    assert main(["actions", "assert.equal"]) == 1
    assert "did you mean 'assert.equals'" in capsys.readouterr().err
    assert main(["actions", "assert.equals"]) == 0
    assert "expected" in json.loads(capsys.readouterr().out)["input_schema"]["properties"]
    assert main(["actions"]) == 0
    assert "assert.equals" in capsys.readouterr().out
    assert main(["plugins", "--json"]) == 0
    names = [plugin["name"] for plugin in json.loads(capsys.readouterr().out)["plugins"]]
    assert names == ["assert", "steps"]


def test_a_plugin_that_is_not_installed_is_named(monkeypatch, capsys):
    monkeypatch.setenv("OPCODE_PLUGINS", "asert")
    monkeypatch.setenv("OPCODE_PLUGINS_OFF", "moon")
    for words in (["actions"], ["plugins"], ["serve", "--listen-addr", "127.0.0.1:0"]):
        assert main(words) == 2
        first, second = capsys.readouterr().err.splitlines()[-2:]
        assert "OPCODE_PLUGINS: no installed plugin is called 'asert'; did you mean 'assert'" in first
        assert second.startswith("OPCODE_PLUGINS_OFF: no installed plugin is called 'moon'")


def test_secrets_come_on_stdin_and_are_listed_by_name(monkeypatch, capsys, home):
    monkeypatch.setattr("sys.stdin", io.StringIO("s3cret\n"))
    assert main(["secret", "set", "TOKEN"]) == 2
    assert "OPCODE_VAULT_KEY" in capsys.readouterr().err
    monkeypatch.setenv("OPCODE_VAULT_KEY", "pass")
    monkeypatch.setattr("sys.stdin", io.StringIO("s3cret\n"))
    assert main(["secret", "set", "TOKEN"]) == 0
    assert main(["secret", "list", "--json"]) == 0
    out = capsys.readouterr().out
    assert '"name": "TOKEN"' in out
    assert "s3cret" not in out
    assert b"s3cret" not in (home / "opcode.db").read_bytes()
    assert main(["secret", "delete", "TOKEN"]) == 0
    assert main(["secret", "delete", "TOKEN"]) == 1
    assert "no secret 'TOKEN'" in capsys.readouterr().err


def test_an_empty_secret_is_refused(monkeypatch, capsys):
    monkeypatch.setenv("OPCODE_VAULT_KEY", "pass")
    monkeypatch.setattr("sys.stdin", io.StringIO(""))
    assert main(["secret", "set", "TOKEN"]) == 2
    assert "stdin" in capsys.readouterr().err


def test_a_secret_on_the_command_line_is_refused_and_not_repeated(capsys):
    assert main(["secret", "set", "TOKEN", "s3cret"]) == 2
    err = capsys.readouterr().err
    assert "the value is read from standard input" in err
    assert "s3cret" not in err


def test_leaving_the_prompt_for_a_secret_is_one_sentence(monkeypatch, capsys):
    def hang_up(prompt: str) -> str:
        raise EOFError

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setattr("sys.stdin", Terminal())
    monkeypatch.setattr("getpass.getpass", hang_up)
    assert main(["secret", "set", "TOKEN"]) == 2
    assert capsys.readouterr().err == "opcode: no value was entered, so nothing is stored\n"


def test_the_doctor_says_that_another_program_holds_the_port(monkeypatch, capsys):
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        monkeypatch.setenv("OPCODE_LISTEN_ADDR", f"127.0.0.1:{port}")
        assert main(["doctor"]) == 1
    assert f"problem  server    port {port} on 127.0.0.1 is in use" in capsys.readouterr().out


def test_the_doctor_finds_nothing_wrong_with_a_fresh_directory(monkeypatch, capsys):
    monkeypatch.setenv("OPCODE_LISTEN_ADDR", "127.0.0.1:0")
    assert main(["doctor"]) == 0
    out = capsys.readouterr().out
    assert "warning  plugins   no plugin offers the expression language" in out
    assert main(["doctor", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["findings"]


@pytest.mark.parametrize(
    ("key", "said", "status"),
    [(None, "ok       vault     0 secrets; no key is set (OPCODE_VAULT_KEY", "no_key"),
     ("pass", "ok       vault     0 secrets; a key is set, and the vault will be made", "to_be_made")],
)  # fmt: skip
def test_the_doctor_speaks_of_the_vault_before_there_is_a_database(monkeypatch, capsys, key, said, status):
    monkeypatch.setenv("OPCODE_LISTEN_ADDR", "127.0.0.1:0")
    for words in (["doctor"], ["doctor", "--json"]):
        if key is not None:
            monkeypatch.setenv("OPCODE_VAULT_KEY", key)
        assert main(words) == 0
        out = capsys.readouterr().out
        assert words[1:] or said in out
    [vault] = [finding for finding in json.loads(out)["findings"] if finding["check"] == "vault"]
    assert (vault["status"], vault["secrets"]) == (status, 0)


def test_the_doctor_says_whether_the_vault_is_open(monkeypatch, capsys):
    monkeypatch.setenv("OPCODE_LISTEN_ADDR", "127.0.0.1:0")
    monkeypatch.setenv("OPCODE_VAULT_KEY", "pass")
    monkeypatch.setattr("sys.stdin", io.StringIO("s3cret\n"))
    assert main(["secret", "set", "TOKEN"]) == 0
    for key, code, status in (("pass", 0, "open"), ("wrong", 1, "locked"), ("", 0, "no_key")):
        monkeypatch.setenv("OPCODE_VAULT_KEY", key)
        capsys.readouterr()
        assert main(["doctor", "--json"]) == code
        [vault] = [each for each in json.loads(capsys.readouterr().out)["findings"] if each["check"] == "vault"]
        assert (vault["status"], vault["secrets"]) == (status, 1)


def test_the_doctor_finds_settings_that_are_malformed_and_looks_at_the_rest_with_the_defaults(
    home, monkeypatch, capsys
):
    home.mkdir(mode=0o700)
    (home / "settings.json").write_text('{"pool_size": 3,\n oops}')
    monkeypatch.setenv("OPCODE_LISTEN_ADDR", "127.0.0.1:0")
    monkeypatch.setenv("OPCODE_LOG_LEVEL", "loud")
    assert main(["doctor", "--json"]) == 1
    findings = json.loads(capsys.readouterr().out)["findings"]
    said = [each["text"] for each in findings if each["check"] == "settings" and each["level"] == "problem"]
    assert said[0] == f"{home}/settings.json, line 2, column 2: expected a key in double quotes, found oops"
    assert (len(said), said[1].partition(":")[0]) == (2, "OPCODE_LOG_LEVEL")
    assert {each["check"] for each in findings} >= {"python", "listen", "plugins", "isolation", "vault", "server"}


def test_the_list_of_plugins_says_what_each_of_them_adds(monkeypatch, capsys):
    monkeypatch.setenv("OPCODE_PLUGINS", "steps,crypto,cel,diagram,mcp-bridge")
    assert main(["plugins"]) == 0
    rows = dict(line.split(maxsplit=3)[::3] for line in capsys.readouterr().out.splitlines()[1:])
    assert rows == {
        "cel": "the expression language cel", "crypto": "3 actions", "diagram": "MCP tools",
        "mcp-bridge": "actions of external servers", "steps": "6 step types",
    }  # fmt: skip
    assert main(["plugins", "--json"]) == 0
    adds = {row["name"]: row["adds"] for row in json.loads(capsys.readouterr().out)["plugins"]}
    assert (adds["diagram"], "action crypto.hash" in adds["crypto"]) == (["MCP tools"], True)


def test_the_doctor_names_what_is_wrong(home, monkeypatch, capsys):
    monkeypatch.setenv("OPCODE_LISTEN_ADDR", "0.0.0.0:1")
    monkeypatch.setenv("OPCODE_PLUGINS", "none")
    home.mkdir(mode=0o755)
    (home / "opcode.db").write_text("this is no database, and long enough to be looked at as one" * 10)
    assert main(["doctor"]) == 1
    out = capsys.readouterr().out
    assert "problem  exposure" in out
    assert "problem  plugins" in out
    assert "problem  database" in out
    assert "chmod 700" in out


@pytest.mark.anyio
async def test_a_stock_client_can_start_its_own_server_on_stdio(home):
    server = StdioServerParameters(command=sys.executable, args=["-c", PROGRAM, "mcp"], env=dict(os.environ))
    async with stdio_client(server) as (read, write), ClientSession(read, write) as client:
        await client.initialize()
        definition = {"steps": [EQUALS]}
        await client.call_tool("opcode.define", {"name": "t", "definition": definition, "agent_id": "a"})
        ran = await client.call_tool("opcode.run", {"template_name": "t", "agent_id": "a", "params": {"n": 1}})
        refused = await client.call_tool("opcode.status", {"workflow_id": "none"})
    assert ran.structured_content["status"] == "completed"
    assert refused.structured_content["error"]["code"] == "NOT_FOUND"
    assert (home / "opcode.db").exists()


def test_a_signal_ends_a_server_on_stdio_though_its_client_says_nothing(home):
    command = [sys.executable, "-c", PROGRAM, "mcp"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as server:
        params = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "x", "version": "1"}}
        server.stdin.write(json.dumps({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": params}).encode())
        server.stdin.write(b"\n")
        server.stdin.flush()
        assert b"serverInfo" in server.stdout.readline()
        server.terminate()
        try:
            assert server.wait(10) == 0
        finally:
            server.kill()


def test_a_database_in_use_is_refused_and_left_alone(home, file, tmp_path, capsys):
    path = str(home / "opcode.db")
    with closing(open_writer(Path(path), "full")):
        assert main(["run", file({"steps": [EQUALS]}), "--input", "n=1", "--db", path]) == 1
        err = capsys.readouterr().err
        assert "another opcode uses the database" in err
        assert "leave --db out" in err
        assert (
            f"'opcode define {tmp_path}/check.json' saves it there, and an MCP client starts it with opcode.run" in err
        )
        assert main(["secret", "list"]) == 0


@pytest.mark.anyio
async def test_stdio_is_a_bridge_to_a_live_server(serve):
    async with serve() as site:
        server = StdioServerParameters(
            command=sys.executable, args=["-c", PROGRAM, "mcp", "--url", site.url], env=dict(os.environ)
        )
        async with stdio_client(server) as (read, write), ClientSession(read, write) as client:
            await client.initialize()
            ran = await client.call_tool("opcode.run", {"template_name": "t", "agent_id": "a", "params": {"n": 1}})
    assert ran.structured_content["output"] == {"n": 1}


def test_a_bridge_to_nobody_says_so(capsys):
    assert main(["mcp", "--url", "http://127.0.0.1:9"]) == 1
    assert "cannot be reached" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ('{"steps": [', "line 1, column 12: expected a value, found the end of the text"),
        ('{"steps": []\n  oops}', "line 2, column 3: expected a comma or the end of what was opened, found oops"),
        ('{"n": ' + "1" * 5_000 + "}", "expected JSON, found a number with too many digits"),
        ("[" * 100_000, "expected JSON, found values nested too deeply"),
    ],
)
def test_a_file_that_is_no_json_is_refused_with_the_place(tmp_path, text, fault):
    file = tmp_path / "flow.json"
    file.write_text(text)
    with pytest.raises(DefinitionError) as caught:
        read_definition(str(file))
    assert caught.value.message == f"{file}, {fault}"
