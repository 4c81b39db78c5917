"""The fields of `workflow` are the same in every run, so a name that is none of them is a mistake."""

from __future__ import annotations

import re
from collections.abc import Callable

from opcode_kernel.core.reading import Reading
from opcode_kernel.core.validation.issues import Issues, Patch, shown
from opcode_kernel.core.validation.nearness import near_miss

#: What is there while steps run, in the order of the alphabet, and what only hooks see besides: how the run ends.
FIELDS = ("agent_id", "name", "parent_id", "run_id", "started_at", "template_name", "template_version")
HOOK_FIELDS = ("error", "output", "status")
#: Inputs and context are resolved before the run has started.
_BEFORE = tuple(name for name in FIELDS if name != "started_at")
#: Other words for them.
_WORDS = {"id": "run_id", "workflow_id": "run_id", "version": "template_version", "template": "template_name"}


def check_workflow_fields(
    reading: Reading, issues: Issues, respell: Callable[[Reading, str, str], Patch | None], *, started: bool = True
) -> None:
    """Check what one text reads of `workflow`. `respell` returns the patch of a misspelt name.

    It is a warning only where a default was given, or where the language itself has a value for what is not there.
    """
    if not reading.names.workflow:
        return
    in_hook = reading.node is not None and reading.node.top.siblings.is_hook
    known = (*FIELDS, *HOOK_FIELDS) if in_hook else FIELDS if started else _BEFORE
    for name, has_default in reading.names.workflow.items():
        if name in known:
            continue
        exists = name in FIELDS or name in HOOK_FIELDS
        refused = not has_default and reading.names.language in (("template",) if exists else ("template", "cel"))
        add = issues.error if refused else issues.warn
        if exists:
            when = "once the run has started" if name in FIELDS else "in the hooks on_complete and on_error"
            add(
                reading.place, f"expected a field of workflow that is there by now, found {shown(name)}, which is there only "
                f"{when}; use one of {', '.join(known)}",
            )  # fmt: skip
            continue
        guess = issues.suggest(name, lambda: known)
        meant = _WORDS.get(name) or guess.meant or _WORDS.get(near_miss(name, tuple(_WORDS)) or "")
        pattern = rf"(\bworkflow\s*(?:\.\s*|\[\s*['\"])){re.escape(name)}(?![\w-])"
        add(
            reading.place, f"expected a field of workflow, found {shown(name)}; "
            + (f"did you mean {meant!r}?" if meant else guess.hint), did_you_mean=meant,
            patch=respell(reading, pattern, meant) if meant and (guess.sure or name in _WORDS) else None,
        )  # fmt: skip
