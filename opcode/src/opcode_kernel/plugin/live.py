"""Actions that come and go while a program runs. Readers see them in `Registry.actions` like all others."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from opcode_kernel.errors import ConflictError, DefinitionError
from opcode_kernel.plugin.action import Action

if TYPE_CHECKING:
    from opcode_kernel.plugin.manager import Source

_KIND = "action"


class LiveActions:
    """The one writer of a registry's actions once it is built. What comes and goes does so by family, all of it or nothing.

    `table` and `owners` are what the registry reads; lookups stay a single one in a dict. `version` grows with every
    change, so that whoever keeps what he compiled can tell that it is out of date.
    """

    def __init__(self, table: dict[str, Action], owners: dict[tuple[str, str], Source]) -> None:
        self._table = table
        self._owners = owners
        self._families: dict[str, tuple[Source, tuple[str, ...]]] = {}
        self._reasons: dict[str, str] = {}
        self.version = 0

    def offer(self, family: str, actions: Iterable[Action], source: Source) -> None:
        """Put all actions of a family in the place of those that were there, if any.

        Raises:
            ConflictError: the family belongs to somebody else, or two of the actions have the same name.
            DefinitionError: the family is empty, or an action is not named `family.something`.
        """
        offered = list(actions)
        self._check(family, offered, source)
        for name in self._families.get(family, (source, ()))[1]:
            del self._table[name], self._owners[_KIND, name]
        for action in offered:
            self._table[action.name] = action
            self._owners[_KIND, action.name] = source
        self._families[family] = source, tuple(action.name for action in offered)
        self._reasons.pop(family, None)
        self.version += 1

    def withdraw(self, family: str, source: Source) -> None:
        """Take the actions of a family away, if it is the source's."""
        owner, names = self._families.get(family, (None, ()))
        if owner is not source:
            return
        for name in names:
            del self._table[name], self._owners[_KIND, name]
        del self._families[family]
        self.version += 1

    def explain(self, family: str, reason: str | None) -> None:
        """Remember why there are no actions of a family, or with None forget it."""
        if reason is None:
            self._reasons.pop(family, None)
        else:
            self._reasons[family] = reason

    def why_absent(self, name: str) -> str | None:
        """Return why an action is not there, when its family is known."""
        family = name.partition(".")[0]
        return "it has no action of that name" if family in self._families else self._reasons.get(family)

    def _check(self, family: str, offered: list[Action], source: Source) -> None:
        if not family:
            raise DefinitionError("expected a family for these actions, found an empty name")
        owner = self._families[family][0] if family in self._families else self._static_owner(family)
        if owner is not None and owner is not source:
            raise ConflictError(
                f"the actions {family}.* of {source.distribution} cannot be added: {owner.distribution} offers actions of"
                " that family already; give one of them another name"
            )
        names: set[str] = set()
        for action in offered:
            if not action.name.startswith(f"{family}.") or len(action.name) == len(family) + 1:
                raise DefinitionError(f"expected an action named {family}.something, found {action.name!r:.120}")
            if action.name in names:
                raise ConflictError(
                    f"the actions {family}.* of {source.distribution} cannot be added: {action.name!r} is there twice"
                )
            names.add(action.name)

    def _static_owner(self, family: str) -> Source | None:
        return next((self._owners[_KIND, name] for name in self._table if name.startswith(f"{family}.")), None)
