import errno
import os
import subprocess
import sys

import pytest

from opcode_kernel import PathRules


def names(answer):
    return [entry["name"] for entry in answer["entries"]]


@pytest.mark.parametrize("given", [{}, {"pattern": "*"}, {"recursive": True}])
def test_listing_a_missing_directory_or_a_file_fails(fs, area, given):
    (area / "f").write_text("")
    assert fs.fails("list", path=area / "none", **given).details["errno"] == "ENOENT"
    assert fs.fails("list", path=area / "f", **given).details["errno"] == "ENOTDIR"


@pytest.mark.parametrize("recursive", [False, True])
@pytest.mark.parametrize("pattern", ["../*", "[", "a/../b"])
def test_a_bad_pattern_is_a_validation_error_in_every_mode(fs, area, pattern, recursive):
    assert fs.fails("list", path=area, pattern=pattern, recursive=recursive).code == "VALIDATION_ERROR"


def test_an_empty_directory_lists_as_nothing(fs, area):
    assert fs("list", path=area) == {"path": str(area), "entries": [], "truncated": False, "errors": []}


def test_a_listing_is_in_lexical_order_and_describes_links_themselves(fs, tree):
    answer = fs("list", path=tree, recursive=True)
    assert [entry["path"] for entry in answer["entries"]] == [
        str(tree / name) for name in ("a.txt", "sub", "sub/b.txt", "sub/link")
    ]
    assert [entry["is_dir"] for entry in answer["entries"]] == [False, True, False, False]
    assert [entry["is_symlink"] for entry in answer["entries"]] == [False, False, False, True]
    assert answer["entries"][0]["size"] == 3
    assert names(fs("list", path=tree)) == ["a.txt", "sub"]


def test_a_pattern_matches_names_and_with_a_slash_relative_paths(fs, tree):
    assert names(fs("list", path=tree, pattern="*.txt")) == ["a.txt"]
    assert names(fs("list", path=tree, pattern="*.txt", recursive=True)) == ["a.txt", "b.txt"]
    assert names(fs("list", path=tree, pattern="sub/*")) == ["b.txt", "link"]
    assert names(fs("list", path=tree, pattern="**/*.txt")) == ["a.txt", "b.txt"]
    assert names(fs("list", path=tree, pattern="")) == ["a.txt", "sub"]


def test_linked_directories_are_not_entered(fs, tree, area):
    (area / "link").symlink_to(tree)
    answer = fs("list", path=area, recursive=True, pattern="a.txt")
    assert [entry["path"] for entry in answer["entries"]] == [str(tree / "a.txt")]


def test_the_listed_path_may_be_a_link_and_entries_keep_its_name(fs, tree, area):
    (area / "link").symlink_to(tree)
    assert fs("list", path=area / "link")["entries"][0]["path"] == str(area / "link" / "a.txt")


def test_denied_entries_are_left_out(fs, tree):
    fs.rules = PathRules(deny=(str(tree / "sub"),))
    assert names(fs("list", path=tree, recursive=True)) == ["a.txt"]


def test_a_long_listing_is_cut_and_says_so(fs, area):
    for number in range(5):
        (area / str(number)).write_text("")
    answer = fs("list", path=area, max_entries=3)
    assert (names(answer), answer["truncated"]) == (["0", "1", "2"], True)
    assert fs("list", path=area, max_entries=5)["truncated"] is False


def test_a_walk_has_a_limit_of_entries(fs, area):
    fs.rules = PathRules(max_tree_entries=3)
    (area / "in").mkdir()
    for number in range(3):
        (area / "in" / str(number)).write_text("")
    error = fs.fails("list", path=area, recursive=True)
    assert (error.code, error.retryable) == ("EXECUTION_ERROR", False)
    assert error.details["path"] == str(area)
    assert fs.fails("delete", path=area, recursive=True).details["reason"] == "too_large"
    assert len(list((area / "in").iterdir())) == 3
    assert "fs.max_tree_entries" in error.message


def test_a_directory_alone_is_listed_however_much_it_holds(fs, area):
    fs.rules = PathRules(max_tree_entries=3, max_list_entries=4)
    for number in range(9):
        (area / str(number)).write_text("")
    answer = fs("list", path=area)
    assert (names(answer), answer["truncated"]) == (["0", "1", "2", "3"], True)
    assert len(names(fs("list", path=area, max_entries=9))) == 9
    assert fs("list", path=area, pattern="[5-8]") | {"entries": []} == {
        "path": str(area), "entries": [], "truncated": False, "errors": [],
    }  # fmt: skip


