from __future__ import annotations

import shlex

import pytest

from opcode_kernel import ActionError, BoundSecret, HostRules, check_address, check_host

STANDARD = HostRules()
PUBLIC = HostRules(egress="public")
OPEN = HostRules(egress="open")


def refused(rules: HostRules, ip: str, *, host: str = "name.test", port: int = 80, is_self: bool = False) -> bool:
    try:
        check_address(rules, host, ip, port, is_self=is_self)
    except ActionError as error:
        return (error.code, error.retryable) == ("PERMISSION_DENIED", False)
    return False


ALWAYS_REFUSED = [
    "0.0.0.0", "0.1.2.3", "::", "224.0.0.1", "ff02::1", "255.255.255.255", "169.254.169.254", "169.254.0.1",
    "169.254.170.2", "fe80::1", "fe80::1%eth0", "fd00:ec2::254", "fd00:ec2::23", "fd20:ce::254", "100.100.100.200",
    "192.0.0.192", "168.63.129.16", "::ffff:169.254.169.254", "::ffff:0.0.0.0", "::ffff:100.100.100.200",
    "64:ff9b::a9fe:a9fe", "64:ff9b:1::a9fe:a9fe", "2002:a9fe:a9fe::1", "::169.254.169.254",
    "64:ff9b:1:a9fe:a9:fe00::", "::ffff:0:169.254.169.254", "2001:db8::5efe:a9fe:a9fe", "2001:db8::200:5efe:a9fe:a9fe",
    "2001:0:a9fe:a9fe::1", "2001:0:808:808::5601:5601",
]  # fmt: skip
INSIDE = [
    "127.0.0.1", "127.8.9.10", "::1", "10.0.0.1", "172.16.0.1", "192.168.1.1", "100.64.0.1", "fd12::1", "fec0::1",
    "::ffff:127.0.0.1", "::ffff:10.0.0.1", "64:ff9b::a00:1", "2002:a00:1::", "198.18.0.1", "240.0.0.1",
]  # fmt: skip
OUTSIDE = [
    "8.8.8.8", "1.1.1.1", "2606:4700::1111", "::ffff:8.8.8.8", "172.32.0.1", "169.253.0.1", "64:ff9b::808:808",
]  # fmt: skip


@pytest.mark.parametrize("ip", ALWAYS_REFUSED)
def test_standard_and_public_refuse_metadata_link_local_multicast_and_unspecified(ip: str) -> None:
    assert refused(STANDARD, ip)
    assert refused(PUBLIC, ip)


@pytest.mark.parametrize("ip", INSIDE)
def test_loopback_and_private_addresses_are_refused_by_public_only(ip: str) -> None:
    assert refused(PUBLIC, ip)
    assert not refused(STANDARD, ip)


@pytest.mark.parametrize("ip", OUTSIDE)
def test_addresses_of_the_internet_are_allowed(ip: str) -> None:
    assert not refused(STANDARD, ip)
    assert not refused(PUBLIC, ip)


@pytest.mark.parametrize("ip", ALWAYS_REFUSED + INSIDE + OUTSIDE)
def test_open_refuses_nothing(ip: str) -> None:
    assert not refused(OPEN, ip)


def test_an_unknown_egress_value_is_treated_as_the_strictest() -> None:
    assert refused(HostRules(egress="publik"), "127.0.0.1")


@pytest.mark.parametrize("text", ["", "localhost", "127.1", "0x7f000001", "2130706433", "8.8.8.8.8"])
def test_what_is_no_ip_address_is_refused(text: str) -> None:
    assert refused(STANDARD, text)
    assert refused(OPEN, text)


