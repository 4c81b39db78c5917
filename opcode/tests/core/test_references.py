"""The `${{ }}` token: where it ends, what it names, and what is refused (spec 02 sections 10.1 and 10.2)."""

import time

import pytest

from opcode_kernel.core.references import (
    MAX_ACCESSORS,
    MAX_TOKENS,
    NAMESPACES,
    Reference,
    read_reference,
    split_tokens,
)  # fmt: skip
from opcode_kernel.errors import InterpolationError


def path_of(text):
    return (reference := read_reference(text)).namespace, reference.path


def shape_of(text):
    """Literal parts as they are, references as their text in a tuple."""
    return [part if isinstance(part, str) else (part.text,) for part in split_tokens(text)]


# Tokens in a text -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["a", "$", "$$", "{{inputs.a}}", "${inputs.a}", "}}", "$ {{a}}", "a\nb", "\\", "\\$"])
def test_near_misses_are_plain_text(text):
    assert split_tokens(text) == [text]


def test_an_empty_text_has_no_parts():
    assert split_tokens("") == []


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("${{inputs.a}}", [("inputs.a",)]),
        ("${{   inputs.a\n}}", [("inputs.a",)]),
        (" ${{inputs.a}} ", [" ", ("inputs.a",), " "]),
        ("${{inputs.a}}${{inputs.b}}", [("inputs.a",), ("inputs.b",)]),
        ("}} ${{inputs.a}} }}", ["}} ", ("inputs.a",), " }}"]),
        ("${{inputs.a}}}}", [("inputs.a",), "}}"]),
        ("$${{inputs.price}}", ["$", ("inputs.price",)]),
        ("it's ${{inputs.a}}'s", ["it's ", ("inputs.a",), "'s"]),
    ],
)
def test_a_text_is_split_at_its_tokens(text, parts):
    assert shape_of(text) == parts


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        (r"\${{inputs.a}}", ["${{inputs.a}}"]),
        (r"a \${{ b", ["a ${{ b"]),
        (r"\${{\${{", ["${{${{"]),
        (r"${{inputs.a}}\${{inputs.b}}", [("inputs.a",), "${{inputs.b}}"]),
        (r"\${{x}} ${{inputs.a}}", ["${{x}} ", ("inputs.a",)]),
    ],
)
def test_a_backslash_makes_a_literal_token(text, parts):
    assert shape_of(text) == parts


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("${{ inputs['}}'] }}!", [("inputs['}}']",), "!"]),
        ('${{ inputs["}}"].x }}', [('inputs["}}"].x',)]),
        (r"${{ inputs['\'}}'] }}", [(r"inputs['\'}}']",)]),
        ('${{ inputs.a ?? "}}" }}!', [("inputs.a",), "!"]),
    ],
)
def test_braces_inside_quotes_do_not_end_a_token(text, parts):
    assert shape_of(text) == parts


@pytest.mark.parametrize("text", ["${{inputs.a", "${{", "x ${{inputs.a}", "${{inputs.a} }", "${{ inputs['a'] "])
def test_a_token_must_be_closed(text):
    with pytest.raises(InterpolationError, match="expected }} to close the reference"):
        split_tokens(text)


@pytest.mark.parametrize("text", ["${{}}", "${{   }}", "a ${{\n}} b"])
def test_a_token_must_hold_something(text):
    with pytest.raises(InterpolationError, match="found nothing"):
        split_tokens(text)


@pytest.mark.parametrize("text", ["${{ ${{inputs.a}} }}", "${{inputs.a${{inputs.b}}}}"])
def test_a_token_must_not_hold_another(text):
    with pytest.raises(InterpolationError, match="may not stand inside another"):
        split_tokens(text)


def test_one_text_has_a_limited_number_of_tokens():
    assert len(split_tokens("${{inputs.a}}" * MAX_TOKENS)) == MAX_TOKENS
    assert len(split_tokens("x${{inputs.a}}" * MAX_TOKENS)) == 2 * MAX_TOKENS
    with pytest.raises(InterpolationError, match=f"at most {MAX_TOKENS} references"):
        split_tokens("${{inputs.a}}" * (MAX_TOKENS + 1))


