"""The plugin host: whatever is wrong with a distribution is said at the start, with its name."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType

import pytest

from opcode_kernel import action, hookimpl
from opcode_kernel.errors import PluginError
from opcode_kernel.plugin.manager import Source, build_registry, discover, registry_of


def module(name="demo", **hooks):
    made = ModuleType(name)
    for hook, function in hooks.items():
        function.__name__ = hook
        setattr(made, hook, hookimpl(function))
    return made


def made_action(name="demo.go"):
    return action(name, summary="Go", effect="pure")(lambda ctx, params: None)


def source(name):
    return Source(name, f"dist-{name}", "1.0")


class Named:
    name = "thing"


def nothing():
    return []


@pytest.mark.parametrize(
    "offer", [lambda: None, lambda: 7, lambda: 1 / 0, lambda: [None], lambda: ["x"], lambda: [Named()]]
)
def test_a_hook_that_fails_or_returns_nonsense_stops_the_start(offer):
    with pytest.raises(PluginError, match=r"opcode_actions of distribution dist-demo"):
        build_registry([(source("demo"), module(opcode_actions=offer))])


@pytest.mark.parametrize("listen", [lambda events: None, lambda events, run_id: None])
def test_a_hook_with_other_arguments_is_refused_before_it_is_called(listen):
    with pytest.raises(PluginError, match=r"expected opcode_committed\(run_id, events\), found"):
        build_registry([(source("demo"), module(opcode_committed=listen))])


@pytest.mark.parametrize("hook", ["opcode_step_types", "opcode_evaluators"])
def test_what_has_no_name_is_refused(hook):
    with pytest.raises(PluginError, match=f"{hook} of distribution dist-demo"):
        build_registry([(source("demo"), module(**{hook: lambda: [object()]}))])


@pytest.mark.parametrize(("hook", "kind", "make"), [
    ("opcode_actions", "action", made_action), ("opcode_step_types", "step type", Named),
    ("opcode_evaluators", "evaluator", Named),
])  # fmt: skip
def test_two_offers_of_one_name_stop_the_start_with_both_named(hook, kind, make):
    plugins = [(source(name), module(name, **{hook: lambda: [make()]})) for name in ("one", "two")]
    with pytest.raises(PluginError, match=f"{kind} .* dist-one and dist-two") as caught:
        build_registry(plugins)
    assert caught.value.code == "CONFLICT"
    assert "OPCODE_PLUGINS_OFF=two" in caught.value.message


def test_one_name_offered_twice_by_the_same_plugin_is_refused_too():
    with pytest.raises(PluginError, match="dist-demo"):
        build_registry([(source("demo"), module(opcode_actions=lambda: [made_action(), made_action()]))])


def test_a_misspelt_hook_is_an_error_with_a_suggestion():
    with pytest.raises(
        PluginError, match="dist-demo implements the unknown hook 'opcode_action'; did you mean 'opcode_actions'"
    ):
        build_registry([(source("demo"), module(opcode_action=nothing))])
    with pytest.raises(PluginError, match="hooks are opcode_actions"):
        build_registry([(source("demo"), module(opcode_zzzzz=nothing))])


def test_a_hook_without_its_mark_is_an_error():
    plain = ModuleType("demo")
    plain.opcode_actions = list
    with pytest.raises(PluginError, match="dist-demo defines 'opcode_actions' without @hookimpl"):
        build_registry([(source("demo"), plain)])


def test_a_hook_with_other_arguments_is_an_error():
    with pytest.raises(PluginError, match=r"(?s)dist-demo.*engine"):
        build_registry([(source("demo"), module(opcode_actions=lambda engine: []))])


def test_modules_that_happen_to_be_called_so_are_no_hooks():
    plugin = module(opcode_actions=lambda: [made_action()])
    plugin.opcode_helpers = ModuleType("opcode_helpers")
    plugin.opcode_version = "1"
    assert set(registry_of(plugin).actions) == {"demo.go"}


def test_the_same_plugin_twice_is_refused():
    plugin = module()
    with pytest.raises(PluginError, match="demo"):
        registry_of(plugin, plugin)


def test_a_registry_is_frozen_and_says_who_offered_what():
    heard = []
    one = module(
        "one", opcode_actions=lambda: [made_action()], opcode_committed=lambda run_id, events: heard.append(run_id)
    )
    registry = build_registry(
        [(source("one"), one), (source("two"), module("two", opcode_evaluators=lambda: [Named()]))]
    )
    assert registry.owners["action", "demo.go"] == source("one")
    assert [each.name for each in registry.sources] == ["one", "two"]
    ((owner, hook),) = registry.hooks("opcode_committed")
    hook("r", [])
    assert (owner, heard) == (source("one"), ["r"])
    with pytest.raises(TypeError):
        registry.actions["x"] = None
    with pytest.raises(TypeError):
        registry.owners["action", "x"] = None


def test_an_object_can_be_a_plugin():
    class Plugin:
        @hookimpl
        def opcode_actions(self):
            return iter([made_action()])

    assert set(registry_of(Plugin()).actions) == {"demo.go"}


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Return a function that installs a distribution with one plugin into a folder of its own."""
    # Only what is installed here: what this environment has is no part of the test.
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    before = set(sys.modules)

    def install(name: str, code: str) -> None:
        (tmp_path / f"fake_{name}.py").write_text(code)
        info = tmp_path / f"dist_{name}-2.5.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: dist-{name}\nVersion: 2.5\n")
        (info / "entry_points.txt").write_text(f"[opcode]\n{name} = fake_{name}\n")

    yield install
    for name in set(sys.modules) - before:
        if name.startswith("fake_"):
            del sys.modules[name]


