"""The real engine behind the real transports: what agents do all day."""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest
from jsonschema import Draft202012Validator
from mcp.client.session import ClientSession
from mcp.client.sse import sse_client
from mcp.shared.exceptions import MCPError

import opcode_assert
import opcode_steps
import opcode_workflow
from opcode_kernel import Tool, ToolResult, hookimpl
from opcode_kernel.errors import PluginError
from opcode_kernel.plugin.manager import registry_of
from opcode_kernel.runtime.engine import open_engine
from opcode_kernel.server.app import Application
from opcode_kernel.server.http_server import http_server
from opcode_kernel.server.instance import bind_socket
from opcode_kernel.server.settings import load_settings
from opcode_kernel.store.memory import MemoryStore

pytestmark = pytest.mark.anyio


def step(step_id: str, action: str, **params: Any) -> dict[str, Any]:
    return {"id": step_id, "type": "action", "action": action, "params": params}


ASK = {
    "id": "gate",
    "type": "reasoning",
    "config": {"prompt_context": "Ship?", "options": [{"id": "go"}, {"id": "no"}]},
}


class Drawing:
    """A plugin with a tool."""

    @hookimpl
    def opcode_tools(self, engine: Any) -> list[Tool]:
        async def draw(arguments: dict[str, Any], session: Any) -> ToolResult:
            return ToolResult({"format": "ascii", "diagram": "[a]"}, text="[a]", image=("image/png", "aGk="))

        schema = {"type": "object", "properties": {}}
        return [Tool("opcode.diagram", "Draw", schema, schema, draw, read_only=True, idempotent=True)]


class Clashing(Drawing):
    """A second plugin with the same tool."""


@asynccontextmanager
async def serving(home: Path, *plugins: Any) -> AsyncIterator[Callable[..., Any]]:
    registry = registry_of(opcode_steps, opcode_assert, opcode_workflow, *plugins)
    settings = load_settings({"listen_addr": "127.0.0.1:0"}, {"OPCODE_HOME": str(home)})
    with bind_socket(settings.listen_addr) as sock:
        settings = settings.at_port(sock.getsockname()[1])
        application = Application(settings)
        async with (
            http_server(application.app, sock),
            application.running(),
            MemoryStore() as store,
            open_engine(store, registry, notifier=application.sessions) as engine,
        ):
            application.attach(engine)

            @asynccontextmanager
            async def connect(**options: Any) -> AsyncIterator[ClientSession]:
                url = f"http://{settings.listen_addr}/sse"
                async with sse_client(url) as (read, write), ClientSession(read, write, **options) as client:
                    await client.initialize()
                    yield client

            yield connect


async def ok(client: ClientSession, tool: str, **arguments: Any) -> Any:
    result = await client.call_tool(f"opcode.{tool}", arguments)
    assert result.is_error is False, result.content[0].text
    return result.structured_content


async def refused(client: ClientSession, tool: str, **arguments: Any) -> Any:
    result = await client.call_tool(f"opcode.{tool}", arguments)
    assert result.is_error is True
    return result.structured_content["error"]


async def test_every_refusal_names_its_code_and_leaves_the_run_alone(tmp_path):
    async with serving(tmp_path) as connect, connect() as client:
        await ok(client, "define", name="t", agent_id="a", definition={"steps": [ASK]})
        run = await ok(client, "run", template_name="t", agent_id="a")
        run_id = run["workflow_id"]
        assert run["status"] == "suspended"
        assert run["pending_decisions"][0]["options"] == [{"id": "go"}, {"id": "no"}]
        wrong = {"workflow_id": run_id, "signal_type": "decision", "step_id": "gate"}
        for arguments, code in (
            ({**wrong, "payload": {"choice": "maybe"}}, "VALIDATION_ERROR"),
            ({**wrong, "payload": {}}, "VALIDATION_ERROR"),
            ({**wrong, "step_id": "other", "payload": {"choice": "go"}}, "NOT_FOUND"),
            ({"workflow_id": "none", "signal_type": "cancel"}, "NOT_FOUND"),
        ):
            error = await refused(client, "signal", **arguments)
            assert error["code"] == code
            assert error["message"].startswith(f"signal failed: [{code}]")
        assert (await ok(client, "status", workflow_id=run_id))["status"] == "suspended"
        error = await refused(client, "status", workflow_id=run_id, include=["moon"])
        assert "steps, events, decisions, context" in error["message"]
        error = await refused(client, "run", template_name="t", agent_id="a", version="v9")
        assert error["message"].startswith("template lookup failed: [NOT_FOUND]")
        assert "not found" in error["message"]


