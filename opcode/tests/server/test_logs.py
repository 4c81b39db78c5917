"""Every line is JSON, carries the ids of what it belongs to, and is written once."""

from __future__ import annotations

import io
import json
import logging

import anyio
import pytest

from opcode_kernel.errors import OpcodeError
from opcode_kernel.server import logs
from opcode_kernel.server.calls import open_calls


def lines(stream: io.StringIO) -> list[dict[str, object]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


@pytest.mark.parametrize("value", [2**70, "\ud800", {"deep": {"x": "\ud800"}}, {(1, 2): 3}])
def test_a_value_that_json_cannot_carry_does_not_fail_whoever_logs_it(value):
    stream = io.StringIO()
    logs.configure("info", stream=stream)
    logs.get_logger().info("look", value=value)
    assert lines(stream)[0]["msg"] == "look"


def test_extra_fields_of_library_records_are_kept():
    stream = io.StringIO()
    logs.configure("info", stream=stream)
    logging.getLogger("opcode.hub").error("an observer failed", extra={"owner": "opcode-x"})
    assert lines(stream)[0]["owner"] == "opcode-x"


def test_a_record_has_time_level_and_message_first_and_the_bound_ids():
    stream = io.StringIO()
    logs.configure("info", stream=stream)
    with logs.bind(request_id="r", step_id=None):
        logs.get_logger().warning("look", n=1, odd={1: object})
    logs.get_logger().debug("not at this level")
    (record,) = lines(stream)
    assert list(record)[:3] == ["time", "level", "msg"]
    assert (record["level"], record["msg"], record["request_id"], record["n"]) == ("WARN", "look", "r", 1)
    assert "step_id" not in record
    assert str(record["time"]).endswith("Z")


def test_clients_for_http_do_not_tell_of_every_request():
    stream = io.StringIO()
    logs.configure("info", stream=stream)
    for name in ("httpx", "httpx2"):
        logging.getLogger(name).info("POST /message?sessionId=s")
    assert lines(stream) == []


def test_records_of_libraries_take_the_same_way_and_keep_their_failure():
    stream = io.StringIO()
    logs.configure("info", stream=stream)
    try:
        raise ValueError("inner")
    except ValueError:
        logging.getLogger("library").exception("it broke")
    logging.getLogger("uvicorn.error").info("chatter")
    (record,) = lines(stream)
    assert (record["level"], record["msg"], record["logger"]) == ("ERROR", "it broke", "library")
    assert "ValueError: inner" in str(record["exception"])


def test_configuring_again_changes_the_level_and_doubles_nothing():
    stream = io.StringIO()
    logs.configure("error", stream=stream)
    logs.configure("debug", stream=stream)
    logging.getLogger("library").debug("once")
    assert [record["msg"] for record in lines(stream)] == ["once"]


@pytest.mark.anyio
async def test_a_call_that_the_server_leaves_behind_fails_with_a_sentence():
    failures: list[OpcodeError] = []

    async def caller(calls) -> None:
        try:
            await calls.run(anyio.sleep_forever)
        except OpcodeError as error:
            failures.append(error)

    async with anyio.create_task_group() as tasks, open_calls() as calls:
        tasks.start_soon(caller, calls)
        await anyio.wait_all_tasks_blocked()
        assert calls.in_flight == 1
    assert failures[0].code == "CANCELLED"


@pytest.mark.anyio
async def test_settling_waits_for_the_last_call():
    gate = anyio.Event()
    async with open_calls() as calls, anyio.create_task_group() as tasks:
        tasks.start_soon(calls.run, gate.wait)
        await anyio.wait_all_tasks_blocked()
        tasks.start_soon(calls.settle)
        await anyio.wait_all_tasks_blocked()
        assert calls.in_flight == 1
        gate.set()
    assert calls.in_flight == 0
