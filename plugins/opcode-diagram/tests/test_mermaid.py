"""Mermaid source: the published structure, identifiers that never clash, and labels that cannot break out."""

from __future__ import annotations

import re
from typing import NamedTuple

import pytest

from opcode_diagram.draw import draw
from opcode_diagram.mermaid import escape, identifier
from opcode_kernel import Json


class Row(NamedTuple):
    step_id: str
    status: str
    duration_ms: int | None = None
    retry_count: int = 0


CLASSES = """
    classDef completed fill:#2d6a2d,stroke:#1a4a1a,color:#fff
    classDef failed fill:#8b1a1a,stroke:#5c0e0e,color:#fff
    classDef running fill:#1a5276,stroke:#0e3a52,color:#fff
    classDef suspended fill:#b7791a,stroke:#8a5c14,color:#fff
    classDef pending fill:#6b6b6b,stroke:#4a4a4a,color:#fff
    classDef skipped fill:#4a4a4a,stroke:#333,color:#aaa,stroke-dasharray: 5 5
"""


def mermaid(*steps: Json, rows: list[Row] | None = None, **more: Json) -> str:
    return draw({"steps": list(steps), **more}, rows, "mermaid")


def declared(text: str) -> list[str]:
    """Return the identifiers a source declares, nodes and subgraphs."""
    return re.findall(r"^ +(?:subgraph )?(\w+)[\[({]", text, re.MULTILINE)


def test_the_structure_is_the_published_one() -> None:
    gate = {"id": "gate", "type": "condition", "depends_on": ["pull"],
            "config": {"branches": {"hot": [{"id": "page", "action": "workflow.notify"}]}}}  # fmt: skip
    rows = [
        Row("pull", "completed"),
        Row("gate", "completed"),
        Row("gate.hot.page", "running"),
        Row("sign", "suspended"),
    ]
    text = mermaid({"id": "pull"}, gate, {"id": "sign", "type": "reasoning", "depends_on": ["gate"]}, rows=rows)
    assert (
        text
        == f"""\
graph TD
    %% Workflow
    __start__(("Start"))
    pull["pull<br/>(action)"]
    gate{{"gate"}}
    subgraph gate_hot["gate: hot"]
        gate_hot_page["page (workflow.notify)"]
    end
    sign{{{{"sign"}}}}
    __end__(("End"))
    __start__ --> pull
    pull --> gate
    gate --> sign
    sign --> __end__
    gate -.-> gate_hot
{CLASSES}    class pull completed
    class gate completed
    class gate_hot_page running
    class sign suspended
"""
    )


def test_every_kind_has_its_shape() -> None:
    loop = {"id": "l", "type": "loop", "config": {"body": [{"id": "x"}]}}
    text = mermaid(loop, {"id": "p", "type": "parallel"}, {"id": "w", "type": "wait"}, {"id": "q", "type": "own.kind"})
    for line in ('l[["l"]]', 'p[["p"]]', 'w(["w"])', 'q["q<br/>(own.kind)"]'):
        assert f"    {line}\n" in text


def test_unknown_statuses_have_no_class_and_scheduled_counts_as_pending() -> None:
    rows = [Row("a", "odd"), Row("b", "scheduled"), Row("c", "retrying")]
    text = mermaid({"id": "a"}, {"id": "b"}, {"id": "c"}, rows=rows)
    assert "class a " not in text
    assert "    class b pending\n" in text
    assert "    classDef retrying " in text
    assert "    class c retrying\n" in text
    assert "retrying" not in mermaid({"id": "a"})


def test_fallbacks_and_hooks_are_dashed() -> None:
    rescue = {"strategy": "fallback_step", "fallback_step": "b"}
    text = mermaid({"id": "a", "on_error": rescue}, {"id": "b"}, on_complete={"id": "cheer"}, on_error={"id": "alarm"})
    for line in ("a -.->|on_error| b", "__end__ -.->|on_complete| cheer", "__end__ -.->|on_error| alarm"):
        assert f"    {line}\n" in text


def test_ids_that_look_alike_get_names_of_their_own() -> None:
    gate = {"id": "a", "type": "condition", "config": {"branches": {"b": [{"id": "c"}]}}}
    text = mermaid(gate, {"id": "a-b"}, {"id": "a_b"}, {"id": "a_b_c"}, {"id": "a_b_2"}, {"id": "é"}, {"id": "è"})
    names = declared(text)
    assert len(names) == len(set(names)) == 11
    assert names[1] == "a"
    assert "a_b" in names


@pytest.mark.parametrize("word", ["end", "End", "graph", "subgraph", "class", "classDef", "click", "style", "default"])
def test_keywords_never_stand_alone(word: str) -> None:
    text = mermaid({"id": word}, {"id": "b", "depends_on": [word]})
    assert f'    n_{word}["{word}<br/>(action)"]\n' in text
    assert f"    n_{word} --> b\n" in text


def test_very_long_ids_stay_distinct() -> None:
    names = declared(mermaid({"id": "x" * 128 + "1"}, {"id": "x" * 128 + "2"}))
    assert len(set(names)) == 4
    assert max(map(len, names)) < 100
    assert identifier("a b") == "a_b"


HOSTILE = [
    '"]; click a "javascript:alert(1)"', "a\nb --> c", "%%{init: {'theme':'dark'}}%%", "`md`", "<script>", "a;b#c|d\\",
    "\u202eabc", "数据 ok", "end", "#quot;", "\ud800",
]  # fmt: skip


@pytest.mark.parametrize("hostile", HOSTILE)
def test_nothing_from_a_definition_can_leave_its_place(hostile: str) -> None:
    gate = {"id": "g", "type": "condition", "config": {"branches": {hostile: [{"id": "x", "action": hostile}]}}}
    calm = {"id": "g", "type": "condition", "config": {"branches": {"calm": [{"id": "x", "action": "calm"}]}}}
    text = mermaid(gate, metadata={"name": hostile}, on_error={"id": hostile, "action": hostile})
    model = mermaid(calm, metadata={"name": "calm"}, on_error={"id": "calm", "action": "calm"})
    assert text.count("\n") == model.count("\n")
    assert "%%{" not in text
    assert not set(text) & set("`\\\u202e\ud800;") - {";"}
    for line in text.splitlines():
        inside = re.sub(r"#(?:\d+|quot|lt|gt|amp);", "", line).replace("<br/>", "")
        assert inside.count('"') in (0, 2)
        assert not set(inside.split('"')[1] if '"' in inside else "") & set("#<>&;{}|")


def test_escaping_keeps_what_people_read() -> None:
    assert escape("page (workflow.notify): é 数 [1] a=b") == "page (workflow.notify): é 数 [1] a=b"
    assert escape("#1") == "#35;1"
