"""The command line as a user types it: words, files, exit codes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from opcode_kernel.errors import DefinitionError, OpcodeError, SettingsError
from opcode_kernel.server.cli import main, root_of
from opcode_kernel.server.commands.common import key_values, read_definition, shorten, table

HEAVY = (
    "structlog", "mcp", "mcp_types", "tortoise", "pydantic", "anyio", "asyncio", "starlette", "uvicorn",
    "importlib.metadata", "orjson", "jsonschema", "cryptography",
)  # fmt: skip


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("OPCODE_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.mark.parametrize("words", [["--help"], ["--version"], ["run", "--help"]])
def test_help_imports_nothing_heavy(words):
    code = (
        "import sys\nfrom opcode_kernel.server.cli import main\n"
        f"try:\n    main({words!r})\nexcept SystemExit as done:\n    assert done.code == 0\n"
        f"print([name for name in {HEAVY!r} if name in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "[]"


@pytest.mark.parametrize("words", [["frob"], ["serve", "--frob"], ["run"], ["secret"], ["--frob"]])
def test_unknown_words_are_a_usage_error(words, capsys):
    with pytest.raises(SystemExit) as caught:
        main(words)
    assert caught.value.code == 2
    assert "usage: opcode" in capsys.readouterr().err


def test_a_wrong_setting_is_exit_code_2_and_one_sentence(monkeypatch, capsys):
    monkeypatch.setenv("OPCODE_POOL_SIZE", "many")
    assert main([]) == 2
    err = capsys.readouterr().err
    assert err.startswith("opcode: OPCODE_POOL_SIZE: expected a whole number")
    assert err.count("\n") == 1


def test_an_address_others_can_reach_is_refused_before_anything_is_made(home, capsys):
    assert main(["--listen-addr", "0.0.0.0:4100"]) == 2
    assert "auth_token" in capsys.readouterr().err
    assert not home.exists()


def test_a_file_that_is_not_json_is_named_with_line_and_column(tmp_path, capsys):
    file = tmp_path / "w.json"
    file.write_text('{\n  "steps": oops\n}')
    assert main(["validate", str(file), "--json"]) == 1
    shown = capsys.readouterr()
    assert f"{file}, line 2, column 12: expected a value, found oops" in shown.err
    assert json.loads(shown.out)["error"]["code"] == "VALIDATION_ERROR"
    assert "Traceback" not in shown.err


def test_a_missing_file_is_named(capsys):
    assert main(["run", "/nowhere/w.json"]) == 1
    assert "/nowhere/w.json cannot be read" in capsys.readouterr().err


def test_version_is_a_line_or_json(capsys):
    assert main(["version"]) == 0
    assert main(["version", "--json"]) == 0
    assert capsys.readouterr().out == '0.1.0\n{\n  "version": "0.1.0"\n}\n'


def test_install_merges_into_the_file_and_keeps_the_rest(home, capsys):
    home.mkdir(mode=0o700)
    (home / "settings.json").write_text('{"pool_size": 3, "recovery": "auto"}')
    assert main(["install", "--no-start", "-log-level", "debug", "--pool-size", "5", "--panel"]) == 0
    assert json.loads((home / "settings.json").read_text()) == {
        "pool_size": 5, "recovery": "auto", "log_level": "debug", "panel": True,
    }  # fmt: skip
    assert (home / "settings.json").stat().st_mode & 0o777 == 0o600
    assert str(home / "settings.json") in capsys.readouterr().out


def test_install_never_writes_the_vault_key(home, capsys, monkeypatch):
    monkeypatch.delenv("OPCODE_VAULT_KEY", raising=False)
    assert main(["install", "--no-start", "--vault-key", "s3cret"]) == 0
    assert "s3cret" not in (home / "settings.json").read_text()
    assert "OPCODE_VAULT_KEY_FILE" in capsys.readouterr().err


def test_install_leaves_a_malformed_file_alone(home, capsys):
    home.mkdir()
    (home / "settings.json").write_text("{oops")
    assert main(["install", "--no-start", "--panel"]) == 2
    assert (home / "settings.json").read_text() == "{oops"
    assert "line 1" in capsys.readouterr().err


def test_a_wrapped_definition_brings_its_surroundings(tmp_path):
    file = tmp_path / "f.json"
    file.write_text(json.dumps({"name": "n", "input_schema": {"type": "object"}, "definition": {"steps": []}}))
    found = read_definition(str(file))
    assert (found.name, found.definition, found.input_schema) == ("n", {"steps": []}, {"type": "object"})


def test_a_bare_definition_is_named_after_its_file(tmp_path):
    file = tmp_path / "nightly.json"
    file.write_text('{"steps": []}')
    assert read_definition(str(file))[:2] == ("nightly", {"steps": []})


@pytest.mark.parametrize(
    "content",
    ["[]", "3", '{"definition": {}, "input_schema": 3}', '{"definition": {}, "description": {}}', "[" * 90000],
)
def test_files_of_another_shape_are_refused(tmp_path, content):
    file = tmp_path / "f.json"
    file.write_text(content)
    with pytest.raises(DefinitionError):
        read_definition(str(file))


@pytest.mark.parametrize(
    ("content", "meant"),
    [
        ({"definition": {"steps": []}, "input_shema": {}}, "input_schema"),
        ({"name": "n", "defintion": {"steps": []}}, "definition"),
        ({"Definition": {"steps": []}}, "definition"),
    ],
)
def test_misspelt_keys_around_a_definition_are_refused(tmp_path, content, meant):
    file = tmp_path / "f.json"
    file.write_text(json.dumps(content))
    with pytest.raises(DefinitionError, match=rf"unknown key .*did you mean '{meant}'\?"):
        read_definition(str(file))


def test_a_wrapper_around_something_else_is_refused(tmp_path):
    file = tmp_path / "f.json"
    file.write_text('{"name": "n", "definition": "steps"}')
    with pytest.raises(DefinitionError, match="definition must be an object"):
        read_definition(str(file))


@pytest.mark.parametrize("command", ["serve", "install"])
def test_the_panel_is_not_promised(command, capsys):
    with pytest.raises(SystemExit):
        main([command, "--help"])
    assert "the web panel comes later; ignored for now" in " ".join(capsys.readouterr().out.split())


def test_help_says_how_inputs_are_read(capsys):
    with pytest.raises(SystemExit):
        main(["run", "--help"])
    assert "VALUE is JSON where it parses as JSON, else text" in " ".join(capsys.readouterr().out.split())


def test_every_wrong_setting_is_named_at_once(home, monkeypatch, capsys):
    home.mkdir()
    (home / "settings.json").write_text('{"db_path": "postgres://u:s3cret@host/x", "shell": {"timeout": "soon"}}')
    monkeypatch.setenv("OPCODE_POOL_SIZE", "many")
    assert main(["--log-level", "loud"]) == 2
    err = capsys.readouterr().err
    for name in ("settings.json, line 1, db_path", "shell.timeout", "OPCODE_POOL_SIZE", "--log-level"):
        assert name in err
    assert "postgres" in err
    assert "s3cret" not in err


def test_inputs_are_json_or_text():
    pairs = ["n=3", "s=three", 'o={"a":1}', "e=", "t=a=b", 'q="3"']
    assert key_values(pairs, "--input") == {"n": 3, "s": "three", "o": {"a": 1}, "e": "", "t": "a=b", "q": "3"}
    with pytest.raises(SettingsError, match="--input expects key=value, found 'x'"):
        key_values(["x"], "--input")


def test_our_own_error_is_found_in_a_group():
    ours = OpcodeError("x")
    assert root_of(BaseExceptionGroup("", [ValueError(), BaseExceptionGroup("", [ours])])) is ours
    assert isinstance(root_of(ExceptionGroup("", [ValueError()])), ValueError)


def test_tables_are_aligned_and_long_values_shortened():
    assert table(("A", "B"), [("long", "x"), ("s", "y")]) == "A     B\nlong  x\ns     y"
    assert table(("A", "B"), [("x", "one two " * 5)], 30).splitlines() == [
        "A  B", "x  one two one two one two one", "   two one two",
    ]  # fmt: skip
    assert table(("A", "B"), [("x" * 50, "one two " * 5)], 30).splitlines()[1].endswith("  one two one two one two")
    assert shorten({"a": "x" * 100}, 10) == '{"a": "xx…'
