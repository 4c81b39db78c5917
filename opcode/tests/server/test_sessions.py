"""Who is told what."""

from __future__ import annotations

from typing import Any

import pytest

from opcode_kernel.server.sessions import Sessions, log_message

pytestmark = pytest.mark.anyio

MESSAGE = {"message": "m", "workflow_id": "w", "step_id": "s"}


async def test_an_agent_nobody_speaks_for_is_not_connected():
    assert await Sessions().notify("a", MESSAGE) == (False, "not_connected")


async def test_every_connection_of_an_agent_is_told_and_one_is_enough():
    sessions, got = Sessions(), []
    sessions.open("c1", lambda params: got.append(params))
    sessions.open("c2", lambda params: "queue_full")
    for connection in ("c1", "c2", "unknown"):
        sessions.remember("a", connection)
    assert await sessions.notify("a", MESSAGE) == (True, None)
    sessions.close("c1")
    assert await sessions.notify("a", MESSAGE) == (False, "queue_full")
    assert len(got) == 1


@pytest.mark.parametrize("data", [{"n": 2**70}, {"s": "\ud800"}, [[object]]])
async def test_what_json_cannot_carry_is_no_reason_not_to_tell(data):
    sessions, got = Sessions(), []
    sessions.open("c", got.append)
    sessions.remember("a", "c")
    assert await sessions.notify("a", {**MESSAGE, "data": data}) == (True, None)
    assert "?" in str(got[0]["data"]) or data != {"s": "\ud800"}


async def test_clients_that_want_graver_messages_only_are_spared():
    sessions, got = Sessions(), []
    sessions.open("c", got.append)
    sessions.remember("a", "c")
    sessions.set_level("c", "warning")
    assert await sessions.notify("a", MESSAGE) == (False, "filtered")
    sessions.set_level("c", "info")
    assert await sessions.notify("a", MESSAGE) == (True, None)


async def test_a_connection_remembers_only_so_many_agents():
    sessions = Sessions()
    sessions.open("c", lambda params: None)
    for number in range(1001):
        sessions.remember(f"a{number}", "c")
    assert sessions.connections("a0") == []
    assert sessions.connections("a1") == ["c"]


def test_closing_ends_the_channel_once():
    sessions, ended = Sessions(), []
    sessions.open("c", lambda params: None, lambda: ended.append("c"))
    sessions.close("c")
    sessions.close("c")
    assert ended == ["c"]


@pytest.mark.parametrize(
    ("extra", "data"),
    [({"data": {"rows": 1}}, {"rows": 1}), ({}, MESSAGE), ({"data": None}, MESSAGE)],
)
def test_the_flat_keys_stand_beside_what_logging_requires(extra: dict[str, Any], data: Any):
    assert log_message({**MESSAGE, **extra}) == {**MESSAGE, "level": "info", "logger": "opcode.workflow", "data": data}
