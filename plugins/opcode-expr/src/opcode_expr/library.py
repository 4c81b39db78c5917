"""The table of all builtins: what exists, with how many arguments."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from opcode_expr import builtins_array as arrays
from opcode_expr import builtins_text as texts
from opcode_expr import builtins_time as times
from opcode_expr.builtins_number import NUMBERS_TABLE

#: name -> (function of the budget and the arguments, fewest, most arguments)
FUNCTIONS: dict[str, tuple[Callable[..., Any], int, int]] = {
    **NUMBERS_TABLE,
    "len": (arrays.length, 1, 1), "concat": (arrays.concat, 1, 1000), "flatten": (arrays.flatten, 1, 1),
    "uniq": (arrays.unique, 1, 1), "join": (arrays.join, 1, 2), "first": (arrays.first, 1, 1),
    "last": (arrays.last, 1, 1), "take": (arrays.take, 2, 2), "reverse": (arrays.reverse, 1, 1),
    "sort": (arrays.sort, 1, 2), "keys": (arrays.keys, 1, 1), "values": (arrays.values, 1, 1),
    "toPairs": (arrays.to_pairs, 1, 1), "fromPairs": (arrays.from_pairs, 1, 1), "get": (arrays.get, 2, 2),
    "type": (arrays.kind_of, 1, 1),
    "trim": (texts.trim, 1, 2), "trimPrefix": (texts.trim_prefix, 1, 2), "trimSuffix": (texts.trim_suffix, 1, 2),
    "upper": (texts.upper, 1, 1), "lower": (texts.lower, 1, 1), "split": (texts.split, 2, 3),
    "splitAfter": (texts.split_after, 2, 3), "replace": (texts.replace, 3, 4), "repeat": (texts.repeat, 2, 2),
    "indexOf": (texts.index_of, 2, 2), "lastIndexOf": (texts.last_index_of, 2, 2),
    "hasPrefix": (texts.has_prefix, 2, 2), "hasSuffix": (texts.has_suffix, 2, 2), "string": (texts.to_text, 1, 1),
    "toJSON": (texts.to_json_text, 1, 1), "fromJSON": (texts.from_json, 1, 1),
    "toBase64": (texts.to_base64, 1, 1), "fromBase64": (texts.from_base64, 1, 1),
    "now": (times.now, 0, 1), "duration": (times.duration, 1, 1), "date": (times.date, 1, 4),
    "timezone": (times.timezone, 1, 1),
}  # fmt: skip

ARITY: dict[str, tuple[int, int]] = {name: (low, high) for name, (_, low, high) in FUNCTIONS.items()}

#: Builtins whose second argument is a predicate, with the arity of the whole call.
PREDICATES: dict[str, tuple[int, int]] = {
    "all": (2, 2), "none": (2, 2), "any": (2, 2), "one": (2, 2), "filter": (2, 2), "map": (2, 2), "find": (2, 2),
    "findIndex": (2, 2), "findLast": (2, 2), "findLastIndex": (2, 2), "groupBy": (2, 2), "count": (1, 2),
    "sum": (1, 2), "sortBy": (2, 3), "reduce": (2, 3),
}  # fmt: skip