def test_a_walk_has_a_limit_of_depth(fs, area):
    deep = area.joinpath("root", *("d" * 257))
    deep.mkdir(parents=True)
    assert "256 levels" in fs.fails("list", path=area / "root", recursive=True).message
    assert "256 levels" in fs.fails("delete", path=area / "root", recursive=True).message
    assert deep.exists()


@pytest.mark.usefixtures("permissions")
@pytest.mark.parametrize("mode", [0, 0o100])
def test_an_unreadable_directory_is_skipped_and_reported(fs, tree, mode):
    (tree / "sub").chmod(mode)
    answer = fs("list", path=tree, recursive=True)
    (tree / "sub").chmod(0o755)
    assert names(answer) == ["a.txt", "sub"]
    assert answer["errors"] == [{"path": str(tree / "sub"), "message": "permission denied", "errno": "EACCES"}]


@pytest.mark.skipif(sys.platform != "linux", reason="to read names is to go through elsewhere")
@pytest.mark.usefixtures("permissions")
@pytest.mark.parametrize("recursive", [False, True])
def test_what_may_not_be_looked_at_is_listed_with_what_is_known(fs, tree, recursive):
    (tree / "sub" / "inner").mkdir()
    (tree / "sub").chmod(0o400)
    answer = fs("list", path=tree / "sub", recursive=recursive)
    whole = fs("list", path=tree, recursive=True)
    assert fs.fails("delete", path=tree, recursive=True).details["errno"] == "EACCES"
    (tree / "sub").chmod(0o755)
    known = [("b.txt", False, False), ("inner", True, False), ("link", False, True)]
    assert [(entry["name"], entry["is_dir"], entry["is_symlink"]) for entry in answer["entries"]] == known
    assert {(entry["size"], entry["modified_at"]) for entry in answer["entries"]} == {(None, None)}
    unread = {"path": str(tree / "sub" / "inner"), "message": "permission denied", "errno": "EACCES"}
    assert answer["errors"] == ([unread] if recursive else [])
    assert (names(whole), whole["errors"]) == (["a.txt", "sub", "b.txt", "inner", "link"], [unread])


@pytest.mark.parametrize("recursive", [False, True])
@pytest.mark.parametrize(("error", "left"), [
    (errno.ENOENT, ["a", "c"]), (errno.ESTALE, ["a", "c"]), (errno.EACCES, ["a", "b", "c"]), (errno.ENOTCONN, ["a", "b", "c"]),
])  # fmt: skip
def test_one_entry_that_vanishes_or_cannot_be_looked_at_does_not_fail_the_rest(
    fs, area, monkeypatch, recursive, error, left
):
    for name in "abc":
        (area / name).write_text("x")
    look = os.stat

    def failing(path, **how):
        if path == "b" and "dir_fd" in how:
            raise OSError(error, os.strerror(error))
        return look(path, **how)

    monkeypatch.setattr(os, "stat", failing)
    answer = fs("list", path=area, recursive=recursive)
    assert (names(answer), answer["errors"]) == (left, [])
    assert [entry["size"] for entry in answer["entries"]] == [None if name == "b" else 1 for name in left]


@pytest.mark.skipif(not (hasattr(os, "O_PATH") or hasattr(os, "O_SEARCH")), reason="to go through is to read here")
@pytest.mark.usefixtures("permissions")
def test_a_directory_that_may_only_be_gone_through_is_gone_through(fs, tree):
    (tree / "sub").chmod(0o100)
    try:
        assert fs("read", path=tree / "sub/b.txt")["content"] == "defg"
        assert fs.fails("list", path=tree / "sub").details["errno"] == "EACCES"
    finally:
        (tree / "sub").chmod(0o755)


@pytest.mark.usefixtures("permissions")
def test_a_tree_that_cannot_be_read_whole_is_not_touched(fs, tree, area):
    (tree / "sub").chmod(0)
    for name, given in (
        ("delete", {"path": tree}),
        ("copy", {"src": tree, "dst": area / "x"}),
        ("move", {"src": tree, "dst": area / "x"}),
    ):
        assert fs.fails(name, **given, **({"recursive": True} if name == "delete" else {})).details["errno"] == "EACCES"
    (tree / "sub").chmod(0o755)
    assert (tree / "sub/b.txt").exists()
    assert [path.name for path in area.iterdir()] == ["tree"]


def test_a_name_that_is_not_utf8_is_shown_with_replacement_characters(fs, area):
    try:
        (area / os.fsdecode(b"a\xff")).write_text("")
    except OSError:
        pytest.skip("this file system takes UTF-8 names only")
    assert names(fs("list", path=area)) == ["a\ufffd"]


