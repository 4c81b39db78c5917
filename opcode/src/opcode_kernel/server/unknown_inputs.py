"""Inputs that a template does not know: they are no error, but most likely misspelt ones."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from opcode_kernel.core.place import Place
from opcode_kernel.core.reading import Reader
from opcode_kernel.core.tree import Tree
from opcode_kernel.core.validation.issues import shown
from opcode_kernel.core.validation.nearness import Suggestions
from opcode_kernel.errors import Json
from opcode_kernel.plugin.manager import Registry
from opcode_kernel.runtime.vocabulary import RegistryVocabulary

#: A schema with one of these may allow names that its `properties` do not list.
_OPEN = (
    "patternProperties", "additionalProperties", "$ref", "$dynamicRef", "allOf", "anyOf", "oneOf", "if", "dependentSchemas",
)  # fmt: skip
#: So many inputs are remarked upon.
_LISTED = 5


def unknown_inputs(
    definition: Mapping[str, Json], input_schema: Json, given: Mapping[str, Json], read: Callable[[], set[str]]
) -> dict[str, str]:
    """Return a remark for each given input, by its name, that neither the schema nor the defaults know.

    Without a schema that lists its properties any name may be meant: a remark is then only about an input that nothing
    reads, where one that is read and was not given has nearly its name. `read` finds what is read; see `inputs_read`.
    """
    defaults = definition.get("inputs")
    known = list(defaults) if isinstance(defaults, dict) else []
    schema = input_schema if isinstance(input_schema, dict) else {}
    declared = schema.get("properties")
    if isinstance(declared, dict):
        known = list(dict.fromkeys([*declared, *known]))
        unknown = [] if any(schema.get(key) for key in _OPEN) else [name for name in given if name not in known]
        suggest = Suggestions()
        return {
            name: f"input_schema has no property {shown(name)}; {suggest(name, lambda: known).hint}"
            for name in unknown[:_LISTED]
        }
    if given.keys() <= set(known):
        return {}
    return _misspelt(given, {*known, *read()})


def _misspelt(given: Mapping[str, Json], known: set[str]) -> dict[str, str]:
    missing, suggest = sorted(known - given.keys()), Suggestions()
    remarks: dict[str, str] = {}
    for name in given:
        near = None if name in known else suggest(name, lambda: missing).meant
        if near is not None:
            remarks[name] = f"nothing reads the input {shown(name)}; did you mean {near!r}?"
        if len(remarks) == _LISTED:
            break
    return remarks


def inputs_read(definition: Mapping[str, Json], registry: Registry) -> set[str]:
    """Return the inputs that a workflow reads, those with dots in their names as well as their first parts.

    Every text of the workflow is looked at: once per version of a template is enough.
    """
    words = RegistryVocabulary(registry)
    reader = Reader(programs=lambda action: words.programs(action) if words.has_action(action) else {})
    values = {key: definition.get(key) for key in ("context", "output")}
    readings = (*reader.of_tree(Tree(definition, registry.step_types)), *reader.of_value(Place(), values))
    return {name for reading in readings for pair in reading.names.inputs.items() for name in pair}
