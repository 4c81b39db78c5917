"""Whom TLS trusts: the authorities of this machine and those of `http.ca_file`, or anybody where a call says so."""

from __future__ import annotations

import ssl
from dataclasses import dataclass

import httpx2

from opcode_kernel import ActionError


@dataclass(frozen=True, slots=True)
class Trust:
    """What a certificate is checked against. `ca_file` adds authorities to those of the machine."""

    verify: bool = True
    ca_file: str | None = None


def context_of(trust: Trust) -> ssl.SSLContext:
    """Return a new context; making one reads the certificates from disk, which takes some 20 ms.

    Raises:
        ActionError: `EXECUTION_ERROR`, not retryable, when `ca_file` cannot be used.
    """
    context = httpx2.create_ssl_context(verify=trust.verify)
    if trust.verify and trust.ca_file is not None:
        try:
            context.load_verify_locations(cafile=trust.ca_file)
        except (OSError, ssl.SSLError) as error:
            raise ActionError(
                "EXECUTION_ERROR",
                f"expected certificates in PEM form in http.ca_file {trust.ca_file}, found: "
                f"{getattr(error, 'strerror', None) or error}; mend the setting",
                retryable=False,
            ) from None
    return context
