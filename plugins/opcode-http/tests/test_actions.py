from __future__ import annotations

import base64
import gzip
import json
import socket
import zlib
from typing import Any

import anyio
import pytest

from opcode_http import actions
from opcode_kernel import ActionError, HostRules, Policy
from opcode_kernel.testing import FakeContext, call

pytestmark = pytest.mark.anyio


def limited(size: int) -> FakeContext:
    return FakeContext(policy=Policy(hosts=HostRules(max_response_bytes=size)))


async def failure(params: dict[str, Any], action: Any = actions.request, context: Any = None) -> ActionError:
    with pytest.raises(ActionError) as caught:
        await call(action, params, context)
    return caught.value


async def test_a_refused_connection_is_an_execution_error_without_the_query(server: Any) -> None:
    server.server_close()
    error = await failure({"url": server.url("/x?token=geheim")})
    assert (error.code, error.retryable) == ("EXECUTION_ERROR", True)
    assert "geheim" not in str(error.to_json())


async def test_a_failed_connection_is_explained_in_words_of_the_system() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
        error = await failure({"url": f"http://127.0.0.1:{port}/"})
    assert error.message == f"connecting to http://127.0.0.1:{port} failed: connection refused"


async def test_an_unknown_name_is_an_execution_error(names: Any) -> None:
    error = await failure({"url": "http://nowhere.test/"})
    assert (error.code, error.retryable) == ("EXECUTION_ERROR", True)
    assert "cannot resolve nowhere.test" in error.message


async def test_a_slow_body_is_a_timeout_error(server: Any) -> None:
    def slow(exchange: Any) -> None:
        exchange.answer_lines(200, [("Content-Length", "10")], b"abc")
        exchange.wfile.flush()
        exchange.server.released.wait(10)
        exchange.close_connection = True

    server.routes["/slow"] = slow
    error = await failure({"url": server.url("/slow"), "timeout": "100ms"})
    assert (error.code, error.retryable) == ("TIMEOUT_ERROR", True)
    assert "0.1 s" in error.message


async def test_the_time_limit_of_the_operator_holds_where_the_step_names_none(server: Any) -> None:
    server.routes["/slow"] = lambda exchange: exchange.server.released.wait(10)
    context = FakeContext(policy=Policy(hosts=HostRules(timeout=0.1)))
    assert (await failure({"url": server.url("/slow")}, context=context)).code == "TIMEOUT_ERROR"


async def test_cancellation_reaches_the_exchange(server: Any) -> None:
    reached = anyio.Event()

    def stuck(exchange: Any) -> None:
        loop_call(reached.set)
        exchange.server.released.wait(10)

    async with anyio.from_thread.BlockingPortal() as portal:
        loop_call = portal.start_task_soon
        server.routes["/stuck"] = stuck
        with anyio.fail_after(5):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(call, actions.get, {"url": server.url("/stuck")})
                await reached.wait()
                tasks.cancel_scope.cancel()


async def test_a_body_that_ends_early_is_a_retryable_error(server: Any) -> None:
    def short(exchange: Any) -> None:
        exchange.answer_lines(200, [("Content-Length", "10")], b"abc")
        exchange.close_connection = True

    server.routes["/short"] = short
    error = await failure({"url": server.url("/short")})
    assert (error.code, error.retryable) == ("EXECUTION_ERROR", True)


async def test_an_answer_that_is_not_http_is_a_retryable_error(server: Any) -> None:
    def nonsense(exchange: Any) -> None:
        exchange.wfile.write(b"\x00\x01 hello\r\n\r\n")
        exchange.close_connection = True

    server.routes["/nonsense"] = nonsense
    assert (await failure({"url": server.url("/nonsense")})).code == "EXECUTION_ERROR"


async def test_get_answers_in_the_published_shape(server: Any) -> None:
    url = server.route("/x", body=b'{"ok": true}', Content_Type="application/json", x_RATE_left="7", ETag='"1"')
    output = await call(actions.get, {"url": url, "method": "DELETE"})
    assert server.seen[0].method == "GET"
    assert output["status_code"] == 200
    assert output["status"] == "200 OK"
    assert output["body"] == {"ok": True}
    assert output["content_type"] == "application/json"
    assert output["headers"] | {"X-Rate-Left": "7", "Etag": '"1"'} == output["headers"]
    assert ["x-RATE-left", "7"] in output["header_list"]
    assert output["truncated"] is False
    assert "body_encoding" not in output
    assert 0 <= output["ttfb_ms"] <= output["duration_ms"]
    json.dumps(output)


