from __future__ import annotations

import gzip
import zlib
from datetime import UTC, datetime
from typing import Any

import pytest

from opcode_http.contents import parse_json, read_content
from opcode_http.decompression import decoder_for
from opcode_http.headers import canonical_name
from opcode_http.responses import retry_after_ms
from opcode_http.urls import parse_url, shown
from opcode_kernel import ActionError


@pytest.mark.parametrize(
    ("content", "content_type", "body", "encoding"),
    [
        (b"", "application/json", None, None),
        (b'{"a":1}', "application/json", {"a": 1}, None),
        (b'{"a":1}', "Application/JSON; charset=UTF-8", {"a": 1}, None),
        (b'{"a":1}', "application/problem+json", {"a": 1}, None),
        (b'{"a":1}', "application/vnd.api+JSON;x=y", {"a": 1}, None),
        (b"\xef\xbb\xbf[1]", "application/json", [1], None),
        (b'"\xe4"', "application/json; charset=iso-8859-1", "ä", None),
        (b"{broken", "application/json", "{broken", None),
        (b"NaN", "application/json", "NaN", None),
        (b"[1e999]", "application/json", "[1e999]", None),
        (b"[" * 100_000, "application/json", "[" * 100_000, None),
        (b"9" * 5000, "application/json", "9" * 5000, None),
        (b'"\\ud800x"', "application/json", "�x", None),
        (b'{"\\uD83D\\uDE00": ["\\udc00"]}', "application/json", {"😀": ["�"]}, None),
        (b'{"a":1}', "text/plain", '{"a":1}', None),
        (b'{"a":1}', "", '{"a":1}', None),
        (b'{"a":1}', "application/jsonp", '{"a":1}', None),
        (b"caf\xe9", "text/plain; charset=latin-1", "café", None),
        (b"caf\xe9", "text/html", "caf�", None),
        (b"caf\xe9", "application/xml; charset=nonsense", "caf�", None),
        (b"caf\xe9", "application/octet-stream", "Y2Fm6Q==", "base64"),
        (b"caf\xe9", "", "Y2Fm6Q==", "base64"),
        (b"caf\xe9", "image/svg+xml", "caf�", None),
        (b"plain", "application/octet-stream", "plain", None),
        ("ü".encode("utf-16"), 'application/x; charset="UTF-16"', "ü", None),
        ("ü".encode("utf-16-le"), "application/x; charset=utf-16", "ü", None),
        ("[1]".encode("utf-32-le"), "application/json; charset=utf-32", [1], None),
        ("[1]".encode("utf-32-be"), "application/json; charset=utf-32be", [1], None),
        (b"\xff" * 5, "application/x; charset=utf-32", "��", None),
        (b"\x80\x81x", "text/plain; charset=windows-1252", "€�x", None),
        ("яж".encode("koi8-r"), "text/plain; charset=KOI8-R", "яж", None),
        ("日本".encode("iso2022_jp"), "text/plain; charset=ISO-2022-JP", "日本", None),
        ("日本".encode("shift_jis"), "text/plain; charset=shift_jis", "日本", None),
        (
            b"[12345678901234567890123, -9223372036854775809]",
            "application/json",
            [12345678901234567890123, -9223372036854775809],
            None,
        ),
        (b"[18446744073709551615, 1.0, 1e2, -0.0]", "application/json", [18446744073709551615, 1.0, 100.0, -0.0], None),
        (b"6869", "text/plain; charset=hex", "6869", None),
        (b"xn--a", "text/plain; charset=punycode", "xn--a", None),
        (b"a", "text/plain; charset", "a", None),
    ],
)
def test_a_body_becomes_json_text_or_base64(
    content: bytes, content_type: str, body: Any, encoding: str | None
) -> None:  # fmt: skip
    assert read_content(content, content_type, truncated=False) == (body, encoding)


@pytest.mark.parametrize("charset", ["utf-16", "utf-16-be", "utf-32", "utf-32-le"])
def test_long_text_whose_repair_would_take_long_stays_binary(charset: str) -> None:
    broken, content_type = ("\ud800" * 300_000).encode(charset, "surrogatepass"), f"text/plain; charset={charset}"
    assert read_content(broken, content_type, truncated=False)[1] == "base64"
    assert read_content(broken[:4000], content_type, truncated=False)[1] is None
    assert read_content(("ü" * 300_000).encode(charset), content_type, truncated=False) == ("ü" * 300_000, None)


def test_a_character_cut_in_half_does_not_make_text_binary() -> None:
    content = "aü".encode()[:2]
    assert read_content(content, "application/octet-stream", truncated=True) == ("a", None)
    assert read_content(content, "text/plain", truncated=True) == ("a", None)
    assert read_content(content, "text/plain", truncated=False) == ("a�", None)
    assert read_content(b"[1]", "application/json", truncated=True) == ("[1]", None)


