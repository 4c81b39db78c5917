"""Rules that name links: no action may change what the rules mean by changing what they are spelled by."""

import os

import pytest

from opcode_kernel import PathRules


@pytest.fixture
def linked(fs, world):
    """Rules that allow `real` by the link `dir/alias`, and `area` as a whole; `secret` lies outside."""
    area = world.root / "area"
    for name in ("area/dir", "area/real", "area/links", "secret"):
        (world.root / name).mkdir(parents=True)
    (area / "dir/alias").symlink_to("../real")
    (area / "links/out").symlink_to(world.root / "secret")
    (world.root / "secret/canary").write_text("canary")
    fs.rules = PathRules(writable=(str(area / "dir/alias"), str(area / "later"), str(area)), deny=())
    return area


def denied(fs, name, **given):
    error = fs.fails(name, **given)
    assert (error.code, error.retryable) == ("PATH_DENIED", False)


def test_a_link_that_a_rule_goes_through_is_neither_deleted_nor_moved_nor_replaced(fs, linked):
    for name in ("dir/alias", "dir"):
        denied(fs, "delete", path=linked / name, recursive=True)
        denied(fs, "move", src=linked / name, dst=linked / "other")
    denied(fs, "move", src=linked / "links/out", dst=linked / "dir/alias")
    (linked / "file").write_text("x")
    denied(fs, "move", src=linked / "file", dst=linked / "dir/alias")
    assert (linked / "dir/alias").readlink().name == "real"


def test_no_link_is_moved_to_where_a_rule_looks(fs, linked):
    denied(fs, "move", src=linked / "links/out", dst=linked / "later")
    fs.rules = PathRules(writable=(str(linked / "later/deep"), str(linked)))
    denied(fs, "move", src=linked / "links/out", dst=linked / "later")
    (linked / "links/deep").symlink_to("out")
    denied(fs, "move", src=linked / "links", dst=linked / "later")
    assert fs.fails("read", path=linked / "later/deep/canary").code == "EXECUTION_ERROR"


def test_no_link_is_copied_to_where_a_rule_looks(fs, linked, world):
    readable = str(world.root / "secret")
    fs.rules = PathRules(writable=(str(linked / "later/out"), str(linked)), read_only=(readable,))
    denied(fs, "copy", src=linked / "links", dst=linked / "later")
    (linked / "later").mkdir()
    denied(fs, "copy", src=linked / "links", dst=linked / "later")
    denied(fs, "write", path=world.root / "secret/canary", content="x")


def test_a_link_that_a_deny_rule_goes_through_is_kept(fs, linked, world):
    (linked / "current").symlink_to("real")
    (linked / "real/key").write_text("canary")
    fs.rules = PathRules(deny=(str(linked / "current/key"),))
    denied(fs, "read", path=linked / "real/key")
    denied(fs, "delete", path=linked / "current")
    denied(fs, "move", src=linked / "current", dst=linked / "old")
    denied(fs, "move", src=linked, dst=world.root / "elsewhere")


def test_a_rule_follows_the_link_it_names_when_the_operator_turns_it(fs, linked):
    (linked / "new").mkdir()
    fs.rules = PathRules(writable=(str(linked / "dir/alias"),))
    fs("write", path=linked / "real/f", content="x")
    (linked / "dir/alias").unlink()
    (linked / "dir/alias").symlink_to("../new")
    denied(fs, "write", path=linked / "real/f", content="y")
    fs("write", path=linked / "new/f", content="x")


def test_a_denied_file_is_denied_under_every_name_it_has(fs, linked):
    (linked / "key").write_text("canary")
    (linked / "other").hardlink_to(linked / "key")
    fs.rules = PathRules(deny=(str(linked / "key"),))
    for name in ("key", "other"):
        denied(fs, "read", path=linked / name)
        denied(fs, "append", path=linked / name, content="x")
        denied(fs, "delete", path=linked / name)
    denied(fs, "copy", src=linked, dst=linked.parent / "copy")


def test_a_file_with_another_name_is_not_changed_in_place_under_rules(fs, linked, world):
    os.link(world.root / "secret/canary", linked / "real/name")
    fs.rules = PathRules(writable=(str(linked),))
    denied(fs, "write", path=linked / "real/name", content="x", atomic=False)
    denied(fs, "append", path=linked / "real/name", content="x")
    fs("write", path=linked / "real/name", content="x")
    assert (world.root / "secret/canary").read_text() == "canary"


def test_nothing_is_renamed_to_where_a_rule_is_about_something_in_it(fs, linked):
    """What has the directory open already would go on to write there under its old name."""
    fs.rules = PathRules(deny=(str(linked / "later/hooks/start"),), data_dir=str(linked / "later/home"))
    denied(fs, "move", src=linked / "real", dst=linked / "later")
    (linked / "later").mkdir()
    denied(fs, "move", src=linked / "real", dst=linked / "later")
    fs("move", src=linked / "real", dst=linked / "later/other")


def test_no_link_is_put_where_a_denied_path_would_lead_through_it(fs, linked):
    fs.rules = PathRules(deny=(str(linked / "alias/key"),))
    denied(fs, "move", src=linked / "dir/alias", dst=linked / "alias")
    denied(fs, "copy", src=linked / "dir", dst=linked)
    assert not os.path.lexists(linked / "alias")


def test_a_copy_to_where_a_rule_is_about_something_in_it_is_made_in_its_place(fs, linked, monkeypatch):
    """Whatever is put into a directory before it gets its name was judged under another."""
    (linked / "real/f").write_text("x")
    fs.rules = PathRules(deny=(str(linked / "later/key"),))
    seen = []
    fchmod = os.fchmod
    monkeypatch.setattr(os, "fchmod", lambda *args: (seen.append((linked / "later").exists()), fchmod(*args)))
    fs("copy", src=linked / "real", dst=linked / "later")
    assert (linked / "later/f").read_text() == "x"
    assert seen == [True]


def test_a_link_on_the_way_to_an_unreachable_path_of_the_settings_is_kept(fs, linked):
    (linked / "real/f").write_text("a file")
    fs.rules = PathRules(writable=(str(linked / "dir/alias/f/x"), str(linked)))
    denied(fs, "move", src=linked / "links/out", dst=linked / "dir/alias")
    denied(fs, "delete", path=linked / "dir/alias")


@pytest.mark.parametrize("name", ["write", "copy"])
def test_what_takes_the_name_of_an_unfinished_file_does_not_take_that_of_the_finished_one(
    fs, linked, monkeypatch, name
):
    fsync, fchmod = os.fsync, os.fchmod

    def seen():
        for unfinished in [*linked.glob(".opcode-*.tmp")]:
            if not unfinished.is_symlink():
                unfinished.rename(linked / "aside")
                (linked / "links/out").rename(unfinished)

    monkeypatch.setattr(os, "fsync", lambda *args: (fsync(*args), seen()))
    monkeypatch.setattr(os, "fchmod", lambda *args: (fchmod(*args), seen()))
    given = (
        {"path": linked / "later", "content": "x"}
        if name == "write"
        else {"src": linked / "real", "dst": linked / "later"}
    )
    (linked / "real/f").write_text("x")
    assert fs.fails(name, **given).details["errno"] == "ENOENT"
    assert not os.path.lexists(linked / "later")
