"""What a person reads who wrote CEL in the manner of another language."""

import pytest

from opcode_kernel import ExpressionError


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("loop.item == 1", "it is called iter, as in iter.item"),
        ("steps.a-b.x", "written ['a-b']"),
        ("true && steps.fetch-new-data2.status_code > 3", "written ['fetch-new-data2']"),
        ("item > 1", "write iter.item (the variables are steps, inputs, workflow, context, iter)"),
        ("status == 1", "the variables are steps, inputs, workflow, context, iter: write inputs.status for an input"),
        ("not inputs.x", "write !"),
        ("inputs.x and inputs.y", "write &&"),
        ("inputs.x = 1", "write =="),
        ("inputs.in == 1", "['in']"),
        ("inputs.m.true", "['true']"),
        ("inputs.x == None", "write null"),
        ("len(inputs.x)", "write size(x)"),
        ("inputs.x.startswith('a')", "write startsWith"),
        ("upper(inputs.x)", "for more use a step with expr.eval"),
        ("inputs.a - b", "the variables are steps, inputs, workflow, context, iter"),
        ("inputs.l[0]-b", "the variables are steps, inputs, workflow, context, iter"),
        ("step.b.status == 2", "; did you mean steps.b.status?\n"),
        ("true && input.n > 1", "; did you mean inputs.n?\n"),
        ("Steps['b'].ok", "; did you mean steps?\n"),
        ("input == 1", "write inputs.input for an input"),
    ],
)
def test_a_text_that_does_not_compile_is_answered_with_the_right_spelling(cel, text, hint):
    with pytest.raises(ExpressionError) as caught:
        cel.compile(text)
    assert hint in caught.value.message


@pytest.mark.parametrize("text", ["'a'.upperAscii()", "nope(1)", "inputs.", "1 +"])
def test_other_mistakes_get_no_advice(cel, text):
    with pytest.raises(ExpressionError) as caught:
        cel.compile(text)
    assert "variables are" not in caught.value.message
    assert "written" not in caught.value.message


@pytest.mark.parametrize("text", ["[1 2]", "{'a' 1}", "inputs['n'"])
def test_what_was_expected_is_not_listed_in_braces(cel, text):
    with pytest.raises(ExpressionError) as caught:
        cel.compile(text)
    assert "expected {" not in caught.value.message


@pytest.mark.parametrize("text", ["inputs.n.x", "inputs.n ? 1 : 2"])
def test_a_value_of_the_wrong_kind_is_not_reported_in_words_of_the_library(cel, text):
    with pytest.raises(ExpressionError) as caught:
        cel.compile(text).evaluate({"inputs": {"n": 5}})
    assert "SELECT" not in caught.value.message
    assert "jump" not in caught.value.message


@pytest.mark.parametrize(
    ("text", "place", "picture"),
    [
        ("inputs.x ==", "line 1, column 12: expected", "\n | inputs.x ==\n | ...........^"),
        ("inputs.\n x ==\n )", "line 3, column 2: expected", "\n |  )\n | .^"),
        ("(inputs.x", "line 1, column 10: expected", "\n | (inputs.x\n | .........^"),
        ("1 + len(inputs.x)", "line 1, column 5: undeclared", "\n | 1 + len(inputs.x)\n | ....^"),
        ("inputs.a && a.status == 1", "line 1, column 13: undeclared", "\n | inputs.a && a.status == 1\n | ............^"),
        ("'" + "x" * 200 + "' nosuch", "line 1, column 204: expected", "x' nosuch\n | ..................................................^"),
    ],
)  # fmt: skip
def test_a_report_is_one_sentence_with_the_place_and_a_picture_of_it(cel, text, place, picture):
    with pytest.raises(ExpressionError) as caught:
        cel.compile(text)
    message = caught.value.message
    assert message.startswith(f"cel: {place} ")
    assert message.endswith(picture)
    assert len(message.partition("\n")[0]) < 250


@pytest.mark.parametrize(
    "text", ["inputs.x ==", "inputs.x[", "inputs.x 'a'", "inputs.x ===", "!", "inputs.a ? 1", "{{inputs.x}}", "#"]
)
def test_no_list_of_tokens_and_no_word_of_a_parser_is_shown(cel, text):
    with pytest.raises(ExpressionError) as caught:
        cel.compile(text)
    for word in ("EOF", "IDENTIFIER", "Syntax error", "token recognition", "mismatched", "extraneous"):
        assert word not in caught.value.message
