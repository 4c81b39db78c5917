"""`StepView` as the core implements it: a step type's window on its own step, for the length of one `advance`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from opcode_kernel.core.evaluator import Program
from opcode_kernel.core.holes import split_holes
from opcode_kernel.core.interpolation import Template
from opcode_kernel.core.limits import Limits
from opcode_kernel.core.node import COMPLETED, Block, Node
from opcode_kernel.core.scope import Scope
from opcode_kernel.core.state import RunState
from opcode_kernel.errors import InterpolationError, Json

if TYPE_CHECKING:
    from collections.abc import Sequence


class View:
    """See `StepView` for what each member promises."""

    __slots__ = ("_node", "_now", "_state", "arrived", "attempt", "blocks", "config", "memo")

    def __init__(
        self, state: RunState, node: Node, now: int, attempt: int, arrived: dict[str, Json], *, fresh: bool
    ) -> None:
        self._state = state
        self._node = node
        self._now = now
        self.config: Any = node.plan.config
        self.attempt = attempt
        self.arrived = arrived
        self.memo: Json = None if fresh else node.memo
        self.blocks: Sequence[Block] = () if fresh else node.blocks

    @property
    def limits(self) -> Limits:
        """The bounds of the engine."""
        return self._state.plan.limits

    def evaluate(self, program: Program) -> Json:
        """Evaluate an expression in the scope of this step."""
        return program.evaluate(Scope(self._state, self._node.block).select(program.references))

    def evaluate_list(self, program: Program) -> Json:
        """Evaluate what a loop runs over; several outputs of jq make one list."""
        outputs = getattr(program, "outputs", None)
        if outputs is None:
            return self.evaluate(program)
        found: list[Json] = outputs(Scope(self._state, self._node.block).select(program.references))
        return found[0] if len(found) == 1 else found

    def evaluate_test(self, program: Program, index: int, last: Json) -> Json:
        """Evaluate a loop test: ids mean the latest iteration, `iter` is this loop's own."""
        own = self.blocks[-1] if self.blocks else None
        frame = {"item": None, "index": index, "last": last, "own_block": own is not None}
        if own is None:  # the steps of the body have not run, whatever is called like them outside
            frame["hidden"] = frozenset().union(*(body.index for body in self._node.plan.bodies.values()))
        scope = Scope(self._state, own or self._node.block, frame)
        return program.evaluate(scope.select(program.references))

    def resolve(self, template: Template) -> Json:
        """Resolve a template; secrets are refused, because what comes of it is stored."""
        value, holes = split_holes(template.resolve(Scope(self._state, self._node.block)))
        if holes:
            raise InterpolationError("a secret may not be used here, because the value is stored and shown to agents")
        return value

    def outputs(self) -> dict[str, Json]:
        """Return the outputs of completed steps by full id, without those of older attempts of their container."""
        return {
            path: node.output
            for path, node in self._state.nodes.items()
            if node.status == COMPLETED and node.output is not None and node.is_current
        }

    def context(self) -> dict[str, Json]:
        """Return intent, notes and accumulated data where there are any, and the loop when inside one."""
        state = self._state
        found: dict[str, Json] = {}
        if state.intent:
            found["workflow_intent"] = state.intent
        if state.agent_notes:
            found["agent_notes"] = state.agent_notes
        if state.accumulated:
            found["accumulated_data"] = state.accumulated
        block: Block | None = self._node.block
        while block is not None and block.index is None:
            block = block.owner.block if block.owner is not None else None
        if block is not None:
            found["loop"] = {"item": block.item, "index": block.index}
        return found

    def waited(self) -> int:
        """Return the microseconds since this attempt started."""
        return self._now - self._node.attempt_at
