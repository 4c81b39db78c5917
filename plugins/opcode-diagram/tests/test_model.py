"""From JSON to nodes, edges and groups: order, levels, refusals, and statuses folded from rows."""

from __future__ import annotations

from typing import NamedTuple

import pytest

from opcode_diagram.model import END, START, Diagram, build
from opcode_diagram.overlay import Overlay
from opcode_kernel import DefinitionError, Json


class Row(NamedTuple):
    step_id: str
    status: str
    duration_ms: int | None = None
    retry_count: int = 0


def step(step_id: str, *depends_on: str, **more: Json) -> dict[str, Json]:
    return {"id": step_id, "depends_on": list(depends_on), **more}


def loop(step_id: str, *body: Json) -> dict[str, Json]:
    return {"id": step_id, "type": "loop", "config": {"body": list(body)}}


def condition(step_id: str, **branches: Json) -> dict[str, Json]:
    return {"id": step_id, "type": "condition", "config": {"branches": branches}}


def edges(diagram: Diagram, *, dashed: bool = False) -> list[tuple[str, str]]:
    return [(edge.source, edge.target) for edge in diagram.edges if edge.dashed is dashed]


def overlays(diagram: Diagram) -> dict[str, Overlay]:
    return {node.id: node.overlay for top in diagram.nodes for node in top.walk()}


@pytest.mark.parametrize(
    ("definition", "words"),
    [
        (None, "expected a definition object, found null"),
        ([], "expected a definition object, found array"),
        ({}, "steps: expected an array of steps, found null"),
        ({"steps": {}}, "steps: expected an array of steps, found object"),
        ({"steps": []}, "steps: expected at least one step"),
        ({"steps": [7]}, r"steps\[0\]: expected a step object, found number"),
        ({"steps": [{}]}, r"steps\[0\].id: expected a text, found null"),
        ({"steps": [{"id": ""}]}, r"steps\[0\].id: expected a text"),
        ({"steps": [{"id": "a.b"}]}, "expected no dot"),
        ({"steps": [step("a"), step("a")]}, r"steps\[1\].id: 'a' is already taken"),
        ({"steps": [{"id": "__end__"}]}, "'__end__' is already taken"),
        ({"steps": [step("a", "b")]}, "'a' depends on 'b', which is not a step"),
        ({"steps": [step("a", "a")]}, "'a' depends on itself"),
        ({"steps": [step("a", "c"), step("b", "a"), step("c", "b")]}, "circle: a -> c -> b -> a"),
        ({"steps": [loop("l", 7)]}, r"l.body\[0\]: expected a step object"),
        ({"steps": [{"id": "x"}] * 10_001}, "expected at most 10000 steps"),
    ],
)
def test_what_cannot_be_drawn_is_refused_saying_where(definition: Json, words: str) -> None:
    with pytest.raises(DefinitionError, match=words):
        build(definition)


def test_a_long_circle_is_named_shortly() -> None:
    with pytest.raises(DefinitionError) as caught:
        build({"steps": [step(f"s{n}", f"s{(n + 1) % 500}") for n in range(500)]})
    assert caught.value.code == "CYCLE_DETECTED"
    assert len(caught.value.message) < 150


def test_lists_nested_too_deeply_are_refused() -> None:
    deep: Json = step("leaf")
    for number in range(40):
        deep = loop(f"l{number}", deep)
    with pytest.raises(DefinitionError, match="at most 32 nested lists"):
        build({"steps": [deep]})


def test_levels_run_from_start_to_end_by_longest_path_in_the_order_of_the_definition() -> None:
    diagram = build({"steps": [step("z"), step("d", "b", "z"), step("b", "z"), step("a")]})
    assert diagram.levels == ((START,), ("z", "a"), ("b",), ("d",), (END,))
    assert [node.id for node in diagram.nodes] == [START, "z", "b", "d", "a", END]
    assert sorted(edges(diagram)) == sorted([
        (START, "z"), (START, "a"), ("b", "d"), ("z", "d"), ("z", "b"), ("d", END), ("a", END),
    ])  # fmt: skip


def test_references_become_edges_where_no_path_leads_yet() -> None:
    diagram = build({"steps": [
        step("a"), step("b", "a"),
        step("c", "b", params={"x": "${{steps.a.output}} ${{ steps['b'].y }}"}),
        step("d", params={"deep": [{"k": "${{steps.c.output}}"}]}),
    ]})  # fmt: skip
    assert [edge for edge in edges(diagram) if START not in edge and END not in edge] == [
        ("a", "b"), ("b", "c"), ("c", "d"),
    ]  # fmt: skip


def test_references_that_would_close_a_circle_are_left_out() -> None:
    diagram = build({"steps": [step("a", condition="steps.b.x > 1"), step("b", "a")]})
    assert ("a", "b") in edges(diagram)
    assert ("b", "a") not in edges(diagram)


