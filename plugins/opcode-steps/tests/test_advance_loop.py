"""What `loop` answers to the core: three modes, their limits, and what an observer reads about them."""

import pytest

from opcode_kernel import Complete, ExpressionError, Fail, Failure, Limits, Open, OpenBlock, Step, Wait
from opcode_steps.loop import LoopStep

LOOP = LoopStep()
MAX_ITERATIONS = Limits().loop_iterations
BODY = [{"id": "work", "action": "x.y"}]


def for_each(view, items, /, *, max_iter=None, over="xs", **more):
    return view(LOOP, {"over": over, "body": BODY, "max_iter": max_iter}, values={"xs": items}, **more)


def conditional(view, mode, holds, /, *, max_iter=None, **more):
    return view(LOOP, {"mode": mode, "condition": "c", "body": BODY, "max_iter": max_iter}, values={"c": holds}, **more)


def ended(block, *outputs):
    return [block(f"iter_{index}", index, output=output) for index, output in enumerate(outputs)]


# for_each -----------------------------------------------------------------------------------------------------


def test_the_first_iteration_freezes_the_items(view):
    directive = LOOP.advance(for_each(view, ["a", "b"]))
    assert directive == Open(
        [OpenBlock("body", "iter_0", 0, "a")],
        memo={"items": ["a", "b"]},
        notes=[("loop_iter_started", {"iteration": 0, "item": "a"})],
    )


def test_later_iterations_take_their_item_from_the_memo_and_keep_it(view, block):
    shown = for_each(view, AssertionError("evaluated again"), memo={"items": ["a", "b"]}, blocks=ended(block, 1))
    assert LOOP.advance(shown) == Open(
        [OpenBlock("body", "iter_1", 1, "b")],
        notes=[
            ("loop_iter_completed", {"iteration": 0, "item": "a"}),
            ("loop_iter_started", {"iteration": 1, "item": "b"}),
        ],
    )


def test_an_iteration_that_has_not_ended_is_waited_for(view, block):
    running = [*ended(block, 1), block("iter_1", 1, ended=False, suspended=True)]
    assert LOOP.advance(for_each(view, [], memo={"items": ["a", "b"]}, blocks=running)) == Wait()


def test_after_the_last_iteration_the_results_are_in_order(view, block):
    shown = for_each(view, [], memo={"items": ["a", "b"]}, blocks=ended(block, 1, None))
    assert LOOP.advance(shown) == Complete(
        {"iterations": 2, "results": [1, None]},
        [("loop_iter_completed", {"iteration": 1, "item": "b"}), ("loop_completed", {"iterations": 2})],
    )


@pytest.mark.parametrize("items", [None, []])
def test_nothing_to_iterate_over_is_no_iteration(view, items):
    assert LOOP.advance(for_each(view, items)) == Complete(
        {"iterations": 0, "results": []}, [("loop_completed", {"iterations": 0})]
    )


@pytest.mark.parametrize("items", [7, "abc", {"a": 1}, True])
def test_anything_but_a_list_or_null_is_refused(view, items):
    with pytest.raises(ExpressionError, match="expected a list or null") as caught:
        LOOP.advance(for_each(view, items))
    assert caught.value.code == "EXECUTION_ERROR"
    assert not caught.value.retryable


def test_more_items_than_max_iter_are_cut_and_the_answer_says_so(view, block):
    directive = LOOP.advance(for_each(view, [1, 2, 3], max_iter=2))
    assert directive.memo == {"items": [1, 2], "total": 3}
    done = LOOP.advance(for_each(view, None, max_iter=2, memo=directive.memo, blocks=ended(block, "x", "y")))
    assert done.output == {"iterations": 2, "results": ["x", "y"], "truncated": True, "total": 3}
    assert done.notes[-1] == ("loop_completed", {"iterations": 2, "truncated": True})


def test_exactly_max_iter_items_are_not_truncated(view):
    assert LOOP.advance(for_each(view, [1, 2], max_iter=2)).memo == {"items": [1, 2]}


@pytest.mark.parametrize("max_iter", [None, MAX_ITERATIONS + 1, MAX_ITERATIONS * 3])
def test_no_max_iter_lifts_the_ceiling_of_the_engine(view, max_iter):
    with pytest.raises(ExpressionError, match=f"at most {MAX_ITERATIONS} iterations, found {MAX_ITERATIONS + 1}"):
        LOOP.advance(for_each(view, [0] * (MAX_ITERATIONS + 1), max_iter=max_iter))
    assert len(LOOP.advance(for_each(view, [0] * MAX_ITERATIONS, max_iter=max_iter)).memo["items"]) == MAX_ITERATIONS