@pytest.mark.parametrize(
    ("pattern", "host"),
    [
        ("api.test", "api.test"),
        ("API.Test.", "api.test"),
        ("api.test", "API.TEST."),
        ("*.api.test", "v1.api.test"),
        ("*.api.test", "a.b.api.test"),
        ("bücher.test", "xn--bcher-kva.test"),
        ("*.Bücher.test", "a.xn--bcher-kva.test"),
        ("faß.test", "xn--fa-hia.test"),
        ("xn--bcher-kva.test", "bücher.test"),
        ("*", "anything.test"),
        ("127.0.0.1", "127.0.0.1"),
        ("[::1]", "::1"),
        ("0:0:0:0:0:0:0:1", "[::1]"),
    ],
)
def test_deny_list_matches_exact_names_and_suffixes(pattern: str, host: str) -> None:
    with pytest.raises(ActionError, match="deny list") as caught:
        check_host(HostRules(egress="open", deny=(pattern,)), host, 443)
    assert caught.value.code == "PERMISSION_DENIED"
    assert caught.value.details["host"] == host


@pytest.mark.parametrize(
    ("pattern", "host"),
    [("api.test", "v1.api.test"), ("*.api.test", "api.test"), ("*.api.test", "myapi.test"), ("*.api.test", ".api.test"),
     ("api.test", "api.test.evil.test"), ("", "api.test")],
)  # fmt: skip
def test_a_pattern_matches_nothing_but_what_it_says(pattern: str, host: str) -> None:
    check_host(HostRules(deny=(pattern,)), host, 443)


def test_deny_list_may_name_the_resolved_address_in_any_form() -> None:
    rules = HostRules(egress="open", deny=("8.8.8.8",))
    assert refused(rules, "8.8.8.8")
    assert refused(rules, "::ffff:8.8.8.8")
    assert not refused(rules, "8.8.4.4")


def test_deny_wins_over_allow() -> None:
    rules = HostRules(allow=("*.corp.test",), deny=("vault.corp.test",))
    with pytest.raises(ActionError):
        check_host(rules, "vault.corp.test", 443)
    assert refused(rules, "10.0.0.1", host="vault.corp.test")


def test_an_allowed_address_opens_nothing_else_that_an_address_carries() -> None:
    teredo = "2001:0:a00:1::5601:5601"  # by the server 10.0.0.1 to the client 169.254.169.254
    assert refused(HostRules(allow=("10.0.0.1",)), teredo)
    assert not refused(HostRules(allow=("10.0.0.1", "169.254.169.254")), teredo)
    assert not refused(HostRules(allow=(teredo,)), teredo)
    assert not refused(HostRules(egress="public", allow=("10.0.0.1",)), "::ffff:10.0.0.1")


def test_allow_list_overrides_the_mode_by_name_or_by_address() -> None:
    by_name = HostRules(egress="public", allow=("*.corp.test",))
    assert not refused(by_name, "10.0.0.1", host="git.corp.test")
    assert refused(by_name, "10.0.0.1", host="git.evil.test")
    by_address = HostRules(allow=("169.254.170.2",))
    assert not refused(by_address, "169.254.170.2")
    assert not refused(by_address, "::ffff:169.254.170.2")
    assert refused(by_address, "169.254.169.254")


@pytest.mark.parametrize(
    "name",
    ["metadata.google.internal", "METADATA.google.internal.", "metadata", "instance-data", "metadata.tencentyun.com"],
)
def test_metadata_names_are_refused_before_they_are_resolved(name: str) -> None:
    with pytest.raises(ActionError, match="metadata"):
        check_host(STANDARD, name, 80)
    check_host(OPEN, name, 80)
    check_host(HostRules(allow=(name,)), name, 80)


@pytest.mark.parametrize("ip", ["127.0.0.1", "::ffff:127.0.0.1"])
def test_the_own_listener_is_refused_on_its_port_even_when_allowed_by_name(ip: str) -> None:
    rules = HostRules(own_addresses=(("127.0.0.1", 4100),), allow=("localhost", "127.0.0.1"))
    assert refused(rules, ip, host="localhost", port=4100)
    assert not refused(rules, ip, host="localhost", port=4101)
    assert not refused(HostRules(egress="open", own_addresses=(("127.0.0.1", 4100),)), ip, port=4100)


