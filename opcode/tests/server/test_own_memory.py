"""The memory of a process that holds the key of a vault is its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from opcode_kernel.server import own_memory, vault_keys
from opcode_kernel.server.cli import main
from opcode_kernel.server.settings import load_settings

_ASKED = """
import json, pathlib, resource, subprocess, sys
from opcode_kernel.server.own_memory import hide_memory, is_readable
before, hard = is_readable(), resource.getrlimit(resource.RLIMIT_CORE)[1]
trouble = hide_memory()
child = (
    "import resource; soft, hard = resource.getrlimit(resource.RLIMIT_CORE); "
    "resource.setrlimit(resource.RLIMIT_CORE, (hard, hard)); print(soft, hard)"
)
status = pathlib.Path("/proc/self/status")
lines = dict(line.split(":", 1) for line in status.read_text().splitlines()) if status.exists() else {}
print(json.dumps({
    "before": before, "trouble": trouble, "after": is_readable(), "core": resource.getrlimit(resource.RLIMIT_CORE), "hard": hard,
    "child": subprocess.run([sys.executable, "-c", child], capture_output=True, text=True, check=True).stdout.split(),
    "tracer": bool(int(lines.get("CapEff", "0"), 16) >> 19 & 1),
}))
"""


def asked(program: str) -> dict:
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    return json.loads(done.stdout)


def test_nobody_without_the_right_to_trace_reads_hidden_memory_and_none_of_it_is_left_in_a_core_file():
    found = asked(_ASKED)
    assert found["core"] == [0, found["hard"]]
    assert found["child"] == ["0", str(found["hard"])], "a program that it starts may raise the limit again"
    if sys.platform == "linux":
        assert found["trouble"] is None
        assert found["after"] is found["tracer"]
    else:
        assert "offers nothing" in found["trouble"]


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ("own_memory.sys.platform = 'darwin'", "darwin offers nothing for that"),
        ("own_memory.ctypes.CDLL = lambda name: object()", "the C library offers nothing for that"),
        ("own_memory._call = lambda prctl, option: 1", "the kernel refuses it"),
    ],
)
@pytest.mark.skipif(sys.platform != "linux", reason="only Linux lets a process refuse to be looked into")
def test_where_it_cannot_be_had_it_says_why(change, word):
    program = f"import json\nfrom opcode_kernel.server import own_memory\n{change}\nprint(json.dumps([own_memory.hide_memory()]))"
    [trouble] = asked(program)
    assert trouble.startswith(word)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux shows a process to others as a file")
@pytest.mark.parametrize(
    "change",
    [
        "sys.executable = '/bin/false'", "sys.executable = '/bin/true'", "sys.executable = '/no/such/program'",
        "os.getpid = lambda: 'none'", "own_memory._ATTEMPT = 'import time; time.sleep(60)'; own_memory._PATIENCE = 0.1",
    ],
)  # fmt: skip
def test_what_could_not_be_tried_is_neither_readable_nor_not(change):
    program = f"import json, os, sys\nfrom opcode_kernel.server import own_memory\n{change}\nprint(json.dumps([own_memory.is_readable()]))"
    assert asked(program) == [None]


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux shows a process to others as a file")
def test_an_interpreter_that_needs_its_environment_is_tried_with_it(tmp_path, monkeypatch):
    """As one that finds its libraries through `LD_LIBRARY_PATH`; none of our variables is among it."""
    needy = tmp_path / "python"
    needy.write_text(
        f'#!/bin/sh\n[ "$NEEDED" = yes ] && [ -z "$OPCODE_AUTH_TOKEN" ] || exit 127\nexec {sys.executable} "$@"\n'
    )
    needy.chmod(0o755)
    monkeypatch.setenv("NEEDED", "yes")
    monkeypatch.setenv("OPCODE_AUTH_TOKEN", "token")
    found = own_memory.is_readable()
    monkeypatch.setattr(sys, "executable", str(needy))
    assert own_memory.is_readable() is found is not None


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("OPCODE_HOME", str(tmp_path))
    monkeypatch.setenv("OPCODE_LISTEN_ADDR", "127.0.0.1:0")
    return tmp_path


def test_the_doctor_says_whether_it_holds(home, monkeypatch):
    monkeypatch.setenv("OPCODE_VAULT_KEY", "pass")
    program = "from opcode_kernel.server.cli import main; raise SystemExit(main(['doctor', '--json']))"
    [finding] = [each for each in asked(program)["findings"] if each["check"] == "memory"]
    holds = sys.platform == "linux" and not asked(_ASKED)["tracer"]
    assert finding["level"] == ("ok" if holds else "warning")
    if sys.platform == "linux":
        assert finding["text"].startswith("no command can read" if holds else "commands can read the server's memory")


@pytest.mark.parametrize(
    ("key", "trouble", "readable", "level", "said"),
    [
        (None, "no way", True, "ok", "no vault key is set, so it was not tried"),
        ("pass", "no way", True, "warning", "the server's memory, with the vault key in it, cannot be kept from programs"),
        ("pass", None, True, "warning", "commands can read the server's memory, with the vault key in it: it runs as root"),
        ("pass", None, None, "warning", "whether commands can read the server's memory, with the vault key in it, could not"),
        ("pass", None, False, "ok", "no command can read the server's memory, with the vault key in it"),
    ],
)  # fmt: skip
def test_the_doctor_says_what_is_true_in_each_case(home, monkeypatch, capsys, key, trouble, readable, level, said):
    if key is not None:
        monkeypatch.setenv("OPCODE_VAULT_KEY", key)
    for module in (own_memory, vault_keys):
        monkeypatch.setattr(module, "hide_memory", lambda: trouble)
    monkeypatch.setattr(own_memory, "is_readable", lambda: readable)
    main(["doctor", "--json"])
    findings = json.loads(capsys.readouterr().out)["findings"]
    [finding] = [each for each in findings if each["check"] == "memory"]
    assert (finding["level"], finding["text"][: len(said)]) == (level, said)
    assert finding["text"].endswith("no way") is (key is not None and trouble is not None)
    assert [each for each in findings if each["check"] == "settings" and "memory" in each["text"]] == [], "said once"


def test_a_start_whose_memory_cannot_be_hidden_is_warned_of_once(home, monkeypatch):
    monkeypatch.setattr(vault_keys, "hide_memory", lambda: "no way")
    monkeypatch.setenv("OPCODE_VAULT_KEY_PREVIOUS", "pass")
    [warning] = load_settings().warnings
    assert warning == (
        "the memory of this process, which holds the vault key, cannot be kept from other programs of the same user: no way"
    )
    assert load_settings().warnings == (), "there is no key to be taken any more, as when settings are read again"
    assert "OPCODE_VAULT_KEY_PREVIOUS" not in os.environ
