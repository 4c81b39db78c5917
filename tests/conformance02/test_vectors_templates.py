"""The vectors of templates, row by row: what stands in `params` and what reaches the action."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from opcode_kernel import Json, SqlStore

pytestmark = pytest.mark.anyio

#: The output of the step `s` in every row; the secret `P` is `hunter22`, the input `u` is `x`.
OUTPUT = {
    "n": 1048576, "f": 0.00001, "b": True, "z": None, "t": 'a\n"q"', "o": {"k": [1, 2]}, "evil": "${{secrets.P}}",
}  # fmt: skip


VECTORS: list[tuple[str, str, Json]] = [
    ("T1", "${{steps.s.output.n}}", 1048576), ("T1", "#${{steps.s.output.n}}", "#1048576"),
    ("T2", "${{steps.s.output.f}}!", "0.00001!"),
    ("T3", "${{steps.s.b}}", True), ("T3", "v=${{steps.s.b}}", "v=true"),
    ("T4", "${{steps.s.output.z}}", None), ("T4", "[${{steps.s.output.z}}]", "[null]"),
    ("T5", "${{steps.s.output.t}}", 'a\n"q"'),
    ("T6", "${{steps.s.output.o.k[-1]}}", 2), ("T6", "${{steps['s'].output['o'].k.0}}", 1),
    ("T7", "${{steps.s.output.o}}", {"k": [1, 2]}), ("T7", "o=${{steps.s.output.o}}", 'o={"k":[1,2]}'),
    ("T8", "${{steps.s.output.evil}}", "${{secrets.P}}"), ("T8", "<${{steps.s.evil}}>", "<${{secrets.P}}>"),
    ("T10", "$${{inputs.u}}", "$x"), ("T10", r"\${{inputs.u}}", "${{inputs.u}}"),
    ("T11", "${{inputs.nope ?? 3}}", 3),
]  # fmt: skip


@pytest.mark.spec("17.T1", "17.T2", "17.T3", "17.T4", "17.T5", "17.T6", "17.T7", "17.T8", "17.T10", "17.T11", "10.3")
@pytest.mark.parametrize(("row", "template", "value"), VECTORS)
async def test_a_template_becomes_its_value(taken: Any, row: str, template: str, value: Json) -> None:
    found = await taken(template, output=OUTPUT, inputs={"u": "x"})
    assert (found, type(found)) == (value, type(value))


def content(folder: Path) -> bytes:
    """Return all that the files of a folder hold."""
    return b"".join(path.read_bytes() for path in folder.iterdir())


@pytest.mark.spec("17.T9")
async def test_a_secret_reaches_the_action_and_nothing_that_is_stored(world: Any, tmp_path: Path) -> None:
    world.store = SqlStore(tmp_path / "opcode.db")
    world.probe.answer = {"echo": "Bearer hunter22", "url": "?p=hunter22&x", "encoded": "aHVudGVyMjI="}
    async with world.engine() as engine:
        step = {"id": "s", "action": "probe.take", "params": {"h": "Bearer ${{ secrets.P }}"}}
        await engine.define("t", {"steps": [step]}, agent_id="me")
        result = await engine.run("t", agent_id="me")
        status = await engine.status(result["workflow_id"])
    assert world.probe.taken == [{"h": "Bearer hunter22"}]
    output = result["steps"]["s"]["output"]
    assert (output["echo"], output["url"]) == ("Bearer ***", "?p=***&x")
    assert output["encoded"].startswith("***")
    assert status["steps"]["s"]["input"] == {"h": "Bearer ***"}
    written = content(tmp_path)
    assert b"Bearer ***" in written
    assert b"hunter22" not in written
    assert "hunter22" not in json.dumps([result, status])


@pytest.mark.spec("17.T11")
async def test_a_missing_input_lists_the_ones_there_are(taken: Any) -> None:
    error = await taken("${{inputs.nope}}", inputs={"u": "x"})
    assert (error["code"], error["retryable"]) == ("INTERPOLATION_ERROR", False)
    assert error["details"] == {"expression": "inputs.nope", "available_fields": ["u"]}


@pytest.mark.spec("17.T12")
@pytest.mark.parametrize(
    ("template", "hint"),
    [
        ("${{inputs.u", "expected }}"),
        ("${{}}", "found nothing"),
        ("${{foo.bar}}", "unknown namespace 'foo'"),
        ("${{loop.item}}", "only in the body of a loop"),
    ],
)
async def test_a_reference_to_nowhere_is_refused_before_anything_runs(
    world: Any, refused: Any, template: str, hint: str
) -> None:
    """Such a reference cannot become an `INTERPOLATION_ERROR` of a run: no definition that holds it is stored."""
    problem = await refused([{"id": "e", "action": "probe.take", "params": {"v": template}}])
    assert problem["path"] == "steps[0].params.v"
    assert hint in problem["message"]
    assert world.probe.taken == []
