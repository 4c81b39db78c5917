"""`opcode plugin`: what it writes, what it refuses, and what a server that is tried says."""

from __future__ import annotations

import io
import json
import stat
import sys
from pathlib import Path
from typing import Any

import pytest

from opcode_kernel.server.cli import main

SERVER = """
import json, os, sys
if os.environ.get("BROKEN"):
    sys.exit("no licence")
for line in sys.stdin:
    m = json.loads(line)
    results = {
        "initialize": {"protocolVersion": m.get("params", {}).get("protocolVersion"), "capabilities": {},
                       "serverInfo": {"name": "x", "version": "1"}},
        "tools/list": {"tools": [{"name": "read", "description": "Read it", "inputSchema": {
            "type": "object", "properties": {"path": {"type": "string"}}, "required": ["path"]}}]},
        "tools/call": {"content": [{"type": "text", "text": "read " + os.environ.get("TOKEN", "nothing")}]},
    }
    if m.get("method") in results and "id" in m:
        print(json.dumps({"jsonrpc": "2.0", "id": m["id"], "result": results[m["method"]]}), flush=True)
"""
WORDS = ["--", sys.executable, "-I", "-c", SERVER]


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("OPCODE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("OPCODE_PLUGINS", "steps,crypto,mcp-bridge")
    return tmp_path / "home"


@pytest.fixture
def opcode(capsys: pytest.CaptureFixture[str]) -> Any:
    """Run a command; returns the exit code, stdout and stderr."""

    def run(*words: str) -> tuple[int, str, str]:
        code = main(list(words))
        out, err = capsys.readouterr()
        return code, out, err

    return run


def settings(home: Path) -> Any:
    return json.loads((home / "settings.json").read_text())


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["x"], 2, "either command"),
        (["X", *WORDS], 2, "plugin.name: expected a-z"),
        (["http", *WORDS], 2, "built-in families"),
        (["crypto", *WORDS], 2, "built-in families"),
        (["x", "--url", "http://127.0.0.1:1/", *WORDS], 2, "either command"),
        (["x", "--env", "A", *WORDS], 2, "--env expects KEY=VALUE"),
        (["x", "--env", "OPCODE_HOME=/", *WORDS], 2, "none of them OPCODE_*"),
        (["x", "--env", "A=${{inputs.x}}", *WORDS], 2, "references to secrets only"),
        (["x", "--call-timeout", "soon", *WORDS], 2, "call_timeout: expected"),
        (["x", "--max-concurrency", "many", *WORDS], 2, "max_concurrency: expected an integer"),
        (["x", "--restart-max", "-1", *WORDS], 2, "restart.max: expected"),
        (["x", "--", "no-such-program"], 1, "expected a program called 'no-such-program'"),
        (["x", "--env", "BROKEN=1", *WORDS], 1, "ended with exit code 1; it said: no licence"),
        (["x", "--env", "A=${{secrets.A}}", *WORDS], 1, "the secret 'A' cannot be used: no vault is open"),
        (["x", "--url", "http://127.0.0.1:9/mcp"], 1, "it cannot be reached"),
        (["x", "--start-timeout", "200ms", "--", "sleep", "60"], 1, "not ready within 0.2 s"),
    ],
)
def test_what_is_wrong_or_does_not_work_is_refused_and_nothing_is_written(opcode, home, words, code, said):
    found, _, err = opcode("plugin", "add", *words)
    assert (found, (home / "settings.json").exists()) == (code, False)
    assert said in err


@pytest.mark.parametrize(
    ("words", "right"),
    [
        (["x", "npx", "-y", "a server"], "x -- COMMAND ..."),
        (["x", "npx", "--", "-y"], "x -- COMMAND ..."),
        (["--disabled", "x", "--cwd", "/", "npx", "--cwd", "d"], "--disabled x --cwd ... -- COMMAND ..."),
        (["x", "--no", "--start-time=5s", "npx"], "x --no-check --start-timeout=... -- COMMAND ..."),
        (
            ["x", "--env", "TOKEN=canary-4711", "--header=A=canary-4711", "npx"],
            "x --env ... --header=... -- COMMAND ...",
        ),
        (["gh", "npx", "server", "--env", "TOKEN=canary-4711"], "gh -- COMMAND ..."),
        (["gh", "npx", "server", "--header", "Authorization: Bearer canary-4711"], "gh -- COMMAND ..."),
        (["gh", "TOKEN=canary-4711", "npx", "--", "canary-4711"], "gh -- COMMAND ..."),
        (["TOKEN=canary-4711", "npx"], "NAME -- COMMAND ..."),
        (["gh", "--url", "http://me:canary-4711@h/", "npx"], "gh --url ... -- COMMAND ..."),
    ],
)
def test_a_command_without_two_dashes_before_it_is_answered_with_what_to_type(home, capsys, words, right):
    with pytest.raises(SystemExit) as caught:
        main(["plugin", "add", *words])
    err = capsys.readouterr().err
    assert (caught.value.code, home.exists()) == (2, False)
    assert err.splitlines()[-1].endswith(f"; type: opcode plugin add {right}")
    assert "canary" not in err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["x", "-y", "z"], "unrecognized option: -y;"),
        (["x", "-ycanary", "z"], "unrecognized option: -y;"),
        (["x", "--frob", "5s", "--", "sleep", "1"], "unrecognized option: --frob;"),
        (["x", "--evn=TOKEN=canary", "--", "sleep", "1"], "unrecognized option: --evn;"),
        (["x", "--h=canary", "--", "sleep", "1"], "ambiguous option: --h could match --help, --header;"),
        (["--env"], "argument --env: expected one argument"),
    ],
)
def test_options_that_do_not_exist_are_still_a_usage_error(words, said, capsys):
    with pytest.raises(SystemExit):
        main(["plugin", "add", *words])
    err = capsys.readouterr().err
    assert err.startswith("usage: opcode")
    assert said in err
    assert "canary" not in err


