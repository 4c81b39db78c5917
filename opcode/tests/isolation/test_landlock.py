"""Lists of allowed paths bind a command and all it starts, root included."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest

from opcode_kernel.isolation import PathAccess, ProcessLimits

pytestmark = pytest.mark.anyio


#: Where everybody may write, and a command that is bound may not.
OUTSIDE = Path(tempfile.gettempdir()) / "opcode-landlock-outside"


@pytest.fixture(autouse=True)
def _needed(there):
    if not there.can_isolate_fs:
        pytest.skip(f"no Landlock that is new enough: {dict(there.lines())['files']}")


@pytest.fixture
def place(tmp_path):
    """A directory with what may be read, what may be written, and what may not be reached."""
    for name in ("read", "write", "closed"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_text(name)
    (tmp_path / "write" / "link").symlink_to(tmp_path / "closed" / "file")
    (tmp_path / "write" / "dangling").symlink_to(tmp_path / "closed" / "new")
    return tmp_path


def only(place, **more) -> ProcessLimits:
    paths = PathAccess(
        writable=(str(place / "write"),), read_only=(str(place / "read"),), restricted=True, **more
    )  # fmt: skip
    return ProcessLimits(paths=paths)


@pytest.mark.parametrize(
    "attempt", ["cat closed/file", "cat write/link", "echo x > write/dangling", "echo x > read/file", "echo x > read/new",
                "rm read/file", "mv read/file write/moved", "ln closed/file write/hard && cat write/hard", "mkdir closed/d",
                "truncate -s 0 read/file", "truncate -s 0 closed/file", "ls closed", "cp closed/file write/copy", "rm -r closed",
                "mv closed write/closed", "cd closed && cat file", "sh -c 'cat closed/file'", "setsid -w cat closed/file",
                "ln -s ../closed write/way && cat write/way/file", "cat /proc/1/root{place}/closed/file",
                "cat /proc/{pid}/cwd/closed/file", f"touch {OUTSIDE}",
                "mount --bind closed write && cat write/file", "unshare -rm cat closed/file", "chroot . /bin/cat closed/file",
                "cat closed/../closed/file"],
)  # fmt: skip
async def test_nothing_else_is_reached(run, place, attempt, tmp_path_factory):
    line = attempt.format(place=place, pid=os.getpid())
    done = await run(line, limits=only(place), cwd=str(place))
    assert done.code != 0
    assert "closed" not in done.out
    assert sorted(path.name for path in place.iterdir()) == ["closed", "read", "write"]
    for name in ("closed", "read"):
        assert [path.name for path in (place / name).iterdir()] == ["file"]
        assert (place / name / "file").read_text() == name
    assert not OUTSIDE.exists()


async def test_what_is_allowed_works(run, place):
    line = (
        "cat read/file write/file; echo new > write/new; rm write/file; mkdir write/d; mv write/new write/d/new; "
        "cat write/d/new; echo to-null > /dev/null; ls / > /dev/null; head -c 2 /dev/urandom | wc -c; pwd"
    )
    done = await run(line, limits=only(place), cwd=str(place))
    assert done.out.split() == ["readwritenew", "2", str(place)]


async def test_a_program_outside_of_the_allowed_places_does_not_start(launcher, place):
    program = place / "closed" / "tool"
    program.write_text("#!/bin/sh\necho ran\n")
    program.chmod(0o755)
    with pytest.raises(PermissionError) as caught:
        await launcher.spawn([str(program)], limits=only(place))
    assert caught.value.filename == str(program)


async def test_a_program_in_a_writable_or_readable_place_starts(run, place):
    for name in ("read", "write"):
        program = place / name / "tool"
        program.write_text("#!/bin/sh\necho ran\n")
        program.chmod(0o755)
        assert (await run([str(program)], limits=only(place))).out == "ran\n"


async def test_what_is_denied_inside_of_what_is_allowed_is_covered(run, place, there):
    if not there.has("mount"):
        pytest.skip("no mount namespaces here")
    (place / "write" / "key").write_text("hidden")
    limits = only(place, covered=(str(place / "write" / "key"),), denies=True)
    done = await run("cat write/file; cat write/key; umount write/key; cat write/key", limits=limits, cwd=str(place))
    assert done.out == "write"


async def test_paths_that_do_not_exist_allow_nothing_and_break_nothing(run, place):
    paths = PathAccess(writable=(str(place / "none"),), restricted=True)
    done = await run(f"echo up; cat {place}/read/file", limits=ProcessLimits(paths=paths))
    assert done.out == "up\n"


async def test_a_user_who_is_not_root_is_bound_too(user_launcher, runner, shared):
    run = runner(user_launcher)
    (shared / "open").mkdir(mode=0o777)
    (shared / "closed").write_text("closed")
    (shared / "closed").chmod(0o644)
    (shared / "open").chmod(0o777)
    limits = ProcessLimits(paths=PathAccess(writable=(str(shared / "open"),), restricted=True))
    line = f"echo x > {shared}/open/new; cat {shared}/open/new {shared}/closed; cat /proc/{user_launcher.pid}/environ"
    done = await run(line, limits=limits)
    assert (done.out, done.code) == ("x\n", 1)
