"""Addresses that lead where a workflow has no business, in every spelling; none of them may get a connection.

Three witnesses: a listening canary that nobody may reach, every address that any stream socket of this process is
connected to, and the error. `{p}` stands for the port of the canary.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest

from opcode_http import actions
from opcode_kernel import ActionError, DefinitionError, HostRules, Policy
from opcode_kernel.testing import FakeContext, call

pytestmark = [pytest.mark.anyio, pytest.mark.parametrize("anyio_backend", ["asyncio"])]

#: Spellings of loopback. `standard` lets them through, except to our own listener.
LOOPBACK = [
    "http://127.0.0.1:{p}/", "http://127.1:{p}/", "http://127.0.1:{p}/", "http://2130706433:{p}/",
    "http://0x7f000001:{p}/", "http://0X7F000001:{p}/", "http://0x7f.0.0.1:{p}/", "http://0x7f.0x0.0x0.0x1:{p}/",
    "http://017700000001:{p}/", "http://00000177.1:{p}/",
    "http://0x7f.1:{p}/", "http://0177.0x1:{p}/", "http://127.0x.0.1:{p}/", "http://127.0.0.1.:{p}/",
    "http://127。0。0。1:{p}/", "http://127．0．0．1:{p}/", "http://127｡0｡0｡1:{p}/", "http://localhost:{p}/",
    "http://LOCALHOST:{p}/", "http://localhost.:{p}/", "HTTP://127.0.0.1:{p}/", "http://allowed.test@127.0.0.1:{p}/",
    "http://allowed.test:80@127.0.0.1:{p}/", "http://allowed.test%2f@127.0.0.1:{p}/", "http://a@b@127.0.0.1:{p}/",
    "http://allowed.test\\@127.0.0.1:{p}/", "http://127.0.0.1:{p}#@allowed.test/",
    "http://127.0.0.1:{p}?@allowed.test/", "http://127.0.0.1:{p}/\\allowed.test", "http://127.0.0.1:0{p}/",
    "http://loop.test:{p}/", "http://LOOP.test.:{p}/", "http://[::1]:{p}/", "http://[0:0:0:0:0:0:0:1]:{p}/",
    "http://[0000::0001]:{p}/", "http://[::ffff:127.0.0.1]:{p}/", "http://[::ffff:7f00:1]:{p}/",
    "http://[0:0:0:0:0:FFFF:7F00:0001]:{p}/", "http://loop6.test:{p}/", "http://both.test:{p}/",
]  # fmt: skip

#: Spellings of the one address of most metadata services. Refused by `standard` and by `public`.
METADATA = [
    "http://169.254.169.254/", "http://169.254.169.254:{p}/", "https://169.254.169.254/", "http://2852039166/",
    "http://0xa9fea9fe/", "http://0xA9.0xFE.0xA9.0xFE/", "http://025177524776/",
    "http://169.254.43518/", "http://169.16689662/", "http://0xa9.254.0251.254/", "http://169.254.169.254./",
    "http://169。254。169。254/", "http://allowed.test@169.254.169.254/", "http://allowed.test\\@169.254.169.254/",
    "http://169.254.169.254#@allowed.test/", "http://169.254.169.254?allowed.test", "http://169.254.169.254:080/",
]  # fmt: skip

#: Also refused by both: what leads to that address in the end, other metadata services, link-local, unspecified,
#: multicast, broadcast.
NEVER = [
    *METADATA,
    "http://[::ffff:169.254.169.254]/", "http://[::ffff:a9fe:a9fe]/", "http://[0:0:0:0:0:ffff:a9fe:a9fe]/",
    "http://[::169.254.169.254]/", "http://[::a9fe:a9fe]/", "http://[::ffff:0:169.254.169.254]/",
    "http://[64:ff9b::169.254.169.254]/", "http://[64:ff9b::a9fe:a9fe]/", "http://[64:ff9b:1::a9fe:a9fe]/",
    "http://[64:ff9b:1:a9fe:a9:fe00::]/", "http://[2002:a9fe:a9fe::1]/", "http://[2001:0:a9fe:a9fe::1]/",
    "http://[2001:0:808:808::5601:5601]/", "http://[2001:db8::5efe:a9fe:a9fe]/", "http://[fe80::5efe:a9fe:a9fe]/",
    "http://[fe80::1]/", "http://[fe80::a9fe:a9fe]/", "http://[febf:ffff::1]/", "http://[fd00:ec2::254]/",
    "http://[FD00:0EC2:0::254]/", "http://[fd00:ec2::23]/", "http://[fd20:ce::254]/", "http://169.254.170.2/v2/",
    "http://169.254.170.23/", "http://169.254.0.23/", "http://169.254.169.123/", "http://100.100.100.200/",
    "http://0x646464c8/", "http://192.0.0.192/", "http://168.63.129.16/", "http://metadata/",
    "http://metadata.google.internal/computeMetadata/v1/", "http://METADATA.google.INTERNAL./", "http://metadata.goog/",
    "http://instance-data/latest/", "http://instance-data.ec2.internal/", "http://metadata.azure.internal/",
    "http://metadata.tencentyun.com/", "http://0.0.0.0:{p}/", "http://0:{p}/", "http://0x0:{p}/", "http://0x:{p}/",
    "http://00000:{p}/", "http://0.0:{p}/", "http://0.1.2.3/", "http://[::]:{p}/", "http://[0:0:0:0:0:0:0:0]:{p}/",
    "http://[::ffff:0.0.0.0]:{p}/", "http://224.0.0.1/", "http://239.255.255.250:1900/", "http://[ff02::1]/",
    "http://[ff05::1:3]/", "http://255.255.255.255/", "http://4294967295/", "http://0xffffffff/", "http://sneaky.test/",
    "http://sneaky6.test/", "http://mixed.test:{p}/", "http://mixed6.test:{p}/", "http://mapped.test/",
]  # fmt: skip

#: Refused by `public` only.
INSIDE = [
    "http://10.0.0.1/", "http://10.1/", "http://0xa000001/", "http://012.1/", "http://172.16.0.1/",
    "http://172.31.255.255/", "http://192.168.1.1/", "http://192.168.257/", "http://3232235777/", "http://100.64.0.1/",
    "http://100.127.255.254/", "http://127.2.3.4/", "http://127.255.255.254/", "http://198.18.0.1/", "http://192.0.2.1/",
    "http://240.0.0.1/", "http://[fc00::1]/", "http://[fd12:3456::1]/", "http://[fec0::1]/", "http://[2001:db8::1]/",
    "http://[::ffff:10.0.0.1]/", "http://[::10.0.0.1]/", "http://[64:ff9b::10.0.0.1]/", "http://[2002:a00:1::]/",
    "http://[2001:0:a00:1::1]/", "http://[2001:db8::200:5efe:a00:1]/", "http://inside.test/", "http://shared.test/",
]  # fmt: skip

#: No addresses at all, or none that we would read as others do.
MALFORMED = [
    "file:///etc/passwd", "file://127.0.0.1/etc/passwd", "gopher://127.0.0.1:{p}/_x", "data:text/plain,x",
    "ftp://127.0.0.1:{p}/", "dict://127.0.0.1:{p}/", "ldap://127.0.0.1:{p}/", "jar:http://127.0.0.1:{p}/!/",
    "ws://127.0.0.1:{p}/", "javascript:1", "unix:/run/x.sock", "http+unix://%2Frun%2Fx.sock/", "url:http://127.0.0.1/",
    "//127.0.0.1:{p}/", "/", "127.0.0.1:{p}", "http:127.0.0.1:{p}/", "http:/127.0.0.1:{p}/", "http:///127.0.0.1:{p}/",
    "http:\\\\127.0.0.1:{p}\\", "http://", "http://:{p}/", "http://?127.0.0.1", "http://#127.0.0.1", "http://@:{p}/",
    "http://.:{p}/", "http:// /", " http://127.0.0.1:{p}/", "http://127.0.0.1:{p}/ ", "\thttp://127.0.0.1:{p}/",
    "http://[::1:{p}/", "http://::1:{p}/", "http://[::1]x:{p}/", "http://[127.0.0.1]:{p}/", "http://[v1.fe80]/",
    "http://[fe80::1%25eth0]/", "http://[fe80::1%eth0]/", "http://[::1%25lo]:{p}/", "http://１２７.０.０.１:{p}/",
    "http://①②⑦.⓪.⓪.①:{p}/", "http://ⓛⓞⓒⓐⓛⓗⓞⓢⓣ:{p}/", "http://١٢٧.0.0.1:{p}/", "http://%31%32%37.0.0.1:{p}/",
    "http://127.0.0.1%00.allowed.test:{p}/", "http://127.0.0.1\0.allowed.test:{p}/", "http://loc\u00adalhost:{p}/",
    "http://local\u200bhost:{p}/", "http://127.0.0.1\\.allowed.test:{p}/", "http://127.0.0.1\t:{p}/",
    "http://127.0.0.1\r\nHost: x/", "http://127.0.0.1:{p}/\r\nX-Injected: 1", "http://127.0.0.1:{p}/\nX: 1",
    "http://a\r\nb@127.0.0.1:{p}/", "http://256.0.0.1:{p}/", "http://1.2.3.4.5:{p}/", "http://127.0.0.256:{p}/",
    "http://0177.0.0.1:{p}/", "http://0177.0.0.01:{p}/", "http://0251.0376.0251.0376/", "http://08.0.0.1:{p}/", "http://4294967296:{p}/", "http://0x100000000:{p}/", "http://127.0x1000000:{p}/",
    "http://allowed.0x7f:{p}/", "http://allowed.1:{p}/", "http://127..1:{p}/", "http://.127.0.0.1:{p}/",
    "http://127.0.0.1:65536/", "http://127.0.0.1:-1/", "http://127.0.0.1:0/", "http://127.0.0.1:{p}:{p}/",
    "http://127.0.0.1:" + "9" * 40 + "/", "http://127.0.0.1:0x50/", "http://127.0.0.1,allowed.test:{p}/",
    "http://127.0.0.1;allowed.test:{p}/", "http://{{127.0.0.1}}:{p}/", "http://a\ud800.test:{p}/",
]  # fmt: skip

CORPUS = [*LOOPBACK, *NEVER, *INSIDE, *MALFORMED]

#: What a name service controlled by somebody else answers.
NAMES = {
    "loop.test": ["127.0.0.1"],
    "loop6.test": ["::1"],
    "both.test": ["127.0.0.1", "::1"],
    "sneaky.test": ["169.254.169.254"],
    "sneaky6.test": ["fd00:ec2::254"],
    "mapped.test": ["::ffff:169.254.169.254"],
    "mixed.test": ["127.0.0.1", "169.254.169.254"],
    "mixed6.test": ["127.0.0.1", "fe80::1"],
    "inside.test": ["10.0.0.1"],
    "shared.test": ["100.64.0.1"],
}


class Canary:
    """Listens on one port of 127.0.0.1 and, where there is IPv6, of ::1; must never hear anything."""

    def __init__(self) -> None:
        first = socket.create_server(("127.0.0.1", 0))
        self.port = first.getsockname()[1]
        self.listeners = [first]
        with suppress(OSError):
            self.listeners.append(socket.create_server(("::1", self.port), family=socket.AF_INET6))
        for listener in self.listeners:
            listener.setblocking(False)

    def sang(self) -> bool:
        """Tell whether a connection has arrived: it would wait to be accepted."""
        for listener in self.listeners:
            with suppress(BlockingIOError):
                listener.accept()[0].close()
                return True
        return False

    def close(self) -> None:
        for listener in self.listeners:
            listener.close()


@pytest.fixture
def canary() -> Iterator[Canary]:
    running = Canary()
    yield running
    running.close()


def under(**rules: Any) -> FakeContext:
    return FakeContext(policy=Policy(hosts=HostRules(**rules)))


async def refusals(urls: list[str], canary: Canary, context: FakeContext, code: str) -> list[str]:
    """Try every address; return those that were not refused with the code."""
    wrong = []
    for url in urls:
        params = {"url": url.replace("{p}", str(canary.port)), "timeout": "5s"}
        try:
            await call(actions.get, params, context)
        except (ActionError, DefinitionError) as error:
            if (error.code, error.retryable) == (code, False):
                continue
        wrong.append(url)
    return wrong


async def test_the_canary_hears_what_is_allowed(canary: Canary, connected: list[str]) -> None:
    with pytest.raises(ActionError):
        await call(actions.get, {"url": f"http://127.1:{canary.port}/", "timeout": "50ms"})
    assert canary.sang()
    assert connected == ["127.0.0.1"]


@pytest.mark.parametrize("policy", ["standard", "public"])
async def test_what_no_policy_allows_gets_no_connection(
    policy: str, canary: Canary, connected: list[str], names: Any
) -> None:
    names.addresses = NAMES
    assert await refusals(NEVER, canary, under(egress=policy), "PERMISSION_DENIED") == []
    assert (canary.sang(), connected) == (False, [])


async def test_public_refuses_loopback_and_private_ranges_in_every_spelling(
    canary: Canary, connected: list[str], names: Any
) -> None:
    names.addresses = NAMES
    assert await refusals([*LOOPBACK, *INSIDE], canary, under(egress="public"), "PERMISSION_DENIED") == []
    assert (canary.sang(), connected) == (False, [])


@pytest.mark.parametrize("own", ["127.0.0.1", "localhost", "0.0.0.0", "::", "", "::1"])
@pytest.mark.parametrize("policy", ["standard", "public"])
async def test_the_own_listener_is_reached_by_no_spelling_of_it(
    policy: str, own: str, canary: Canary, connected: list[str], names: Any
) -> None:
    names.addresses = NAMES
    hosts = dict.fromkeys((own, "127.0.0.1", "localhost", "::1"))
    context = under(egress=policy, own_addresses=tuple((host, canary.port) for host in hosts), allow=("*",))
    assert await refusals(LOOPBACK, canary, context, "PERMISSION_DENIED") == []
    assert (canary.sang(), connected) == (False, [])


@pytest.mark.parametrize("policy", ["standard", "public", "open"])
async def test_what_is_no_address_is_refused_by_every_policy(policy: str, canary: Canary, connected: list[str]) -> None:
    assert await refusals(MALFORMED, canary, under(egress=policy), "VALIDATION_ERROR") == []
    assert (canary.sang(), connected) == (False, [])


@pytest.mark.parametrize("policy", ["standard", "public", "open"])
async def test_what_is_denied_is_denied_in_every_spelling(
    policy: str, canary: Canary, connected: list[str], names: Any
) -> None:
    names.addresses = NAMES
    context = under(egress=policy, deny=("127.0.0.1", "::1", "169.254.169.254"), allow=("*",))
    assert await refusals([*LOOPBACK, *METADATA], canary, context, "PERMISSION_DENIED") == []
    assert (canary.sang(), connected) == (False, [])


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("policy", ["standard", "public"])
async def test_no_redirect_leads_where_a_request_may_not_go(
    status: int, policy: str, server: Any, canary: Canary, connected: list[str], names: Any
) -> None:
    names.addresses = NAMES
    context = under(egress=policy, allow=("127.0.0.1",) if policy == "public" else ())
    places = [*NEVER, *(place for place in INSIDE if policy == "public"), "//169.254.169.254/", "//0xa9fea9fe:80/x"]
    wrong = []
    for number, place in enumerate(places):
        target = place.replace("{p}", str(canary.port)).encode().decode("latin-1")
        url = server.route(f"/{number}", status, Location=target)
        try:
            await call(actions.post, {"url": url, "body": "x", "timeout": "5s"}, context)
        except ActionError as error:
            if error.code == "PERMISSION_DENIED" and not error.retryable:
                continue
        wrong.append(place)
    assert wrong == []
    assert {seen.path for seen in server.seen} == {f"/{number}" for number in range(len(places))}
    assert (canary.sang(), set(connected)) == (False, {"127.0.0.1"})


@pytest.mark.parametrize("policy", ["standard", "public"])
async def test_no_redirect_leads_to_what_is_no_address(
    policy: str, server: Any, canary: Canary, connected: list[str]
) -> None:
    context = under(egress=policy, allow=("127.0.0.1",), own_addresses=(("127.0.0.1", canary.port),))
    for number, place in enumerate(MALFORMED):
        if not set("\r\n\0\ud800").isdisjoint(place):
            continue  # cannot stand in a header
        target = place.replace("{p}", str(canary.port)).encode().decode("latin-1")
        url = server.route(f"/{number}", 302, Location=target)
        with suppress(ActionError):  # some are relative, and lead to another path of the same server
            output = await call(actions.get, {"url": url, "timeout": "5s"}, context)
            assert output["status_code"] == 404, place
    assert (canary.sang(), set(connected)) == (False, {"127.0.0.1"})


@pytest.mark.parametrize("answers", [[["127.0.0.1"], ["169.254.169.254"]], [["169.254.169.254"], ["127.0.0.1"]]])
async def test_a_name_that_changes_between_check_and_connection_gains_nothing(
    answers: list[list[str]], server: Any, connected: list[str], names: Any
) -> None:
    first = answers[0][0]
    names.addresses = {"rebind.test": [list(each) for each in answers]}
    server.route("/")
    with suppress(ActionError):
        await call(actions.get, {"url": server.url("/", "rebind.test")})
    assert names.asked == ["rebind.test"], "it is looked up once"
    assert connected == (["127.0.0.1"] if first == "127.0.0.1" else [])


@pytest.mark.parametrize("setting", [True, False], ids=["in the settings", "in the environment"])
async def test_a_proxy_is_not_asked_for_what_may_not_be_reached(
    setting: bool, canary: Canary, connected: list[str], names: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    names.addresses = NAMES
    proxy = f"http://127.0.0.1:{canary.port}"
    if setting:
        context = under(proxy=proxy)
    else:
        monkeypatch.setenv("HTTP_PROXY", proxy)
        monkeypatch.setenv("HTTPS_PROXY", proxy)
        context = under()
    assert await refusals(NEVER, canary, context, "PERMISSION_DENIED") == []
    context = under(egress="public", proxy=proxy if setting else None)
    assert await refusals([*INSIDE, *NEVER, "http://unknown.test/"], canary, context, "PERMISSION_DENIED") == []
    assert (canary.sang(), connected) == (False, [])


async def test_open_refuses_nothing_of_all_that(canary: Canary, connected: list[str]) -> None:
    with pytest.raises(ActionError, match="within"):
        await call(actions.get, {"url": f"http://0:{canary.port}/", "timeout": "50ms"}, under(egress="open"))
    assert connected == ["0.0.0.0"]


def test_the_corpus_is_large_and_has_no_repetitions(anyio_backend: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert len(set(CORPUS)) == len(CORPUS) >= 80
    with capsys.disabled():
        print(f"\nSSRF corpus: {len(CORPUS)} addresses, 5 redirect codes, 3 policies")  # noqa: T201  it is to be seen