async def test_a_stray_argument_is_refused_or_remarked_upon(tmp_path):
    async with serving(tmp_path) as connect, connect() as client:
        schemas = {tool.name: tool.output_schema for tool in (await client.list_tools()).tools}
        error = await refused(client, "run", template_name="t", agent_id="a", inputs={"n": 1})
        assert error["message"] == "unknown argument 'inputs'; the inputs of a run go in 'params'"
        assert (error["code"], error["details"]["did_you_mean"]) == ("VALIDATION_ERROR", "params")
        error = await refused(client, "query", resource="events", filter={"run_id": "x"})
        assert error["message"] == "unknown filter key 'run_id'; did you mean 'workflow_id'?"
        error = await refused(client, "run", agent_id="a", moon=1)
        assert error["message"].startswith("template_name is required; unknown argument 'moon'")
        defined = await ok(client, "define", name="t", agent_id="a", definition={"steps": [ASK]}, moon=1)
        ran = await ok(client, "run", template_name="t", agent_id="a", moon=1)
        shown = await ok(client, "status", workflow_id=ran["workflow_id"], moon=1)
        listed = await ok(client, "query", resource="workflows", filter={"moon": 1}, limit=1)
        for tool, answer in (("define", defined), ("run", ran), ("status", shown), ("query", listed)):
            Draft202012Validator(schemas[f"opcode.{tool}"]).validate(answer)
        assert defined["warnings"][-1]["message"].startswith("unknown argument 'moon' was ignored; known are name, ")
        assert ran["warnings"][-1].startswith("unknown argument 'moon' was ignored; known are template_name, ")
        assert shown["warnings"][0].startswith("unknown argument 'moon'")
        assert listed["warnings"][0].startswith("unknown filter key 'moon' was ignored")
        assert listed["warnings"][1] == "unknown argument 'limit' was ignored; it belongs in 'filter'"


async def test_params_that_a_template_does_not_know_are_remarked_upon(tmp_path):
    reads = {"steps": [step("a", "assert.equals", expected="${{inputs.who ?? 1}}", actual=1)]}
    async with serving(tmp_path) as connect, connect() as client:
        await ok(client, "define", name="t", agent_id="a", definition=reads)
        schema = {"properties": {"who": {}}}
        await ok(client, "define", name="listed", agent_id="a", definition=reads, input_schema=schema)
        for name, remark in (
            ("t", "params.whoo: nothing reads the input 'whoo'; did you mean 'who'?"),
            ("listed", "params.whoo: input_schema has no property 'whoo'; did you mean 'who'?"),
        ):
            answer = await ok(client, "run", template_name=name, agent_id="a", params={"whoo": "x"})
            assert (answer["status"], answer["warnings"]) == ("completed", [remark])
            assert "warnings" not in await ok(client, "run", template_name=name, agent_id="a", params={"who": 1})


async def test_an_empty_idempotency_key_is_refused_and_starts_nothing(tmp_path):
    async with serving(tmp_path) as connect, connect() as client:
        await ok(client, "define", name="t", agent_id="a", definition={"steps": [ASK]})
        for key in ("", " ", "a\nb", "x" * 257):
            error = await refused(client, "run", template_name="t", agent_id="a", idempotency_key=key)
            assert (error["code"], "1 to 256 printable characters" in error["message"]) == ("VALIDATION_ERROR", True)
        assert (await ok(client, "query", resource="workflows"))["total"] == 0
        await ok(client, "run", template_name="t", agent_id="a", idempotency_key=None)


