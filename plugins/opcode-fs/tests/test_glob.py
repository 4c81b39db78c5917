import pytest

from opcode_fs.glob import compile_glob
from opcode_kernel import ActionError


@pytest.mark.parametrize(
    "pattern",
    ["[", "[a", "[]a]", "[a-]", "[-a]", "[^]", "[z-a]", "a\\", "..", "../x", "a/../b", "./a", "/a", "a//b", "a/", "\\.\\."],
)  # fmt: skip
def test_a_bad_pattern_is_refused_with_what_was_expected(pattern):
    with pytest.raises(ActionError, match="expected") as caught:
        compile_glob(pattern)
    assert caught.value.code == "VALIDATION_ERROR"


@pytest.mark.parametrize(
    ("pattern", "yes", "no"),
    [
        ("*.txt", ["a.txt", ".txt", "d/a.txt"], ["a.TXT", "a.txt~"]),
        ("*", [".hidden", "a\nb", "d/x"], []),
        ("?", ["a", "é"], ["", "ab"]),
        ("[abc]x", ["ax", "cx"], ["dx", "Ax"]),
        ("[a-c0-9]", ["b", "7"], ["d", "-"]),
        ("[^a]", ["b", "!"], ["a"]),
        ("[!a]", ["!", "a"], ["b"]),
        (r"\*", ["*"], ["a"]),
        (r"[\]\-]", ["]", "-"], ["\\"]),
        ("a..b", ["a..b"], ["a.b"]),
        ("*a*b*c", ["abc", "xaxbxc"], ["acb", "ab"]),
        ("(a|b)+", ["(a|b)+"], ["a"]),
        ("sub/*.txt", ["sub/a.txt"], ["a.txt", "sub/d/a.txt"]),
        ("**/x", ["x", "a/x", "a/b/x"], ["a/y", "xx"]),
        ("a/**", ["a/b", "a/b/c"], ["a", "b/a"]),
        ("a/**/z", ["a/z", "a/b/c/z"], ["a/b", "z"]),
        ("**/a/**/b", ["a/b", "x/a/a/y/b"], ["b/a", "a"]),
        ("**", ["a", "d/a"], []),
    ],
)
def test_what_a_pattern_matches(pattern, yes, no):
    glob = compile_glob(pattern)
    assert [name for name in yes if not glob.matches(name)] == []
    assert [name for name in no if glob.matches(name)] == []


@pytest.mark.timeout(5)
def test_hostile_patterns_take_no_exponential_time():
    assert not compile_glob("*a" * 100 + "b").matches("a" * 255)
    assert not compile_glob("**/a/" * 50 + "b").matches("/".join("a" * 500))


def test_depth_is_known_unless_any_number_of_directories_may_match():
    assert compile_glob("a/b/*").depth == 3
    assert compile_glob("a/**").depth is None
