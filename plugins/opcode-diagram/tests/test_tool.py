"""The tool: its answers, its refusals with the published words, and what it asks of the store."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest
from jsonschema import Draft202012Validator

import opcode_diagram
from opcode_diagram.tool import diagram_tool
from opcode_kernel import DefinitionError, Json, NotFoundError, OpcodeError, ToolResult
from opcode_kernel.store.base import RunRow, RunWrite, StepRow, TemplateRow
from opcode_kernel.store.memory import MemoryStore

pytestmark = pytest.mark.anyio

DEFINITION = {"steps": [{"id": "a", "action": "http.get"}, {"id": "b", "depends_on": ["a"]}]}


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> Any:
    return request.param


class Session:
    connection_id = "c"

    async def progress(self, done: float, total: float | None, message: str) -> None: ...


@dataclass
class Shelf:
    """The reading side of a store, with one template in two versions, a broken one, and two runs."""

    asked: list[tuple[str, Any]] = field(default_factory=list)

    async def template(self, name: str, version: int | None = None) -> Any:
        self.asked.append((name, version))
        known = {
            ("flow", 1): {"steps": [{"id": "old"}]}, ("flow", 2): DEFINITION, ("broken", 1): {"steps": []},
        }  # fmt: skip
        number = version or max((v for n, v in known if n == name), default=0)
        definition = known.get((name, number))
        return None if definition is None else SimpleNamespace(name=name, version=number, definition=definition)

    async def run(self, run_id: str) -> Any:
        found = {"run-1": ("flow", 2), "orphan": ("gone", 1)}.get(run_id)
        return None if found is None else SimpleNamespace(template_name=found[0], template_version=found[1])

    async def steps(self, run_id: str) -> list[Any]:
        self.asked.append(("steps", run_id))
        return [
            SimpleNamespace(step_id="a", status="completed", duration_ms=7, retry_count=0),
            SimpleNamespace(step_id="b", status="failed", duration_ms=None, retry_count=1),
        ]


async def ask(shelf: Shelf | None = None, **arguments: Json) -> ToolResult:
    return await diagram_tool(SimpleNamespace(store=shelf or Shelf())).handler(arguments, Session())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "format is required"),
        ({"format": ""}, "format is required"),
        ({"format": 7, "template_name": "flow"}, "format is required"),
        ({"format": "svg", "template_name": "flow"}, "format must be ascii, mermaid, or image"),
        ({"format": "image", "template_name": "flow"}, "image render failed: pictures as PNG are not available yet"),
        ({"format": "ascii"}, "template_name or workflow_id is required"),
        ({"format": "ascii", "template_name": " ", "workflow_id": None}, "template_name or workflow_id is required"),
        ({"format": "ascii", "template_name": 7}, "template_name: expected a text, found number"),
        ({"format": "ascii", "template_name": "flow", "version": "x"}, "template lookup failed: version: expected"),
        ({"format": "ascii", "template_name": "flow", "version": True}, "template lookup failed: version: expected"),
        ({"format": "ascii", "workflow_id": "run-1", "include_status": 1}, "include_status: expected true or false"),
        ({"format": "ascii", "template_name": "flow", "width": 10}, "width: expected an integer from 40 to 400"),
        ({"format": "ascii", "template_name": "flow", "width": "wide"}, "width: expected an integer from 40 to 400"),
        ({"format": "ascii", "template_name": "broken"}, "diagram build failed: steps: expected at least one step"),
    ],
)
async def test_a_wrong_call_is_refused_in_the_published_words(arguments: dict[str, Json], message: str) -> None:
    with pytest.raises(DefinitionError) as caught:
        await ask(**arguments)
    assert caught.value.message.startswith(message)
    assert caught.value.code == "VALIDATION_ERROR"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"workflow_id": "nope"}, "workflow not found: nope"),
        ({"workflow_id": "nope", "template_name": "flow"}, "workflow not found: nope"),
        ({"workflow_id": "orphan"}, "template lookup failed: expected a stored template, found none called 'gone'"),
        ({"template_name": "nope"}, "template lookup failed: expected a stored template, found none called 'nope'"),
        ({"template_name": "flow", "version": "v9"}, "template lookup failed: expected a stored template, found none"),
    ],
)
async def test_what_is_not_there_is_not_found(arguments: dict[str, Json], message: str) -> None:
    with pytest.raises(NotFoundError) as caught:
        await ask(format="ascii", **arguments)
    assert caught.value.message.startswith(message)


async def test_an_image_is_refused_with_what_works_instead() -> None:
    with pytest.raises(OpcodeError) as caught:
        await ask(format="image", template_name="flow")
    assert caught.value.details == {"format": "image", "available": ["ascii", "mermaid"]}


async def test_the_answer_is_the_raw_diagram_and_the_same_as_data() -> None:
    for format, mark in (("ascii", "=== Workflow ==="), ("mermaid", "graph TD")):
        result = await ask(format=format, template_name="flow")
        assert result.text is not None
        assert result.text.startswith(mark)
        assert result.data == {"format": format, "diagram": result.text}
        assert result.image is None


async def test_a_run_shows_its_status_unless_told_not_to() -> None:
    assert "[OK]" in ((await ask(format="ascii", workflow_id="run-1")).text or "")
    assert "class a completed" in ((await ask(format="mermaid", workflow_id="run-1", template_name="x")).text or "")
    assert "class b failed" in ((await ask(format="mermaid", workflow_id="run-1", include_status="true")).text or "")
    for no in (False, "false"):
        assert "[OK]" not in ((await ask(format="ascii", workflow_id="run-1", include_status=no)).text or "")


@pytest.mark.parametrize(("given", "asked"), [(None, None), ("", None), ("v1", 1), ("2", 2), (1, 1)])
async def test_versions_are_read_in_every_usual_spelling(given: Json, asked: int | None) -> None:
    shelf = Shelf()
    text = (await ask(shelf, format="mermaid", template_name=" flow ", version=given)).text
    assert shelf.asked == [("flow", asked)]
    assert ("old" in (text or "")) is (asked == 1)


@pytest.mark.parametrize("width", [40, 60.0, "80", None])
async def test_the_page_can_be_narrow(width: Json) -> None:
    assert (await ask(format="ascii", template_name="flow", width=width)).text


async def test_the_tool_advertises_what_works_and_only_reads() -> None:
    (tool,) = opcode_diagram.opcode_tools(SimpleNamespace(store=Shelf()))
    assert (tool.name, tool.read_only, tool.idempotent, tool.destructive, tool.open_world) == (
        "opcode.diagram", True, True, False, False,
    )  # fmt: skip
    assert tool.input_schema["properties"]["format"]["enum"] == ["ascii", "mermaid"]
    Draft202012Validator.check_schema(tool.input_schema)
    result = await ask(format="ascii", template_name="flow")
    Draft202012Validator(tool.output_schema).validate(result.data)


async def test_a_run_in_a_real_store_is_drawn_with_its_own_version() -> None:
    async with MemoryStore() as store:
        for definition in (DEFINITION, {"steps": [{"id": "newer"}]}):
            await store.save_template(TemplateRow("flow", 0, None, definition, None, None, None, "me", 1))
        run = RunRow("r", "flow", 1, None, "active", "me", None, None, None, {}, None, None, 1, 1, None, 1)
        steps = [StepRow("r", "a", "completed", None, None, None, 0, 1, 2, 5)]
        await store.append([RunWrite("r", [], run, steps)])
        tool = diagram_tool(SimpleNamespace(store=store))
        of_run = await tool.handler({"format": "ascii", "workflow_id": "r"}, Session())
        of_template = await tool.handler({"format": "ascii", "template_name": "flow"}, Session())
    assert "[OK]" in (of_run.text or "")
    assert "5ms" in (of_run.text or "")
    assert "newer" in (of_template.text or "")
