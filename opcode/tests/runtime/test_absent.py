"""Templates and secrets that a definition uses before they are there: warnings, never errors."""

from __future__ import annotations

from typing import Any

import pytest

pytestmark = pytest.mark.anyio


class ListingVault:
    """A vault that says what it holds."""

    async def get(self, name: str) -> str:
        return "hidden"

    async def list(self) -> list[str]:
        return ["API_KEY"]


def call(**params: Any) -> dict[str, Any]:
    return {"id": "c", "action": "workflow.run", "params": params}


def reads(secret: str) -> dict[str, Any]:
    return {"id": "a", "action": "fake.pure", "params": {"value": f"${{{{secrets.{secret}}}}}"}}


@pytest.mark.parametrize(
    ("params", "path", "message", "meant"),
    [
        ({"template_name": "chlid"}, "template_name", "there is no template 'chlid' yet; define it before", "child"),
        ({"template_name": "moon"}, "template_name", "there is no template 'moon' yet; define it before", None),
        ({"template_name": "child", "version": "v3"}, "version", "the template 'child' has no version 'v3' yet", None),
    ],
)
async def test_a_template_that_is_not_there_is_a_warning(world, params, path, message, meant):
    async with world.engine() as engine:
        await engine.define("child", {"steps": [reads("X")]}, agent_id="me")
        answer = await engine.define("parent", {"steps": [call(**params)]}, agent_id="me")
    (warning,) = answer["warnings"]
    assert answer["version"] == "v1"
    assert warning["path"] == f"steps[0].params.{path}"
    assert (warning["code"], warning["severity"], warning.get("did_you_mean")) == ("NOT_FOUND", "warning", meant)
    assert warning["message"].startswith(message)
    assert bool(warning.get("patch")) == (meant is not None)


@pytest.mark.parametrize(
    "params",
    [
        {"template_name": "parent"},
        {"template_name": "child"},
        {"template_name": "child", "version": "v1"},
        {"template_name": "${{inputs.which}}"},
        {"template_name": "child", "version": "${{inputs.which}}"},
    ],
)
async def test_a_template_that_is_there_or_computed_is_no_warning(world, params):
    async with world.engine() as engine:
        await engine.define("child", {"steps": [{"id": "a", "action": "fake.pure"}]}, agent_id="me")
        assert "warnings" not in await engine.define("parent", {"steps": [call(**params)]}, agent_id="me")


async def test_a_secret_that_the_vault_does_not_hold_is_a_warning_in_document_order(world):
    definition = {
        "inputs": {"key": "${{secrets.API_KYE}}"},
        "steps": [reads("API_KEY"), {**reads("OTHER"), "id": "b"}, {**reads("OTHER"), "id": "c", "config": {"x": 1}}],
    }
    async with world.engine(vault=ListingVault()) as engine:
        answer = await engine.define("t", definition, agent_id="me")
    found = [(each["path"], each["code"], each.get("did_you_mean")) for each in answer["warnings"]]
    assert found[:2] == [("inputs.key", "NOT_FOUND", "API_KEY"), ("steps[1].params.value", "NOT_FOUND", None)]
    assert [path for path, _, _ in found[2:]] == ["steps[2].config"]
    assert "OTHER" in answer["warnings"][1]["message"]


async def test_a_vault_that_does_not_say_what_it_holds_is_believed_and_none_is_a_warning(world):
    async with world.engine(vault=world.vault) as engine:
        assert "warnings" not in await engine.define("t", {"steps": [reads("X")]}, agent_id="me")
    async with world.engine() as engine:
        (warning,) = (await engine.define("t", {"steps": [reads("X")]}, agent_id="me"))["warnings"]
    assert (warning["path"], warning["code"]) == ("steps[0].params.value", "VAULT_ERROR")
    assert "OPCODE_VAULT_KEY" in warning["message"]
