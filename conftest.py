"""What every test of the repository gets: each run that any of them makes is held against the laws of history."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest
import structlog

pytest_plugins = ["opcode_kernel.testing.pytest_plugin"]


@pytest.fixture(autouse=True)
def quiet_log() -> Iterator[None]:
    """Leave the log as it was found: a server that a test starts in its own process makes it quiet for those that follow."""
    yield
    structlog.reset_defaults()


@pytest.fixture(autouse=True)
def heap(request: pytest.FixtureRequest) -> Iterator[None]:
    """Measure on a heap as the daemon has it: what earlier tests left behind is not looked through again and again.

    It stays frozen: thousands of collected tests take a second to look through, and the next one would do so twice.
    """
    if request.node.get_closest_marker("alone") is None:
        yield
        return
    thresholds = gc.get_threshold()
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, *thresholds[1:])
    yield
    gc.set_threshold(*thresholds)


def pytest_sessionfinish() -> None:
    """Let plugins that look at the heap at the end see all of it again."""
    gc.unfreeze()
