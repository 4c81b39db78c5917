"""When a server is started again: pauses, jitter, and how often."""

from __future__ import annotations

from opcode_kernel import ExternalPlugin
from opcode_mcp_bridge.timing import Restarts, Timing


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def restarts(clock: Clock, most: int = 100, window: float = 1e9) -> Restarts:
    plugin = ExternalPlugin("p", command="x")
    rule = type(plugin.restart)(max=most, window=window)
    return Restarts(ExternalPlugin("p", command="x", restart=rule), Timing(), clock, jitter=lambda low, high: 1.0)


def test_the_pauses_double_up_to_a_minute():
    kept = restarts(Clock())
    assert [kept.pause(well_for=0.0) for _ in range(9)] == [1, 2, 4, 8, 16, 32, 60, 60, 60]


def test_no_number_of_restarts_is_too_much_for_the_pause():
    kept = restarts(Clock(), most=10_000)
    assert {kept.pause(well_for=0.0) for _ in range(5_000)} <= {1, 2, 4, 8, 16, 32, 60}


def test_five_well_minutes_make_it_begin_anew():
    kept = restarts(Clock())
    assert [kept.pause(well_for=well) for well in (0, 299, 300, 0)] == [1, 2, 1, 2]


def test_pauses_differ_by_a_fifth_at_most():
    plugin = ExternalPlugin("p", command="x")
    first = [Restarts(plugin, Timing(), Clock()).pause(well_for=0.0) for _ in range(200)]
    assert all(0.8 <= pause <= 1.2 for pause in first if pause is not None)
    assert len(set(first)) > 100


def test_after_too_many_in_the_window_it_is_given_up_and_later_ones_count_anew():
    clock = Clock()
    kept = restarts(clock, most=2, window=10.0)
    assert [kept.pause(well_for=0.0), kept.pause(well_for=0.0), kept.pause(well_for=0.0)] == [1, 2, None]
    clock.now = 10.0
    assert kept.pause(well_for=0.0) == 4
    assert restarts(clock, most=0).pause(well_for=0.0) is None
