import anyio
import pytest
from jsonschema_specifications import REGISTRY

from opcode_assert import actions, schemas
from opcode_assert.formats import FORMATS
from opcode_kernel import ActionError
from opcode_kernel.testing import call


def run(data, schema, **more):
    return anyio.run(call, actions.schema, {"data": data, "schema": schema, **more})


def refusal(data, schema, **more):
    with pytest.raises(ActionError) as caught:
        run(data, schema, **more)
    return caught.value


def test_violations_name_the_place_and_what_was_expected():
    schema = {
        "type": "object",
        "required": ["id"],
        "properties": {"tags": {"items": {"type": "string"}}, "a/b~": {"minimum": 3}, "on": {"const": True}},
    }
    error = refusal({"tags": ["x", None], "a/b~": 1, "on": 1}, schema)
    assert (error.code, error.retryable) == ("ASSERTION_FAILED", False)
    assert error.details["violations"] == [
        ": 'id' is a required property",
        "/a~1b~0: expected at least 3, found 1",
        "/on: expected true, found 1",
        "/tags/1: expected string, found null",
    ]
    assert error.details["error"] == error.message
    assert "'id' is a required property (and 3 more)" in error.message
    assert refusal(1, {"type": "string"}, message="bad").message == "bad"


@pytest.mark.parametrize("data", [None, 1, "x", [], {}])
def test_any_json_value_can_be_checked(data):
    assert run(data, {}) == {"pass": True}


def test_at_most_a_hundred_violations_are_reported():
    assert len(refusal([1] * 500, {"items": {"type": "string"}}).details["violations"]) == 100


def test_values_in_violations_are_cut():
    assert len(refusal("x" * 10_000, {"const": "y" * 10_000}).details["violations"][0]) < 300
    assert len(refusal({"a": ["x"] * 1000}, {"properties": {"a": False}}).details["violations"][0]) < 300


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
    assert refusal(data, schema).code == "ASSERTION_FAILED"


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
    assert run(data, schema) == {"pass": True}


def test_an_older_draft_is_followed_when_the_schema_names_it():
    schema = {"$schema": "http://json-schema.org/draft-07/schema#", "definitions": {"n": {"type": "integer"}}}
    assert refusal([1, "a"], {**schema, "items": {"$ref": "#/definitions/n"}}).details["violations"] == [
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
        {"properties": {"a": {"patternProperties": {}}}, "unevaluatedProperties": False},
        {"enum": [{} for _ in range(schemas.MAX_SCHEMA_OBJECTS)]},
    ],
)
def test_schemas_that_are_invalid_or_lead_elsewhere_are_refused(schema):
    error = refusal(["x"], schema)
    assert (error.code, error.retryable) == ("VALIDATION_ERROR", False)
    assert error.message.startswith("schema: expected")


def test_a_schema_that_multiplies_its_own_work_is_stopped(monkeypatch):
    monkeypatch.setattr(schemas, "MAX_SECONDS", 0.05)
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
        ([*({"n": n} for n in range(5000)), {"n": 1}], {"uniqueItems": True}),
    ],
)
def test_hostile_patterns_and_long_lists_cost_linear_time(data, schema):
    assert refusal(data, schema).code == "ASSERTION_FAILED"


def test_the_library_keeps_the_hardened_class_inside_meta_schemas():
    combined = REGISTRY.combine(schemas._registry())
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
        assert run(text, {"format": name}) == {"pass": True}
    for text in bad:
        assert refusal(text, {"format": name}).code == "ASSERTION_FAILED"


def test_unknown_formats_and_values_that_are_not_text_pass():
    assert run("x", {"format": "made-up"}) == {"pass": True}
    assert run(7, {"format": "date"}) == {"pass": True}
