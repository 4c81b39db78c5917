"""Directories that become links, and back, while actions go through them.

Once as fast as another thread can, and once right after every single check an action makes.
"""

import itertools
import json
import os
import sys
import threading
import time
from contextlib import ExitStack, contextmanager, suppress

import pytest

from opcode_kernel import OpcodeError, PathGuard

CANARY = "canary-7f3a91"


@pytest.fixture
def restless():
    """Let threads take turns as often as possible."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


@contextmanager
def swapping(world):
    """Make `in/sub` a link to `out/sub` and a directory again, until the context ends; count the swaps."""
    real, link, aside = world.inside / "sub", world.inside / "link", world.inside / "aside"
    link.symlink_to(world.out / "sub")
    stop = threading.Event()
    swaps = itertools.count()

    def swap():
        while not stop.is_set():
            turns = [(real, aside), (link, real), (real, link), (aside, real)]
            if aside.exists():  # an action made a new directory just when there was none
                turns.insert(0, (real, world.inside / f"old{next(swaps)}"))
            for old, new in turns:
                with suppress(OSError):
                    old.rename(new)
            next(swaps)

    thread = threading.Thread(target=swap)
    thread.start()
    try:
        yield swaps
    finally:
        stop.set()
        thread.join()


def refill(world):
    """Make what an action deleted or moved anew, in the real directory wherever it is at the moment."""
    for name in ("sub", "aside"):
        with suppress(OSError), ExitStack() as closing:
            above = os.open(world.inside / name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
            closing.callback(os.close, above)
            with suppress(FileExistsError):
                os.mkdir("deep", dir_fd=above)
            deep = os.open("deep", os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=above)
            closing.callback(os.close, deep)
            os.close(os.open("f", os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW, dir_fd=deep))


ACTIONS = {
    "read": lambda fs, at: fs("read", path=at / "sub/b.txt"),
    "stat": lambda fs, at: fs("stat", path=at / "sub/b.txt"),
    "list": lambda fs, at: fs("list", path=at / "sub", recursive=True),
    "write": lambda fs, at: fs("write", path=at / "sub/new", content="x"),
    "write in place": lambda fs, at: fs("write", path=at / "sub/deep/f", content="x", atomic=False),
    "write with directories": lambda fs, at: fs("write", path=at / "sub/more/new", content="x", create_dirs=True),
    "append": lambda fs, at: fs("append", path=at / "sub/deep/f", content="x"),
    "copy file": lambda fs, at: fs("copy", src=at / "sub/b.txt", dst=at / "copied"),
    "copy tree": lambda fs, at: fs("copy", src=at / "sub", dst=at / "tree"),
    "copy tree into": lambda fs, at: fs("copy", src=at / "more", dst=at / "sub"),
    "delete": lambda fs, at: fs("delete", path=at / "sub/deep/f"),
    "delete tree": lambda fs, at: fs("delete", path=at / "sub/deep", recursive=True),
    "move out of": lambda fs, at: fs("move", src=at / "sub/deep", dst=at / "moved"),
    "move into": lambda fs, at: fs("move", src=at / "a.txt", dst=at / "sub/new"),
}
RACED = [
    *((name, "allow") for name in ("read", "write", "copy tree", "copy tree into", "delete tree", "move out of")),
    ("read", "deny"), ("copy tree into", "deny"),
]  # fmt: skip


@pytest.mark.usefixtures("restless")
@pytest.mark.parametrize(("name", "rules"), RACED)
def test_no_action_is_led_out_by_a_directory_that_keeps_turning_into_a_link(fs, world, name, rules):
    fs.rules = world.rules(rules)
    (world.inside / "more/deep").mkdir(parents=True)
    (world.inside / "more/deep/f").write_text("x")
    before = world.snapshot()
    outcomes = {True: 0, False: 0}
    with swapping(world) as swaps:
        end = time.monotonic() + 1
        while time.monotonic() < end:
            told = attempt(fs, world, name)
            outcomes[told is not None] += 1
            assert CANARY not in json.dumps(told)
            refill(world)
        assert next(swaps) > 50
    assert world.snapshot() == before
    assert world.leaks() == []
    assert min(outcomes.values()) > 0, "there was no race"


def attempt(fs, world, name):
    """Return the answer of an action, or None where it failed with an error that is meant to be."""
    try:
        return ACTIONS[name](fs, world.inside)
    except OpcodeError as error:
        failed = error
    assert failed.code in ("PATH_DENIED", "EXECUTION_ERROR", "CONFLICT", "VALIDATION_ERROR"), repr(failed)
    assert CANARY not in json.dumps([failed.message, failed.details])
    return None


CALLS = [
    "open",
    "stat",
    "fstat",
    "readlink",
    "scandir",
    "mkdir",
    "symlink",
    "link",
    "rename",
    "unlink",
    "rmdir",
    "write",
]


@pytest.mark.parametrize("rules", ["allow", "deny"])
@pytest.mark.parametrize("name", ACTIONS)
def test_a_link_swapped_in_after_any_system_call_leads_nowhere(fs, world, monkeypatch, name, rules):
    """Swap after the first call, in a new world after the second, and so on until the action makes no more calls."""
    fs.rules = world.rules(rules)
    PathGuard.of(fs.rules)
    for moment in itertools.count(1):
        world.make()
        (world.inside / "more/deep").mkdir(parents=True)
        (world.inside / "more/deep/f").write_text("x")
        before = world.snapshot()
        with swapped_after(monkeypatch, world, moment) as swapped:
            told = attempt(fs, world, name)
        assert CANARY not in json.dumps(told), moment
        assert world.snapshot() == before, moment
        assert world.leaks() == [], moment
        if not swapped:
            break
    assert moment > 10


@contextmanager
def swapped_after(monkeypatch, world, moment):
    """Put a link in the place of `in/sub` after so many system calls."""
    made = itertools.count(1)
    swapped = []

    def calling(call):
        def called(*args, **kwargs):
            try:
                return call(*args, **kwargs)
            finally:
                if next(made) == moment:
                    swapped.append(moment)
                    with suppress(OSError):
                        rename(world.inside / "sub", world.inside / "aside")
                        symlink(world.out / "sub", world.inside / "sub")

        return called

    rename, symlink = os.rename, os.symlink
    with monkeypatch.context() as patch:
        for name in CALLS:
            patch.setattr(os, name, calling(getattr(os, name)))
        for known in ("supports_dir_fd", "supports_fd"):
            patch.setattr(os, known, getattr(os, known) | {getattr(os, name) for name in CALLS})
        yield swapped
