"""The part of S2 that is about action steps: is the action known? What it is given, see `params.py`."""

from __future__ import annotations

from opcode_kernel.core.tree import StepNode
from opcode_kernel.core.validation.issues import Issues, replace_at, shown
from opcode_kernel.core.validation.params import check_params
from opcode_kernel.core.validation.vocabulary import Vocabulary

#: Families that ship with the bundle: nothing installed later adds to them, so an unknown name is a mistake.
_BUILT_IN = frozenset({"http", "fs", "shell", "crypto", "assert", "expr", "workflow"})


def check_action(node: StepNode, vocabulary: Vocabulary, issues: Issues) -> None:
    """Check the action and the params of one step."""
    name = node.raw.get("action")
    if not isinstance(name, str) or not name:
        return
    if vocabulary.has_action(name):
        check_params(node, name, vocabulary, issues)
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
