"""Inputs by seed: a definition or an expression that was sound once, and what became of it."""

from __future__ import annotations

import copy
import random
from collections.abc import Iterator
from typing import Any

from tests.fuzz.hostile import KEYS, TEXTS, VALUES
from tests.fuzz.samples import DEFINITIONS, EXPRESSIONS, TOKENS

from opcode_kernel.testing.generator import Features, SeededChooser, generate

Place = tuple[Any, Any]


def definition_of(seed: int) -> Any:
    """Return a definition with up to six things wrong with it; one in six is left as it is."""
    draw = random.Random(f"definition {seed}")
    sound = draw.choice(DEFINITIONS) if draw.random() < 0.3 else generate(SeededChooser(seed), Features())
    definition: Any = copy.deepcopy(sound)
    for _ in range(draw.choice((0, 0, 1, 1, 1, 1, 1, 2, 2, 3, 4, 6))):
        places = list(_places(definition))
        if not places:
            return copy.deepcopy(draw.choice(VALUES))
        _spoil(draw, *draw.choice(places))
    return definition


def _places(value: Any) -> Iterator[Place]:
    """Yield every (container, key or index), the outer ones first."""
    inside: list[Any] = [value]
    for container in inside:
        keys = (
            list(container)
            if isinstance(container, dict)
            else range(len(container))
            if isinstance(container, list)
            else ()
        )
        for key in keys:
            yield container, key
            if isinstance(container[key], (dict, list)) and len(inside) < 5_000:
                inside.append(container[key])


def _spoil(draw: random.Random, container: Any, key: Any) -> None:
    way = draw.randrange(9)
    if way <= 2:
        container[key] = copy.deepcopy(draw.choice(VALUES))
    elif way == 3:
        del container[key]
    elif way == 4 and isinstance(container, dict):
        container[draw.choice(KEYS)] = container.pop(key)
    elif way == 5 and isinstance(container, dict):
        container[draw.choice(KEYS)] = copy.deepcopy(draw.choice(VALUES))
    elif way == 6 and isinstance(container, list):
        container.insert(key, copy.deepcopy(container[draw.randrange(len(container))]))
    elif way == 7 and isinstance(container[key], str):
        container[key] = _spoilt_text(draw, container[key])
    else:
        container[key] = draw.choice(([container[key]], {"x": container[key]}, str(container[key])[:1_000], None))


def expression_of(seed: int) -> tuple[str, str]:
    """Return a language (`cel`, `expr`, `jq` or `template`) and a text that may or may not be a program in it."""
    draw = random.Random(f"expression {seed}")
    # The child process of jq takes milliseconds for each; the others take microseconds.
    language = draw.choices(("cel", "expr", "template", "jq"), (35, 35, 25, 5))[0]
    text = draw.choice(EXPRESSIONS[language])
    for _ in range(draw.choice((0, 0, 0, 1, 1, 1, 2, 3, 6))):
        text = _respelt(draw, language, text)
        if len(text) > 200_000:
            break
    return language, text


def _respelt(draw: random.Random, language: str, text: str) -> str:
    other = draw.choice(EXPRESSIONS[language])
    match draw.randrange(9):
        case 0:
            return _spoilt_text(draw, text)
        case 1:
            return draw.choice(TEXTS)
        case 2:
            at = draw.randrange(len(text) + 1)
            return text[:at] + draw.choice(TOKENS) + text[at:]
        case 3:
            opened, closed = draw.choice(
                (("(", ")"), ("[", "]"), ("!(", ")"), ("-(", ")"), ("{a: ", "}"), ('"', '"'), ("${{", "}}"))
            )
            times = draw.choice((1, 1, 1, 3, 40, 300, 3_000))
            return opened * times + text + closed * times
        case 4:
            return f"{text} {draw.choice(TOKENS)} {other}"
        case 5:
            return draw.choice(TOKENS).join([text] * draw.choice((2, 2, 3, 20, 200)))
        case 6:
            return text.replace(draw.choice(text or " "), draw.choice((*TOKENS, other)), draw.choice((1, 1, 50)))
        case 7:
            return text[: draw.randrange(len(text) + 1)] + other[draw.randrange(len(other) + 1) :]
        case _:
            return f"{text} ? {other} : {draw.choice(TEXTS[:40])}"


def _spoilt_text(draw: random.Random, text: str) -> str:
    """Change, remove, repeat or swap a few characters."""
    letters = list(text[:20_000])
    for _ in range(draw.choice((1, 1, 2, 5))):
        at = draw.randrange(len(letters) + 1)
        match draw.randrange(4):
            case 0:
                letters[at:at] = draw.choice(
                    (*"()[]{}'\"`\\.,:;?!|&%$#@*+-/<>=~^ \n\t\x00", "\ud800", "é", "$", "{{", "}}")
                )
            case 1:
                del letters[at : at + draw.choice((1, 1, 1, 4))]
            case 2:
                letters[at:at] = letters[at : at + 8] * draw.choice((1, 1, 10))
            case _:
                letters[at : at + 1] = chr(draw.choice((draw.randrange(32, 127), draw.randrange(0x110000))))
    return "".join(letters)
