"""Times are whole microseconds inside and RFC 3339 text outside."""

import pytest

from opcode_kernel.core.text import parse_duration
from opcode_kernel.core.times import MILLISECOND, SECOND, duration_text, from_iso, iso

HOUR = 3600 * SECOND
#: 2030-03-17T17:46:40Z
MOMENT = 1_900_000_000 * SECOND


@pytest.mark.parametrize(
    ("at", "text"),
    [
        (0, "1970-01-01T00:00:00Z"),
        (MOMENT, "2030-03-17T17:46:40Z"),
        (MOMENT + 500 * MILLISECOND, "2030-03-17T17:46:40.5Z"),
        (MOMENT + 120 * MILLISECOND, "2030-03-17T17:46:40.12Z"),
        (MOMENT + 1, "2030-03-17T17:46:40.000001Z"),
        (MOMENT + 10, "2030-03-17T17:46:40.00001Z"),
        (10 * SECOND, "1970-01-01T00:00:10Z"),
        (-1, "1969-12-31T23:59:59.999999Z"),
        (-1_500 * MILLISECOND, "1969-12-31T23:59:58.5Z"),
        (253_402_300_800 * SECOND - 1, "9999-12-31T23:59:59.999999Z"),
    ],
)
def test_a_time_has_as_many_digits_as_it_needs_and_reads_back_exactly(at, text):
    assert iso(at) == text
    assert from_iso(text) == at


@pytest.mark.parametrize("at", [2**52, 2**53 // 16 + 7, MOMENT + 123_456, 4_102_444_799_999_999])
def test_no_microsecond_is_lost(at):
    assert from_iso(iso(at)) == at


def test_times_sort_like_their_whole_seconds():
    moments = [MOMENT + step * SECOND for step in (0, 1, 61, 3_601, 90_000, 3_000_000)]
    assert sorted(map(iso, moments)) == [iso(at) for at in moments]


@pytest.mark.parametrize(
    "text",
    [
        "2030-03-17T17:46:40Z", "2030-03-17T17:46:40.000Z", "2030-03-17T17:46:40+00:00", "2030-03-17T19:46:40+02:00",
        "2030-03-17T12:16:40-05:30", "2030-03-17T17:46:40", "2030-03-17 17:46:40Z", "20300317T174640Z",
    ],
)  # fmt: skip
def test_zones_are_turned_into_utc_and_none_means_utc(text):
    assert from_iso(text) == MOMENT


def test_digits_beyond_a_microsecond_are_dropped():
    assert from_iso("2030-03-17T17:46:40.1234569Z") == MOMENT + 123_456


@pytest.mark.parametrize(
    "text", ["", "nope", "2030-02-30T00:00:00Z", "2030-13-01", "2030-03-17T25:00:00Z", "1900000000"]
)
def test_what_is_no_time_is_refused(text):
    with pytest.raises(ValueError):
        from_iso(text)


@pytest.mark.parametrize(
    ("us", "text"),
    [
        (0, "0s"), (SECOND, "1s"), (90 * SECOND, "1m30s"), (HOUR, "1h"), (HOUR + SECOND, "1h1s"), (24 * HOUR, "24h"),
        (8760 * HOUR, "8760h"), (1_500, "1.5ms"), (1, "0.001ms"), (250 * MILLISECOND, "250ms"),
        (1_500 * MILLISECOND, "1500ms"),
    ],
)  # fmt: skip
def test_a_duration_is_shown_as_a_definition_would_write_it(us, text):
    assert duration_text(us) == text


@pytest.mark.parametrize(
    "us",
    [
        1, 999, 12_345, 250 * MILLISECOND, 90 * SECOND, 8760 * HOUR, 1_234_567, 12_345_678_901, HOUR + MILLISECOND,
        100 * HOUR + 1,
    ],
)  # fmt: skip
def test_a_shown_duration_reads_back_exactly(us):
    assert round(parse_duration(duration_text(us)) * SECOND) == us