def test_an_option_may_be_abbreviated_as_in_every_other_command(opcode, home):
    assert opcode("plugin", "add", "x", "--start-time", "5s", "--no", "--en", "A=b", "--", "sleep", "1")[0] == 0
    [plugin] = settings(home)["plugins"]
    assert plugin == {"name": "x", "command": "sleep", "args": ["1"], "env": {"A": "b"}, "start_timeout": "5s"}


@pytest.mark.parametrize("words", [["tmp/plug.py"], ["--file=tmp/plug.py"], ["-u", "."]])
def test_a_path_from_this_directory_leads_there_in_the_server_too(opcode, home, tmp_path, monkeypatch, words):
    (tmp_path / "tmp").mkdir()
    (tmp_path / "tmp" / "plug.py").write_text(SERVER)
    (tmp_path / "__main__.py").write_text(SERVER)
    monkeypatch.chdir(tmp_path)
    command = [sys.executable, *words] if len(words) == 1 and "=" not in words[0] else ["x", *words]
    tried = [] if command[0] == sys.executable else ["--no-check"]
    code, out, _ = opcode("plugin", "add", "rel", *tried, "--", *command)
    assert (code, settings(home)["plugins"][0]["cwd"]) == (0, str(tmp_path))
    assert f"leads there from this directory, so it works in {tmp_path}; --cwd names another" in out
    monkeypatch.chdir("/")
    assert tried or opcode("actions", "rel.read")[0] == 0, "it starts from wherever it is started"


def test_a_command_of_this_directory_is_written_as_the_path_it_stands_for(opcode, home, tmp_path, monkeypatch):
    (tmp_path / "plug").write_text(f"#!{sys.executable}\n{SERVER}")
    (tmp_path / "plug").chmod(0o700)
    monkeypatch.chdir(tmp_path)
    assert opcode("plugin", "add", "rel", "--", "./plug", "absent/file", "-x")[0] == 0
    assert opcode("plugin", "add", "other", "--cwd", "/", "--no-check", "--", "x", "plug")[0] == 0
    first, second = settings(home)["plugins"]
    assert (first["command"], "cwd" in first, second["cwd"]) == (str(tmp_path / "plug"), False, "/")


def test_why_a_server_that_was_tried_does_not_work_is_said_once_and_in_words(opcode):
    code, out, err = opcode("plugin", "add", "x", "--env", "BROKEN=1", *WORDS)
    assert (code, out) == (1, "")
    assert err == "opcode: the plugin x does not work: it ended with exit code 1; it said: no licence\n"


def test_a_remark_is_shown_whole_and_wrapped_on_a_terminal_only(opcode, monkeypatch):
    long = "it was lost: " + "one reason after the other " * 8 + "and the last word"

    async def states(settings: Any) -> dict[str, Any]:
        return {"files": {"status": "error", "error_message": long, "last_health_check": None}}

    assert opcode("plugin", "add", "files", "--no-check", "--", "x")[0] == 0
    monkeypatch.setattr("opcode_kernel.server.external.states", states)
    assert opcode("plugin", "list")[1].splitlines()[1].endswith(f"x       {long}")
    monkeypatch.setenv("COLUMNS", "70")
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    lines = opcode("plugin", "list")[1].splitlines()
    column = lines[0].index("REMARK")
    assert max(map(len, lines)) <= 70
    assert " ".join(line[column:] for line in lines[1:]) == long


