from __future__ import annotations

from typing import Any

import httpx2
import pytest

from opcode_http import actions
from opcode_http.headers import Header
from opcode_http.redirects import Request, next_request
from opcode_kernel import ActionError
from opcode_kernel.testing import call

pytestmark = pytest.mark.anyio


def chain(server: Any, hops: int, status: int = 302) -> str:
    """Build `/0` -> `/1` -> ... -> `/hops`, the last of which answers 200."""
    for hop in range(hops):
        server.route(f"/{hop}", status, b"moved", Location=f"/{hop + 1}")
    server.route(f"/{hops}", 200, b"here", Content_Type="text/plain")
    return str(server.url("/0"))


@pytest.mark.parametrize(("limit", "hops"), [(0, 1), (1, 2), (2, 3)])
async def test_one_redirect_more_than_allowed_is_an_error_for_good(server: Any, limit: int, hops: int) -> None:
    with pytest.raises(ActionError, match=f"at most {limit} redirects") as caught:
        await call(actions.get, {"url": chain(server, hops), "max_redirects": limit})
    assert (caught.value.code, caught.value.retryable) == ("EXECUTION_ERROR", False)
    assert len(server.seen) == limit + 1


@pytest.mark.parametrize(("limit", "hops"), [(0, 0), (1, 1), (2, 2), (10, 10)])
async def test_exactly_as_many_redirects_as_allowed_are_followed(server: Any, limit: int, hops: int) -> None:
    output = await call(actions.get, {"url": chain(server, hops), "max_redirects": limit})
    assert (output["status_code"], output["body"]) == (200, "here")
    assert len({seen.client for seen in server.seen}) == 1, "all hops share one connection"


async def test_the_default_allows_ten(server: Any) -> None:
    assert (await call(actions.get, {"url": chain(server, 10)}))["status_code"] == 200
    with pytest.raises(ActionError):
        await call(actions.get, {"url": chain(server, 11)})


async def test_a_redirect_is_the_result_when_not_followed_or_without_a_place(server: Any) -> None:
    output = await call(actions.get, {"url": chain(server, 1), "follow_redirects": False})
    assert (output["status_code"], output["headers"]["Location"]) == (302, "/1")
    assert (await call(actions.get, {"url": server.route("/n", 301)}))["status_code"] == 301
    assert (await call(actions.get, {"url": server.route("/c", 300, Location="/x")}))["status_code"] == 300


@pytest.mark.parametrize("place", ["ftp://h/", "file:///etc/passwd", "http://", "http://h:99999/", "http://a b/"])
async def test_a_place_that_is_no_http_address_is_refused(server: Any, place: str) -> None:
    with pytest.raises(ActionError) as caught:
        await call(actions.get, {"url": server.route("/r", 302, Location=place)})
    assert (caught.value.code, caught.value.retryable) == ("EXECUTION_ERROR", False)


@pytest.mark.parametrize(
    ("status", "method", "then"),
    [(301, "POST", "GET"), (302, "POST", "GET"), (303, "POST", "GET"), (303, "PUT", "GET"), (307, "POST", "POST"),
     (308, "PUT", "PUT"), (302, "HEAD", "HEAD"), (303, "GET", "GET")],
)  # fmt: skip
async def test_method_and_body_after_a_redirect(server: Any, status: int, method: str, then: str) -> None:
    body = None if method in ("GET", "HEAD") else {"a": 1}
    await call(actions.request, {"url": chain(server, 1, status), "method": method, "body": body})
    seen = server.seen[1]
    assert seen.method == then
    kept = body is not None and then == method
    assert seen.body == (b'{"a":1}' if kept else b"")
    assert (seen.header("Content-Type") is not None) is kept


async def test_the_same_origin_gets_every_header_again(server: Any) -> None:
    headers = {"Cookie": "c=1", "X-Token": "t", "Host": "virtual.example"}
    await call(
        actions.get, {"url": chain(server, 1), "headers": headers, "auth": {"type": "bearer", "token": "t0"}}
    )  # fmt: skip
    seen = server.seen[1]
    assert [seen.header(name) for name in (*headers, "Authorization")] == ["c=1", "t", "virtual.example", "Bearer t0"]


@pytest.mark.parametrize(
    "auth",
    [{"type": "bearer", "token": "geheim"}, {"type": "api_key", "header_name": "Accept", "header_value": "geheim"}],
)
async def test_another_origin_gets_no_credentials(server: Any, names: Any, auth: dict[str, str]) -> None:
    names.addresses = {"other.test": ["127.0.0.1"]}
    server.route("/end")
    url = server.route("/go", 307, Location=server.url("/end", "ann:x@other.test"))
    headers = {
        "Authorization": "geheim", "Cookie": "geheim", "WWW-Authenticate": "geheim", "X-Api-Key": "geheim",
        "Host": "first.example", "User-Agent": "mine", "Accept-Language": "de",
    }  # fmt: skip
    await call(actions.post, {"url": url, "headers": headers, "auth": auth, "body": "x"})
    seen = server.seen[1]
    assert "geheim" not in str(seen.headers)
    assert seen.header("Authorization") is None, "credentials that a server puts into a redirect are not used either"
    assert seen.header("Host") == f"other.test:{server.port}"
    assert (seen.header("User-Agent"), seen.header("Accept-Language")) == ("mine", "de")
    assert (seen.header("Content-Type"), seen.body) == ("application/json", b'"x"')


async def test_credentials_do_not_come_back_with_a_redirect_to_the_first_origin(server: Any, names: Any) -> None:
    names.addresses = {"other.test": ["127.0.0.1"]}
    server.route("/end")
    server.route("/back", 302, Location=server.url("/end"))
    url = server.route("/go", 302, Location=server.url("/back", "other.test"))
    await call(actions.get, {"url": url, "auth": {"type": "bearer", "token": "geheim"}})
    assert [seen.header("Authorization") for seen in server.seen] == ["Bearer geheim", None, None]


def hop(before: str, location: str) -> Request:
    headers = {"x": Header("X", "1", travels=False)}
    return next_request(Request("GET", httpx2.URL(before), headers), 302, location)


def test_https_to_http_is_refused() -> None:
    with pytest.raises(ActionError, match="https to http") as caught:
        hop("https://a.example/", "http://a.example/?token=geheim")
    assert (caught.value.code, caught.value.retryable) == ("EXECUTION_ERROR", False)
    assert "geheim" not in caught.value.message


@pytest.mark.parametrize(
    ("before", "location", "kept"),
    [("http://a.example/", "https://a.example/", True), ("http://a.example/", "http://A.EXAMPLE:80/x", True),
     ("http://a.example:81/", "https://a.example/", False), ("http://a.example/", "http://b.a.example/", False),
     ("http://a.example/", "http://a.example:81/", False), ("http://a.example/", "//b.example/", False)],
)  # fmt: skip
def test_what_counts_as_the_same_origin(before: str, location: str, kept: bool) -> None:
    assert bool(hop(before, location).headers) is kept
