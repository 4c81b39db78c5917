import errno
import os
import shutil
import stat
import tempfile
from dataclasses import replace
from pathlib import Path

import pytest

from opcode_kernel import Directory, PathRules, Place


def contents(root):
    return {
        str(path.relative_to(root)): str(path.readlink()) if path.is_symlink() else path.read_text()
        for path in sorted(root.rglob("*"))
        if path.is_symlink() or path.is_file()
    }


WHOLE = {"a.txt": "abc", "sub/b.txt": "defg", "sub/link": "b.txt"}


@pytest.fixture
def elsewhere(area):
    """A directory on another file system."""
    memory = Path("/dev/shm")
    if not memory.is_dir() or memory.stat().st_dev == area.stat().st_dev:
        pytest.skip("there is no second file system")
    path = Path(tempfile.mkdtemp(dir=memory))
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.mark.parametrize("name", ["copy", "move"])
def test_a_missing_source_or_target_directory_fails(fs, tree, area, name):
    assert fs.fails(name, src=area / "none", dst=area / "x").details["errno"] == "ENOENT"
    assert fs.fails(name, src=tree / "a.txt", dst=area / "no" / "x").details["errno"] == "ENOENT"
    assert fs.fails(name, src=tree, dst=area / "no" / "x").details["errno"] == "ENOENT"
    assert fs.fails(name, src=tree / "a.txt").code == "VALIDATION_ERROR"
    assert sorted(path.name for path in area.iterdir()) == ["tree"]


@pytest.mark.parametrize("name", ["copy", "move"])
def test_create_dirs_makes_the_parents_of_the_target(fs, tree, area, name):
    answer = fs(name, src=tree, dst=area / "x" / "y", create_dirs=True)
    assert answer == {"src": str(tree), "dst": str(area / "x" / "y"), "size": 7, "is_dir": True}
    assert contents(area / "x" / "y") == WHOLE
    assert fs(name, src=area / "x" / "y" / "a.txt", dst=area / "z" / "f", create_dirs=True)["size"] == 3


def test_copying_a_file_onto_itself_is_refused_and_leaves_it_whole(fs, tree):
    (tree / "alias").symlink_to("a.txt")
    os.link(tree / "a.txt", tree / "hard")
    for dst in ("a.txt", "alias", "hard", "sub/../a.txt"):
        assert fs.fails("copy", src=tree / "a.txt", dst=f"{tree}/{dst}").code == "VALIDATION_ERROR"
    assert (tree / "a.txt").read_text() == "abc"


@pytest.mark.parametrize("name", ["copy", "move"])
def test_a_directory_cannot_go_into_itself(fs, tree, name):
    assert fs.fails(name, src=tree, dst=tree / "new" / "x", create_dirs=True).code == "VALIDATION_ERROR"
    assert not (tree / "new").exists()
    assert contents(tree) == WHOLE


def test_a_copied_file_replaces_the_target_and_keeps_the_permission_bits(fs, tree, area):
    (tree / "a.txt").chmod(0o640)
    (area / "old").write_text("something longer")
    assert fs("copy", src=tree / "a.txt", dst=area / "old") == {
        "src": str(tree / "a.txt"), "dst": str(area / "old"), "size": 3, "is_dir": False,
    }  # fmt: skip
    assert (area / "old").read_text() == "abc"
    assert stat.S_IMODE((area / "old").stat().st_mode) == 0o640


def test_a_file_and_a_directory_do_not_replace_each_other_by_copying(fs, tree, area):
    (area / "file").write_text("x")
    assert fs.fails("copy", src=tree / "a.txt", dst=tree / "sub").details["errno"] == "EISDIR"
    assert fs.fails("copy", src=tree, dst=area / "file").details["errno"] == "ENOTDIR"


def test_copying_a_directory_merges_and_keeps_links(fs, tree, area):
    (area / "copy" / "sub").mkdir(parents=True)
    (area / "copy" / "sub" / "b.txt").write_text("old")
    (area / "copy" / "other").write_text("stays")
    assert fs("copy", src=tree, dst=area / "copy")["size"] == 7
    assert contents(area / "copy") == {**WHOLE, "other": "stays"}


def test_a_conflict_deep_in_a_merge_is_found_before_anything_is_written(fs, tree, area):
    (area / "copy" / "sub" / "b.txt").mkdir(parents=True)
    assert fs.fails("copy", src=tree, dst=area / "copy").details["errno"] == "EISDIR"
    assert not (area / "copy" / "a.txt").exists()
    shutil.rmtree(area / "copy" / "sub")
    (area / "copy" / "sub").symlink_to(tree)
    assert fs.fails("copy", src=tree, dst=area / "copy").details["errno"] == "ENOTDIR"


