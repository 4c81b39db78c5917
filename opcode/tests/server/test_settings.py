"""Where settings come from, and what is said about wrong ones."""

from __future__ import annotations

import json
from dataclasses import astuple, fields
from pathlib import Path

import pytest

from opcode_kernel.core.limits import Limits
from opcode_kernel.errors import SettingsError
from opcode_kernel.server.settings import load_settings


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path


def write(home: Path, content: object) -> None:
    text = content if isinstance(content, str) else json.dumps(content, indent=2)
    (home / "settings.json").write_text(text, encoding="utf-8")


def load(home: Path, flags: dict[str, str | None] | None = None, **environ: str):
    return load_settings(flags, {"OPCODE_HOME": str(home), **environ})


def test_without_anything_the_defaults_hold(home):
    settings = load(home)
    assert str(settings.listen_addr) == "127.0.0.1:4100"
    assert settings.client_url == "http://127.0.0.1:4100"
    assert settings.db_path == str(home / "opcode.db")
    assert (settings.pool_size, settings.panel, settings.recovery, settings.durability) == (
        10,
        False,
        "suspend",
        "full",
    )
    assert settings.policy.paths.data_dir == str(home)
    assert ("127.0.0.1", 4100) in settings.policy.hosts.own_addresses


def test_flags_win_over_the_environment_which_wins_over_the_file(home):
    write(home, {"pool_size": 1, "log_level": "error", "recovery": "resume"})
    settings = load(home, {"pool_size": "3", "panel": None}, OPCODE_POOL_SIZE="2", OPCODE_LOG_LEVEL="warn")
    assert (settings.pool_size, settings.log_level, settings.recovery) == (3, "warning", "resume")


def test_empty_variables_count_as_unset(home):
    assert load(home, OPCODE_POOL_SIZE="", OPCODE_PANEL="").pool_size == 10


@pytest.mark.parametrize(
    ("name", "value", "accepted"),
    [
        ("OPCODE_LISTEN_ADDR", "nonsense", "host:port"),
        ("OPCODE_LISTEN_ADDR", ":99999", "host:port"),
        ("OPCODE_POOL_SIZE", "many", "a whole number from 1"),
        ("OPCODE_POOL_SIZE", "0", "a whole number from 1"),
        ("OPCODE_PANEL", "maybe", "true or false"),
        ("OPCODE_RECOVERY", "hope", "one of suspend, auto, resume"),
        ("OPCODE_BASE_URL", "ftp://x", "http or https URL"),
        ("OPCODE_HTTP_EGRESS", "wild", "one of standard, public, open"),
        ("OPCODE_SHELL_TIMEOUT", "soon", "a duration"),
        ("OPCODE_MAX_BODY_BYTES", "-1", "a number of bytes"),
    ],
)
def test_a_wrong_variable_is_named_with_what_was_found_and_what_is_accepted(home, name, value, accepted):
    with pytest.raises(SettingsError) as caught:
        load(home, **{name: value})
    message = caught.value.message
    assert name in message
    assert accepted in message
    assert value in message


def test_a_wrong_flag_is_named(home):
    with pytest.raises(SettingsError, match=r"--pool-size: expected a whole number"):
        load(home, {"pool_size": "x"})


def test_a_broken_file_is_refused_with_its_line(home):
    write(home, '{\n  "pool_size": 3,\n  oops\n}')
    with pytest.raises(
        SettingsError, match=r"settings\.json, line 3, column 3: expected a key in double quotes, found oops$"
    ):
        load(home)