async def test_a_misspelt_signal_is_told_what_was_meant_and_does_nothing(tmp_path):
    async with serving(tmp_path) as connect, connect() as client:
        await ok(client, "define", name="t", agent_id="a", definition={"steps": [ASK]})
        run_id = (await ok(client, "run", template_name="t", agent_id="a"))["workflow_id"]
        for signal_type, payload, meant in (
            ("decison", {"choice": "go"}, "decision"),
            ("decision", {"choice": "og"}, "go"),
            ("decision", {"choice": "go", "dta": 1}, "data"),
            ("cancel", {"raeson": "x"}, "reason"),
            ("skip", {"ouput": 1}, "output"),
        ):
            error = await refused(client, "signal", workflow_id=run_id, signal_type=signal_type, payload=payload)
            assert (error["code"], error["details"]["did_you_mean"]) == ("VALIDATION_ERROR", meant)
            assert f"did you mean {meant!r}?" in error["message"]
        error = await refused(client, "signal", workflow_id=run_id, signal_type="skip", step_id="nope")
        assert error["message"].endswith("the workflow has no step nope; skip takes gate")
        assert (await ok(client, "status", workflow_id=run_id))["status"] == "suspended"
        waits = {"wait": True, "wait_timeout": 5, "payload": {"choice": "go"}}
        answer = await ok(client, "signal", workflow_id=run_id, signal_type="decision", **waits)
        assert answer["status"] == "completed"


async def test_a_refused_definition_says_every_problem_in_its_text(tmp_path):
    async with serving(tmp_path) as connect, connect() as client:
        steps = [{"id": f"s{number}", "type": "walk"} for number in range(25)]
        result = await client.call_tool("opcode.define", {"name": "t", "agent_id": "a", "definition": {"steps": steps}})
        first, *lines, last = result.content[0].text.splitlines()
        assert first.startswith("invalid definition: ")
        details = result.structured_content["error"]["details"]
        assert [line.partition(": ")[0] for line in lines] == [issue["path"] for issue in details["errors"][:20]]
        assert last == f"and {details['error_count'] - 20} more in structuredContent"
        one = await client.call_tool("opcode.define", {"name": "t", "agent_id": "a", "definition": {"steps": []}})
        issue = one.structured_content["error"]["details"]["errors"][0]
        assert one.content[0].text == f"invalid definition: [{issue['code']}] {issue['path']}: {issue['message']}"


async def test_the_definition_format_can_be_learned_from_the_tools(tmp_path):
    async with serving(tmp_path) as connect, connect() as client:
        tools = {tool.name: tool for tool in (await client.list_tools()).tools}
        manual = tools["opcode.define"].input_schema["properties"]["definition"]["description"]
        assert len(manual.splitlines()) <= 15
        example = json.loads(manual[manual.index('{"steps": [') :])
        example["steps"][0] |= {"action": "assert.equals", "params": {"expected": 1, "actual": 1}}
        await ok(client, "define", name="example", agent_id="a", definition=example)
        listed = await ok(client, "query", resource="actions", filter={"name": "assert.equals"})
        assert [item["name"] for item in listed["actions"]] == ["assert.equals"]
        assert "expected" in listed["actions"][0]["input_schema"]["properties"]


async def test_a_run_that_is_not_there_is_refused_with_a_remedy(tmp_path):
    async with serving(tmp_path) as connect, connect() as client:
        for tool, more in (("status", {}), ("signal", {"signal_type": "cancel"})):
            error = await refused(client, tool, workflow_id="nope", **more)
            remedy = "workflow 'nope' not found; list runs with opcode.query resource=workflows"
            assert error["message"].endswith(remedy)


async def test_suspended_runs_are_listed_with_what_they_wait_for_and_found_by_it(tmp_path):
    wait = {"id": "w", "type": "wait", "config": {"signal": "go"}}
    async with serving(tmp_path) as connect, connect() as client:
        for name, steps in (("asks", [ASK]), ("waits", [wait])):
            await ok(client, "define", name=name, agent_id="a", definition={"steps": steps})
            await ok(client, "run", template_name=name, agent_id="a")
        found = await ok(client, "query", resource="workflows", filter={"status": "suspended", "fields": "summary"})
        shown = {run["template_name"]: run["waiting"] for run in found["workflows"]}
        assert shown == {
            "asks": [{"step_id": "gate", "reason": "decision"}],
            "waits": [{"step_id": "w", "reason": "signal", "signal": "go"}],
        }
        found = await ok(client, "query", resource="workflows", filter={"reason": "signal"})
        assert ([run["template_name"] for run in found["workflows"]], found["total"]) == (["waits"], 1)
        assert (await ok(client, "query", resource="workflows", filter={"reason": "interrupted"}))["total"] == 0