def test_a_tree_with_a_denied_descendant_is_not_copied_at_all(fs, tree, area):
    fs.rules = PathRules(deny=(str(tree / "sub" / "b.txt"),))
    assert fs.fails("copy", src=tree, dst=area / "copy").code == "PATH_DENIED"
    assert not (area / "copy").exists()


def test_a_tree_is_not_copied_over_a_denied_place(fs, tree, area):
    fs.rules = PathRules(deny=(str(area / "copy" / "sub"),))
    assert fs.fails("copy", src=tree, dst=area / "copy").code == "PATH_DENIED"
    assert fs.fails("move", src=tree, dst=area / "copy").code == "PATH_DENIED"
    assert not (area / "copy").exists()


def test_a_link_that_leads_out_of_the_allowed_paths_is_not_copied(fs, tree, area):
    (area / "secret").write_text("s")
    (tree / "sub" / "out").symlink_to(area / "secret")
    (area / "free").mkdir()
    fs.rules = PathRules(writable=(str(area / "free"),), read_only=(str(tree),))
    assert fs.fails("copy", src=tree, dst=area / "free" / "copy").code == "PATH_DENIED"
    assert list((area / "free").iterdir()) == []


def test_a_link_that_would_lead_out_from_its_new_place_is_not_copied(fs, tree, area):
    (tree / "up").symlink_to("sub/../a.txt")
    (tree / "sub" / "up").symlink_to("../a.txt")
    (area / "free").mkdir()
    fs.rules = PathRules(writable=(str(area / "free" / "copy"),), read_only=(str(tree),))
    assert fs.fails("copy", src=tree / "sub", dst=area / "free" / "copy").code == "PATH_DENIED"


def test_a_tree_with_a_pipe_is_not_copied_and_can_be_moved(fs, tree, area):
    os.mkfifo(tree / "fifo")
    assert fs.fails("copy", src=tree, dst=area / "copy").code == "VALIDATION_ERROR"
    assert not (area / "copy").exists()
    fs("move", src=tree, dst=area / "moved")
    assert (area / "moved" / "fifo").is_fifo()


def test_a_copy_has_a_limit_of_bytes(fs, tree, area):
    fs.rules = PathRules(max_tree_bytes=6)
    error = fs.fails("copy", src=tree, dst=area / "copy")
    assert (error.code, error.retryable) == ("EXECUTION_ERROR", False)
    assert not (area / "copy").exists()


def test_a_file_that_grows_while_it_is_copied_does_not_pass_the_limit(fs, tree, area, monkeypatch):
    fs.rules = PathRules(max_tree_bytes=100)
    real = os.read

    def growing(descriptor, size):
        with (tree / "a.txt").open("a") as file:
            file.write("x" * 50)
        return real(descriptor, size)

    monkeypatch.setattr(os, "read", growing)
    assert fs.fails("copy", src=tree, dst=area / "copy").details["reason"] == "too_large"
    assert [path.name for path in area.iterdir()] == ["tree"]


def test_a_tree_as_deep_as_allowed_is_copied_moved_and_deleted(fs, area):
    deep = area.joinpath("root", *("d" * 255))
    deep.mkdir(parents=True)
    (deep / "f").write_text("x")
    before = len(list(os.scandir("/dev/fd")))
    assert fs("copy", src=area / "root", dst=area / "copy")["size"] == 1
    assert fs("move", src=area / "copy", dst=area / "moved")["size"] == 1
    assert fs("delete", path=area / "moved", recursive=True)["existed"]
    assert len(list(os.scandir("/dev/fd"))) == before
    assert [path.name for path in area.iterdir()] == ["root"]


def test_a_moved_file_replaces_a_file_unless_told_not_to(fs, tree, area):
    (area / "old").write_text("old")
    error = fs.fails("move", src=tree / "a.txt", dst=area / "old", overwrite=False)
    assert (error.code, error.retryable) == ("CONFLICT", False)
    assert fs("move", src=tree / "a.txt", dst=area / "old") == {
        "src": str(tree / "a.txt"), "dst": str(area / "old"), "size": 3, "is_dir": False,
    }  # fmt: skip
    assert (area / "old").read_text() == "abc"
    assert not (tree / "a.txt").exists()


