"""The outcome of a validation: all issues in document order, and the error made of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from opcode_kernel.core.place import Token
from opcode_kernel.core.validation.issues import Issue, Issues
from opcode_kernel.errors import DefinitionError, Json

#: More issues of one severity than this are counted, not listed: nobody reads them, and an agent pays for each.
_LISTED = 500


@dataclass(frozen=True, slots=True)
class Report:
    """Errors refuse the definition, warnings never do."""

    errors: tuple[Issue, ...] = ()
    warnings: tuple[Issue, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether the definition is accepted."""
        return not self.errors

    def to_json(self) -> dict[str, Json]:
        """Return the `details` of spec 01 section 2.4; the counts are exact even when a list was cut."""
        return {
            "error_count": len(self.errors),
            "warning_count": len(self.warnings),
            "warnings": [issue.to_json() for issue in self.warnings[:_LISTED]],
            "errors": [issue.to_json() for issue in self.errors[:_LISTED]],
        }

    def error(self) -> DefinitionError:
        """Return the exception to raise: a single error speaks for itself, several are counted.

        Raises:
            ValueError: there is no error to report.
        """
        if not self.errors:
            raise ValueError("a report without errors cannot be raised; check `ok` first")
        if len(self.errors) == 1:
            only = self.errors[0]
            return DefinitionError(only.message, code=only.code, retryable=False, details=self.to_json())
        return DefinitionError(
            f"validation failed with {len(self.errors)} errors", retryable=False, details=self.to_json()
        )


def report(issues: Issues, definition: Json) -> Report:
    """Sort what was collected by document position; what stands at one place keeps the order of the stages."""
    position = _Positions(definition)
    return Report(_sorted(issues, issues.errors, position), _sorted(issues, issues.warnings, position))


def sorted_issues(found: Sequence[Issue], definition: Json) -> list[Issue]:
    """Return issues that several sources found by document position."""
    position = _Positions(definition)  # what stands beside the definition comes last, as ever
    return sorted(found, key=lambda issue: position.of(issue.place.tokens))


def _sorted(issues: Issues, found: Sequence[Issue], position: _Positions) -> tuple[Issue, ...]:
    written = [(issue, issues.where_written(issue.place)) for issue in found]
    placed = [issue if place is issue.place else replace(issue, place=place) for issue, place in written]
    return tuple(sorted(placed, key=lambda issue: position.of(issue.place.tokens)))


class _Positions:
    """Where places stand in the document as it was written: the n-th member of the m-th element, and so on."""

    def __init__(self, definition: Json) -> None:
        self._definition = definition
        self._members: dict[int, dict[str, int]] = {}

    def of(self, tokens: tuple[Token, ...]) -> tuple[int, ...]:
        """Return a sortable position; what is not there comes after everything that is."""
        position: list[int] = []
        value = self._definition
        for token in tokens:
            if isinstance(value, dict):
                position.append(self._numbered(value).get(str(token), len(value)))
                value = value.get(token)
            elif isinstance(value, list) and isinstance(token, int):
                position.append(token)
                value = value[token] if 0 <= token < len(value) else None
            else:
                break
        return tuple(position)

    def _numbered(self, value: dict[str, Json]) -> dict[str, int]:
        numbers = self._members.get(id(value))
        if numbers is None:
            numbers = {key: number for number, key in enumerate(value)}
            self._members[id(value)] = numbers
        return numbers
