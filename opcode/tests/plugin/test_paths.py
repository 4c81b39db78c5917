import os
import sys
from pathlib import Path

import pytest

from opcode_kernel import ActionError, PathRules, absolute_path, resolve_read, resolve_write


@pytest.fixture
def area(tmp_path):
    """Two sibling directories: `inside` is meant to be allowed, `outside` is not."""
    for name in ("inside", "outside"):
        (tmp_path / name).mkdir()
    (tmp_path / "outside" / "secret").write_text("s")
    return Path(os.path.realpath(tmp_path))


def denied(function, rules, path):
    with pytest.raises(ActionError) as caught:
        function(rules, str(path))
    assert caught.value.code == "PATH_DENIED"
    assert caught.value.retryable is False
    assert caught.value.details["reason"]
    return caught.value


def test_a_nul_character_is_refused():
    error = denied(resolve_read, PathRules(), "a\0b")
    assert "\0" not in error.message


def test_a_lone_surrogate_is_refused():
    denied(resolve_write, PathRules(), "a\ud800b")


def test_without_rules_everything_else_is_allowed(area):
    assert resolve_read(PathRules(), str(area / "new")) == area / "new"
    assert resolve_write(PathRules(), str(area / "no" / "such" / "dir")) == area / "no" / "such" / "dir"


def test_a_relative_path_is_taken_from_the_working_directory(area, monkeypatch):
    monkeypatch.chdir(area)
    assert resolve_read(PathRules(), "inside/../outside") == area / "outside"
    assert absolute_path("inside/") == str(area / "inside")


def test_two_leading_slashes_do_not_get_past_a_rule(area):
    rules = PathRules(deny=(str(area / "outside"),))
    denied(resolve_read, rules, f"//{str(area)[1:]}/outside/secret")
    assert absolute_path("//etc") == "/etc"


def test_a_name_that_starts_with_the_name_of_a_root_is_not_below_it(area):
    rules = PathRules(writable=(str(area / "in"),))
    denied(resolve_write, rules, area / "inside" / "a")


def test_names_that_start_with_two_dots_are_plain_names(area):
    denied(resolve_read, PathRules(deny=(str(area / "outside"),)), area / "outside" / "..x")
    rules = PathRules(writable=(str(area / "inside"),))
    assert resolve_write(rules, str(area / "inside" / "..x")) == area / "inside" / "..x"


def test_dots_cannot_climb_out_of_an_allowed_path(area):
    denied(resolve_read, PathRules(writable=(str(area / "inside"),)), area / "inside" / ".." / "outside" / "secret")


def test_a_link_is_judged_by_its_target(area):
    (area / "inside" / "link").symlink_to(area / "outside" / "secret")
    denied(resolve_read, PathRules(writable=(str(area / "inside"),)), area / "inside" / "link")
    assert resolve_read(PathRules(), str(area / "inside" / "link")) == area / "outside" / "secret"


def test_a_dangling_link_is_judged_by_its_target(area):
    (area / "inside" / "link").symlink_to(area / "outside" / "new")
    denied(resolve_write, PathRules(writable=(str(area / "inside"),)), area / "inside" / "link")
    assert resolve_write(PathRules(), str(area / "inside" / "link")) == area / "outside" / "new"


def test_a_linked_directory_is_followed_before_the_check(area):
    (area / "inside" / "dir").symlink_to(area / "outside")
    denied(resolve_write, PathRules(writable=(str(area / "inside"),)), area / "inside" / "dir" / "new")


def test_a_link_that_leads_to_itself_is_a_final_error(area):
    (area / "inside" / "loop").symlink_to(area / "inside" / "loop")
    for path in (area / "inside" / "loop", area / "inside" / "loop" / "x"):
        with pytest.raises(ActionError) as caught:
            resolve_read(PathRules(), str(path))
        assert (caught.value.code, caught.value.retryable) == ("EXECUTION_ERROR", False)
        assert caught.value.details["errno"] == "ELOOP"


@pytest.mark.skipif(sys.platform == "darwin", reason="names are UTF-8 here")
def test_a_name_that_is_not_text_is_told_as_text(area):
    (area / "loop").symlink_to(os.fsdecode(b"\xff"))
    (area / os.fsdecode(b"\xff")).symlink_to("loop")
    with pytest.raises(ActionError) as caught:
        resolve_read(PathRules(), str(area / "loop"))
    assert "\ufffd" in caught.value.message.encode().decode()
    assert caught.value.details["path"].encode()