@pytest.mark.parametrize("own", ["127.0.0.1", "::1", "localhost", "box.internal", "10.0.0.1"])
@pytest.mark.parametrize("ip", ["0.0.0.0", "::", "::ffff:0.0.0.0"])
def test_the_own_listener_is_not_reached_through_no_address_at_all(own: str, ip: str) -> None:
    assert refused(HostRules(allow=("*",), own_addresses=((own, 4100),)), ip, port=4100)
    assert not refused(HostRules(allow=("*",), own_addresses=((own, 4100),)), ip, port=4101)


@pytest.mark.parametrize("own", ["0.0.0.0", "::", "", "[::]"])
def test_a_listener_on_all_interfaces_is_refused_on_every_address_of_this_machine(own: str) -> None:
    rules = HostRules(own_addresses=((own, 4100),))
    assert refused(rules, "127.0.0.1", port=4100)
    assert refused(rules, "::1", port=4100)
    assert refused(rules, "192.168.1.7", port=4100, is_self=True)
    assert not refused(rules, "192.168.1.7", port=4100)
    assert not refused(rules, "192.168.1.7", port=80, is_self=True)


def test_a_listener_known_by_name_is_refused_where_the_name_leads() -> None:
    assert refused(HostRules(own_addresses=(("localhost", 4100),)), "::1", port=4100)
    named = HostRules(own_addresses=(("build-box.test", 4100),))
    assert refused(named, "192.168.1.7", port=4100, is_self=True)
    assert refused(named, "127.0.1.1", port=4100)
    assert not refused(named, "192.168.1.8", port=4100)


@pytest.mark.parametrize("egress", ["standard", "open"])
def test_a_secret_that_is_bound_elsewhere_is_named_with_its_hosts_and_the_way_to_allow_another(egress: str) -> None:
    rules = HostRules(
        egress=egress, only=(BoundSecret("FREE", ("*.test",)), BoundSecret("KEY", ("api.test", "*.near.test")))
    )
    check_host(rules, "api.test", 443)
    with pytest.raises(ActionError) as caught:
        check_host(rules, "Evil.test", 443)
    assert (caught.value.code, caught.value.retryable) == ("PERMISSION_DENIED", False)
    assert caught.value.message == (
        "the secret 'KEY' may not be sent to Evil.test:443: it is bound to api.test, *.near.test; to allow that host, store it "
        "again with `opcode secret set KEY --allow-host api.test --allow-host '*.near.test' --allow-host evil.test`"
    )
    assert caught.value.details == {
        "host": "Evil.test", "port": 443, "reason": "a secret is bound to other hosts", "secret": "KEY",
        "allowed_hosts": ["api.test", "*.near.test"],
    }  # fmt: skip


def test_a_host_cannot_put_words_into_the_command_that_would_allow_it_nor_many_hosts_fill_the_message() -> None:
    for host in ("a.test; id", "$(id)", "a'b"):
        with pytest.raises(ActionError) as caught:
            check_host(HostRules(only=(BoundSecret("KEY", ("api.test",)),)), host, 80)
        command = caught.value.message.split("`")[1]
        assert shlex.split(command)[-2:] == ["--allow-host", host]
    many = tuple(f"h{number}.test" for number in range(100))
    with pytest.raises(ActionError, match=r"h7\.test and 92 more; .* each of the others") as caught:
        check_host(HostRules(only=(BoundSecret("KEY", many),)), "evil.test", 80)
    assert len(caught.value.message) < 400


def test_the_message_names_host_address_reason_and_remedy() -> None:
    with pytest.raises(ActionError) as caught:
        check_address(STANDARD, "sneaky.test", "169.254.169.254", 80)
    message = caught.value.message
    for part in ("sneaky.test:80", "169.254.169.254", "http.egress=standard", "link-local", "http.allow_hosts"):
        assert part in message
    assert caught.value.details["address"] == "169.254.169.254"