def test_moving_a_directory_onto_one_that_is_not_empty_is_a_conflict(fs, tree, area):
    (area / "other").mkdir()
    (area / "other" / "x").write_text("")
    assert fs.fails("move", src=tree, dst=area / "other").code == "CONFLICT"
    (area / "other" / "x").unlink()
    assert fs("move", src=tree, dst=area / "other")["size"] == 7
    assert contents(area / "other") == WHOLE


def test_moving_between_a_file_and_a_directory_is_a_conflict(fs, tree, area):
    (area / "empty").mkdir()
    assert fs.fails("move", src=tree / "a.txt", dst=area / "empty").code == "CONFLICT"
    assert fs.fails("move", src=area / "empty", dst=tree / "a.txt").code == "CONFLICT"


def test_moving_a_file_onto_itself_changes_nothing(fs, tree):
    assert fs("move", src=tree / "a.txt", dst=tree / "a.txt", overwrite=False)["size"] == 3
    assert (tree / "a.txt").read_text() == "abc"


def test_two_names_of_one_file_become_one_by_moving(fs, tree):
    (tree / "other").hardlink_to(tree / "a.txt")
    assert fs("move", src=tree / "a.txt", dst=tree / "other")["size"] == 3
    assert not (tree / "a.txt").exists()
    assert (tree / "other").read_text() == "abc"


def test_another_spelling_of_a_name_does_not_make_two_files_of_one(fs, tree, monkeypatch):
    """As where letter case does not matter: what is found under the new name is the file itself."""
    (tree / "sub" / "other").hardlink_to(tree / "a.txt")
    look = Directory.place
    monkeypatch.setattr(Directory, "place", lambda self, name: replace(look(self, name.lower()), name=name))
    monkeypatch.setattr(Place, "look", None)
    fs("move", src=tree / "a.txt", dst=tree / "A.txt")
    assert sorted(path.name for path in tree.iterdir()) == ["A.txt", "sub"]


def test_a_free_name_is_taken_without_overwriting(fs, tree, area):
    fs("move", src=tree / "a.txt", dst=area / "a", overwrite=False)
    fs("move", src=tree / "sub/link", dst=area / "link", overwrite=False)
    fs("move", src=tree, dst=area / "moved", overwrite=False)
    assert contents(area) == {"a": "abc", "link": "b.txt", "moved/sub/b.txt": "defg"}


def test_the_working_directory_and_its_parents_stay_where_they_are(fs, tree, area, monkeypatch):
    monkeypatch.chdir(tree / "sub")
    for name in ("tree/sub", "tree"):
        assert fs.fails("move", src=area / name, dst=area / "moved").code == "PATH_DENIED"
        assert fs.fails("delete", path=area / name, recursive=True).code == "PATH_DENIED"
    assert contents(tree) == WHOLE


def test_moving_a_link_moves_the_link(fs, tree, area):
    fs("move", src=tree / "sub" / "link", dst=area / "link")
    assert str((area / "link").readlink()) == "b.txt"
    assert (tree / "sub" / "b.txt").exists()


def test_moving_needs_write_access_to_both_ends_and_all_entries(fs, tree, area):
    (area / "free").mkdir()
    fs.rules = PathRules(writable=(str(area / "free"),), read_only=(str(area),))
    assert fs.fails("move", src=tree / "a.txt", dst=area / "free" / "x").code == "PATH_DENIED"
    fs.rules = PathRules(deny=(str(tree / "sub" / "b.txt"),))
    assert fs.fails("move", src=tree, dst=area / "x").code == "PATH_DENIED"
    fs.rules = PathRules(writable=(str(tree),))
    assert fs.fails("move", src=tree, dst=area / "x").code == "PATH_DENIED"


def test_a_move_to_another_file_system_copies_and_deletes(fs, tree, elsewhere):
    (tree / "a.txt").chmod(0o600)
    os.utime(tree / "a.txt", (1, 2))
    (tree / "sub").chmod(0o700)
    assert fs("move", src=tree, dst=elsewhere / "x")["size"] == 7
    assert not tree.exists()
    assert contents(elsewhere / "x") == WHOLE
    assert (elsewhere / "x" / "a.txt").stat().st_mtime == 2
    assert stat.S_IMODE((elsewhere / "x" / "a.txt").stat().st_mode) == 0o600
    assert stat.S_IMODE((elsewhere / "x" / "sub").stat().st_mode) == 0o700


