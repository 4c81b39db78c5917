"""JSON Schema as it is applied here: places and reasons, nothing fetched, linear time, a deadline."""

import pytest
from jsonschema_specifications import REGISTRY

from opcode_kernel import DefinitionError, JsonSchema, canonical_text
from opcode_kernel.schemas import checking
from opcode_kernel.schemas.formats import FORMATS


def violations(data, schema):
    return JsonSchema(schema).violations(data)


def refusal(data, schema):
    with pytest.raises(DefinitionError) as caught:
        violations(data, schema)
    return caught.value


def test_violations_name_the_place_and_what_was_expected():
    schema = {
        "type": "object",
        "required": ["id"],
        "properties": {"tags": {"items": {"type": "string"}}, "a/b~": {"minimum": 3}, "on": {"const": True}},
    }
    assert violations({"tags": ["x", None], "a/b~": 1, "on": 1}, schema) == [
        ": 'id' is a required property",
        "/a~1b~0: expected at least 3, found 1",
        "/on: expected true, found 1",
        "/tags/1: expected string, found null",
    ]


@pytest.mark.parametrize("data", [None, 1, "x", [], {}])
@pytest.mark.parametrize("schema", [{}, True])
def test_any_json_value_can_be_checked(data, schema):
    assert violations(data, schema) == []
    assert violations(data, False) == [
        f": expected no value, found {canonical_text(data)}".replace("found x", 'found "x"')
    ]


def test_where_no_alternative_holds_each_says_why():
    assert violations({"n": 1}, {"anyOf": [{"required": ["id"]}, {"properties": {"n": {"type": "string"}}}]}) == [
        ": 'id' is a required property", "/n: expected string, found number",
    ]  # fmt: skip
    assert violations(1, {"oneOf": [{}, {"type": "number"}]}) == [
        ": expected a match of exactly one of the given schemas, found 1"
    ]


def test_at_most_a_hundred_violations_are_reported():
    assert len(violations([1] * 500, {"items": {"type": "string"}})) == 100


def test_values_in_violations_are_cut():
    assert len(violations("x" * 10_000, {"const": "y" * 10_000})[0]) < 300
    assert len(violations({"a": ["x"] * 1000}, {"properties": {"a": False}})[0]) < 300


@pytest.mark.parametrize(
    ("data", "schema"),
    [
        (1, {"anyOf": [{"type": "string"}, {"const": None}]}),
        (1, {"oneOf": [{}, {}]}),
        (1, {"not": {}}),
        ([1], {"contains": {"type": "string"}}),
        ([1, 1.0], {"uniqueItems": True}),
        ([{"a": [1]}, {"a": [1.0]}], {"uniqueItems": True}),
        ({"a": 1}, {"additionalProperties": False}),
        ({"a": 1}, {"additionalProperties": {"type": "string"}}),
        ({"ab": 1}, {"patternProperties": {"^a": {"type": "string"}}}),
        ({"a": 1}, {"unevaluatedProperties": False}),
        (True, {"type": "integer"}),
        (True, {"const": 1}),
        ("ab", {"pattern": "^b"}),
    ],
)
def test_keywords_refuse(data, schema):
    assert violations(data, schema)


@pytest.mark.parametrize(
    ("data", "schema"),
    [
        ([1, True, "1", None, [1], {"a": 1}], {"uniqueItems": True}),
        ([1, 1], {"uniqueItems": False}),
        (1.0, {"type": "integer"}),
        ({"a": 1, "x1": 2}, {"properties": {"a": {}}, "patternProperties": {"^x": {}}, "additionalProperties": False}),
        (7, {"pattern": "x", "patternProperties": {}, "additionalProperties": False, "uniqueItems": True}),
        ({"$schema": "x"}, {"properties": {"$schema": {"type": "string"}}}),
        ({"type": "object"}, {"$ref": "https://json-schema.org/draft/2020-12/schema"}),
        ({"a": {"a": {}}}, {"properties": {"a": {"$ref": "#"}}}),
    ],
)
def test_keywords_accept(data, schema):
    assert violations(data, schema) == []


