"""What a sound definition uses and an engine does not have yet: templates and secrets. They may come later."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Mapping

from opcode_kernel.core.interpolation import compile_template
from opcode_kernel.core.place import Place
from opcode_kernel.core.reading import Reader
from opcode_kernel.core.step_type import StepType
from opcode_kernel.core.tree import StepNode, Tree
from opcode_kernel.core.validation.issues import Issue, Issues, replace_at, shown
from opcode_kernel.errors import Json, OpcodeError
from opcode_kernel.runtime.hints import template_names
from opcode_kernel.runtime.ports import SecretNames, Vault
from opcode_kernel.store.base import Store

#: Tells whether a template is there, in this version if one is given.
Exists = Callable[[str, Json], Awaitable[bool]]
#: More calls of other templates than this are not looked at.
_CALLS = 200


async def absent(
    definition: dict[str, Json], step_types: Mapping[str, StepType], store: Store, vault: Vault | None,
    exists: Exists,
) -> list[Issue]:  # fmt: skip
    """Return a warning for each template, and for each secret, that is used but not there."""
    tree, issues = Tree(definition, step_types), Issues()
    for node, name, version in _calls(tree):
        if not await exists(name, version):
            await _no_child(node, name, version, store, exists, issues)
    await _no_secrets(tree, definition, vault, issues)
    return issues.warnings


def _calls(tree: Tree) -> Iterator[tuple[StepNode, str, Json]]:
    """Yield the steps that run a template whose name and version are written out."""
    count = 0
    for node in tree.nodes():
        params = node.raw.get("params")
        if node.raw.get("action") != "workflow.run" or not isinstance(params, dict):
            continue
        name, version = params.get("template_name"), params.get("version")
        count += 1
        if isinstance(name, str) and "${{" not in f"{name}{version}" and count <= _CALLS:
            yield node, name, version


async def _no_child(node: StepNode, name: str, version: Json, store: Store, exists: Exists, issues: Issues) -> None:
    params = node.place.key("params")
    if version is not None and await exists(name, None):
        issues.warn(
            params.key("version"), f"the template {shown(name)} has no version {shown(version)} yet", code="NOT_FOUND"
        )
        return
    known = await template_names(store)
    here, guess = params.key("template_name"), issues.suggest(name, lambda: known)
    issues.warn(
        here, f"there is no template {shown(name)} yet; define it before this step runs"
        + (f", or did you mean {guess.meant!r}?" if guess.meant else ""), code="NOT_FOUND",
        did_you_mean=guess.meant, patch=replace_at(here, guess.meant) if guess.sure else None,
    )  # fmt: skip


async def _no_secrets(tree: Tree, definition: dict[str, Json], vault: Vault | None, issues: Issues) -> None:
    used = _secrets(tree, definition)
    if not used:
        return
    if vault is None:
        for name, place in used.items():
            issues.warn(
                place, f"the secret {shown(name)} cannot be read, for no vault is open; start with OPCODE_VAULT_KEY set",
                code="VAULT_ERROR",
            )  # fmt: skip
    elif isinstance(vault, SecretNames):
        known = await vault.list()
        for name in [name for name in used if name not in known]:
            guess = issues.suggest(name, lambda: known)
            issues.warn(
                used[name], f"there is no secret {shown(name)} yet; store it with `opcode secret set` before this step runs"
                + (f", or did you mean {guess.meant!r}?" if guess.meant else ""), code="NOT_FOUND",
                did_you_mean=guess.meant,
            )  # fmt: skip


def _secrets(tree: Tree, definition: dict[str, Json]) -> dict[str, Place]:
    """Return the secrets that are named, each with the place where it is first read."""
    reader = Reader()
    used: dict[str, Place] = {}
    for reading in (*reader.of_value(Place().key("inputs"), definition.get("inputs")), *reader.of_tree(tree)):
        if "secrets" not in reading.names.namespaces:
            continue
        try:
            references = compile_template(reading.text).references
        except OpcodeError:
            continue  # no template
        for reference in references:
            if reference.namespace == "secrets":
                used.setdefault(str(reference.path[0]), reading.place)
    return used