@pytest.mark.parametrize(
    ("text", "said"),
    [("", "line 1, column 1: expected a value, found the end of the text"),
     ('{"a": x', "line 1, column 7: expected a value, found x"),
     ('{"a" 1}', "line 1, column 6: expected : after the key, found 1"),
     ('{"a": 1\n "b": 2}', 'line 2, column 2: expected a comma or the end of what was opened, found "'),
     ('{"a": 1} }', "line 1, column 10: expected nothing after the end, found }"),
     ('{"a": "b', "line 1, column 7: expected JSON, found an unterminated string"),
     ("\ufeff{}", "line 1, column 1: expected JSON in UTF-8 without a byte order mark, found one"),
     ("[" * 200_000, "expected JSON, found values nested too deeply"),
     ('{"pool_size": ' + "1" * 5000 + "}", "expected JSON, found a number with too many digits")],
)  # fmt: skip
def test_what_is_no_json_is_said_in_words(home, text, said):
    write(home, text)
    with pytest.raises(SettingsError) as caught:
        load(home)
    assert caught.value.message == f"{home / 'settings.json'}, {said}"


def test_what_is_malformed_may_be_listed_while_the_defaults_stand_in_for_it(home):
    write(home, {"pool_size": "many", "recovery": "auto", "http": {"timeout": "soon", "egress": "open"}})
    problems: list[str] = []
    settings = load_settings({}, {"OPCODE_HOME": str(home)}, problems=problems)
    assert (settings.pool_size, settings.recovery, settings.policy.hosts.egress) == (10, "auto", "open")
    assert [problem.partition(": expected")[0].rpartition(" ")[2] for problem in problems] == [
        "pool_size",
        "http.timeout",
    ]


@pytest.mark.parametrize(("mode", "warned"), [(0o600, 0), (0o640, 0), (0o644, 1), (0o604, 1), (0o660, 1)])
def test_a_file_of_the_passphrase_that_others_can_read_or_change_is_a_warning(home, tmp_path, mode, warned):
    file = tmp_path / "key"
    file.write_text("pass")
    file.chmod(mode)
    found = load_settings({}, {"OPCODE_HOME": str(home), "OPCODE_VAULT_KEY_FILE": str(file)}).warnings
    assert found == (
        (f"OPCODE_VAULT_KEY_FILE: other users can read or change {file} (mode {mode:04o}): chmod 600 {file}",) * warned
    )


@pytest.mark.parametrize("content", ["[1]", '"text"'])
def test_a_file_that_holds_no_object_is_refused(home, content):
    write(home, content)
    with pytest.raises(SettingsError, match="expected a JSON object"):
        load(home)


def test_a_wrong_value_in_the_file_is_named_with_its_line(home):
    write(home, {"log_level": "info", "shell": {"timeout": "30s"}, "http": {"timeout": "soon"}})
    with pytest.raises(SettingsError, match=r"line 7, http\.timeout: expected a duration .* found \"soon\""):
        load(home)


def test_unknown_keys_are_warnings_with_a_hint(home):
    write(home, {"pool_sice": 3, "fs": {"writable": []}})
    warnings = load(home).warnings
    assert "did you mean 'pool_size'" in warnings[0]
    assert "fs.writable" in warnings[1]


def test_a_variable_that_nearly_is_one_of_ours_is_a_warning(home):
    warnings = load(home, OPCODE_POOLSIZE="3", OPCODE_MODE="x", OPCODE_SHEL_TIMEOUT="1s").warnings
    assert warnings == (
        "unknown environment variable 'OPCODE_POOLSIZE' is ignored; did you mean 'OPCODE_POOL_SIZE'?",
        "unknown environment variable 'OPCODE_SHEL_TIMEOUT' is ignored; did you mean 'OPCODE_SHELL_TIMEOUT'?",
    )


def test_a_broken_file_does_not_hide_a_wrong_variable(home):
    write(home, "{oops")
    with pytest.raises(SettingsError) as caught:
        load(home, OPCODE_POOL_SIZE="many", OPCODE_VAULT_KEY="a", OPCODE_VAULT_KEY_FILE="b")
    assert [line.partition(":")[0].rpartition("/")[2][:16] for line in caught.value.message.splitlines()] == [
        "OPCODE_VAULT_KEY", "settings.json, l", "OPCODE_POOL_SIZE",
    ]  # fmt: skip


