"""Edges, order and cycles of the top-level steps."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import opcode_steps
from opcode_kernel.core.graph import Graph
from opcode_kernel.core.ordering import components, cycles, topological_order

TYPES = {step_type.name: step_type for step_type in opcode_steps.opcode_step_types()}


def step(
    name: str, *after: str, reads: tuple[str, ...] = (), fallback: str | None = None, **keys: Any
) -> dict[str, Any]:
    made: dict[str, Any] = {"id": name, "action": "noop", "depends_on": list(after), **keys}
    if reads:
        made["params"] = {"a": [f"${{{{steps.{other}.output}}}}" for other in reads]}
    if fallback:
        made["on_error"] = {"strategy": "fallback_step", "fallback_step": fallback}
    return made


def graph(*steps: Any) -> Graph:
    return Graph.of(list(steps), TYPES)


def test_a_cycle_lists_the_ids_in_the_order_of_waiting() -> None:
    found = graph(step("a", "c"), step("b", "a"), step("c", "b"))
    assert found.cycle == ["a", "b", "c"]
    assert found.order == ()
    assert found.levels == {}


def test_every_knot_of_cycles_is_reported_once_and_what_is_behind_it_is_unreachable() -> None:
    found = graph(step("a", "b"), step("b", "a"), step("x", "y"), step("y", "x"), step("z", "y"), step("root"))
    assert found.cycles == (("a", "b"), ("x", "y"))
    assert found.unreachable == ("z",)


def test_a_param_that_holds_program_text_is_read_like_an_expression() -> None:
    steps = [
        step("a"),
        {"id": "b", "action": "noop", "params": {"code": "steps.a.n + 1", "text": "steps.c.n"}},
        step("c"),
    ]
    assert Graph.of(steps, TYPES, lambda action: {"code": "expr"}).implicit == {"b": ("a",)}
    assert Graph.of(steps, TYPES).implicit == {}


def test_reading_makes_a_cycle_too() -> None:
    assert graph(step("a", reads=("b",)), step("b", "a")).cycle == ["a", "b"]


def test_order_breaks_ties_by_position() -> None:
    found = graph(step("d", "b"), step("c"), step("b"), step("a", "c"))
    assert found.order == ("c", "b", "d", "a")
    assert found.levels == {"c": 0, "b": 0, "d": 1, "a": 1}
    assert found.cycle is None


def test_what_is_read_becomes_an_edge_unless_a_path_is_there_already() -> None:
    found = graph(step("a"), step("b", "a"), step("c", "b", reads=("a",)), step("d", reads=("c", "a")))
    assert found.explicit["c"] == ("b",)
    assert found.implicit == {"d": ("c",)}
    assert found.dependencies("d") == ("c",)
    assert found.levels["d"] == 3


def test_a_path_made_of_implicit_edges_counts_wherever_the_steps_stand() -> None:
    found = graph(step("c", reads=("a", "b")), step("b", reads=("a",)), step("a"))
    assert found.implicit == {"c": ("b",), "b": ("a",)}
    assert found.order == ("a", "b", "c")


@pytest.mark.parametrize(
    "reader",
    [
        step("y", condition="steps.x.ok"),
        step("y", condition="${{ steps['x'].ok }}"),
        {"id": "y", "type": "condition", "config": {"expression": "steps.x.v", "branches": {"v": []}}},
        {"id": "y", "type": "loop", "config": {"over": ".steps.x.items", "body": [step("n")]}},
        {"id": "y", "type": "loop", "config": {"over": "${{steps.x.items}}", "body": [step("n")]}},
        {"id": "y", "type": "loop", "config": {"over": "[.steps.x.items[] | .id]", "body": [step("n")]}},
        {"id": "y", "type": "loop", "config": {"over": "inputs.xs", "body": [step("n", reads=("x",))]}},
        {"id": "y", "type": "parallel", "config": {"branches": [[], [step("n", condition="steps.x.ok")]]}},
        {"id": "y", "type": "reasoning", "config": {"prompt_context": "?", "data_inject": {"d": "steps.x.output"}}},
        {"id": "y", "type": "wait", "config": {"duration": "${{steps.x.pause}}"}},
    ],
)
def test_references_count_wherever_they_stand(reader: dict[str, Any]) -> None:
    assert graph(reader, step("x")).implicit == {"y": ("x",)}


def test_a_nested_step_of_the_same_id_hides_the_outer_one() -> None:
    body = [step("x"), step("n", reads=("x",))]
    assert graph(step("x"), {"id": "l", "type": "loop", "config": {"over": "inputs.a", "body": body}}).implicit == {}


def test_a_full_id_means_the_container_it_starts_with() -> None:
    gate = {
        "id": "gate",
        "type": "condition",
        "config": {"expression": "inputs.x", "branches": {"true": [step("ask")]}},
    }
    found = graph(step("y", params={"a": "${{steps['gate.true.ask'].choice}}"}), gate)
    assert found.implicit == {"y": ("gate",)}


def test_unknown_ids_duplicates_and_non_steps_are_ignored() -> None:
    found = graph(step("a", "zz", "a"), step("a"), step("b", "a", "a"), 7, {"id": 5}, step("c", reads=("zz",)))
    assert found.explicit == {"a": (), "b": ("a",), "c": ()}
    assert found.order == ("a", "b", "c")
    assert Graph.of("no list", TYPES) == Graph()


# Fallbacks ---------------------------------------------------------------------------------------------------------


def test_a_fallback_may_read_and_name_its_trigger_without_waiting_for_it_twice() -> None:
    found = graph(step("t", fallback="f"), step("f", reads=("t",)), step("d", "t"))
    assert found.triggers == {"f": ("t",)}
    assert found.implicit == {}
    assert found.cycle is None
    assert graph(step("t", fallback="f"), step("f", "t")).cycle is None


def test_what_is_over_before_the_trigger_needs_no_edge_to_the_fallback() -> None:
    assert graph(step("a"), step("t", "a", fallback="f"), step("f", reads=("a",))).implicit == {}
    shared = graph(step("a"), step("t", "a", fallback="f"), step("u", fallback="f"), step("f", reads=("a",)))
    assert shared.implicit == {"f": ("a",)}


def test_a_trigger_that_reads_its_fallback_does_not_wait_for_it() -> None:
    found = graph(step("t", reads=("f",), fallback="f"), step("f"))
    assert (found.implicit, found.refused, found.cycle) == ({}, {"t": ("f",)}, None)


def test_an_ancestor_of_the_trigger_does_not_wait_for_the_fallback() -> None:
    found = graph(step("x", reads=("f",)), step("t", "x", fallback="f"), step("f"))
    assert (found.refused, found.cycle) == ({"x": ("f",)}, None)


def test_a_fallback_does_not_wait_for_what_waits_for_its_trigger() -> None:
    found = graph(step("t", fallback="f"), step("d", "t"), step("f", reads=("d",)))
    assert (found.refused, found.cycle) == ({"f": ("d",)}, None)


def test_a_later_step_may_wait_for_what_a_fallback_wrote() -> None:
    found = graph(step("t", fallback="f"), step("f"), step("d", "t", reads=("f",)))
    assert (found.implicit, found.refused) == ({"d": ("f",)}, {})


@pytest.mark.parametrize(
    "steps",
    [
        (step("t", "f", fallback="f"), step("f")),
        (step("t", fallback="f"), step("d", "t"), step("f", "d")),
        (step("t", fallback="f"), step("f", fallback="g"), step("d", "t"), step("g", "d")),
        (
            {"id": "t", "type": "parallel", "config": {"branches": [[step("n", fallback="f")]]}},
            step("f", "t"),
        ),
    ],
)
def test_an_explicit_wait_that_deadlocks_a_fallback_is_a_cycle(steps: tuple[Any, ...]) -> None:
    assert graph(*steps).cycle is not None


def test_a_chain_of_fallbacks_and_a_nested_trigger_are_fine() -> None:
    nested = {"id": "p", "type": "parallel", "config": {"branches": [[step("n", fallback="f")]]}}
    found = graph(nested, step("f", fallback="g"), step("g", "f"), step("d", "p"))
    assert found.cycle is None
    assert found.triggers == {"f": ("p",), "g": ("f",)}


# The arithmetic ----------------------------------------------------------------------------------------------------

GRAPHS = st.integers(1, 7).flatmap(
    lambda n: st.lists(st.lists(st.integers(0, n - 1), max_size=4, unique=True), min_size=n, max_size=n)
)


@settings(max_examples=150, deadline=None)
@given(GRAPHS)
def test_an_order_exists_exactly_where_there_is_no_cycle(successors: list[list[int]]) -> None:
    order = topological_order(successors)
    found = cycles(successors)
    assert (len(order) == len(successors)) == (not found)
    rank = {node: position for position, node in enumerate(order)}
    assert all(rank[a] < rank[b] for a in order for b in successors[a] if b in rank)
    for cycle in found:
        assert len(set(cycle)) == len(cycle)
        assert all(b in successors[a] for a, b in zip(cycle, [*cycle[1:], cycle[0]], strict=True))


@settings(max_examples=150, deadline=None)
@given(GRAPHS)
def test_components_hold_the_nodes_that_reach_each_other(successors: list[list[int]]) -> None:
    def reached(start: int) -> set[int]:
        seen, pending = {start}, [start]
        while pending:
            fresh = set(successors[pending.pop()]) - seen
            seen |= fresh
            pending.extend(fresh)
        return seen

    reach = [reached(node) for node in range(len(successors))]
    component = components(successors)
    for a in range(len(successors)):
        for b in range(len(successors)):
            assert (component[a] == component[b]) == (a in reach[b] and b in reach[a])


@settings(max_examples=150, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.lists(st.sampled_from("abcdef"), max_size=2), st.lists(st.sampled_from("abcdef"), max_size=2),
            st.none() | st.sampled_from("abcdef"),
        ),
        min_size=1, max_size=6,
    )
)  # fmt: skip
def test_dependencies_come_first_and_everything_read_is_before_the_reader_or_refused(rows: list[Any]) -> None:
    names = "abcdef"[: len(rows)]
    steps = [
        step(
            name, *(x for x in after if x != name), reads=tuple(reads), fallback=None if fallback == name else fallback
        )
        for name, (after, reads, fallback) in zip(names, rows, strict=True)
    ]
    found = graph(*steps)
    assert found == graph(*steps)
    if found.cycle is not None:
        return
    assert sorted(found.order) == sorted(names)
    rank = {name: position for position, name in enumerate(found.order)}
    for name in names:
        assert all(rank[other] < rank[name] for other in found.dependencies(name))
        assert all(found.levels[other] < found.levels[name] for other in found.dependencies(name))
    if not found.triggers:
        for name, (_, reads, _) in zip(names, rows, strict=True):
            assert all(rank[other] < rank[name] for other in reads if other in rank and other != name)