def test_max_iter_keeps_a_list_above_the_ceiling_below_it(view):
    memo = LOOP.advance(for_each(view, [0] * (MAX_ITERATIONS + 5), max_iter=3)).memo
    assert memo == {"items": [0, 0, 0], "total": MAX_ITERATIONS + 5}


def test_a_failing_iteration_fails_the_loop_and_tells_how_far_it_came(view, block):
    failure = Failure("EXECUTION_ERROR", "no", details={"status": 500}, step_id="s.iter_1.work")
    blocks = [*ended(block, 1), block("iter_1", 1, failure=failure)]
    directive = LOOP.advance(for_each(view, [], memo={"items": ["a", "b", "c"]}, blocks=blocks))
    assert isinstance(directive, Fail)
    assert directive.failure == Failure(
        "EXECUTION_ERROR", "no", details={"status": 500, "completed_iterations": 1}, step_id="s.iter_1.work"
    )
    assert failure.details == {"status": 500}


def test_events_show_large_items_cut_and_the_body_gets_them_whole(view):
    text, rows = "é" * 3_000, [["x" * 5_000]]
    directive = LOOP.advance(for_each(view, [text]))
    shown = directive.notes[0][1]["item"]
    assert shown.endswith("é…")
    assert len(shown.encode()) <= 4_096 + len("…".encode())
    assert directive.blocks[0].item == text
    directive = LOOP.advance(for_each(view, [rows]))
    assert directive.notes[0][1]["item"] == {"truncated": True, "bytes": 5_006}
    assert directive.blocks[0].item == rows


# where the items come from ----------------------------------------------------------------------------------------


def test_a_plain_text_is_an_expression_of_the_over_rule(compiler):
    plan = LOOP.compile(Step(id="s", config={"over": ".steps.a[]", "body": BODY}), compiler)
    assert (plan.over.text, plan.over.language) == (".steps.a[]", "over")
    assert compiler.blocks == {"body": BODY}


def test_a_reference_and_a_list_are_resolved(view):
    assert LOOP.advance(for_each(view, [1], over="${{ xs }}")).memo == {"items": [1]}
    assert LOOP.advance(for_each(view, 5, over=["a", "${{xs}}"])).memo == {"items": ["a", 5]}
    assert LOOP.advance(for_each(view, 5, over=[])).output == {"iterations": 0, "results": []}


def test_a_wrapped_text_that_is_no_reference_is_an_expression(view):
    over = "${{ xs.filter(x, x > 1) }}"
    shown = view(LOOP, {"over": over, "body": BODY}, values={over: [2, 3]})
    assert LOOP.advance(shown).memo == {"items": [2, 3]}


# while and until --------------------------------------------------------------------------------------------------


def test_while_tests_before_the_first_iteration(view):
    shown = conditional(view, "while", False)
    assert LOOP.advance(shown) == Complete({"iterations": 0, "results": []}, [("loop_completed", {"iterations": 0})])
    assert shown.tests == [(0, None)]


def test_while_looks_at_the_iteration_about_to_run(view, block):
    shown = conditional(view, "while", lambda index, last: index < 2 and last == "y", blocks=ended(block, "y"))
    assert LOOP.advance(shown) == Open(
        [OpenBlock("body", "iter_1", 1)],
        notes=[("loop_iter_completed", {"iteration": 0}), ("loop_iter_started", {"iteration": 1})],
    )
    assert shown.tests == [(1, "y")]
    shown = conditional(view, "while", lambda index, last: index < 2, blocks=ended(block, "y", "z"))
    assert LOOP.advance(shown).output == {"iterations": 2, "results": ["y", "z"]}


def test_until_runs_once_before_it_tests_anything(view):
    shown = conditional(view, "until", True)
    assert LOOP.advance(shown).blocks == [OpenBlock("body", "iter_0", 0)]
    assert shown.tests == []


