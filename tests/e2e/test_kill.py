"""Real kills: processes under load die by -9, at named points and at random times, and what comes after them goes on.

Effects are counted in a file that only the actions append to, what was acknowledged by the client, and both are held
against the database after each kill. `make soak-kills` does the same a thousand times (`python -m tests.soak`).
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def campaign(scratch: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run a campaign in a process of its own; what it leaves behind is left in `scratch`."""
    return subprocess.run(
        [sys.executable, "-m", "tests.soak", *words, "--json", "--scratch", scratch],
        cwd=ROOT, capture_output=True, text=True, timeout=280, check=False,
    )  # fmt: skip


@pytest.mark.timeout(300)
def test_fifty_kills_lose_nothing_acknowledged_and_repeat_no_effect(tmp_path: Path) -> None:
    done = campaign(tmp_path, "--kills", "40", "--recovery-kills", "10", "--daemon-share", "0.07")
    assert done.returncode == 0, done.stderr[-4000:]
    report = json.loads(done.stdout)
    assert report["violations"] == []
    assert sum(report["kills"].values()) >= 40
    assert sum(report["recovery_kills"].values()) == 10
    assert set(report["policies"]) == {"suspend", "auto", "resume"}
    assert len(set(report["kills"]) - {"at random"}) >= 4, "kills at named points"
    assert report["kills"]["at random"]
    # Kills of idle processes would prove nothing.
    assert sum(report["load"].values()) > 40
    assert report["totals"]["effects"] > 100
    assert report["totals"]["acknowledged retry signals"]
    assert report["totals"]["acknowledged skip signals"]
    assert report["totals"]["acknowledged decision signals"]
    assert list(tmp_path.iterdir()) == []


def test_an_engine_that_acknowledges_before_the_disk_has_it_is_caught(tmp_path: Path) -> None:
    done = campaign(
        tmp_path, "--kills", "30", "--recovery-kills", "0", "--daemon-share", "0", "--lanes", "1", "--sabotage"
    )
    assert done.returncode == 1, done.stderr[-4000:]
    assert any("and is not there" in each or "not found" in each for each in json.loads(done.stdout)["violations"])
    assert "repeat with: python -m tests.soak --seed 0 " in done.stderr
    assert list(tmp_path.iterdir()) != [], "what was found is kept"
