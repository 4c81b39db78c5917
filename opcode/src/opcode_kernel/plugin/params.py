"""Parameters and outputs of actions, declared once as dataclasses.

From one declaration come the decoder (coercion and checks of spec 02 section 1.4), the JSON Schema that
`opcode actions NAME` prints, and the table in the reference: they cannot drift apart.

    @dataclass(frozen=True, slots=True)
    class HashParams:
        data: Annotated[FreeText, Param("text to digest, as UTF-8")]
        algorithm: Annotated[Literal["sha256", "md5"], Param("digest to use")] = "sha256"

Field types: `str`, `int`, `float`, `bool`, `Json`, `Seconds`, `FreeText`, `Literal[...]`, `list[T]`,
`dict[str, T]`, `T | None` and unions of these. A field of type `Rest` collects the names that nothing else takes.
"""

from __future__ import annotations

import dataclasses
import json
import re
import types
import typing
from collections.abc import Callable, Sequence
from typing import Annotated, Any, Generic, Literal, NotRequired, TypeVar, Union, get_args, get_origin

from opcode_kernel.core.text import canonical_text, json_type, parse_duration
from opcode_kernel.errors import DefinitionError, Json

P = TypeVar("P")
_ABSENT: Any = object()


@dataclasses.dataclass(frozen=True, slots=True)
class Param:
    """What is known of one parameter beyond its type.

    `aliases` are other names accepted for it. `ge`, `le` bound numbers (for `Seconds`, in seconds), `min_length`
    and `max_length` bound texts and lists, `pattern` must match somewhere in the text.
    """

    description: str = ""
    aliases: Sequence[str] = ()
    min_length: int | None = None
    max_length: int | None = None
    ge: float | None = None
    le: float | None = None
    pattern: str | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class _Kind:
    name: str


#: A duration: text such as `1m30s`, or a bare number of seconds. Decoded to seconds, always above zero.
Seconds = Annotated[float, _Kind("duration")]

#: Text where an explicit JSON null means the text `null`, not absence (spec 02 section 1.4).
FreeText = Annotated[str, _Kind("free_text")]

#: The field that receives, as an object, every given name which no other field accepts; one per declaration at most.
Rest = Annotated[dict[str, Any], _Kind("rest")]


class Problem(typing.NamedTuple):
    """One thing wrong with given parameters: where, and what was expected and found."""

    path: str
    message: str


Decode = Callable[[Any, str, list[Problem]], Any]


class ParamsDecoder(Generic[P]):
    """Turn a JSON object into the declared dataclass, or say everything that is wrong with it."""

    def __init__(self, declaration: type[P]) -> None:
        self.declaration = declaration
        hints = typing.get_type_hints(declaration, include_extras=True)
        self._fields: list[tuple[str, tuple[str, ...], Decode, bool, bool]] = []
        self.names: set[str] = set()
        self._rest: str | None = None
        for field in dataclasses.fields(declaration):  # type: ignore[arg-type]
            tp, kind, param = _unpack(hints[field.name])
            if kind == "rest":
                self._rest = field.name
                continue
            required = field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
            null_is_value = kind == "free_text" or tp is Any
            accepted = (field.name, *param.aliases)
            self.names.update(accepted)
            self._fields.append((field.name, accepted, _decoder(hints[field.name]), required, null_is_value))

    def decode(self, params: Json) -> P:
        """Return the dataclass.

        Raises:
            DefinitionError: with every problem in `details.problems` and the first one in the message.
        """
        problems: list[Problem] = []
        values = self._collect(params, problems)
        if problems:
            first = problems[0]
            more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
            raise DefinitionError(
                f"{first.path}: {first.message}{more}",
                details={"problems": [{"path": p.path, "message": p.message} for p in problems]},
            )
        return self.declaration(**values)

    def check(self, params: Json, *, dynamic: Callable[[Any], bool] = lambda value: False) -> list[Problem]:
        """Return the problems of literal params; values for which `dynamic` holds are taken on trust."""
        problems: list[Problem] = []
        self._collect(params, problems, dynamic)
        return problems

    def unknown(self, params: dict[str, Json]) -> list[str]:
        """Return the given names that no field or alias accepts, sorted; none when a `Rest` field takes them."""
        return [] if self._rest is not None else sorted(set(params) - self.names)

    def _collect(
        self, params: Json, problems: list[Problem], dynamic: Callable[[Any], bool] | None = None
    ) -> dict[str, Any]:
        if params is None:
            params = {}
        if not isinstance(params, dict):
            problems.append(Problem("params", f"expected an object, found {json_type(params)}"))
            return {}
        values: dict[str, Any] = {}
        for name, accepted, decode, required, null_is_value in self._fields:
            value = _ABSENT
            for key in accepted:
                if key in params:
                    value = params[key]
                    break
            if value is None and not null_is_value:
                value = _ABSENT
            if value is _ABSENT:
                if required:
                    problems.append(Problem(name, "expected a value, found none"))
            elif dynamic is None or not dynamic(value):
                values[name] = decode(value, name, problems)
        if self._rest is not None:
            values[self._rest] = {name: value for name, value in params.items() if name not in self.names}
        return values


