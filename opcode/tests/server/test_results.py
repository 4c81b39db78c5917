"""How a run is shown to a person: exactly, on as many lines as it takes, and each thing once."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from opcode_kernel.server.cli import main
from opcode_kernel.server.commands.common import one_line, readable_text
from opcode_kernel.server.commands.results import in_tree_order, render


@pytest.fixture
def shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    """Return a function that runs a definition and returns stdout without its last line, and stderr."""
    monkeypatch.setenv("OPCODE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("OPCODE_PLUGINS", "steps,expr,workflow,shell")

    def run(steps: list[Any], *words: str, **definition: Any) -> tuple[str, str]:
        path = tmp_path / "shown.json"
        path.write_text(json.dumps({"steps": steps, **definition}))
        main(["run", str(path), *words])
        captured = capsys.readouterr()
        return captured.out.rpartition("\n")[0].rpartition("\n")[0], captured.err

    return run


def put(step_id: str, value: Any) -> dict[str, Any]:
    return {"id": step_id, "action": "expr.eval", "params": {"expression": "data", "data": value}}


@pytest.mark.parametrize(
    ("value", "line"),
    [
        ("x  y", "x  y"),
        ("x\ty", '"x\\ty"'),
        ("", '""'),
        (" x", '" x"'),
        ("x\n", '"x\\n"'),
        ('"x"', '"\\"x\\""'),
        ("back\\slash", "back\\slash"),
        ("é 漢 👩‍👩", "é 漢 👩‍👩"),
        ("a\u2028b\x9b\u202e", '"a\\u2028b\\u009b\\u202e"'),
        ("\ud800", '"\\ud800"'),
        ({"k": "a  b\n\x1b"}, '{"k": "a  b\\n\\u001b"}'),
        ([1.5, None, True], "[1.5, null, true]"),
    ],
)
def test_a_value_on_one_line_is_exact(value, line):
    assert one_line(value) == line
    if line[0] in '"[{':
        assert json.loads(line) == value


def test_a_text_cannot_move_the_cursor_and_keeps_its_lines():
    assert readable_text("a\n\tb\r\x1b[2J") == "a\n\tb\\r\\u001b[2J"


def test_runs_of_spaces_and_line_breaks_of_an_output_are_kept(shown):
    out, _ = shown([put("s", "x  y\n    z\t\tt")], output="${{steps.s.output.result}}")
    assert out.splitlines()[1].endswith('{"result": "x  y\\n    z\\t\\tt"}')
    assert out.endswith("\noutput:\nx  y\n    z\t\tt")


def test_an_output_of_one_line_stays_on_its_line(shown):
    assert shown([put("s", "x  y")], output="${{steps.s.output.result}}")[0].endswith("\noutput: x  y")
    out, _ = shown([put("s", "x  y")], output={"k": "a\n b"})
    assert out.endswith('\noutput: {"k": "a\\n b"}')


def test_what_is_cut_says_so_and_where_the_rest_is(shown):
    out, _ = shown([put("s", "y" * 3000)], output="${{steps.s.output.result}}")
    row, output, note = out.splitlines()[1:]
    assert row.endswith("y…")
    assert (output, note) == (f"output: {'y' * 1999}…", "(… stands for more; --json shows all of it)")
    whole, _ = shown([put("s", "y\n" * 3000)], output="${{steps.s.output.result}}")
    assert "\n" + "y\n" * 3000 in whole, "a text of several lines is whole"
    assert "--json" not in shown([put("s", "ends with …")])[0]


def test_the_error_of_several_lines_is_shown_whole_once(shown):
    step = {"id": "s", "action": "workflow.fail", "params": {"reason": "first\n  second\nthird"}}
    out, err = shown([step])
    assert "failed s  [NON_RETRYABLE] first …\n" in err
    assert out.splitlines()[1].endswith("[NON_RETRYABLE] first …")
    assert (out + err).count("first\n  second\nthird") == 1
    assert (out + err).count("second") == 1


def test_an_ignored_error_of_several_lines_is_shown_too():
    error = {"code": "EXECUTION_ERROR", "message": "one\ntwo"}
    steps = {
        "all": {"status": "skipped", "ignored": True, "error": error},
        "all.a": {"status": "failed", "error": error},
    }
    lines = render({"status": "completed", "workflow_id": "w", "steps": steps}).splitlines()
    assert lines[1].endswith("[EXECUTION_ERROR] one …")
    assert lines[3:] == ["all: one", "two", "completed (w)"]


def test_nested_steps_stand_below_their_container(shown):
    branches = [[put("a", 1), put("b", 2)], [put("c", 3), put("d", 4)]]
    out, _ = shown([{"id": "par", "type": "parallel", "config": {"branches": branches}}, put("end", 5)])
    assert [line.split()[0] for line in out.splitlines()[1:7]] == [
        "par", "par.branch_0.a", "par.branch_0.b", "par.branch_1.c", "par.branch_1.d", "end",
    ]  # fmt: skip
    assert in_tree_order(["b.x.c", "a", "b", "b.x.c.y.d"]) == ["b", "b.x.c", "b.x.c.y.d", "a"]


@pytest.mark.parametrize("words", [(), ("--json",)])
def test_what_a_step_logs_is_shown(shown, words):
    steps = [
        {"id": f"l_{level}", "action": "workflow.log", "params": {"message": "rows\nread", "level": level, "rows": 3}}
        for level in ("debug", "info", "warn", "error")
    ]
    _, err = shown(steps, *words)
    assert [line for line in err.splitlines() if line.startswith("log ")] == [
        'log    l_info  rows\\nread  {"data": {"rows": 3}}',
        'log    l_warn  warning: rows\\nread  {"data": {"rows": 3}}',
        'log    l_error  error: rows\\nread  {"data": {"rows": 3}}',
    ]
    assert '"msg"' not in err


def test_a_run_that_starts_others_is_told_that_none_are_stored(shown):
    call = {"id": "s", "action": "workflow.run", "params": {"template_name": "child"}}
    out, err = shown([call])
    assert "warning: without --db there are no stored templates" in err
    assert "template 'child' not found; there is shown" in out
    assert "opcode.query" not in out
    assert "without --db" not in shown([put("s", 1)])[1]
