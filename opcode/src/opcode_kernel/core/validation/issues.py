"""What validation found: one issue, and the collector all stages write to."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from opcode_kernel.core.place import Place, Token
from opcode_kernel.core.text import json_type
from opcode_kernel.core.validation.nearness import Suggestions
from opcode_kernel.errors import Json

#: A JSON Patch (RFC 6902) that repairs the definition.
Patch = list[dict[str, Json]]


@dataclass(frozen=True, slots=True)
class Issue:
    """One problem. `severity` is `error` or `warning`; `patch` is there when only one repair makes sense."""

    place: Place
    code: str
    severity: str
    message: str
    did_you_mean: str | None = None
    details: dict[str, Json] = field(default_factory=dict)
    patch: Patch | None = None

    @property
    def path(self) -> str:
        """The place with dots and indexes."""
        return self.place.path

    @property
    def pointer(self) -> str:
        """The place as a JSON pointer."""
        return self.place.pointer

    def to_json(self) -> dict[str, Json]:
        """Return the published shape (spec 01 section 2.4), with the optional members only where they say something."""
        out: dict[str, Json] = {
            "path": self.path, "pointer": self.pointer, "code": self.code, "severity": self.severity,
            "message": self.message,
        }  # fmt: skip
        if self.did_you_mean is not None:
            out["did_you_mean"] = self.did_you_mean
        if self.details:
            out["details"] = self.details
        if self.patch:
            out["patch"] = self.patch
        return out


class Issues:
    """Collects issues in the order the stages find them; `Report` sorts them."""

    def __init__(self) -> None:
        self.errors: list[Issue] = []
        self.warnings: list[Issue] = []
        self.suggest = Suggestions()
        #: Whether some step could not be given a name: then an unknown name may be its, and is no mistake of its own.
        self.nameless = False
        self._moved: dict[tuple[Token, ...], tuple[Place, Place]] = {}
        #: What is not there before another patch has been applied: its pointer, that patch, and whose it is.
        self._made: dict[str, tuple[Patch, Place]] = {}

    def error(
        self, place: Place, message: str, *, code: str = "VALIDATION_ERROR", did_you_mean: str | None = None,
        details: dict[str, Json] | None = None, patch: Patch | None = None, makes: tuple[Place, ...] = (),
    ) -> None:  # fmt: skip
        """Add an error: the definition is refused. `makes` are the places that are only there once its patch is applied."""
        self.errors.append(self._issue(Issue(place, code, "error", message, did_you_mean, details or {}, patch), makes))

    def warn(
        self, place: Place, message: str, *, code: str = "VALIDATION_ERROR", did_you_mean: str | None = None,
        details: dict[str, Json] | None = None, patch: Patch | None = None, makes: tuple[Place, ...] = (),
    ) -> None:  # fmt: skip
        """Add a warning: the definition is accepted."""
        issue = Issue(place, code, "warning", message, did_you_mean, details or {}, patch)
        self.warnings.append(self._issue(issue, makes))

    def _issue(self, issue: Issue, makes: tuple[Place, ...]) -> Issue:
        """Return the issue with what of its patch can be applied by itself.

        The rest joins the patch that has to be applied before it: so each works alone, and all of them do in order.
        """
        own: Patch = []
        mended_by = None
        for step in issue.patch or ():
            before = self._made_by(str(step["path"])) or self._made_by(str(step.get("from", "")))
            target, mended_by = before or (own, mended_by)
            if not any(step is known for known in target):
                target.append(step)
        for place in makes:
            self._made[place.pointer] = (
                (own, issue.place) if own else self._made_by(place.pointer) or (own, issue.place)
            )
        details = issue.details if own or mended_by is None else {**issue.details, "mended_by": mended_by.path}
        return replace(issue, patch=own or None, details=details)

    def _made_by(self, pointer: str) -> tuple[Patch, Place] | None:
        while pointer and self._made:
            if pointer in self._made:
                return self._made[pointer]
            pointer = pointer.rpartition("/")[0]
        return None

    def moved(self, mended: Place, written: Place) -> None:
        """Remember that what the stages find at `mended` was written elsewhere, under a wrong key."""
        self._moved[mended.tokens] = (mended, written)

    def where_written(self, place: Place) -> Place:
        """Return the place in the definition as it was written; patches keep to the mended one."""
        if not self._moved:
            return place
        count = len(place.tokens)
        while count:
            found = self._moved.get(place.tokens[:count])
            if found is not None:
                mended, written = found
                below = written.tokens[:count] == mended.tokens
                if not below or count < len(
                    place.tokens
                ):  # what was taken out of a list is reported as the list itself
                    path = written.path + place.path[len(mended.path) :]
                    place = Place(path, (*written.tokens, *place.tokens[count:]))
                    count = count if below else len(written.tokens)
            count -= 1
        return place


def replace_at(place: Place, value: Json) -> Patch:
    """Return the patch that puts another value there."""
    return [{"op": "replace", "path": place.pointer, "value": value}]


def put_at(place: Place, found: Json, value: Json) -> Patch:
    """Return the patch that puts a value there, whether something stands there already or not."""
    return [{"op": "add" if found is None else "replace", "path": place.pointer, "value": value}]


def shown(value: Json) -> str:
    """Show a value inside a message: short, and never the content of an object or a list."""
    if isinstance(value, str):
        return repr(value if len(value) <= 60 else value[:60] + "…")
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, int | float) and abs(value) < 1e15:
        return repr(value)
    return an(json_type(value))


def an(word: str) -> str:
    """Put the article before a word.

    >>> an("object"), an("string")
    ('an object', 'a string')
    """
    return f"{'an' if word[:1] in 'aeiou' else 'a'} {word}"
