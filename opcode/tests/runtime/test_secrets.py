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
from opcode_kernel.runtime.vault import keys, open_vault
from opcode_kernel.runtime.vault.rotation import rotate

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


async def test_a_short_number_is_masked_in_log_records_and_notifications(world):
    sent = []

    class Notifier:
        async def notify(self, agent_id, params):
            sent.append(params)
            return True, None

    structlog.reset_defaults()
    world.vault.secrets["PIN"] = "4821"
    log = {"message": "see", "fields": {"x": 4821}}
    steps = [
        {"id": "know", "action": "fake.note", "params": {"t": "${{secrets.PIN}}"}},
        {"id": "log", "action": "fake.log", "params": log, "depends_on": ["know"]},
        {"id": "tell", "action": "workflow.notify", "params": {"message": "see", "data": 4821}, "depends_on": ["log"]},
    ]
    with capture_logs() as records:
        async with world.engine(vault=world.vault, notifier=Notifier()) as engine:
            await engine.define("t", {"steps": steps}, agent_id="me")
            assert (await engine.run("t", agent_id="me"))["status"] == "completed"
    assert [record["x"] for record in records if record["event"] == "see"] == ["***"]
    assert [params["data"] for params in sent] == ["***"]


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


# With a vault that can be asked before anything runs ----------------------------------------------------------------------


@pytest.fixture
async def vault(world, monkeypatch):
    monkeypatch.setattr(keys, "ITERATIONS", keys.ITERATIONS_ALLOWED.start)
    vault = await open_vault(world.store, "pass")
    await vault.set("TOKEN", SECRET)
    return vault


async def ended(engine, steps, params=None, name="t", **definition):
    await engine.define(name, {"steps": steps, **definition}, agent_id="me")
    with anyio.fail_after(10):
        return await engine.run(name, agent_id="me", params=params)


USE = {"id": "use", "action": "fake.note", "params": {"t": "${{secrets.TOKEN}}"}}


async def test_what_came_back_before_the_secret_was_first_used_is_masked_too(world, vault):
    early = {"id": "early", "action": "fake.pure", "params": {"value": {"found": "${{inputs.found}}"}}}
    emit = {"id": "emit", "action": "fake.emit", "params": {"type": "my.thing", "payload": {"t": "${{inputs.found}}"}}}
    async with world.engine(vault=vault) as engine:
        await engine.define("t", {"steps": [early, emit, {**USE, "depends_on": ["early", "emit"]}]}, agent_id="me")
        result = await engine.run("t", agent_id="me", params={"found": f"in a file: {SECRET}"})
    assert result["status"] == "completed"
    assert_hidden(world, result, await world.all_events())


async def test_a_caller_who_names_the_value_gets_it_used_and_not_stored(world, vault):
    steps = [USE, {"id": "a", "action": "fake.note", "params": {"all": "${{inputs.deep}}", "t": "<${{inputs.t}}>"}}]
    params = {"t": f"Bearer {SECRET}!", "deep": {"k": [SECRET, 1], SECRET: forms()["base64"]}}
    async with world.engine(vault=vault) as engine:
        result = await ended(engine, steps, params)
        again = await engine.run("t", agent_id="me", params=params, idempotency_key="once")
        assert await engine.run("t", agent_id="me", params=params, idempotency_key="once") == again
        status = await engine.status(result["workflow_id"])
    assert world.seen["a"][0] == {"all": {"k": [SECRET, 1], "***": "***"}, "t": f"<Bearer {SECRET}!>"}
    assert status["params"] == {"t": "Bearer ***!", "deep": {"k": ["***", 1], "***": "***"}}
    assert_hidden(world, [result, again], await world.all_events())


async def test_a_run_without_the_secret_is_left_as_it_is(world, vault):
    async with world.engine(vault=vault) as engine:
        await ended(engine, [USE])
        plain = {"id": "a", "action": "fake.pure", "params": {"value": SECRET}}
        result = await ended(engine, [plain], name="plain")
        assert engine.secrets.known.text(SECRET) == "***"
    assert result["output"] == SECRET


async def test_after_a_restart_what_comes_back_is_still_masked(world, vault):
    wait = {"id": "wait", "type": "wait", "depends_on": ["use"], "config": {"signal": "go"}}
    late = {"id": "late", "action": "fake.pure", "depends_on": ["wait"], "params": {"value": "${{steps.wait.output}}"}}
    async with world.engine(vault=vault) as engine:
        run_id = (await ended(engine, [USE, wait, late]))["workflow_id"]
    async with world.engine(vault=vault) as engine:
        with anyio.fail_after(10):
            result = await engine.signal(
                run_id,
                "data",
                payload={"signal": "go", "text": f"see {SECRET}", SECRET: forms()["url"]},
                reasoning=SECRET,
            )
            status = await engine.status(run_id)
    assert status["status"] == "completed"
    assert status["steps"]["late"]["output"]["payload"]["text"] == "see ***"
    assert_hidden(world, [result, status], await world.all_events())


