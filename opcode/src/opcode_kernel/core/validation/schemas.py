"""S5: what comes with a definition. Both schemas compile, and the triggers have the published shape."""

from __future__ import annotations

import re
from collections.abc import Mapping

from opcode_kernel.core.place import Place
from opcode_kernel.core.validation.fields import Field, check_fields
from opcode_kernel.core.validation.issues import Issues, shown
from opcode_kernel.core.validation.vocabulary import Vocabulary
from opcode_kernel.errors import Json

_TRIGGERS: Mapping[str, Field] = {"cron": Field("array"), "webhook": Field("array"), "event": Field("array")}
_KINDS: Mapping[str, Mapping[str, Field]] = {
    "cron": {
        "name": Field("string"), "expression": Field("string", required=True), "enabled": Field("boolean"),
        "params": Field("object"), "timezone": Field("string"), "overlap": Field("string", ("skip", "queue", "allow")),
        "catch_up": Field("any"),
    },
    "webhook": {
        "name": Field("string", required=True), "secret_ref": Field("string"), "path": Field("string"),
        "enabled": Field("boolean"),
    },
    "event": {
        "name": Field("string"), "event_type": Field("string", required=True), "template_name": Field("string"),
        "status": Field("string"), "params": Field("object"), "enabled": Field("boolean"),
    },
}  # fmt: skip
#: The outline of a cron line; what the fields may hold is the scheduler's business.
_CRON = re.compile(r"(?:(?:CRON_)?TZ=\S+\s+)?\S+(?:\s+\S+){4}|@(?:hourly|daily|weekly|monthly|yearly)")


def check_schemas(
    vocabulary: Vocabulary, input_schema: Json, output_schema: Json, triggers: Json, issues: Issues
) -> None:
    """Check what is there; None means that nothing was given."""
    for name, schema in (("input_schema", input_schema), ("output_schema", output_schema)):
        place = Place().key(name)
        if schema is None:
            continue
        if not isinstance(schema, dict):
            issues.error(place, f"expected a JSON Schema, which is an object, found {shown(schema)}")
        elif (problem := vocabulary.check_schema(schema)) is not None:
            pointer, meant = problem.details.get("pointer"), problem.details.get("did_you_mean")
            issues.error(
                place, f"expected a JSON Schema of draft 2020-12, found one that is none: {problem.message}",
                did_you_mean=meant if isinstance(meant, str) else None,
                details={"found_at": f"{place.pointer}{pointer}"} if pointer else None,
            )  # fmt: skip
        elif name == "input_schema":
            _check_names(place.key("properties"), schema.get("properties"), issues)
    if triggers is not None:
        _check_triggers(Place().key("triggers"), triggers, issues)


def _check_names(place: Place, properties: Json, issues: Issues) -> None:
    for name in properties if isinstance(properties, dict) else ():
        if name.startswith("__"):
            issues.error(
                place.key(name),
                f"expected an input name that does not start with __, found {shown(name)}; it is reserved",
            )


def _check_triggers(place: Place, triggers: Json, issues: Issues) -> None:
    if not isinstance(triggers, dict):
        issues.error(place, f'expected an object such as {{"cron": [...]}}, found {shown(triggers)}')
        return
    check_fields(place, triggers := dict(triggers), _TRIGGERS, issues)
    for kind, fields in _KINDS.items():
        entries = triggers.get(kind)
        for index, entry in enumerate(entries if isinstance(entries, list) else ()):
            here = place.key(kind).item(index)
            if not isinstance(entry, dict):
                issues.error(here, f"expected a trigger, which is an object, found {shown(entry)}")
                continue
            check_fields(here, entry := dict(entry), fields, issues)
            expression = entry.get("expression")
            if (
                kind == "cron"
                and isinstance(expression, str)
                and expression
                and not _CRON.fullmatch(expression.strip())
            ):
                issues.error(
                    here.key("expression"),
                    f"expected five fields such as '30 5 * * 1-5' or a name such as @daily, found {shown(expression)}",
                )
