"""The state of a run: data only. The fold (`fold.py`) is the one place that changes it."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from opcode_kernel.core.node import PENDING, TERMINAL_RUN, Block, DecisionState, Node
from opcode_kernel.core.times import iso
from opcode_kernel.errors import Failure, Json

if TYPE_CHECKING:
    from opcode_kernel.core.commands import RunAction, StartTimer
    from opcode_kernel.core.plan import Plan

#: The shared empty object; never mutated.
_NOTHING: dict[str, Any] = {}


class Queue(OrderedDict[Node, None]):
    """Steps in line, each once, where it was put last.

    A restart finds a step here that was asked before, for being asked leaves no event where nothing follows. To ask it
    twice changes nothing (`StepType.advance`), and put in line anew it must not stand where the older one did.
    """

    def append(self, node: Node) -> None:
        """Put a step at the end, wherever it stood."""
        self[node] = None
        self.move_to_end(node)

    def extend(self, nodes: Iterable[Node]) -> None:
        """Put several at the end, in their order."""
        for node in nodes:
            self.append(node)

    def popleft(self) -> Node:
        """Take the first one. Raises `KeyError` when there is none."""
        return self.popitem(last=False)[0]

    def remove(self, node: Node) -> None:
        """Take a step out. Raises `KeyError` when it is not there."""
        del self[node]


class RunState:
    """Everything known about a run, derived from its events alone.

    Fields in slots: a transition reads and writes several dozen, and there are too many of them for a dictionary that
    shares its keys.
    """

    __slots__ = (
        "accumulated", "acting", "agent_id", "agent_notes", "away", "budget_left", "budget_since", "closing",
        "completed_at", "context", "created_at", "decisions", "decisions_log", "depth", "dirty", "dirty_decisions",
        "ending", "error", "failures", "has_holes", "hooks", "input_params", "inputs", "intent", "issued", "nodes",
        "output", "outstanding", "parent_run_id", "parent_step_id", "parent_task", "plan", "quiet", "ready", "root",
        "run_id", "sequence", "signals", "start_key", "started_at", "status", "timed", "touched", "updated_at",
        "withdrawn",
    )  # fmt: skip

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.run_id = self.agent_id = ""
        self.status: str = PENDING
        self.sequence = self.depth = self.created_at = self.updated_at = 0
        self.parent_run_id: str | None = None
        self.parent_step_id: str | None = None
        self.parent_task: str | None = None
        self.start_key: str | None = None
        self.has_holes = False
        self.started_at: int | None = None
        self.completed_at: int | None = None
        self.output: Json = None
        self.error: Failure | None = None
        self.intent: str | None = None
        self.agent_notes: str | None = None
        #: How the run will end once its hook is done: status and output or error.
        self.closing: dict[str, Json] | None = None
        #: The budget of the workflow time-out: what is left, and since when it is running.
        self.budget_left: int | None = None
        self.budget_since: int | None = None
        # These are never mutated, only replaced as a whole.
        #: Effective inputs as recorded (secrets masked), and as used (holes in place).
        self.input_params: dict[str, Json] = _NOTHING
        self.inputs: dict[str, Any] = _NOTHING
        self.context: dict[str, Json] = _NOTHING
        self.accumulated: dict[str, Json] = _NOTHING

        self.root = Block(plan.root, None, "")
        self.hooks = Block(plan.hooks, None, "")
        self.nodes: dict[str, Node] = {}
        self.decisions: dict[str, DecisionState] = {}
        self.outstanding: dict[str, RunAction | StartTimer] = {}
        #: How many of the outstanding commands are actions.
        self.acting = 0
        #: Whose timers these are, by task.
        self.timed: dict[str, Node] = {}
        #: Steps whose action was cancelled and has not ended yet, by task.
        self.ending: dict[str, Node] = {}
        #: Actions that wait for a child which rests: they are outstanding, and nothing of them is under way.
        self.away: set[str] = set()
        #: Early named signals, latest per name.
        self.signals: dict[str, Json] = {}

        self.decisions_log: list[dict[str, Json]] = []
        #: Unhandled failures in the order they happened; the run is bound to fail.
        self.failures: list[tuple[Node, Failure]] = []

        # Work that follows from the latest events; empty between transitions.
        self.ready: deque[Node] = deque()
        self.touched = Queue()
        self.quiet: list[Node] = []
        # What changed since it was last asked for; the projection reads and clears these.
        self.dirty: dict[Node, None] = {}
        self.dirty_decisions: dict[str, None] = {}
        # Commands of the current transition; one that is in both lists never leaves.
        self.issued: list[RunAction | StartTimer] = []
        self.withdrawn: list[RunAction | StartTimer] = []

    @property
    def is_terminal(self) -> bool:
        """Whether the run is completed, failed or cancelled."""
        return self.status in TERMINAL_RUN

    @property
    def workflow(self) -> dict[str, Json]:
        """What `workflow.*` shows: the run's identity, and inside hooks how it ends."""
        plan = self.plan
        shown: dict[str, Json] = {
            "run_id": self.run_id, "name": plan.name, "template_name": plan.template_name,
            "template_version": f"v{plan.template_version}", "agent_id": self.agent_id, "parent_id": self.parent_run_id,
        }  # fmt: skip
        if self.started_at is not None:
            shown["started_at"] = iso(self.started_at)
        if self.closing is not None:
            shown.update({"output": None, "error": None, **self.closing})
            if shown["error"] is not None:
                shown["error"] = {"step_id": None, **shown["error"]}
        return shown

    def pending_decisions(self) -> list[DecisionState]:
        """Return the open questions, oldest first."""
        return [decision for decision in self.decisions.values() if decision.status == PENDING]

    def offered(self) -> list[str]:
        """Return the ids of the options of all open questions."""
        return [name for decision in self.pending_decisions() for name in decision.option_ids]