def test_the_value_of_a_token_is_never_shown(home):
    write(home, {"auth_token": ["s3cret"]})
    with pytest.raises(SettingsError) as caught:
        load(home)
    assert "s3cret" not in caught.value.message
    assert "s3cret" not in repr(load(home / "other", OPCODE_AUTH_TOKEN="s3cret"))


def test_the_vault_key_is_taken_out_of_the_environment(home, tmp_path):
    file = tmp_path / "key"
    file.write_text("from file\n", encoding="utf-8")
    for given, key in (({"OPCODE_VAULT_KEY": "direct"}, "direct"), ({"OPCODE_VAULT_KEY_FILE": str(file)}, "from file")):
        environ = {"OPCODE_HOME": str(home), **given}
        settings = load_settings(None, environ)
        assert settings.vault_key == key
        assert set(environ) == {"OPCODE_HOME"}
        assert key not in repr(settings)


def test_every_variable_of_the_vault_is_taken_out_even_if_one_is_refused(home, tmp_path):
    keys = {"OPCODE_VAULT_KEY": "phrase-1", "OPCODE_VAULT_KEY_NEW": "phrase-2", "OPCODE_VAULT_KEY_PREVIOUS": "phrase-3"}
    environ = {"OPCODE_HOME": str(home), **keys}
    settings = load_settings(None, environ)
    assert set(environ) == {"OPCODE_HOME"}
    assert settings.vault_keys.others() == ["phrase-2", "phrase-3"]
    assert not any(key in repr(settings) for key in keys.values())
    environ = {"OPCODE_HOME": str(home), **keys, "OPCODE_VAULT_KEY_NEW_FILE": "x"}
    with pytest.raises(SettingsError, match="OPCODE_VAULT_KEY_NEW and OPCODE_VAULT_KEY_NEW_FILE are both set"):
        load_settings(None, environ)
    assert set(environ) == {"OPCODE_HOME"}


def test_the_file_of_a_passphrase_is_read_again_and_kept_from_actions(home, tmp_path):
    file = tmp_path / "key"
    file.write_text("old\n", encoding="utf-8")
    settings = load(home, OPCODE_VAULT_KEY_FILE=str(file))
    assert settings.vault_keys.others() == []
    file.write_text("new\n", encoding="utf-8")
    assert settings.vault_keys.others() == ["new"]
    file.unlink()
    assert settings.vault_keys.others() == []
    assert str(file) in settings.vault_keys.hidden(settings.policy).paths.deny
    plain = load(home, OPCODE_VAULT_KEY="x")
    assert plain.vault_keys.hidden(plain.policy) is plain.policy


def test_two_vault_keys_a_missing_or_an_empty_file_are_refused(home, tmp_path):
    with pytest.raises(SettingsError, match="both set"):
        load(home, OPCODE_VAULT_KEY="a", OPCODE_VAULT_KEY_FILE="b")
    with pytest.raises(SettingsError, match="cannot be read"):
        load(home, OPCODE_VAULT_KEY_FILE=str(tmp_path / "none"))
    (tmp_path / "empty").write_text(" \n", encoding="utf-8")
    with pytest.raises(SettingsError, match="is empty"):
        load(home, OPCODE_VAULT_KEY_FILE=str(tmp_path / "empty"))


def test_a_port_without_host_means_loopback_and_says_so(home):
    address = load(home, OPCODE_LISTEN_ADDR=":4200").listen_addr
    assert (address.host, address.port, address.implied) == ("127.0.0.1", 4200, True)


@pytest.mark.parametrize("address", ["0.0.0.0:4100", "192.168.1.5:4100", "[::]:4100", "example.org:4100"])
def test_an_address_others_can_reach_needs_a_token(home, address):
    settings = load(home, {"listen_addr": address})
    with pytest.raises(SettingsError, match=r"auth_token .* or listen on 127\.0\.0\.1:4100"):
        settings.check_exposure()
    load(home, {"listen_addr": address}, OPCODE_AUTH_TOKEN="t").check_exposure()


