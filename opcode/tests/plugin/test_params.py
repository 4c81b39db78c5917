"""The decoder of action params: coercion and checks (spec 02 section 1.4), schemas, and names nobody declared."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Any, Literal, NotRequired, TypedDict

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from opcode_kernel import DefinitionError, FreeText, Json, Param, Rest, Seconds
from opcode_kernel.plugin.params import ParamsDecoder, schema_of


@dataclass(frozen=True, slots=True)
class Everything:
    text: Annotated[str, Param("a text", aliases=("label", "title"))] = ""
    free: Annotated[FreeText, Param("a free text")] = ""
    whole: Annotated[int, Param("a whole number", ge=0, le=99)] = 0
    number: Annotated[float, Param("a number", ge=-1.5)] = 0.0
    flag: Annotated[bool, Param("a switch")] = False
    pause: Annotated[Seconds, Param("a duration", le=60)] = 1.0
    choice: Annotated[Literal["red", "blue"], Param("a choice")] = "red"
    items: Annotated[list[int], Param("numbers", min_length=1, max_length=3)] = field(default_factory=lambda: [1])
    table: Annotated[dict[str, int], Param("counts")] = field(default_factory=dict)
    either: Annotated[str | list[str] | None, Param("one or many")] = None
    value: Annotated[Json, Param("anything")] = "unset"
    code: Annotated[str, Param("a code", pattern="^[A-Z]+$")] = "A"


@dataclass(frozen=True, slots=True)
class Needed:
    path: Annotated[str, Param("where", min_length=1)]
    content: Annotated[FreeText, Param("what")]
    mode: Annotated[int | None, Param("bits")] = None


@dataclass(frozen=True, slots=True)
class Open:
    message: Annotated[str, Param("what happened", aliases=("text",))]
    rest: Annotated[Rest, Param("everything else")] = field(default_factory=dict)


class Inner(TypedDict):
    size: Annotated[int, Param("bytes", ge=0)]


class Output(TypedDict):
    path: Annotated[str, Param("where")]
    inner: Inner
    truncated: NotRequired[Annotated[bool, Param("whether it was cut")]]
    signal: Annotated[str | None, Param("what ended it")]
    kind: Annotated[Literal["a"] | None, Param("of which kind")]


everything = ParamsDecoder(Everything)


def decoded(**params: Json) -> Any:
    """Decode one param and return its value."""
    (name,) = params
    return getattr(everything.decode(params), name)


def problem(**params: Json) -> str:
    """Return the one complaint about the given params."""
    with pytest.raises(DefinitionError) as caught:
        everything.decode(params)
    (only,) = caught.value.details["problems"]
    return f"{only['path']}: {only['message']}"


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        ({"whole": "5.5"}, "whole: expected an integer, found string '5.5'"),
        ({"whole": 5.5}, "whole: expected an integer, found number '5.5'"),
        ({"whole": True}, "whole: expected an integer, found boolean 'true'"),
        ({"whole": "５"}, "whole: expected an integer, found string '５'"),
        ({"whole": "9" * 41}, f"whole: expected an integer, found string {'9' * 41!r}"),
        ({"whole": 100}, "whole: expected a number of at most 99, found '100'"),
        ({"whole": -1}, "whole: expected a number of at least 0, found '-1'"),
        ({"number": "1,5"}, "number: expected a number, found string '1,5'"),
        ({"number": False}, "number: expected a number, found boolean 'false'"),
        ({"number": -2}, "number: expected a number of at least -1.5, found '-2'"),
        ({"flag": "yes"}, "flag: expected true or false, found string 'yes'"),
        ({"flag": 1}, "flag: expected true or false, found number '1'"),
        ({"pause": "soon"}, "pause: expected a duration such as 500ms, 90s or 1h30m, found 'soon'"),
        ({"pause": "9000h"}, "pause: expected a duration of at most 8760h, found '9000h'"),
        ({"pause": [1]}, "pause: expected a duration such as 30s, found array"),
        ({"pause": True}, "pause: expected a duration such as 30s, found boolean 'true'"),
        ({"pause": 0}, "pause: expected a duration above zero, found '0'"),
        ({"pause": -3}, "pause: expected a duration above zero, found '-3'"),
        ({"pause": "2m"}, "pause: expected a number of at most 60, found '2m'"),
        ({"choice": "green"}, "choice: expected one of red, blue, found string 'green'"),
        ({"choice": ["red"]}, "choice: expected one of red, blue, found array"),
        ({"items": 7}, "items: expected an array, found number '7'"),
        ({"items": "{}"}, "items: expected an array, found string '{}'"),
        ({"items": "[" * 100_000}, "items: expected an array, found string of 100000 characters"),
        ({"whole": "s" * 81}, "whole: expected an integer, found string of 81 characters"),
        ({"whole": 10**400}, "whole: expected a number of at most 99, found number of 401 characters"),
        ({"number": 10**400}, "number: expected a number, found number of 401 characters"),
        ({"number": "9" * 400}, "number: expected a number, found string of 400 characters"),
        ({"pause": 10**400}, "pause: expected a duration of at most 8760h, found number of 401 characters"),
        ({"pause": -(10**400)}, "pause: expected a duration above zero, found number of 402 characters"),
        ({"code": "s" * 81}, "code: expected text matching ^[A-Z]+$, found string of 81 characters"),
        ({"items": []}, "items: expected at least 1 characters or items, found '[]'"),
        ({"items": [1, 2, 3, 4]}, "items: expected at most 3 characters or items, found '[1,2,3,4]'"),
        ({"items": [1, "x"]}, "items[1]: expected an integer, found string 'x'"),
        ({"table": []}, "table: expected an object, found array"),
        ({"table": {"a": "x"}}, "table.a: expected an integer, found string 'x'"),
        ({"code": "abc"}, "code: expected text matching ^[A-Z]+$, found 'abc'"),
    ],
)
def test_a_wrong_value_is_refused_saying_what_was_expected_and_found(params: dict[str, Json], expected: str) -> None:
    assert problem(**params) == expected


def test_all_problems_are_reported_at_once() -> None:
    with pytest.raises(DefinitionError) as caught:
        everything.decode({"whole": "x", "flag": "y", "items": ["z"]})
    assert caught.value.code == "VALIDATION_ERROR"
    assert not caught.value.retryable
    assert [each["path"] for each in caught.value.details["problems"]] == ["whole", "flag", "items[0]"]
    assert caught.value.message == "whole: expected an integer, found string 'x' (and 2 more)"


@pytest.mark.parametrize("params", ["{}", [], 7, False])
def test_params_that_are_no_object_are_refused(params: Json) -> None:
    with pytest.raises(DefinitionError, match="params: expected an object"):
        everything.decode(params)


@pytest.mark.parametrize("params", [None, {}, {"path": None, "content": "x"}])
def test_a_missing_required_param_is_named(params: Json) -> None:
    with pytest.raises(DefinitionError, match="path: expected a value, found none"):
        ParamsDecoder(Needed).decode(params)


def test_a_value_is_shown_whole_or_not_at_all() -> None:
    """What hides secrets looks for a whole one: the half of it, cut off here, would get into the log."""
    for name in ("whole", "number", "flag", "choice", "items", "table", "code"):
        assert "secret" in problem(**{name: "secret " * 11})
        assert "secret" not in problem(**{name: "secret " * 12})


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        ({"text": 5.0}, "5"),
        ({"text": True}, "true"),
        ({"text": {"a": [1.0, None]}}, '{"a":[1,null]}'),
        ({"free": None}, "null"),
        ({"whole": "7"}, 7),
        ({"whole": " +7 "}, 7),
        ({"whole": 7.0}, 7),
        ({"number": "-1.5e0"}, -1.5),
        ({"number": 3}, 3),
        ({"number": "9007199254740993"}, 9007199254740993),
        ({"flag": "true"}, True),
        ({"flag": "false"}, False),
        ({"pause": "1.5s"}, 1.5),
        ({"pause": 2}, 2.0),
        ({"choice": "blue"}, "blue"),
        ({"items": "[1, 2]"}, [1, 2]),
        ({"items": ["1", 2.0]}, [1, 2]),
        ({"table": '{"a": "1"}'}, {"a": 1}),
        ({"either": "x"}, "x"),
        ({"either": ["x", 1]}, ["x", "1"]),
        ({"either": 5}, "5"),
        ({"value": None}, None),
        ({"value": {"deep": [1]}}, {"deep": [1]}),
    ],
)
def test_a_value_of_another_type_is_coerced_where_that_loses_nothing(params: dict[str, Json], expected: Json) -> None:
    value = decoded(**params)
    assert value == expected
    assert type(value) is type(expected)


def test_null_counts_as_absent_except_for_free_text_and_any_value() -> None:
    given_nulls = dict.fromkeys(Everything.__dataclass_fields__)
    values = everything.decode(given_nulls)
    assert (values.free, values.value) == ("null", None)
    assert (values.text, values.whole, values.items, values.pause) == ("", 0, [1], 1.0)


def test_a_union_reports_only_the_last_member_that_was_tried() -> None:
    @dataclass(frozen=True)
    class Narrow:
        size: Annotated[int | bool | None, Param("size")] = None

    with pytest.raises(DefinitionError, match="size: expected true or false, found string 'big'"):
        ParamsDecoder(Narrow).decode({"size": "big"})
    assert ParamsDecoder(Narrow).decode({"size": "7"}).size == 7


def test_the_name_wins_over_its_aliases_and_the_first_alias_over_the_next() -> None:
    assert everything.decode({"title": "c", "label": "b", "text": "a"}).text == "a"
    assert everything.decode({"title": "c", "label": "b"}).text == "b"


@pytest.mark.parametrize(
    "params", [{"text": None, "title": "c"}, {"label": None, "title": "c"}, {"text": None, "label": "c"}]
)
def test_a_null_does_not_hide_what_stands_under_another_name(params: dict[str, Json]) -> None:
    assert everything.decode(params).text == "c"
    assert everything.decode(dict.fromkeys(params)).text == ""


@pytest.mark.parametrize(
    "text", ["[NaN]", "[Infinity]", "[1e999]", "[1] 2", "\ufeff[1]", "[" * 300 + "]" * 300, "[" * 100_000]
)
def test_a_text_that_is_not_strictly_json_is_no_list(text: str) -> None:
    assert problem(items=text).startswith("items: expected an array, found string")


def test_integers_in_a_text_stay_exact() -> None:
    assert decoded(items="[12345678901234567890123]") == [12345678901234567890123]


@pytest.mark.parametrize("number", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("name", ["number", "whole", "pause"])
def test_a_number_that_json_cannot_express_is_refused(name: str, number: float) -> None:
    assert problem(**{name: number}).startswith(f"{name}: expected ")


def test_a_value_too_deep_to_read_is_refused() -> None:
    deep: Json = 1
    for _ in range(100_000):
        deep = [deep]
    with pytest.raises(DefinitionError, match="nest less deeply"):
        everything.decode({"text": deep})


@pytest.mark.parametrize("code", ["A\n", "A\nB", "a"])
def test_a_pattern_ends_where_the_text_ends(code: str) -> None:
    assert problem(code=code).startswith("code: expected text matching")


def test_defaults_are_not_shared_between_calls() -> None:
    everything.decode({}).table["left"] = 1
    assert everything.decode({}).table == {}


def test_check_trusts_dynamic_values_and_judges_the_others() -> None:
    found = everything.check({"whole": "${{x}}", "flag": "maybe"}, dynamic=lambda value: "${{" in str(value))
    assert [each.path for each in found] == ["flag"]
    assert ParamsDecoder(Needed).check({"path": "${{x}}"}, dynamic=lambda value: True)[0].path == "content"


def test_unknown_names_are_listed_and_aliases_are_known() -> None:
    assert everything.unknown({"zebra": 1, "label": "x", "apple": 2}) == ["apple", "zebra"]
    assert everything.decode({"zebra": 1}) == Everything()


def test_rest_receives_the_names_nothing_else_takes_untouched() -> None:
    values = ParamsDecoder(Open).decode({"text": "hi", "host": None, "rest": 1, "n": {"a": [1.0]}})
    assert values == Open("hi", {"host": None, "rest": 1, "n": {"a": [1.0]}})


def test_rest_is_empty_when_nothing_is_left_and_nothing_is_unknown() -> None:
    decoder = ParamsDecoder(Open)
    assert decoder.decode({"message": "hi"}).rest == {}
    assert decoder.unknown({"message": "hi", "host": "a"}) == []
    assert decoder.check({"message": "hi", "host": "a"}) == []


def test_rest_does_not_hide_a_missing_param() -> None:
    with pytest.raises(DefinitionError, match="message: expected a value"):
        ParamsDecoder(Open).decode({"mesage": "hi"})


def test_rest_shows_in_the_schema_as_additional_properties() -> None:
    schema = schema_of(Open)
    assert schema["additionalProperties"] == {"description": "everything else"}
    assert list(schema["properties"]) == ["message"]


def test_the_schema_says_what_the_decoder_checks() -> None:
    schema = schema_of(Everything)
    Draft202012Validator.check_schema(schema)
    shown = schema["properties"]
    assert shown["text"] == {"type": "string", "description": "a text", "x-aliases": ["label", "title"], "default": ""}
    assert shown["whole"] == {
        "type": "integer", "description": "a whole number", "minimum": 0, "maximum": 99, "default": 0,
    }  # fmt: skip
    assert shown["pause"] == {
        "type": ["string", "number"], "pattern": "^(([0-9]+(\\.[0-9]+)?|\\.[0-9]+)(ns|us|µs|μs|ms|s|m|h))+$",
        "allOf": [{"pattern": "[1-9]"}], "exclusiveMinimum": 0, "maximum": 31_536_000, "description": "a duration",
        "default": 1.0,
    }  # fmt: skip
    assert shown["items"] == {
        "type": "array", "items": {"type": "integer"}, "description": "numbers", "minItems": 1, "maxItems": 3,
    }  # fmt: skip
    assert shown["choice"]["enum"] == ["red", "blue"]
    assert shown["table"]["additionalProperties"] == {"type": "integer"}
    assert shown["either"]["anyOf"] == [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]
    assert shown["value"] == {"description": "anything", "default": "unset"}
    assert shown["code"]["pattern"] == "^[A-Z]+$"
    assert "required" not in schema


def test_the_schema_lists_required_params_and_hides_null_defaults() -> None:
    schema = schema_of(Needed)
    assert schema["required"] == ["path", "content"]
    assert schema["properties"]["mode"] == {"type": "integer", "description": "bits"}
    assert schema["properties"]["path"]["minLength"] == 1


def test_a_key_that_may_be_absent_is_not_required() -> None:
    assert schema_of(Output)["required"] == ["path", "inner", "signal", "kind"]


def test_a_bare_number_of_seconds_is_bounded_like_a_duration_text() -> None:
    assert "8760h" in problem(pause=1e300)


def test_a_number_text_beyond_all_floats_is_refused() -> None:
    assert problem(number="1e999").startswith("number: expected a number")


def test_an_output_is_described_by_a_typed_dict() -> None:
    schema = schema_of(Output)
    Draft202012Validator.check_schema(schema)
    assert schema["properties"]["truncated"] == {"type": "boolean", "description": "whether it was cut"}
    assert schema["properties"]["inner"]["properties"]["size"]["minimum"] == 0
    assert schema["properties"]["signal"] == {"type": ["string", "null"], "description": "what ended it"}
    kind = {"anyOf": [{"type": "string", "enum": ["a"]}, {"type": "null"}], "description": "of which kind"}
    assert schema["properties"]["kind"] == kind


texts = st.text('ab19.[]{}":é\n\ud800 ', max_size=12)
numbers = st.integers() | st.floats(allow_nan=False, allow_infinity=False)
json_values = st.recursive(
    st.none() | st.booleans() | numbers | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
)
quickly = settings(max_examples=60, deadline=None, database=None)


@quickly
@given(st.dictionaries(st.sampled_from([*Everything.__dataclass_fields__, "label", "other"]), json_values))
def test_any_json_decodes_or_is_refused_with_problems(params: dict[str, Json]) -> None:
    problems = everything.check(params)
    if problems:
        with pytest.raises(DefinitionError):
            everything.decode(params)
    else:
        assert isinstance(everything.decode(params), Everything)


@quickly
@given(st.dictionaries(texts, json_values))
def test_rest_and_the_known_names_share_out_all_that_was_given(params: dict[str, Json]) -> None:
    values = ParamsDecoder(Open).decode({**params, "message": "m"})
    assert values.rest == {name: value for name, value in params.items() if name not in ("message", "text")}


def test_values_are_the_actions_own_to_change() -> None:
    """What stands in the params of one step may be the output of another, or the definition itself."""

    @dataclass(frozen=True, slots=True)
    class Loose:
        value: Json
        rows: list[Json]
        more: Rest = field(default_factory=dict)

    given: dict[str, Json] = {"value": {"a": [1]}, "rows": [{"b": 2}], "other": {"c": [3]}}
    decoded = ParamsDecoder(Loose).decode(given)
    decoded.value["a"].append("changed")
    decoded.rows[0]["b"] = "changed"
    decoded.more["other"]["c"].clear()
    assert given == {"value": {"a": [1]}, "rows": [{"b": 2}], "other": {"c": [3]}}


def test_tuples_become_lists_for_an_action() -> None:
    assert decoded(value=(1, ({"k": (2,)},))) == [1, [{"k": [2]}]]
    assert decoded(value=[list(range(100)), (1,)]) == [list(range(100)), [1]]
