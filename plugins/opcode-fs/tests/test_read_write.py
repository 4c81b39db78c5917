import errno
import os
import shutil
import socket
import stat
import subprocess
from pathlib import Path

import pytest

from opcode_kernel import PathRules


def bits(path):
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.parametrize("name", ["read", "write", "append"])
def test_a_missing_path_or_content_is_a_validation_error(fs, name):
    assert fs.fails(name).code == "VALIDATION_ERROR"
    assert fs.fails(name, path="").code == "VALIDATION_ERROR"


def test_reading_a_missing_file_is_final_and_names_the_errno(fs, area):
    error = fs.fails("read", path=area / "none")
    assert (error.code, error.retryable, error.details["errno"]) == ("EXECUTION_ERROR", False, "ENOENT")


def test_reading_a_directory_or_through_a_file_fails(fs, area):
    (area / "file").write_text("x")
    assert fs.fails("read", path=area).details["errno"] == "EISDIR"
    assert fs.fails("read", path=area / "file" / "x").details["errno"] == "ENOTDIR"


@pytest.mark.parametrize("name", ["read", "write", "append", "stat", "delete", "list", "copy", "move"])
def test_a_pipe_is_refused_instead_of_waited_for(fs, area, name):
    os.mkfifo(area / "fifo")
    given = {"src": area / "fifo", "dst": area / "x"} if name in ("copy", "move") else {"path": area / "fifo"}
    if name in ("write", "append"):
        given["content"] = "x"
    assert fs.fails(name, **given).code == "VALIDATION_ERROR"


@pytest.mark.parametrize("name", ["read", "write", "append", "stat", "delete", "list"])
def test_a_socket_is_refused(fs, area, name, monkeypatch):
    monkeypatch.chdir(area)  # the path of a socket is short
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("socket")
        content = {"content": "x"} if name in ("write", "append") else {}
        assert fs.fails(name, path="socket", **content).code == "VALIDATION_ERROR"


@pytest.mark.parametrize("name", ["read", "stat", "list"])
def test_a_device_is_refused(fs, name):
    assert fs.fails(name, path="/dev/zero").code == "VALIDATION_ERROR"


def test_an_unknown_encoding_is_refused(fs, area):
    assert fs.fails("read", path=area, encoding="utf-16").code == "VALIDATION_ERROR"


def test_rules_hold_for_reading_and_writing(fs, area):
    (area / "secret").write_text("s")
    fs.rules = PathRules(writable=(str(area / "free"),))
    assert fs.fails("read", path=area / "secret").code == "PATH_DENIED"
    assert fs.fails("write", path=area / "secret", content="x").code == "PATH_DENIED"
    assert fs.fails("append", path=area / "secret", content="x").code == "PATH_DENIED"
    assert fs.fails("stat", path=area / "secret").code == "PATH_DENIED"


@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="there is no /proc")
def test_the_environment_of_a_process_cannot_be_read(fs):
    assert fs.fails("read", path="/proc/self/environ").code == "PATH_DENIED"


def test_writing_through_a_dangling_link_that_leads_out_creates_nothing(fs, area):
    (area / "free").mkdir()
    (area / "free" / "link").symlink_to(area / "out")
    fs.rules = PathRules(writable=(str(area / "free"),))
    assert fs.fails("write", path=area / "free" / "link", content="x").code == "PATH_DENIED"
    assert fs.fails("append", path=area / "free" / "link", content="x").code == "PATH_DENIED"
    assert not (area / "out").exists()


def test_read_answers_the_text_and_the_absolute_path(fs, area, monkeypatch):
    (area / "a.txt").write_bytes("hé\r\n".encode())
    monkeypatch.chdir(area)
    assert fs("read", path="./a.txt") == {
        "path": str(area / "a.txt"), "content": "hé\r\n", "encoding": "text", "size": 5, "truncated": False,
        "total_size": 5,
    }  # fmt: skip


