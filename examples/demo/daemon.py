"""A real OPCODE daemon as a child process on a free loopback port."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path


class Daemon:
    """Starts, kills and restarts `opcode serve` over one home directory."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.port = _free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> float:
        """Start and wait until `/healthz` answers; returns the seconds it took."""
        began = time.monotonic()
        settings = {k: v for k, v in os.environ.items() if not k.startswith("OPCODE_")}
        settings |= {"OPCODE_HOME": str(self.home), "OPCODE_LISTEN_ADDR": f"127.0.0.1:{self.port}",
                     "OPCODE_LOG_LEVEL": "warn"}  # fmt: skip
        with (self.home / "daemon.log").open("ab") as log:
            self._process = subprocess.Popen(
                [Path(sys.executable).parent / "opcode", "serve"], env=settings, stderr=log, stdout=log
            )
        while time.monotonic() - began < 20:
            if self._process.poll() is not None:
                break
            try:
                with urllib.request.urlopen(f"{self.url}/healthz", timeout=1) as answer:
                    if answer.status == 200:
                        return time.monotonic() - began
            except OSError:
                time.sleep(0.02)
        raise RuntimeError(f"the daemon did not start:\n{(self.home / 'daemon.log').read_text()[-2000:]}")

    def kill(self) -> int:
        """End the process with -9, as a power cut would; returns its process id."""
        assert self._process is not None
        self._process.send_signal(signal.SIGKILL)
        self._process.wait(10)
        return self._process.pid

    def stop(self) -> None:
        """Ask it to stop, and see that it does."""
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()
            self._process.wait(20)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
