"""What an expression or a template may see, from where it stands (spec 01 section 3.5, spec 02 section 9.1).

A scope is a view on the run's state, not a copy. Ids are looked up lexically: in the own list, then outwards, then at the
top level; a nested step is reachable by its full id once its container let it out.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from itertools import pairwise
from typing import Any

from opcode_kernel.core.evaluator import References
from opcode_kernel.core.holes import Hole, split_holes
from opcode_kernel.core.interpolation import ABSENT
from opcode_kernel.core.node import COMPLETED, FAILED, SKIPPED, Block, Node
from opcode_kernel.core.references import Reference
from opcode_kernel.core.state import RunState
from opcode_kernel.errors import InterpolationError, Json

_STEP_FIELDS = ("output", "status", "error")
_INDEX = re.compile("[0-9]{1,9}")
#: Characters shown of a name that stands in the data.
_SHOWN = 80
#: So many names are compared with one that is not there.
_LOOKED_AT = 200


class Scope:
    """The view of one place in a run: `block` is the list it stands in."""

    __slots__ = ("_extra_iter", "block", "state", "written")

    def __init__(self, state: RunState, block: Block, extra_iter: dict[str, Json] | None = None) -> None:
        self.state = state
        self.block = block
        self._extra_iter = extra_iter
        #: How many characters of long texts the template that is being resolved has made of values.
        self.written = 0

    # Templates -------------------------------------------------------------------------------------------------

    def read(self, reference: Reference) -> Any:
        """Return the value of a reference.

        Raises:
            InterpolationError: it leads nowhere; `details` list what is there.
        """
        match reference.namespace:
            case "steps":
                return self._read_step(reference)
            case "inputs":
                return self._read_input(reference)
            case "workflow":
                return _walk(self.state.workflow, reference.path, reference)
            case "context":
                return self._read_dotted(self.state.context, reference)
        frame = self._iteration()
        if frame is None:
            raise _unresolved(reference, "there is no loop here", [])
        return _walk(frame, reference.path, reference)

    def _read_input(self, reference: Reference) -> Any:
        inputs = self.state.inputs
        name = reference.path[0]
        if name not in inputs and name in self.state.plan.optional_inputs and reference.rest not in inputs:
            return ABSENT
        return self._read_dotted(inputs, reference)

    def _read_dotted(self, values: dict[str, Any], reference: Reference) -> Any:
        """The whole rest is tried as one key first: names may contain dots."""
        if len(reference.path) > 1 and reference.rest in values:
            return values[reference.rest]
        return _walk(values, reference.path, reference)

    def _read_step(self, reference: Reference) -> Any:
        step_id, *path = reference.path
        node = self.find(str(step_id))
        if node is None or not node.is_terminal:
            known = sorted(other for other, found in self._visible().items() if found.is_terminal)
            raise _unresolved(
                reference, f"the step {step_id!r} has not run", known, "available_steps",
                meant=_nearest(reference, str(step_id), known) if node is None else None,
            )  # fmt: skip
        own, node = node, node.stand_in
        if path and path[0] in ("status", "error") and not _has_own(node.output, path[0]):
            # A fallback lends its output only: that the step failed, and how, stays true.
            value: Json = own.status if path[0] == "status" else (own.error.to_json() if own.error else None)
            return _walk(value, tuple(path[1:]), reference)
        direct = path[:1] != ["output"]
        if not direct:
            path = path[1:]
        if node.status == SKIPPED and node.output is None:
            if path:
                raise _unresolved(reference, f"the step {step_id!r} was skipped", [], reason="step_skipped")
            return ABSENT
        if node.status == FAILED:
            raise _unresolved(reference, f"the step {step_id!r} failed and has no output", [], reason="step_failed")
        return _walk(node.output, tuple(path), reference, _STEP_FIELDS if direct else ())

    # Expressions -----------------------------------------------------------------------------------------------

    def select(self, references: References | None = None) -> dict[str, Json]:
        """Return the roots as plain JSON, narrowed to what `references` names; None means everything."""
        everything = references is None
        roots = {"steps", "inputs", "workflow", "context", "iter", "loop"} if references is None else references.roots
        selected: dict[str, Json] = {}
        for root in roots:
            match root:
                case "steps":
                    whole = everything or (references is not None and references.all_steps)
                    fields = {} if references is None else references.steps
                    selected[root] = self._all_steps(fields) if whole else self._named_steps(fields)
                case "inputs":
                    selected[root] = self._plain_inputs()
                case "workflow":
                    selected[root] = self.state.workflow
                case "context":
                    selected[root] = self.state.context
                case _:
                    selected[root] = self._iteration() or {}
        return selected

    def _plain_inputs(self) -> dict[str, Json]:
        return split_holes(self.state.inputs)[0] if self.state.has_holes else self.state.inputs

    def _named_steps(self, names: Mapping[str, frozenset[str]]) -> dict[str, Json]:
        selected = {}
        for name, fields in names.items():
            node = self.find(name)
            if node is not None and node.is_terminal:
                selected[name] = step_value(node, fields)
        return selected

    def _all_steps(self, names: Mapping[str, frozenset[str]]) -> dict[str, Json]:
        return {
            name: step_value(node, names.get(name, frozenset()))
            for name, node in self._visible().items()
            if node.is_terminal
        }

    # Looking things up -----------------------------------------------------------------------------------------

    def find(self, step_id: str) -> Node | None:
        """Return the step an id means here, or None when it does not exist (yet)."""
        if self._extra_iter is not None and step_id in self._extra_iter.get("hidden", ()):
            return None
        block: Block | None = self.block
        while block is not None:
            position = block.plan.index.get(step_id)
            if position is not None:
                return block.nodes[position]
            block = block.owner.block if block.owner is not None else None
        position = self.state.plan.root.index.get(step_id)
        if position is not None:
            return self.state.root.nodes[position]
        node = self.state.nodes.get(step_id)
        return node if node is not None and self._is_visible(node) else None

    def _is_visible(self, node: Node) -> bool:
        """Branches are isolated: a step of another branch shows only once the container is done.

        What an earlier attempt of a container left behind shows no more.
        """
        own = set(self._chain())
        block = node.block
        while block.owner is not None:
            if block.attempt != block.owner.attempt:
                return False
            if block not in own and not block.owner.is_terminal and not (block.ended and block.index is not None):
                return False
            block = block.owner.block
        return True

    def _visible(self) -> dict[str, Node]:
        found = {path: node for path, node in self.state.nodes.items() if self._is_visible(node)}
        for block in reversed(self._chain()):
            found.update((node.plan.id, node) for node in block.nodes if node is not None)
        return found

    def _chain(self) -> list[Block]:
        blocks = [self.block]
        while (owner := blocks[-1].owner) is not None:
            blocks.append(owner.block)
        return blocks

    def _iteration(self) -> dict[str, Json] | None:
        frames: list[dict[str, Json]] = [
            {"item": block.item, "index": block.index} for block in self._chain() if block.index is not None
        ]
        if self._extra_iter is not None:
            # A loop's own test: its block chain starts at the latest iteration, which is not the one asked about.
            if self.block.index is not None and self._extra_iter.get("own_block"):
                frames = frames[1:]
            frames.insert(0, {k: v for k, v in self._extra_iter.items() if k not in ("own_block", "hidden")})
        for inner, outer in pairwise(frames):
            inner["parent"] = outer
        return frames[0] if frames else None


def step_value(node: Node, fields: frozenset[str] = frozenset()) -> Json:
    """Return what `steps.<id>` is in an expression.

    An object shows its own keys, and `output`, `status`, `error` besides where it has none of that name. Anything else is
    itself, unless the expression asks for one of the three.
    """
    stand_in = node.stand_in
    output = stand_in.output
    virtual = {"output": output, "status": node.status}
    if node.error is not None:
        virtual["error"] = node.error.to_json()
    if isinstance(output, dict):
        return {**virtual, **output} if not fields or not fields.isdisjoint(_STEP_FIELDS) or "" in fields else output
    if output is None or not fields.isdisjoint(_STEP_FIELDS) or stand_in.status != COMPLETED:
        return virtual
    return output


def _has_own(output: Json, name: Any) -> bool:
    return isinstance(output, dict) and name in output


def _walk(value: Any, path: tuple[str | int, ...], reference: Reference, besides: tuple[str, ...] = ()) -> Any:
    """Follow a path; `besides` are names that might have been meant by its first part, and stand elsewhere."""
    top = value
    previous: str | int = ""
    for accessor in path:
        if isinstance(value, dict):
            key = accessor if isinstance(accessor, str) else str(accessor)
            if key in value:
                value = value[key]
            elif previous == "headers" and (found := _ignoring_case(value, key)) is not None:
                value = value[found]
            else:
                names = sorted(map(str, value))
                meant = _nearest(reference, key, [*besides, *names] if value is top else names)
                raise _unresolved(reference, f"there is no {key!r}", names, meant=meant)
        elif isinstance(value, list | tuple):
            value = _element(value, accessor, reference)
        elif isinstance(value, Hole):
            raise _unresolved(reference, "a secret has no parts", [])
        else:
            raise _unresolved(reference, f"{accessor!r} cannot be looked up in a value that is no object or array", [])
        previous = accessor
    return value


def _element(value: Sequence[Any], accessor: str | int, reference: Reference) -> Any:
    index = accessor if isinstance(accessor, int) else int(accessor) if _INDEX.fullmatch(accessor) else None
    if index is None or not -len(value) <= index < len(value):
        raise _unresolved(reference, f"{accessor!r} is no index of an array of {len(value)}", [])
    return value[index]


def _ignoring_case(value: dict[str, Any], key: str) -> str | None:
    lowered = key.lower()
    return next((name for name in value if name.lower() == lowered), None)


def _nearest(reference: Reference, name: str, known: list[str]) -> str | None:
    """Return the name that may have been meant; nobody hears of it where there is a default."""
    if reference.has_default or len(name) > _SHOWN:
        return None
    return next(iter(get_close_matches(name, known[:_LOOKED_AT], 1, 0.7)), None)


def _unresolved(
    reference: Reference, why: str, available: list[str], kind: str = "available_fields", reason: str | None = None,
    meant: str | None = None,
) -> InterpolationError:  # fmt: skip
    details: dict[str, Json] = {"expression": reference.text}
    if available or reason is None:
        details[kind] = [_clipped(name) for name in available[:100]]
    if reason:
        details["reason"] = reason
    hint = f"; available: {', '.join(map(_clipped, available[:20]))}" if available else ""
    if meant is not None:
        details["did_you_mean"] = meant
        hint += f"; did you mean {meant!r}?"
    return InterpolationError(f"cannot resolve ${{{{{reference.text}}}}}: {why}{hint}", details=details)


def _clipped(name: str) -> str:
    return name if len(name) <= _SHOWN else name[:_SHOWN] + "…"
