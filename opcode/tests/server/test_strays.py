"""Arguments nobody asked for: which are refused, which are remarked upon."""

from __future__ import annotations

import pytest

from opcode_kernel.errors import DefinitionError, NotFoundError, OpcodeError
from opcode_kernel.server import tool_schemas as schemas
from opcode_kernel.server.refusals import full_text
from opcode_kernel.server.strays import check_arguments, check_keys, with_remarks
from opcode_kernel.server.tools import prefixed

RUN = {"template_name": "t", "agent_id": "a"}


@pytest.mark.parametrize(
    ("schema", "given", "stray", "meant"),
    [
        (schemas.RUN_IN, RUN, "inputs", "params"),
        (schemas.RUN_IN, RUN, "input", "params"),
        (schemas.RUN_IN, RUN, "args", "params"),
        (schemas.RUN_IN, RUN, "parameters", "params"),
        (schemas.RUN_IN, RUN, "parms", "params"),
        (schemas.RUN_IN, RUN, "waitTimeout", "wait_timeout"),
        (schemas.RUN_IN, {}, "template", "template_name"),
        (schemas.RUN_IN, {}, "name", "template_name"),
        (schemas.RUN_IN, {}, "workflow", "template_name"),
        (schemas.DEFINE_IN, {}, "inputSchema", "input_schema"),
        (schemas.DEFINE_IN, {}, "steps", "definition"),
        (schemas.STATUS_IN, {}, "id", "workflow_id"),
        (schemas.STATUS_IN, {}, "run_id", "workflow_id"),
        (schemas.SIGNAL_IN, {}, "type", "signal_type"),
        (schemas.SIGNAL_IN, {}, "step", "step_id"),
        (schemas.SIGNAL_IN, {}, "choice", "payload"),
    ],
)
def test_an_argument_that_stands_in_for_a_known_one_is_refused(schema, given, stray, meant):
    with pytest.raises(DefinitionError, match=rf"unknown argument '{stray}'; .*'{meant}'") as caught:
        check_arguments(schema, {**given, stray: "x"})
    assert caught.value.details["did_you_mean"] == meant


def test_another_word_beside_the_known_one_is_only_a_remark():
    (remark,) = check_arguments(schemas.RUN_IN, {**RUN, "name": "x"})
    assert remark.startswith("unknown argument 'name' was ignored; known are template_name, agent_id, version, ")


def test_an_empty_one_beside_it_does_not_count():
    with pytest.raises(DefinitionError, match="the inputs of a run go in 'params'"):
        check_arguments(schemas.RUN_IN, {**RUN, "params": {}, "inputs": {"n": 1}})


def test_known_and_private_arguments_are_no_strays():
    assert check_arguments(schemas.RUN_IN, {**RUN, "_trace": 1}) == []
    assert check_arguments({"type": "object"}, {"x": 1}) == []


def test_remarks_are_few_and_short():
    remarks = check_keys(("a",), {f"{number}{'x' * 999}": 1 for number in range(50)}, "argument")
    assert len(remarks) == 6
    assert remarks[-1] == "45 more unknown arguments were ignored"
    assert max(map(len, remarks)) < 200


def test_remarks_take_the_shape_the_schema_has_for_them():
    assert with_remarks({"warnings": [1]}, ["r"], schemas.RUN_OUT) == {"warnings": [1, "r"]}
    assert with_remarks({}, ["r"], schemas.DEFINE_OUT)["warnings"][0]["message"] == "r"
    assert with_remarks({}, ["r"], {"properties": {}, "additionalProperties": False}) == {}


def test_candidates_of_something_not_found_are_named_once():
    for message, expected in (
        ("no step b", "x [NOT_FOUND] no step b; there are a, c"),
        ("no step b, use a or c", "x [NOT_FOUND] no step b, use a or c"),
    ):
        with pytest.raises(OpcodeError) as caught, prefixed("x"):
            raise NotFoundError(message, details={"candidates": ["a", "c"]})
        assert caught.value.message == expected


def test_a_problem_whose_words_end_another_sentence_does_not_take_its_place():
    error = DefinitionError("steps must not be empty", details={"errors": [{"path": "steps", "message": "empty"}]})
    assert full_text(error) == "steps must not be empty\nsteps: empty"


@pytest.mark.parametrize("errors", ["x", [1], {}, None])
def test_details_of_another_shape_leave_the_sentence_alone(errors):
    assert full_text(DefinitionError("no", details={"errors": errors})) == "no"
