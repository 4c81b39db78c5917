"""From installed distributions to one frozen `Registry`. Everything that can be wrong with a plugin is said here."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from importlib.metadata import EntryPoint, entry_points
from types import MappingProxyType, ModuleType
from typing import Any

import pluggy

from opcode_kernel.core.evaluator import Evaluator
from opcode_kernel.core.step_type import StepType
from opcode_kernel.errors import PluginError
from opcode_kernel.plugin import hookspecs
from opcode_kernel.plugin.action import Action
from opcode_kernel.plugin.live import LiveActions

_HOOKS = tuple(name for name in vars(hookspecs) if name.startswith("opcode_"))


@dataclass(frozen=True, slots=True)
class Source:
    """Where a plugin came from: entry-point name, distribution and its version."""

    name: str
    distribution: str
    version: str


@dataclass(frozen=True, slots=True)
class Registry:
    """The vocabulary of a program: three name tables, plus who offered what. Frozen; hot code uses only this.

    What installed plugins offer stays as it is; the actions of providers come and go in the same table, by way of `live`.
    """

    actions: Mapping[str, Action]
    step_types: Mapping[str, StepType]
    evaluators: Mapping[str, Evaluator]
    owners: Mapping[tuple[str, str], Source]
    live: LiveActions = field(repr=False, compare=False)
    sources: tuple[Source, ...] = ()
    manager: pluggy.PluginManager | None = field(default=None, repr=False, compare=False)

    def hooks(self, name: str) -> list[tuple[Source, Any]]:
        """Return the implementations of a start-up hook with their sources, in registration order."""
        if self.manager is None:
            return []
        by_name = {source.name: source for source in self.sources}
        found = getattr(self.manager.hook, name).get_hookimpls()
        return [(by_name[impl.plugin_name], impl.function) for impl in found]


def discover(*, only: Sequence[str] = (), off: Sequence[str] = ()) -> Registry:
    """Build the registry from all installed plugins.

    `only` (`OPCODE_PLUGINS`) limits it to these entry-point or distribution names, `off` (`OPCODE_PLUGINS_OFF`) leaves
    some out.

    Raises:
        PluginError: a plugin cannot be imported, misspells a hook, or two offer the same name.
    """
    points = sorted(entry_points(group=hookspecs.GROUP), key=lambda point: point.name)
    known = {name for point in points for name in (point.name, _distribution(point).distribution)}
    for wanted in (*only, *off):
        if wanted not in known:
            hint = get_close_matches(wanted, known, n=1)
            raise PluginError(
                f"no installed plugin is called {wanted!r}"
                + (f"; did you mean {hint[0]!r}?" if hint else "")
                + f" (installed: {', '.join(sorted(point.name for point in points)) or 'none'})"
            )
    chosen: list[tuple[Source, Any]] = []
    for point in points:
        source = _distribution(point)
        names = {point.name, source.distribution}
        if (only and not names & set(only)) or names & set(off):
            continue
        try:
            chosen.append((source, point.load()))
        except Exception as error:
            raise PluginError(
                f"plugin {source.name!r} of distribution {source.distribution} {source.version} cannot be loaded: "
                f"{type(error).__name__}: {error}; repair or uninstall it, or set OPCODE_PLUGINS_OFF={source.name}"
            ) from error
    return build_registry(chosen)


def registry_of(*plugins: ModuleType | Any) -> Registry:
    """Build a registry from the given plugin modules only: for tests and for programs that embed the engine."""
    named = [(getattr(plugin, "__name__", type(plugin).__name__), plugin) for plugin in plugins]
    return build_registry([(Source(name, name, "local"), plugin) for name, plugin in named])


def build_registry(plugins: Iterable[tuple[Source, Any]]) -> Registry:
    """Collect what the plugins offer into one frozen registry, see `discover` for the errors."""
    manager = pluggy.PluginManager(hookspecs.GROUP)
    manager.add_hookspecs(hookspecs)
    sources: list[Source] = []
    for source, plugin in plugins:
        _check_spelling(source, plugin)
        try:
            manager.register(plugin, name=source.name)
        except (pluggy.PluginValidationError, ValueError) as error:
            raise PluginError(f"plugin {source.name!r} of distribution {source.distribution}: {error}") from error
        sources.append(source)
    collector = _Collector(manager, {source.name: source for source in sources})
    actions = collector.collect("opcode_actions", "action", Action)
    return Registry(
        actions=MappingProxyType(actions),
        step_types=MappingProxyType(collector.collect("opcode_step_types", "step type", None)),
        evaluators=MappingProxyType(collector.collect("opcode_evaluators", "evaluator", None)),
        owners=MappingProxyType(collector.owners),
        live=LiveActions(actions, collector.owners),
        sources=tuple(sources),
        manager=manager,
    )


class _Collector:
    def __init__(self, manager: pluggy.PluginManager, sources: Mapping[str, Source]) -> None:
        self.manager = manager
        self.sources = sources
        self.owners: dict[tuple[str, str], Source] = {}

    def collect(self, hook: str, kind: str, wanted: type | None) -> dict[str, Any]:
        table: dict[str, Any] = {}
        for impl in getattr(self.manager.hook, hook).get_hookimpls():
            source = self.sources[impl.plugin_name]
            try:
                offered = list(impl.function())
            except Exception as error:
                raise PluginError(
                    f"{hook} of distribution {source.distribution} failed: {type(error).__name__}: {error}"
                ) from error
            for item in offered:
                name = getattr(item, "name", None)
                if (wanted is not None and not isinstance(item, wanted)) or not isinstance(name, str) or not name:
                    raise PluginError(
                        f"{hook} of distribution {source.distribution} must return {kind}s with a name, "
                        f"found {type(item).__name__}",
                        code="VALIDATION_ERROR",
                    )
                if name in table:
                    other = self.owners[kind, name]
                    raise PluginError(
                        f"{kind} {name!r} is offered by both {other.distribution} and {source.distribution}; "
                        f"uninstall one of them or set OPCODE_PLUGINS_OFF={source.name}",
                        code="CONFLICT",
                    )
                if isinstance(item, Action):
                    _check_declarations(source, item)
                table[name] = item
                self.owners[kind, name] = source
        return table


def _check_declarations(source: Source, action: Action) -> None:
    """Params that cannot be read fail here, with the distribution named, and not at the first use of the action."""
    try:
        action.decoder  # noqa: B018 - making it is the check
    except Exception as error:
        raise PluginError(
            f"the params of action {action.name!r} of distribution {source.distribution} cannot be read: "
            f"{type(error).__name__}: {error}"
        ) from error


def _check_spelling(source: Source, plugin: Any) -> None:
    """A hook nobody specified would be silently ignored; say which plugin wrote it and what it may have meant."""
    marked = [
        name
        for name in dir(plugin)
        if name.startswith("opcode_") and not inspect.ismodule(value := getattr(plugin, name, None)) and callable(value)
    ]
    for name in marked:
        if name not in _HOOKS:
            hint = get_close_matches(name, _HOOKS, n=1)
            raise PluginError(
                f"plugin {source.name!r} of distribution {source.distribution} implements the unknown hook {name!r}"
                + (f"; did you mean {hint[0]!r}?" if hint else f"; hooks are {', '.join(_HOOKS)}")
            )
        if not hasattr(getattr(plugin, name), "opcode_impl"):
            raise PluginError(
                f"plugin {source.name!r} of distribution {source.distribution} defines {name!r} without @hookimpl, "
                "so it would never be called"
            )
        wanted, found = _arguments(getattr(hookspecs, name)), _arguments(getattr(plugin, name))
        if found != wanted:
            raise PluginError(
                f"plugin {source.name!r} of distribution {source.distribution}: expected {name}({', '.join(wanted)}), "
                f"found {name}({', '.join(found)})"
            )


def _arguments(hook: Any) -> tuple[str, ...]:
    """Return the names of a hook's arguments; they are passed by position, so they must be all there and in order."""
    return tuple(inspect.signature(hook).parameters)


def _distribution(point: EntryPoint) -> Source:
    dist = point.dist
    return Source(point.name, dist.name if dist else point.value, dist.version if dist else "unknown")
