"""Templates: the vectors of spec 02 section 17, the scope rules of spec 01 section 3.5, holes."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import opcode_steps
from opcode_kernel.core.interpolation import Hole, Secret, compile_template, fill_holes, restore_holes, split_holes
from opcode_kernel.core.scope import Scope
from opcode_kernel.errors import DefinitionError, InterpolationError
from opcode_kernel.testing.simulator import Simulator, simulated
from opcode_kernel.testing.vocabulary import vocabulary_of

VOCABULARY = vocabulary_of(opcode_steps.opcode_step_types())
OUTPUT = {
    "n": 1048576, "f": 0.00001, "b": True, "z": None, "t": 'a\n"q"', "o": {"k": [1, 2]}, "evil": "${{secrets.P}}",
    "headers": {"Content-Type": "x"},
}  # fmt: skip


def scope(inputs: dict[str, Any] | None = None) -> Scope:
    steps = [
        {"id": "s", "action": "test.echo"}, {"id": "a-b", "action": "test.echo"},
        {"id": "skipped", "action": "test.echo", "condition": "false"},
        {"id": "broken", "action": "test.fail", "on_error": {"strategy": "ignore"}},
        {"id": "later", "action": "test.echo", "depends_on": ["gate"]},
        {"id": "gate", "type": "wait", "config": {"signal": "go"}},
    ]  # fmt: skip
    found = simulated(
        {"steps": steps, "context": {"region": "eu"}}, VOCABULARY, inputs or {"u": "x", "my.dotted.key": 7},
        results={"s": OUTPUT, "a-b": {"ok": True}}, optional=["maybe"],
    )  # fmt: skip
    return Scope(found.run.state, found.run.state.root)


def resolve(template: Any, inputs: dict[str, Any] | None = None) -> Any:
    return compile_template(template).resolve(scope(inputs))


@pytest.mark.parametrize(
    ("template", "result"),
    [
        ("${{steps.s.output.n}}", 1048576),
        ("#${{steps.s.output.n}}", "#1048576"),
        ("${{steps.s.output.f}}!", "0.00001!"),
        ("${{steps.s.b}}", True),
        ("v=${{steps.s.b}}", "v=true"),
        ("${{steps.s.output.z}}", None),
        ("[${{steps.s.output.z}}]", "[null]"),
        ("${{steps.s.output.t}}", 'a\n"q"'),
        ("${{steps.s.output.o.k[-1]}}", 2),
        ("${{steps['s'].output['o'].k.0}}", 1),
        ("${{steps.s.output.o}}", {"k": [1, 2]}),
        ("o=${{steps.s.output.o}}", 'o={"k":[1,2]}'),
        ("${{steps.s.output.evil}}", "${{secrets.P}}"),
        ("e=${{steps.s.output.evil}}", "e=${{secrets.P}}"),
        ("$${{inputs.u}}", "$x"),
        ("\\${{inputs.u}}", "${{inputs.u}}"),
        ("${{inputs.nope ?? 3}}", 3),
        ("${{ inputs.nope ?? 'eu' }}", "eu"),
        ('${{inputs.nope ?? "a }} b"}}', "a }} b"),
        ("${{steps.s.output.z ?? false}}", False),
        ("${{steps.s.output.n | text}}", "1048576"),
        ("${{inputs.u | json}}", '"x"'),
        ("${{steps.s.output}}", OUTPUT),
        ("${{steps.s.status}}", "completed"),
        ("${{steps['a-b'].output.ok}}", True),
        ("${{steps['a-b'].ok}}", True),
        ("${{inputs.my.dotted.key}}", 7),
        ("${{context.region}}", "eu"),
        ("${{workflow.run_id}}", "run"),
        ("${{inputs.maybe}}", None),
        ("<${{inputs.maybe}}>", "<>"),
        ("${{steps.skipped.output}}", None),
        ("<${{steps.skipped.output}}>", "<>"),
        ("${{steps.skipped.status}}", "skipped"),
        ("${{steps.broken.output}}", None),
        ("${{steps.broken.error.code}}", "EXECUTION_ERROR"),
        ("${{steps.s.output.headers['content-type']}}", "x"),
        (" ${{inputs.u}}", " x"),
        ("${inputs.u} {{inputs.u}} $", "${inputs.u} {{inputs.u}} $"),
        ({"${{inputs.u}}": ["${{inputs.u}}", 1]}, {"x": ["x", 1]}),
        ("a${{inputs.u}}b${{inputs.u}}c", "axbxc"),
    ],
)
def test_a_template_resolves_to(template: Any, result: Any) -> None:
    assert resolve(template) == result


@pytest.mark.parametrize(
    "template",
    [
        "${{inputs.u", "${{}}", "${{ }}", "${{foo.bar}}", "${{inputs}}", "${{inputs.}}", "${{inputs.a ${{inputs.b}}}}",
        "${{inputs.a[x]}}", "${{inputs.a ?? [1]}}", "${{inputs.a ?? nope}}", "${{inputs" + ".a" * 33 + "}}",
    ],
)  # fmt: skip
def test_a_malformed_reference_is_refused_when_it_is_compiled(template: str) -> None:
    with pytest.raises(InterpolationError) as caught:
        compile_template({"deep": [template]})
    assert caught.value.code == "INTERPOLATION_ERROR"
    assert caught.value.details["expression"] is not None


@pytest.mark.parametrize(
    ("template", "details"),
    [
        ("${{inputs.nope}}", {"available_fields": ["my.dotted.key", "u"]}),
        ("${{loop.item}}", {}),
        ("${{steps.nope.output}}", {"available_steps": ["a-b", "broken", "s", "skipped"]}),
        ("${{steps.later.output}}", {"available_steps": ["a-b", "broken", "s", "skipped"]}),
        ("${{steps.s.output.o.x}}", {"available_fields": ["k"]}),
        ("${{steps.s.output.o.k[2]}}", {}),
        ("${{steps.s.output.o.k.x}}", {}),
        ("${{steps.s.output.n.x}}", {}),
        ("${{steps.skipped.output.x}}", {"reason": "step_skipped"}),
        ("${{workflow.nope}}", {}),
        ("${{inputs.u + 1}}", {}),
    ],
)
def test_what_leads_nowhere_says_what_is_there(template: str, details: dict[str, Any]) -> None:
    with pytest.raises(InterpolationError) as caught:
        resolve(template)
    assert caught.value.details["expression"] == template[3:-2]
    assert details.items() <= caught.value.details.items()
    assert caught.value.retryable is False


def test_a_key_that_appears_twice_after_resolving_is_refused() -> None:
    with pytest.raises(DefinitionError, match="'x' appears twice"):
        resolve({"${{inputs.u}}": 1, "x": 2})


def test_a_constant_template_is_the_very_object() -> None:
    value = {"a": [1, "\\$"]}
    template = compile_template(value)
    assert template.constant
    assert template.resolve(scope()) is value


# Secrets ----------------------------------------------------------------------------------------------------------


def test_a_secret_stays_a_hole_and_is_masked_wherever_it_is_shown() -> None:
    masked, holes = split_holes(resolve({"auth": "Bearer ${{ secrets.P }}", "l": ["${{secrets['a.b']}}", "x"]}))
    assert masked == {"auth": "Bearer ***", "l": ["***", "x"]}
    assert holes == [[["auth"], ["Bearer ", {"secret": "P"}]], [["l", 0], [{"secret": "a.b"}]]]
    assert fill_holes(masked, holes, {"P": "hunter22", "a.b": "s"}.__getitem__) == {
        "auth": "Bearer hunter22",
        "l": ["s", "x"],
    }
    assert masked == {"auth": "Bearer ***", "l": ["***", "x"]}
    assert compile_template("${{secrets.P}}").secrets


def test_data_cannot_imitate_a_hole() -> None:
    value = resolve("${{inputs.u}}", {"u": {"secret": "P", "t": "***", "x": "${{secrets.P}}"}})
    assert split_holes(value) == (value, [])


@pytest.mark.parametrize(
    "template", [{"${{secrets.P}}": 1}, "x${{inputs.o}}", "${{inputs.o | json}}", "${{inputs.h.part}}"]
)
def test_a_secret_may_not_get_where_it_could_not_be_masked(template: Any) -> None:
    hole = Hole((Secret("P"),))
    with pytest.raises(InterpolationError):
        resolve(template, {"o": {"k": hole}, "h": hole})


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.just(Hole(("k-", Secret("P")))),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)


@given(VALUES)
def test_splitting_and_restoring_holes_is_a_round_trip_through_json(value: Any) -> None:
    masked, holes = split_holes(value)
    assert restore_holes(*json.loads(json.dumps([masked, holes]))) == value


@given(st.text(max_size=30))
def test_any_value_passes_through_a_whole_reference_unchanged(text: str) -> None:
    for value in (text, {"k": [text]}, [1.5, text]):
        assert resolve("${{inputs.u}}", {"u": value}) == value


@given(st.text(max_size=30))
def test_any_text_compiles_or_is_refused_with_a_typed_error(text: str) -> None:
    try:
        compile_template("${{" + text)
    except InterpolationError:
        pass


# Program text -----------------------------------------------------------------------------------------------------


def test_in_program_text_a_reference_becomes_a_variable_and_never_code() -> None:
    template = compile_template(
        {"expression": "size(${{inputs.u}}) + '${{inputs.u}}'"}, bound=frozenset({"expression"})
    )
    evil = "') + secrets.P + ('"
    bound = template.resolve(scope({"u": evil}))["expression"]
    assert bound["values"] == {"__v0": evil}
    assert bound["text"] == "size( __v0 ) + '\\') + secrets.P + (\\''"


# Scope ------------------------------------------------------------------------------------------------------------


def nested(body: list[Any], **keys: Any) -> Simulator:
    loop = {"id": "each", "type": "loop", "config": {"over": "['x', 'y']", "body": body}}
    return simulated(
        {"steps": [{"id": "o", "action": "test.echo", "params": {"value": "outer"}}, loop], **keys}, VOCABULARY
    )


def test_a_nested_step_is_reached_by_its_full_id_from_outside() -> None:
    body = [{"id": "r", "action": "test.echo", "params": {"value": "${{loop.item}}"}}]
    more = {"output": "${{steps['each.iter_0.r'].output}}-${{steps['each.iter_1.r'].output}}"}
    assert nested(body, **more).finish().output == "x-y"


def test_a_short_id_of_a_nested_step_means_nothing_outside() -> None:
    body = [{"id": "r", "action": "test.echo"}]
    outcome = nested(body, output="${{steps.r.output ?? 'none'}}").finish()
    assert outcome.output == "none"


def test_inside_an_iteration_a_short_id_means_the_sibling_of_that_iteration() -> None:
    body = [
        {"id": "r", "action": "test.echo", "params": {"value": "${{loop.item}}"}},
        {"id": "t", "action": "test.echo", "params": {"value": "${{steps.r.output}}${{steps.o.output}}"}},
    ]
    assert nested(body).finish().steps["each"][1] == {"iterations": 2, "results": ["xouter", "youter"]}


def test_expressions_see_fields_outputs_status_and_own_keys_first() -> None:
    def guard(text: str, output: Any) -> bool:
        steps = [
            {"id": "a-b", "action": "test.echo"}, {"id": "g", "action": "test.echo", "condition": text, "depends_on": ["a-b"]},
        ]  # fmt: skip
        found = simulated({"steps": steps}, VOCABULARY, results={"a-b": output}).finish()
        return found.steps["g"][0] == "completed"

    assert guard("steps['a-b'].x == 1", {"x": 1})
    assert guard("steps['a-b'].output.x == 1", {"x": 1})
    assert guard("steps['a-b'].status == 'completed'", {"x": 1})
    assert guard("steps['a-b'].status == 'own'", {"status": "own"})
    assert guard("steps['a-b'] == 7", 7)
    assert guard("steps['a-b'].output == 7", 7)
    assert not guard("steps['a-b'].x == 2", {"x": 1})
