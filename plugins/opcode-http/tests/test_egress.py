from __future__ import annotations

import socket
from typing import Any

import pytest

from opcode_http import actions
from opcode_http.lookups import is_of_this_machine
from opcode_kernel import ActionError, BoundSecret, HostRules, Policy
from opcode_kernel.testing import FakeContext, call

pytestmark = pytest.mark.anyio


def under(**rules: Any) -> FakeContext:
    return FakeContext(policy=Policy(hosts=HostRules(**rules)))


async def refused(url: str, context: FakeContext | None = None, **params: Any) -> ActionError:
    with pytest.raises(ActionError) as caught:
        await call(actions.get, {"url": url, **params}, context)
    assert (caught.value.code, caught.value.retryable) == ("PERMISSION_DENIED", False)
    return caught.value


@pytest.mark.parametrize(
    "host",
    ["169.254.169.254", "[fd00:ec2::254]", "[::ffff:169.254.169.254]", "[fe80::1]", "0.0.0.0", "0", "2852039166",
     "0xa9fea9fe", "metadata.google.internal", "224.0.0.1"],
)  # fmt: skip
async def test_metadata_and_the_like_are_refused_in_every_spelling(host: str) -> None:
    await refused(f"http://{host}/latest/meta-data/")


async def test_a_name_is_judged_by_where_it_leads(names: Any) -> None:
    names.addresses = {"sneaky.test": ["169.254.169.254"]}
    error = await refused("http://sneaky.test/")
    assert error.details["address"] == "169.254.169.254"


async def test_one_refused_address_among_good_ones_refuses_the_name(names: Any, server: Any) -> None:
    names.addresses = {"mixed.test": ["127.0.0.1", "169.254.169.254"]}
    await refused(server.url("/", "mixed.test"))
    assert server.seen == []


async def test_loopback_is_refused_by_public_unless_listed(server: Any) -> None:
    server.route("/")
    await refused(server.url(), under(egress="public"))
    assert (await call(actions.get, {"url": server.url()}, under(egress="public", allow=("127.0.0.1",)))) != {}


async def test_a_pooled_connection_is_not_lent_to_calls_under_other_rules(server: Any) -> None:
    server.route("/")
    await call(actions.get, {"url": server.url()})
    await refused(server.url(), under(egress="public"))
    await refused(server.url(), under(deny=("127.0.0.1",)))


async def test_a_redirect_is_judged_like_a_request(server: Any, names: Any) -> None:
    names.addresses = {"sneaky.test": ["169.254.169.254"]}
    await refused(server.route("/a", 302, Location="http://169.254.169.254/"))
    await refused(server.route("/b", 302, Location="http://sneaky.test/"))
    await refused(server.route("/c", 302, Location="http://denied.test/"), under(deny=("*.test",)))


async def test_a_secret_that_may_go_to_some_hosts_is_taken_by_no_redirect_to_another(server: Any, names: Any) -> None:
    names.addresses = {"other.test": ["127.0.0.1"], "a.near.test": ["127.0.0.1"]}
    only = (
        BoundSecret("A", ("127.0.0.1", "*.near.test")),
        BoundSecret("B", ("127.0.0.1", "a.near.test", "other.test")),
    )
    context = under(only=only)
    server.route("/end")
    await refused(server.route("/go", 307, Location=server.url("/end", "other.test")), context, body="geheim")
    await refused(server.url("/end", "other.test"), context)
    await refused(server.url("/end"), context, headers={"Host": "other.test"})
    assert [seen.path for seen in server.seen] == ["/go"]
    await call(actions.get, {"url": server.route("/near", 307, Location=server.url("/end", "a.near.test"))}, context)
    assert [seen.path for seen in server.seen] == ["/go", "/near", "/end"]


async def test_the_own_listener_is_refused(server: Any) -> None:
    for own in ("127.0.0.1", "0.0.0.0", "localhost"):
        await refused(server.url(), under(own_addresses=((own, server.port),)))


def address_of_a_network_card() -> str:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:  # connecting a datagram socket sends nothing
        try:
            probe.connect(("192.0.2.1", 9))
        except OSError:
            pytest.skip("this machine has no network but loopback")
        return str(probe.getsockname()[0])


async def test_a_listener_on_all_interfaces_is_refused_on_an_address_nobody_named() -> None:
    address = address_of_a_network_card()
    with socket.create_server((address, 0)) as listener:
        port = listener.getsockname()[1]
        for host in (address, f"[::ffff:{address}]"):
            await refused(f"http://{host}:{port}/", under(own_addresses=(("0.0.0.0", port),)))


@pytest.mark.parametrize("address", ["127.0.0.1", "::ffff:127.0.0.1", "::ffff:7f00:1"])
def test_this_machine_is_known_by_every_spelling_of_its_address(address: str) -> None:
    assert is_of_this_machine(address)


async def test_a_denied_site_is_not_reached_by_a_host_header(server: Any) -> None:
    server.route("/")
    for host in ("denied.test", "DENIED.test:80", "a.denied.test"):
        await refused(server.url(), under(deny=("denied.test", "*.denied.test")), headers={"Host": host})


async def test_the_name_is_resolved_once_and_kept_for_the_host_header(names: Any, server: Any) -> None:
    names.addresses = {"api.test": ["127.0.0.1"]}
    server.route("/")
    await call(actions.get, {"url": server.url("/", "api.test")})
    assert names.asked == ["api.test"]
    assert server.seen[0].header("Host") == f"api.test:{server.port}"


async def test_the_next_address_is_tried_when_the_first_does_not_answer(names: Any, server: Any) -> None:
    names.addresses = {"api.test": ["127.0.0.3", "127.0.0.4", "127.0.0.1"]}
    server.route("/")
    assert (await call(actions.get, {"url": server.url("/", "api.test")}))["status_code"] == 200


async def test_a_name_none_of_whose_addresses_answers_is_a_retryable_error(names: Any, server: Any) -> None:
    names.addresses = {"api.test": ["127.0.0.3", "127.0.0.4"]}
    with pytest.raises(ActionError, match=r"connecting to http://api\.test") as caught:
        await call(actions.get, {"url": server.url("/", "api.test")})
    assert (caught.value.code, caught.value.retryable) == ("EXECUTION_ERROR", True)
