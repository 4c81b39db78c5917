"""Every line is JSON, carries the ids of what it belongs to, and is written once."""

from __future__ import annotations

import base64
import io
import json
import logging

import anyio
import pytest

from opcode_kernel.errors import OpcodeError
from opcode_kernel.runtime.redaction import Redactor, watch
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


def test_headers_on_the_wire_are_written_at_no_level():
    stream = io.StringIO()
    logs.configure("debug", stream=stream)
    for name in ("httpcore2.http2", "hpack.hpack"):
        logging.getLogger(name).debug("authorization: Bearer abc")
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


# Secrets -----------------------------------------------------------------------------------------------------------------


@pytest.fixture
def known():
    redactor = watch(Redactor())
    redactor.add(SECRET)
    redactor.add("12345678")
    return redactor


SECRET = 'hun"ter\\22\nand more'


class Loud:
    def __repr__(self):
        return f"<Loud {SECRET!r}>"


@pytest.mark.parametrize(
    "fields",
    [
        {"a": SECRET}, {"a": [{"b": {"c": f"<{SECRET}>"}}]}, {SECRET: 1}, {"a": Loud()}, {"a": SECRET.encode()},
        {"a": json.dumps({"k": SECRET})}, {"a": repr(SECRET)}, {"a": ("x", SECRET)}, {"a": {SECRET}}, {"n": 12345678},
        {"a": base64.b64encode(b"u:" + SECRET.encode()).decode()}, {"a": ValueError(SECRET)},
    ],
    ids=str,
)  # fmt: skip
def test_a_known_secret_is_masked_wherever_it_stands_in_a_record(known, fields):
    stream = io.StringIO()
    logs.configure("info", stream=stream)
    logs.get_logger().info(f"said {SECRET}", **fields)
    (record,) = lines(stream)
    assert record["msg"] == "said ***"
    assert "***" in json.dumps({key: value for key, value in record.items() if key != "msg"})
    for part in ("hun", "ter", "and more", "12345678", "dGVy"):
        assert part not in stream.getvalue()


def test_a_known_secret_is_masked_in_tracebacks_bound_ids_and_records_of_libraries(known):
    stream = io.StringIO()
    logs.configure("info", stream=stream)
    with logs.bind(agent_id=SECRET):
        try:
            try:
                raise KeyError(SECRET)
            except KeyError as error:
                raise RuntimeError(f"no {SECRET}") from error
        except RuntimeError:
            logs.get_logger().exception("crashed")
            logging.getLogger("library").exception("failed with %s", SECRET, extra={"what": [SECRET]})
    assert len(lines(stream)) == 2
    assert "RuntimeError: no ***" in stream.getvalue()
    assert "hun" not in stream.getvalue().replace("hundred", "")
    assert "ter" not in json.dumps([record.get("what") for record in lines(stream)])


def test_a_secret_that_lies_across_two_fields_is_withheld_with_the_record():
    redactor = watch(Redactor())
    redactor.add('ping","b":"pong')
    stream = io.StringIO()
    logs.configure("info", stream=stream)
    logs.get_logger().info("look", a="ping", b="pong")
    (record,) = lines(stream)
    assert (record["msg"], record["note"]) == ("***", "a record that showed a secret was withheld")
    assert "pong" not in stream.getvalue()


def test_time_and_level_are_not_taken_for_secrets():
    redactor = watch(Redactor())
    stream = io.StringIO()
    logs.configure("info", stream=stream)
    logs.get_logger().info("look")
    year = str(lines(stream)[0]["time"])[:4]
    redactor.add(year)
    redactor.add("INFO")
    logs.get_logger().info("look", year=year)
    assert str(lines(stream)[1]["time"]).startswith(year)
    assert (lines(stream)[1]["level"], lines(stream)[1]["year"]) == ("INFO", "***")