@pytest.mark.parametrize("address", ["127.0.0.1:1", "localhost:1", "[::1]:1", "127.0.0.9:1", ":1"])
def test_loopback_needs_none(home, address):
    load(home, {"listen_addr": address}).check_exposure()


def test_policy_sections_come_from_the_file_and_the_environment(home):
    write(home, {"fs": {"writable_paths": ["~/work"], "max_read_bytes": "1MB"}, "http": {"allow_hosts": ["a", "b"]}})
    policy = load(home, OPCODE_FS_DENY_PATHS="/x:/y", OPCODE_SHELL_ENABLED="0", OPCODE_HTTP_ALLOW_HOSTS="c").policy
    assert policy.paths.writable == (str(Path.home() / "work"),)
    assert policy.paths.deny == ("/x", "/y")
    assert policy.paths.max_read_bytes == 1 << 20
    assert policy.hosts.allow == ("c",)
    assert policy.shell.enabled is False


def test_every_limit_can_be_set_in_the_file_and_in_the_environment(home):
    assert load(home).limits == Limits()
    names = [limit.name for limit in fields(Limits)]
    write(home, {"limits": {name: number for number, name in enumerate(names, 7)}})
    assert astuple(load(home).limits) == tuple(range(7, 7 + len(names)))
    given = {f"OPCODE_LIMITS_{name.upper()}": "3" for name in names}
    assert set(astuple(load(home, **given).limits)) == {3}


@pytest.mark.parametrize("name", [limit.name for limit in fields(Limits)])
def test_a_limit_of_nothing_is_refused(home, name):
    for wrong in ("0", "-1", "many"):
        with pytest.raises(SettingsError, match=f"OPCODE_LIMITS_{name.upper()}: expected a"):
            load(home, **{f"OPCODE_LIMITS_{name.upper()}": wrong})


def test_what_differs_between_two_settings_is_listed(home):
    before, after = load(home), load(home, OPCODE_LOG_LEVEL="debug", OPCODE_POOL_SIZE="4")
    assert before.changed(after) == ["log_level", "pool_size"]
    after = load(home, OPCODE_FS_MAX_READ_BYTES="1MB", OPCODE_HTTP_EGRESS="public")
    assert before.changed(after) == ["fs", "http"]


def test_a_port_chosen_by_the_system_reaches_the_policy(home):
    settings = load(home, {"listen_addr": "127.0.0.1:0"}).at_port(4321)
    assert settings.client_url == "http://127.0.0.1:4321"
    assert ("localhost", 4321) in settings.policy.hosts.own_addresses


def test_external_plugins_are_read_with_every_problem_and_no_value_that_may_be_secret(home):
    write(home, {"plugins": [{"name": "Bad", "command": "x"}, {"name": "http", "url": "http://u:hunter2@h/"}]})
    with pytest.raises(SettingsError) as caught:
        load(home)
    lines = caught.value.message.splitlines()
    assert [line.partition(": ")[2].partition(":")[0] for line in lines] == [
        "plugins[0].name",
        "plugins[1].name",
        "plugins[1].url",
    ]
    assert all(line.startswith(f"{home / 'settings.json'}, line 2, plugins: ") for line in lines)
    assert "hunter2" not in caught.value.message
    write(home, {"plugins": [{"name": "files", "command": "server", "env": {"T": "${{secrets.T}}"}}]})
    (plugin,) = load(home).plugins
    assert (plugin.id, plugin.env) == ("files", {"T": "${{secrets.T}}"})


def test_a_list_of_names_under_plugins_is_refused_with_the_key_that_is_meant(home):
    write(home, {"plugins": ["steps", "fs"]})
    with pytest.raises(SettingsError, match="to choose among the installed plugins, use plugins_only"):
        load(home)
    write(home, {"plugins_only": ["steps"]})
    assert load(home).plugins_only == ("steps",)
    chosen = load(home, OPCODE_PLUGINS="fs,http")
    assert (chosen.plugins_only, chosen.plugins) == (("fs", "http"), ())
