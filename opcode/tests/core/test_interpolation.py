"""Templates: the vectors of spec 02 section 17, the scope rules of spec 01 section 3.5, holes."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import opcode_steps
from opcode_kernel.core.holes import Hole, Secret, fill_holes, restore_holes, split_holes
from opcode_kernel.core.interpolation import compile_template
from opcode_kernel.core.readers import reader_of
from opcode_kernel.core.references import read_reference
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
        ("${{steps.s.output.staus}}", {}),
        ("${{steps.s.staus}}", {"did_you_mean": "status"}),
        ("${{steps.brokn.output}}", {"did_you_mean": "broken"}),
        ("${{workflow.run_idd}}", {"did_you_mean": "run_id"}),
    ],
)
def test_what_leads_nowhere_says_what_is_there(template: str, details: dict[str, Any]) -> None:
    with pytest.raises(InterpolationError) as caught:
        resolve(template)
    assert caught.value.details["expression"] == template[3:-2]
    assert details.items() <= caught.value.details.items()
    assert caught.value.retryable is False


@pytest.mark.parametrize("index", ["9" * 5_000, "\u0663", "1_0", "+1", "10"])
def test_only_a_short_plain_number_is_the_index_of_an_array(index: str) -> None:
    with pytest.raises(InterpolationError, match="is no index of an array of 2"):
        resolve(f"${{{{inputs.l['{index}']}}}}", {"l": [1, 2]})


def test_the_names_that_a_message_lists_are_cut_however_long_they_are() -> None:
    names = {f"{n}{'k' * 90_000}": n for n in range(80)}
    with pytest.raises(InterpolationError) as caught:
        resolve("${{inputs.o.nope}}", {"o": names})
    assert len(caught.value.message) < 2_500
    assert max(map(len, caught.value.details["available_fields"])) == 81


def test_a_secret_inside_the_quotes_of_a_program_is_refused() -> None:
    template = compile_template({"e": "len('${{secrets.P}}')"}, bound=frozenset({"e"}))
    with pytest.raises(InterpolationError, match="inside the quotes"):
        template.resolve(scope())


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


def test_a_default_stands_in_for_a_secret_that_does_not_exist() -> None:
    template = {
        "a": "${{secrets.NO ?? 3}}",
        "b": "x${{secrets.NO ?? 1.0}}",
        "c": "${{secrets.P ?? 3}}",
        "d": "${{secrets.NO ?? null}}",
    }
    masked, holes = split_holes(resolve(template))
    assert masked == {"a": "***", "b": "x***", "c": "***", "d": "***"}
    assert fill_holes(masked, holes, {"P": "hunter22"}.__getitem__) == {"a": 3, "b": "x1", "c": "hunter22", "d": None}
    assert json.loads(json.dumps(holes)) == holes
    with pytest.raises(KeyError):
        fill_holes(*split_holes(resolve("${{secrets.NO}}")), {}.__getitem__)


def test_a_secret_can_be_written_as_json() -> None:
    hole = Hole((Secret("P"),))
    for text, inputs in (("${{secrets.P | json}}", None), ("${{inputs.h | json}}", {"h": hole})):
        masked, holes = split_holes(resolve(f'{{"k":{text}}}', inputs))
        assert masked == '{"k":***}'
        assert fill_holes(masked, holes, {"P": 'say "hi"'}.__getitem__) == r'{"k":"say \"hi\""}'
    for part_of_a_text in (Hole(("x", Secret("P"))), Hole((Secret("P", as_json=True),))):
        with pytest.raises(InterpolationError, match="only a part"):
            resolve("${{inputs.h | json}}", {"h": part_of_a_text})


def test_the_default_of_a_secret_is_text_where_only_text_may_stand() -> None:
    typed = Hole((Secret("NO", has_default=True, default=1e3),))
    template = {
        "cast": "${{secrets.NO ?? 1e3 | text}}", "null": "${{secrets.NO ?? null | text}}", "passed": "${{inputs.h | text}}",
        "joined": "${{inputs.h}}${{inputs.e}}", "typed": "${{inputs.h}}", "json": "${{secrets.NO ?? 1e3 | json}}",
    }  # fmt: skip
    assert fill_holes(*split_holes(resolve(template, {"h": typed, "e": ""})), {}.__getitem__) == {
        "cast": "1000", "null": "null", "passed": "1000", "joined": "1000", "typed": 1000.0, "json": "1000",
    }  # fmt: skip


# Size -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "template", ["${{inputs.u}}" * 18, ["${{inputs.u}}"] * 18, {f"k{n}": "${{inputs.u}}!" for n in range(18)}]
)
def test_a_template_does_not_grow_without_end(template: Any) -> None:
    with pytest.raises(InterpolationError, match="at most 16777216 bytes"):
        resolve(template, {"u": "x" * 1_000_000})


def test_what_is_counted_is_counted_for_each_template_anew() -> None:
    once = compile_template("<${{inputs.u}}>" * 9)
    for _ in range(3):
        once.resolve(scope({"u": "x" * 1_000_000}))


def test_a_value_too_deep_to_be_written_is_refused_where_it_would_be_text() -> None:
    deep: Any = 1
    for _ in range(3_000):
        deep = [deep]
    here = scope()
    here.state.inputs = {"u": deep}
    assert compile_template("${{inputs.u}}").resolve(here) is deep
    for template in ("x${{inputs.u}}", "${{inputs.u | json}}", "${{inputs.u | text}}", {"${{inputs.u}}": 1}):
        with pytest.raises(InterpolationError, match="nests less deeply"):
            compile_template(template).resolve(here)


# Ways through a value ---------------------------------------------------------------------------------------------

KEYS = st.sampled_from(["a", "b", "0", "-1", "Content-Type", "content-type", "headers", "", "status", "output"])
TREES = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 2) | st.sampled_from(["", "abc", "0"]) | st.just(Hole((Secret("P"),))),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=10,
)
PATHS = st.lists(KEYS | st.integers(-3, 3), max_size=3)


@given(TREES, PATHS, st.sampled_from(["inputs", "steps"]))
def test_the_short_way_to_a_value_is_the_long_one(tree: Any, path: list[str | int], root: str) -> None:
    """`reader_of` goes straight where it can; `Scope.read` knows all the rules. They never differ."""
    accessors = "".join(f"[{each}]" if isinstance(each, int) else f"['{each}']" for each in path)
    reference = read_reference(f"{root}.s.v{accessors}")
    value = {"v": tree}
    steps = [{"id": "s", "action": "test.echo"}]
    found = simulated({"steps": steps}, VOCABULARY, {"s": value}, results={"s": split_holes(value)[0]})
    here = Scope(found.run.state, found.run.state.root)

    def outcome(read: Any) -> Any:
        try:
            return read()
        except InterpolationError as error:
            return error.message, error.details

    assert outcome(lambda: reader_of(reference)(here)) == outcome(lambda: here.read(reference))


# Program text -----------------------------------------------------------------------------------------------------


def test_in_program_text_a_reference_becomes_a_variable_and_never_code() -> None:
    template = compile_template(
        {"expression": "size(${{inputs.u}}) + '${{inputs.u}}'"}, bound=frozenset({"expression"})
    )
    evil = "') + secrets.P + ('"
    bound = template.resolve(scope({"u": evil}))["expression"]
    assert bound["values"] == {"__v0": evil}
    assert bound["text"] == "size((__v0)) + '\\') + secrets.P + (\\''"


@pytest.mark.parametrize(
    ("program", "text", "count"),
    [
        ("'${{inputs.u}}' + ${{inputs.u}}", "'`\\'\\\\' + (__v0)", 1), ('"${{inputs.u}}" + ""', '"`\\\'\\\\" + ""', 0),
        ("`${{inputs.u}}`", "`''\\`", 0), (r"'it\'s ${{inputs.u}}'", r"'it\'s `\'\\'", 0), ("''${{inputs.u}}''", "''(__v0)''", 1),
        ("// don't\n${{inputs.u}}", "// don't\n(__v0)", 1), ("/* it's ${{inputs.u}} */ ${{inputs.u}}", "/* it's (__v0) */ (__v1)", 2),
        ("'//' + ${{inputs.u}}", "'//' + (__v0)", 1),
        (r"'\\' + ${{inputs.u}}", r"'\\' + (__v0)", 1), ("'a' + \"it's\" + ${{inputs.u}}", "'a' + \"it's\" + (__v0)", 1),
    ],
)  # fmt: skip
def test_each_kind_of_literal_has_its_own_escapes(program: str, text: str, count: int) -> None:
    bound = compile_template({"e": program}, bound=frozenset({"e"})).resolve(scope({"u": "`'\\"}))["e"]
    assert (bound["text"], len(bound["values"])) == (text, count)


@pytest.mark.parametrize("template", ["'Bearer ${{secrets.P}}'", '"${{inputs.h}}"', "`${{inputs.h}}`"])
def test_a_secret_is_no_part_of_the_text_of_a_program(template: str) -> None:
    """A mask in its place would silently be computed with."""
    compiled = compile_template({"e": template}, bound=frozenset({"e"}))
    with pytest.raises(InterpolationError, match="may not stand inside the quotes"):
        compiled.resolve(scope({"h": Hole((Secret("P"),))}))


@pytest.mark.parametrize(
    "params", [{"${{inputs.k}}": "'${{inputs.u}}'"}, {"${{inputs.k}}": "${{inputs.u}}"}, {"${{inputs.k}}": "1"}]
)
def test_data_does_not_choose_which_text_is_a_program(params: Any) -> None:
    compiled = compile_template(params, bound=frozenset({"e"}))
    with pytest.raises(DefinitionError, match="e: expected this name without references"):
        compiled.resolve(scope({"k": "e", "u": "' + steps.s + '"}))
    assert compiled.resolve(scope({"k": "data", "u": "x"})).keys() == {"data"}


@pytest.mark.parametrize("program", [["${{inputs.u}}"], {"text": "${{inputs.u}}"}, {"${{inputs.u}}": 1}])
def test_only_a_text_is_a_program_with_references(program: Any) -> None:
    compiled = compile_template({"e": program}, bound=frozenset({"e"}))
    with pytest.raises(DefinitionError, match="expected program text"):
        compiled.resolve(scope())
    assert compile_template({"e": ["1"]}, bound=frozenset({"e"})).constant


def test_a_long_program_with_many_references_is_read_in_no_time() -> None:
    started = time.monotonic()
    compile_template({"e": "'x' + ${{inputs.u}} + " * 999 + "'" + "y" * 500_000}, bound=frozenset({"e"}))
    assert time.monotonic() - started < 1


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
