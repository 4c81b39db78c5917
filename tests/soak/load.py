"""The mixed load: one template for each kind of step, and for what may happen to it.

Outputs and effects of a template depend on the choice of its decision alone, so an undisturbed run tells what each run
must come to.
"""

from __future__ import annotations

from typing import Any

from opcode_kernel import Json

#: Who may decide what nobody of the load ever decides: the deadline does.
NOBODY = "nobody"


def act(name: str, step_id: str, *after: str, **more: Any) -> dict[str, Json]:
    """Return an action step of the ledger."""
    step: dict[str, Json] = {"id": step_id, "action": f"ledger.{name}", **more}
    return {**step, "depends_on": list(after)} if after else step


def step(kind: str, step_id: str, *after: str, **config: Any) -> dict[str, Json]:
    """Return a step of another type."""
    made: dict[str, Json] = {"id": step_id, "type": kind, "config": config}
    return {**made, "depends_on": list(after)} if after else made


def child(step_id: str, template: str, *after: str) -> dict[str, Json]:
    """Return a step that runs a template."""
    return {"id": step_id, "action": "workflow.run", "depends_on": list(after),
            "params": {"template_name": template, "params": {"order": "child"}}}  # fmt: skip


ASK = {"prompt_context": "Go on?", "options": [{"id": "yes"}, {"id": "no"}]}
LATE = {**ASK, "timeout": "30ms", "fallback": "no", "target_agent": NOBODY}

TEMPLATES: dict[str, list[dict[str, Json]]] = {
    "sequence": [act("book", "a"), act("put", "b", "a"), act("note", "c", "b"), act("book", "last", "c")],
    "fan": [
        step("parallel", "fan", branches=[
            [act("book", "x"), act("book", "y")], [act("book", "z"), step("wait", "w", duration="3ms")], [act("put", "p")],
        ]),
        act("book", "last", "fan"),
    ],
    "each": [
        step("loop", "each", over=["a", "b", "c"], body=[act("note", "n"), act("book", "b")]),
        act("book", "last", "each"),
    ],
    "naps": [
        act("book", "a"), step("wait", "nap", "a", duration="5ms"), act("put", "b", "nap"),
        step("wait", "bell", "b", signal="go"), act("book", "last", "bell"),
    ],
    "gate": [
        act("book", "a"), step("reasoning", "ask", "a", **ASK),
        step("condition", "which", "ask", expression="steps.ask.output.choice", branches={
            "yes": [act("book", "ship")], "no": [act("book", "scrap"), act("put", "tell")],
        }),
        act("book", "last", "which"),
    ],
    "aside": [
        step("parallel", "both", branches=[
            [step("reasoning", "ask", **ASK), act("book", "after")], [act("book", "beside"), act("book", "beyond")],
        ]),
        act("book", "last", "both"),
    ],
    "late": [step("reasoning", "ask", **LATE), act("book", "meanwhile"), act("book", "last", "ask", "meanwhile")],
    "retried": [
        act("shaky", "a", retry={"max": 3, "backoff": "constant", "delay": "2ms"}), act("put", "b", "a"), act("book", "last", "b"),
    ],
    "rescued": [
        act("refuse", "a", on_error={"strategy": "fallback_step", "fallback_step": "spare"}),
        act("book", "spare"), act("book", "last", "a"),
    ],
    "raced": [
        step("parallel", "race", mode="race", branches=[
            [act("book", "quick")], [step("wait", "never", duration="1h"), act("book", "slow")],
        ]),
        act("book", "last", "race"),
    ],
    "parent": [act("book", "a"), child("kid", "sequence", "a"), act("book", "last", "kid")],
    "guardian": [child("one", "gate"), child("two", "fan"), act("book", "last", "one", "two")],
    "nested": [
        step("loop", "each", over=[1, 2], body=[
            step("parallel", "fan", branches=[[act("book", "x")], [act("put", "y"), act("book", "z")]]),
            step("reasoning", "ask", **ASK),
            step("condition", "which", expression="iter.index == 0", branches={"true": [act("book", "first")]},
                 default=[act("book", "other")]),
        ]),
        act("book", "last", "each"),
    ],
}  # fmt: skip

#: What every template answers: deterministic, and it shows that earlier outputs are still there after a crash.
OUTPUT = {"last": "${{steps.last.output.done}}", "order": "${{inputs.order}}"}

#: Templates whose outcome depends on what is chosen.
CHOICES = ("yes", "no")


def definition(name: str) -> dict[str, Json]:
    """Return a template as it is defined."""
    return {"steps": TEMPLATES[name], "output": OUTPUT}
