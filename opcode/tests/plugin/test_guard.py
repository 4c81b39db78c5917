import errno
import os
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest

from opcode_kernel import ActionError, PathGuard, PathRules
from opcode_kernel.plugin.paths import resolving, system


@pytest.fixture
def area(tmp_path):
    """Two sibling directories: `inside` is meant to be allowed, `outside` is not."""
    for name in ("inside/sub", "outside"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "outside/secret").write_text("s")
    (tmp_path / "inside/sub/f").write_text("f")
    return Path(os.path.realpath(tmp_path))


def only(path, **more):
    return PathGuard.of(PathRules(writable=(str(path),), **more))


def denied(guard, access, path, **more):
    with pytest.raises(ActionError) as caught:
        guard.reach(access, str(path), **more).close()
    assert (caught.value.code, caught.value.retryable) == ("PATH_DENIED", False)
    return caught.value


def open_descriptors():
    return len(list(Path("/dev/fd").iterdir()))


def test_a_place_is_used_through_its_directory_whatever_its_name_means_now(area):
    with only(area / "inside").reach("read", str(area / "inside/sub/f")) as place:
        (area / "inside/sub").rename(area / "inside/old")
        (area / "inside/sub").symlink_to(area / "outside")
        (area / "outside/f").write_text("s")
        descriptor = place.open(os.O_RDONLY)
        assert os.read(descriptor, 9) == b"f"
        os.close(descriptor)


def test_a_name_that_became_a_link_is_not_opened(area):
    with only(area / "inside").reach("read", str(area / "inside/sub/f")) as place:
        (area / "inside/sub/f").unlink()
        (area / "inside/sub/f").symlink_to(area / "outside/secret")
        with pytest.raises(OSError, match="symbolic link") as caught:
            place.open(os.O_RDONLY)
        assert caught.value.errno in (errno.ELOOP, errno.EMLINK)


def test_what_was_opened_is_judged_again(area):
    guard = PathGuard.of(PathRules(deny=(str(area / "outside/secret"),)))
    with guard.reach("read", str(area / "inside/sub/f")) as place:
        (area / "inside/sub/f").unlink()
        (area / "inside/sub/f").hardlink_to(area / "outside/secret")
        descriptor = place.open(os.O_RDONLY)
        with pytest.raises(ActionError):
            guard.check("read", place, os.fstat(descriptor))
        os.close(descriptor)


@pytest.mark.skipif(system.path_of(0) is None, reason="the system does not tell the path of a descriptor")
def test_a_directory_moved_on_the_way_is_judged_by_where_it_is_now(area, monkeypatch):
    guard = only(area / "inside")
    real = os.open

    def moving(path, *args, **kwargs):
        descriptor = real(path, *args, **kwargs)
        if path == "sub":
            (area / "inside/sub").rename(area / "outside/sub")
        return descriptor

    monkeypatch.setattr(os, "open", moving)
    monkeypatch.setattr(os, "supports_dir_fd", os.supports_dir_fd | {moving})
    denied(guard, "read", area / "inside/sub/f")


def test_where_nothing_may_be_looked_at_every_answer_is_the_same(area):
    guard = only(area / "inside")
    for name in ("secret", "none", "none/x", "secret/x", "x" * 300):
        reason = denied(guard, "read", area / "outside" / name).details["reason"]
        assert reason == "it is outside the allowed paths; add it to fs.writable_paths or fs.read_only_paths"


def test_a_name_is_judged_without_following_it(area):
    (area / "inside/link").symlink_to(area / "outside/secret")
    guard = only(area / "inside")
    denied(guard, "write", area / "inside/link")
    with guard.reach("write", str(area / "inside/link"), follow=False) as place:
        assert place.is_link
        place.remove()
    assert (area / "outside/secret").exists()


def test_a_name_is_judged_by_the_real_place_of_its_directory(area):
    (area / "inside/dir").symlink_to(area / "outside")
    denied(only(area / "inside"), "write", area / "inside/dir/secret", follow=False)