@pytest.mark.parametrize("name", ["x" * 300, "x/" * 3000])
def test_a_path_too_long_for_the_system_is_a_final_error(area, name):
    with pytest.raises(ActionError) as caught:
        resolve_read(PathRules(), f"{area}/{name}")
    assert (caught.value.code, caught.value.retryable) == ("EXECUTION_ERROR", False)
    assert caught.value.details["errno"] == "ENAMETOOLONG"


def test_a_long_name_where_nothing_is_allowed_is_denied_like_any_other(area):
    denied(resolve_read, PathRules(writable=(str(area / "inside"),)), area / "outside" / ("x" * 300))


def test_read_only_paths_may_be_read_and_not_written(area):
    rules = PathRules(read_only=(str(area / "inside"),))
    assert resolve_read(rules, str(area / "inside" / "a")) == area / "inside" / "a"
    denied(resolve_write, rules, area / "inside" / "a")


def test_writable_paths_may_be_read(area):
    rules = PathRules(writable=(str(area / "inside"),))
    assert resolve_read(rules, str(area / "inside")) == area / "inside"


def test_the_root_contains_everything(area):
    assert resolve_write(PathRules(writable=("/",)), str(area / "inside")) == area / "inside"


def test_where_letter_case_does_not_matter_another_spelling_is_denied_too(area, monkeypatch):
    monkeypatch.setattr("opcode_kernel.plugin.paths.spelling._ANY_SPELLING", True)
    (area / "Caf\u00e9").mkdir()
    rules = PathRules(deny=(str(area / "Caf\u00e9"),), data_dir=str(area / "outside"))
    denied(resolve_read, rules, area / "CAFE\u0301" / "x")
    denied(resolve_read, rules, area / "OutSide" / "secret")
    assert resolve_read(rules, str(area / "Inside")) == area / "Inside"


def test_deny_wins_over_allow(area):
    rules = PathRules(writable=(str(area), str(area / "outside")), deny=(str(area / "outside"),))
    denied(resolve_read, rules, area / "outside" / "secret")
    denied(resolve_read, rules, area / "outside")


def test_a_denied_link_protects_what_it_points_at(area):
    (area / "alias").symlink_to(area / "outside")
    denied(resolve_read, PathRules(deny=(str(area / "alias"),)), area / "outside" / "secret")


@pytest.mark.parametrize("entry", ["", "a\0b", "~nobody-has-this-name/x"])
def test_an_unusable_deny_entry_denies_everything(area, entry):
    error = denied(resolve_read, PathRules(deny=(entry,)), area / "inside")
    assert "fs.deny_paths" in error.message


def test_an_unusable_allow_entry_allows_nothing(area):
    denied(resolve_read, PathRules(writable=("",)), area / "inside")
    rules = PathRules(writable=("", str(area / "inside")))
    assert resolve_read(rules, str(area / "inside")) == area / "inside"


def test_a_tilde_in_a_rule_means_the_home_directory(area, monkeypatch):
    monkeypatch.setenv("HOME", str(area))
    denied(resolve_read, PathRules(deny=("~/outside",)), area / "outside" / "secret")


def test_the_data_directory_is_denied_although_a_parent_is_writable(area):
    rules = PathRules(writable=(str(area),), data_dir=str(area / "outside"))
    denied(resolve_read, rules, area / "outside" / "secret")
    denied(resolve_write, PathRules(data_dir=str(area / "outside")), area / "outside" / "new")


def test_the_data_directory_opens_where_a_writable_path_names_it(area):
    rules = PathRules(writable=(str(area / "outside" / "export"),), data_dir=str(area / "outside"))
    assert resolve_write(rules, str(area / "outside" / "export" / "a")) == area / "outside" / "export" / "a"
    denied(resolve_read, rules, area / "outside" / "secret")
    rules = PathRules(writable=(str(area / "outside"),), data_dir=str(area / "outside"))
    assert resolve_read(rules, str(area / "outside" / "secret")) == area / "outside" / "secret"


def test_a_read_only_path_does_not_open_the_data_directory(area):
    rules = PathRules(read_only=(str(area / "outside"),), data_dir=str(area / "outside"))
    denied(resolve_read, rules, area / "outside" / "secret")


@pytest.mark.parametrize(
    "path",
    ["/proc/self/environ", "/proc/1/environ", "/proc/thread-self/environ", "/proc/self/task/1/environ",
     "/proc/self/mem", "/proc/kcore", "/".join(("/proc/self", "root", "proc/1/environ"))],
)  # fmt: skip
def test_the_environment_and_memory_of_processes_are_never_readable(path):
    denied(resolve_read, PathRules(read_only=("/",)), path)