def test_a_large_file_is_cut_and_says_so(fs, area):
    (area / "a").write_text("abcdef")
    fs.rules = PathRules(max_read_bytes=4)
    answer = fs("read", path=area / "a")
    assert (answer["content"], answer["size"], answer["truncated"], answer["total_size"]) == ("abcd", 4, True, 6)
    fs.rules = PathRules(max_read_bytes=6)
    assert fs("read", path=area / "a")["truncated"] is False


@pytest.mark.skipif(not Path("/proc/version").exists(), reason="there is no /proc")
def test_a_file_of_the_kernel_without_a_size_is_read_to_its_end(fs):
    answer = fs("read", path="/proc/version")
    assert answer["content"]
    assert answer["truncated"] is False
    fs.rules = PathRules(max_read_bytes=4)
    assert fs("read", path="/proc/version")["truncated"] is True


def test_write_without_the_directory_fails_and_create_dirs_makes_it(fs, area):
    path = area / "x" / "y" / "f"
    assert fs.fails("write", path=path, content="a").details["errno"] == "ENOENT"
    assert fs("write", path=path, content="a", create_dirs=True) == {"path": str(path), "size": 1}
    assert bits(area / "x") == 0o755 & ~_umask()


def test_create_dirs_makes_no_directory_outside_the_allowed_paths(fs, area):
    fs.rules = PathRules(writable=(str(area / "x" / "y"),))
    assert fs.fails("write", path=area / "x" / "y" / "f", content="a", create_dirs=True).code == "PATH_DENIED"
    assert not (area / "x").exists()


def test_write_onto_a_directory_fails(fs, area):
    assert fs.fails("write", path=area, content="x").details["errno"] == "EISDIR"


@pytest.mark.parametrize(
    ("content", "text"),
    [(1048576.0, "1048576"), (None, "null"), ({"k": [1, 2.0]}, '{"k":[1,2]}'), (True, "true"), ("", ""), (0.00001, "0.00001")],
)  # fmt: skip
def test_content_that_is_no_text_is_written_as_its_canonical_text(fs, area, content, text):
    assert fs("write", path=area / "f", content=content)["size"] == len(text)
    assert (area / "f").read_text() == text


def test_binary_content_comes_as_base64(fs, area):
    assert fs("write", path=area / "f", content="AAH/", encoding="base64")["size"] == 3
    assert (area / "f").read_bytes() == b"\x00\x01\xff"
    assert fs("read", path=area / "f")["content"] == "AAH/"


def test_the_mode_applies_to_new_files_and_is_kept_on_old_ones(fs, area):
    fs("write", path=area / "f", content="a", mode="0600")
    assert bits(area / "f") == 0o600
    fs("write", path=area / "f", content="b", mode=0o644)
    assert bits(area / "f") == 0o600
    assert (area / "f").read_text() == "b"
    fs("write", path=area / "g", content="")
    assert bits(area / "g") == 0o644 & ~_umask()


def test_an_atomic_write_replaces_the_inode_and_leaves_no_temporary_file(fs, area):
    (area / "f").write_text("old")
    with (area / "f").open() as reader:
        fs("write", path=area / "f", content="new")
        assert reader.read() == "old"
    assert [path.name for path in area.iterdir()] == ["f"]


def test_an_atomic_write_reaches_the_disk_before_its_name_does_and_the_name_too(fs, area, monkeypatch):
    done = []
    sync, rename = os.fsync, os.rename
    monkeypatch.setattr(os, "fsync", lambda fd: (done.append(stat.S_IFMT(os.fstat(fd).st_mode)), sync(fd)))
    monkeypatch.setattr(os, "rename", lambda *names, **fds: (done.append("rename"), rename(*names, **fds)))
    fs("write", path=area / "f", content="new")
    assert done == [stat.S_IFREG, "rename", stat.S_IFDIR]


def test_a_failed_write_leaves_no_temporary_file(fs, area, monkeypatch):
    (area / "f").write_text("old")

    def full(fd):
        raise OSError(errno.ENOSPC, "no space left on device")

    monkeypatch.setattr(os, "fsync", full)
    error = fs.fails("write", path=area / "f", content="new")
    assert (error.code, error.retryable, error.details["errno"]) == ("EXECUTION_ERROR", True, "ENOSPC")
    assert [path.name for path in area.iterdir()] == ["f"]
    assert (area / "f").read_text() == "old"