def test_the_doctor_tries_the_plugins_when_no_server_is_running(opcode, home, monkeypatch):
    monkeypatch.setenv("OPCODE_LISTEN_ADDR", "127.0.0.1:0")
    monkeypatch.setenv("OPCODE_PLUGINS", "steps,crypto")
    assert "ok       external  no external plugins" in opcode("doctor")[1]
    monkeypatch.setenv("OPCODE_PLUGINS", "steps,crypto,mcp-bridge")
    assert opcode("plugin", "add", "files", "--no-check", *WORDS)[0] == 0
    assert opcode("plugin", "add", "off", "--disabled", "--", "no-such-program")[0] == 0
    assert opcode("doctor")[0] == 0
    assert opcode("plugin", "add", "broken", "--env", "BROKEN=1", "--no-check", *WORDS)[0] == 0
    code, out, err = opcode("doctor")
    assert (code, err) == (1, "")
    found = [line for line in out.splitlines() if " external " in line]
    assert found == [
        "ok       external  files: it starts and offers 1 action",
        "ok       external  off: it is switched off",
        "problem  external  broken: it ended with exit code 1; it said: no licence",
    ]
    findings = json.loads(opcode("doctor", "--json")[1])["findings"]
    states = [finding for finding in findings if finding["check"] == "external"]
    assert [(each["plugin"], each["status"], each["enabled"]) for each in states] == [
        ("files", "active", True), ("off", "inactive", False), ("broken", "error", True),
    ]  # fmt: skip
    assert states[0]["actions"] == ["files.read"]
    assert "no licence" in states[2]["error_message"]
    monkeypatch.setenv("OPCODE_PLUGINS", "steps,crypto")
    assert "warning  external  files: no installed plugin starts it; install opcode-mcp-bridge" in opcode("doctor")[1]


def test_a_plugin_that_works_is_written_beside_everything_else(opcode, home):
    home.mkdir()
    (home / "settings.json").write_text('{"pool_size": 3, "from_the_future": {"a": [1]}}')
    code, out, _ = opcode("plugin", "add", "files", "--env", "TOKEN=abc", "--call-timeout", "5s", *WORDS)
    assert code == 0
    assert "1 actions: files.read" in out
    assert "no server is running; the next start takes it over" in out
    assert settings(home) == {
        "pool_size": 3, "from_the_future": {"a": [1]},
        "plugins": [{"name": "files", "command": sys.executable, "args": ["-I", "-c", SERVER], "env": {"TOKEN": "abc"},
                     "call_timeout": "5s"}],
    }  # fmt: skip
    assert stat.S_IMODE((home / "settings.json").stat().st_mode) == 0o600


def test_a_link_to_the_settings_stays_one(opcode, home, tmp_path):
    home.mkdir()
    (tmp_path / "elsewhere.json").write_text("{}")
    (home / "settings.json").symlink_to(tmp_path / "elsewhere.json")
    assert opcode("plugin", "add", "files", "--no-check", "--", "x")[0] == 0
    assert (home / "settings.json").is_symlink()
    assert json.loads((tmp_path / "elsewhere.json").read_text())["plugins"][0]["name"] == "files"


@pytest.mark.parametrize("left_behind", ["file", "link"])
def test_what_a_killed_command_left_behind_opens_the_settings_to_nobody(opcode, home, tmp_path, left_behind):
    home.mkdir()
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_text("mine")
    if left_behind == "file":
        (home / "settings.json.new").write_text("half")
        (home / "settings.json.new").chmod(0o644)
    else:
        (home / "settings.json.new").symlink_to(elsewhere)
    assert opcode("plugin", "add", "files", "--no-check", "--", "x")[0] == 0
    file = home / "settings.json"
    assert (stat.S_IMODE(file.stat().st_mode), file.is_symlink(), elsewhere.read_text()) == (0o600, False, "mine")


@pytest.mark.parametrize("id", ["files", "other"])
def test_another_command_that_was_faster_with_the_same_name_is_a_conflict(opcode, home, monkeypatch, id):
    from opcode_kernel.server import external

    def faster(*args: Any, **given: Any) -> None:
        monkeypatch.undo()
        monkeypatch.setenv("OPCODE_HOME", str(home))
        assert opcode("plugin", "add", "files", "--id", id, "--no-check", "--", "y")[0] == 0

    monkeypatch.setattr(external, "check_place", faster)
    code, _, err = opcode("plugin", "add", "files", "--no-check", "--", "x")
    assert (code, [entry["command"] for entry in settings(home)["plugins"]]) == (1, ["y"])
    assert "another command has just added" in err


def test_a_name_or_id_that_is_taken_is_a_conflict(opcode, home):
    assert opcode("plugin", "add", "files", "--no-check", "--", "x")[0] == 0
    before = settings(home)
    for words in (["files"], ["other", "--id", "files"], ["files", "--id", "other"]):
        code, _, err = opcode("plugin", "add", *words, "--no-check", "--", "y")
        assert (code, settings(home)) == (1, before)
        assert "already" in err
    assert opcode("plugin", "add", "files", "--replace", "--no-check", "--", "y")[0] == 0
    assert settings(home)["plugins"] == [{"name": "files", "command": "y"}]


