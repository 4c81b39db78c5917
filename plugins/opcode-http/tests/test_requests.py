from __future__ import annotations

from typing import Any

import pytest

from opcode_http import actions
from opcode_kernel import ActionError, DefinitionError, __version__
from opcode_kernel.testing import call

pytestmark = pytest.mark.anyio


async def failure(params: dict[str, Any], action: Any = actions.request, context: Any = None) -> ActionError:
    with pytest.raises(ActionError) as caught:
        await call(action, params, context)
    return caught.value


async def test_post_sends_json_with_length_and_our_user_agent(server: Any) -> None:
    url = server.route("/p", 201)
    output = await call(actions.post, {"url": url, "body": {"n": 1.0, "t": "ü"}, "method": "GET"})
    seen = server.seen[0]
    assert (seen.method, seen.body) == ("POST", '{"n":1,"t":"ü"}'.encode())
    assert seen.header("Content-Type") == "application/json"
    assert seen.header("User-Agent") == f"opcode/{__version__}"
    assert seen.header("Host") == f"127.0.0.1:{server.port}"
    assert output["status_code"] == 201


async def test_post_without_a_body_says_so_and_get_may_have_one(server: Any) -> None:
    url = server.route("/p")
    await call(actions.post, {"url": url, "body": None})
    await call(actions.get, {"url": url, "body": "x", "body_encoding": "raw"})
    assert server.seen[0].header("Content-Length") == "0"
    assert server.seen[0].header("Content-Type") is None
    assert (server.seen[1].method, server.seen[1].body) == ("GET", b"x")


async def test_query_is_added_to_what_the_address_has(server: Any) -> None:
    url = server.route("/q")
    query = {"a": ["1", 2, None], "b": None, "c d": "ü&=", "t": True}
    await call(actions.get, {"url": url + "?x=1#frag", "query": query})
    assert server.seen[0].path == "/q?x=1&a=1&a=2&c+d=%C3%BC%26%3D&t=true"


async def test_headers_of_the_caller_win_and_connection_headers_are_ours(server: Any) -> None:
    url = server.route("/h")
    headers = {
        "content-type": "text/csv", "X-N": 5, "X-None": None, "Host": "other.example:81", "Content-Length": "999",
        "Transfer-Encoding": "chunked", "Connection": "close", "User-Agent": "mine",
    }  # fmt: skip
    await call(actions.post, {"url": url, "headers": headers, "body": "a,b", "body_encoding": "text"})
    seen = server.seen[0]
    assert seen.header("Content-Type") == "text/csv"
    assert seen.header("X-N") == "5"
    assert seen.header("X-None") is None
    assert seen.header("Host") == "other.example:81"
    assert seen.header("Content-Length") == "3"
    assert seen.header("Transfer-Encoding") is None
    assert seen.header("User-Agent") == "mine"
    assert seen.body == b"a,b"


@pytest.mark.parametrize(
    ("auth", "name", "value"),
    [
        ({"type": "bearer", "token": "t0"}, "Authorization", "Bearer t0"),
        ({"type": "basic", "username": "Ann", "password": ""}, "Authorization", "Basic QW5uOg=="),
        ({"type": "api_key", "header_name": "X-Api-Key", "header_value": 42}, "X-Api-Key", "42"),
    ],
)
async def test_auth_wins_over_headers(server: Any, auth: dict[str, Any], name: str, value: str) -> None:
    await call(actions.get, {"url": server.route("/a"), "auth": auth, "headers": {name.upper(): "other"}})
    assert [v for n, v in server.seen[0].headers if n.lower() == name.lower()] == [value]


