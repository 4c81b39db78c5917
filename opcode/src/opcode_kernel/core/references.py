"""The `${{ ... }}` token: how it is found in a text and how its reference is read (spec 02 sections 10.1 and 10.2)."""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass

from opcode_kernel.errors import InterpolationError, Json

NAMESPACES = ("steps", "inputs", "workflow", "context", "secrets", "loop")
MAX_ACCESSORS = 32
MAX_TOKENS = 1_000
#: Characters of a reference that an error shows.
_SHOWN = 200
#: What to do about a computation, which no reference can hold.
COMPUTE_ELSEWHERE = "compute it in a step with expr.eval, or in a condition"

_NAME = re.compile(r"[^.\[\]{}'\"|\x00-\x1f\x7f-\x9f]+")
_ACCESSOR = re.compile(
    r"""\.([^.\[\]{}'"|\x00-\x1f\x7f-\x9f]+)|\[(-?\d{1,9})\]|\[\s*'((?:\\.|[^'\\])*)'\s*\]|\[\s*"((?:\\.|[^"\\])*)"\s*\]"""
)
_DEFAULT = re.compile(r"""(?:'(?:\\.|[^'\\])*'|"(?:\\.|[^"\\])*"|[^'"])*?(\?\?)""")
#: What only a computation holds: operators between blanks, comparisons, calls, sums with a number, an operator in front.
_COMPUTED = re.compile(
    r"\s[-+*/%<>?:]\s|==|!=|<=|>=|&&|\|\||\w\(|[\w)\]]\s*[+*]\s*\d|\A[!(-]|\|\s*\w+(?:\s*:.*)?\Z|\w[<>]\d", re.DOTALL
)
_QUOTED = re.compile(r"""'(?:\\.|[^'\\])*'|"(?:\\.|[^"\\])*\"""")
_SINGLE = re.compile(r"'((?:\\.|[^'\\])*)'", re.DOTALL)
_CAST = re.compile(r"\|\s*(text|json)\s*\Z")


@dataclass(frozen=True, slots=True)
class Reference:
    """One reference: namespace, accessors after it (first a step id or an input name), optional default and cast."""

    text: str
    namespace: str
    path: tuple[str | int, ...]
    has_default: bool = False
    default: Json = None
    cast: str | None = None

    @property
    def rest(self) -> str:
        """The text after the namespace, for inputs whose names contain dots."""
        return self.text[len(self.namespace) + 1 :]


def split_tokens(text: str) -> list[str | Reference]:
    r"""Split a text into literal parts and references; `\${{` stands for a literal `${{`.

    >>> split_tokens("a ${{ inputs.u }} b")[0], split_tokens("a ${{ inputs.u }} b")[1].path
    ('a ', ('u',))
    """
    parts: list[str | Reference] = []
    literal, position, tokens = "", 0, 0
    while (start := text.find("${{", position)) >= 0:
        if start > 0 and text[start - 1] == "\\":
            literal += text[position : start - 1] + "${{"
            position = start + 3
            continue
        literal += text[position:start]
        end = _token_end(text, start)
        if literal:
            parts.append(literal)
            literal = ""
        parts.append(read_reference(text[start + 3 : end]))
        tokens += 1
        if tokens > MAX_TOKENS:
            raise too_many_tokens(text)
        position = end + 2
    literal += text[position:]
    if literal:
        parts.append(literal)
    return parts


