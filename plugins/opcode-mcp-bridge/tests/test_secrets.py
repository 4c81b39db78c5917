"""Secrets of servers: filled in when they start, and never seen again."""

from __future__ import annotations

import base64
import json
from dataclasses import replace
from typing import Any

import anyio
import pytest

from opcode_kernel import ActionError, NotFoundError

pytestmark = pytest.mark.anyio

TOKEN = "gho_Canary/Value+42 äß"


class Vault:
    """A vault with one secret."""

    def __init__(self, **secrets: str) -> None:
        self.secrets = secrets

    async def get(self, name: str) -> str:
        if name not in self.secrets:
            raise NotFoundError(f"secret {name!r} not found")
        return self.secrets[name]


def spellings() -> list[str]:
    raw = TOKEN.encode()
    return [TOKEN, base64.b64encode(raw).decode().rstrip("="), raw.hex(), json.dumps(TOKEN)[1:-1]]


async def test_a_secret_reaches_the_server_and_nothing_that_it_says_shows_it(
    place: Any, tiny: Any, log: Any, tmp_path: Any, records: Any
) -> None:
    file = tmp_path / "seen"
    plugin = tiny(env={"TOKEN": "Bearer ${{secrets.TOKEN}}", "RECORD": str(file)})
    async with place(plugin, vault=Vault(TOKEN=TOKEN)) as here:
        output = await here.call("tiny.env")
        assert output["json"]["TOKEN"] == "Bearer ***"
        for text in spellings():
            assert "***" in (await here.call("tiny.echo", text="${{inputs.x ?? '" + "a'}}" + text))["text"]
            with pytest.raises(ActionError) as caught:
                await here.call("tiny.fail", text=text)
            assert text not in caught.value.message + json.dumps(caught.value.details, ensure_ascii=False)
            await here.call("tiny.flood_stderr", lines=1, words=text)
            await here.call("tiny.say", text=text)
        with pytest.raises(ActionError) as caught:
            await here.call("tiny.crash", words=TOKEN)
        assert caught.value.message.endswith("/ ***")
        rows = json.dumps([row._asdict() for row in await here.engine.store.plugins()], ensure_ascii=False)
        everything = rows + repr(log)
    assert '"TOKEN": "***"' in rows
    for text in spellings():
        assert text not in everything


async def test_a_secret_that_is_not_there_is_named_and_nothing_is_started(place: Any, tiny: Any, tmp_path: Any) -> None:
    pids = tmp_path / "pids"
    async with place(tiny(env={"A": "${{secrets.GONE}}", "PIDS": str(pids)}), vault=Vault()) as here:
        row = await here.row()
        assert (row.status, pids.exists()) == ("error", False)
        assert row.error_message == "the secret 'GONE' cannot be used: secret 'GONE' not found"


async def test_a_tool_that_is_named_after_a_secret_or_describes_it_shows_nothing(
    place: Any, tiny: Any, tools_file: Any, log: Any
) -> None:
    secret = "hunter22hunter22"
    tools = [
        {"name": secret, "inputSchema": {"type": "object"}},
        {"name": "fine", "description": f"uses {secret}", "inputSchema": {"type": "object"}},
    ]
    plugin = tiny(env={"A": "${{secrets.S}}", "TOOLS": tools_file(tools)})
    async with place(plugin, vault=Vault(S=secret)) as here:
        assert list(here.engine.registry.actions) == ["tiny.fine"]
        assert here.engine.registry.actions["tiny.fine"].summary == "uses ***"
    assert secret not in repr(log)


@pytest.mark.parametrize("before", [3_990, 65_526])
async def test_no_secret_is_cut_before_it_is_masked(place: Any, tiny: Any, log: Any, before: int) -> None:
    secret = "hunter22hunter22"
    async with place(tiny(env={"A": "${{secrets.S}}"}), vault=Vault(S=secret)) as here:
        text = "x" * before + secret
        for name, given in (("fail", {"text": text}), ("rpc_error", {"code": -32000, "message": text})):
            with pytest.raises(ActionError) as caught:
                await here.call(f"tiny.{name}", **given)
            assert "hunter" not in caught.value.message + json.dumps(caught.value.details)
        await here.call("tiny.say", text={"token": "x" * 5 + secret + "x" * 30})
        await here.call("tiny.retool", tools=[{"name": f"{'a ' * 35}{secret}"}])
        with anyio.fail_after(10):
            while not [each for each in log if each["event"] == "tools left out"]:  # noqa: ASYNC110
                await anyio.sleep(0.005)
    assert "hunter" not in repr(log)


async def test_no_secret_is_cut_in_the_reason_why_a_server_does_not_start(place: Any, tiny: Any) -> None:
    secret = "hunter22hunter22"
    plugin = tiny("--refuse", env={"A": "${{secrets.S}}", "WORDS": "x" * 390 + "${{secrets.S}}"})
    async with place(replace(plugin, restart=replace(plugin.restart, max=0)), vault=Vault(S=secret)) as here:
        row = await here.row()
    assert row.error_message.startswith("it refused the handshake: xxx")
    assert "hunter" not in row.error_message
