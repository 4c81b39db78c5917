"""The text picture beyond its lines: titles, tags, sub-step blocks, and what hostile labels do to it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

import pytest

from opcode_diagram.draw import draw
from opcode_diagram.text import width_of
from opcode_kernel import DefinitionError, Json


class Row(NamedTuple):
    step_id: str
    status: str
    duration_ms: int | None = None
    retry_count: int = 0


GATE: dict[str, Json] = {
    "id": "gate", "type": "condition", "depends_on": ["pull"],
    "config": {"expression": "true", "branches": {
        "hot": [{"id": "page", "action": "workflow.notify"}, {"id": "wait", "type": "wait", "depends_on": ["page"]}],
        "cold": [],
    }},
}  # fmt: skip
DEFINITION: dict[str, Json] = {
    "metadata": {"name": "Ship it"},
    "steps": [
        {"id": "pull", "action": "http.get"}, GATE, {"id": "sign", "type": "reasoning", "depends_on": ["gate"]},
    ],
}  # fmt: skip
WHOLE_DIAMOND = """\
       ┌──────────┐
       │ a        │
       │ (action) │
       └─────┬────┘
      ┌──────┴──────┐
      ▼             ▼
┌──────────┐  ┌──────────┐
│ b        │  │ c        │
│ (action) │  │ (action) │
└─────┬────┘  └─────┬────┘
      └──────┬──────┘
             ▼
       ┌──────────┐
       │ d        │"""


def test_a_definition_that_cannot_be_drawn_is_refused() -> None:
    with pytest.raises(DefinitionError, match="at least one step"):
        draw({"steps": []})
    with pytest.raises(DefinitionError, match="expected a format out of ascii, mermaid, found 'svg'"):
        draw(DEFINITION, format="svg")


def test_the_whole_picture_of_a_run() -> None:
    rows = [Row("pull", "completed", 41), Row("gate", "completed"), Row("gate.hot.page", "completed", 5, 2),
            Row("sign", "suspended")]  # fmt: skip
    assert (
        draw(DEFINITION, rows)
        == """\
=== Ship it ===

  ┌───────┐
  │ Start │
  └───┬───┘
      │
      ▼
┌────────────┐
│ pull       │
│ (http.get) │
│ [OK]       │
│ 41ms       │
└──────┬─────┘
       │
       ▼
┌─────────────┐
│ gate        │
│ (condition) │
│ [OK]        │
└──────┬──────┘
       │
       ▼
┌─────────────┐
│ sign        │
│ (reasoning) │
│ [WAIT]      │
└──────┬──────┘
       │
       ▼
    ┌─────┐
    │ End │
    └─────┘

--- gate sub-steps ---
  [hot]
    page (workflow.notify) [OK] 5ms 2 retries
    wait (wait)
    page ─→ wait
  [cold]
"""
    )


def test_a_diamond_splits_and_joins() -> None:
    steps: list[Json] = [{"id": "a"}, {"id": "b", "depends_on": ["a"]}, {"id": "c", "depends_on": ["a"]},
             {"id": "d", "depends_on": ["b", "c"]}]  # fmt: skip
    middle = draw({"steps": steps}).split("\n\n", 1)[1].splitlines()[5:19]
    assert middle == WHOLE_DIAMOND.splitlines()


@pytest.mark.parametrize(
    ("status", "tag"),
    [
        ("completed", "[OK]"), ("failed", "[FAIL]"), ("running", "[RUN]"), ("suspended", "[WAIT]"),
        ("pending", "[PEND]"), ("scheduled", "[PEND]"), ("skipped", "[SKIP]"), ("retrying", "[RETRY]"),
        ("odd", "[ODD]"),
    ],
)  # fmt: skip
def test_every_status_has_its_tag(status: str, tag: str) -> None:
    assert f"│ {tag}" in draw(DEFINITION, [Row("pull", status)])


def test_without_a_run_there_is_no_tag_and_a_title_can_be_given() -> None:
    text = draw(DEFINITION, title="Other")
    assert text.startswith("=== Other ===\n\n")
    assert "[OK]" not in text


def test_the_same_input_gives_the_same_text() -> None:
    assert len({draw(DEFINITION, [Row("pull", "completed")]) for _ in range(5)}) == 1


def test_fallbacks_and_hooks_are_dashed_and_named() -> None:
    text = draw({
        "steps": [{"id": "a", "on_error": {"strategy": "fallback_step", "fallback_step": "b"}}, {"id": "b"}],
        "on_complete": {"id": "cheer"}, "on_error": {"action": "workflow.log"},
    })  # fmt: skip
    assert "╎" in text
    assert "│ fallback" in text
    assert "│ on_complete hook │" in text
    assert "│ on_error       │" in text


def test_nested_containers_are_shown_inside_each_other_with_folded_iterations() -> None:
    inner = {"id": "each", "type": "loop", "config": {"over": "x", "body": [{"id": "cut", "action": "fs.copy"}]}}
    definition = {"steps": [{"id": "fan", "type": "parallel", "config": {"branches": [[inner], [{"id": "q"}]]}}]}
    rows = [Row("fan", "running"), Row("fan.branch_0.each", "running"),
            Row("fan.branch_0.each.iter_0.cut", "completed", 4), Row("fan.branch_0.each.iter_1.cut", "completed", 6),
            Row("fan.branch_0.each.iter_2.cut", "running")]  # fmt: skip
    assert (
        draw(definition, rows).split("--- fan sub-steps ---\n")[1]
        == """\
  [branch_0]
    each (loop) [RUN]
      [body]
        cut (fs.copy) [RUN] 2/3 done 10ms
  [branch_1]
    q (action)