def read_reference(token: str) -> Reference:
    """Read what stands between `${{` and `}}`."""
    source = token.strip()
    if not source:
        raise _refuse(token, "expected a reference such as inputs.name between ${{ and }}, found nothing")
    if "${{" in source:
        raise _refuse(source, "a ${{ may not stand inside another ${{ }}")
    body, default, has_default, cast = _split_options(source)
    match = _NAME.match(body)
    namespace = match[0].strip() if match else body
    if namespace not in NAMESPACES:
        if is_computed(source):
            raise _refuse(source, f"expected only a path such as inputs.name, found an expression; {COMPUTE_ELSEWHERE}")
        raise InterpolationError(
            f"unknown namespace {namespace[:_SHOWN]!r} in ${{{{{source[:_SHOWN]}}}}}; "
            f"expected one of {', '.join(NAMESPACES)}",
            details={"expression": source[:_SHOWN], "available_namespaces": list(NAMESPACES)},
        )
    path = _read_path(body, len(namespace), source)
    if not path:
        raise _refuse(source, f"expected a name after {namespace}, such as {namespace}.name")
    if namespace == "secrets":
        if body[len(namespace)] == ".":
            path = (body[len(namespace) + 1 :],)
        elif len(path) > 1 or not isinstance(path[0], str):
            raise _refuse(source, "expected one name after secrets, such as secrets['name']; a secret has no parts")
    return Reference(body, namespace, path, has_default, default, cast)


def is_computed(source: str) -> bool:
    """Tell whether what stands in a reference reads like a computation, which references cannot do.

    >>> is_computed("inputs.x + 1"), is_computed("size(inputs.xs)"), is_computed("inputs.a-b"), is_computed("x['a + b']")
    (True, True, False, False)
    """
    return _COMPUTED.search(_QUOTED.sub("''", source[:1_000])) is not None


def _split_options(source: str) -> tuple[str, Json, bool, str | None]:
    cast = None
    if match := _CAST.search(source):
        cast, source = match[1], source[: match.start()].rstrip()
    found = _DEFAULT.match(source)
    if not found:
        return source, None, False, cast
    literal = source[found.end(1) :].strip()
    try:
        default = json.loads(literal)
    except (ValueError, RecursionError):
        single = _SINGLE.fullmatch(literal)
        default = _unescape(single[1]) if single else _refused
    if default is _refused or isinstance(default, dict | list) or not _is_finite(default):
        raise _refuse(source, 'expected a JSON scalar after ??, such as "eu" or 3')
    return source[: found.start(1)].rstrip(), default, True, cast


_refused = object()


def _is_finite(value: Json) -> bool:
    """Python reads `NaN` and `1e999`, which JSON cannot express."""
    return not isinstance(value, float) or math.isfinite(value)


def _read_path(body: str, position: int, source: str) -> tuple[str | int, ...]:
    path: list[str | int] = []
    while position < len(body):
        match = _ACCESSOR.match(body, position)
        if match is None:
            hint = f"; {COMPUTE_ELSEWHERE}" if is_computed(source) else ""
            raise _refuse(
                source, f"cannot read {body[position:][:_SHOWN]!r}: only .name, [n] and ['name'] may follow, and at the end "
                f"?? with a default, | text or | json{hint}",
            )  # fmt: skip
        name, index, single, double = match.groups()
        if index is not None:
            path.append(int(index))
        else:
            path.append(name if name is not None else _unescape(single if single is not None else double))
        position = match.end()
    if len(path) > MAX_ACCESSORS:
        raise _refuse(source, f"expected at most {MAX_ACCESSORS} accessors")
    return tuple(path)


def _unescape(text: str) -> str:
    return re.sub(r"\\(.)", r"\1", text)


def _token_end(text: str, start: int) -> int:
    """Return where the token's `}}` stands, skipping quoted text."""
    quote, position = "", start + 3
    while position < len(text):
        char = text[position]
        if quote:
            if char == "\\":
                position += 1
            elif char == quote:
                quote = ""
        elif char in "'\"":
            quote = char
        elif text.startswith("}}", position):
            return position
        position += 1
    plain = text.find("}}", start + 3)
    if plain >= 0:
        return plain
    raise _refuse(text[start : start + 60], "expected }} to close the reference")


def too_many_tokens(text: str) -> InterpolationError:
    """Return the refusal of the text in which the last reference too many stands."""
    return _refuse(text[:60], f"expected at most {MAX_TOKENS} references in one template, found more")


def _refuse(expression: str, why: str) -> InterpolationError:
    expression = expression[:_SHOWN]
    return InterpolationError(f"cannot read the reference {expression!r}: {why}", details={"expression": expression})
