"""One daemon per data directory, and a port that is bound or explained."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
import threading

import pytest

from opcode_kernel.errors import ConflictError, OpcodeError
from opcode_kernel.server.instance import InstanceLock, bind_socket, live_owner
from opcode_kernel.server.setting_kinds import Address

HOLD = """
import sys
from pathlib import Path
from opcode_kernel.server.instance import InstanceLock
with InstanceLock(Path(sys.argv[1])) as lock:
    lock.publish("http://127.0.0.1:1")
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_second_process_is_told_the_pid_and_what_to_do(tmp_path):
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as child:
        assert child.stdout.readline() == b"held\n"
        with pytest.raises(ConflictError) as caught, InstanceLock(tmp_path):
            pass
        assert f"pid {child.pid}" in caught.value.message
        assert f"kill {child.pid}" in caught.value.message
        assert "OPCODE_HOME" in caught.value.message
        assert live_owner(tmp_path) == (child.pid, "http://127.0.0.1:1")
        assert (tmp_path / "opcode.pid").read_text() == str(child.pid)
        child.kill()
        child.wait()
    assert live_owner(tmp_path) is None
    with InstanceLock(tmp_path):
        pass


def test_who_asks_at_the_same_time_is_not_taken_for_the_owner(tmp_path):
    with InstanceLock(tmp_path) as lock:
        lock.publish("http://127.0.0.1:1")
    (tmp_path / "opcode.lock").write_text('{"pid": 1, "url": "http://127.0.0.1:1"}')
    with (tmp_path / "opcode.lock").open() as asking:
        fcntl.flock(asking, fcntl.LOCK_SH)
        assert live_owner(tmp_path) is None
        threading.Timer(0.02, fcntl.flock, (asking, fcntl.LOCK_UN)).start()
        with InstanceLock(tmp_path):
            assert live_owner(tmp_path) is not None


def test_the_directory_is_closed_to_others_and_the_pid_file_goes_with_the_lock(tmp_path):
    home = tmp_path / "deep" / "home"
    with InstanceLock(home) as lock:
        assert home.stat().st_mode & 0o777 == 0o700
        assert not (home / "opcode.pid").exists()
        lock.publish("http://x")
        assert (home / "opcode.pid").read_text() == str(os.getpid())
    assert not (home / "opcode.pid").exists()
    assert live_owner(home) is None


def test_a_directory_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OpcodeError, match="OPCODE_HOME"), InstanceLock(tmp_path / "file" / "home"):
        pass


def test_nobody_owns_a_directory_that_is_not_there(tmp_path):
    assert live_owner(tmp_path / "none") is None


def test_a_taken_port_is_named_with_two_remedies():
    with bind_socket(Address("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ConflictError) as caught:
            bind_socket(Address("127.0.0.1", port))
    assert f"port {port}" in caught.value.message
    assert "stop the program" in caught.value.message
    assert "--listen-addr" in caught.value.message


def test_an_address_of_another_machine_is_refused():
    with pytest.raises(OpcodeError, match=r"cannot listen on 192\.0\.2\.1:1"):
        bind_socket(Address("192.0.2.1", 1))
