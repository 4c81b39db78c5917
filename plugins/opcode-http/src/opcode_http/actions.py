"""The actions. What they do is in `calls`, which is imported by the first call: the HTTP client takes a while to load."""

from __future__ import annotations

from opcode_http.params import CallParams, RequestParams, Response
from opcode_kernel import ActionContext, ActionError, action


def target(params: CallParams) -> str:
    """Return `scheme://host:port` for the circuit breaker; one name for everything that is no address."""
    from opcode_http.urls import origin_of, parse_url

    try:
        return origin_of(parse_url(params.url))
    except ActionError:
        return "no address"


@action("http.request", summary="Send an HTTP request", params=RequestParams, output=Response, breaker=target)
async def request(ctx: ActionContext, params: RequestParams) -> Response:
    """Send a request with any method."""
    from opcode_http.calls import perform

    return await perform(params.method.upper(), params, ctx.policy.hosts)


@action(
    "http.get", summary="Fetch a URL with GET", params=CallParams, output=Response, effect="idempotent", breaker=target
)
async def get(ctx: ActionContext, params: CallParams) -> Response:
    """Send a GET request."""
    from opcode_http.calls import perform

    return await perform("GET", params, ctx.policy.hosts)


@action("http.post", summary="Send data to a URL with POST", params=CallParams, output=Response, breaker=target)
async def post(ctx: ActionContext, params: CallParams) -> Response:
    """Send a POST request."""
    from opcode_http.calls import perform

    return await perform("POST", params, ctx.policy.hosts)