def test_settings_that_are_malformed_are_left_alone(opcode, home):
    home.mkdir()
    for text in ("{", '{"plugins": ["files"]}', '{"plugins": [{"name": "files"}]}'):
        (home / "settings.json").write_text(text)
        for words in (["add", "x", "--no-check", "--", "y"], ["remove", "files"], ["list"]):
            assert opcode("plugin", *words)[0] == 2
        assert (home / "settings.json").read_text() == text


def test_without_a_plugin_that_starts_servers_none_can_be_added(opcode, home, monkeypatch):
    monkeypatch.setenv("OPCODE_PLUGINS", "steps")
    code, _, err = opcode("plugin", "add", "files", "--no-check", "--", "x")
    assert (code, (home / "settings.json").exists()) == (2, False)
    assert "install opcode-mcp-bridge" in err


def test_values_that_may_be_secret_are_neither_printed_nor_listed(opcode, home):
    code, out, err = opcode("plugin", "add", "files", "--env", "TOKEN=canary-4711", "--no-check", "--json", *WORDS)
    assert code == 0
    assert json.loads(out)["plugin"]["env"] == {"TOKEN": "***"}
    for words in (["list"], ["list", "--json"]):
        _, listed, _ = opcode("plugin", *words)
        assert "canary" not in out + err + listed
    assert json.loads(listed)["plugins"][0]["status"] == "inactive"


def test_a_plugin_is_removed_by_name_or_id(opcode, home):
    for name in ("one", "two"):
        assert opcode("plugin", "add", name, "--id", f"id-{name}", "--no-check", "--", "x")[0] == 0
    code, _, err = opcode("plugin", "remove", "three")
    assert code == 1
    assert "known are one, two" in err
    assert opcode("plugin", "remove", "one")[0] == 0
    code, out, _ = opcode("plugin", "remove", "id-two", "--json")
    assert (code, json.loads(out)) == (0, {"name": "two", "id": "id-two", "removed": True, "server": None})
    assert settings(home) == {}
    assert "no external plugins" in opcode("plugin", "list")[1]


def test_an_action_of_a_plugin_is_described_by_asking_its_server(opcode):
    assert opcode("plugin", "add", "files", "--no-check", *WORDS)[0] == 0
    code, out, _ = opcode("actions", "files.read")
    assert code == 0
    described = json.loads(out)
    assert (described["name"], described["description"]) == ("files.read", "Read it")
    assert described["input_schema"]["required"] == ["path"]
    assert opcode("actions", "files.nothing")[0] == 1
    code, out, err = opcode("actions")
    assert (code, "files.read" in out) == (0, False)
    assert "no server is running" in err


def test_a_workflow_file_may_use_the_tools_of_a_plugin(opcode, tmp_path):
    assert opcode("plugin", "add", "files", "--no-check", *WORDS)[0] == 0
    assert opcode("plugin", "add", "broken", "--no-check", "--", "no-such-program")[0] == 0
    file = tmp_path / "flow.json"
    file.write_text(json.dumps({"steps": [{"id": "r", "action": "files.read", "params": {"path": "a"}}]}))
    code, out, err = opcode("run", str(file), "--json")
    assert (code, json.loads(out)["output"]["text"]) == (0, "read nothing")
    assert "broken" not in err, "what the file does not name is not started"
    file.write_text(json.dumps({"steps": [{"id": "r", "action": "files.read", "params": {"pth": "a"}}]}))
    code, _, err = opcode("run", str(file))
    assert code == 1
    assert "expected the param 'path', found 'pth'" in err


def test_secrets_reach_the_server_that_is_tried(opcode, home, monkeypatch, tmp_path):
    monkeypatch.setenv("OPCODE_VAULT_KEY", "a passphrase")
    monkeypatch.setattr("sys.stdin", io.StringIO("canary-4711"))
    assert opcode("secret", "set", "TOKEN")[0] == 0
    monkeypatch.setenv("OPCODE_VAULT_KEY", "a passphrase")
    code, out, err = opcode("plugin", "add", "files", "--env", "TOKEN=${{secrets.TOKEN}}", *WORDS)
    assert (code, "1 actions: files.read" in out) == (0, True)
    file = tmp_path / "flow.json"
    file.write_text(json.dumps({"steps": [{"id": "r", "action": "files.read", "params": {"path": "a"}}]}))
    monkeypatch.setenv("OPCODE_VAULT_KEY", "a passphrase")
    code, out, err = opcode("run", str(file), "--json")
    assert (code, json.loads(out)["output"]["text"]) == (0, "read ***")
    assert "canary" not in out + err
