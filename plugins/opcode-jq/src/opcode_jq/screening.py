"""What a jq program may not say, and what of the scope it reads. Pure functions over tokens."""

from __future__ import annotations

from collections.abc import Sequence

from opcode_jq.paths import Step, read_path
from opcode_jq.tokens import Token
from opcode_kernel import ExpressionError, References, find_references

#: What reads the environment, files or other inputs, writes to a console, or ends the process.
_REFUSED = frozenset({
    "env", "input", "inputs", "import", "include", "modulemeta", "debug", "stderr", "input_filename", "halt",
    "input_line_number", "halt_error", "get_search_list", "get_jq_origin", "get_prog_origin",
})  # fmt: skip
_REFUSED_VARIABLES = frozenset({"ENV", "__loc__", "__prog_args"})

_BRACKETS = {"(": ")", "[": "]", "{": "}"}

#: The keys of the input object. The loop answers to both its names; `iter` is what CEL calls it.
ROOTS = ("steps", "inputs", "workflow", "context", "loop", "iter")
LOOP_ROOTS = frozenset({"loop", "iter"})


def refuse(tokens: Sequence[Token], text: str) -> None:
    """Refuse programs that want more than their input.

    Raises:
        ExpressionError: `VALIDATION_ERROR`, naming the word.
    """
    for index, token in enumerate(tokens):
        if token.kind != "word":
            continue
        before = tokens[index - 1].text if index else ""
        word = token.text.rpartition("::")[2]
        if before == "$":
            if word in _REFUSED_VARIABLES:
                raise _refusal(f"${word}", text)
        elif word in _REFUSED and not _is_key(tokens, index):
            raise _refusal(word, text)


def references_of(tokens: Sequence[Token], text: str) -> References:
    """Return what the program reads: exactly, when only its first path can see the input, else everything."""
    path = _only_view(tokens)
    if path is None or not path or not isinstance(path[0].key, str):
        found = find_references(text, dotted=True)
        # the second name of the loop is a second copy of its item, so only for programs that may ask for it
        roots = frozenset(ROOTS) if "iter" in text else frozenset(ROOTS) - {"iter"}
        return References(roots, found.steps, found.inputs, all_steps=True, workflow=found.workflow)
    names = [step.key if isinstance(step.key, str) else None for step in path[:3]] + [None, None]
    root, second, third = names[:3]
    if root not in ROOTS:
        return References()
    fields = frozenset({second} if second is not None else ())
    if root == "inputs":
        return References(frozenset({root}), inputs=fields)
    if root != "steps":
        return References(frozenset({str(root)}), workflow=fields if root == "workflow" else frozenset())
    steps = {} if second is None else {second: frozenset({third or ""})}
    return References(frozenset({root}), steps, all_steps=second is None)


def _only_view(tokens: Sequence[Token]) -> list[Step] | None:
    """Return the path at the head, if all the rest sees only what comes out of it: `.a.b`, `.a | …`, `[.a | …] | …`."""
    closing = _closing(tokens)
    start, end = 0, len(tokens)
    while start < end and start in closing and tokens[start].text == "[":
        close = closing[start]
        if close + 1 < end and not _pipes(tokens, close + 1, end):
            return None
        start, end = start + 1, close
    path, size = read_path(tokens[start:end])
    if start + size == end or _pipes(tokens, start + size, end):
        return path
    return None


def _pipes(tokens: Sequence[Token], index: int, end: int) -> bool:
    """Tell whether a pipe follows. `|=` is one and an equals sign to the tokenizer, and an update of the input to jq."""
    return tokens[index].text == "|" and not (index + 1 < end and tokens[index + 1].text == "=")


def _closing(tokens: Sequence[Token]) -> dict[int, int]:
    """Return the index of each opening bracket with that of its closing one."""
    found: dict[int, int] = {}
    open_ones: list[int] = []
    for index, token in enumerate(tokens):
        if token.kind == "other" and token.text in _BRACKETS:
            open_ones.append(index)
        elif token.kind == "other" and token.text in _BRACKETS.values() and open_ones:
            found[open_ones.pop()] = index
    return found


def _is_key(tokens: Sequence[Token], index: int) -> bool:
    """Tell whether a word is a key of an object construction: `{env: 1}`, or `{env}` which is short for `.env`."""
    if tokens[index].within != "{" or tokens[index - 1].text not in ("{", ","):
        return False
    return index + 1 < len(tokens) and tokens[index + 1].text in (":", ",", "}")


def _refusal(word: str, text: str) -> ExpressionError:
    return ExpressionError(
        f"jq: expected a program that reads only its input, found {word}; pass the value through inputs instead",
        code="VALIDATION_ERROR",
        details={"expression": text},
    )
