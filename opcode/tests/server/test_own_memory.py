"""The memory of a process that holds the key of a vault is its own."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

_ASKED = """
import json, pathlib, resource
from opcode_kernel.server.own_memory import hide_memory, is_readable
before = is_readable()
trouble = hide_memory()
status = pathlib.Path("/proc/self/status")
lines = dict(line.split(":", 1) for line in status.read_text().splitlines()) if status.exists() else {}
print(json.dumps({
    "before": before, "trouble": trouble, "after": is_readable(), "core": resource.getrlimit(resource.RLIMIT_CORE),
    "tracer": bool(int(lines.get("CapEff", "0"), 16) >> 19 & 1),
}))
"""


def asked(program: str) -> dict:
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    return json.loads(done.stdout)


def test_nobody_without_the_right_to_trace_reads_hidden_memory_and_none_of_it_is_left_in_a_core_file():
    found = asked(_ASKED)
    assert found["core"] == [0, 0]
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


def test_the_doctor_says_whether_it_holds(tmp_path, monkeypatch):
    monkeypatch.setenv("OPCODE_HOME", str(tmp_path))
    monkeypatch.setenv("OPCODE_LISTEN_ADDR", "127.0.0.1:0")
    program = "from opcode_kernel.server.cli import main; raise SystemExit(main(['doctor', '--json']))"
    [finding] = [each for each in asked(program)["findings"] if each["check"] == "memory"]
    holds = sys.platform == "linux" and not asked(_ASKED)["tracer"]
    assert finding["level"] == ("ok" if holds else "warning")
    assert ("no command can read" if holds else "commands can read the server's memory") in finding["text"]
