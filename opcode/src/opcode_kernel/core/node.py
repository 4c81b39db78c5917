"""What a run has of its steps: a `Node` is one step that exists, a `Block` one list of them: the top level, the hooks, or
a nested list that a container opened. Data only; the fold (`fold.py`) is the one place that changes it.

`path` is the public id (`each.iter_2.resize`); `key` names the same place uniquely across repetitions of a container
(`each~2.iter_2.resize`), and tasks are named after it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from opcode_kernel.errors import Failure, Json

if TYPE_CHECKING:
    from opcode_kernel.core.plan import BlockPlan, StepPlan

PENDING, RUNNING, RETRYING, SUSPENDED = "pending", "running", "retrying", "suspended"
COMPLETED, FAILED, SKIPPED = "completed", "failed", "skipped"
ACTIVE, CANCELLED = "active", "cancelled"
TERMINAL_STEP = frozenset({COMPLETED, FAILED, SKIPPED})
TERMINAL_RUN = frozenset({COMPLETED, FAILED, CANCELLED})


class Node:
    """One step of a run. Class attributes are the values of a step that has not started."""

    status: str = PENDING
    attempt: int = 0
    retry_count: int = 0
    operator_attempt: int = 1
    #: Dependencies that are not satisfied yet (top level only).
    pending: int = 0
    triggered: bool = False
    ignored: bool = False
    #: Failed because its guard gave no answer; an operator's retry asks again.
    unanswered: bool = False
    #: Skipped only because something else ended; an operator who repeats that repeats this too.
    cut: bool = False
    input: Json = None
    holes: list[Any] | None = None
    output: Json = None
    error: Failure | None = None
    reason: str | None = None
    started_at: int | None = None
    attempt_at: int = 0
    completed_at: int | None = None
    memo: Json = None
    #: What arrived for a wait; see `StepView.arrived`.
    arrived: dict[str, Json] = {}  # noqa: RUF012 - never mutated, replaced as a whole
    waiting: dict[str, Json] | None = None
    decision: str | None = None
    timeout_left: int | None = None
    #: What was decided for a container whose nested actions are still being cancelled; see `ending.py`.
    ending: dict[str, Json] | None = None
    #: The run that the step waits for.
    child: str | None = None
    #: Interrupted while an action with effects was under way: nobody knows whether it happened.
    unknown: bool = False
    #: The fallback that stands in for this failed step, the one that was started for it, and the reverse of that.
    rescued_by: Node | None = None
    fallback: Node | None = None
    rescues: tuple[Node, ...] = ()
    #: Names of the step's outstanding timers.
    timers: tuple[str, ...] = ()
    #: The nested lists of this attempt; the shared empty list is never mutated.
    blocks: list[Block] = []  # noqa: RUF012
    #: How many of them, counted from the first, are known to have ended.
    passed: int = 0

    def __init__(self, plan: StepPlan, block: Block) -> None:
        self.plan = plan
        self.block = block
        if block.owner is None:
            self.path = self.key = plan.id
        else:
            self.path = block.prefix + plan.id
            self.key = block.key_prefix + plan.id

    def __repr__(self) -> str:
        return f"<Node {self.path} {self.status}>"

    @property
    def task(self) -> str:
        """The name of the current attempt."""
        return f"{self.key}#{self.attempt}"

    @property
    def is_terminal(self) -> bool:
        """Whether the step is done for good, an operator's override aside."""
        return self.status in TERMINAL_STEP

    @property
    def top(self) -> Node:
        """The step itself, or the outermost container around it."""
        node = self
        while node.block.owner is not None:
            node = node.block.owner
        return node

    @property
    def stand_in(self) -> Node:
        """The step whose result counts: the fallback at the end of the chain, or the step itself."""
        node = self
        while node.status == FAILED and node.rescued_by is not None:
            node = node.rescued_by
        return node

    @property
    def last_resort(self) -> Node:
        """The end of the chain of fallbacks as far as it was started, or the step itself."""
        node = self
        while node.status == FAILED and node.fallback is not None and not node.fallback.declined:
            node = node.fallback
        return node

    @property
    def is_current(self) -> bool:
        """Whether it belongs to the latest attempt of everything around it."""
        block = self.block
        while (owner := block.owner) is not None and block.attempt == owner.attempt:
            block = owner.block
        return owner is None

    @property
    def declined(self) -> bool:
        """Whether its own guard kept the step from running: a fallback that did not run rescues nothing."""
        return self.status == SKIPPED and self.reason == "condition_false"

    def open_blocks(self) -> list[Block]:
        """Return the nested lists that have not ended. A loop of many iterations does not look at all of them each time."""
        blocks = self.blocks
        while self.passed < len(blocks) and blocks[self.passed].ended:
            self.passed += 1
        return [block for block in blocks[self.passed :] if not block.ended]

    @property
    def is_live(self) -> bool:
        """Whether the step is running or about to run again."""
        return self.status in (RUNNING, RETRYING)


class Block:
    """One list of steps in a run. Implements `BlockView`."""

    position: int = 0
    #: How many of its steps are running or retrying, and how many are suspended.
    live: int = 0
    resting: int = 0
    ended: bool = False
    failure: Failure | None = None
    output: Json = None
    #: What the ids and keys of its steps begin with.
    prefix: str = ""
    key_prefix: str = ""

    def __init__(
        self, plan: BlockPlan, owner: Node | None, name: str, index: int | None = None, item: Json = None
    ) -> None:
        self.plan = plan
        self.owner = owner
        #: The public name below the owner: `iter_2`, `branch_0`, a branch key; empty for the top level.
        self.key = name
        self.index = index
        self.item = item
        self.nodes: list[Node | None] = [None] * len(plan.steps)
        if owner is not None:
            #: The attempt of the owner that opened it.
            self.attempt = owner.attempt
            self.consent = owner.operator_attempt
            again = f"~{owner.attempt}" if owner.attempt > 1 else ""
            self.prefix = f"{owner.path}.{name}."
            self.key_prefix = f"{owner.key}{again}.{name}."

    @property
    def goes_on(self) -> bool:
        """Whether everything around it still goes on with the attempt that opened it, and has not decided how it ends."""
        block = self
        while (owner := block.owner) is not None:
            if owner.status in TERMINAL_STEP or owner.attempt != block.attempt or owner.ending is not None:
                return False
            block = owner.block
        return True

    @property
    def suspended(self) -> bool:
        """Whether nothing in it can go on before something from outside arrives."""
        if self.ended or self.live:
            return False
        # A failed step may wait for a fallback outside of this list.
        return self.resting > 0 or any(
            node is not None and node.status == FAILED and node.last_resort.status == SUSPENDED for node in self.nodes
        )


class DecisionState:
    """One question that was asked."""

    status: str = PENDING
    resolution: dict[str, Json] | None = None
    resolved_at: int | None = None

    def __init__(self, id: str, node: Node, payload: dict[str, Json], timeout_at: int | None, created_at: int) -> None:
        self.id = id
        self.node = node
        #: The payload of `decision_requested`: the context, plus `options`, `fallback?`, `target_agent_id?`.
        self.payload = payload
        self.timeout_at = timeout_at
        self.created_at = created_at

    @property
    def option_ids(self) -> list[str]:
        """The ids an answer must be one of; empty for a free-form question."""
        return [option["id"] for option in self.payload["options"]]