def test_a_place_says_which_links_led_to_it_and_what_is_missing(area):
    (area / "inside/l").symlink_to("m")
    (area / "inside/m").symlink_to("sub/new/deep")
    with only(area / "inside").reach("write", str(area / "inside/l")) as place:
        assert place.links == (str(area / "inside/l"), str(area / "inside/m"))
        assert (place.through_link, place.missing, place.name) == (True, ("new",), "deep")
        assert place.path == str(area / "inside/sub/new/deep")
        with pytest.raises(FileNotFoundError):
            place.open(os.O_WRONLY | os.O_CREAT)
    assert not (area / "inside/sub/new").exists()


def test_the_root_is_a_place(area):
    (area / "inside/root").symlink_to("/")
    for path in ("/", str(area / "inside/root")):
        with PathGuard.of(PathRules()).reach("read", path) as place:
            assert (place.path, place.is_dir) == ("/", True)
    (area / "inside/up").symlink_to("../..")
    with PathGuard.of(PathRules()).reach("read", str(area / "inside/up/..")) as place:
        assert place.path == str(area / "inside")


def test_links_are_followed_as_far_as_systems_do_and_no_further(area):
    for number in range(42):
        (area / "inside" / f"l{number}").symlink_to(f"l{number + 1}" if number < 41 else "sub/f")
    guard = only(area / "inside")
    with guard.reach("read", str(area / "inside/l2")) as place:
        assert place.path == str(area / "inside/sub/f")
    with pytest.raises(OSError, match="symbolic link") as caught:
        guard.reach("read", str(area / "inside/l1"))
    assert caught.value.errno == errno.ELOOP


def test_no_descriptor_stays_open_whatever_happens(area):
    (area / "inside/loop").symlink_to("loop")
    (area / "inside/out").symlink_to(area / "outside")
    guard, before = only(area / "inside"), open_descriptors()
    for name in ("sub/f", "none/x", "loop", "loop/x", "out/secret", "sub/f/x", "x" * 300, "../outside"):
        with pytest.raises((ActionError, OSError)), guard.reach("read", str(area / "inside" / name)):
            raise FileNotFoundError  # those that are reached
    assert open_descriptors() == before


def test_no_descriptor_stays_open_when_what_was_opened_cannot_be_described(area, monkeypatch):
    def stale(descriptor):
        raise OSError(errno.ESTALE, os.strerror(errno.ESTALE))

    guard, before = only(area / "inside"), open_descriptors()
    with monkeypatch.context() as patch:
        patch.setattr(os, "fstat", stale)
        with pytest.raises(OSError, match="tale"):
            guard.reach("read", str(area / "inside/sub/f"))
    assert open_descriptors() == before


def test_rules_say_what_they_are_spelled_by(area):
    (area / "alias").symlink_to("inside")
    guard = only(area / "alias" / "sub")
    assert guard.keeps(str(area / "inside/sub"))
    assert guard.keeps(str(area / "alias"))
    assert guard.keeps(str(area))
    assert not guard.keeps(str(area / "inside/sub/f"))
    assert not guard.keeps(str(area / "outside"))


def test_rules_are_resolved_anew_when_what_they_name_has_changed(area):
    rules = PathRules(deny=(str(area / "private"),), writable=(str(area),))
    PathGuard.of(rules).reach("read", str(area / "outside/secret")).close()
    (area / "private").symlink_to("outside")
    denied(PathGuard.of(rules), "read", area / "outside/secret")
    (area / "private").unlink()
    (area / "private").symlink_to("inside")
    PathGuard.of(rules).reach("read", str(area / "outside/secret")).close()
    denied(PathGuard.of(rules), "read", area / "inside/sub/f")


def test_a_rule_for_what_is_not_there_yet_follows_a_link_put_above_it(area):
    rules = PathRules(deny=(str(area / "inside/sub/new"),))
    denied(PathGuard.of(rules), "write", area / "inside/sub/new")
    (area / "inside").rename(area / "moved")
    (area / "inside").symlink_to("moved")
    denied(PathGuard.of(rules), "write", area / "inside/sub/new")
    denied(PathGuard.of(rules), "write", area / "moved/sub/new")