async def test_every_key_of_an_answer_stands_in_the_published_schema(tmp_path):
    async with serving(tmp_path) as connect, connect() as client:
        known = {tool.name: set(tool.output_schema["properties"]) for tool in (await client.list_tools()).tools}
        steps = [ASK, step("end", "workflow.log", message="x") | {"depends_on": ["gate"]}]
        await ok(client, "define", name="t", agent_id="a", definition={"steps": steps})
        run = await ok(client, "run", template_name="t", agent_id="a")
        status = await ok(client, "status", workflow_id=run["workflow_id"])
        fed = await ok(client, "signal", workflow_id=run["workflow_id"], signal_type="data", payload={"x": 1})
        moved = await ok(
            client, "signal", workflow_id=run["workflow_id"], signal_type="decision", payload={"choice": "go"}
        )
        done = await ok(client, "status", workflow_id=run["workflow_id"])
    for name, answers in (("run", [run]), ("status", [status, done]), ("signal", [fed, moved])):
        for answer in answers:
            assert set(answer) <= known[f"opcode.{name}"]


async def test_paging_that_makes_no_sense_is_refused(tmp_path):
    async with serving(tmp_path) as connect, connect() as client:
        await ok(client, "define", name="t", agent_id="a", definition={"steps": [ASK]})
        run_id = (await ok(client, "run", template_name="t", agent_id="a"))["workflow_id"]
        for wrong in ({"events_since": -1}, {"events_limit": 0}, {"events_since": "first"}, {"events_limit": True}):
            error = await refused(client, "status", workflow_id=run_id, **wrong)
            assert "must be a whole number of at least" in error["message"]
        page = await ok(client, "status", workflow_id=run_id, include=["events"], events_since="0", events_limit=1.0)
        assert ([event["sequence"] for event in page["events"]], page["events_next"]) == ([1], 1)


async def test_a_decision_moves_the_run_on_and_its_answer_fits_the_published_schema(tmp_path):
    async with serving(tmp_path) as connect, connect() as client:
        schemas = {tool.name: tool.output_schema for tool in (await client.list_tools()).tools}

        async def fits(tool: str, **arguments: Any) -> Any:
            result = await client.call_tool(f"opcode.{tool}", arguments)
            Draft202012Validator(schemas[f"opcode.{tool}"]).validate(result.structured_content)
            return result.structured_content

        await fits("define", name="t", agent_id="a", definition={"steps": []})
        await fits("define", name="t", agent_id="a", definition={"steps": [ASK]}, description="d")
        run_id = (await fits("run", template_name="t", agent_id="a"))["workflow_id"]
        await fits("run", template_name="none", agent_id="a")
        await fits("status", workflow_id=run_id)
        await fits("status", workflow_id="none")
        await fits("signal", workflow_id=run_id, signal_type="decision", step_id="x", payload={})
        answer = await fits(
            "signal", workflow_id=run_id, signal_type="decision", step_id="gate", payload={"choice": "go"}, agent_id="a"
        )
        assert (answer["resumed"], answer["status"]) == (True, "completed")
        for resource in ("workflows", "templates", "decisions", "agents", "actions"):
            assert (await fits("query", resource=resource))[resource]
        assert (await fits("query", resource="events", filter={"workflow_id": run_id}))["events"]
        await fits("query", resource="moons")


async def test_a_failed_run_is_an_answer_and_not_a_tool_error(tmp_path):
    async with serving(tmp_path) as connect, connect() as client:
        steps = {"steps": [step("same", "assert.equals", expected=1, actual=2)]}
        await ok(client, "define", name="t", agent_id="a", definition=steps)
        run = await ok(client, "run", template_name="t", agent_id="a")
        assert run["status"] == "failed"
        assert run["steps"]["same"]["error"]["code"] == "ASSERTION_FAILED"


async def test_input_is_checked_before_anything_is_stored(tmp_path):
    async with serving(tmp_path) as connect, connect() as client:
        schema = {"type": "object", "required": ["n"]}
        await ok(client, "define", name="t", agent_id="a", definition={"steps": [ASK]}, input_schema=schema)
        error = await refused(client, "run", template_name="t", agent_id="a", params={})
        assert error["code"] == "VALIDATION_ERROR"
        assert (await ok(client, "query", resource="workflows"))["total"] == 0


