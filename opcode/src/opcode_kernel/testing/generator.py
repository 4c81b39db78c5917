"""Random definitions that validation would accept: all six step types, nested, with everything a step can carry.

What is chosen comes from a `Chooser`: numbers by seed for campaigns, hypothesis' draws for properties (which then shrink).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from opcode_kernel.errors import Json
from opcode_kernel.testing.choosers import Chooser
from opcode_kernel.testing.choosers import SeededChooser as SeededChooser

StepJson = dict[str, Json]

#: Inputs that generated definitions read. `maybe` is optional and never supplied.
INPUTS: dict[str, Json] = {"n": 2, "flag": True, "kind": "p", "items": ["x", {"y": 1}], "text": 'a "b"\n${{secrets.P}}'}
INPUT_SCHEMA: dict[str, Json] = {
    "properties": {**{name: {} for name in (*INPUTS, "own", "token")}, "maybe": {}},
    "required": list(INPUTS),
}


@dataclass(frozen=True, slots=True)
class Features:
    """What generated definitions may contain. Without `timing` nothing in them depends on who comes first."""

    depth: int = 3
    steps: int = 5
    #: Time-outs, races, waits for a time or a signal, decision deadlines, context patches.
    timing: bool = True
    failures: bool = True
    suspensions: bool = True
    secrets: bool = True


@dataclass(slots=True)
class _Place:
    """Where a step is being made: what it may refer to, and how deep it stands."""

    depth: int
    visible: tuple[str, ...] = ()
    in_loop: bool = False
    #: Steps of this list that run only as fallbacks.
    fallbacks: list[StepJson] = field(default_factory=list)


def generate(choose: Chooser, features: Features | None = None) -> dict[str, Json]:
    """Return one definition."""
    return _Generator(choose, features or Features()).definition()


class _Generator:
    def __init__(self, choose: Chooser, features: Features) -> None:
        self.choose = choose
        self.features = features
        self.count = 0
        self.budget = 14
        self.top_fallbacks: list[StepJson] = []
        #: Top-level steps that are complete: nothing in them can refer to a fallback made later.
        self.top: tuple[str, ...] = ()

    def definition(self) -> dict[str, Json]:
        choose, features = self.choose, self.features
        place = _Place(features.depth, fallbacks=self.top_fallbacks)
        steps: list[StepJson] = []
        for _ in range(choose.pick(range(1, features.steps + 1))):
            step = self.step(place)
            if place.visible and choose.chance(40):
                step["depends_on"] = [choose.pick(place.visible)]
            steps.append(step)
            place.visible = self.top = (*place.visible, step["id"])
        steps += self.top_fallbacks
        data: dict[str, Json] = {"steps": steps}
        if choose.chance(20):
            data["context"] = {"intent": "test", "seen": "${{inputs.n}}"}
        if choose.chance(25):
            data["output"] = self.output(place)
        if choose.chance(25):
            data["inputs"] = {"own": choose.pick([5, {"deep": [1]}, "text"]), "n": 2}
            if features.secrets and choose.chance(40):
                data["inputs"] |= {"token": "Bearer ${{secrets.P}}"}
        for hook in ("on_complete", "on_error"):
            if choose.chance(20):
                data[hook] = self.hook(hook)
        if features.timing and choose.chance(25):
            data["timeout"] = choose.pick(["2s", "8s", "100s"])
            data["on_timeout"] = choose.pick(["fail", "cancel", "suspend"])
        return data

    def output(self, place: _Place) -> Json:
        names = [name for name in place.visible if self.choose.chance(60)]
        if names and self.choose.chance(20):
            return f"${{{{steps.{self.choose.pick(names)}.output}}}}"
        return {"all": [f"${{{{steps.{name}.output ?? null}}}}" for name in names], "n": "${{inputs.n}}"}

    def hook(self, name: str) -> StepJson:
        choose, features = self.choose, self.features
        step: StepJson = {"id": name, "action": "test.echo", "params": {"value": "${{workflow.status}}"}}
        if features.failures and choose.chance(40):
            step["action"] = choose.pick(["test.fail", "test.flaky", "test.abort"])
            if choose.chance(40):
                step["retry"] = {"max": 1, "backoff": "constant", "delay": choose.pick(["0s", "20s"])}
            if choose.chance(30):
                step["on_error"] = {"strategy": choose.pick(["ignore", "fail_workflow", "retry"])}
        elif features.timing and choose.chance(20):
            step = {"id": name, "type": "wait", "config": {"duration": choose.pick(["1s", "2h"])}}
        elif choose.chance(25):
            branches = [[{"id": "h1", "action": "test.echo"}], [{"id": "h2", "action": "test.slow"}]]
            step = {"id": name, "type": "parallel", "config": {"branches": branches}}
            if features.timing and choose.chance(50):
                step["config"]["mode"] = "race"
        if choose.chance(30):
            step["condition"] = choose.pick(["inputs.flag", "inputs.n > 5", "inputs.n"])
        if features.timing and choose.chance(20):
            step["timeout"] = choose.pick(["500ms", "3s"])
        return step

    def step(self, place: _Place, *, fallback: bool = False) -> StepJson:
        self.count += 1
        self.budget -= 1
        kinds = ["action", "action", "action"]
        if place.depth > 0 and self.budget > 0:
            kinds += ["condition", "loop", "parallel", "parallel"]
        if self.features.suspensions:
            kinds += ["reasoning", "wait"] if self.features.timing else ["reasoning"]
        kind = self.choose.pick(kinds)
        step: StepJson = {"id": f"s{self.count}", "type": kind}
        getattr(self, f"_{kind}")(step, place)
        self._carry(step, place, fallback=fallback)
        return step

    def _carry(self, step: StepJson, place: _Place, *, fallback: bool) -> None:
        choose, features = self.choose, self.features
        if choose.chance(20):
            step["condition"] = self._guard(place)
        if features.timing and choose.chance(15):
            step["timeout"] = choose.pick(["500ms", "3s", "100s"])
        if features.failures and step.get("type") not in ("reasoning", "wait") and choose.chance(25):
            step["retry"] = {
                "max": choose.pick([0, 1, 2]), "backoff": choose.pick(["none", "constant", "linear", "exponential"]),
                "delay": choose.pick(["0s", "10ms", "20s"]), "jitter": choose.chance(20),
            }  # fmt: skip
        if features.failures and choose.chance(35):
            step["on_error"] = self._on_error(place, fallback=fallback)

    def _on_error(self, place: _Place, *, fallback: bool) -> StepJson:
        strategy = self.choose.pick(["ignore", "fail_workflow", "fallback_step", "fallback_step", "retry"])
        if strategy != "fallback_step":
            return {"strategy": strategy}
        if self.budget <= 0:
            return {"strategy": "ignore"}
        own = self.top_fallbacks if self.choose.chance(35) else place.fallbacks
        if own and not fallback and self.choose.chance(40):
            return {"strategy": strategy, "fallback_step": self.choose.pick(own)["id"]}
        # A chain: the fallback may have one of its own, and now and then it is a container.
        made = self.step(_Place(1 if self.choose.chance(20) else 0, fallbacks=own), fallback=True)
        if own is self.top_fallbacks and self.top and self.choose.chance(25):
            made["depends_on"] = [self.choose.pick(self.top)]
        own.append(made)
        return {"strategy": strategy, "fallback_step": made["id"]}

    def _list(self, place: _Place, sizes: Sequence[int], *, in_loop: bool = False) -> list[StepJson]:
        inner = _Place(place.depth - 1, place.visible, place.in_loop or in_loop)
        made: list[StepJson] = []
        for _ in range(self.choose.pick(sizes)):
            step = self.step(inner)
            made.append(step)
            inner.visible = (*inner.visible, step["id"])
        return made + inner.fallbacks

    # One method per step type -------------------------------------------------------------------------------------

    def _action(self, step: StepJson, place: _Place) -> None:
        del step["type"]
        actions = ["test.echo", "test.echo"]
        if self.features.failures:
            actions += ["test.flaky", "test.fail"]
        if self.features.failures and self.choose.chance(15):
            actions.append("test.abort")
        if self.features.suspensions:
            actions.append("test.child")
        if self.features.timing:
            actions += ["test.patch", "test.slow"]
        step["action"] = self.choose.pick(actions)
        step["params"] = {"value": self._value(place)}
        if step["action"] == "test.flaky":
            step["params"]["fails"] = self.choose.pick([1, 2])
        if step["action"] == "test.fail":
            step["params"]["retryable"] = self.choose.chance(50)
        if self.features.secrets and self.choose.chance(15):
            step["params"]["token"] = self.choose.pick(
                ["${{secrets.P}}", "Bearer ${{secrets.P}}", "${{inputs.key}}", "${{inputs.token ?? 0}}"]
            )

    def _condition(self, step: StepJson, place: _Place) -> None:
        step["config"] = {
            "expression": self.choose.pick(["inputs.kind", "inputs.n > 1", "inputs.n", "'nowhere'", "inputs.items"]),
            "branches": {key: self._list(place, (0, 1, 2)) for key in ("p", "true", "2")},
        }
        if self.choose.chance(50):
            step["config"]["default"] = self._list(place, (0, 1))

    def _loop(self, step: StepJson, place: _Place) -> None:
        config: StepJson = {"body": self._list(place, (1, 2), in_loop=True)}
        mode = self.choose.pick(["for_each", "for_each", "while", "until"])
        if mode == "for_each":
            config["over"] = self.choose.pick(
                ["[1, 2]", "inputs.items", [1, "${{inputs.n}}"], [], "${{inputs.items}}", "inputs.n"]
            )
        else:
            config |= {"mode": mode, "condition": self._test(mode, config["body"][0]["id"]), "max_iter": 3}
        if self.choose.chance(20):
            config["max_iter"] = 1
        step["config"] = config

    def _test(self, mode: str, inner: str) -> str:
        """A test of the counter mostly; else one of what the body did, or one that is none."""
        sign = "<" if mode == "while" else ">="
        options = [f"iter.index {sign} {limit}" for limit in (0, 1, 1, 2)]
        options.append(f"iter.index {sign} 1 || steps.{inner}.status == 'failed'")
        if self.features.failures:
            options.append("inputs.n")
        return self.choose.pick(options)

    def _parallel(self, step: StepJson, place: _Place) -> None:
        race = self.features.timing and self.choose.chance(40)
        sizes = (1, 2) if race else (0, 1, 2)
        step["config"] = {"branches": [self._list(place, sizes) for _ in range(self.choose.pick([1, 2, 3]))]}
        if race:
            step["config"]["mode"] = "race"
        if self.choose.chance(30):
            step["config"]["max_concurrency"] = self.choose.pick([1, 2])

    def _wait(self, step: StepJson, place: _Place) -> None:
        step["config"] = self.choose.pick([
            {"duration": "0s"}, {"duration": "2s"}, {"duration": "2h"}, {"signal": "go"}, {"signal": "go", "duration": "5s"},
            {"signal": "data"},
        ])  # fmt: skip

    def _reasoning(self, step: StepJson, place: _Place) -> None:
        config: StepJson = {"prompt_context": "Go on with ${{inputs.n}}?"}
        if self.choose.chance(60):
            config["options"] = [{"id": "yes"}, {"id": "no"}]
        if place.visible and self.choose.chance(30):
            config["data_inject"] = {"seen": f"steps.{self.choose.pick(place.visible)}.status"}
        if self.features.timing and self.choose.chance(40):
            config["timeout"] = self.choose.pick(["5s", "1h"])
            if self.choose.chance(50):
                config["fallback"] = "no"
        if self.choose.chance(15):
            config["target_agent"] = "boss"
        step["config"] = config

    def _value(self, place: _Place) -> Json:
        options: list[Any] = [
            "plain",
            7,
            "${{inputs.items}}",
            "text: ${{inputs.text}}",
            None,
            {"deep": ["${{inputs.n}}"]},
            "${{inputs.own ?? 0}}",
        ]
        options += [f"${{{{steps.{name}.output ?? 0}}}}" for name in place.visible]
        if place.visible:
            options.append(f"${{{{steps.{self.choose.pick(place.visible)}.output}}}}")
        if place.in_loop:
            options += ["${{loop.item}}", "${{loop.index}}"]
        return self.choose.pick(options)

    def _guard(self, place: _Place) -> str:
        options = ["inputs.flag", "inputs.flag", "inputs.n > 5", "inputs.maybe == 1", "inputs.n", "inputs.missing == 1"]
        options += [f"steps.{name}.status == 'completed'" for name in place.visible]
        options += [f"steps.{name}.choice == 'yes'" for name in place.visible]
        return self.choose.pick(options)