GOOD = """
from opcode_kernel import action, hookimpl

@hookimpl
def opcode_actions():
    return [action("{name}.go", summary="Go", effect="pure")(lambda ctx, params: None)]
"""


def test_installed_plugins_are_found_with_their_versions(installed):
    installed("beta", GOOD.format(name="beta"))
    installed("alpha", GOOD.format(name="alpha"))
    registry = discover()
    assert set(registry.actions) == {"alpha.go", "beta.go"}
    assert registry.sources == (Source("alpha", "dist-alpha", "2.5"), Source("beta", "dist-beta", "2.5"))


@pytest.mark.parametrize(("only", "off", "left"), [
    ((), (), {"alpha.go", "beta.go"}), (("alpha",), (), {"alpha.go"}), (("dist-beta",), (), {"beta.go"}),
    ((), ("alpha",), {"beta.go"}), ((), ("dist-beta",), {"alpha.go"}), (("alpha", "beta"), ("alpha",), {"beta.go"}),
    (("alpha",), ("alpha",), set()),
])  # fmt: skip
def test_plugins_can_be_chosen_by_either_name(installed, only, off, left):
    installed("alpha", GOOD.format(name="alpha"))
    installed("beta", GOOD.format(name="beta"))
    assert set(discover(only=only, off=off).actions) == left


def test_an_unknown_choice_is_refused_with_a_suggestion(installed):
    installed("alpha", GOOD.format(name="alpha"))
    with pytest.raises(PluginError, match=r"called 'alpah'; did you mean 'alpha'\? \(installed: alpha\)"):
        discover(only=["alpah"])
    with pytest.raises(PluginError, match="no installed plugin is called 'zzz'"):
        discover(off=["zzz"])


def test_nothing_installed_is_an_empty_registry(installed):
    assert discover().actions == {}
    with pytest.raises(PluginError, match="installed: none"):
        discover(only=["x"])


@pytest.mark.parametrize("code", ["import no_such_module", "1 / 0", "def broken(:"])
def test_a_plugin_that_cannot_be_imported_is_named_with_the_remedy(installed, code):
    installed("alpha", GOOD.format(name="alpha"))
    installed("beta", code)
    with pytest.raises(PluginError, match=r"distribution dist-beta 2\.5 cannot be loaded") as caught:
        discover()
    assert "OPCODE_PLUGINS_OFF=beta" in caught.value.message
    assert set(discover(off=["beta"]).actions) == {"alpha.go"}