def test_rules_that_did_not_change_are_resolved_once(area, monkeypatch):
    rules = PathRules(deny=(str(area / "outside"),), writable=(str(area / "none"),))
    first = PathGuard.of(rules)
    monkeypatch.setattr("opcode_kernel.plugin.paths.rules.resolve", None)
    assert PathGuard.of(rules) is first


def test_the_root_of_a_tree_seen_elsewhere_is_denied_there_too(area):
    """A bind mount has the identity of what it shows; here the identity stands in for it."""
    (area / "seen").mkdir()
    guard = PathGuard.of(PathRules(deny=(str(area / "seen"),)))
    (area / "seen").rename(area / "inside/elsewhere")
    denied(guard, "read", area / "inside/elsewhere/below")


def test_a_system_without_relative_calls_is_told_in_words(area, monkeypatch):
    monkeypatch.setattr(system, "_MISSING", ["rename"])
    with pytest.raises(ActionError) as caught:
        PathGuard.of(PathRules()).reach("read", str(area))
    assert (caught.value.code, caught.value.retryable) == ("EXECUTION_ERROR", False)
    assert "rename" in caught.value.message


def test_where_the_system_tells_no_paths_the_names_on_the_way_count(area, monkeypatch):
    monkeypatch.setattr(resolving, "path_of", lambda descriptor: None)
    (area / "inside/dir").symlink_to(area / "outside")
    guard = only(area / "inside")
    denied(guard, "read", area / "inside/dir/secret")
    guard.reach("read", str(area / "inside/sub/f")).close()


def test_a_working_directory_that_is_gone_is_said(area, monkeypatch):
    (area / "gone").mkdir()
    monkeypatch.chdir(area / "gone")
    (area / "gone").rmdir()
    with pytest.raises(ActionError) as caught:
        PathGuard.of(PathRules()).reach("read", "f")
    assert (caught.value.code, caught.value.details["errno"]) == ("EXECUTION_ERROR", "ENOENT")


@contextmanager
def place_in(guard, path):
    with guard.reach("write", str(path), follow=False) as place:
        yield place


@pytest.mark.parametrize("kind", ["file", "link", "directory"])
def test_a_name_that_is_taken_meanwhile_is_not_replaced(area, kind):
    source, target = area / "inside/source", area / "inside/target"
    {"file": source.touch, "link": lambda: source.symlink_to("x"), "directory": source.mkdir}[kind]()
    guard = only(area / "inside")
    with place_in(guard, source) as old, place_in(guard, target) as new:
        target.mkdir() if kind == "directory" else target.touch()
        with pytest.raises(FileExistsError):
            old.rename(new, replace=False)
        assert os.path.lexists(source)
        target.rmdir() if kind == "directory" else target.unlink()
        old.rename(new, replace=False)
    assert os.path.lexists(target)
    assert not os.path.lexists(source)


SHOWS = """
import sys
from opcode_kernel import ActionError, PathGuard, PathRules
for name in ("self/environ", "/".join(("self", "root", "etc")), "self/fd", "1/mem", "self/cwd", "self/status", "version"):
    try:
        PathGuard.of(PathRules()).reach("read", f"{sys.argv[1]}/{name}").close()
        print(name, "open")
    except ActionError as error:
        print(name, error.code)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="there is no /proc")
def test_processes_are_closed_wherever_they_are_shown(area):
    """In a mount namespace of its own, so that nothing of it is left."""
    done = subprocess.run(
        ["unshare", "-m", "sh", "-c", 'mount -t proc proc "$1" && exec "$0" -c "$2" "$1"', sys.executable, area / "outside", SHOWS],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode and "Traceback" not in done.stderr:
        pytest.skip(f"no file system can be mounted here: {done.stderr.strip()}")
    answers = dict(line.rsplit(" ", 1) for line in done.stdout.splitlines())
    assert {name for name, answer in answers.items() if answer == "open"} == {"self/status", "version"}, done.stderr