async def test_repeated_headers_are_all_in_the_list_and_the_first_in_the_object(server: Any) -> None:
    server.routes["/c"] = lambda exchange: exchange.answer_lines(200, [("Set-Cookie", "a=1"), ("Set-Cookie", "b=2")])
    output = await call(actions.get, {"url": server.url("/c")})
    assert output["headers"]["Set-Cookie"] == "a=1"
    assert [line for line in output["header_list"] if line[0] == "Set-Cookie"] == [
        ["Set-Cookie", "a=1"],
        ["Set-Cookie", "b=2"],
    ]
    assert output["body"] is None
    await call(actions.get, {"url": server.url("/c")})
    assert server.seen[1].header("Cookie") is None


async def test_status_text_is_complete_also_without_a_reason_phrase(server: Any) -> None:
    server.routes["/bare"] = lambda exchange: exchange.answer(418, reason="")
    server.routes["/odd"] = lambda exchange: exchange.answer(299, reason="Fine By Me")
    server.routes["/new"] = lambda exchange: exchange.answer(599, reason="")
    assert (await call(actions.get, {"url": server.url("/bare")}))["status"] == "418 I'm a Teapot"
    assert (await call(actions.get, {"url": server.url("/odd")}))["status"] == "299 Fine By Me"
    assert (await call(actions.get, {"url": server.url("/new")}))["status"] == "599 Unknown Status"


async def test_head_has_no_body_whatever_its_headers_promise(server: Any) -> None:
    server.routes["/h"] = lambda exchange: exchange.answer(200, b"never", Content_Encoding="gzip")
    output = await call(actions.request, {"url": server.url("/h"), "method": "head"})
    assert server.seen[0].method == "HEAD"
    assert output["body"] is None


@pytest.mark.parametrize("coding", ["gzip", "x-gzip", "deflate", "raw deflate", "gzip, deflate", "two members"])
async def test_compressed_answers_are_decoded(server: Any, coding: str) -> None:
    text = b'{"n": "' + b"0123456789" * 9000 + b'"}'
    raw = zlib.compressobj(wbits=-15)
    encoded = {
        "gzip": gzip.compress(text),
        "x-gzip": gzip.compress(text),
        "deflate": zlib.compress(text),
        "raw deflate": raw.compress(text) + raw.flush(),
        "gzip, deflate": zlib.compress(gzip.compress(text)),
        "two members": gzip.compress(text[:50]) + gzip.compress(text[50:]) + b"\0\0",
    }[coding]
    header = {"raw deflate": "deflate", "two members": "gzip"}.get(coding, coding)
    url = server.route("/z", body=encoded, Content_Type="application/json", Content_Encoding=header)
    output = await call(actions.get, {"url": url})
    assert output["body"] == json.loads(text)
    assert "Content-Encoding" not in output["headers"]
    assert ["Content-Encoding", header] in output["header_list"]
    assert server.seen[0].header("Accept-Encoding") == "gzip, deflate"


async def test_nothing_is_decoded_when_the_caller_asked_for_a_coding(server: Any) -> None:
    url = server.route("/z", body=gzip.compress(b"x"), Content_Encoding="gzip", Content_Type="text/plain")
    output = await call(actions.get, {"url": url, "headers": {"accept-encoding": "gzip"}})
    assert (gzip.decompress(base64.b64decode(output["body"])), output["body_encoding"]) == (b"x", "base64")
    assert output["headers"]["Content-Encoding"] == "gzip"


async def test_a_coding_nobody_asked_for_is_left_alone_and_not_taken_for_text(server: Any) -> None:
    body = bytes(range(128, 256))
    url = server.route("/br", body=body, Content_Encoding="br", Content_Type="application/json; charset=utf-8")
    output = await call(actions.get, {"url": url})
    assert (base64.b64decode(output["body"]), output["body_encoding"]) == (body, "base64")
    assert output["headers"]["Content-Encoding"] == "br"


@pytest.mark.parametrize(
    "body", [gzip.compress(b"hello" * 100)[:-9], b"not gzip at all"], ids=["cut off", "of another kind"]
)
async def test_broken_compressed_data_is_a_retryable_error(server: Any, body: bytes) -> None:
    error = await failure({"url": server.route("/z", body=body, Content_Encoding="gzip")})
    assert (error.code, error.retryable) == ("EXECUTION_ERROR", True)


