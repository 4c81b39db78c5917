"""Params and output of `expr.eval`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, TypedDict

from opcode_kernel import Json, Param


@dataclass(frozen=True, slots=True)
class EvalParams:
    """What `expr.eval` takes."""

    expression: Annotated[
        str | dict[str, Json],
        Param("program in the language Expr; the engine passes text and values as an object when it holds ${{...}}"),
    ]
    data: Annotated[Json, Param("any value, visible to the program as `data`")] = None


class EvalOutput(TypedDict):
    """What `expr.eval` returns."""

    result: Annotated[Json, Param("value of the expression")]
