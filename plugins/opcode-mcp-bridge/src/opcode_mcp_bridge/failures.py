"""What can go wrong with a server, before it becomes the failure of a step."""

from __future__ import annotations

from collections.abc import Callable

#: Of what a server says so many characters are looked at; far more than is shown.
LOOKED_AT = 131_072


def shown(text: str, most: int, redact: Callable[[str], str]) -> str:
    """Return so much of what a server says as is shown; a secret is masked before it could be cut."""
    masked = redact(text[:LOOKED_AT])
    return masked if len(masked) <= most else f"{masked[:most]}..."


class StartError(Exception):
    """A server could not be started; with `final`, trying again cannot help before somebody changes something."""

    def __init__(self, reason: str, *, final: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        self.final = final


class LostError(Exception):
    """A server that worked does so no more; the text says why."""