def test_files_and_links_move_to_another_file_system(fs, tree, elsewhere):
    fs("move", src=tree / "a.txt", dst=elsewhere / "a.txt")
    fs("move", src=tree / "sub" / "link", dst=elsewhere / "link")
    assert contents(elsewhere) == {"a.txt": "abc", "link": "b.txt"}
    assert contents(tree) == {"sub/b.txt": "defg"}


def test_a_move_to_another_file_system_overwrites_only_when_told_to(fs, tree, elsewhere):
    (elsewhere / "old").write_text("old")
    for name in ("a.txt", "sub/link", "sub"):
        assert fs.fails("move", src=tree / name, dst=elsewhere / "old", overwrite=False).code == "CONFLICT"
        fs("copy", src=tree, dst=elsewhere / "copy")
    assert contents(tree) == WHOLE
    fs("move", src=tree / "sub", dst=elsewhere / "sub", overwrite=False)
    fs("move", src=tree / "a.txt", dst=elsewhere / "a.txt", overwrite=False)
    fs("move", src=elsewhere / "copy" / "a.txt", dst=elsewhere / "old")
    assert contents(elsewhere)["old"] == "abc"
    assert sorted(path.name for path in elsewhere.iterdir()) == ["a.txt", "copy", "old", "sub"]
    assert contents(tree) == {}


@pytest.mark.parametrize("name", ["a.txt", "sub/link", "sub"])
def test_what_appears_during_a_move_to_another_file_system_is_a_conflict_and_stays(
    fs, tree, elsewhere, monkeypatch, name
):
    target = elsewhere / "x"

    def appearing(call):
        def called(*args, **kwargs):
            if not target.exists():
                target.mkdir() if name == "sub" else target.write_text("first")
            return call(*args, **kwargs)

        return called

    monkeypatch.setattr(os, "fsync", appearing(os.fsync))
    monkeypatch.setattr(os, "symlink", appearing(os.symlink))
    error = fs.fails("move", src=tree / name, dst=target, overwrite=False)
    assert error.code == "CONFLICT"
    assert contents(tree) == WHOLE
    assert [path.name for path in elsewhere.iterdir()] == ["x"]


def test_a_link_that_leads_out_does_not_move_to_another_file_system(fs, tree, area, elsewhere):
    (area / "secret").write_text("s")
    (tree / "out").symlink_to(area / "secret")
    fs.rules = PathRules(writable=(str(tree), str(elsewhere)))
    assert fs.fails("move", src=tree / "out", dst=elsewhere / "out").code == "PATH_DENIED"
    fs.rules = PathRules(writable=(str(area), str(elsewhere)), deny=(str(area / "secret"),))
    assert fs.fails("move", src=tree, dst=elsewhere / "x").code == "PATH_DENIED"
    assert list(elsewhere.iterdir()) == []
    assert contents(tree) == {**WHOLE, "out": str(area / "secret")}


def test_a_failed_move_to_another_file_system_leaves_both_ends_as_they_were(fs, tree, elsewhere):
    os.mkfifo(tree / "fifo")
    assert fs.fails("move", src=tree, dst=elsewhere / "x").code == "VALIDATION_ERROR"
    assert list(elsewhere.iterdir()) == []
    assert {**contents(tree)} == WHOLE


@pytest.mark.usefixtures("permissions")
def test_a_failed_move_of_closed_directories_to_another_file_system_leaves_no_part(fs, tree, elsewhere, monkeypatch):
    rename = os.rename

    def failing(source, target, **within):
        if target == "x" and list(elsewhere.glob(".opcode-*/sub/b.txt")):
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        rename(source, target, **within)

    for directory in (tree / "sub", tree):
        directory.chmod(0o500)
    monkeypatch.setattr(os, "rename", failing)
    monkeypatch.setattr(os, "supports_dir_fd", os.supports_dir_fd | {failing})
    assert fs.fails("move", src=tree, dst=elsewhere / "x").details["errno"] == "EIO"
    assert list(elsewhere.iterdir()) == []
    assert contents(tree) == WHOLE


def test_a_link_reaches_the_other_disk_before_the_original_goes(fs, tree, elsewhere, monkeypatch):
    calls = []
    for name in ("fsync", "unlink"):
        call = getattr(os, name)
        told = lambda *args, name=name, call=call, **more: (calls.append(name), call(*args, **more))  # noqa: E731
        monkeypatch.setattr(os, name, told)
    fs("move", src=tree / "sub" / "link", dst=elsewhere / "link")
    assert calls == ["fsync", "unlink"]