# References -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("namespace", NAMESPACES)
def test_every_namespace_needs_a_name(namespace):
    assert path_of(f"{namespace}.a") == (namespace, ("a",))
    with pytest.raises(InterpolationError, match=f"expected a name after {namespace}"):
        read_reference(namespace)


@pytest.mark.parametrize(
    "text", ["foo.bar", "Inputs.a", "iter.item", "inputsx.a", "3", ".a", "['a']", "input", "steps-x.a"]
)
def test_an_unknown_namespace_is_refused_and_the_known_ones_are_listed(text):
    with pytest.raises(InterpolationError, match="unknown namespace") as caught:
        read_reference(text)
    assert caught.value.code == "INTERPOLATION_ERROR"
    assert not caught.value.retryable
    assert caught.value.details == {"expression": text, "available_namespaces": list(NAMESPACES)}


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("steps.a.output", ("a", "output")),
        ("steps.a-b.output.x", ("a-b", "output", "x")),
        ("steps['a-b'].x", ("a-b", "x")),
        ("steps['each.iter_0.resize'].output.w", ("each.iter_0.resize", "output", "w")),
        ("inputs.my.dotted.key", ("my", "dotted", "key")),
        ("inputs.items.0.name", ("items", "0", "name")),
        ("inputs.items[0].name", ("items", 0, "name")),
        ("inputs.items[-1]", ("items", -1)),
        ("inputs[ 'x' ]", ("x",)),
        ('inputs["a.b"]["c"]', ("a.b", "c")),
        ("inputs['']", ("",)),
        (r"inputs['it\'s']", ("it's",)),
        (r'inputs["say \"hi\""]', ('say "hi"',)),
        (r"inputs['back\\slash']", ("back\\slash",)),
        ("inputs['é ü'].ñ", ("é ü", "ñ")),
        ("inputs.two words", ("two words",)),
        ("loop.parent.item", ("parent", "item")),
        ("context.a?b", ("a?b",)),
    ],
)
def test_names_indices_and_quoted_names_make_the_path(text, path):
    reference = read_reference(text)
    assert reference == Reference(text, text.partition(".")[0].partition("[")[0], path)


@pytest.mark.parametrize(
    "text",
    [
        "inputs.", "inputs..a", "inputs.a.", "inputs.a[", "inputs.a]", "inputs.a[]", "inputs.a[x]", "inputs.a[--1]",
        "inputs.a[1.5]", "inputs.a[1234567890]", "inputs.a['b]", "inputs['a']b", "inputs['a' 'b']", "inputs.'a'",
        "inputs.a{b}", "inputs.it's", "inputs .a", "inputs.a\x01", "inputs.a | upper", "inputs.a | text | json",
        "inputs.a |", "inputs.a\tb", "inputs.a\x7f", "inputs.a\x85b",
    ],
)  # fmt: skip
def test_nothing_but_accessors_may_follow(text):
    with pytest.raises(InterpolationError, match="cannot read the reference") as caught:
        read_reference(text)
    assert caught.value.details["expression"]


def test_what_may_follow_is_listed_whole():
    with pytest.raises(InterpolationError) as caught:
        read_reference("inputs.a | upper")
    assert (
        "only .name, [n] and ['name'] may follow, and at the end ?? with a default, | text or | json;"
        in caught.value.message
    )


def test_a_path_has_a_limited_length():
    assert len(read_reference("inputs" + ".a" * MAX_ACCESSORS).path) == MAX_ACCESSORS
    with pytest.raises(InterpolationError, match=f"at most {MAX_ACCESSORS} accessors"):
        read_reference("inputs" + ".a" * (MAX_ACCESSORS + 1))


def test_the_rest_of_a_reference_may_be_one_key_with_dots():
    assert read_reference("inputs.my.dotted.key").rest == "my.dotted.key"


@pytest.mark.parametrize(
    ("text", "name"), [("secrets.TOKEN", "TOKEN"), ("secrets.a.b.c", "a.b.c"), ("secrets['x.y']", "x.y")]
)
def test_everything_after_secrets_is_one_name(text, name):
    assert path_of(text) == ("secrets", (name,))


