"""The stages in order (spec 01 section 2.2): structure first, and when that holds everything else at once."""

from __future__ import annotations

from opcode_kernel.core.limits import Limits
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

_DEFAULT_LIMITS = Limits()


def validate(
    definition: Json,
    vocabulary: Vocabulary,
    *,
    input_schema: Json = None,
    output_schema: Json = None,
    triggers: Json = None,
    limits: Limits = _DEFAULT_LIMITS,
) -> Report:
    """Return everything that is wrong with a definition and with what comes with it.

    Takes any JSON value and raises nothing. Schemas and triggers are checked when they are given: a definition about
    to run is validated without `output_schema` and `triggers`.
    """
    issues = Issues()
    check_structure(definition, vocabulary, limits, issues)
    if not issues.errors:
        tree = Tree(definition, vocabulary.step_types)
        graph_is_sound = check_semantics(definition, tree, vocabulary, issues)
        reader = Reader(vocabulary.evaluators)
        readings = list(reader.of_tree(tree))
        if graph_is_sound:
            check_graph(tree, readings, issues)
        check_slots(definition, tree, readings, reader, input_schema, issues)
        check_schemas(vocabulary, input_schema, output_schema, triggers, issues)
    beside = {"input_schema": input_schema, "output_schema": output_schema, "triggers": triggers}
    return report(issues, {**definition, **beside} if isinstance(definition, dict) else definition)
