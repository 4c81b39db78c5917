"""Secrets are filled in last, and nothing that is written or answered shows one."""

from __future__ import annotations

import base64
import json
from urllib.parse import quote

import anyio
import pytest
import structlog
from structlog.testing import capture_logs

from opcode_kernel.errors import VaultError
from opcode_kernel.runtime.redaction import Redactor

pytestmark = pytest.mark.anyio

SECRET = 'pa"ss/wörd+42&x'


def forms():
    raw = SECRET.encode()
    return {
        "raw": SECRET, "base64": base64.b64encode(raw).decode(), "inside": base64.b64encode(b"user:" + raw).decode(),
        "url": quote(SECRET, safe=""), "hex": raw.hex(), "json": json.dumps(SECRET), "json8": json.dumps(SECRET, ensure_ascii=False),
    }  # fmt: skip


async def run(world, steps, **definition):
    world.vault.secrets.setdefault("TOKEN", SECRET)
    async with world.engine(vault=world.vault) as engine:
        await engine.define("t", {"steps": steps, **definition}, agent_id="me")
        with anyio.fail_after(5):
            result = await engine.run("t", agent_id="me")
        result["all"] = await engine.status(result["workflow_id"])
        return result


def assert_hidden(world, result, events):
    shown = repr(result) + repr(events) + repr(world.store._steps) + repr(world.store._runs)
    for name, form in forms().items():
        core = form.strip('"').rstrip("=")
        assert core not in shown, name
        assert core[4:-4] not in shown, name


@pytest.mark.parametrize("action", ["fake.note", "fake.pure", "fake.fail", "fake.block"])
async def test_an_action_gets_the_value_and_the_log_gets_none(world, action):
    params = {"token": "${{secrets.TOKEN}}", "header": "Bearer ${{secrets.TOKEN}}!", "times": 0}
    result = await run(world, [{"id": "a", "action": action, "params": params}])
    assert result["status"] == "completed"
    if action in ("fake.note", "fake.pure"):
        assert world.seen["a"] == [{"token": SECRET, "header": f"Bearer {SECRET}!", "times": 0}]
    assert result["all"]["steps"]["a"]["input"]["header"] == "Bearer ***!"
    assert_hidden(world, result, await world.all_events())


@pytest.mark.parametrize("form", sorted(forms()))
@pytest.mark.parametrize("action", ["fake.pure", "fake.emit", "fake.fail", "fake.crash"])
async def test_an_echo_is_masked_in_every_form(world, action, form):
    text = f"<{forms()[form]}>"
    params = {
        "fake.pure": {"value": [text, {"k": {text: [text]}}]},
        "fake.emit": {"type": "my.thing", "payload": {"t": text}, "context": {"k": text}},
        "fake.fail": {"message": f"server said {text}", "details": {"body": text}},
        "fake.crash": {"message": text},
    }[action]
    steps = [
        {"id": "know", "action": "fake.note", "params": {"t": "${{secrets.TOKEN}}"}},
        {"id": "a", "action": action, "params": params, "depends_on": ["know"]},
    ]
    # The echo is a param here, which is recorded before anybody knows it for a secret's form: look only at what the
    # action gave back.
    result = await run(world, steps)
    events = [event for event in await world.all_events() if event.type not in ("step_started", "workflow_started")]
    shown = repr(events)
    assert forms()[form].strip('"').rstrip("=")[4:-4] not in shown
    assert "***" in shown
    assert result["status"] == ("failed" if action in ("fake.fail", "fake.crash") else "completed")


async def test_log_records_are_masked(world):
    structlog.reset_defaults()
    steps = [
        {
            "id": "a",
            "action": "fake.log",
            "params": {"message": "see ${{secrets.TOKEN}}", "fields": {"x": "${{secrets.TOKEN}}"}},
        }
    ]
    with capture_logs() as records:
        result = await run(world, steps)
    assert result["status"] == "completed"
    assert SECRET not in repr(records)
    assert any(record["event"] == "see ***" and record["x"] == "***" for record in records)


async def test_without_a_vault_the_step_fails_for_good(world):
    async with world.engine() as engine:
        steps = [{"id": "a", "action": "fake.note", "params": {"t": "${{secrets.TOKEN}}"}, "retry": {"max": 2}}]
        await engine.define("t", {"steps": steps}, agent_id="me")
        result = await engine.run("t", agent_id="me")
    error = result["steps"]["a"]["error"]
    assert (error["code"], error["retryable"]) == ("INTERPOLATION_ERROR", False)
    assert error["details"]["cause"]["code"] == "VAULT_ERROR"
    assert "OPCODE_VAULT_KEY" in error["message"]
    assert world.ran() == []


@pytest.mark.parametrize("broken", [True, False])
async def test_a_secret_that_cannot_be_had_is_named(world, broken):
    world.vault.error = VaultError("the stored value of 'NONE' is damaged") if broken else None
    result = await run(world, [{"id": "a", "action": "fake.note", "params": {"t": "${{secrets.NONE}}"}}])
    error = result["steps"]["a"]["error"]
    assert error["code"] == "INTERPOLATION_ERROR"
    assert error["details"]["cause"]["code"] == ("VAULT_ERROR" if broken else "NOT_FOUND")
    assert error["details"]["secret"] == "NONE"
    assert world.ran() == []


async def test_secrets_of_the_definitions_inputs_are_filled_where_they_are_used(world):
    steps = [{"id": "a", "action": "fake.note", "params": {"t": "x${{inputs.token}}"}}]
    result = await run(world, steps, inputs={"token": "${{secrets.TOKEN}}"})
    assert world.seen["a"] == [{"t": f"x{SECRET}"}]
    assert result["all"]["params"] == {"token": "***"}
    assert_hidden(world, result, await world.all_events())


async def test_a_caller_cannot_smuggle_a_reference_in(world):
    world.vault.secrets["TOKEN"] = SECRET
    async with world.engine(vault=world.vault) as engine:
        steps = [{"id": "a", "action": "fake.note", "params": {"t": "${{inputs.x}}"}}]
        await engine.define("t", {"steps": steps}, agent_id="me")
        await engine.run("t", agent_id="me", params={"x": "${{secrets.TOKEN}}"})
    assert world.seen["a"] == [{"t": "${{secrets.TOKEN}}"}]


def test_short_values_are_not_searched_for():
    redactor = Redactor()
    redactor.add("abc")
    assert not redactor
    assert redactor.value({"a": "abc"}) == {"a": "abc"}


def test_longer_secrets_win_over_those_inside_them():
    redactor = Redactor()
    redactor.add("word")
    redactor.add("password")
    redactor.add("password")
    assert redactor.text("my password, a word") == "my ***, a ***"


def test_tuples_are_masked_like_lists():
    redactor = Redactor()
    redactor.add("secret")
    assert redactor.value(("a secret", 1, None)) == ["a ***", 1, None]
