"""The part of S2 that is about action steps: is the action known, and do the literal params obey its rules?"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress

from opcode_kernel.core.evaluator import Evaluator
from opcode_kernel.core.place import Place, at, locate
from opcode_kernel.core.programs import quoted_secrets, with_variables
from opcode_kernel.core.references import MAX_TOKENS
from opcode_kernel.core.text import json_type
from opcode_kernel.core.tree import StepNode
from opcode_kernel.core.validation.issues import Issues, an, replace_at, shown
from opcode_kernel.core.validation.nearness import near_miss
from opcode_kernel.core.validation.vocabulary import Vocabulary
from opcode_kernel.errors import InterpolationError, Json, OpcodeError

#: Families that ship with the bundle: nothing installed later adds to them, so an unknown name is a mistake.
_BUILT_IN = frozenset({"http", "fs", "shell", "crypto", "assert", "expr", "workflow"})


def check_action(node: StepNode, vocabulary: Vocabulary, issues: Issues) -> None:
    """Check the action and the params of one step."""
    name = node.raw.get("action")
    if not isinstance(name, str) or not name:
        return
    if vocabulary.has_action(name):
        _check_params(node, name, vocabulary, issues)
        return
    place = node.place.key("action")
    if "${{" in name:
        issues.error(place, f"expected the name of an action, found {shown(name)}; references are not resolved here")
        return
    guess = issues.suggest(name, lambda: sorted(vocabulary.action_names()))
    family, dot, _ = name.partition(".")
    refused = not dot or family in _BUILT_IN
    if not refused:
        later = "; a plugin that offers it may still be installed before the step runs"
    elif family in _BUILT_IN and not any(known.startswith(f"{family}.") for known in vocabulary.action_names()):
        later = f"; no plugin offers {family}.* here: install opcode-{family}, or take it out of OPCODE_PLUGINS_OFF"
    else:
        later = ""
    add = issues.error if refused else issues.warn
    add(
        place, f"expected a registered action, found {shown(name)}{later}; {guess.hint}", code="ACTION_UNAVAILABLE",
        did_you_mean=guess.meant, patch=replace_at(place, guess.meant) if guess.sure else None,
    )  # fmt: skip


def is_dynamic(value: Json) -> bool:
    """Tell whether a value, or anything inside it, holds a reference and is only known at run time."""
    return any("${{" in text for text in _texts(value))


def _texts(value: Json) -> Iterator[str]:
    """Yield every text in a value, keys included."""
    pending = [value]
    while pending:
        item = pending.pop()
        if isinstance(item, str):
            yield item
        elif isinstance(item, dict):
            pending.extend(item)
            pending.extend(item.values())
        elif isinstance(item, list):
            pending.extend(item)


def _check_params(node: StepNode, action: str, vocabulary: Vocabulary, issues: Issues) -> None:
    params = node.raw.get("params")
    if params is None:
        params = {}
    counts = [text.count("${{") - text.count("\\${{") for text in _texts(params)]
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
        tokens = locate(params, where) if where != "params" else ()
        there = at(params, tokens) is not None
        here = place.below(where, tokens) if tokens and there else place
        issues.error(
            # The published path is the one of the params; the pointer leads to the very value.
            Place(place.path, here.tokens), f"{where}: {message}", details={"param": where},
        )  # fmt: skip
    for name in unknown:
        names = ", ".join(vocabulary.param_names(action))
        issues.warn(
            place.key(name), f"the action {action} does not read the param {shown(name)}; "
            + (f"it takes {names}" if names else "it takes none, so remove it"),
        )  # fmt: skip
    for where, message in vocabulary.lint(action, params):
        issues.warn(place.below(where, locate(params, where)), message)
    for name, language in vocabulary.programs(action).items():
        _check_program(place.key(name), params.get(name), vocabulary.evaluators.get(language), issues)


def _mend_names(
    place: Place, params: dict[str, Json], action: str, vocabulary: Vocabulary, issues: Issues
) -> list[str]:
    """Report and rename misspelt params, and return those that the action does not read."""
    unknown: list[str] = []
    names = tuple(vocabulary.param_names(action))
    for name in vocabulary.unknown_params(action, params):
        meant = near_miss(name, names) if len(name) <= 64 else None
        if meant is None:
            unknown.append(name)
            continue
        here, there = place.key(name), place.key(meant)
        taken = params.get(meant) is not None
        issues.error(
            here, f"expected the param {meant!r}, found {shown(name)}; "
            + (f"remove it, {meant!r} is there already" if taken else "rename it"), did_you_mean=meant,
            patch=[{"op": "remove", "path": here.pointer}] if taken
            else [{"op": "move", "from": here.pointer, "path": there.pointer}],
        )  # fmt: skip
        if not taken:
            params[meant] = params.pop(name)
            issues.moved(there, here)
    return unknown


def _check_program(place: Place, text: Json, evaluator: Evaluator | None, issues: Issues) -> None:
    """Compile the constant text of a program; of one with references no more is known than where they stand."""
    if not isinstance(text, str):
        if any("${{" in each for each in _texts(text)):
            issues.error(place, f"expected the text of a program, found {an(json_type(text))} with references in it")
        return
    if evaluator is None or not text.strip():
        return
    if "${{" in text:
        with suppress(InterpolationError):  # what is malformed is reported with the other references
            _check_references(place, text, evaluator, issues)
        return
    try:
        evaluator.compile(text)
    except OpcodeError as error:
        issues.error(place, error.message)


def _check_references(place: Place, text: str, evaluator: Evaluator, issues: Issues) -> None:
    """Compile a program with variables where its references are: each may stand only where a value may."""
    for secret in quoted_secrets(text):
        issues.error(
            place, f"expected no secret inside the quotes of a program, found {shown(secret)}; close them and join the "
            "parts, as in 'Bearer ' + ${{secrets.NAME}}",
        )  # fmt: skip
    program = with_variables(text)
    try:
        if program is not None:
            evaluator.compile(program)
    except OpcodeError as error:
        issues.error(place, f"a reference stands for a value, shown here as (__v0) and so on: {error.message}")
