"""Values are data: nothing in them is read as a reference, breaks what holds them, or lets a secret out."""

from __future__ import annotations

import pytest

from opcode_kernel import DefinitionError, NotFoundError
from opcode_kernel.testing.steps import ask, fan

pytestmark = pytest.mark.anyio

SECRET = "hunter-22-xyzzy"


class Vault:
    """A vault of one secret that notes who asks."""

    def __init__(self):
        self.asked = []

    async def get(self, name):
        self.asked.append(name)
        if name != "P":
            raise NotFoundError(f"secret {name!r} not found")
        return SECRET


HOSTILE = {
    "quotes": 'he said "no"',
    "a way out of the text": '"}, "injected": {"x": "',
    "newlines and tabs": "one\ntwo\r\n\tthree\x0b\u2028four",
    "backslashes": 'C:\\new\\table\\\\ \\u0041 \\"',
    "unicode": "naïve 日本語 🧨 e\u0301",
    "a secret": "${{secrets.P}}",
    "a spaced secret": "before ${{ secrets['P'] }} after",
    "a step": "${{steps.first.output}}",
    "an open reference": "${{ steps",
    "an escaped reference": "\\${{secrets.P}}",
    "a mask": "***",
    "a number as text": "42",
    "true as text": "true",
    "null as text": "null",
    "an expression": "1 + 1",
    "nothing": "",
    "a number": 42,
    "a large integer": 2**53 - 1,
    "a fraction": 0.1,
    "a million": 1_000_000,
    "false": False,
    "null": None,
    "an object": {"a": {"b": [1, "two", None, {"${{secrets.P}}": "${{secrets.P}}"}]}, "": 0, "a.b": 1, "c'd\"": 2},
    "a list": [[], {}, "x", [1, [2, [3]]]],
}


def use(step_id, **params):
    return {"id": step_id, "action": "t.do", "params": params}


@pytest.mark.spec("10.9")
@pytest.mark.parametrize("name", HOSTILE)
async def test_a_value_reaches_every_place_as_it_was_given(house, name):
    """Through run params, outputs, nested lists, loop items, decisions, the context and a child."""
    value, vault = HOSTILE[name], Vault()
    given = {"value": "${{inputs.v}}"}
    body = [use("item", whole="${{loop.item}}"), use("sibling", whole="${{steps.item.output}}")]
    steps = house.chain(
        {"id": "first", "action": "t.echo", "params": given},
        use(
            "second",
            whole="${{steps.first.output}}",
            deep={"list": ["${{steps.first.output}}"]},
            text="<${{inputs.v}}>",
        ),
        fan([{"id": "each", "type": "loop", "config": {"over": "[inputs.v]", "body": body}}]),
        ask("gate", data_inject={"v": "steps.first.output", "w": "${{inputs.v}}"}),
        use("decided", whole="${{steps.gate.output.data.v}}", context="${{context.v}}"),
        {
            "id": "child",
            "action": "workflow.run",
            "params": {"template_name": "child", "params": {"v": "${{inputs.v}}"}},
        },
    )
    async with house.daemon(vault=vault) as daemon:
        inner = [{"id": "in_child", "action": "t.do", "params": {"whole": "${{inputs.v}}", **given}}]
        await daemon.engine.define("child", {"steps": inner}, agent_id="me")
        result = await house.run(daemon.engine, {"steps": steps, "output": "${{steps.child.output}}"}, {"v": value})
        assert result["status"] == "suspended", result
        assert result["pending_decisions"][0]["context"]["data"] == {"v": value, "w": value}
        engine = await daemon.restart()
        await engine.signal(result["workflow_id"], "data", payload={"v": value})
        answer = await engine.signal(result["workflow_id"], "decision", payload={"choice": "go", "data": {"v": value}})
        status = await engine.status(result["workflow_id"])
    assert answer["status"] == "completed", answer
    assert status["params"] == {"v": value}
    assert house.seen["second"][0]["whole"] == value
    assert house.seen["second"][0]["deep"] == {"list": [value]}
    assert house.seen["p.branch_0.each.iter_0.item"] == [{"whole": value}]
    assert house.seen["decided"] == [{"whole": value, "context": value}]
    assert house.seen["in_child"] == [{"whole": value, "value": value}]
    if value is not None:
        assert status["output"] == value
    if isinstance(value, str):
        assert house.seen["second"][0]["text"] == f"<{value}>"
    assert {
        step: type(calls[0].get("whole")) for step, calls in house.seen.items() if "whole" in calls[0]
    } == dict.fromkeys(["second", "p.branch_0.each.iter_0.item", "decided", "in_child"], type(value)) | {
        "p.branch_0.each.iter_0.sibling": dict
    }
    assert (vault.asked, set(house.seen["second"][0])) == ([], {"whole", "deep", "text"})


