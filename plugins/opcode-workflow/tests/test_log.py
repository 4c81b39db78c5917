"""`workflow.log`: levels, the names nobody declared, and records that stay one bounded line."""

from __future__ import annotations

import json
from typing import Any

import pytest

from opcode_kernel import DefinitionError, Json
from opcode_kernel.testing import FakeContext, call
from opcode_workflow import actions
from opcode_workflow.record import MAX_RECORD, bounded, clipped, escaped, joined

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


async def logged(**params: Json) -> tuple[str, str, dict[str, Any]]:
    """Log once and return (level, text, fields)."""
    ctx = FakeContext()
    assert await call(actions.log, params, ctx) == {"logged": True}
    (record,) = ctx.log.records
    return record


@pytest.mark.parametrize("params", [{}, {"message": "x", "level": "loud"}, {"message": "x", "level": 7}])
async def test_a_record_without_text_or_with_an_unknown_level_is_refused(params: dict[str, Json]) -> None:
    with pytest.raises(DefinitionError, match=r"message: expected a value|level: expected one of"):
        await logged(**params)


@pytest.mark.parametrize(
    ("given", "written"),
    [
        (None, "info"),
        ("debug", "debug"),
        ("info", "info"),
        ("warn", "warning"),
        ("warning", "warning"),
        ("error", "error"),
    ],
)
async def test_the_level_decides_how_it_is_written(given: Json, written: str) -> None:
    assert await logged(message="hi", level=given) == (written, "hi", {})


async def test_any_value_can_be_the_message() -> None:
    assert (await logged(message=None))[1] == "null"
    assert (await logged(message={"a": 1.0}))[1] == '{"a":1}'


async def test_names_nobody_declared_join_the_data() -> None:
    assert (await logged(message="hi", url="u", count=2))[2] == {"data": {"url": "u", "count": 2}}
    assert (await logged(message="hi", data={"a": 1, "url": "d"}, url="u"))[2] == {"data": {"a": 1, "url": "d"}}
    assert (await logged(message="hi", data=[1], url="u"))[2] == {"data": {"data": [1], "url": "u"}}


def test_joining_changes_neither_side() -> None:
    data, extra = {"a": 1}, {"b": 2}
    assert joined(data, extra) == {"a": 1, "b": 2}
    assert (data, extra) == ({"a": 1}, {"b": 2})
    assert joined(0, {}) == 0


async def test_a_record_cannot_forge_another() -> None:
    _, text, fields = await logged(message='x\n{"level":"error"}\r\x1b[2J\u2028\u202e', data="a\nb")
    assert text == 'x\\n{"level":"error"}\\r\\x1b[2J\\u2028\\u202e'
    assert fields == {"data": "a\\nb"}


def test_lone_surrogates_are_written_out() -> None:
    assert escaped("a\ud800é") == "a\\ud800é"


@pytest.mark.parametrize("char", ["x", "é", "😀", "\x00", '"', "\ud800", "\\"])
def test_a_record_stays_below_64_kib(char: str) -> None:
    for data in (None, char * 200_000, {"deep": [char * 200_000]}, [char] * 60_000):
        text, fields = bounded(char * 100_000, data)
        assert (
            len(json.dumps({"event": text, **fields}, ensure_ascii=False).encode(errors="surrogatepass")) <= MAX_RECORD
        )
        assert text.endswith("…")
        assert fields["truncated"] is True


def test_data_that_fits_is_kept_whole() -> None:
    data = {"rows": ["x" * 1000] * 40}
    assert bounded("hi", data) == ("hi", {"data": data})


def test_clipping_never_splits_a_character() -> None:
    assert clipped("ééé", 6) == "ééé"
    assert clipped("éééé", 6) == "é…"
