"""What the end-to-end tests have in common."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.soak.nursery import Nursery


@pytest.fixture
def anyio_backend() -> str:
    """The daemon runs on asyncio, and so do its end-to-end tests."""
    return "asyncio"


@pytest.fixture(scope="module")
def nursery(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nursery]:
    """Where daemons and commands come from: processes of their own that need not import everything first."""
    with Nursery(tmp_path_factory.mktemp("nursery") / "log") as nursery:
        yield nursery
