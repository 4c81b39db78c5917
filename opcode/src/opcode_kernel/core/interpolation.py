"""Interpolation: see the next commit."""

from __future__ import annotations

from typing import Any

Template = Any
