"""Actions that come and go: a family at a time, all of it or nothing."""

from __future__ import annotations

import pytest

from opcode_kernel import ConflictError, DefinitionError, action, hookimpl
from opcode_kernel.plugin.manager import Source, registry_of

ONE, TWO = Source("one", "plugin one", "external"), Source("two", "plugin two", "external")


def made(name: str):
    return action(name, summary="Go")(lambda ctx, params: None)


class Static:
    """A plugin as others are."""

    @staticmethod
    @hookimpl
    def opcode_actions():
        return [made("crypto.hash")]


@pytest.mark.parametrize(
    ("family", "names", "source", "error", "said"),
    [
        ("", [".a"], TWO, DefinitionError, "empty name"),
        ("fs", ["fs.a", "fs"], TWO, DefinitionError, "expected an action named fs.something"),
        ("fs", ["fs.a", "fs."], TWO, DefinitionError, "expected an action named fs.something"),
        ("fs", ["fs.a", "other.b"], TWO, DefinitionError, "found 'other.b'"),
        ("fs", ["fs.a", "fs.a"], TWO, ConflictError, "'fs.a' is there twice"),
        ("crypto", ["crypto.new"], TWO, ConflictError, "Static offers actions of that family"),
        ("crypto", ["crypto.hash"], Source("Static", "plugin crypto", "external"), ConflictError, "Static offers"),
        ("files", ["files.new"], TWO, ConflictError, "plugin one offers actions of that family"),
    ],
)
def test_a_family_that_cannot_be_offered_whole_is_not_offered_at_all(family, names, source, error, said):
    registry = registry_of(Static())
    registry.live.offer("files", [made("files.read")], ONE)
    before, version = dict(registry.actions), registry.live.version
    with pytest.raises(error, match=r"cannot be added|expected") as caught:
        registry.live.offer(family, map(made, names), source)
    assert said in caught.value.message
    assert (dict(registry.actions), registry.live.version) == (before, version)


def test_an_offer_takes_the_place_of_the_one_before():
    registry = registry_of(Static())
    registry.live.offer("files", [made("files.read"), made("files.write")], ONE)
    registry.live.offer("files", [made("files.read"), made("files.stat")], ONE)
    assert sorted(registry.actions) == ["crypto.hash", "files.read", "files.stat"]
    assert registry.owners["action", "files.stat"] is ONE
    assert ("action", "files.write") not in registry.owners
    assert registry.live.version == 2


def test_only_the_owner_withdraws_a_family_and_then_another_may_have_it():
    registry = registry_of(Static())
    registry.live.offer("files", [made("files.read")], ONE)
    registry.live.withdraw("files", TWO)
    registry.live.withdraw("crypto", TWO)
    assert sorted(registry.actions) == ["crypto.hash", "files.read"]
    registry.live.withdraw("files", ONE)
    registry.live.withdraw("files", ONE)
    registry.live.offer("files", [made("files.read")], TWO)
    assert registry.owners["action", "files.read"] is TWO


def test_an_empty_offer_keeps_the_family():
    registry = registry_of(Static())
    registry.live.offer("files", [], ONE)
    with pytest.raises(ConflictError):
        registry.live.offer("files", [made("files.read")], TWO)


def test_why_an_action_is_not_there_is_known_of_its_family():
    registry = registry_of(Static())
    registry.live.explain("files", "it crashed")
    assert registry.live.why_absent("files.read") == "it crashed"
    assert registry.live.why_absent("other.read") is None
    registry.live.offer("files", [], ONE)
    assert registry.live.why_absent("files.read") == "it has no action of that name"
