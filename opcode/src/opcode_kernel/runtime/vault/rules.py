"""What may be the name, the value and the bounds of a secret, and who is lent one."""

from __future__ import annotations

import re
from collections.abc import Sequence

from opcode_kernel.errors import DefinitionError
from opcode_kernel.runtime.ports import Borrower
from opcode_kernel.runtime.spellings import SHORTEST
from opcode_kernel.store.base import SecretRow

#: The longest value, in bytes of UTF-8.
MAX_VALUE = 64 * 1024

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,127}")
#: A host name, an IP address, or `*.` and a suffix; a port or a path would never match.
_HOST = re.compile(r"(\*\.)?[^\s/*@?#\[\]]+|\[[0-9A-Fa-f:.]+\]")
_LISTED = 100
#: What outputs are full of: words of one spelling, such as true, admin or Production, and short numbers.
_COMMON = re.compile(r"[A-Z]?[a-z]{0,11}|[A-Z]{1,12}|[0-9]{1,5}")


def is_name(name: str) -> bool:
    """Tell whether a secret may be named so."""
    return isinstance(name, str) and _NAME.fullmatch(name) is not None


def check_name(name: str) -> None:
    """Refuse what is no name of a secret (raises `DefinitionError`)."""
    if not is_name(name):
        raise DefinitionError(
            f"expected a secret name of letters, digits, _ . and -, not starting with a digit, . or -, at most 128"
            f" long, found {name!r:.140}"
        )


def check_value(name: str, value: str) -> bytes:
    """Return a value as it is encrypted.

    Raises:
        DefinitionError: it is no text or too long; the message never quotes it.
    """
    if not isinstance(value, str):
        raise DefinitionError(f"expected text as the value of secret {name!r}, found {type(value).__name__}")
    try:
        plain = value.encode()
    except UnicodeEncodeError:
        raise DefinitionError(f"the value of secret {name!r} is no valid text") from None
    if len(plain) > MAX_VALUE:
        raise DefinitionError(f"expected at most {MAX_VALUE} bytes as the value of secret {name!r}, found {len(plain)}")
    return plain


def masking(name: str, value: str) -> str | None:
    """Return what to say of a value that is masked nowhere, or in too many places; None of one that is fine."""
    if len(value) < SHORTEST or value.isspace():
        what = "is blanks alone" if value.isspace() else f"has fewer than {SHORTEST} characters"
        return f"{name} {what}, which is not searched for: where it comes back, it is shown and stored as it is"
    if _COMMON.fullmatch(value.strip()):
        return (
            f"{name} reads like a plain word or a short number: it is masked wherever that stands, also where it is no secret, "
            "which makes outputs hard to read and gives it away; take a longer one if you can"
        )
    return None


def check_bounds(templates: Sequence[str], hosts: Sequence[str]) -> None:
    """Refuse bounds that could never be met (raises `DefinitionError`)."""
    if len(templates) > _LISTED or len(hosts) > _LISTED:
        raise DefinitionError(f"expected at most {_LISTED} templates and {_LISTED} hosts")
    for template in templates:
        if not template.strip() or len(template) > 256:
            raise DefinitionError(f"expected the name of a template, found {template!r:.140}")
    for host in hosts:
        if not _HOST.fullmatch(host) or (":" in host and not _is_ipv6(host)):
            raise DefinitionError(
                f"expected a host such as api.example.org, 10.0.0.7 or *.example.org, without port and path, found {host!r:.140}"
            )


def bounds(
    before: SecretRow | None, templates: Sequence[str] | None, hosts: Sequence[str] | None
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the bounds of a new value; None leaves one as it was before."""
    kept, reached = ((), ()) if before is None else (before.templates, before.hosts)
    return (
        kept if templates is None else tuple(dict.fromkeys(templates)),
        reached if hosts is None else tuple(dict.fromkeys(hosts)),
    )


def _is_ipv6(host: str) -> bool:
    return host.count(":") > 1


def refusal(row: SecretRow, borrower: Borrower) -> str | None:
    """Return why a secret may not be used here, or None when it may.

    Which hosts an HTTP call reaches is not known here: its every hop asks for that.
    """
    if row.templates and borrower.template not in row.templates:
        return (
            f"it may be used by the template{'s' * (len(row.templates) > 1)} {', '.join(row.templates)} only, not by "
            f"{borrower.template!r}; `opcode secret set {row.name} --allow-template` says which"
        )
    if row.hosts and not borrower.action.startswith("http.") and borrower.action != "workflow.run":
        return (
            f"it may be sent to {', '.join(row.hosts)} by http actions only, not used by {borrower.action}; "
            f"`opcode secret set {row.name} --allow-host` says where"
        )
    return None