@pytest.mark.parametrize(
    "value", ["12345678", "-----KEY-----\n" + "\n".join(f"line{n:02}of-this-secret" for n in range(20)), "pin1"]
)
async def test_numbers_long_texts_and_short_ones_are_masked(world, vault, value):
    await vault.set("TOKEN", value)
    echo = {
        "id": "a",
        "action": "fake.crash",
        "params": {"message": f"said {value}"},
        "on_error": {"strategy": "ignore"},
    }
    number = {"id": "n", "action": "fake.pure", "params": {"value": {"n": 12345678, "more": [value.splitlines()[-1]]}}}
    async with world.engine(vault=vault) as engine:
        result = await ended(engine, [USE, echo, number])
    assert result["steps"]["n"]["output"] == {"n": "***" if value == "12345678" else 12345678, "more": ["***"]}
    shown = repr(result) + repr([event.payload for event in await world.all_events()])
    assert value.splitlines()[-1] not in shown


async def test_keys_and_texts_around_it_are_masked_on_the_way_to_a_child_which_still_gets_the_value(world, vault):
    child = [{"id": "c", "action": "fake.note", "params": {"t": "${{inputs.t}}"}}]
    params = {"t": "<${{secrets.TOKEN}}>", "deep": [{"k": "${{secrets.TOKEN}}"}], "spelt": forms()["hex"]}
    async with world.engine(vault=vault) as engine:
        await engine.define("child", {"steps": child}, agent_id="me")
        await ended(
            engine, [{"id": "run", "action": "workflow.run", "params": {"template_name": "child", "params": params}}]
        )
    assert world.seen["run.c" if "run.c" in world.seen else "c"] == [{"t": f"<{SECRET}>"}]
    (given,) = [row.input_params for row in world.store._runs.values() if row.template_name == "child"]
    assert given == {"t": "<***>", "deep": [{"k": "***"}], "spelt": "***"}


async def test_an_action_that_is_refused_a_secret_leaves_a_trace_and_did_not_run(world, vault):
    await vault.set("TOKEN", SECRET, templates=["other"])
    async with world.engine(vault=vault) as engine:
        result = await ended(engine, [USE])
    assert result["steps"]["use"]["error"]["details"]["cause"]["code"] == "PERMISSION_DENIED"
    assert world.ran() == []
    assert [(use.action, use.step_id) for use in await world.store.secret_uses(limit=1)] == [("refuse", "use")]


async def test_a_vault_that_was_rotated_away_is_said_once_when_that_begins_and_again_only_after_it_was_well(
    world, vault
):
    known: list[str] = []
    structlog.reset_defaults()

    async def warned(engine):
        with capture_logs() as records:
            await engine.run("t", agent_id="me")
        return [each["error"] for each in records if each["event"] == "no secret can be used any more"]

    own = await open_vault(world.store, "pass", others=lambda: known)
    async with world.engine(vault=own) as engine:
        await ended(engine, [USE])
        await rotate(vault, "new")
        (said,) = await warned(engine)
        assert "was rotated to another passphrase while this process ran" in said
        assert await warned(engine) == []
        known.append("new")
        assert await warned(engine) == []
        await rotate(vault, "newer")
        assert len(await warned(engine)) == 1


async def test_a_default_stands_in_for_a_secret_that_does_not_exist_and_for_no_other_failure(world, vault):
    steps = [
        {
            "id": "a",
            "action": "fake.note",
            "params": {"t": "${{secrets.NONE ?? 'none'}}", "u": "${{secrets.TOKEN ?? 1}}"},
        }
    ]
    async with world.engine(vault=vault) as engine:
        await ended(engine, steps)
        assert world.seen["a"] == [{"t": "none", "u": SECRET}]
        row = await world.store.secret("TOKEN")
        await world.store.put_secret(row._replace(value=row.value[:-1]))
        result = await engine.run("t", agent_id="me")
    assert result["steps"]["a"]["error"]["details"]["cause"]["code"] == "VAULT_ERROR"
    assert [use.name for use in await world.store.secret_uses() if use.action == "resolve"] == ["TOKEN", "TOKEN"]


async def test_a_free_answer_is_masked_and_an_option_that_is_spelt_like_a_secret_is_still_one(world, vault):
    await vault.set("WORD", "production")
    use = {"id": "use", "action": "fake.note", "params": {"t": "${{secrets.TOKEN}}", "w": "${{secrets.WORD}}"}}
    options = [{"id": "production"}, {"id": "no"}]
    free, bound = ({"prompt_context": "What now?"}, {"prompt_context": "Where?", "options": options})
    steps = [use, *({"id": name, "type": "reasoning", "depends_on": ["use"], "config": config}
                    for name, config in (("free", free), ("bound", bound)))]  # fmt: skip
    async with world.engine(vault=vault) as engine:
        run_id = (await ended(engine, steps))["workflow_id"]
        await engine.signal(run_id, "decision", step_id="free", payload={"choice": f"use {SECRET}"})
        result = await engine.signal(run_id, "decision", step_id="bound", payload={"choice": "production"})
        status = await engine.status(run_id)
    assert status["status"] == "completed"
    assert status["steps"]["free"]["output"]["choice"] == "use ***"
    assert status["steps"]["bound"]["output"]["choice"] == "production"
    assert_hidden(world, [result, status], await world.all_events())
