"""Keeping secrets out of everything that is written: known values are masked, in every spelling (`spellings.py`).

Three redactors ask for that. Each run with secrets has one, and whatever enters its core goes through it, so that no event,
row or answer made of the run's state can show one (`LiveRun`). The engine's own knows every secret it ever fetched; answers
and log lines go through it last. Beneath both lies the one of the secrets that belong to no run.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Sequence
from dataclasses import replace
from typing import Any, TypeVar
from weakref import WeakSet

from opcode_kernel.codec import encode
from opcode_kernel.core.holes import MASK
from opcode_kernel.core.messages import (
    ActionFailed,
    ActionSucceeded,
    ContextPatched,
    Message,
    Signal,
)
from opcode_kernel.errors import Failure, Json, OpcodeError
from opcode_kernel.runtime.fragments import Fragments
from opcode_kernel.runtime.searching import Patterns, compiled, is_in, masked
from opcode_kernel.runtime.spellings import SHORTEST, number_of

M = TypeVar("M", bound=Message)

#: Values in one expression; the next ones make another, so that a new value costs what it costs alone.
_TOGETHER = 16
#: What is left of a value with more texts to look at is hidden as a whole.
_MOST_TEXTS = 30_000
#: What the core looks for in what it is told, and the member of a signal that it compares with words of the definition.
_CHOSEN = {"decision": "choice", "data": "signal"}
_WORDS = {*_CHOSEN.values(), "agent_notes", "data", "output", "reason", "reasoning", "replace"}
#: Of a long list so many items are looked at together, and one by one only where there is something.
_BLOCK = 64


class Redactor:
    """Masks every value it has been told of, and those of the redactor it lies `over`. Without any it costs nothing."""

    def __init__(self, *, over: Redactor | None = None, shortest_number: int = SHORTEST) -> None:
        self._over = over
        self._shortest_number = shortest_number
        self._values: dict[str, None] = {}
        #: The expressions, and of how many values: actions log from threads, so one may be added while they are made.
        self._compiled: tuple[int, Patterns] = (0, ())
        self._numbers: set[int | float] = set()
        #: The parts that errors may show, and of how many values.
        self._fragments, self._cut = Fragments(), 0

    def __repr__(self) -> str:
        return f"<Redactor of {len(self._values)} values>"

    @property
    def armed(self) -> bool:
        """Whether there is anything to mask."""
        return bool(self._values) or (self._over is not None and self._over.armed)

    def __bool__(self) -> bool:
        return self.armed

    def add(self, value: str) -> None:
        """Mask this value from now on. Those under four characters, or of blanks alone, are not searched for."""
        if len(value) < SHORTEST or value.isspace() or value in self._values:
            return
        self._values[value] = None  # its expression is made when it is needed, for values come in groups
        if (number := number_of(value)) is not None:
            self._numbers.add(number)

    def text(self, text: str) -> str:
        """Return a text with every known secret masked."""
        return text if not self.armed else masked(self.patterns(), text)

    def value(self, value: Json) -> Json:
        """Return a JSON value with every known secret masked, keys and numbers included.

        What is no JSON is looked at by its `repr`.
        """
        if not self.armed:
            return value
        if isinstance(value, str):
            return self.text(value)
        try:
            if not self.found_in(value):
                return value
        except ValueError:
            pass  # no JSON; whoever writes it will say so
        try:
            return _Walk(self).masked(value)
        except RecursionError:
            return MASK

    def failure(self, failure: Failure) -> Failure:
        """Return a failure whose message and details show no secret."""
        if not self.armed:
            return failure
        message, details = self._told(failure.message), self._told(failure.details)
        return replace(failure, message=message, details=details)

    def error(self, error: OpcodeError) -> OpcodeError:
        """Return an error whose message and details show no secret."""
        message, details = self._told(error.message), self._told(error.details)
        if message == error.message and details == error.details:
            return error
        return OpcodeError(message, code=error.code, retryable=error.retryable, details=details, fatal=error.fatal)

    def message(self, message: M, offered: Callable[[], Container[Json]] = tuple) -> M:
        """Return a message to a run in which no secret comes along. `Start` is looked at where its inputs are made.

        `offered` returns the ids that an answer may be one of; such a choice is a word of the definition and stays.
        """
        hidden: dict[str, Any] = {}
        match message:
            case ActionSucceeded():
                hidden = {"output": self.value(message.output), "patch": self._members(message.patch)}
                hidden["emitted"] = message.emitted and [
                    (self.text(kind), self.value(payload)) for kind, payload in message.emitted
                ]
            case ActionFailed():
                notes = message.notes and [(kind, self._members(payload) or {}) for kind, payload in message.notes]
                hidden = {"failure": self.failure(message.failure), "notes": notes}
            case Signal():
                chosen = _CHOSEN.get(message.type)
                if chosen == "choice" and message.payload.get("choice") not in offered():
                    chosen = None  # a question without options is answered in words of the agent's own
                payload = self._members(message.payload, chosen)
                hidden = {"payload": payload, "reasoning": self.value(message.reasoning)}
            case ContextPatched():
                hidden = {"data": self.value(message.data), "agent_notes": self.value(message.agent_notes)}
        return replace(message, **hidden) if hidden else message

    def _told(self, value: Any) -> Any:
        """Mask a part of an error, where values are quoted and cut."""
        return self.value(self.without_fragments(value)) if self.armed else value

    def without_fragments(self, value: Any) -> Any:
        """Mask the parts of secrets in a part of an error."""
        for secret in list(self._values)[self._cut :]:
            self._fragments.add(secret)
            self._cut += 1
        value = self._fragments.hidden(value)
        return value if self._over is None else self._over.without_fragments(value)

    def numbers(self) -> set[int | float]:
        """Return the secrets that may come back as a number."""
        return self._numbers if self._over is None else self._numbers | self._over.numbers()

    def hides_number(self, number: int | float) -> bool:
        """Tell whether a number shows one of `numbers`."""
        shown = repr(number)
        return len(shown) >= self._shortest_number and (
            number in self.numbers() or is_in(self.patterns(), shown.encode())
        )

    def patterns(self) -> Patterns:
        """Return the expressions to search with."""
        count, own = self._compiled
        if count != len(self._values):
            values = tuple(self._values)
            groups = (compiled(values[n : n + _TOGETHER]) for n in range(0, len(values), _TOGETHER))
            own = [pattern for group in groups for pattern in group]
            self._compiled = len(values), own
        return own if self._over is None or not self._over.armed else (*own, *self._over.patterns())

    def found_in(self, value: Json) -> bool:
        """Tell whether there is anything to mask in a JSON value (raises `ValueError` for any other)."""
        return is_in(self.patterns(), encode(value).encode())

    def _members(self, members: dict[str, Json] | None, chosen: str | None = None) -> dict[str, Json] | None:
        """Mask the members of an object that the core reads by name; a secret may be one of these words."""
        return members and {
            key if key in _WORDS else self.text(key): item if key == chosen else self.value(item)
            for key, item in members.items()
        }


#: The redactors of the engines in this process: log records do not say which engine they are about.
_OPEN: WeakSet[Redactor] = WeakSet()


def open_redactors() -> list[Redactor]:
    """Return what hides the secrets of the engines in this process."""
    return [redactor for redactor in list(_OPEN) if redactor.armed]


def watch(redactor: Redactor) -> Redactor:
    """Count a redactor among those of `open_redactors` for as long as it lives."""
    _OPEN.add(redactor)
    return redactor


class _Walk:
    """Goes through one JSON value of which it is known that there is something to mask in it."""

    def __init__(self, redactor: Redactor) -> None:
        self._redactor = redactor
        self._numbers = bool(redactor.numbers())
        self._keys: dict[Any, Any] = {}
        self._texts = 0

    def masked(self, value: Any) -> Any:
        if self._texts > _MOST_TEXTS:
            return MASK
        if isinstance(value, dict):
            return {self._key(key): self.masked(item) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return self._list(value)
        if value is None or isinstance(value, bool) or (isinstance(value, int | float) and not self._numbers):
            return value
        self._texts += 1
        if isinstance(value, str):
            return self._redactor.text(value)
        if isinstance(value, int | float):
            return MASK if self._redactor.hides_number(value) else value
        shown = repr(value)
        return value if self._redactor.text(shown) == shown else self._redactor.text(shown)

    def _key(self, key: Any) -> Any:
        if key not in self._keys:
            self._keys[key] = self.masked(key)
        return self._keys[key]

    def _list(self, items: Sequence[Any]) -> list[Any]:
        if len(items) <= _BLOCK:
            return [self.masked(item) for item in items]
        result: list[Any] = []
        for start in range(0, len(items), _BLOCK):
            if self._texts > _MOST_TEXTS:
                return [*result, MASK]
            block = items[start : start + _BLOCK]
            result += [self.masked(item) for item in block] if self._found_in(block) else block
        return result

    def _found_in(self, block: Sequence[Any]) -> bool:
        try:
            return self._redactor.found_in(list(block))
        except ValueError:
            return True  # no JSON, so it has to be looked at
