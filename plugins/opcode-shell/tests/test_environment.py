import pytest

from opcode_kernel import ActionError
from opcode_shell.environment import child_environment, search_path

DAEMON = {
    "PATH": "/bin",
    "HOME": "/h",
    "LC_ALL": "C",
    "AWS_KEY": "k",
    "X": "1",
    "OPCODE_HOME": "/o",
    "OPCODE_VAULT_KEY": "v",
}


def child(inherit=True, added=None, deny=()):
    return child_environment(DAEMON, inherit=inherit, added=added or {}, deny=deny)


@pytest.mark.parametrize("added", [{"": "x"}, {"A=B": "x"}, {"A\0": "x"}, {"A": "\0"}])
def test_names_and_values_no_environment_can_hold_are_refused(added):
    with pytest.raises(ActionError) as caught:
        child(added=added)
    assert caught.value.code == "VALIDATION_ERROR"


@pytest.mark.parametrize("inherit", [True, False, ["OPCODE_VAULT_KEY", "OPCODE_HOME", "X"]])
def test_own_variables_are_never_inherited(inherit):
    assert not [name for name in child(inherit) if name.startswith("OPCODE_")]


def test_own_variables_may_be_given_but_not_those_of_the_vault():
    given = child(added={"OPCODE_MODE": "a", "OPCODE_VAULT_KEY": "guess", "opcode_vault_key": "guess"})
    assert given["OPCODE_MODE"] == "a"
    assert not [name for name in given if "VAULT" in name.upper()]


def test_denied_variables_are_removed_even_when_given():
    assert "AWS_KEY" not in child(deny=("AWS_*",))
    assert "AWS_KEY" not in child(deny=("AWS_*",), added={"AWS_KEY": "mine"})


def test_false_leaves_the_minimum_and_a_list_only_the_names_in_it():
    assert child(False) == {"PATH": "/bin", "HOME": "/h", "LC_ALL": "C"}
    assert child(["X", "LC_*", "NOPE"]) == {"X": "1"}
    assert child([]) == {}


def test_a_given_variable_wins_over_the_inherited_one():
    assert child(added={"X": "2"})["X"] == "2"


def test_only_absolute_directories_are_searched():
    assert search_path({"PATH": ":.:bin:/usr/bin:../x"}) == ["/usr/bin"]
    assert search_path({}) == ["/bin", "/usr/bin"]
