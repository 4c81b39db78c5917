"""Conditions, loops and parallel steps: outputs, ids, suspension inside, winners and losers (spec 01 sections 3.3 to 3.7)."""

from __future__ import annotations

from typing import Any

import pytest

import opcode_steps
from opcode_kernel.core.compiling import compile_plan
from opcode_kernel.core.limits import Limits
from opcode_kernel.testing.simulator import Simulator, simulated
from opcode_kernel.testing.steps import echo
from opcode_kernel.testing.vocabulary import vocabulary_of
from opcode_kernel.testing.world import HOLD, fails, succeeds

VOCABULARY = vocabulary_of(opcode_steps.opcode_step_types())
ASK = {"id": "ask", "type": "reasoning", "config": {"prompt_context": "Go?", "options": [{"id": "go"}, {"id": "no"}]}}


def choose(expression: str, branches: dict[str, Any], **keys: Any) -> dict[str, Any]:
    return {"id": "c", "type": "condition", "config": {"expression": expression, "branches": branches, **keys}}


def each(over: Any, *body: Any, **keys: Any) -> dict[str, Any]:
    return {"id": "l", "type": "loop", "config": {"over": over, "body": list(body)}, **keys}


def fan(*branches: Any, mode: str = "all", width: int | None = None, **keys: Any) -> dict[str, Any]:
    config: dict[str, Any] = {"branches": list(branches), "mode": mode}
    return {"id": "p", "type": "parallel", "config": config | ({"max_concurrency": width} if width else {}), **keys}


def rescued_by(fallback: str) -> dict[str, Any]:
    return {"on_error": {"strategy": "fallback_step", "fallback_step": fallback}}


def run(*steps: Any, inputs: dict[str, Any] | None = None, **keys: Any) -> Simulator:
    return simulated({"steps": list(steps)}, VOCABULARY, inputs, **keys)


# condition --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "output"),
    [
        ("p", {"branch": "p", "output": "x"}),
        ("empty", {"branch": "empty"}),
        ("other", {"branch": "default", "output": "d"}),
        (True, {"branch": "true", "output": "t"}),
        (3.0, {"branch": "3", "output": "three"}),
        (1500000, {"branch": "1500000", "output": "many"}),
        (None, {"branch": "null", "output": "nothing"}),
    ],
)
def test_a_condition_runs_the_branch_its_value_names(value: Any, output: Any) -> None:
    branches = {
        "p": [echo("x")], "empty": [], "true": [echo("t")], "3": [echo("three")], "1500000": [echo("many")],
        "null": [echo("nothing")],
    }  # fmt: skip
    found = run(choose("inputs.e", branches, default=[echo("d")]), inputs={"e": value})
    assert found.finish().output == output


def test_no_match_and_no_default_completes_and_says_so() -> None:
    found = run(choose("inputs.e", {"p": [echo("x")]}, default=[]), inputs={"e": "q"})
    assert found.finish().output == {"branch": "q", "skipped": True}
    assert found.events("condition_evaluated")[0].payload == {"expression": "inputs.e", "result": "q"}


def test_a_list_is_no_branch_key() -> None:
    assert run(choose("inputs.e", {"p": []}, default=[echo("d")]), inputs={"e": [1]}).finish().status == "failed"


def test_nested_steps_are_named_after_container_branch_and_step() -> None:
    found = run(choose("'p'", {"p": [echo("x")], "q": [echo("y")]}))
    assert set(found.run.state.nodes) == {"c", "c.p.x"}


# loop -------------------------------------------------------------------------------------------------------------


def test_a_loop_runs_its_body_once_per_item_in_order() -> None:
    found = run(each("inputs.xs", echo("a", "${{loop.item}}"), echo("b", "${{steps.a.output}}-${{loop.index}}")), inputs={"xs": ["x", "y"]})  # fmt: skip
    assert found.finish().output == {"iterations": 2, "results": ["x-0", "y-1"]}
    started = [event.step_id for event in found.events("step_started")]
    assert started == ["l", "l.iter_0.a", "l.iter_0.b", "l.iter_1.a", "l.iter_1.b"]


@pytest.mark.parametrize("over", ["null", "[]", []])
def test_nothing_to_iterate_over_is_zero_iterations(over: Any) -> None:
    assert run(each(over, echo("a"))).finish().output == {"iterations": 0, "results": []}


def test_what_is_no_list_fails_the_loop() -> None:
    outcome = run(each("inputs.n", echo("a")), inputs={"n": 3}).finish()
    assert outcome.error["details"]["cause"]["code"] == "EXECUTION_ERROR"


def test_max_iter_cuts_a_for_each_and_says_so() -> None:
    step = each("[1, 2, 3]", echo("a", "${{loop.item}}"))
    step["config"]["max_iter"] = 2
    assert run(step).finish().output == {"iterations": 2, "results": [1, 2], "truncated": True, "total": 3}


