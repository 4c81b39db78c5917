"""Which steps a step reads: every place that can hold a reference, and every text that only looks like one."""

from __future__ import annotations

import pytest

from opcode_diagram.references import nested_lists, steps_read
from opcode_kernel import Json


@pytest.mark.parametrize(
    "step",
    [
        {"params": {"x": "steps.a.output"}},
        {"params": {"x": "\\${{steps.a.output}}"}},
        {"params": {"x": "${{inputs.steps.a}}"}},
        {"params": {"x": "${{steps.a.output"}},
        {"params": {"x": "${{ }} ${{steps}} ${{steps[inputs.x]}}"}},
        {"condition": "inputs.steps.a == 'steps.b'"},
        {"config": {"prompt_context": "about steps.a"}},
        {"config": [1], "params": None, "condition": 7},
        {"type": "loop", "config": {"body": [{"id": "a"}, {"id": "b", "params": "${{steps.a.output}}"}]}},
        {"type": "loop", "config": {"condition": "steps.a.x > 1", "body": [{"id": "a"}]}},
    ],
)
def test_text_that_refers_to_nothing_outside_gives_nothing(step: dict[str, Json]) -> None:
    assert steps_read(step) == set()


@pytest.mark.parametrize(
    "step",
    [
        {"params": {"deep": [{"x": "u ${{ steps.a.output.y }} v"}]}},
        {"params": {"${{steps.a.output}}": 1}},
        {"params": "${{steps['a'].choice}}"},
        {"params": '${{ steps["a"] ?? 1 }}'},
        {"condition": "steps.a.x > 1"},
        {"condition": "${{ steps.a.x > 1 }}"},
        {"condition": "size(steps['a'].list) > 1"},
        {"action": "expr.eval", "params": {"expression": "steps.a.n + 1"}},
        {"type": "condition", "config": {"expression": "steps.a.x"}},
        {"type": "loop", "config": {"over": ".steps.a.items[]", "body": []}},
        {"type": "loop", "config": {"over": "steps.a.items", "body": []}},
        {"type": "reasoning", "config": {"data_inject": {"k": "steps.a.output.rows"}}},
        {"type": "reasoning", "config": {"prompt_context": "is ${{steps.a.output}} right?"}},
        {"type": "condition", "config": {"branches": {"b": [{"id": "x", "params": "${{steps.a.output}}"}]}}},
        {"type": "parallel", "config": {"branches": [[{"id": "x", "condition": "steps.a.ok"}]]}},
        {"type": "loop", "config": {"body": [{"id": "x", "type": "condition", "config": {"default": [
            {"id": "y", "params": {"z": "${{steps.a.output}} ${{steps.x.output}}"}}]}}]}},
    ],
)  # fmt: skip
def test_a_reference_is_found_wherever_it_stands(step: dict[str, Json]) -> None:
    assert steps_read(step) == {"a"}


def test_ids_with_hyphens_and_dots_are_read_whole() -> None:
    step: dict[str, Json] = {"params": ["${{steps.fetch-all.output}}", "${{steps['gate.true.ask'].choice}}"]}
    assert steps_read(step) == {"fetch-all", "gate.true.ask"}


def test_several_tokens_in_one_text_are_all_read() -> None:
    assert steps_read({"params": "${{steps.a.x}}${{steps.b.x}} ${{steps.c.x}}"}) == {"a", "b", "c"}


@pytest.mark.parametrize("text", ["${{" * 200_000, "steps " * 100_000, "steps." * 100_000, "${{steps.a" * 50_000])
def test_hostile_text_takes_no_time(text: str) -> None:
    steps_read({"params": text, "condition": text, "config": {"over": text}})


def test_depth_is_no_danger() -> None:
    deep: Json = "${{steps.a.output}}"
    for _ in range(5000):
        deep = [deep]
    assert steps_read({"params": deep}) == {"a"}


def test_nested_lists_of_a_step_without_config_are_none() -> None:
    assert nested_lists({"id": "a", "type": "loop"}) == []
    assert nested_lists({"id": "a", "type": "loop", "config": {"body": "x"}}) == []
    assert nested_lists({"id": "a", "config": {"body": []}}) == []