def schema_of(declaration: Any) -> dict[str, Json]:
    """Return the JSON Schema (draft 2020-12) of a params dataclass, an output `TypedDict` or any field type."""
    tp, kind, param = _unpack(declaration)
    if dataclasses.is_dataclass(tp):
        return _object_schema(tp, {
            f.name: (f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING, f.default)
            for f in dataclasses.fields(tp)
        })  # fmt: skip
    if typing.is_typeddict(tp):
        required: frozenset[str] = tp.__required_keys__
        return _object_schema(tp, {name: (name in required, dataclasses.MISSING) for name in tp.__annotations__})
    schema = _type_schema(tp, kind)
    numeric = schema.get("type") in ("integer", "number")
    for key, value in (
        ("description", param.description or None), ("minLength", param.min_length), ("maxLength", param.max_length),
        ("minimum", param.ge if numeric else None), ("maximum", param.le if numeric else None),
        ("pattern", param.pattern),
    ):  # fmt: skip
        if value is not None:
            schema[key] = value
    if schema.get("type") == "array":
        for old, new in (("minLength", "minItems"), ("maxLength", "maxItems")):
            if old in schema:
                schema[new] = schema.pop(old)
    return schema


def _object_schema(tp: Any, members: dict[str, tuple[bool, Any]]) -> dict[str, Json]:
    hints = typing.get_type_hints(tp, include_extras=True)
    properties: dict[str, Json] = {}
    required: list[str] = []
    additional: Json = True
    for name, (is_required, default) in members.items():
        _, kind, param = _unpack(hints[name])
        if kind == "rest":
            additional = {"description": param.description} if param.description else True
            continue
        properties[name] = schema_of(hints[name])
        if param.aliases:
            properties[name]["x-aliases"] = list(param.aliases)
        if is_required:
            required.append(name)
        elif default is not dataclasses.MISSING and default is not None:
            properties[name]["default"] = default
    schema: dict[str, Json] = {"type": "object", "properties": properties, "additionalProperties": additional}
    if required:
        schema["required"] = required
    return schema


def _unpack(hint: Any) -> tuple[Any, str, Param]:
    if get_origin(hint) is NotRequired:
        hint = get_args(hint)[0]
    kind, param = "", Param()
    if get_origin(hint) is Annotated:
        hint, *extras = get_args(hint)
        for extra in extras:
            if isinstance(extra, _Kind):
                kind = extra.name
            elif isinstance(extra, Param):
                param = extra
    if get_origin(hint) is NotRequired:
        hint, inner_kind, inner = _unpack(get_args(hint)[0])
        kind, param = inner_kind or kind, inner if inner.description else param
    return hint, kind, param


def _union_members(tp: Any) -> list[Any]:
    return [arg for arg in get_args(tp) if arg is not type(None)] if _is_union(tp) else [tp]


def _is_union(tp: Any) -> bool:
    return get_origin(tp) in (Union, types.UnionType)


def _type_schema(tp: Any, kind: str) -> dict[str, Json]:
    if kind == "duration":
        return {"type": ["string", "number"], "format": "duration", "description": "e.g. 30s, 1m30s"}
    if tp is Any:
        return {}
    if _is_union(tp):
        members = _union_members(tp)
        return schema_of(members[0]) if len(members) == 1 else {"anyOf": [schema_of(member) for member in members]}
    origin = get_origin(tp)
    if origin is Literal:
        return {"type": "string", "enum": list(get_args(tp))}
    if origin in (list, Sequence) or tp is list:
        return {"type": "array", "items": schema_of(get_args(tp)[0]) if get_args(tp) else {}}
    if origin is dict or tp is dict:
        args = get_args(tp)
        return {"type": "object", "additionalProperties": schema_of(args[1]) if args else True}
    if typing.is_typeddict(tp) or dataclasses.is_dataclass(tp):
        return schema_of(tp)
    return {"type": {str: "string", int: "integer", float: "number", bool: "boolean"}[tp]}


def _decoder(hint: Any) -> Decode:
    tp, kind, param = _unpack(hint)
    return _checked(_base_decoder(tp, kind), param)


def _base_decoder(tp: Any, kind: str) -> Decode:
    if kind == "duration":
        return _duration
    if tp is Any:
        return lambda value, path, problems: value
    if _is_union(tp):
        return _union(_union_members(tp))
    origin = get_origin(tp)
    if origin is Literal:
        return _literal(get_args(tp))
    if origin in (list, Sequence) or tp is list:
        return _sequence(_decoder(get_args(tp)[0]) if get_args(tp) else _base_decoder(Any, ""))
    if origin is dict or tp is dict:
        return _mapping(_decoder(get_args(tp)[1]) if get_args(tp) else _base_decoder(Any, ""))
    return {str: _text, int: _integer, float: _number, bool: _boolean}[tp]