def test_an_older_draft_is_followed_when_the_schema_names_it():
    schema = {"$schema": "http://json-schema.org/draft-07/schema#", "definitions": {"n": {"type": "integer"}}}
    assert violations([1, "a"], {**schema, "items": {"$ref": "#/definitions/n"}}) == [
        "/1: expected integer, found string"
    ]


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "nope"},
        {"minimum": "x"},
        {"pattern": "(?=x)"},
        {"patternProperties": {"(": {}}},
        {"$schema": "urn:unknown"},
        {"$schema": 5},
        {"items": {"$schema": "http://json-schema.org/draft-07/schema#", "pattern": "(a+)+$"}},
        {"$ref": "file:///etc/hostname"},
        {"$ref": "http://127.0.0.1:9/schema.json"},
        {"$ref": "other.json", "$id": "http://127.0.0.1:9/"},
        {"$ref": "#/$defs/none"},
        {"$ref": "#"},
        {"$ref": "#/properties", "properties": {"$schema": {}}},
        {"properties": {"a": {"$ref": "#/$defs/none"}}},
        {"enum": [{} for _ in range(checking.MAX_SCHEMA_OBJECTS)]},
        "x",
        [],
        None,
    ],
)
def test_schemas_that_are_invalid_or_lead_elsewhere_are_refused(schema):
    error = refusal(["x"], schema)
    assert (error.code, error.retryable) == ("VALIDATION_ERROR", False)
    assert error.message.startswith("expected")


def test_a_schema_that_multiplies_its_own_work_is_stopped(monkeypatch):
    monkeypatch.setattr(checking, "MAX_SECONDS", 0.05)
    levels = {f"l{n}": {"allOf": [{"$ref": f"#/$defs/l{n + 1}"}] * 2} for n in range(40)}
    error = refusal(1, {"$defs": {**levels, "l40": {}}, "$ref": "#/$defs/l0"})
    assert error.code == "VALIDATION_ERROR"
    assert "takes longer" in error.message


@pytest.mark.timeout(5)
@pytest.mark.parametrize(
    ("data", "schema"),
    [
        ("a" * 5000 + "b", {"pattern": "^(a+)+$"}),
        ({"a" * 5000 + "b": 1}, {"patternProperties": {"^(a+)+$": {}}, "additionalProperties": False}),
        ({"a" * 5000 + "b": 1}, {"patternProperties": {"^(a+)+$": {}}, "unevaluatedProperties": False}),
        ([*({"n": n} for n in range(5000)), {"n": 1}], {"uniqueItems": True}),
    ],
)
def test_hostile_patterns_and_long_lists_cost_linear_time(data, schema):
    assert violations(data, schema)


def test_the_library_keeps_the_hardened_class_inside_meta_schemas():
    combined = REGISTRY.combine(checking._registry())
    assert all("$schema" not in combined.contents(uri) for uri in REGISTRY)


@pytest.mark.parametrize(
    ("name", "good", "bad"),
    [
        ("date", ["2024-02-29"], ["2023-02-29", "2024-2-1", "20240229", "2024-02-29x"]),
        ("time", ["23:59:60Z", "10:00:00.123456789+02:00"], ["10:00:00", "25:00:00Z", "10:00:00+99:99"]),
        ("date-time", ["2024-01-01T00:00:00Z", "2024-01-01t00:00:00.5-01:00"], ["2024-01-01", "2024-01-01 00:00:00Z"]),
        ("duration", ["P1D", "PT1H30M", "P2W", "P1YT1S"], ["P", "PT", "1D", "P1H", "P1YT"]),
        ("email", ["a.b@example.org", "a@[127.0.0.1]", "a@[IPv6:::1]"], ["a", "@b", "a@", "a..b@c", "a@-b"]),
        ("hostname", ["example.org", "a"], ["", "-a", "a-", "a..b", "a" * 64, "ü.org"]),
        ("ipv4", ["127.0.0.1"], ["256.1.1.1", "1.1.1", "01.1.1.1", "١.1.1.1"]),
        ("ipv6", ["::1", "fe80::1"], ["::g", "1::2::3", "fe80::1%eth0"]),
        ("uuid", ["2eb8aa08-aa98-11ea-b4aa-73b441d16380"], ["2eb8aa08aa9811eab4aa73b441d16380", "x"]),
        ("uri", ["https://example.org:8080/a?b#c", "urn:a:b"], ["/a", "a b:c", "http://[::1", "http://a:99999"]),
        ("uri-reference", ["/a/b?c", "#d", "", "http://a"], ["\\a", "a b", "%zz", "a#b#c"]),
        ("json-pointer", ["", "/a~0b/~1"], ["a", "/~2", "/~"]),
        ("relative-json-pointer", ["0", "1/a", "2#"], ["/a", "01", "-1", "0##"]),
        ("regex", ["^a+$"], ["(", "(?=x)"]),
    ],
)
def test_formats_are_asserted(name, good, bad):
    assert name in FORMATS
    for text in good:
        assert violations(text, {"format": name}) == []
    for text in bad:
        assert violations(text, {"format": name})


