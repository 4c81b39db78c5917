"""`assert.schema`: what the action makes of the kernel's schema check, which has tests of its own."""

import anyio
import pytest

from opcode_assert import actions
from opcode_kernel import ActionError, OpcodeError
from opcode_kernel.testing import call


def run(data, schema, **more):
    return anyio.run(call, actions.schema, {"data": data, "schema": schema, **more})


def refusal(data, schema, **more):
    with pytest.raises(OpcodeError) as caught:
        run(data, schema, **more)
    return caught.value


def test_violations_name_the_place_and_what_was_expected():
    error = refusal({"tags": ["x", None]}, {"required": ["id"], "properties": {"tags": {"items": {"type": "string"}}}})
    assert isinstance(error, ActionError)
    assert (error.code, error.retryable) == ("ASSERTION_FAILED", False)
    assert error.details["violations"] == [": 'id' is a required property", "/tags/1: expected string, found null"]
    assert error.details["error"] == error.message
    assert "'id' is a required property (and 1 more)" in error.message
    assert refusal(1, {"type": "string"}, message="bad").message == "bad"


@pytest.mark.parametrize("data", [None, 1, "x", [], {}])
def test_any_json_value_can_be_checked(data):
    assert run(data, {}) == {"pass": True}


@pytest.mark.parametrize(
    "schema",
    [{"type": "nope"}, {"pattern": "(?=x)"}, {"$ref": "file:///etc/hostname"}, {"$ref": "#"}, {"$schema": "x"}],
)
def test_schemas_that_are_invalid_or_lead_elsewhere_are_refused(schema):
    error = refusal(["x"], schema)
    assert (error.code, error.retryable) == ("VALIDATION_ERROR", False)
    assert error.message.startswith("schema: expected")


def test_formats_are_asserted():
    assert run("2024-02-29", {"format": "date"}) == {"pass": True}
    assert refusal("2023-02-29", {"format": "date"}).code == "ASSERTION_FAILED"
