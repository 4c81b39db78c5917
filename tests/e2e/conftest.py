"""What the end-to-end tests have in common."""

from __future__ import annotations

import pytest


@pytest.fixture
def anyio_backend() -> str:
    """The daemon runs on asyncio, and so do its end-to-end tests."""
    return "asyncio"