async def test_user_information_in_the_address_becomes_basic_auth(server: Any) -> None:
    url = server.route("/a").replace("://", "://ann:p%40ss@")
    await call(actions.get, {"url": url})
    await call(actions.get, {"url": url, "headers": {"Authorization": "mine"}})
    assert server.seen[0].header("Authorization") == "Basic YW5uOnBAc3M="
    assert server.seen[1].header("Authorization") == "mine"


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
@pytest.mark.parametrize(
    "params",
    [
        {},
        *(
            {"url": url}
            for url in (
                None,
                [],
                {},
                5,
                True,
                ["http://h/"],
                "",
                " ",
                " http://h/",
                "h",
                "/x",
                "//h/",
                "ftp://h/",
                "file:///x",
                "javascript:1",
            )
        ),
        {"url": "http://h/", "body_encoding": "yaml"},
        {"url": "http://h/", "timeout": "0s"},
        {"url": "http://h/", "timeout": "soon"},
        {"url": "http://h/", "max_redirects": -1},
        {"url": "http://h/", "headers": ["a"]},
        {"url": "http://h/", "follow_redirects": "maybe"},
    ],
)
async def test_params_of_the_wrong_kind_are_refused(params: dict[str, Any]) -> None:
    for action in (actions.request, actions.get, actions.post):
        with pytest.raises(DefinitionError) as caught:
            await call(action, params)
        assert (caught.value.code, caught.value.retryable) == ("VALIDATION_ERROR", False)
        assert action.decoder
        assert action.decoder.check(params), "it is found when the template is defined, too"


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
@pytest.mark.parametrize(
    "params",
    [
        *({"url": url} for url in (
            "http://h/ ", "http://", "http:///x", "http://:80/", "http://h:0/", "http://h:65536/", "http://h:x/",
            "http://a b/", "http://[fe80::1%25eth0]/", "http://[::1/", "http://h/\n", "http://h/\ud800", "http://a..b/",
            "http://h/" + "x" * 70_000,
        )),
        *({"url": "http://h/", "method": method} for method in ("", "GE T", "GET\r\n", "CONNECT", "Ü")),
        *({"url": "http://h/", "headers": headers} for headers in (
            {"X": "a\r\nY: b"}, {"X": "a\nb"}, {"X": "\0"}, {"X\r\nY": "a"}, {"": "a"}, {"X Y": "a"}, {"X": "\ud800"},
            {"X:": "a"}, {"Host": "a\r\nb"},
        )),
        *({"url": "http://h/", "auth": auth} for auth in (
            {}, {"type": "digest"}, {"type": "bearer"}, {"type": "bearer", "token": ""}, {"type": "basic"},
            {"type": "basic", "username": "a"}, {"type": "basic", "username": "a:b", "password": "c"},
            {"type": "basic", "username": "\ud800", "password": "c"},
            {"type": "api_key", "header_name": "X"}, {"type": "api_key", "header_value": "X"},
            {"type": "api_key", "header_name": "X\r\nY", "header_value": "v"},
            {"type": "api_key", "header_name": "Content-Length", "header_value": "3"},
            {"type": "api_key", "header_name": "transfer-encoding", "header_value": "chunked"},
            {"type": "bearer", "token": "a\r\nX: y"},
        )),
        {"url": "http://h/", "body": [1], "body_encoding": "form"},
        {"url": "http://h/", "body": 5, "body_encoding": "form"},
        {"url": "http://h/", "body": {"a": "\ud800"}, "body_encoding": "form"},
        {"url": "http://h/", "query": {"a": "\ud800"}},
    ],
)  # fmt: skip
async def test_params_that_cannot_become_a_request_are_refused_before_anything_is_sent(params: dict[str, Any]) -> None:
    error = await failure(params)
    assert (error.code, error.retryable) == ("VALIDATION_ERROR", False)


@pytest.mark.parametrize("encoding", ["form", "text", "raw"])
async def test_a_body_that_cannot_be_encoded_is_an_error_for_good(encoding: str) -> None:
    error = await failure({"url": "http://h/", "body": "\ud800", "body_encoding": encoding})
    assert (error.code, error.retryable) == ("EXECUTION_ERROR", False)


async def test_a_refused_header_value_is_not_quoted() -> None:
    error = await failure({"url": "http://h/", "auth": {"type": "bearer", "token": "geheim\n"}})
    assert "geheim" not in str(error.to_json())


@pytest.mark.parametrize(
    ("body", "encoding", "sent", "content_type"),
    [
        ("text", "json", b'"text"', "application/json"),
        ({"a": [1, "x y", None], "b": None, "c": 1e6, "d": {"k": 1}}, "form",
         b"a=1&a=x+y&c=1000000&d=%7B%22k%22%3A1%7D", "application/x-www-form-urlencoded"),
        ("a=1&b=2", "form", b"a=1&b=2", "application/x-www-form-urlencoded"),
        ({"k": [1]}, "text", b'{"k":[1]}', "text/plain"),
        ('{"k": 1}', "raw", b'{"k": 1}', None),
        ({"k": 1}, "raw", b'{"k":1}', None),
        (False, "json", b"false", "application/json"),
    ],
)  # fmt: skip
async def test_bodies_are_encoded_as_asked(
    server: Any, body: Any, encoding: str, sent: bytes, content_type: str | None
) -> None:
    await call(actions.post, {"url": server.route("/b"), "body": body, "body_encoding": encoding})
    assert server.seen[0].body == sent
    assert server.seen[0].header("Content-Type") == content_type