async def test_the_same_key_starts_one_run_and_a_short_wait_leaves_it_going(tmp_path):
    wait = {"id": "nap", "type": "wait", "config": {"duration": "50ms"}}
    async with serving(tmp_path) as connect, connect() as client:
        await ok(client, "define", name="t", agent_id="a", definition={"steps": [wait]})
        first = await ok(client, "run", template_name="t", agent_id="a", wait=False, idempotency_key="k")
        again = await ok(client, "run", template_name="t", agent_id="a", wait="false", idempotency_key="k")
        assert again["workflow_id"] == first["workflow_id"]
        brief = await ok(client, "run", template_name="t", agent_id="a", wait_timeout="1ms")
        assert brief["status"] in ("active", "suspended")


async def test_a_workflow_tells_its_agent_wherever_that_is_connected(tmp_path):
    notes: list[Any] = []
    got = anyio.Event()

    async def note(params: Any) -> None:
        notes.append(params)
        got.set()

    tell = {"steps": [step("tell", "workflow.notify", message="batch ready", data={"rows": 12})]}
    async with serving(tmp_path) as connect, connect() as other, connect(logging_callback=note) as client:
        await ok(client, "define", name="t", agent_id="a", definition=tell)
        run = await ok(other, "run", template_name="t", agent_id="b")
        assert run["steps"]["tell"]["output"] == {"notified": True}
        assert not notes
        run = await ok(other, "run", template_name="t", agent_id="a")
        with anyio.fail_after(5):
            await got.wait()
        assert notes[0].data == {"rows": 12}


async def test_a_run_without_a_connected_agent_is_told_that_nobody_heard(tmp_path):
    later = {"steps": [ASK, {**step("tell", "workflow.notify", message="m"), "depends_on": ["gate"]}]}
    async with serving(tmp_path) as connect:
        async with connect() as client:
            await ok(client, "define", name="t", agent_id="a", definition=later)
            run_id = (await ok(client, "run", template_name="t", agent_id="a"))["workflow_id"]
        async with connect() as other:
            payload = {"choice": "go"}
            await ok(other, "signal", workflow_id=run_id, signal_type="decision", step_id="gate", payload=payload)
            output = (await ok(other, "status", workflow_id=run_id))["steps"]["tell"]["output"]
    assert output == {"notified": False, "reason": "not_connected"}


async def test_values_nested_beyond_all_reason_do_not_take_the_server_down(tmp_path):
    async with serving(tmp_path) as connect, connect() as client:
        echo = {"steps": [step("same", "assert.equals", expected=1, actual="${{inputs.deep}}")]}
        await ok(client, "define", name="t", agent_id="a", definition=echo)
        for depth in (150, 400, 900, 20_000):
            params = f'{{"deep": {"[" * depth}{"]" * depth}}}'
            with contextlib.suppress(MCPError):
                await client.call_tool("opcode.run", {"template_name": "t", "agent_id": "a", "params": params})
            assert (await ok(client, "query", resource="templates"))["templates"]


async def test_progress_follows_the_steps(tmp_path):
    seen: list[str | None] = []

    async def note(done: float, total: float | None, message: str | None) -> None:
        seen.append(message)

    two = {"steps": [step("one", "assert.equals", expected=1, actual=1),
                     {**step("two", "assert.equals", expected=1, actual=1), "depends_on": ["one"]}]}  # fmt: skip
    async with serving(tmp_path) as connect, connect() as client:
        await ok(client, "define", name="t", agent_id="a", definition=two)
        await client.call_tool("opcode.run", {"template_name": "t", "agent_id": "a"}, progress_callback=note)
    assert seen == ["one completed", "two completed"]


async def test_a_plugin_adds_a_tool_in_its_place(tmp_path):
    async with serving(tmp_path, Drawing()) as connect, connect() as client:
        names = [tool.name for tool in (await client.list_tools()).tools]
        drawn = await client.call_tool("opcode.diagram", {})
    assert names == [f"opcode.{word}" for word in ("define", "diagram", "query", "run", "signal", "status")]
    assert [block.type for block in drawn.content] == ["text", "image"]
    assert drawn.content[0].text == "[a]"
    assert drawn.structured_content == {"format": "ascii", "diagram": "[a]"}


async def test_two_plugins_with_the_same_tool_stop_the_start(tmp_path):
    with pytest.raises(BaseExceptionGroup) as caught:
        async with serving(tmp_path, Drawing(), Clashing()):
            raise AssertionError("started")
    assert caught.group_contains(PluginError, match=r"opcode\.diagram.* is offered by both", depth=None)