def test_while_tests_before_and_until_after_the_body() -> None:
    def loop(mode: str, condition: str, **keys: Any) -> Any:
        config = {"mode": mode, "condition": condition, "body": [echo("a", "${{loop.index}}")], **keys}
        return run({"id": "l", "type": "loop", "config": config}).finish().output

    assert loop("while", "false") == {"iterations": 0, "results": []}
    assert loop("while", "iter.index < 2") == {"iterations": 2, "results": [0, 1]}
    assert loop("until", "true") == {"iterations": 1, "results": [0]}
    assert loop("until", "iter.last == 2") == {"iterations": 3, "results": [0, 1, 2]}
    assert loop("until", "steps.a.output == 1") == {"iterations": 2, "results": [0, 1]}
    assert loop("while", "true", max_iter=2) == {"iterations": 2, "results": [0, 1], "max_iter_reached": True}


def test_a_test_that_is_no_boolean_fails_the_loop() -> None:
    config = {"mode": "while", "condition": "iter.index", "body": [echo("a")]}
    assert run({"id": "l", "type": "loop", "config": config}).finish().status == "failed"


def test_a_failing_iteration_fails_the_loop_and_tells_how_far_it_came() -> None:
    found = run(each("[1, 2, 3]", echo("a")), results={"l.iter_1.a": fails(retryable=False)})
    error = found.finish().error
    assert error["details"]["completed_iterations"] == 1
    assert error["details"]["path"] == ["l"]
    assert error["step_id"] == "l.iter_1.a"
    assert "l.iter_2.a" not in found.run.state.nodes


def test_an_inner_loop_sees_the_item_of_the_outer_one() -> None:
    inner = {**each("[7]", echo("a", ["${{loop.item}}", "${{loop.parent.item}}", "${{loop.parent.index}}"])), "id": "m"}
    assert run(each("['x']", inner)).finish().output["results"][0]["results"] == [[7, "x", 0]]


def test_a_loop_asks_once_per_item_in_sequence() -> None:
    found = run(each("[1, 2, 3]", ASK, echo("do", "${{steps.ask.output.choice}}")))
    for index, choice in enumerate(["go", "no", "go"]):
        assert found.status == "suspended"
        assert [d.node.path for d in found.run.state.pending_decisions()] == [f"l.iter_{index}.ask"]
        assert f"l.iter_{index}.do" not in found.run.state.nodes
        found.signal("decision", "ask", {"choice": choice}, agent_id="me")
    assert found.finish().output == {"iterations": 3, "results": ["go", "no", "go"]}


# parallel ---------------------------------------------------------------------------------------------------------


def test_all_collects_the_last_output_of_each_branch() -> None:
    assert run(fan([echo("a"), echo("b")], [], [echo("c")])).finish().output == {
        "mode": "all", "branches": ["b", None, "c"],
    }  # fmt: skip


def test_all_runs_every_branch_to_its_end_and_reports_the_lowest_failure() -> None:
    found = run(
        fan([echo("a")], [echo("b")], [echo("c")]), results={"p.branch_0.a": HOLD, "p.branch_1.b": fails(message="one")}
    )
    assert found.status == "active"
    assert found.node("p.branch_2.c").status == "completed"
    found.fail("p.branch_0.a")
    error = found.finish().error
    assert error["step_id"] == "p.branch_0.a"
    assert [failed["branch"] for failed in error["details"]["branch_errors"]] == [0, 1]


def test_suspended_branches_are_cancelled_once_another_branch_failed() -> None:
    found = run(fan([echo("a")], [ASK, echo("behind")]), results={"p.branch_0.a": HOLD})
    found.fail("p.branch_0.a")
    assert found.finish().status == "failed"
    assert found.node("p.branch_1.ask").status == "skipped"
    assert next(iter(found.run.state.decisions.values())).status == "cancelled"
    assert "p.branch_1.behind" not in found.run.state.nodes


def test_a_branch_that_only_waits_for_a_fallback_elsewhere_counts_as_suspended() -> None:
    found = run(
        fan([echo("a")], [echo("b", **rescued_by("f"))], [echo("c", **rescued_by("f"))]), {**ASK, "id": "f"},
        results={"p.branch_0.a": fails(), "p.branch_1.b": fails(), "p.branch_2.c": HOLD},
    )  # fmt: skip
    assert (found.node("f").status, found.node("p").status) == ("suspended", "running")
    found.fail("p.branch_2.c")  # whose fallback rests already
    assert (found.node("p").status, found.node("p").error.step_id) == ("failed", "p.branch_0.a")


@pytest.mark.parametrize(("first", "ends"), [(fails(), "failed"), ("ok", "suspended")])
def test_a_chain_of_fallbacks_that_ends_at_one_which_rests_lets_the_container_rest(first: Any, ends: str) -> None:
    found = run(
        fan([echo("a")], [echo("b", **rescued_by("f1"))]), echo("f1", **rescued_by("f2")), {**ASK, "id": "f2"},
        echo("z", **rescued_by("f2")), echo("busy"),
        results={"p.branch_0.a": first, "p.branch_1.b": fails(), "f1": HOLD, "z": fails(), "busy": HOLD},
    )  # fmt: skip
    assert (found.node("f2").status, found.node("p").status) == ("suspended", "running")
    found.fail("f1")
    assert found.node("p").status == ends


