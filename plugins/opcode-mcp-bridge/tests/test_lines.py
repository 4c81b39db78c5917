"""From bytes to messages: whole lines whatever the chunks, bounded, and never the wrong call told."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mcp_types import JSONRPCError, JSONRPCNotification, JSONRPCRequest, JSONRPCResponse

from opcode_mcp_bridge.lines import Lines, TooLong
from opcode_mcp_bridge.messages import MAX_STRUCTURE, UnreadableError, parse, read_message


def fed(*chunks: bytes, limit: int = 1_000) -> tuple[list[Any], bytes]:
    lines = Lines(limit)
    return [line for chunk in chunks for line in lines.feed(chunk)], lines.rest()


@given(st.lists(st.binary(max_size=20), max_size=20), st.lists(st.integers(0, 60), max_size=8))
def test_lines_are_the_same_however_the_bytes_are_cut(parts: list[bytes], cuts: list[int]) -> None:
    text = b"\n".join(part.replace(b"\n", b"") for part in parts)
    places = sorted({0, len(text), *(min(cut, len(text)) for cut in cuts)})
    chunks = [text[a:b] for a, b in pairwise(places)]
    found, rest = fed(*chunks)
    assert [*found, rest] == text.split(b"\n")


def test_a_line_beyond_the_bound_is_not_kept_and_the_next_one_is_whole() -> None:
    chunks = [b"h" * 600, b"t" * 600, b"x" * 5_000 + b"end\nnext\n", b"rest"]
    (long, following), rest = fed(*chunks)
    assert isinstance(long, TooLong)
    assert (long.length, long.head[:3], long.tail[-4:]) == (6_203, b"hhh", b"xend")
    assert len(long.head) + len(long.tail) < 10_000
    assert (following, rest) == (b"next", b"rest")
    assert fed(b"x" * 1_000 + b"\n")[0] == [b"x" * 1_000]


@pytest.mark.parametrize(
    ("line", "kind"),
    [
        (b'{"jsonrpc":"2.0","id":1,"result":{}}', JSONRPCResponse),
        (b'{"id":"1","result":{"a":1}}\r', JSONRPCResponse),
        (b'{"jsonrpc":"2.0","id":1,"error":{"code":-1,"message":"no"}}', JSONRPCError),
        (b'{"jsonrpc":"2.0","id":1,"error":{"code":"x"}}', JSONRPCError),
        (b'{"jsonrpc":"2.0","id":1,"method":"ping"}', JSONRPCRequest),
        (b'{"jsonrpc":"2.0","method":"notifications/x"}', JSONRPCNotification),
    ],
)
def test_what_is_a_message_is_read(line: bytes, kind: type) -> None:
    assert isinstance(read_message(line), kind)


@pytest.mark.parametrize(
    "line",
    [
        b"", b"{", b"[]", b"7", b'"text"', b"null", b"{}", b'{"jsonrpc":"2.0"}', b'{"jsonrpc":"1.0","method":"x"}',
        b'{"jsonrpc":"2.0","id":true,"result":{}}', b'{"jsonrpc":"2.0","id":1.5,"result":{}}',
        b'{"jsonrpc":"2.0","id":null,"result":{}}', b'{"jsonrpc":"2.0","method":7}', b"\xff\xfe", b"[" * 100_000,
    ],
)  # fmt: skip
def test_what_is_no_message_is_said_to_be_none(line: bytes) -> None:
    with pytest.raises(UnreadableError):
        read_message(line)


_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["jsonrpc", "id", "method", "params", "result", "error", "code"]), inner)
    ),
    max_leaves=8,
)


@given(st.binary(max_size=60) | _VALUES.map(lambda value: json.dumps(value).encode()))
def test_a_line_is_a_message_or_it_is_not_whatever_it_holds(line: bytes) -> None:
    try:
        message = read_message(line)
    except UnreadableError:
        return
    message.model_dump_json(by_alias=True, exclude_unset=True)


@pytest.mark.parametrize(
    ("line", "id"),
    [
        (b'{"jsonrpc":"2.0","id":7,"result":{"a":', 7),
        (b' { "id" : 7 , "result" : [', 7),
        (b'{"result":{"id":3,"x":[}],"id":7}', 7),
        (b'{"result":{]},"id":7,"jsonrpc":"2.0"} ', 7),
        (b'{"jsonrpc":"2.0","id":7,"method":"sampling/x","params":{', None),
        (b'{"jsonrpc":"2.0","method":"x","params":{],"id":7}', None),
        (b'{"result":{"id":7,"x":', None),
        (b'{"result":[{"id":7}}', None),
        (b'{"result":"...\\"id\\":7,', None),
    ],
)
def test_only_the_call_whose_answer_it_surely_was_is_told(line: bytes, id: int | None) -> None:
    if id is None:
        with pytest.raises(UnreadableError):
            read_message(line)
        return
    message = read_message(line)
    assert isinstance(message, JSONRPCError)
    assert message.id == id
    cut = read_message(TooLong(99_999_999, line[:4096], line[-4096:]))
    assert isinstance(cut, JSONRPCError)
    assert (cut.id, "99999999" in cut.error.message) == (id, True)


def test_what_would_take_too_long_to_read_is_not_read() -> None:
    with pytest.raises(UnreadableError, match=f"at most {MAX_STRUCTURE} values"):
        parse(b"[" + b"[]," * MAX_STRUCTURE + b"0]")
    assert parse(b'"' + b"x," * (MAX_STRUCTURE - 10) + b'"')


def test_text_without_meaning_in_utf8_is_replaced() -> None:
    assert parse(b'["a\\ud800b", {"\\udfff": "\\ud83d\\ude00"}]') == ["a\ufffdb", {"\ufffd": "\U0001f600"}]
    assert parse(b'"\xff"') == "\ufffd"
    assert json.loads(json.dumps(parse(b'{"n": 123456789012345678901}'))) == {"n": 123456789012345678901}