def test_titles_fall_back_to_workflow() -> None:
    for metadata in (None, {}, {"name": 7}, {"name": " "}, [1]):
        assert build({"steps": [step("a")], "metadata": metadata}).title == "Workflow"
    assert build({"steps": [step("a")], "metadata": {"name": "Deploy\n1"}}).title == "Deploy 1"


def test_fallbacks_are_no_roots_and_no_leaves() -> None:
    rescue = {"strategy": "fallback_step", "fallback_step": "b"}
    diagram = build({"steps": [step("a", on_error=rescue), step("b"), loop("l", step("x", on_error=rescue))]})
    assert edges(diagram, dashed=True) == [("a", "b"), ("l.body.x", "b")]
    assert edges(diagram) == [(START, "a"), (START, "l"), ("a", END), ("l", END)]
    assert next(node.role for node in diagram.nodes if node.id == "b") == "fallback"


def test_fallbacks_that_lead_nowhere_or_home_are_ignored() -> None:
    handlers: list[Json] = [{"strategy": "fallback_step", "fallback_step": name} for name in ("zzz", "a", "", 7)]
    for handler in [*handlers, {"strategy": "ignore"}, "x", None]:
        assert edges(build({"steps": [step("a", on_error=handler)]}), dashed=True) == []


def test_hooks_hang_below_the_end() -> None:
    diagram = build({"steps": [step("a")], "on_complete": {"action": "x"}, "on_error": {"id": "a"}})
    assert edges(diagram, dashed=True) == [(END, "on_complete"), (END, "a~2")]
    assert diagram.levels[-1] == (END,)


def test_groups_follow_the_containers_and_ignore_what_is_no_list() -> None:
    fan = {"id": "fan", "type": "parallel", "config": {"branches": [[step("p")], 7, []]}}
    gate = condition("gate", yes=[step("y")], no="x")
    gate["config"]["default"] = [step("d"), step("e", "d")]
    configs: list[Json] = [None, [], {"branches": 3}]
    odd = [{"id": f"odd{n}", "type": "condition", "config": config} for n, config in enumerate(configs)]
    diagram = build({"steps": [fan, gate, loop("l", step("b")), *odd]})
    groups = {node.id: [group.id for group in node.groups] for node in diagram.nodes if node.groups}
    assert groups == {"fan": ["fan.branch_0", "fan.branch_2"], "gate": ["gate.yes", "gate.default"], "l": ["l.body"]}
    default = diagram.nodes[2].groups[1]
    assert [(edge.source, edge.target) for edge in default.edges] == [("gate.default.d", "gate.default.e")]


def test_ids_stay_unique_when_branch_keys_spell_the_same_path() -> None:
    twice = condition("g", a=[condition("b", c=[step("x")])], **{"a.b.c": [step("x")]})
    ids = [node.id for top in build({"steps": [twice]}).nodes for node in top.walk()]
    assert len(ids) == len(set(ids))


def test_a_step_in_a_loop_shows_its_worst_iteration_and_how_many_are_done() -> None:
    definition = {"steps": [loop("each", step("cut"), condition("g", hot=[loop("in", step("deep"))]))]}
    rows = [Row("each", "running")]
    rows += [Row(f"each.iter_{n}.cut", status, 10, n) for n, status in enumerate(["completed", "skipped", "failed"])]
    rows += [Row("each.iter_0.g", "completed"), Row("each.iter_0.g.hot.in", "completed")]
    rows += [Row(f"each.iter_0.g.hot.in.iter_{n}.deep", "completed", 1) for n in range(12)]
    found = overlays(build(definition, rows))
    assert found["each"] == Overlay("running", 0, 0, 0, 1)
    assert found["each.body.cut"] == Overlay("failed", 30, 3, 2, 3)
    assert found["each.body.cut"].progress == "2/3 done"
    assert found["each.body.g.hot.in.body.deep"] == Overlay("completed", 12, 0, 12, 12)


def test_steps_that_are_called_like_iterations_are_not_mistaken_for_them() -> None:
    definition = {"steps": [condition("g", iter_0=[step("a")], iter_1=[step("a")])]}
    found = overlays(build(definition, [Row("g", "running"), Row("g.iter_1.a", "failed")]))
    assert found["g.iter_0.a"] == Overlay()
    assert found["g.iter_1.a"].status == "failed"


def test_a_cut_workflow_keeps_predecessors_and_says_so() -> None:
    diagram = build({"steps": [step(f"s{n}", *([f"s{n - 1}"] if n else [])) for n in range(9)]}, limit=4)
    assert [node.id for node in diagram.nodes] == [START, "s0", "s1", "s2", "s3", END]
    assert ("s3", END) not in edges(diagram)
    assert diagram.notes == ("cut at 4 steps, the workflow has more",)


def test_any_number_of_empty_branches_is_cut_too() -> None:
    diagram = build({"steps": [condition("g", **{f"b{n}": [] for n in range(5000)})]})
    assert len(diagram.nodes[1].groups) == 499
    assert diagram.notes
