"""What `parallel` answers to the core: all and race, failures, suspended branches, and a limited width."""

import pytest

from opcode_kernel import Complete, Fail, Failure, Open, OpenBlock, Step, Wait
from opcode_steps.parallel import ParallelStep

PARALLEL = ParallelStep()
BRANCH = [{"id": "work", "action": "x.y"}]


def branches(view, count, /, blocks=(), **config):
    return view(PARALLEL, {"branches": [BRANCH] * count, **config}, blocks=list(blocks))


def opened(*indices):
    return [OpenBlock(f"branch_{index}", f"branch_{index}") for index in indices]


def failure(text, **details):
    return Failure("EXECUTION_ERROR", text, details=details, step_id=f"s.branch_x.{text}")


def test_all_branches_open_at_once(view):
    assert PARALLEL.advance(branches(view, 3)) == Open(
        opened(0, 1, 2), notes=[("parallel_started", {"mode": "all", "branches": 3})]
    )


def test_every_branch_is_compiled(compiler):
    PARALLEL.compile(Step(id="s", config={"branches": [BRANCH, []]}), compiler)
    assert compiler.blocks == {"branch_0": BRANCH, "branch_1": []}


# all --------------------------------------------------------------------------------------------------------------


def test_all_waits_for_every_branch(view, block):
    assert PARALLEL.advance(branches(view, 2, [block(), block(ended=False)])) == Wait()


def test_all_completes_with_the_outputs_in_the_order_of_the_branches(view, block):
    assert PARALLEL.advance(branches(view, 3, [block(output=1), block(), block(output={"a": 3})])) == Complete(
        {"mode": "all", "branches": [1, None, {"a": 3}]}, [("parallel_completed", {})]
    )


def test_all_lets_running_branches_finish_although_one_failed(view, block):
    assert PARALLEL.advance(branches(view, 2, [block(failure=failure("a")), block(ended=False)])) == Wait()


def test_all_fails_with_the_lowest_failing_branch_and_lists_them_all(view, block):
    blocks = [block(output=1), block(failure=failure("b", status=500)), block(failure=failure("c"))]
    directive = PARALLEL.advance(branches(view, 3, blocks))
    assert isinstance(directive, Fail)
    assert (directive.failure.code, directive.failure.message) == ("EXECUTION_ERROR", "b")
    assert directive.failure.step_id == "s.branch_x.b"
    assert directive.failure.details["status"] == 500
    assert directive.failure.details["branch_errors"] == [
        {"branch": 1, **failure("b", status=500).to_json()},
        {"branch": 2, **failure("c").to_json()},
    ]
    assert blocks[1].failure.details == {"status": 500}


def test_all_fails_at_once_when_only_suspended_branches_remain_beside_a_failed_one(view, block):
    suspended = block(ended=False, suspended=True)
    directive = PARALLEL.advance(branches(view, 3, [block(), suspended, block(failure=failure("c"))]))
    assert isinstance(directive, Fail)
    assert [error["branch"] for error in directive.failure.details["branch_errors"]] == [2]


def test_all_waits_while_a_branch_runs_beside_a_failed_and_a_suspended_one(view, block):
    blocks = [block(failure=failure("a")), block(ended=False, suspended=True), block(ended=False)]
    assert PARALLEL.advance(branches(view, 3, blocks)) == Wait()


def test_all_waits_for_a_suspended_branch_when_nothing_failed(view, block):
    assert PARALLEL.advance(branches(view, 2, [block(), block(ended=False, suspended=True)])) == Wait()


# race -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("others", [{"ended": False}, {"ended": False, "suspended": True}, {"failure": failure("b")}])
def test_race_is_won_by_the_first_branch_that_succeeds(view, block, others):
    blocks = [block(**others), block(output="won"), block(**others)]
    assert PARALLEL.advance(branches(view, 3, blocks, mode="race")) == Complete(
        {"mode": "race", "winner": 1, "output": "won"}, [("parallel_completed", {"winner": 1})]
    )


def test_race_is_won_without_an_output_too(view, block):
    directive = PARALLEL.advance(branches(view, 2, [block(), block(ended=False)], mode="race"))
    assert directive.output == {"mode": "race", "winner": 0, "output": None}


def test_race_goes_on_while_any_branch_may_still_win(view, block):
    failed = block(failure=failure("a"))
    assert PARALLEL.advance(branches(view, 2, [failed, block(ended=False)], mode="race")) == Wait()
    assert PARALLEL.advance(branches(view, 2, [failed, block(ended=False, suspended=True)], mode="race")) == Wait()


def test_race_fails_when_every_branch_failed(view, block):
    blocks = [block(failure=failure("a")), block(failure=failure("b"))]
    directive = PARALLEL.advance(branches(view, 2, blocks, mode="race"))
    assert isinstance(directive, Fail)
    assert directive.failure.message == "a"
    assert [error["message"] for error in directive.failure.details["branch_errors"]] == ["a", "b"]


# width ------------------------------------------------------------------------------------------------------------


def test_no_more_branches_open_than_may_run_at_once(view):
    assert PARALLEL.advance(branches(view, 5, max_concurrency=2)).blocks == opened(0, 1)
    assert PARALLEL.advance(branches(view, 2, max_concurrency=9)).blocks == opened(0, 1)


def test_a_branch_that_ended_makes_room_for_the_next(view, block):
    running = block(ended=False)
    assert PARALLEL.advance(branches(view, 5, [running, running], max_concurrency=2)) == Wait()
    assert PARALLEL.advance(branches(view, 5, [block(), running], max_concurrency=2)) == Open(opened(2))
    assert PARALLEL.advance(branches(view, 5, [block(), block()], max_concurrency=2)) == Open(opened(2, 3))
    assert PARALLEL.advance(branches(view, 3, [block(), block()], max_concurrency=2)) == Open(opened(2))


def test_a_suspended_branch_keeps_its_place(view, block):
    suspended = block(ended=False, suspended=True)
    assert PARALLEL.advance(branches(view, 2, [suspended], max_concurrency=1)) == Wait()


def test_all_starts_every_branch_although_one_failed(view, block):
    assert PARALLEL.advance(branches(view, 3, [block(failure=failure("a"))], max_concurrency=1)) == Open(opened(1))
    suspended = block(ended=False, suspended=True)
    half = branches(view, 3, [block(failure=failure("a")), suspended], max_concurrency=2)
    assert PARALLEL.advance(half) == Open(opened(2))


def test_race_tries_the_next_branch_after_a_failure_and_none_after_a_winner(view, block):
    lost = branches(view, 3, [block(failure=failure("a"))], mode="race", max_concurrency=1)
    assert PARALLEL.advance(lost) == Open(opened(1))
    won = branches(view, 3, [block(output=1)], mode="race", max_concurrency=1)
    assert PARALLEL.advance(won).output == {"mode": "race", "winner": 0, "output": 1}
