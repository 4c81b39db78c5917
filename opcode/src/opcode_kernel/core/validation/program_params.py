"""Params that hold the text of a program: it compiles, and references stand in it only where values may."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress

from opcode_kernel.core.evaluator import Evaluator
from opcode_kernel.core.place import Place
from opcode_kernel.core.programs import quoted_secrets, with_variables
from opcode_kernel.core.text import json_type
from opcode_kernel.core.validation.issues import Issues, an, shown
from opcode_kernel.errors import InterpolationError, Json, OpcodeError


def is_dynamic(value: Json) -> bool:
    """Tell whether a value, or anything inside it, holds a reference and is only known at run time."""
    return any("${{" in text for text in texts(value))


def texts(value: Json) -> Iterator[str]:
    """Yield every text in a value, keys included."""
    pending = [value]
    while pending:
        item = pending.pop()
        if isinstance(item, str):
            yield item
        elif isinstance(item, dict):
            pending.extend(item)
            pending.extend(item.values())
        elif isinstance(item, list):
            pending.extend(item)


def check_program(place: Place, text: Json, evaluator: Evaluator | None, issues: Issues) -> None:
    """Compile the constant text of a program; of one with references no more is known than where they stand."""
    if not isinstance(text, str):
        if any("${{" in each for each in texts(text)):
            issues.error(place, f"expected the text of a program, found {an(json_type(text))} with references in it")
        return
    if evaluator is None or not text.strip():
        return
    if "${{" in text:
        with suppress(InterpolationError):  # what is malformed is reported with the other references
            _check_references(place, text, evaluator, issues)
        return
    try:
        evaluator.compile(text)
    except OpcodeError as error:
        meant = error.details.get("did_you_mean")
        issues.error(place, error.message, did_you_mean=meant if isinstance(meant, str) else None)


def _check_references(place: Place, text: str, evaluator: Evaluator, issues: Issues) -> None:
    """Compile a program with variables where its references are: each may stand only where a value may."""
    for secret in quoted_secrets(text):
        issues.error(
            place, f"expected no secret inside the quotes of a program, found {shown(secret)}; close them and join the "
            "parts, as in 'Bearer ' + ${{secrets.NAME}}",
        )  # fmt: skip
    program = with_variables(text)
    try:
        if program is not None:
            evaluator.compile(program)
    except OpcodeError as error:
        meant = error.details.get("did_you_mean")
        issues.error(
            place, f"a reference stands for a value, shown here as (__v0) and so on: {error.message}",
            did_you_mean=meant if isinstance(meant, str) else None,
        )  # fmt: skip