def _checked(decode: Decode, param: Param) -> Decode:
    checks: list[tuple[Callable[[Any], bool], str]] = []
    if (low := param.min_length) is not None:
        checks.append((lambda v: len(v) >= low, f"at least {low} characters or items"))
    if (high := param.max_length) is not None:
        checks.append((lambda v: len(v) <= high, f"at most {high} characters or items"))
    if (ge := param.ge) is not None:
        checks.append((lambda v: v >= ge, f"a number of at least {canonical_text(ge)}"))
    if (le := param.le) is not None:
        checks.append((lambda v: v <= le, f"a number of at most {canonical_text(le)}"))
    if param.pattern is not None:
        pattern = re.compile(param.pattern)
        checks.append((lambda v: pattern.search(v) is not None, f"text matching {param.pattern}"))
    if not checks:
        return decode

    def decode_and_check(value: Any, path: str, problems: list[Problem]) -> Any:
        before = len(problems)
        decoded = decode(value, path, problems)
        if len(problems) == before:
            problems.extend(
                Problem(path, f"expected {what}, found {canonical_text(value)[:80]!r}")
                for holds, what in checks
                if not holds(decoded)
            )
        return decoded

    return decode_and_check


def _wrong(expected: str, value: Any, path: str, problems: list[Problem]) -> None:
    shown = f" {canonical_text(value)[:60]!r}" if not isinstance(value, dict | list) and value is not None else ""
    problems.append(Problem(path, f"expected {expected}, found {json_type(value)}{shown}"))


def _text(value: Any, path: str, problems: list[Problem]) -> Any:
    return value if type(value) is str else canonical_text(value)


def _integer(value: Any, path: str, problems: list[Problem]) -> Any:
    if type(value) is int:
        return value
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, str) and re.fullmatch(r"[+-]?\d{1,40}", value.strip(), re.ASCII):
        return int(value)
    return _wrong("an integer", value, path, problems)


def _number(value: Any, path: str, problems: list[Problem]) -> Any:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return value
    if isinstance(value, str) and re.fullmatch(r"[+-]?\d+(\.\d+)?([eE][+-]?\d+)?", value.strip(), re.ASCII):
        return float(value)
    return _wrong("a number", value, path, problems)


def _boolean(value: Any, path: str, problems: list[Problem]) -> Any:
    if isinstance(value, bool):
        return value
    if value == "true":
        return True
    if value == "false":
        return False
    return _wrong("true or false", value, path, problems)


def _duration(value: Any, path: str, problems: list[Problem]) -> Any:
    seconds = -1.0
    if isinstance(value, str):
        try:
            seconds = parse_duration(value)
        except ValueError as error:
            problems.append(Problem(path, str(error)))
            return None
    elif isinstance(value, int | float) and not isinstance(value, bool):
        seconds = float(value)
    else:
        return _wrong("a duration such as 30s", value, path, problems)
    if seconds <= 0:
        problems.append(Problem(path, f"expected a duration above zero, found {canonical_text(value)!r}"))
    return seconds


def _literal(choices: tuple[Any, ...]) -> Decode:
    def decode(value: Any, path: str, problems: list[Problem]) -> Any:
        if value in choices:
            return value
        return _wrong("one of " + ", ".join(map(str, choices)), value, path, problems)

    return decode


def _from_text(value: Any, wanted: type) -> Any:
    """A string whose whole text parses to the wanted container counts as that container."""
    if isinstance(value, str):
        try:
            parsed = json.loads(value)
        except (ValueError, RecursionError):
            return value
        return parsed if isinstance(parsed, wanted) else value
    return value


def _sequence(item: Decode) -> Decode:
    def decode(value: Any, path: str, problems: list[Problem]) -> Any:
        value = _from_text(value, list)
        if not isinstance(value, list):
            return _wrong("an array", value, path, problems)
        return [item(each, f"{path}[{index}]", problems) for index, each in enumerate(value)]

    return decode


def _mapping(item: Decode) -> Decode:
    def decode(value: Any, path: str, problems: list[Problem]) -> Any:
        value = _from_text(value, dict)
        if not isinstance(value, dict):
            return _wrong("an object", value, path, problems)
        return {key: item(each, f"{path}.{key}", problems) for key, each in value.items()}

    return decode


def _union(members: list[Any]) -> Decode:
    """Take the member whose JSON type is the value's own; coerce to the first that accepts it otherwise."""
    decoders = [(_decoder(member), _accepts(member)) for member in members]

    def decode(value: Any, path: str, problems: list[Problem]) -> Any:
        for decoder, exact in decoders:
            if json_type(value) in exact:
                return decoder(value, path, problems)
        trial: list[Problem] = []
        for decoder, _ in decoders:
            trial = []
            decoded = decoder(value, path, trial)
            if not trial:
                return decoded
        problems.extend(trial)
        return None

    return decode


def _accepts(member: Any) -> tuple[str, ...]:
    tp, kind, _ = _unpack(member)
    if kind == "duration":
        return ("string", "number")
    origin = get_origin(tp) or tp
    names = {str: "string", int: "number", float: "number", bool: "boolean", list: "array", dict: "object"}
    return (names[origin],) if origin in names else ("string",)
