"""The evaluator `cel`: one front, two engines.

The fast engine (C++) runs whatever is certain to be quick. What may be long, and everything where the fast engine is not
installed, runs in the metered engine, which counts as it goes and stops in time.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal

from opcode_cel.absent import Access, absence, accesses_of
from opcode_cel.advice import advice
from opcode_cel.choice import runs_right, suits_fast
from opcode_cel.faults import BudgetFault, CelFault, CompileFault, EngineLimitFault, TypeFault
from opcode_cel.meter import MAX_UNITS, Meter
from opcode_cel.reads import reads_of
from opcode_cel.shape import Shape, references_of, shape_of
from opcode_cel.tokens import Token, picture_of, place, tokenize
from opcode_cel.values import VARIABLES, Intake
from opcode_kernel import ExpressionError, Json, References

if TYPE_CHECKING:
    from opcode_cel.native import NativeEngine, Run

MAX_TEXT = 100_000
#: Of each second: together with what cannot be stopped half-way, such as one search, an evaluation ends in time.
MAX_SECONDS = 0.8
#: Programs kept by their text. One of the longest takes megabytes, so there are few of those.
_CACHED, _CACHED_LONG, _LONG = 1024, 16, 1000
#: Characters of a message, and of the expression in it.
_SHOWN, _SHOWN_TEXT = 500, 120
_NONE: Mapping[str, Json] = {}
_Metered = Callable[[dict[str, Any], Meter], Json]


class CelEvaluator:
    """CEL with the standard library and macros. Programs are cached by their text.

    `engine`: `auto` takes the fast engine where it is certain to be quick and right, `pure` never takes it. `native`
    insists on it, and lets it take its time: for tests.
    """

    name = "cel"

    def __init__(self, *, engine: Literal["auto", "native", "pure"] = "auto", seconds: float = MAX_SECONDS) -> None:
        self._engine = engine
        self._budget = (seconds, MAX_UNITS)
        self._short = lru_cache(maxsize=_CACHED)(self._compile)
        self._long = lru_cache(maxsize=_CACHED_LONG)(self._compile)
        self._native = lru_cache(maxsize=1)(self._load)

    def limit(self, seconds: float, cost: int) -> None:
        """Set what one evaluation may take; programs that are compiled already keep what they have."""
        self._budget = (seconds * MAX_SECONDS, cost)

    def compile(self, text: str) -> CelProgram:
        """Compile an expression, or find it in the cache; see `Evaluator.compile`."""
        return self._short(text) if len(text) <= _LONG else self._long(text)

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
            fast, metered = self._engines(text, tokens, shape)
            return CelProgram(text, tokens, shape, fast, metered, self._budget, patient=self._engine == "native")
        except CompileFault as fault:
            raise _invalid(fault, text, tokens) from None
        except UnicodeEncodeError as error:
            raise _invalid(CompileFault("expected valid Unicode, found a lone surrogate", error.start), text) from None

    def _engines(self, text: str, tokens: Sequence[Token], shape: Shape) -> tuple[Run | None, _Metered | None]:
        """Compile for the fast engine where that is wise, else for the metered one; the other follows when needed."""
        native = self._native()
        if native is None or not suits_fast(text, tokens, shape):
            return None, _metered(tokens)
        try:
            return native.compile(text), None
        except EngineLimitFault:
            return None, _metered(tokens)
        except TypeFault as fault:
            try:
                return None, _metered(tokens)
            except CompileFault:
                raise fault from None


class CelProgram:
    """A compiled expression."""

    __slots__ = ("_accesses", "_budget", "_fast", "_metered", "_patient", "_reads", "_shape", "references", "text")

    def __init__(
        self, text: str, tokens: Sequence[Token], shape: Shape, fast: Run | None, metered: _Metered | None,
        budget: tuple[float, int], *, patient: bool,
    ) -> None:  # fmt: skip
        self.text = text
        self.references: References = references_of(tokens)
        reads = reads_of(tokens)
        self._reads = {name: reads.get(name) for name in VARIABLES if name in self.references.roots}
        self._shape = shape
        self._fast = fast
        self._metered = metered
        self._budget = budget
        self._patient = patient
        self._accesses: list[Access] | None = None

    def evaluate(self, scope: Mapping[str, Json]) -> Json:
        """Return the value as plain JSON.

        Raises:
            ExpressionError: `EXECUTION_ERROR`; with `missing` when a key that is not there was the reason. `details` then
                say what else a variable has (`available_fields`), and which name is near (`did_you_mean`).
        """
        try:
            meter = Meter(*self._budget)
            intake = Intake(meter)
            variables = intake.variables(scope, self._reads)
            if self._fast is not None and self._prefers_fast(intake):
                try:
                    return self._fast(variables)
                except EngineLimitFault:
                    pass
            if self._metered is None:
                self._metered = _metered(tokenize(self.text))
            return self._metered(variables, meter)
        except CelFault as fault:
            raise self._failed(str(fault)) if fault.missing is None else self._lacking(fault.missing, scope) from None
        except BudgetFault as fault:
            raise self._failed(str(fault)) from None
        except CompileFault as fault:
            raise self._failed(f"too large for the fast engine, and not valid for the other: {fault}") from None
        except RecursionError:
            raise self._failed("expected values that nest less deeply, found too many levels") from None

    def _prefers_fast(self, intake: Intake) -> bool:
        """Tell whether the fast engine is right, and quick; without a comprehension the other one is as quick once it is there."""
        shape = self._shape
        if not runs_right(shape, intake):
            return False
        if self._budget[1] < MAX_UNITS:
            return self._patient  # it counts nothing
        share = self._budget[0] / MAX_SECONDS
        return self._patient or ((self._metered is None or shape.loops > 0) and shape.is_cheap(intake.units, share))

    def _lacking(self, key: str, scope: Mapping[str, Json]) -> ExpressionError:
        if self._accesses is None:
            self._accesses = accesses_of(self.text, tokenize(self.text)) if len(self.text) <= _LONG else []
        problem, details = absence(key, self._accesses, scope, narrowed=not self.references.all_steps)
        return self._failed(problem, key, details)

    def _failed(self, problem: str, missing: str | None = None, details: Mapping[str, Json] = _NONE) -> ExpressionError:
        text = " ".join(self.text[: 2 * _SHOWN_TEXT].split())
        text = text if len(text) <= _SHOWN_TEXT else text[:_SHOWN_TEXT] + "…"
        message = f"cel: {_clipped(problem)} (in {text})"
        return ExpressionError(message, missing=missing, details={"expression": self.text, **details})


def _metered(tokens: Sequence[Token]) -> _Metered:
    from opcode_cel import pure  # its parser library takes 100 ms to load, and is seldom needed

    return pure.compile_expression(tokens)


def _clipped(problem: str) -> str:
    """Shorten a message: names and keys in it can be as long as somebody wished."""
    return problem if len(problem) <= _SHOWN else problem[:_SHOWN] + "…"


def _invalid(fault: CompileFault, text: str, tokens: Sequence[Token] = ()) -> ExpressionError:
    more, offset = advice(str(fault), fault.offset, tokens)
    problem = _clipped(str(fault))
    where, picture = (f"{place(text, offset)}: ", picture_of(text, offset)) if offset >= 0 else ("", "")
    return ExpressionError(
        f"cel: {where}{problem}{_clipped(more)}{picture}",
        code="VALIDATION_ERROR",
        details={"expression": text[:MAX_TEXT]},
    )
