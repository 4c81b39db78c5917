"""The text of a refusal: its sentence, and every problem of a definition as a line of its own."""

from __future__ import annotations

from collections.abc import Mapping

from opcode_kernel.errors import Json, OpcodeError
from opcode_kernel.server.pictures import apart

_LISTED = 20
_WIDTH = 500


def full_text(error: OpcodeError, rest: str = "structuredContent") -> str:
    """Return the sentence with a `path: message` line per problem; `rest` names where the others are to be found.

    A single problem takes the place of its own sentence, which would be said twice otherwise.
    """
    found = error.details.get("errors")
    issues = [item for item in found if isinstance(item, dict)] if isinstance(found, list) else []
    if not issues:
        return error.message
    said = str(issues[0].get("message"))
    if len(issues) == 1 and (error.message == said or error.message.endswith(f"] {said}")):
        return error.message.removesuffix(said) + issue_line(issues[0])
    lines = [error.message, *map(issue_line, issues[:_LISTED])]
    total = error.details.get("error_count")
    more = max(len(issues), total if isinstance(total, int) else 0) - _LISTED
    return "\n".join([*lines, f"and {more} more in {rest}"] if more > 0 else lines)


def issue_line(issue: Mapping[str, Json]) -> str:
    """Return one problem as `path: message`, on one line of bounded length; a picture stands on lines of its own below."""
    sentence, picture = apart(str(issue.get("message")))
    return " ".join(f"{issue.get('path') or 'definition'}: {sentence}"[:_WIDTH].split()) + picture
