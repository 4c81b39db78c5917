"""Reports of texts that do not compile: one sentence of ours for what the parsers say, and what to write instead."""

from __future__ import annotations

import re
from collections.abc import Sequence
from difflib import get_close_matches

from opcode_cel.library import FUNCTIONS, METHODS
from opcode_cel.shape import MACROS
from opcode_cel.tokens import Token
from opcode_cel.values import VARIABLES

_UNDECLARED = re.compile(r"undeclared reference to '((\w+)[^']*)'")
_MISFIT = re.compile(r"(?:mismatched|extraneous) input '(.*)' expecting (.*)", re.DOTALL)
_MISSING = re.compile(r"missing (.+) at '(.*)'", re.DOTALL)
_STRAY = re.compile(r"token recognition error at: '(.*)'", re.DOTALL)
_LOST = re.compile(r"no viable alternative at input '(.*)'", re.DOTALL)
_QUOTED = re.compile(r"'[^']+'")
_KEYWORD = re.compile(r"found \.(in|true|false|null)\Z")
_END = "<EOF>"
_FUNCTIONS = sorted({*FUNCTIONS, *METHODS, *MACROS, "has", "type", "dyn"})
#: Signs and words of other languages.
_SIGNS = {"and": "&&", "or": "||", "not": "!", "=": "==", "===": "==", "<>": "!="}
_WORDS = {"True": "true", "False": "false", "None": "null", "nil": "null", "undefined": "null", "item": "iter.item"}
_TAKES = {
    "has": "a field such as has(a.b)", "size": "one value", "string": "one value", "int": "one value", "double": "one value",
    **{name: f"a name and an expression, as in list.{name}(e, e > 1)" for name in MACROS},
}  # fmt: skip
_CALLS = {
    "len": "size(x)", "length": "size(x)", "count": "size(x)", "includes": "x.contains(y)", "any": "x.exists(e, …)",
    "some": "x.exists(e, …)", "every": "x.all(e, …)", "str": "string(x)", "float": "double(x)", "number": "double(x)",
    "toString": "string(x)", "defined": "has(x.y)",
}  # fmt: skip


def in_words(problem: str) -> str:
    """Return what a parser says as one sentence: what was expected, what was found."""
    problem = problem.removeprefix("Syntax error: ")
    if match := _MISFIT.match(problem):
        return f"expected {_expected(match[2])}, found {_found(match[1])}"
    if match := _MISSING.match(problem):
        return f"expected {match[1]}, found {_found(match[2])}"
    if match := _STRAY.match(problem):
        return f"expected an operator or a value, found {_found(match[1])}"
    if match := _LOST.match(problem):
        return f"expected an expression, found {_found(match[1])}"
    return problem


def advice(problem: str, offset: int, tokens: Sequence[Token]) -> tuple[str, int]:
    """Return an addition to the report, empty when there is nothing to say, and the place that is really meant."""
    if "reserved identifier: loop" in problem:
        return "; in CEL it is called iter, as in iter.item and iter.index", offset
    if match := _KEYWORD.search(problem):
        return f"; a field of that name is written ['{match[1]}']", offset
    undeclared = _UNDECLARED.search(problem)
    if undeclared is None:
        return _other_sign(offset, tokens), offset
    at = _nearest(tokens, undeclared[2], offset)
    if at is None:
        return "", offset
    start = tokens[at].start
    if at + 1 < len(tokens) and tokens[at + 1].text == "(":
        return _function(undeclared[2]), start
    if at > 2 and tokens[at - 3].text == "." and "-" in (name := _with_hyphens(tokens, at - 2)):
        return f"; a name with hyphens is written ['{name}']", start
    if at + 1 < len(tokens) and tokens[at + 1].text in (".", "["):
        near = get_close_matches(undeclared[2].lower()[:64], VARIABLES, 1, 0.75)
        if near and undeclared[2] not in _WORDS:
            return f"; did you mean {near[0]}{_fields(tokens, at + 1)}?", start
    return _variable(undeclared[1], undeclared[2]), start


def _variable(path: str, name: str) -> str:
    if (meant := _WORDS.get(name) or _SIGNS.get(name)) is not None:
        return f"; write {meant} (the variables are {', '.join(VARIABLES)})"
    step = f"steps.{path} for a step, " if path != name else ""
    return f"; the variables are {', '.join(VARIABLES)}: write {step}inputs.{path} for an input"


def _function(name: str) -> str:
    if name in _SIGNS:
        return f"; write {_SIGNS[name]}"
    if name in _FUNCTIONS:
        return f"; {name}() takes {_TAKES.get(name, 'other arguments')}"
    same = next((known for known in _FUNCTIONS if known.lower() == name.lower().replace("_", "")), None)
    if same or name in _CALLS:
        return f"; write {same or _CALLS[name]}"
    return f"; the functions are {', '.join(_FUNCTIONS)}; for more use a step with expr.eval"


def _other_sign(offset: int, tokens: Sequence[Token]) -> str:
    """The token that does not fit, or the one before it, may be a word or sign of another language."""
    at = next((number for number, token in enumerate(tokens) if token.start + len(token.text) > offset), None)
    if at is None or offset < 0:
        return ""
    for token in (tokens[at], *tokens[max(at - 1, 0) : at]):
        if token.text in _SIGNS:
            return f"; write {_SIGNS[token.text]}"
    return ""


def _nearest(tokens: Sequence[Token], word: str, offset: int) -> int | None:
    """Return the last token of this text up to the place, else the first one after it."""
    places = [number for number, token in enumerate(tokens) if token.text == word]
    before = [number for number in places if tokens[number].start <= offset]
    return before[-1] if before else places[0] if places else None


def _expected(names: str) -> str:
    """The parser lists all tokens that could follow; what they have in common says more."""
    if "IDENTIFIER" in names:
        return "a value"
    if _END in names:
        return "an operator or the end"
    return " or ".join(_QUOTED.findall(names)) or names if len(names) <= 20 else "something else"


def _found(text: str) -> str:
    return "the end of the text" if text == _END else text.strip()[:40] or "a blank"


def _fields(tokens: Sequence[Token], at: int) -> str:
    """Return the fields that follow a name with dots, as they are written."""
    end = at
    while end + 1 < len(tokens) and tokens[end].text == "." and tokens[end + 1].kind == "word":
        end += 2
    return "".join(token.text for token in tokens[at:end])


def _with_hyphens(tokens: Sequence[Token], at: int) -> str:
    """Return the name that was meant, from its first word on: `a-b` is three tokens."""
    name, end = tokens[at].text, tokens[at].start + len(tokens[at].text)
    for token in tokens[at + 1 :]:
        if (
            token.start != end
            or token.text in (".", "[")
            or not (token.text == "-" or token.kind in ("word", "number"))
        ):
            break
        name, end = name + token.text, end + len(token.text)
    return name