@pytest.mark.parametrize("seconds", [2**40, -(2**40)])
def test_a_time_far_from_any_calendar_is_still_a_timestamp(seconds):
    from opcode_fs.listing import timestamp

    class Info:
        st_mtime_ns = seconds * 1_000_000_000

    assert timestamp(Info()).endswith("Z")


def test_deleting_what_is_not_there_fails_unless_recursive(fs, area):
    assert fs.fails("delete", path=area / "none").details["errno"] == "ENOENT"
    answer = fs("delete", path=area / "none", recursive=True)
    assert answer == {"path": str(area / "none"), "deleted": True, "existed": False}


def test_a_directory_that_is_not_empty_needs_recursive(fs, tree):
    assert fs.fails("delete", path=tree).details["errno"] == "ENOTEMPTY"
    assert fs("delete", path=tree, recursive=True)["existed"] is True
    assert not tree.exists()


def test_deleting_a_link_leaves_its_target(fs, tree, area):
    (area / "link").symlink_to(tree)
    assert fs("delete", path=area / "link", recursive=True)["existed"] is True
    assert (tree / "a.txt").exists()


def test_files_and_empty_directories_are_deleted(fs, tree, area):
    (area / "empty").mkdir()
    fs("delete", path=area / "empty")
    fs("delete", path=tree / "a.txt")
    assert not (area / "empty").exists()
    assert not (tree / "a.txt").exists()


def test_a_tree_with_a_denied_entry_is_not_touched(fs, tree):
    fs.rules = PathRules(deny=(str(tree / "sub" / "b.txt"),))
    assert fs.fails("delete", path=tree, recursive=True).code == "PATH_DENIED"
    assert (tree / "a.txt").exists()


def test_the_data_directory_cannot_be_deleted_with_its_parent(fs, tree):
    fs.rules = PathRules(data_dir=str(tree / "sub"))
    assert fs.fails("delete", path=tree, recursive=True).code == "PATH_DENIED"
    assert (tree / "a.txt").exists()


def test_roots_the_working_directory_and_allowed_paths_are_kept(fs, tree, monkeypatch):
    monkeypatch.chdir(tree / "sub")
    for path in ("/", ".", tree, "/proc"):
        assert fs.fails("delete", path=path, recursive=True).code == "PATH_DENIED"
    monkeypatch.chdir("/")
    fs.rules = PathRules(writable=(str(tree),))
    assert fs.fails("delete", path=tree, recursive=True).code == "PATH_DENIED"
    fs("delete", path=tree / "sub", recursive=True)


def test_a_link_inside_an_allowed_directory_is_deleted_by_its_own_place(fs, tree, area):
    (area / "outside").write_text("x")
    (tree / "out").symlink_to(area / "outside")
    fs.rules = PathRules(writable=(str(tree),))
    fs("delete", path=tree / "out")
    assert (area / "outside").exists()


DELETES = """
import sys
from opcode_kernel import ActionError
from opcode_kernel.testing import FakeContext
import opcode_fs
actions = {action.name: action for action in opcode_fs.opcode_actions()}
for name, params in (("fs.delete", {"recursive": True}), ("fs.move", {"src": sys.argv[1], "dst": sys.argv[1] + "2"})):
    action = actions[name]
    try:
        action.run(FakeContext(), action.decoder.decode({"path": sys.argv[1], **params}))
    except ActionError as error:
        print(error.code)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="there are no bind mounts")
def test_a_tree_with_something_mounted_in_it_is_not_deleted_nor_moved(tree, area):
    """A bind mount has the device of its parent; in a mount namespace of its own, so that nothing of it is left."""
    (area / "precious").mkdir()
    (area / "precious/f").write_text("x")
    (tree / "sub/mounted").mkdir()
    script = 'mount --bind "$1" "$2/sub/mounted" && exec "$0" -c "$3" "$2"'
    done = subprocess.run(
        ["unshare", "-m", "sh", "-c", script, sys.executable, area / "precious", tree, DELETES],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode and "Traceback" not in done.stderr:
        pytest.skip(f"nothing can be mounted here: {done.stderr.strip()}")
    assert done.stdout.split() == ["PATH_DENIED", "PATH_DENIED"], done.stderr
    assert (area / "precious/f").exists()
    assert (tree / "a.txt").exists()


def test_a_listing_gives_back_its_descriptors_when_it_is_cut(fs, area):
    area.joinpath("a/b/c/d").mkdir(parents=True)
    before = len(list(os.scandir("/dev/fd")))
    assert fs("list", path=area, recursive=True, max_entries=3)["truncated"]
    assert len(list(os.scandir("/dev/fd"))) == before
