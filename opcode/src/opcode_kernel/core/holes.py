"""Holes: the places of secrets in a value, while nobody has filled them in (spec 02 section 10.7).

`split_holes` turns a value with `Hole` objects into a masked value and a separate list of holes, both JSON, and `fill_holes`
puts the secrets in just before an action runs. The list is kept apart from the value, so no data can imitate a hole.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from opcode_kernel.core.text import canonical_text, compact_json
from opcode_kernel.errors import Json

MASK = "***"


@dataclass(frozen=True, slots=True)
class Secret:
    """The place of one secret inside a text; `default` stands in for one that does not exist."""

    name: str
    has_default: bool = False
    default: Json = None
    #: Whether it is written as JSON, in quotes.
    as_json: bool = False

    def to_json(self) -> dict[str, Json]:
        """Return `{"secret", "default"?, "json"?}`."""
        part: dict[str, Json] = {"secret": self.name}
        if self.has_default:
            part["default"] = self.default
        if self.as_json:
            part["json"] = True
        return part

    def as_text(self) -> Secret:
        """The same where only text may stand, also of a default."""
        if not self.has_default or isinstance(self.default, str) or self.as_json:
            return self
        return replace(self, default=canonical_text(self.default))

    @classmethod
    def from_json(cls, part: dict[str, Json]) -> Secret:
        """Read back what `to_json` wrote."""
        return cls(part["secret"], "default" in part, part.get("default"), part.get("json", False))


@dataclass(frozen=True, slots=True)
class Hole:
    """A text whose secrets are not filled in yet."""

    parts: tuple[str | Secret, ...]

    @property
    def masked(self) -> str:
        """The text with `***` where a secret belongs."""
        return "".join(part if isinstance(part, str) else MASK for part in self.parts)

    def as_text(self) -> Hole:
        """Return the same where only text may stand."""
        return Hole(tuple(part if isinstance(part, str) else part.as_text() for part in self.parts))

    def as_json(self) -> Hole | None:
        """Return the same as JSON text; None for a text of which a secret is only a part, its quotes included."""
        only = self.parts[0] if len(self.parts) == 1 else None
        return Hole((replace(only, as_json=True),)) if isinstance(only, Secret) and not only.as_json else None


#: One hole of a masked value: where it stands, and its text as literal parts and secrets, see `Secret.to_json`.
HoleAt = list[Any]


def split_holes(value: Any) -> tuple[Json, list[HoleAt]]:
    """Return the value with `***` for every secret, and where the holes are: `[[path, [part | {"secret": n}]]]`.

    Both are JSON. A value without holes is returned as it is, not copied.
    """
    holes: list[HoleAt] = []
    _find(value, [], holes)
    return (_masked(value), holes) if holes else (value, holes)


def _find(value: Any, path: list[str | int], holes: list[HoleAt]) -> None:
    if isinstance(value, Hole):
        holes.append([list(path), [part if isinstance(part, str) else part.to_json() for part in value.parts]])
    elif isinstance(value, dict):
        for key, item in value.items():
            if isinstance(item, dict | list | Hole):
                _find(item, [*path, key], holes)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            if isinstance(item, dict | list | Hole):
                _find(item, [*path, index], holes)


def _masked(value: Any) -> Json:
    if isinstance(value, Hole):
        return value.masked
    if isinstance(value, dict):
        return {key: _masked(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_masked(item) for item in value]
    return value


def restore_holes(masked: Json, holes: list[HoleAt]) -> Any:
    """Undo `split_holes`: put `Hole` objects back, for inputs read from the log."""
    return _replace(
        masked, holes, lambda parts: Hole(tuple(Secret.from_json(p) if isinstance(p, dict) else p for p in parts))
    )


def fill_holes(masked: Json, holes: list[HoleAt], reveal: Callable[[str], str]) -> Json:
    """Return the value with the secrets filled in; `reveal` gives the value of a name.

    Raises:
        KeyError: `reveal` does not know a secret that has no default.
    """

    def fill(parts: list[Any]) -> Json:
        found = [_revealed(part, reveal) if isinstance(part, dict) else part for part in parts]
        return found[0] if len(found) == 1 else "".join(map(canonical_text, found))

    return _replace(masked, holes, fill)


def _revealed(part: dict[str, Json], reveal: Callable[[str], str]) -> Json:
    try:
        value: Json = reveal(part["secret"])
    except KeyError:
        if "default" not in part:
            raise
        value = part["default"]
    return compact_json(value) if part.get("json") else value


def _replace(masked: Json, holes: list[HoleAt], make: Callable[[list[Any]], Any]) -> Any:
    if holes and not holes[0][0]:
        return make(holes[0][1])
    result = _copied(masked) if holes else masked
    for path, parts in holes:
        target = result
        for key in path[:-1]:
            target = target[key]
        target[path[-1]] = make(parts)
    return result


def _copied(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _copied(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_copied(item) for item in value]
    return value
