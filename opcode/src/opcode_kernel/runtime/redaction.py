"""Keeping secrets out of everything that is written: the one place where known values are masked.

A value is looked for as it is and as base64, URL-encoded, hexadecimal and JSON-escaped text. Values under four characters
are not searched for (spec 02 section 10.7): they would mask half of every text.
"""

from __future__ import annotations

import base64
import json
import re
from typing import Any
from urllib.parse import quote, quote_plus

from opcode_kernel.core.interpolation import MASK
from opcode_kernel.errors import Failure, Json

_SHORTEST = 4


class Redactor:
    """Masks every secret it has been told of. Empty ones cost nothing."""

    #: Whether there is anything to mask.
    armed = False

    def __init__(self) -> None:
        self._values: set[str] = set()
        self._pattern: re.Pattern[str] | None = None

    def __bool__(self) -> bool:
        return self.armed

    def add(self, value: str) -> None:
        """Mask this value from now on."""
        if len(value) < _SHORTEST or value in self._values:
            return
        self._values.add(value)
        forms = sorted({form for known in self._values for form in _forms(known)}, key=len, reverse=True)
        self._pattern = re.compile("|".join(re.escape(form) for form in forms))
        self.armed = True

    def text(self, text: str) -> str:
        """Return a text with every known secret masked."""
        return text if self._pattern is None else self._pattern.sub(MASK, text)

    def value(self, value: Json) -> Json:
        """Return a JSON value with every known secret masked, keys included."""
        if self._pattern is None:
            return value
        return self._masked(value)

    def failure(self, failure: Failure) -> Failure:
        """Return a failure whose message and details show no secret."""
        if self._pattern is None:
            return failure
        return Failure(
            failure.code, self.text(failure.message), failure.retryable, self.value(failure.details), failure.step_id,
            failure.fatal,
        )  # fmt: skip

    def _masked(self, value: Any) -> Any:
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, dict):
            return {self.text(key): self._masked(item) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return [self._masked(item) for item in value]
        return value


def _forms(value: str) -> set[str]:
    raw = value.encode()
    forms = {value, quote(value, safe=""), quote_plus(value), raw.hex(), raw.hex().upper(), json.dumps(value)[1:-1],
             json.dumps(value, ensure_ascii=False)[1:-1]}  # fmt: skip
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        # In the middle of a longer text the encoding depends on the offset: keep what is the same at each of the three.
        for offset in range(3):
            encoded = encode(b"\0" * offset + raw).decode().rstrip("=")
            start = -(-offset * 8 // 6)
            usable = encoded[start : len(encoded) - (1 if (offset + len(raw)) % 3 else 0)]
            if len(usable) >= _SHORTEST:
                forms.add(usable)
    return {form for form in forms if len(form) >= _SHORTEST}