@pytest.mark.parametrize("text", ["secrets['x'].y", "secrets[0]", "secrets['x'][0]"])
def test_a_secret_has_no_parts(text):
    with pytest.raises(InterpolationError):
        read_reference(text)


# Defaults and casts -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("literal", "default"),
    [
        ('"eu"', "eu"), ("'eu'", "eu"), ("3", 3), ("-1.5", -1.5), ("true", True), ("false", False), ("null", None),
        ('""', ""), ("''", ""), (r"'it\'s'", "it's"), (r"'a\\b'", "a\\b"), ('"a ?? b"', "a ?? b"), ('"a | text"', "a | text"), ("'it is'", "it is"),
        (r'"\u00e9\n"', "é\n"),
    ],
)  # fmt: skip
def test_a_default_is_a_scalar(literal, default):
    for text in (f"inputs.a ?? {literal}", f"inputs.a??{literal}"):
        reference = read_reference(text)
        assert (reference.path, reference.text) == (("a",), "inputs.a")
        assert (reference.has_default, reference.default) == (True, default)
        assert type(reference.default) is type(default)


@pytest.mark.parametrize(
    "literal",
    [
        "",
        "eu",
        "[1]",
        "{}",
        "'eu",
        'eu"',
        "inputs.b",
        "1 + 2",
        "nan",
        "True",
        "'",
        "'it's'",
        "'x' ?? 'y'",
        '"x" ?? "y"',
        "01",
    ],
)
def test_anything_else_is_no_default(literal):
    with pytest.raises(InterpolationError, match=r"expected a JSON scalar after \?\?"):
        read_reference(f"inputs.a ?? {literal}")


@pytest.mark.parametrize("literal", ["NaN", "Infinity", "-Infinity", "1e999"])
def test_a_default_that_json_cannot_express_is_refused(literal):
    with pytest.raises(InterpolationError, match=r"expected a JSON scalar after \?\?"):
        read_reference(f"inputs.a ?? {literal}")


def test_an_escaped_quote_in_a_name_does_not_hide_the_default():
    reference = read_reference(r"inputs['it\'s'] ?? 1")
    assert (reference.path, reference.default) == (("it's",), 1)


def test_question_marks_inside_quotes_are_no_default():
    reference = read_reference("inputs['a ?? b'] ?? 1")
    assert (reference.path, reference.default) == (("a ?? b",), 1)
    assert not read_reference("inputs['a ?? b']").has_default


@pytest.mark.parametrize("cast", ["text", "json"])
def test_a_cast_stands_at_the_end(cast):
    for text in (f"inputs.a | {cast}", f"inputs.a|{cast}", f"inputs.a |  {cast}  "):
        reference = read_reference(text)
        assert (reference.path, reference.cast, reference.has_default) == (("a",), cast, False)


def test_a_default_is_cast_too():
    reference = read_reference('inputs.a ?? "x" | json')
    assert (reference.text, reference.default, reference.cast) == ("inputs.a", "x", "json")


def test_a_reference_without_either_has_neither():
    reference = read_reference("inputs.a")
    assert (reference.has_default, reference.default, reference.cast) == (False, None, None)


@pytest.mark.parametrize(
    "text",
    [
        "${{" * 30_000, "${{ inputs.x ?? '" * 5_000, "${{'}}" * 5_000, "\\${{" * 30_000, "${{inputs.x" + " " * 50_000,
        "${{inputs" + ".a" * 30_000 + "}}", "${{" + "a?" * 20_000 + "}}", "${{inputs.x" + " |" * 20_000 + "}}",
        "${{inputs.x ??" + "'" * 30_001 + "}}", "${{inputs.x" + "'a" * 20_000 + "}}", "${{inputs['" + "\\" * 30_000 + "}}",
    ],
    ids=range(11),
)  # fmt: skip
def test_hostile_texts_are_read_in_no_time(text):
    started = time.monotonic()
    try:
        split_tokens(text)
    except InterpolationError:
        pass
    assert time.monotonic() - started < 1