def test_a_missing_directory_leaves_no_temporary_file_above_it(fs, area, monkeypatch):
    fs.rules = PathRules(writable=(str(area / "free/deep"),))
    monkeypatch.setattr(os, "link", None)
    made = []
    real = os.open

    def opened(path, flags, *args, **kwargs):
        made.extend([path] if flags & os.O_CREAT else [])
        return real(path, flags, *args, **kwargs)

    monkeypatch.setattr(os, "open", opened)
    monkeypatch.setattr(os, "supports_dir_fd", os.supports_dir_fd | {opened, None})
    assert fs.fails("write", path=area / "free/deep/f", content="x").details["errno"] == "ENOENT"
    assert made == []


@pytest.mark.skipif(not Path("/bin/sleep").exists(), reason="there is no program to copy")
def test_a_program_that_runs_is_replaced_and_goes_on(fs, area):
    program = area / "program"
    shutil.copy("/bin/sleep", program)
    with subprocess.Popen([program, "60"]) as running:
        try:
            fs("write", path=program, content="new")
            assert running.poll() is None
        finally:
            running.kill()
    assert program.read_text() == "new"


def test_answers_are_text_also_where_the_working_directory_has_no_name_in_utf8(fs, area, monkeypatch):
    try:
        (area / os.fsdecode(b"a\xff")).mkdir()
    except OSError:
        pytest.skip("this file system takes UTF-8 names only")
    monkeypatch.chdir(area / os.fsdecode(b"a\xff"))
    assert fs("write", path="f", content="x")["path"] == f"{area}/a\ufffd/f"
    assert fs("read", path="f")["content"] == "x"
    assert fs.fails("read", path="g").message.endswith("a\ufffd/g: no such file or directory")


def test_a_write_in_place_keeps_the_inode(fs, area):
    (area / "f").write_text("longer than before")
    os.link(area / "f", area / "g")
    fs("write", path=area / "f", content="new", atomic=False)
    assert (area / "g").read_text() == "new"


def test_a_write_through_a_link_changes_its_target(fs, area):
    (area / "f").write_text("old")
    (area / "link").symlink_to("f")
    assert fs("write", path=area / "link", content="new")["path"] == str(area / "link")
    assert (area / "link").is_symlink()
    assert (area / "f").read_text() == "new"


@pytest.mark.usefixtures("permissions")
def test_a_read_only_file_is_not_replaced(fs, area):
    (area / "f").write_text("old")
    (area / "f").chmod(0o444)
    error = fs.fails("write", path=area / "f", content="new")
    assert (error.details["errno"], error.retryable) == ("EACCES", False)


def test_append_creates_and_adds_and_answers_the_whole_size(fs, area):
    path = area / "d" / "log"
    assert fs.fails("append", path=path, content="a").details["errno"] == "ENOENT"
    assert fs("append", path=path, content="one\n", create_dirs=True)["size"] == 4
    assert fs("append", path=path, content=2)["size"] == 5
    assert path.read_text() == "one\n2"


def test_stat_describes_a_file(fs, area):
    (area / "f").write_text("abc")
    (area / "f").chmod(0o640)
    os.utime(area / "f", ns=(0, 1_700_000_000_999_999_999))
    assert fs("stat", path=area / "f") == {
        "path": str(area / "f"), "size": 3, "modified_at": "2023-11-14T22:13:20Z", "mtime_ns": 1_700_000_000_999_999_999,
        "is_dir": False, "is_symlink": False, "permissions": "0640",
    }  # fmt: skip


def test_stat_follows_a_link_and_says_that_it_is_one(fs, area):
    (area / "link").symlink_to(area)
    answer = fs("stat", path=area / "link")
    assert (answer["is_dir"], answer["is_symlink"]) == (True, True)
    (area / "dangling").symlink_to(area / "none")
    assert fs.fails("stat", path=area / "dangling").details["errno"] == "ENOENT"


def _umask():
    mask = os.umask(0)
    os.umask(mask)
    return mask
