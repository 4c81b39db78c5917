"""What a caller may have meant by a name that nothing has: of a signal, an input, a template."""

from __future__ import annotations

from collections.abc import Iterable

from opcode_kernel.core.messages import Signal
from opcode_kernel.core.node import SUSPENDED
from opcode_kernel.core.place import Place
from opcode_kernel.core.state import RunState
from opcode_kernel.core.validation.issues import Issue, shown
from opcode_kernel.core.validation.nearness import Suggestions
from opcode_kernel.errors import Json, NotFoundError
from opcode_kernel.store.base import Store

#: So many rows are looked at for a name; a list in a message is shorter.
_LOOKED_AT, _LISTED = 200, 20


def unheard(state: RunState, signal: Signal) -> list[dict[str, Json]]:
    """Return a warning where an accepted `data` signal names no step that waits; it is kept for one to come."""
    if signal.type != "data" or state.status != SUSPENDED:
        return []
    waiting = {
        node.path: str(node.waiting["signal"])
        for node in state.nodes.values()
        if node.waiting is not None and node.waiting.get("signal") and not node.arrived and not node.is_terminal
    }
    name = signal.payload.get("signal")
    if isinstance(name, str) and state.signals.get(name) == signal.payload:
        message = f"no step waits for the signal {shown(name)}, it is kept for one that will"
        return [_warning("payload.signal", message, name, waiting.values())]
    step = signal.step_id
    if step and not any(node.path == step or node.path.endswith(f".{step}") for node in state.nodes.values()):
        return [_warning("step_id", f"no step {shown(step)} waits for a signal", step, waiting)]
    return []


def _warning(path: str, message: str, name: str, awaited: Iterable[str]) -> dict[str, Json]:
    names = list(dict.fromkeys(awaited))
    guess = Suggestions()(name, lambda: names)
    listed = ", ".join(names[:_LISTED]) + (f" and {len(names) - _LISTED} more" if len(names) > _LISTED else "")
    message += f"; waited for {'are' if len(names) > 1 else 'is'} {listed}" if names else "; none is waited for now"
    return Issue(
        Place(path, tuple(path.split("."))), "NOT_FOUND", "warning",
        message + (f"; did you mean {guess.meant!r}?" if guess.meant else ""), guess.meant,
    ).to_json()  # fmt: skip


def misspelt(params: Iterable[str], declared: Iterable[str]) -> str:
    """Return the end of a refusal of inputs: each that is not declared and near one that is and was not given."""
    given = set(params)
    missing = [name for name in declared if name not in given]
    unknown = sorted(given.difference(declared))[:_LISTED]
    meant = [(name, Suggestions()(name, lambda: missing).meant) for name in unknown]
    return "".join(f"; {shown(name)} is not declared, did you mean {near!r}?" for name, near in meant if near)


async def no_template(store: Store, name: str, number: int | None) -> NotFoundError:
    """Return the error about a template or a version that does not exist, with those that do."""
    if number is not None and (rows := await store.templates(name=name, limit=_LISTED)):
        versions: list[Json] = [f"v{row.version}" for row in rows]
        listed = ", ".join(map(str, versions))
        return NotFoundError(
            f"version v{number} of template {name!r} not found; there {'are' if len(rows) > 1 else 'is'} {listed}",
            details={"candidates": versions},
        )
    what = f"version v{number} of template {name!r}" if number is not None else f"template {name!r}"
    names = await template_names(store)
    meant = Suggestions()(name, lambda: names).meant
    if meant is None:
        listed = f"there is {', '.join(names[:_LISTED])}" if names else "no template is stored here yet"
        more = " and more, which opcode.query lists" if len(names) > _LISTED else ""
        return NotFoundError(f"{what} not found; {listed}{more}")
    return NotFoundError(f"{what} not found; did you mean {meant!r}?", details={"did_you_mean": meant})


async def template_names(store: Store) -> list[str]:
    """Return the names of the templates, as far as one page of them goes."""
    return list(dict.fromkeys(row.name for row in await store.templates(limit=_LOOKED_AT)))
