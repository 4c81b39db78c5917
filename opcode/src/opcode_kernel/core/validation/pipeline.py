"""The stages in order (spec 01 section 2.2), each on all that it can look at without guessing.

A problem of one stage never hides what another one finds elsewhere, and never shows a second time as its own consequence:
structure mends its copy of the definition, and what could not be mended is left out by the stages after it.
"""

from __future__ import annotations

from opcode_kernel.core.limits import DEFAULT_LIMITS, Limits
from opcode_kernel.core.reading import Reader
from opcode_kernel.core.tree import Tree
from opcode_kernel.core.validation.edges import check_graph
from opcode_kernel.core.validation.issues import Issues
from opcode_kernel.core.validation.report import Report, report
from opcode_kernel.core.validation.schemas import check_schemas
from opcode_kernel.core.validation.semantics import check_semantics
from opcode_kernel.core.validation.slots import check_slots
from opcode_kernel.core.validation.structure import check_structure
from opcode_kernel.core.validation.vocabulary import Vocabulary
from opcode_kernel.errors import Json


def validate(
    definition: Json,
    vocabulary: Vocabulary,
    *,
    input_schema: Json = None,
    output_schema: Json = None,
    triggers: Json = None,
    limits: Limits = DEFAULT_LIMITS,
) -> Report:
    """Return everything that is wrong with a definition and with what comes with it.

    Takes any JSON value and raises nothing. Schemas and triggers are checked when they are given: a definition about
    to run is validated without `output_schema` and `triggers`.
    """
    issues = Issues()
    mended = check_structure(definition, vocabulary, limits, issues)
    if mended is not None:
        tree = Tree(mended, vocabulary.step_types)
        sound = check_semantics(mended, tree, vocabulary, issues)
        actions = frozenset(vocabulary.action_names())
        programs = lambda name: vocabulary.programs(name) if name in actions else {}  # noqa: E731
        reader = Reader(vocabulary.evaluators, programs)
        readings = list(reader.of_tree(tree))
        if sound.fallbacks:
            check_graph(tree, readings, sound.uncertain, programs, reader.templates, issues)
        check_slots(mended, tree, readings, reader, vocabulary, input_schema, issues)
    check_schemas(vocabulary, input_schema, output_schema, triggers, issues)
    beside = {"input_schema": input_schema, "output_schema": output_schema, "triggers": triggers}
    return report(issues, {**definition, **beside} if isinstance(definition, dict) else definition)