"""
    )


def test_sub_steps_with_a_fallback_have_a_dashed_arrow() -> None:
    body = [{"id": "a", "on_error": {"strategy": "fallback_step", "fallback_step": "b"}}, {"id": "b"}]
    text = draw({"steps": [{"id": "l", "type": "loop", "config": {"over": "x", "body": body}}]})
    assert "    b (action) fallback\n" in text
    assert "    a ╌→ b (on_error)\n" in text


def test_long_groups_are_collapsed_and_long_workflows_cut_with_a_note() -> None:
    body = [{"id": f"b{n}"} for n in range(70)]
    assert "    … 10 more\n" in draw({"steps": [{"id": "l", "type": "loop", "config": {"body": body}}]})
    text = draw({"steps": [{"id": f"s{n}"} for n in range(501)]})
    assert "│ s499 " in text
    assert "│ s500 " not in text
    assert text.endswith("\nnote: cut at 500 steps, the workflow has more\n")


def test_a_picture_beyond_200_kb_is_drawn_with_fewer_steps() -> None:
    long = [{"id": f"{'x' * 120}{n}", "action": "y" * 120} for n in range(500)]
    fans = [{"id": f"{'z' * 100}{n}", "type": "parallel", "config": {"branches": [long[:60]]}} for n in range(8)]
    for steps in (long, fans, fans + long):
        for format in ("ascii", "mermaid"):
            assert len(draw({"steps": steps}, format=format, width=400).encode()) <= 200_000


@pytest.mark.parametrize("width", [-5, 40, 77, 10_000])
def test_no_line_is_wider_than_the_page(width: int) -> None:
    deep: Json = [{"id": "leaf" * 20, "action": "数" * 90}]
    for depth in range(15):
        deep = [{"id": f"d{depth}", "type": "loop", "config": {"body": deep}}]
    text = draw({"metadata": {"name": "数" * 300}, "steps": deep}, width=width)
    assert max(map(width_of, text.splitlines())) <= min(max(width, 40), 400)


@pytest.mark.parametrize("hostile", ["a\nb", "\x1b[2J", "\u202eevil", "--- x ---", "\ud800", "é" * 500, "👩‍👩‍👧", " "])
def test_labels_cannot_leave_their_place(hostile: str) -> None:
    steps = [{"id": "a", "action": hostile}, {"id": "b", "type": "condition", "depends_on": ["a"],
                                              "config": {"branches": {hostile: [{"id": "c", "action": hostile}]}}}]  # fmt: skip
    text = draw({"metadata": {"name": hostile}, "steps": steps})
    assert not set(text) & set("\x1b\r\u202e\u200d\ud800")
    boxes = [line for line in text.splitlines() if line.startswith("│")]
    assert {width_of(line) for line in boxes[:3]} == {max(map(width_of, boxes[:3]))}


def test_the_example_of_the_readme_prints_what_the_readme_shows(capsys: pytest.CaptureFixture[str]) -> None:
    readme = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
    (code, picture) = re.findall(r"```(?:python)?\n(.*?)```", readme.split("## Example")[1], re.DOTALL)
    exec(code, {})
    assert capsys.readouterr().out.rstrip() == picture.rstrip()