def test_nothing_behind_a_gate_runs_before_the_decision_in_any_branch() -> None:
    found = run(fan([ASK, echo("behind")], [echo("b")]))
    assert found.status == "suspended"
    assert found.node("p").status == "suspended"
    assert found.node("p.branch_1.b").status == "completed"
    assert found.signal("decision", None, {"choice": "go"}).finish().output["branches"] == ["behind", "b"]


def test_branches_do_not_see_each_other_before_the_container_ends() -> None:
    found = run(fan([echo("a")], [echo("w"), echo("b", "${{steps['p.branch_0.a'].output ?? 'hidden'}}")]), echo("z", "${{steps['p.branch_0.a'].output}}", depends_on=["p"]))  # fmt: skip
    outcome = found.finish()
    assert found.node("p.branch_1.b").output == "hidden"
    assert outcome.output == "a"


def test_max_concurrency_limits_how_many_branches_are_open() -> None:
    found = run(
        fan([echo("a")], [echo("b")], [echo("c")], width=2), results={"p.branch_0.a": HOLD, "p.branch_1.b": HOLD}
    )
    assert "p.branch_2.c" not in found.run.state.nodes
    found.succeed("p.branch_1.b")
    assert found.node("p.branch_2.c").status == "completed"


def test_a_race_is_won_by_the_first_branch_that_finishes_and_the_losers_are_skipped() -> None:
    slow, fast = succeeds("slow", after=5_000_000), succeeds("fast", after=1_000)
    found = run(
        fan([echo("a"), echo("never")], [echo("b")], mode="race"), results={"p.branch_0.a": slow, "p.branch_1.b": fast}
    )
    outcome = found.finish()
    assert outcome.output == {"mode": "race", "winner": 1, "output": "fast"}
    assert found.events("step_skipped")[0].payload == {"reason": "race_lost"}
    assert "p.branch_0.never" not in found.run.state.nodes


def test_a_late_result_of_a_lost_race_is_ignored() -> None:
    found = run(fan([echo("a")], [echo("b")], mode="race"), results={"p.branch_0.a": HOLD})
    length = len(found.log)
    assert found.finish().output["winner"] == 1
    found.succeed("p.branch_0.a", "late")
    assert len(found.log) == length


def test_a_suspended_branch_does_not_win_a_race_and_its_decision_is_cancelled() -> None:
    found = run(fan([ASK], [echo("b")], mode="race"), results={"p.branch_1.b": HOLD})
    assert found.status == "active"
    found.succeed("p.branch_1.b", 1)
    assert found.finish().output["winner"] == 1
    assert next(iter(found.run.state.decisions.values())).status == "cancelled"


def test_a_race_in_which_all_fail_reports_the_first() -> None:
    found = run(fan([echo("a")], [echo("b")], mode="race"), results={"p.branch_0.a": fails(message="x"), "p.branch_1.b": fails(message="y")})  # fmt: skip
    assert found.finish().error["message"] == "x"


def test_a_short_id_means_the_nearest_sibling_and_then_outwards() -> None:
    found = run(echo("a", "top"), echo("o", "outer"), fan([echo("a", "inner"), echo("r", ["${{steps.a.output}}", "${{steps.o.output}}"])]))  # fmt: skip
    assert found.finish().steps["p.branch_0.r"][1] == ["inner", "outer"]


def test_the_retry_of_a_container_runs_all_of_it_again_under_the_same_ids() -> None:
    step = fan([echo("a"), echo("b")], retry={"max": 1, "delay": "1s"})
    found = run(step, results={"p.branch_0.b": [fails(), "fine"]})
    assert found.node("p").status == "retrying"
    found.pass_time("1s")
    # Nested attempts count from one again: they belong to a new attempt of the container.
    assert [event.payload["attempt"] for event in found.events("step_started", step="p.branch_0.a")] == [1, 1]


def test_a_run_has_at_most_so_many_steps() -> None:
    plan = compile_plan(
        {"steps": [each("[1, 2, 3, 4, 5]", echo("a")), echo("z")]}, VOCABULARY, limits=Limits(nested_instances=4)
    )
    found = Simulator(plan, latencies=(0,)).start()
    error = found.finish().error
    assert error["details"]["cause"]["code"] == "EXECUTION_ERROR"
    assert "at most 4 nested steps" in error["message"]
    assert found.node("z").status == "completed"


def test_a_long_loop_is_linear_and_its_limit_exact() -> None:
    found = run(each("inputs.xs", echo("a")), inputs={"xs": list(range(10_001))})
    assert (
        found.finish().error["details"]["cause"]["message"].startswith("expected at most 10000 iterations, found 10001")
    )


def test_before_the_first_iteration_a_loop_test_sees_no_step_outside_that_is_called_like_one_of_the_body() -> None:
    loop = {"mode": "while", "condition": "iter.index < 2 && (!has(steps.x) || steps.x == 5)", "body": [echo("x", 5)]}
    found = run(echo("x", 1), {"id": "l", "type": "loop", "depends_on": ["x"], "config": loop})
    assert found.finish().status == "completed"
    assert found.node("l").output == {"iterations": 2, "results": [5, 5]}