@pytest.mark.spec("10.9")
async def test_a_name_that_an_agent_chooses_cannot_smuggle_in_a_reference(house):
    """Neither the choice of a decision, its reasoning nor a signal's payload is read a second time."""
    vault, smuggled = Vault(), "${{secrets.P}}"
    seen = {"choice": "${{steps.gate.output.choice}}", "why": "${{steps.gate.output.reasoning}}",
            "signal": "${{steps.sig.output.payload.x}}", "text": "-${{steps.gate.output.choice}}-"}  # fmt: skip
    steps = house.chain(ask("gate"), {"id": "sig", "type": "wait", "config": {"signal": "go"}}, use("end", **seen))
    async with house.engine(vault=vault) as engine:
        run_id = (await house.run(engine, steps))["workflow_id"]
        await engine.signal(run_id, "decision", payload={"choice": smuggled}, reasoning=smuggled)
        await engine.signal(run_id, "data", payload={"signal": "go", "x": smuggled})
        assert (await house.ended(engine, run_id))["status"] == "completed"
    assert house.seen["end"] == [{"choice": smuggled, "why": smuggled, "signal": smuggled, "text": f"-{smuggled}-"}]
    assert vault.asked == []


def nested(step):
    choose = {"id": "if", "type": "condition", "config": {"expression": "true", "branches": {"true": [step]}}}
    return fan([{"id": "each", "type": "loop", "config": {"over": "[1]", "body": [choose]}}])


REFUSED = {
    "bare": ({"data_inject": {"k": "secrets.P"}}, "data_inject.k"),
    "brackets": ({"data_inject": {"k": "secrets['P']"}}, "data_inject.k"),
    "double brackets": ({"data_inject": {"k": 'secrets["P"]'}}, "data_inject.k"),
    "blanks": ({"data_inject": {"k": "  secrets.P  "}}, "data_inject.k"),
    "a reference": ({"data_inject": {"k": "${{secrets.P}}"}}, "data_inject.k"),
    "a reference with a default": ({"data_inject": {"k": "${{ secrets.P ?? 'x' }}"}}, "data_inject.k"),
    "inside a text": ({"data_inject": {"a": "fine", "k": "the key is ${{ secrets.P }}"}}, "data_inject.k"),
    "the prompt": ({"prompt_context": "use ${{secrets.P}}?"}, "prompt_context"),
    "an option": ({"options": [{"id": "a", "description": "${{secrets.P}}"}]}, "options"),
    "the agent": ({"target_agent": "${{secrets.P}}"}, "target_agent"),
}


@pytest.mark.spec("10.10")
@pytest.mark.parametrize("where", ["top level", "nested"])
@pytest.mark.parametrize("case", REFUSED)
async def test_a_question_that_names_a_secret_is_refused_when_it_is_defined(house, where, case):
    config, path = REFUSED[case]
    step = ask("gate", **config)
    at = (
        "steps[0]" if where == "top level" else "steps[0].config.branches[0][0].config.body[0].config.branches[true][0]"
    )
    async with house.engine() as engine:
        with pytest.raises(DefinitionError) as caught:
            await engine.define("t", {"steps": [nested(step) if where == "nested" else step]}, agent_id="me")
    paths = [error["path"] for error in caught.value.details["errors"]]
    assert any(found.startswith(f"{at}.config.{path}") for found in paths), paths


@pytest.mark.spec("10.10")
@pytest.mark.parametrize("where", ["top level", "nested"])
async def test_no_way_round_brings_a_secret_into_a_question_or_onto_the_disk(house, where):
    """By way of an input that holds it, an output that repeats it, or a text around it; the action itself gets it."""
    vault = Vault()
    leak = {"id": "leak", "action": "t.echo", "params": {"value": {"k": "${{secrets.P}}", "t": "key=${{inputs.key}};"}}}
    gate = ask("gate", prompt_context="Use ${{steps.leak.output.t}} or ${{inputs.key}}?", data_inject={
        "input": "inputs.key", "whole": "${{inputs.key}}", "text": "it is ${{inputs.key}}", "output": "steps.leak.output",
        "deep": "steps.leak.output.k",
    })  # fmt: skip
    steps = [fan([leak, gate])] if where == "nested" else house.chain(leak, gate)
    async with house.engine(vault=vault) as engine:
        result = await house.run(engine, {"steps": steps, "inputs": {"key": "${{secrets.P}}"}})
        status = await engine.status(result["workflow_id"])
    at = "p.branch_0." if where == "nested" else ""
    assert house.seen[f"{at}leak"] == [{"value": {"k": SECRET, "t": f"key={SECRET};"}}]
    assert vault.asked != []
    assert SECRET not in str(result) + str(status)
    assert "***" in str(result.get("pending_decisions", result["steps"]))
    for path in house.folder.iterdir():
        assert SECRET.encode() not in path.read_bytes(), path
