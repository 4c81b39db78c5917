"""The part of S2 that is about the params of action steps: they obey the rules of the action, as far as they are known."""

from __future__ import annotations

import copy
from collections.abc import Mapping

from opcode_kernel.core.place import Place, Token, at, locate
from opcode_kernel.core.references import MAX_TOKENS
from opcode_kernel.core.text import compact_json
from opcode_kernel.core.tree import StepNode
from opcode_kernel.core.validation.issues import Issues, Patch, put_at, replace_at, shown
from opcode_kernel.core.validation.nearness import near_miss
from opcode_kernel.core.validation.program_params import check_program, is_dynamic, texts
from opcode_kernel.core.validation.vocabulary import Vocabulary
from opcode_kernel.errors import Json

#: Longer names and texts are no misspelling of anything.
_LONG = 64


def check_params(node: StepNode, action: str, vocabulary: Vocabulary, issues: Issues) -> None:
    """Check the params of one step whose action is known."""
    _take_from_config(node, action, vocabulary, issues)
    params = node.raw.get("params")
    if params is None:
        params = {}
    counts = [text.count("${{") - text.count("\\${{") for text in texts(params)]
    if sum(counts) > MAX_TOKENS >= max(counts):  # a single text that holds too many is reported where it stands
        issues.error(
            node.place.key("params"), f"expected at most {MAX_TOKENS} references in the params of one step, found "
            f"{sum(counts)}; pass a whole object or list by one reference",
        )  # fmt: skip
    if not isinstance(params, dict) or any("${{" in key for key in params):
        return  # which params there are is not known, or only at run time
    place = node.place.key("params")
    unknown = _mend_names(place, params, action, vocabulary, issues)
    for where, message in vocabulary.check_params(action, params, is_dynamic):
        _broken(place, params, where, message, vocabulary.param_schema(action), issues)
    for name in unknown:
        names = ", ".join(vocabulary.param_names(action))
        issues.warn(
            place.key(name), f"the action {action} does not read the param {shown(name)}; "
            + (f"it takes {names}" if names else "it takes none, so remove it"),
        )  # fmt: skip
    for where, message, *better in vocabulary.lint(action, params):
        right = better[0] if better else {}
        patch = [step for name, value in right.items() for step in put_at(place.key(name), params.get(name), value)]
        issues.warn(place.below(where, locate(params, where)), message, patch=patch)
    for name, language in vocabulary.programs(action).items():
        check_program(place.key(name), params.get(name), vocabulary.evaluators.get(language), issues)


def _take_from_config(node: StepNode, action: str, vocabulary: Vocabulary, issues: Issues) -> None:
    """Move the params that were written as config; that is an error where the action needs them."""
    config, params = node.raw.get("config"), node.raw.get("params")
    if not isinstance(config, dict) or not isinstance(params, dict | None):
        return
    given = params or {}
    names = frozenset(vocabulary.param_names(action))
    found = [name for name in config if name in names and given.get(name) is None]
    if not found:
        return
    missing = {where for where, _ in vocabulary.check_params(action, given, is_dynamic)}
    here, there = node.place.key("config"), node.place.key("params")
    patch: Patch = [] if params is not None else [{"op": "add", "path": there.pointer, "value": {}}]
    for name in found:
        patch.append({"op": "move", "from": here.key(name).pointer, "path": there.key(name).pointer})
        issues.moved(there.key(name), here.key(name))
    if len(found) == len(config):
        patch.append({"op": "remove", "path": here.pointer})
    add = issues.error if missing.intersection(found) else issues.warn
    add(
        here.key(found[0]), f"expected what {action} takes in params, found {', '.join(map(shown, found))} in config, which an "
        "action step does not read; move it there", patch=patch,
        makes=tuple(there.key(name) for name in found) if params is not None else (there,),
    )  # fmt: skip
    node.raw["params"] = {**given, **{name: config.pop(name) for name in found}}
    if not config:
        del node.raw["config"]


def _broken(place: Place, params: dict[str, Json], where: str, message: str, schema: Json, issues: Issues) -> None:
    """Report a broken rule at the params, as published; `found_at` in the details leads to the very value."""
    tokens = locate(params, where) if where != "params" else ()
    found = at(params, tokens) if tokens else None
    here = place.below(where, tokens) if found is not None else place
    details: dict[str, Json] = {"param": where, "found_at": issues.where_written(here).pointer}
    meant, right = _meant(_schema_at(schema, tokens), found)
    if right is None:
        issues.error(place, f"{where}: {message}", details=details)
        return
    hint = f"did you mean {meant!r}?" if meant else f"write {compact_json(right)}"
    issues.error(
        place, f"{where}: {message}; {hint}", details=details, did_you_mean=meant, patch=replace_at(here, right)
    )
    at(params, tokens[:-1])[tokens[-1]] = copy.deepcopy(right)


def _meant(schema: Mapping[str, Json], found: Json) -> tuple[str | None, Json]:
    """Return what a text stands for that may not stand there: the near one of some words, or the list of itself."""
    if not isinstance(found, str) or not 0 < len(found) <= _LONG:
        return None, None
    if choices := schema.get("enum"):
        meant = near_miss(found, tuple(each for each in choices if isinstance(each, str)))
        return meant, meant
    one = schema.get("type") == "array" and not found.startswith(("[", "{")) and found.split() == [found]
    return None, [found] if one and (schema.get("items") or {}).get("type") in (None, "string") else None


def _schema_at(schema: Json, tokens: tuple[Token, ...]) -> Mapping[str, Json]:
    for token in tokens:
        if not isinstance(schema, Mapping):
            break
        members = schema.get("properties") or {}
        schema = (
            schema.get("items") if isinstance(token, int) else members.get(token, schema.get("additionalProperties"))
        )
    return schema if isinstance(schema, Mapping) else {}


def _mend_names(
    place: Place, params: dict[str, Json], action: str, vocabulary: Vocabulary, issues: Issues
) -> list[str]:
    """Report and rename misspelt params, and return those that the action does not read."""
    unknown: list[str] = []
    names = tuple(vocabulary.param_names(action))
    for name in vocabulary.unknown_params(action, params):
        meant = near_miss(name, names) if len(name) <= _LONG else None
        if meant is None:
            unknown.append(name)
            continue
        here, there = place.key(name), place.key(meant)
        taken = params.get(meant) is not None
        issues.error(
            here, f"expected the param {meant!r}, found {shown(name)}; "
            + (f"remove it, {meant!r} is there already" if taken else "rename it"), did_you_mean=meant,
            patch=[{"op": "remove", "path": here.pointer}] if taken
            else [{"op": "move", "from": here.pointer, "path": there.pointer}], makes=() if taken else (there,),
        )  # fmt: skip
        if not taken:
            params[meant] = params.pop(name)
            issues.moved(there, here)
    return unknown