@pytest.mark.parametrize(
    "text",
    ["NaN", "[-Infinity]", "1e400", "-1e400", "1E+0309", "9" * 400 + ".0", "9" * 250 + "e60", "9" * 250 + ".5E+60",
     "{", "'a'"],
)  # fmt: skip
def test_strict_json_refuses(text: str) -> None:
    with pytest.raises(ValueError):
        parse_json(text)


def test_the_largest_numbers_are_read_and_text_that_looks_like_larger_ones_stays() -> None:
    assert parse_json('[1e308, 1e-400, 1.5, "1e999"]') == [1e308, 0.0, 1.5, "1e999"]


@pytest.mark.parametrize(
    ("value", "milliseconds"),
    [("0", 0), ("2", 2000), (" 120 ", 120_000), ("9" * 90, 86_400_000), ("-1", None), ("1.5", None), ("", None),
     ("soon", None), ("Mon, 01 Jan 2024 00:00:05 GMT", 5000), ("Sun, 31 Dec 2023 00:00:00 GMT", 0),
     ("Mon, 01 Jan 2024 00:00:05", 5000), ("Mon, 01 Jan 9999 00:00:00 GMT", 86_400_000),
     ("Mon, 99 Jan 2024 00:00:00 GMT", None), ("٣", None)],
)  # fmt: skip
def test_retry_after_is_seconds_or_a_date_and_at_most_a_day(value: str, milliseconds: int | None) -> None:
    assert retry_after_ms(value, now=datetime(2024, 1, 1, tzinfo=UTC)) == milliseconds


@pytest.mark.parametrize("codings", ["", "identity", "br", "gzip, br", "gzip,gzip,gzip,gzip"])
def test_codings_we_do_not_know_are_left_alone(codings: str) -> None:
    assert decoder_for(codings) is None


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
@pytest.mark.parametrize(
    ("coding", "encoded"),
    [
        ("gzip", gzip.compress(b"hello " * 1000) + gzip.compress(b"world")),
        ("deflate", zlib.compress(b"hello " * 1000 + b"world")),
        ("deflate", zlib.compress(b"hello " * 1000 + b"world", wbits=-15)),
        ("deflate", zlib.compress(b"hello " * 1000 + b"world") + b"trailing rubbish"),
        ("Deflate , GZIP", gzip.compress(zlib.compress(b"hello " * 1000 + b"world"))),
    ],
    ids=["two members", "with a head", "bare", "with a tail", "twice"],
)
def test_decoding_does_not_depend_on_how_the_data_arrives(coding: str, encoded: bytes, size: int) -> None:
    decoder = decoder_for(coding)
    assert decoder
    chunks = [encoded[at : at + size] for at in range(0, len(encoded), size)]
    assert b"".join(piece for chunk in chunks for piece in decoder.feed(chunk)) == b"hello " * 1000 + b"world"
    decoder.finish()


@pytest.mark.parametrize("coding", ["gzip", "deflate"])
@pytest.mark.parametrize("length", [1, 2, 10, 25])
def test_compressed_data_that_ends_early_is_noticed(coding: str, length: int) -> None:
    encoded = gzip.compress(b"hello" * 9) if coding == "gzip" else zlib.compress(bytes(range(200)))
    decoder = decoder_for(coding)
    assert decoder
    list(decoder.feed(encoded[:length]))
    with pytest.raises(ActionError, match="ended before") as caught:
        decoder.finish()
    assert caught.value.retryable


@pytest.mark.parametrize(("name", "canonical"), [("ETag", "Etag"), ("www-authenticate", "Www-Authenticate"), ("", "")])
def test_header_names_are_indexed_in_one_spelling(name: str, canonical: str) -> None:
    assert canonical_name(name) == canonical


def test_an_address_is_shown_without_user_information_and_query() -> None:
    url = parse_url("https://ann:geheim@api.example:8443/a b?key=geheim#geheim", query={"q": "geheim"})
    assert shown(url) == "https://api.example:8443/a%20b?…"


@pytest.mark.parametrize(
    ("url", "query", "path"),
    [("http://h", {"a": 1}, "/?a=1"), ("http://h/?", {"a": 1}, "/?a=1"), ("http://h/?x", {"a": []}, "/?x"),
     ("http://h/?x=%20", {"a": {"b": 1}}, "/?x=%20&a=%7B%22b%22%3A1%7D")],
)  # fmt: skip
def test_a_query_is_added_without_touching_what_is_there(url: str, query: dict[str, Any], path: str) -> None:
    assert parse_url(url, query=query).raw_path.decode() == path