def test_unknown_formats_and_values_that_are_not_text_pass():
    assert violations("x", {"format": "made-up"}) == []
    assert violations(7, {"format": "date"}) == []


@pytest.mark.parametrize(
    ("data", "wrong"),
    [
        ({"a": 1, "x1": 2, "c": 3, "d": 4}, []),
        ({"a": 1, "e": 5}, ["e"]),
        ({"c": 3, "d": 4}, []),
        ({"d": 4}, ["d"]),
        ({"kind": "k", "k": 1}, []),
        ({"kind": "j", "k": 1}, ["k"]),
        ({"kind": "j", "j": 1}, []),
        ({"next": {"f": 1, "z": 1}, "f": 1}, ["next"]),
    ],
)
def test_what_a_schema_speaks_about_is_not_unevaluated(data, wrong):
    schema = {
        "properties": {"a": {}, "kind": {}, "next": {"$ref": "#/$defs/closed"}},
        "patternProperties": {"^x": {}},
        "dependentSchemas": {"c": {"properties": {"c": {}, "d": {}}}},
        "if": {"properties": {"kind": {"const": "k"}}, "required": ["kind"]},
        "then": {"properties": {"k": {}}}, "else": {"properties": {"j": {}}},
        "anyOf": [{"properties": {"f": {"type": "number"}}}],
        "$defs": {"closed": {"$ref": "#/$defs/open", "unevaluatedProperties": False},
                  "open": {"properties": {"f": {}}}},
        "unevaluatedProperties": False,
    }  # fmt: skip
    found = violations(data, schema)
    assert [name for name in wrong if any(name in each for each in found)] == wrong
    assert bool(found) is bool(wrong)


@pytest.mark.parametrize("pattern", ["(?=x)", r"(a)\1", "(", "a" * 9_000_000], ids=["ahead", "back", "open", "large"])
def test_a_pattern_that_cannot_run_in_linear_time_is_refused_when_the_schema_is_read(pattern):
    assert "/properties/a/pattern" in refusal({}, {"properties": {"a": {"pattern": pattern}}}).message
    assert "regular expression" in refusal({}, {"patternProperties": {pattern: {}}}).message


def test_unicode_escapes_of_the_dialect_are_understood():
    assert violations("é", {"pattern": r"^\u00e9$"}) == []
    assert violations("u00e9", {"pattern": r"^\u00e9$"})
    assert violations(r"\u00e9", {"pattern": r"^\\u00e9$"}) == []


def test_a_schema_in_parts_that_name_each_other_is_understood():
    schema = {"$defs": {"part": {"$id": "part", "type": "integer"}}, "items": {"$ref": "part"}}
    assert violations([1, "x"], schema) == ["/1: expected integer, found string"]


def test_a_reference_inside_data_means_nothing():
    assert violations({"$ref": "nowhere"}, {"const": {"$ref": "nowhere"}}) == []


@pytest.mark.parametrize(
    ("value", "schema", "shown"),
    [
        ("s" * 200, {"enum": ["a"]}, 'expected one of ["a"], found string of 202 characters'),
        ({"k": "s" * 200}, {"maxProperties": 0}, "at most 0, found object of 208 characters"),
        (["s" * 50] * 3, {"maxItems": 0}, f'at most 0, found ["{"s" * 50}","{"s" * 50}",…]'),
        (["s" * 200], {"maxItems": 0}, "at most 0, found array of 204 characters"),
        (["s" * 300], {"unevaluatedItems": False}, "expected what 'unevaluatedItems' asks for, found something else"),
    ],
)
def test_a_long_value_is_shown_in_whole_parts_or_not_at_all(value, schema, shown):
    """What hides secrets does not recognise the half of one."""
    (found,) = violations(value, schema)
    assert found.endswith(shown)
