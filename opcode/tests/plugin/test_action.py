"""What an action declares follows from its function and its params, and from nothing else."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import pytest

from opcode_kernel import Param, action
from opcode_kernel.errors import DefinitionError


@dataclass(frozen=True, slots=True)
class GreetParams:
    name: Annotated[str, Param("whom to greet")]
    times: Annotated[int, Param("how often", ge=1)] = 1


@dataclass(frozen=True, slots=True)
class Greeting:
    text: Annotated[str, Param("the greeting")]


def plain(ctx, params):
    return None


async def waiting(ctx, params):
    return None


def test_an_action_has_effects_unless_it_says_otherwise():
    assert action("a.b", summary="Do")(plain).effect == "effect"
    assert action("a.b", summary="Do", effect="pure")(plain).effect == "pure"


def test_only_plain_functions_that_do_not_block_run_inline():
    assert action("a.b", summary="Do")(plain).inline
    assert not action("a.b", summary="Do")(waiting).inline
    assert not action("a.b", summary="Do", blocking=True)(plain).inline


def test_an_action_without_params_has_no_decoder_and_an_open_schema():
    made = action("a.b", summary="Do")(plain)
    assert made.decoder is None
    assert made.describe() == {
        "name": "a.b", "description": "Do", "effect": "effect", "output_schema": {},
        "input_schema": {"type": "object", "properties": {}, "additionalProperties": True},
    }  # fmt: skip


def test_the_schemas_say_what_the_decoder_accepts():
    made = action("greet.go", summary="Greet", params=GreetParams, output=Greeting)(plain)
    described = made.describe()
    schema = described["input_schema"]
    assert schema["required"] == ["name"]
    assert schema["properties"]["times"]["minimum"] == 1
    assert schema["properties"]["name"]["description"] == "whom to greet"
    assert described["output_schema"]["properties"]["text"]["type"] == "string"
    assert made.decoder is made.decoder
    assert made.decoder.decode({"name": "x", "times": "2"}) == GreetParams("x", 2)
    for bad in ({}, {"name": "x", "times": 0}):
        with pytest.raises(DefinitionError):
            made.decoder.decode(bad)


def test_two_actions_are_never_equal_by_accident():
    first, second = (action("a.b", summary="Do")(plain) for _ in range(2))
    assert first != second
    assert len({first, second}) == 2


def test_declarations_cannot_be_changed_later():
    made = action("a.b", summary="Do", holds_slot=False, bound=frozenset({"expression"}))(plain)
    assert (made.holds_slot, made.bound) == (False, frozenset({"expression"}))
    with pytest.raises(AttributeError):
        made.name = "c.d"
