"""What the HTTP actions take and answer. JSON schemas, checks and the reference come from these declarations."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal, NotRequired, TypedDict

from opcode_kernel import Json, Param, Seconds

BodyEncoding = Literal["json", "form", "text", "raw"]


@dataclass(frozen=True, slots=True)
class CallParams:
    """The parameters that all three actions share."""

    url: Annotated[str, Param("absolute http or https address", pattern=r"^[Hh][Tt][Tt][Pp][Ss]?://")]
    query: Annotated[
        dict[str, Json] | None, Param("added to the query of the URL; an array repeats the key, null omits it")
    ] = None
    headers: Annotated[dict[str, Json] | None, Param("request headers; values become text, null omits the header")] = (
        None
    )
    body: Annotated[Json, Param("what to send; null or absent sends no body")] = None
    body_encoding: Annotated[BodyEncoding, Param("how to write the body, and the Content-Type that implies")] = "json"
    auth: Annotated[
        dict[str, Json] | None,
        Param("{type: bearer, token}, {type: basic, username, password} or {type: api_key, header_name, header_value}"),
    ] = None
    timeout: Annotated[Seconds | None, Param("for the whole exchange with all redirects; 30s unless configured")] = None
    follow_redirects: Annotated[bool, Param("false makes a redirect the result")] = True
    max_redirects: Annotated[int, Param("how many redirects to follow; one more is an error", ge=0, le=100)] = 10
    tls_skip_verify: Annotated[bool, Param("accept any certificate; for tests only")] = False
    fail_on_error_status: Annotated[bool, Param("make a status of 400 or above an error")] = False


@dataclass(frozen=True, slots=True)
class RequestParams(CallParams):
    """The parameters of `http.request`."""

    method: Annotated[str, Param("request method, upper-cased")] = "GET"


class Response(TypedDict):
    """The output of all three actions, and the details of an error made by `fail_on_error_status`."""

    status_code: Annotated[int, Param("the status, such as 200")]
    status: Annotated[str, Param("the status with its reason, such as 200 OK")]
    headers: Annotated[dict[str, str], Param("the first value of each header, under its canonical name")]
    header_list: Annotated[list[list[str]], Param("every header as [name, value], in order, as received")]
    body: Annotated[Json, Param("parsed JSON, text, base64 of binary data, or null when empty")]
    body_encoding: NotRequired[Annotated[Literal["base64"], Param("present when the body is base64")]]
    content_type: Annotated[str, Param("the Content-Type header, or an empty text")]
    truncated: Annotated[bool, Param("whether the body was cut at http.max_response_bytes")]
    ttfb_ms: Annotated[int, Param("milliseconds until the headers of the final response")]
    duration_ms: Annotated[int, Param("milliseconds for the whole exchange")]
