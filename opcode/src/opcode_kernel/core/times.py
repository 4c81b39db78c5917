"""Times in the core are integers: microseconds since the epoch, UTC. Text is RFC 3339 with `Z`."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_START = datetime(1970, 1, 1)

#: One second and one millisecond, in the core's unit.
SECOND = 1_000_000
MILLISECOND = 1_000


def iso(at: int) -> str:
    """Return the RFC 3339 form with as many sub-second digits as are needed.

    >>> iso(1_900_000_000_123_000)
    '2030-03-17T17:46:40.123Z'
    """
    text = (_START + timedelta(microseconds=at)).isoformat()
    return (text.rstrip("0") if "." in text else text) + "Z"


def from_iso(text: str) -> int:
    """Return the microseconds of an RFC 3339 time; one without a zone counts as UTC.

    Raises:
        ValueError: the text is no such time.
    """
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return (moment - _EPOCH) // timedelta(microseconds=1)


def duration_text(us: int) -> str:
    """Return a duration as definitions write it.

    >>> duration_text(90 * SECOND), duration_text(1_500)
    ('1m30s', '1.5ms')
    """
    if us and us % SECOND:
        whole, rest = divmod(us, MILLISECOND)
        return f"{whole}.{rest:03d}".rstrip("0").rstrip(".") + "ms"
    hours, rest = divmod(us // SECOND, 3600)
    minutes, seconds = divmod(rest, 60)
    parts = [f"{n}{unit}" for n, unit in ((hours, "h"), (minutes, "m"), (seconds, "s")) if n]
    return "".join(parts) or "0s"
