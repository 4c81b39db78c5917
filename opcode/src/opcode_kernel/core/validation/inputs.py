"""The names of inputs: does somebody declare what is read, and read what is given?"""

from __future__ import annotations

import re
from collections.abc import Callable

from opcode_kernel.core.place import Place, Token
from opcode_kernel.core.reading import Reader, Reading
from opcode_kernel.core.validation.issues import Issues, Patch, shown
from opcode_kernel.errors import Json

#: Schema keywords under which an input may be declared without standing in `properties`.
_COMPOSED = frozenset({
    "$ref", "$dynamicRef", "allOf", "anyOf", "oneOf", "if", "patternProperties", "dependentSchemas",
})  # fmt: skip


class InputNames:
    """The inputs of a definition, and what its texts read of them. `respell` returns the patch of a misspelt name."""

    def __init__(
        self, definition: dict[str, Json], schema: Json, issues: Issues,
        respell: Callable[[Reading, str, str], Patch | None],
    ) -> None:  # fmt: skip
        self.named = _named_inputs(definition, schema)
        self._definition = definition
        self._schema = schema
        self._declared = _declared_inputs(definition, schema)
        self._issues = issues
        self._respell = respell
        #: Inputs that the schema does not declare, with every text that reads them.
        self._undeclared: dict[str, list[Reading]] = {}
        self._read: set[str] = set()
        #: What was warned of at each place before these names.
        self._said: dict[tuple[Token, ...], list[str]] | None = None

    def note(self, reading: Reading) -> None:
        """Note the inputs that a text reads."""
        self._read.update(reading.names.inputs)
        if self._declared is None:
            return
        for name, whole in reading.names.inputs.items():
            if name not in self._declared and whole not in self._declared:
                self._undeclared.setdefault(name, []).append(reading)

    def undeclared(self) -> None:
        """Report each input that the schema does not declare, once, with the patch of all texts that read it."""
        for name, readings in self._undeclared.items():
            guess = self._issues.suggest(name, lambda: sorted(self._declared or ()))
            if guess.meant is None:
                readings = self._unexplained(name, readings)
                if not readings:
                    continue
            hint = f"did you mean {guess.meant!r}?" if guess.meant else "declare it in input_schema.properties"
            pattern = rf"(\binputs\s*(?:\.\s*|\[\s*['\"])){re.escape(name)}(?![\w-])"
            patches = [self._respell(each, pattern, guess.meant) for each in readings if guess.meant and guess.sure]
            first = min((each.place for each in readings), key=lambda place: place.rank)
            read_at = self._issues.where_written(first)
            self._issues.warn(
                Place().key("inputs").key(name),
                f"expected an input that input_schema declares, found {shown(name)} in {read_at.path}; {hint}",
                details={"found_at": read_at.pointer},
                did_you_mean=guess.meant, patch=[step for patch in patches if patch for step in patch] or None,
            )  # fmt: skip

    def _unexplained(self, name: str, readings: list[Reading]) -> list[Reading]:
        """Leave out programs in which the name stands alone if their action has warned of it: a variable may be meant."""
        if self._said is None:
            self._said = {}
            for issue in self._issues.warnings:
                self._said.setdefault(issue.place.tokens, []).append(issue.message)
        said = self._said
        return [
            each
            for each in readings
            if name not in each.names.bare or not any(name in message for message in said.get(each.place.tokens, ()))
        ]

    def defaults(self) -> None:
        """Report each default for an input that the schema does not have: refused at every start, or a misspelt one."""
        given, schema = self._definition.get("inputs"), self._schema
        if not isinstance(given, dict) or not isinstance(schema, dict) or not _COMPOSED.isdisjoint(schema):
            return
        properties = schema.get("properties")
        declared = tuple(properties) if isinstance(properties, dict) else ()
        closed = False in (schema.get("additionalProperties"), schema.get("unevaluatedProperties"))
        for name in [name for name in given if name not in declared]:
            here = Place().key("inputs").key(name)
            guess = self._issues.suggest(name, lambda: declared)
            if not closed and (not guess.sure or name in self._read):
                continue  # a name that steps read is one that is meant
            usable = guess.sure and guess.meant not in given
            self._issues.warn(
                here, f"expected an input that input_schema declares, found {shown(name)}"
                + (", which it does not allow: every run would be refused" if closed else "")
                + (f"; did you mean {guess.meant!r}?" if guess.meant else "; declare it in input_schema.properties"),
                did_you_mean=guess.meant,
                patch=[{"op": "move", "from": here.pointer, "path": Place().key("inputs").key(str(guess.meant)).pointer}]
                if usable else None,
            )  # fmt: skip


def check_context_of_inputs(definition: dict[str, Json], reader: Reader, issues: Issues) -> None:
    """Check that what the default inputs read of the context does not depend on inputs again."""
    context, inputs = (definition.get(key) for key in ("context", "inputs"))
    if not any("inputs" in each.names.namespaces for each in reader.of_value(Place().key("context"), context)):
        return
    for reading in reader.of_value(Place().key("inputs"), inputs):
        if "context" in reading.names.namespaces:
            issues.error(
                reading.place, "expected no context here, found a reference to it; the context of this workflow reads "
                "inputs, so the inputs have to be there first",
            )  # fmt: skip


def _named_inputs(definition: dict[str, Json], schema: Json) -> frozenset[str]:
    """Return the names that the definition or the schema gives to inputs."""
    named = (definition.get("inputs"), schema.get("properties") if isinstance(schema, dict) else None)
    return frozenset(name for names in named if isinstance(names, dict) for name in names)


def _declared_inputs(definition: dict[str, Json], schema: Json) -> frozenset[str] | None:
    """Return the names inputs may have, or None where the schema does not list them."""
    if not isinstance(schema, dict) or not _COMPOSED.isdisjoint(schema):
        return None
    properties, defaults = schema.get("properties"), definition.get("inputs")
    if not isinstance(defaults, dict | None):
        return None
    declared = set(properties) if isinstance(properties, dict) else set()
    if schema.get("additionalProperties") is not False and isinstance(defaults, dict):
        declared.update(defaults)
    return frozenset(declared)
