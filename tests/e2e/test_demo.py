"""The demo is a promise of the README; here it is kept: real daemon, real client, real `kill -9`."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_everything_the_demo_claims_holds() -> None:
    demo = subprocess.run(
        [sys.executable, ROOT / "examples" / "demo"], capture_output=True, text=True, timeout=100, check=False
    )
    assert demo.returncode == 0, demo.stdout[-3000:] + demo.stderr[-2000:]
    assert "NOT" not in [line.split()[0] for line in demo.stdout.splitlines() if line.strip()]
    for claim in (
        "the run waits for a decision before anything is published",
        "workflow.notify reached the agent's own connection",
        "no completed step ran twice",
        "All of it held",
    ):
        assert claim in demo.stdout
