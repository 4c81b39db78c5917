"""What the operators do to two values. Each takes the budget first; the compiler adds shortcuts for numbers."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from opcode_expr.budget import Budget
from opcode_expr.faults import Fault
from opcode_expr.regex import compile_pattern, search
from opcode_expr.timeline import Duration, Moment
from opcode_expr.values import LARGEST, LONG, NUMBERS, comparable, equal, integer, type_name, whole

Operation = Callable[[Budget, Any, Any], Any]


def _mismatch(op: str, a: Any, b: Any) -> Fault:
    return Fault(f"operator {op} cannot be applied to {type_name(a)} and {type_name(b)}")


def add(budget: Budget, a: Any, b: Any) -> Any:
    """Numbers, texts, dates with durations."""
    if type(a) in NUMBERS and type(b) in NUMBERS:
        return bounded(a + b)
    match a, b:
        case str(), str():
            budget.text(len(a) + len(b))
            return a + b
        case Moment(), Duration():
            return a.moved(b.ns)
        case Duration(), Moment():
            return b.moved(a.ns)
        case Duration(), Duration():
            return Duration(a.ns + b.ns)
    raise _mismatch("+", a, b)


def subtract(budget: Budget, a: Any, b: Any) -> Any:
    """Numbers, dates, durations."""
    if type(a) in NUMBERS and type(b) in NUMBERS:
        return bounded(a - b)
    match a, b:
        case Moment(), Moment():
            return Duration(a.ns - b.ns)
        case Moment(), Duration():
            return a.moved(-b.ns)
        case Duration(), Duration():
            return Duration(a.ns - b.ns)
    raise _mismatch("-", a, b)


def multiply(budget: Budget, a: Any, b: Any) -> Any:
    """Numbers, or a duration and a number."""
    if type(a) in NUMBERS and type(b) in NUMBERS:
        return bounded(a * b)
    if isinstance(a, Duration) and type(b) in NUMBERS:
        return Duration(math.trunc(a.ns * b))
    if type(a) in NUMBERS and isinstance(b, Duration):
        return Duration(math.trunc(a * b.ns))
    raise _mismatch("*", a, b)


def divide(budget: Budget, a: Any, b: Any) -> Any:
    """Divide to a float, by zero as IEEE 754 does."""
    if isinstance(a, Duration) and type(b) in NUMBERS and b:
        return Duration(math.trunc(a.ns / b))
    if type(a) not in NUMBERS or type(b) not in NUMBERS:
        raise _mismatch("/", a, b)
    if b:
        return a / b
    if not a or a != a:
        return math.nan
    return math.copysign(math.inf, a) * math.copysign(1.0, b)


def modulo(budget: Budget, a: Any, b: Any) -> Any:
    """Return the remainder of two integral numbers, with the sign of the first."""
    if type(a) not in NUMBERS or type(b) not in NUMBERS:
        raise _mismatch("%", a, b)
    left, right = integer(a, "%"), integer(b, "%")
    if not right:
        raise Fault("integer divide by zero")
    rest = abs(left) % abs(right)
    return -rest if left < 0 else rest


def power(budget: Budget, a: Any, b: Any) -> Any:
    """Raise to a float."""
    if type(a) not in NUMBERS or type(b) not in NUMBERS:
        raise _mismatch("**", a, b)
    try:
        return math.pow(a, b)
    except OverflowError:
        return -math.inf if a < 0 and b % 2 == 1 else math.inf
    except ValueError:
        return math.inf if not a else math.nan


def bounded(value: Any) -> Any:
    """Refuse integers of more than 1023 bits."""
    if type(value) is int and not -LARGEST < value < LARGEST:
        raise Fault("integer out of range: more than 308 digits")
    return value


def less(budget: Budget, a: Any, b: Any) -> bool:
    """`<` of numbers, texts, dates or durations."""
    comparable(budget, a, b, "<")
    return bool(a < b)


def greater(budget: Budget, a: Any, b: Any) -> bool:
    """`>`, see `less`."""
    comparable(budget, a, b, ">")
    return bool(b < a)


def at_most(budget: Budget, a: Any, b: Any) -> bool:
    """`<=`, see `less`."""
    comparable(budget, a, b, "<=")
    return bool(a <= b)


def at_least(budget: Budget, a: Any, b: Any) -> bool:
    """`>=`, see `less`."""
    comparable(budget, a, b, ">=")
    return bool(b <= a)


def contained(budget: Budget, a: Any, b: Any) -> bool:
    """`in`: an element of a list, or a key of a map."""
    if b is None:
        return False
    if isinstance(b, list):
        if isinstance(a, str) and len(a) < LONG:
            budget.spend(1 + (len(b) >> 4))
            return a in b
        if type(a) in NUMBERS:
            budget.spend(1 + (len(b) >> 2))
            return any(a == item for item in b if type(item) in NUMBERS)
        return any(equal(budget, a, item) for item in b)
    if isinstance(b, Mapping):
        if a is None or isinstance(a, str):
            return a in b
        raise Fault(f"expected a string key before in, found {type_name(a)}")
    hint = "; use contains" if isinstance(b, str) else ""
    raise Fault(f"operator in expects an array or a map on its right, found {type_name(b)}{hint}")


def in_range(budget: Budget, value: Any, low: Any, high: Any) -> bool:
    """`x in a..b`, without making the range."""
    first, last = whole(low, ".."), whole(high, "..")
    if type(value) not in NUMBERS:
        return False
    return bool(first <= value <= last and value == math.trunc(value))


def span(budget: Budget, a: Any, b: Any) -> list[int]:
    """`a..b`: all integers from a to b."""
    first, last = whole(a, ".."), whole(b, "..")
    if last < first:
        return []
    budget.grow(last - first + 1)
    return list(range(first, last + 1))


def _texts(budget: Budget, a: Any, b: Any, op: str) -> bool:
    """Check for two texts; with nil on either side the answer is false."""
    if isinstance(a, str) and isinstance(b, str):
        budget.read(len(a))
        return True
    if a is None or b is None:
        return False
    raise _mismatch(op, a, b)


def contains(budget: Budget, a: Any, b: Any) -> bool:
    """Whether the second text lies in the first."""
    return _texts(budget, a, b, "contains") and b in a


def starts_with(budget: Budget, a: Any, b: Any) -> bool:
    """Whether the first text starts with the second."""
    return _texts(budget, a, b, "startsWith") and a.startswith(b)


def ends_with(budget: Budget, a: Any, b: Any) -> bool:
    """Whether the first text ends with the second."""
    return _texts(budget, a, b, "endsWith") and a.endswith(b)


def matches(budget: Budget, a: Any, b: Any) -> bool:
    """Search for an RE2 pattern anywhere in the text."""
    if not _texts(budget, a, b, "matches"):
        return False
    # compiling may take milliseconds, and a loop may come with a new pattern every time
    budget.check()
    return search(budget, compile_pattern(b), a)


OPERATIONS: dict[str, Operation] = {
    "+": add, "-": subtract, "*": multiply, "/": divide, "%": modulo, "**": power, "==": equal,
    "!=": lambda budget, a, b: not equal(budget, a, b), "<": less, ">": greater, "<=": at_most, ">=": at_least,
    "in": contained, "..": span, "contains": contains, "startsWith": starts_with, "endsWith": ends_with,
    "matches": matches,
}  # fmt: skip
