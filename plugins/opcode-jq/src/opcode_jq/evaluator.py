"""The evaluator `jq`: plain paths are followed here, every other program runs in the worker process."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from time import monotonic

from opcode_jq.documents import document_of
from opcode_jq.paths import PathError, Step, follow, read_path
from opcode_jq.sandbox import MAX_OUTPUTS, Sandbox, WorkerLostError
from opcode_jq.screening import LOOP_ROOTS, ROOTS, references_of, refuse
from opcode_jq.tokens import tokenize
from opcode_kernel import ExpressionError, Json, References

MAX_TEXT = 100_000
#: Of each second, for compiling and for each evaluation. With starting a worker and reading the result it stays below a second.
MAX_SECONDS = 0.7
#: Programs kept by their text. The longest have a hundred thousand characters, so there are few of those.
_CACHED, _CACHED_LONG, _LONG = 1024, 16, 1000
#: How much of libjq's own message an error carries.
_SHOWN = 500
#: `.steps.a-b` is a subtraction.
_HYPHEN = re.compile(r"\.\w+-[A-Za-z_]", re.ASCII)


class JqEvaluator:
    """jq 1.8 by libjq. Programs are cached by their text; the worker process is shared by all of them."""

    name = "jq"

    def __init__(self, *, seconds: float = MAX_SECONDS) -> None:
        self._seconds = seconds
        self._sandbox = Sandbox()
        self._short = lru_cache(maxsize=_CACHED)(self._compile)
        self._long = lru_cache(maxsize=_CACHED_LONG)(self._compile)

    def compile(self, text: str) -> JqProgram | JqPath:
        """Compile a program, or find it in the cache; see `Evaluator.compile`."""
        return self._short(text) if len(text) <= _LONG else self._long(text)

    def limit(self, seconds: float, cost: int) -> None:
        """Set what one evaluation may take. libjq counts no work, so only the time does."""
        self._seconds = seconds * MAX_SECONDS

    def close(self) -> None:
        """End the worker process; it also ends with the evaluator and with the interpreter."""
        self._sandbox.close()

    def _compile(self, text: str) -> JqProgram | JqPath:
        deadline = monotonic() + self._seconds
        if len(text) > MAX_TEXT:
            raise _invalid(f"expected at most {MAX_TEXT} characters, found {len(text)}", text[:200])
        if "\0" in text:
            raise _invalid("expected text without NUL characters, found one", text)
        try:
            tokens, clean = tokenize(text)
        except ValueError as error:
            raise _invalid(str(error), text) from None
        if not tokens:
            raise _invalid("expected a program, found nothing; write . for the whole input", text)
        refuse(tokens, text)
        path, size = read_path(tokens)
        references = references_of(tokens, clean)
        if path and size == len(tokens):
            return JqPath(text, references, tuple(path))
        program = JqProgram(text, references, clean, self._sandbox, self._seconds)
        program.check(deadline)
        return program


@dataclass(slots=True, eq=False)
class JqProgram:
    """A compiled program. `source` is the text without comments. Not frozen only because `Program` is not."""

    text: str
    references: References
    source: str
    sandbox: Sandbox
    seconds: float

    def evaluate(self, scope: Mapping[str, Json]) -> Json:
        """Return the value: null for no output, the output itself when it is the only one, else all as a list.

        Raises:
            ExpressionError: `EXECUTION_ERROR`, also when time, memory or the number of outputs run out.
        """
        outputs = self.outputs(scope)
        if len(outputs) == 1:
            return outputs[0]
        return outputs or None

    def outputs(self, scope: Mapping[str, Json]) -> list[Json]:
        """Return every output in order, for a loop over them; raises like `evaluate`."""
        deadline = monotonic() + self.seconds
        try:
            document = document_of(_input(scope, self.references), deadline)
        except (TypeError, ValueError, RecursionError) as error:
            raise _failed(f"expected JSON as the input, found {type(error).__name__}: {error}", self.text) from None
        except TimeoutError:
            raise _failed(self._late("an input that is read"), self.text) from None
        kind, answer = self._ask(document, deadline)
        if kind != "o":
            raise _failed(_clipped(answer), self.text)
        return _checked(_parse(answer, self.text), self.text)

    def check(self, deadline: float) -> None:
        """Compile in the worker.

        Raises:
            ExpressionError: `VALIDATION_ERROR`, with the position as libjq reports it.
        """
        kind, answer = self._ask(b"", deadline)
        if kind != "o":
            hint = '; a name with a hyphen is written as in .steps["a-b"]' if _HYPHEN.search(self.source) else ""
            raise _invalid(f"expected a valid program, found {_position(answer)}{hint}", self.text)

    def _ask(self, document: bytes, deadline: float) -> tuple[str, bytes]:
        try:
            return self.sandbox.ask(self.source, document, deadline)
        except TimeoutError:
            reason = self._late("a program that ends" if document else "a program that compiles")
        except WorkerLostError:
            reason = "expected a program that needs less memory, found that its process ended"
        except UnicodeEncodeError:
            reason = "expected valid Unicode, found a lone surrogate"
        except OSError as error:
            raise _failed(f"expected to start a worker process, found {error}", self.text) from None
        raise _failed(reason, self.text) if document else _invalid(reason, self.text)

    def _late(self, what: str) -> str:
        return f"expected {what} within {self.seconds:g} s, found one that does not"


@dataclass(slots=True, eq=False)
class JqPath:
    """A program that is nothing but a path; the same interface as `JqProgram`."""

    text: str
    references: References
    steps: tuple[Step, ...]

    def evaluate(self, scope: Mapping[str, Json]) -> Json:
        """See `JqProgram.evaluate`."""
        outputs = self.outputs(scope)
        if len(outputs) == 1:
            return outputs[0]
        return outputs or None

    def outputs(self, scope: Mapping[str, Json]) -> list[Json]:
        """See `JqProgram.outputs`."""
        try:
            return _checked(follow(self.steps, _input(scope, self.references), limit=MAX_OUTPUTS), self.text)
        except PathError as error:
            raise _failed(str(error), self.text) from None


def _input(scope: Mapping[str, Json], references: References) -> dict[str, Json]:
    """Return the input object, as far as the program can see it; the loop is in it only inside a loop."""
    document = {root: scope.get(root) or {} for root in ROOTS if root in references.roots}
    return {root: value for root, value in document.items() if value or root not in LOOP_ROOTS}


def _parse(answer: bytes, text: str) -> list[Json]:
    try:
        if b"E+" in answer:  # the one way in which a number beyond all doubles can be written
            outputs: list[Json] = json.loads(answer, parse_float=lambda digits: _finite(digits, text))
            return outputs
        return json.loads(answer)  # type: ignore[no-any-return]
    except RecursionError:
        raise _failed("expected a result that nests less deeply, found too many levels", text) from None
    except ValueError:  # Python reads integers up to some thousand digits
        raise _failed("expected numbers of a few thousand digits at most, found a longer one", text) from None


def _finite(digits: str, text: str) -> float:
    """Return a number with a point or an exponent; libjq writes 1000 as `1E+3` when a program has `1e3`."""
    number = float(digits)
    if not math.isfinite(number):
        raise _failed(f"expected numbers within the range of a double, found {digits[:40]}", text)
    return int(number) if "E+" in digits and number.is_integer() and abs(number) < 2**53 else number


def _checked(outputs: list[Json], text: str) -> list[Json]:
    if len(outputs) > MAX_OUTPUTS:
        raise _failed(f"expected at most {MAX_OUTPUTS} outputs, found more", text)
    return outputs


def _position(answer: bytes) -> str:
    """Return the first line of libjq's report: what, line and column."""
    first = answer.decode(errors="replace").partition("\n")[0]
    return first.removeprefix("jq: error: ").strip().rstrip(":") or "an error"


def _clipped(answer: bytes) -> str:
    """Return the message of an error; `error` without a text of its own has the whole input in it."""
    text = answer[: 4 * _SHOWN].decode(errors="replace")
    return text if len(text) <= _SHOWN else text[:_SHOWN] + "…"


def _invalid(problem: str, text: str) -> ExpressionError:
    return ExpressionError(f"jq: {problem}", code="VALIDATION_ERROR", details={"expression": text})


def _failed(problem: str, text: str) -> ExpressionError:
    return ExpressionError(f"jq: {problem}", details={"expression": text})
