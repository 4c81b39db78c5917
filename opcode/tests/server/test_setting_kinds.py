from __future__ import annotations

import pytest

from opcode_kernel.errors import SettingsError
from opcode_kernel.server import setting_kinds as kinds
from opcode_kernel.server.settings import load_settings


@pytest.mark.parametrize(
    "value", [None, 5, "", " ", "proxy.test:3128", "socks5://p:1", "http://", "http://p/path", "http://p?x"]
)
def test_what_is_no_proxy_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match="the http or https URL of a proxy"):
        kinds.proxy(value)


def test_a_proxy_may_hold_credentials_and_a_slash_at_its_end_means_nothing() -> None:
    assert kinds.proxy(" http://ann:geheim@proxy.test:3128/ ") == "http://ann:geheim@proxy.test:3128"
    assert kinds.proxy("direct") == "direct"


def test_proxy_settings_become_rules_and_their_password_is_not_shown(tmp_path) -> None:
    environ = {
        "OPCODE_HOME": str(tmp_path), "OPCODE_HTTP_PROXY": "http://ann:geheim@proxy.test:3128",
        "OPCODE_HTTP_NO_PROXY": "near.test,10.0.0.0/8", "OPCODE_HTTP_CA_FILE": "ca.pem",
    }  # fmt: skip
    settings = load_settings({}, environ)
    rules = settings.policy.hosts
    assert (rules.proxy, rules.no_proxy) == ("http://ann:geheim@proxy.test:3128", ("near.test", "10.0.0.0/8"))
    assert rules.ca_file == "ca.pem"
    assert "geheim" not in repr(settings)
    with pytest.raises(SettingsError) as caught:
        load_settings({}, {**environ, "OPCODE_HTTP_PROXY": "socks5://ann:geheim@proxy.test:1"})
    assert "geheim" not in caught.value.message