@pytest.mark.parametrize("layers", [1, 2])
async def test_a_decompression_bomb_is_refused_for_good(server: Any, layers: int) -> None:
    body = zlib.compress(bytes(8 << 20), 9)
    for _ in range(layers - 1):
        body = zlib.compress(body, 9)
    url = server.route("/z", body=body, Content_Encoding=", ".join(["deflate"] * layers))
    error = await failure({"url": url})
    assert (error.code, error.retryable) == ("EXECUTION_ERROR", False)
    assert error.details == {"reason": "decompression_ratio"}


async def test_a_long_answer_is_cut_marked_and_not_parsed(server: Any) -> None:
    url = server.route("/l", body=b"[1,2,3]", Content_Type="application/json")
    output = await call(actions.get, {"url": url}, limited(3))
    assert (output["body"], output["truncated"]) == ("[1,", True)
    assert (await call(actions.get, {"url": url}, limited(7)))["body"] == [1, 2, 3]


async def test_the_limit_counts_decoded_bytes(server: Any) -> None:
    url = server.route("/l", body=gzip.compress(b"a" * 300_000), Content_Encoding="gzip", Content_Type="text/plain")
    output = await call(actions.get, {"url": url}, limited(200_000))
    assert (output["body"], output["truncated"]) == ("a" * 200_000, True)


async def test_an_endless_answer_is_cut_without_waiting_for_its_end(server: Any) -> None:
    def endless(exchange: Any) -> None:
        exchange.answer_lines(200, [("Transfer-Encoding", "chunked")])
        while not exchange.server.released.is_set():
            exchange.wfile.write(b"4\r\nabcd\r\n")

    server.routes["/e"] = endless
    output = await call(actions.get, {"url": server.url("/e"), "timeout": "5s"}, limited(10))
    assert (output["body"], output["truncated"]) == ("abcdabcdab", True)


async def test_an_error_status_without_the_flag_is_a_result(server: Any) -> None:
    url = server.route("/e", 404, b'{"title": "no"}', Content_Type="application/problem+json")
    output = await call(actions.get, {"url": url})
    assert (output["status_code"], output["body"]) == (404, {"title": "no"})


@pytest.mark.parametrize(
    ("status", "code", "retryable"),
    [(400, "NON_RETRYABLE", False), (404, "NON_RETRYABLE", False), (408, "EXECUTION_ERROR", True),
     (425, "EXECUTION_ERROR", True), (429, "EXECUTION_ERROR", True), (500, "EXECUTION_ERROR", True),
     (501, "EXECUTION_ERROR", False), (503, "EXECUTION_ERROR", True), (505, "EXECUTION_ERROR", False)],
)  # fmt: skip
async def test_fail_on_error_status_turns_statuses_into_errors(
    server: Any, status: int, code: str, retryable: bool
) -> None:
    url = server.route("/e", status, b"gone", Retry_After="2")
    error = await failure({"url": url, "fail_on_error_status": "true"}, actions.get)
    assert (error.code, error.retryable) == (code, retryable)
    assert error.message == f"http.request: server returned {status}"
    assert error.details["status_code"] == status
    assert error.details["body"] == "gone"
    assert error.details.get("retry_after_ms") == (2000 if retryable else None)
    assert error.answered is (status < 500), "a server that says no is well, for the circuit breaker"


async def test_fail_on_error_status_leaves_success_alone(server: Any) -> None:
    params = {"url": server.route("/ok", 204), "fail_on_error_status": True}
    assert (await call(actions.get, params))["status"] == "204 No Content"


def test_breaker_target_is_the_origin_and_effects_are_declared() -> None:
    def target(url: str) -> str:
        assert actions.get.decoder
        assert actions.get.breaker
        return actions.get.breaker(actions.get.decoder.decode({"url": url}))

    assert target("HTTPS://u:p@API.example/x?y") == "https://api.example:443"
    assert target("http://[::1]:81/") == "http://[::1]:81"
    assert target("http://0x7f.1/") == "http://127.0.0.1:80", "one address is one target, however it is written"
    assert target("http://a..b/") == "no address"
    assert [a.effect for a in (actions.request, actions.get, actions.post)] == ["effect", "idempotent", "effect"]
