import anyio
import pytest

from opcode_assert import actions
from opcode_kernel import ActionError, DefinitionError
from opcode_kernel.testing import call

PASSED = {"pass": True}


def run(action, **params):
    return anyio.run(call, action, params)


def refusal(action, **params):
    with pytest.raises((ActionError, DefinitionError)) as caught:
        run(action, **params)
    return caught.value


@pytest.mark.parametrize(
    ("expected", "actual"),
    [
        (1, 2),
        (True, 1),
        (False, 0),
        (None, 0),
        (None, ""),
        ("a", "b"),
        ([1, 2], [2, 1]),
        ([1], [1, 1]),
        ({"a": 1}, {"a": 1, "b": 2}),
        ({"a": [True]}, {"a": [1]}),
        (["200"], [200]),
        ("[1]", [1]),
        ("1.0", 1),
        (9007199254740993, 9007199254740992),
    ],
)
def test_values_that_differ_fail_the_assertion(expected, actual):
    error = refusal(actions.equals, expected=expected, actual=actual)
    assert (error.code, error.retryable) == ("ASSERTION_FAILED", False)
    assert error.details == {"expected": expected, "actual": actual}


@pytest.mark.parametrize(
    ("expected", "actual"),
    [
        (1, 1.0),
        ([1, 2.0, True, None, "x"], [1.0, 2, True, None, "x"]),
        (None, None),
        ({"a": 1, "b": [1, {"c": None}]}, {"b": [1.0, {"c": None}], "a": 1}),
        ("200", 200),
        (200.0, "200"),
        ("true", True),
        (None, "null"),
        ("0.00001", 0.00001),
    ],
)
def test_equal_values_and_texts_that_spell_a_scalar_pass(expected, actual):
    assert run(actions.equals, expected=expected, actual=actual) == PASSED


@pytest.mark.parametrize(("expected", "actual"), [("200", 200), ("true", True), ("null", None)])
def test_strict_keeps_texts_and_scalars_apart(expected, actual):
    assert refusal(actions.equals, expected=expected, actual=actual, strict=True).code == "ASSERTION_FAILED"


def test_strict_still_knows_that_one_is_one_point_zero():
    assert run(actions.equals, expected=1, actual=1.0, strict=True) == PASSED


def test_nesting_as_deep_as_a_run_allows_is_compared():
    def nested(leaf):
        value = leaf
        for level in range(254):
            value = [value] if level % 2 else {"k": value}
        return value

    assert run(actions.equals, expected=nested(1), actual=nested(1.0)) == PASSED
    for other in (2, True):
        assert refusal(actions.equals, expected=nested(1), actual=nested(other)).code == "ASSERTION_FAILED"
        assert refusal(actions.contains, haystack=[nested(1)], needle=nested(other)).code == "ASSERTION_FAILED"


@pytest.mark.parametrize("array", [[1, True], [[1], [True]], [{"a": 0}, {"a": False}]])
def test_a_boolean_among_numbers_is_found_and_a_number_among_booleans(array):
    for wanted in array:
        assert run(actions.contains, haystack=array, needle=wanted) == PASSED
        rest = [each for each in array if each is not wanted]
        assert refusal(actions.contains, haystack=rest, needle=wanted).code == "ASSERTION_FAILED"


def test_a_null_as_message_is_the_text_null():
    assert refusal(actions.equals, expected=1, actual=2, message=None).message == "null"


@pytest.mark.parametrize(
    ("action", "params"),
    [
        (actions.equals, {}),
        (actions.equals, {"expected": 1}),
        (actions.contains, {"haystack": "a"}),
        (actions.matches, {}),
        (actions.matches, {"value": "x"}),
        (actions.schema, {"data": {}}),
        (actions.schema, {"data": {}, "schema": 7}),
    ],
)
def test_missing_and_wrong_params_are_refused_before_anything_runs(action, params):
    assert refusal(action, **params).code == "VALIDATION_ERROR"


def test_the_message_is_the_authors_when_given_and_tells_the_values_when_not():
    assert refusal(actions.equals, expected=1, actual=2, message="no luck").message == "no luck"
    assert refusal(actions.equals, expected=1, actual=2, message="").message == "expected 1, found 2"
    assert refusal(actions.equals, expected="1x", actual=2).message == 'expected "1x", found 2'
    assert refusal(actions.equals, expected="x" * 500, actual=2).message == f'expected "{"x" * 120}…", found 2'


@pytest.mark.parametrize(
    ("haystack", "needle"),
    [("abc", "x"), ("abc", None), ([1, 2], 3), ([1], True), ([], None), (["1"], 1), ([[1]], 1), ("", "a")],
)
def test_a_needle_that_is_not_there_fails(haystack, needle):
    error = refusal(actions.contains, haystack=haystack, needle=needle)
    assert error.code == "ASSERTION_FAILED"
    assert error.details == {"haystack": haystack, "needle": needle}


@pytest.mark.parametrize(
    ("haystack", "needle"),
    [
        ("abc", "b"),
        ("abc", ""),
        ("n=1000000", 1e6),
        ("is null", None),
        ('{"a":1}', {"a": 1.0}),
        ([1, 2], 2.0),
        ([None], None),
        ([{"a": [1]}], {"a": [1]}),
    ],
)
def test_a_needle_is_found_as_canonical_text_or_as_an_equal_member(haystack, needle):
    assert run(actions.contains, haystack=haystack, needle=needle) == PASSED


@pytest.mark.parametrize("haystack", [None, 5, True, {"a": 1}])
def test_a_haystack_that_is_neither_text_nor_array_is_refused(haystack):
    error = refusal(actions.contains, haystack=haystack, needle="a")
    assert error.code == "VALIDATION_ERROR"
    assert "expected a string or an array" in error.message


def test_text_that_does_not_match_fails():
    error = refusal(actions.matches, value="abc", pattern="^b")
    assert (error.code, error.details) == ("ASSERTION_FAILED", {"value": "abc", "pattern": "^b"})


@pytest.mark.parametrize("pattern", ["(", "(?=x)", r"(a)\1", "a" * 10_001, "(((a{100}){100}){100})"])
def test_patterns_that_are_not_re2_or_too_large_are_refused(pattern, capfd):
    assert refusal(actions.matches, value="abc", pattern=pattern).code == "VALIDATION_ERROR"
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("value", "pattern", "first"),
    [("id: 42, 43", r"\d+", "42"), ("abc", "", ""), ("héllo", "é.", "él"), (None, "null", "null"), (200, "^2", "2")],
)
def test_a_match_anywhere_passes_and_is_reported(value, pattern, first):
    assert run(actions.matches, value=value, pattern=pattern) == {"pass": True, "matches": first}


def test_a_lone_surrogate_is_searched_as_a_replacement_character():
    assert run(actions.matches, value="a\ud800b", pattern="a.b") == {"pass": True, "matches": "a\ufffdb"}


@pytest.mark.timeout(5)
def test_a_pattern_that_makes_other_engines_backtrack_for_ever_is_answered_at_once():
    assert refusal(actions.matches, value="a" * 50_000 + "b", pattern="^(a+)+$").code == "ASSERTION_FAILED"


def test_a_pattern_too_large_for_so_long_a_text_is_refused():
    error = refusal(actions.matches, value="x" * 1_000_000, pattern="(x?){1000}y")
    assert error.code == "VALIDATION_ERROR"
    assert "search less text" in error.message
