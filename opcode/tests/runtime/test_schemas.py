"""JSON Schemas of templates: what cannot be applied is refused when it is defined, never met by a run."""

from __future__ import annotations

import pytest

from opcode_kernel.runtime.schemas import schema_problem, violations_of


@pytest.mark.parametrize(
    ("schema", "words"),
    [
        ({"$ref": "#"}, "leads back to itself"),
        ({"properties": {"a": {"$ref": "#/$defs/none"}}}, "does not point into this schema"),
        ({"$ref": "file:///etc/passwd"}, "does not point into this schema"),
        ({"properties": {"a": {"pattern": "("}}}, "is not a 'regex'"),
        ({"patternProperties": {"[": {}}}, "is not a 'regex'"),
        ({"type": "strin"}, "'strin'"),
        (7, "expected a JSON Schema object"),
    ],
)
def test_a_schema_that_cannot_be_applied_is_refused(schema, words) -> None:
    assert words in (schema_problem(schema) or "")


def test_a_schema_may_refer_to_itself_where_the_value_ends_the_recursion() -> None:
    tree = {"type": "object", "properties": {"next": {"$ref": "#"}}}
    assert schema_problem(tree) is None
    assert violations_of(tree, {"next": {"next": {}}}) == []
    assert violations_of(tree, {"next": {"next": 3}}) == ["/next/next: 3 is not of type 'object'"]


def test_a_schema_that_never_ends_is_a_violation_and_no_crash() -> None:
    assert violations_of({"$ref": "#"}, {}) == [
        "/: the schema cannot be applied: a $ref leads back to itself without end"
    ]