def test_until_looks_at_the_iteration_just_finished(view, block):
    shown = conditional(view, "until", lambda index, last: last == "ready", blocks=ended(block, "wait"))
    assert LOOP.advance(shown).blocks == [OpenBlock("body", "iter_1", 1)]
    assert shown.tests == [(0, "wait")]
    shown = conditional(view, "until", lambda index, last: last == "ready", blocks=ended(block, "wait", "ready"))
    assert LOOP.advance(shown).output == {"iterations": 2, "results": ["wait", "ready"]}
    assert shown.tests == [(1, "ready")]


def test_a_loop_that_waits_for_its_body_tests_nothing(view, block):
    shown = conditional(view, "while", True, blocks=[block("iter_0", 0, ended=False)])
    assert LOOP.advance(shown) == Wait()
    assert shown.tests == []


@pytest.mark.parametrize(("mode", "holds"), [("while", True), ("until", False)])
def test_max_iter_ends_a_tested_loop_well_and_the_answer_says_so(view, block, mode, holds):
    directive = LOOP.advance(conditional(view, mode, holds, max_iter=2, blocks=ended(block, 1, 2)))
    assert directive.output == {"iterations": 2, "results": [1, 2], "max_iter_reached": True}
    assert directive.notes[-1] == ("loop_completed", {"iterations": 2})


@pytest.mark.parametrize(("mode", "holds"), [("while", False), ("until", True)])
def test_a_loop_that_ends_by_its_condition_did_not_reach_max_iter(view, block, mode, holds):
    directive = LOOP.advance(conditional(view, mode, holds, max_iter=2, blocks=ended(block, 1, 2)))
    assert directive.output == {"iterations": 2, "results": [1, 2]}


@pytest.mark.parametrize(("mode", "holds"), [("while", True), ("until", False)])
@pytest.mark.parametrize("max_iter", [None, MAX_ITERATIONS * 2])
def test_a_tested_loop_fails_at_the_ceiling_of_the_engine(view, block, mode, holds, max_iter):
    blocks = ended(block, *range(MAX_ITERATIONS))
    assert isinstance(LOOP.advance(conditional(view, mode, holds, max_iter=max_iter, blocks=blocks[:-1])), Open)
    directive = LOOP.advance(conditional(view, mode, holds, max_iter=max_iter, blocks=blocks))
    assert isinstance(directive, Fail)
    assert directive.failure.code == "EXECUTION_ERROR"
    assert not directive.failure.retryable
    assert directive.failure.details == {"completed_iterations": MAX_ITERATIONS}
    assert directive.notes == [("loop_iter_completed", {"iteration": MAX_ITERATIONS - 1})]


def test_the_ceiling_is_the_one_of_the_engine(view, block):
    low = Limits(loop_iterations=2)
    assert isinstance(LOOP.advance(for_each(view, [1, 2], limits=low)), Open)
    with pytest.raises(ExpressionError, match="at most 2 iterations, found 3"):
        LOOP.advance(for_each(view, [1, 2, 3], limits=low))
    blocks = ended(block, 1, 2)
    assert isinstance(LOOP.advance(conditional(view, "while", True, blocks=blocks[:1], limits=low)), Open)
    assert isinstance(LOOP.advance(conditional(view, "while", True, blocks=blocks, limits=low)), Fail)


@pytest.mark.parametrize("holds", [None, 1, "true", []])
def test_a_test_that_yields_no_boolean_fails_the_loop(view, block, holds):
    directive = LOOP.advance(conditional(view, "until", holds, blocks=ended(block, 1)))
    assert isinstance(directive, Fail)
    assert directive.failure.code == "EXECUTION_ERROR"
    assert directive.failure.details == {"expression": "c", "completed_iterations": 1}
    assert not directive.failure.retryable
    assert directive.notes == [("loop_iter_completed", {"iteration": 0})]


def test_a_test_that_fails_fails_the_loop_and_keeps_what_was_done(view, block):
    directive = LOOP.advance(conditional(view, "while", ExpressionError("no such key"), blocks=ended(block, 1)))
    assert isinstance(directive, Fail)
    assert directive.failure.message == "no such key"
    assert directive.notes == [("loop_iter_completed", {"iteration": 0})]


def test_a_failing_body_ends_a_tested_loop(view, block):
    failure = Failure("STEP_FAILED", "no")
    directive = LOOP.advance(conditional(view, "while", True, blocks=[block("iter_0", 0, failure=failure)]))
    assert directive.failure.details == {"completed_iterations": 0}
