"""`opcode secret`: what it reads and prints, what it refuses, and what it leaves in the record."""

from __future__ import annotations

import hashlib
import io
import json
import os
import sqlite3
import sys
from contextlib import closing
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from opcode_kernel.runtime.vault import keys
from opcode_kernel.server.cli import main


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data directory, a key, and keys that are derived quickly."""
    monkeypatch.setattr(keys, "ITERATIONS", keys.ITERATIONS_ALLOWED.start)
    monkeypatch.setenv("OPCODE_HOME", str(tmp_path))
    return tmp_path


@pytest.fixture
def secret(home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    """Return a function that runs the command with a key; returns its exit code, what it printed and what it complained of."""

    def run(*words: str, stdin: bytes = b"", key: str | None = "old", **keys: str) -> tuple[int, str, str]:
        for name, value in {"OPCODE_VAULT_KEY": key, **keys}.items():
            monkeypatch.setenv(name, value) if value is not None else monkeypatch.delenv(name, raising=False)
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin), encoding="utf-8"))
        capsys.readouterr()
        code = main(["secret", *words])
        said = capsys.readouterr()
        return code, said.out, said.err

    return run


@pytest.mark.parametrize(
    "value", ["hunter22", "w\u00f6rd \U0001f424", "two\nlines", 'quo"te\\', "a" * 65_536, " blanks "]
)
def test_a_value_comes_back_as_it_was_given(secret, value):
    assert secret("set", "A", stdin=value.encode() + b"\n")[:2] == (0, "A stored\n")
    assert secret("get", "A", "--reveal") == (0, value, "")
    assert json.loads(secret("get", "A", "--reveal", "--json")[1]) == {"name": "A", "value": value}


def test_a_file_is_taken_as_it_is(secret, home):
    (home / "key.pem").write_bytes(b"-----BEGIN-----\r\nabc\n\n")
    assert secret("set", "A", "--from-file", str(home / "key.pem"))[0] == 0
    assert secret("get", "A", "--reveal", "--json")[1].count("\\r\\n") == 1
    (home / "empty").touch()
    assert secret("set", "B", "--from-file", str(home / "empty"))[0] == 0
    assert secret("get", "B", "--reveal") == (0, "", "")


@pytest.mark.parametrize(
    ("stdin", "said"),
    [(b"", "which was empty"), (b"\n", "which was empty"), (b"hunter2\xff", "UTF-8 text, found other bytes at position 7"),
     (b"hunter2" * 10_000, "at most 65536 bytes"), (b"hunter2" * 200_000, "at most 65536 bytes")],
)  # fmt: skip
def test_what_is_no_value_is_refused_and_not_repeated(secret, stdin, said):
    code, out, err = secret("set", "A", stdin=stdin)
    assert code in (1, 2)
    assert said in err
    assert "hunter2" not in out + err
    assert secret("list") == (0, "no secrets; 'opcode secret set NAME' stores one\n", "")


@pytest.mark.parametrize(
    ("value", "said"),
    [("abc", "has fewer than 4 characters, which is not searched for"), ("     ", "is blanks alone"),
     ("true", "reads like a plain word"), ("Admin", "reads like a plain word"), ("4711", "reads like a plain word or a short number"),
     ("hunter22", None), ("correct horse", None), ("123456", None)],
)  # fmt: skip
def test_who_stores_a_value_that_masks_nothing_or_too_much_is_told_so(secret, value, said):
    code, out, err = secret("set", "A", stdin=value.encode())
    assert (code, out, err == "") == (0, "A stored\n", said is None)
    assert said is None or err.startswith(f"opcode: warning: A {said}")
    warnings = json.loads(secret("set", "A", "--json", stdin=value.encode())[1])["warnings"]
    assert [f"opcode: warning: {text}\n" for text in warnings] == ([] if said is None else [err])


def test_without_a_verb_all_of_them_are_named(home, capsys):
    with pytest.raises(SystemExit) as caught:
        main(["secret"])
    said = capsys.readouterr().err.splitlines()[-1]
    assert (caught.value.code, said.partition(": ")[0]) == (2, "opcode secret")
    assert said.endswith("expected a verb: set, get, list, delete, rotate, rekey, verify, audit, import")


@pytest.mark.parametrize("name", ["1a", "a b", "", "a/b", "-", "\u00e4"])
def test_what_is_no_name_is_refused(secret, name):
    code, _, err = secret("set", "--", name, stdin=b"x")
    assert (code, "expected a secret name" in err) == (1, True)


def test_a_file_that_cannot_be_read_is_one_sentence(secret, home):
    assert secret("set", "A", "--from-file", str(home / "none")) == (
        2,
        "",
        f"opcode: {home}/none cannot be read: No such file or directory\n",
    )


def test_a_secret_on_the_command_line_is_refused_with_a_file_too(secret, home):
    code, _, err = secret("set", "A", "hunter2", "--from-file", str(home / "x"))
    assert (code, "hunter2" in err) == (2, False)


def test_without_a_key_names_can_be_seen_and_deleted_and_no_value(secret):
    secret("set", "A", stdin=b"x")
    for words in (("set", "B"), ("get", "A", "--reveal"), ("rotate",), ("rekey",), ("verify",)):
        code, _, err = secret(*words, stdin=b"x", key=None)
        assert (code, "OPCODE_VAULT_KEY" in err) == (2, True), words
    assert "A" in secret("list", key=None)[1]
    assert "version 1" in secret("get", "A", key=None)[1]
    assert secret("delete", "A", key=None)[:2] == (0, "A deleted\n")


def test_a_wrong_key_is_refused_by_everything_that_needs_one(secret):
    secret("set", "A", stdin=b"x")
    for words in (("set", "B"), ("get", "A", "--reveal"), ("rekey",), ("verify",)):
        code, _, err = secret(*words, stdin=b"x", key="wrong")
        assert (code, "wrong vault passphrase" in err) == (2, True), words


def test_a_wrong_key_is_an_error_of_the_vault_and_names_where_it_came_from(secret, home):
    secret("set", "A", stdin=b"hunter22")
    code, out, err = secret("verify", "--json", key="wrong")
    assert (code, json.loads(out)["error"]["code"]) == (2, "VAULT_ERROR")
    assert "; set OPCODE_VAULT_KEY to that one" in err
    file = home / "key"
    file.write_text("wrong")
    code, _, err = secret("verify", key=None, OPCODE_VAULT_KEY_FILE=str(file))
    assert (code, f"; let the file {file}, which OPCODE_VAULT_KEY_FILE names, hold that one" in err) == (2, True)
    assert "set OPCODE_VAULT_KEY" not in err


@pytest.mark.parametrize(
    ("content", "said"), [(None, "cannot be read: No such file or directory"), (b"\xff", "at byte 0")]
)
def test_a_file_without_a_passphrase_is_refused_in_words(secret, home, content, said):
    file = home / "key"
    if content is not None:
        file.write_bytes(content)
    code, _, err = secret("list", key=None, OPCODE_VAULT_KEY_FILE=str(file))
    assert (code, "Errno" in err) == (2, False)
    assert err.startswith(f"opcode: OPCODE_VAULT_KEY_FILE: {file} ")
    assert said in err


def test_the_record_of_a_secret_that_never_was_is_refused_and_not_that_of_all(secret):
    secret("set", "A", stdin=b"hunter22")
    secret("delete", "A")
    secret("rekey")
    code, out, err = secret("audit", "ZZ")
    assert (code, out) == (1, "")
    assert "there is no secret 'ZZ', and nothing is recorded of one" in err
    [line] = secret("audit", "A", "--limit", "1")[1].splitlines()[1:]
    assert line.split()[1:3] == ["rekey", "*"], "of one that was deleted, what befell all of them is listed as well"


def test_an_empty_record_is_said_to_be_empty(secret):
    assert secret("audit") == (0, "nothing was done with secrets so far\n", "")


def test_what_is_not_there_is_said(secret):
    for words in (("get", "A"), ("get", "A", "--reveal"), ("delete", "A")):
        code, _, err = secret(*words)
        assert (code, "there is no secret 'A'" in err) == (1, True), words


def test_bounds_are_kept_by_a_new_value_and_lifted_when_that_is_asked_for(secret):
    secret("set", "A", "--allow-template", "t", "--allow-template", "u", "--allow-host", "*.example.org", stdin=b"x")
    assert secret("set", "A", stdin=b"y")[1] == "A stored, for template t u, for host *.example.org\n"
    assert secret("list")[1].splitlines()[1].endswith("for template t u, for host *.example.org")
    assert (
        secret("set", "A", "--allow-template", "v", stdin=b"y")[1]
        == "A stored, for template v, for host *.example.org\n"
    )
    (row,) = json.loads(secret("list", "--json")[1])["secrets"]
    assert (row["version"], row["templates"], row["hosts"]) == (3, ["v"], ["*.example.org"])
    assert secret("set", "A", "--unrestricted", stdin=b"y")[1] == "A stored\n"
    assert secret("set", "A", "--unrestricted", "--allow-host", "a", stdin=b"y")[0] == 2
    assert secret("set", "A", "--allow-host", "http://a", stdin=b"y")[0] == 1


def test_a_rotation_needs_the_new_passphrase_and_leaves_the_old_one_behind(secret):
    secret("set", "A", stdin=b"x")
    code, _, err = secret("rotate")
    assert (code, "set OPCODE_VAULT_KEY_NEW" in err) == (2, True)
    assert secret("rotate", OPCODE_VAULT_KEY_NEW="old")[0] == 1
    assert secret("rotate", OPCODE_VAULT_KEY_NEW="new")[:2] == (
        0,
        (
            "1 secret is under the new passphrase, and the old one opens nothing any more. Now set OPCODE_VAULT_KEY to the new "
            "one wherever that is set, for the server and for this command, and take away OPCODE_VAULT_KEY_NEW\n"
        ),
    )
    assert secret("get", "A", "--reveal")[0] == 2
    assert secret("get", "A", "--reveal", key="new") == (0, "x", "")


def test_a_passphrase_may_come_from_a_file_each(secret, home):
    (home / "old").write_text("old\n")
    (home / "new").write_text("new\n")
    secret("set", "A", stdin=b"x")
    files = {"OPCODE_VAULT_KEY_FILE": str(home / "old"), "OPCODE_VAULT_KEY_NEW_FILE": str(home / "new")}
    assert json.loads(secret("rotate", "--json", key=None, **files)[1]) == {"secrets": 1, "rotated": True}
    said = secret("rotate", key=None, **{**files, "OPCODE_VAULT_KEY_NEW_FILE": str(home / "old"),
                                         "OPCODE_VAULT_KEY_FILE": str(home / "new")})[1]  # fmt: skip
    assert said.endswith(f"Now let the file {home}/new, which OPCODE_VAULT_KEY_FILE names, hold the new one and take away "
                         "OPCODE_VAULT_KEY_NEW_FILE\n")  # fmt: skip
    assert secret("rotate", "--json", key=None, **files)[0] == 0
    assert secret("get", "A", "--reveal", key="new")[1] == "x"
    assert secret("rotate", key="new", OPCODE_VAULT_KEY_NEW="x", OPCODE_VAULT_KEY_NEW_FILE=str(home / "new"))[0] == 2


def test_a_rekey_keeps_the_passphrase(secret):
    secret("set", "A", stdin=b"x")
    before = json.loads(secret("get", "A", "--json")[1])
    assert secret("rekey")[0] == 0
    after = json.loads(secret("get", "A", "--json")[1])
    assert before.pop("key_id") != after.pop("key_id")
    assert before == after
    assert secret("get", "A", "--reveal")[1] == "x"


def test_verify_names_what_cannot_be_read(secret, home):
    secret("set", "A", stdin=b"x")
    secret("set", "B", stdin=b"x")
    assert secret("verify") == (0, "2 of 2 secrets can be read\n", "")
    with sqlite3.connect(home / "opcode.db") as database:
        database.execute("UPDATE secrets SET value = (SELECT value FROM secrets WHERE name = 'A') WHERE name = 'B'")
    database.close()
    code, out, err = secret("verify")
    assert (code, out) == (1, "1 of 2 secrets can be read\n")
    assert err.startswith("opcode: the stored value of 'B' does not fit its name and its bounds")
    found = json.loads(secret("verify", "--json")[1])
    reasons = {"B": err.removeprefix("opcode: ").strip()}
    assert found == {"secrets": 2, "damaged": ["B"], "reasons": reasons, "former": [], "sealed": True}


def original_blob(value: bytes, passphrase: bytes = b"theirs") -> bytes:
    key = AESGCM(hashlib.pbkdf2_hmac("sha256", passphrase, b"opcode-vault-salt", 100_000))
    nonce = os.urandom(12)
    return nonce + key.encrypt(nonce, value, None)


@pytest.fixture
def of_original(secret, home):
    """Return a function that makes the database here one with so many secrets of the original and no vault."""

    def make(count: int) -> None:
        secret("list", key=None)
        with closing(sqlite3.connect(home / "opcode.db")) as database:
            row = "INSERT INTO secrets (name, value, created_at, updated_at) VALUES (?, ?, 1, 1)"
            database.executemany(row, [(f"S{n}", original_blob(b"x", b"old")) for n in range(count)])
            database.commit()

    return make


@pytest.mark.parametrize(
    ("count", "advice"),
    [(1, "1 is in the former format; `opcode secret rekey` seals its bounds"),
     (2, "2 are in the former format; `opcode secret rekey` seals their bounds")],
)  # fmt: skip
def test_who_verifies_is_told_of_secrets_in_a_former_format_until_they_are_sealed(secret, of_original, count, advice):
    of_original(count)
    assert secret("verify") == (0, f"{count} of {count} secrets can be read\n", f"opcode: {advice}\n")
    found = json.loads(secret("verify", "--json")[1])
    assert (found["former"], found["sealed"]) == ([f"S{n}" for n in range(count)], False)
    for n in range(count):
        secret("delete", f"S{n}")
    assert secret("verify")[2] == "opcode: the former format is still accepted; `opcode secret rekey` ends that\n"
    assert secret("rekey")[0] == 0
    assert secret("verify") == (0, "0 of 0 secrets can be read\n", "")


def test_the_doctor_tells_of_secrets_in_a_former_format(secret, of_original, monkeypatch, capsys):
    monkeypatch.setenv("OPCODE_LISTEN_ADDR", "127.0.0.1:0")

    def asked() -> dict:
        monkeypatch.setenv("OPCODE_VAULT_KEY", "old")
        assert main(["doctor", "--json"]) == 0
        [finding] = [each for each in json.loads(capsys.readouterr().out)["findings"] if each["check"] == "vault"]
        return finding

    of_original(2)
    found = asked()
    assert (found["level"], found["former"], found["sealed"]) == ("warning", ["S0", "S1"], False)
    assert found["text"] == "open, 2 secrets, 2 are in the former format; `opcode secret rekey` seals their bounds"
    secret("rekey")
    found = asked()
    assert (found["level"], found["text"], found["former"], found["sealed"]) == ("ok", "open, 2 secrets", [], True)


def test_the_record_lists_what_was_done_newest_first(secret):
    secret("set", "A", stdin=b"x")
    secret("set", "B", stdin=b"x")
    secret("get", "A", "--reveal")
    secret("get", "A")
    secret("rekey")
    secret("delete", "A")
    actions = [
        (use["action"], use["name"], use["agent_id"])
        for use in json.loads(secret("audit", "A", "--json", key=None)[1])["uses"]
    ]
    assert actions == [("delete", "A", "cli"), ("rekey", "*", "cli"), ("read", "A", "cli"), ("set", "A", "cli")]
    lines = secret("audit", "--limit", "2")[1].splitlines()
    assert (lines[0].split()[:3], len(lines)) == (["AT", "ACTION", "NAME"], 3)
    with pytest.raises(SystemExit):
        secret("audit", "--limit", "0")


def test_the_secrets_of_the_original_are_taken_over(secret, home):
    original_with(home, TOKEN=original_blob(b"hunter2"))
    assert secret("import", str(home / "original.db"))[0] == 1
    assert secret("import", str(home / "original.db"), OPCODE_VAULT_KEY_PREVIOUS="theirs")[:2] == (
        0,
        "1 secrets imported\n",
    )
    assert secret("get", "TOKEN", "--reveal") == (0, "hunter2", "")
    assert "kept" in secret("import", str(home / "original.db"), OPCODE_VAULT_KEY_PREVIOUS="theirs")[1]
    assert secret("import", str(home / "none.db"))[0] == 1


def original_with(home: Path, **blobs: bytes) -> None:
    with closing(sqlite3.connect(home / "original.db")) as database:
        database.execute("CREATE TABLE secrets (key TEXT PRIMARY KEY, value BLOB, created_at DATETIME)")
        database.executemany("INSERT INTO secrets VALUES (?, ?, 'now')", blobs.items())
        database.commit()


def test_what_an_import_refuses_is_said_with_the_reason_and_the_rest_is_imported(secret, home):
    original_with(home, A=original_blob(b"hunter2"), B=original_blob(b"hunter3"), C=b"short")
    secret("set", "A", stdin=b"x")
    with closing(sqlite3.connect(home / "opcode.db")) as database:
        database.execute("UPDATE secrets SET hosts = '[\"h\"]'")
        database.commit()
    words = ("import", str(home / "original.db"), "--replace")
    code, out, err = secret(*words, OPCODE_VAULT_KEY_PREVIOUS="theirs")
    assert (code, out) == (1, "1 secrets imported\n2 refused\n")
    first, second = err.splitlines()
    assert first.startswith("opcode: 'A': where 'A' may be used cannot be told: the stored value of 'A' does not fit")
    assert first.endswith("; delete it here first, and give it its bounds afterwards")
    assert second == "opcode: 'C': the stored value of 'C' is cut short"
    assert secret("get", "B", "--reveal") == (0, "hunter3", "")
    found = json.loads(secret(*words, "--json", OPCODE_VAULT_KEY_PREVIOUS="theirs")[1])
    assert (found["imported"], found["refused"], [*found["reasons"]]) == (["B"], ["A", "C"], ["A", "C"])


def test_a_run_in_memory_uses_the_secrets_of_the_data_directory(secret, home, monkeypatch, capsys):
    secret("set", "TOKEN", stdin=b"hunter22")
    file = home / "w.json"
    file.write_text(json.dumps({"steps": [
        {"id": "s", "action": "expr.eval", "params": {"expression": "[len(data), data]", "data": "${{secrets.TOKEN}}"}}]}))  # fmt: skip
    monkeypatch.setenv("OPCODE_VAULT_KEY", "old")
    assert main(["run", str(file), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["output"] == {"result": [8, "***"]}
    (use, *_) = json.loads(secret("audit", "--json")[1])["uses"]
    assert (use["action"], use["agent_id"], use["template"]) == ("resolve", "cli", "w")
    monkeypatch.setenv("OPCODE_VAULT_KEY", "wrong")
    assert main(["run", str(file)]) == 2
