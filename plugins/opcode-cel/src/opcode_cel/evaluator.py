"""The evaluator `cel`: one front, two engines.

The fast engine (C++) runs whatever is certain to be quick. What may be long, and everything where the fast engine is not
installed, runs in the metered engine, which counts as it goes and stops in time.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal

from opcode_cel.advice import advice
from opcode_cel.faults import BudgetFault, CelFault, CompileFault, EngineLimitFault
from opcode_cel.reads import reads_of
from opcode_cel.shape import Shape, references_of, shape_of
from opcode_cel.tokens import Token, picture_of, place, tokenize
from opcode_cel.values import VARIABLES, Intake
from opcode_kernel import ExpressionError, Json, References

if TYPE_CHECKING:
    from opcode_cel.native import NativeEngine, Run

MAX_TEXT = 100_000
MAX_SECONDS = 1.0
_CACHED = 1024
#: How a NUL character is written in a literal. Texts pass from the fast engine to Python only up to the first one.
_NUL = re.compile(r"\\(?:000|[xX]00|u0000|U00000000)|\0")


class CelEvaluator:
    """CEL with the standard library and macros. Programs are cached by their text.

    `engine`: `auto` takes the fast engine if it can be imported, `native` insists on it, `pure` never takes it.
    """

    name = "cel"

    def __init__(self, *, engine: Literal["auto", "native", "pure"] = "auto", seconds: float = MAX_SECONDS) -> None:
        self._engine = engine
        self._seconds = seconds
        self._cached = lru_cache(maxsize=_CACHED)(self._compile)
        self._native = lru_cache(maxsize=1)(self._load)

    def compile(self, text: str) -> CelProgram:
        """Compile an expression, or find it in the cache; see `Evaluator.compile`."""
        return self._cached(text)

    def _load(self) -> NativeEngine | None:
        """Return the fast engine, or None where it is not wanted or there is no build of it for this system."""
        if self._engine == "pure":
            return None
        try:
            from opcode_cel.native import NativeEngine
        except ImportError:
            if self._engine == "native":
                raise
            return None
        return NativeEngine()

    def _compile(self, text: str) -> CelProgram:
        tokens: Sequence[Token] = ()
        try:
            if len(text) > MAX_TEXT:
                raise CompileFault(f"expected at most {MAX_TEXT} characters, found {len(text)}", 0)
            text.encode()
            tokens = tokenize(text)
            if not tokens:
                raise CompileFault("expected an expression, found nothing", 0)
            shape = shape_of(tokens)
            return CelProgram(text, tokens, shape, self._fast(text, tokens), self._seconds)
        except CompileFault as fault:
            raise _invalid(fault, text, tokens) from None
        except UnicodeEncodeError as error:
            raise _invalid(CompileFault("expected valid Unicode, found a lone surrogate", error.start), text) from None

    def _fast(self, text: str, tokens: Sequence[Token]) -> Run | None:
        native = self._native()
        if native is None or _NUL.search(text):
            return None
        try:
            return native.compile(text, tokens)
        except EngineLimitFault:
            return None


class CelProgram:
    """A compiled expression. Without the fast engine it is compiled for the metered one at once, else when needed."""

    __slots__ = ("_fast", "_metered", "_reads", "_seconds", "_shape", "references", "text")

    def __init__(self, text: str, tokens: Sequence[Token], shape: Shape, fast: Run | None, seconds: float) -> None:
        self.text = text
        self.references: References = references_of(tokens)
        reads = reads_of(tokens)
        self._reads = {name: reads.get(name) for name in VARIABLES if name in self.references.roots}
        self._shape = shape
        self._fast = fast
        self._seconds = seconds
        self._metered: Any = None
        if fast is None:
            self._metered = self._compile_metered()

    def evaluate(self, scope: Mapping[str, Json]) -> Json:
        """Return the value as plain JSON.

        Raises:
            ExpressionError: `EXECUTION_ERROR`; with `missing` when a key that is not there was the reason.
        """
        try:
            intake = Intake()
            variables = intake.variables(scope, self._reads)
            if self._fast is not None and not intake.holds_nul and self._shape.is_cheap(intake.units):
                try:
                    return self._fast(variables)
                except EngineLimitFault:
                    pass
            return self._run_metered(variables)
        except CelFault as fault:
            raise self._failed(str(fault), fault.missing) from None
        except BudgetFault as fault:
            raise self._failed(str(fault)) from None
        except CompileFault as fault:
            raise self._failed(f"too large for the fast engine, and not valid for the other: {fault}") from None
        except RecursionError:
            raise self._failed("expected values that nest less deeply, found too many levels") from None

    def _run_metered(self, variables: dict[str, Any]) -> Json:
        if self._metered is None:
            self._metered = self._compile_metered()
        return self._metered(variables, self._seconds)

    def _compile_metered(self) -> Any:
        from opcode_cel import pure  # its parser library takes 100 ms to load, and is seldom needed

        return pure.compile_expression(tokenize(self.text))

    def _failed(self, problem: str, missing: str | None = None) -> ExpressionError:
        return ExpressionError(f"cel: {problem}", missing=missing, details={"expression": self.text})


def _invalid(fault: CompileFault, text: str, tokens: Sequence[Token] = ()) -> ExpressionError:
    problem = str(fault)
    more, offset = advice(problem, fault.offset, tokens)
    where, picture = (f"{place(text, offset)}: ", picture_of(text, offset)) if offset >= 0 else ("", "")
    return ExpressionError(
        f"cel: {where}{problem}{more}{picture}", code="VALIDATION_ERROR", details={"expression": text[:MAX_TEXT]}
    )
