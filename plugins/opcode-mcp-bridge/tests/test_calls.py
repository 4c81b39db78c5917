"""What a step gets for a call: the tool's answer, or the failure that tells what to do."""

from __future__ import annotations

import json
import os
from typing import Any

import anyio
import pytest

from opcode_kernel import ActionError, OpcodeError

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(
    ("params", "said"),
    [
        ({}, "'text' is a required property"),
        ({"text": "a", "times": "many"}, "times: expected integer, found string"),
        ({"text": "a", "loud": True}, "property 'loud' is not allowed"),
    ],
)
async def test_literal_params_that_break_the_schema_are_refused_when_the_workflow_is_defined(
    place: Any, tiny: Any, params: Any, said: str
) -> None:
    async with place(tiny()) as here:
        with pytest.raises(OpcodeError, match=r"\[VALIDATION_ERROR\]") as caught:
            await here.call("tiny.echo", **params)
        assert said in json.dumps(caught.value.details["errors"])


async def test_params_that_are_only_known_at_run_time_are_held_against_the_schema_then(
    place: Any, tiny: Any, records: Any, tmp_path: Any
) -> None:
    file = tmp_path / "seen"
    async with place(tiny(env={"RECORD": str(file)})) as here:
        steps = [{"id": "s", "action": "tiny.echo", "params": {"text": "a", "times": "${{inputs.times}}"}}]
        await here.engine.define("t", {"steps": steps}, agent_id="a")
        result = await here.engine.run("t", agent_id="a", params={"times": [1]})
        cause = result["steps"]["s"]["error"]
        assert (cause["code"], cause["retryable"]) == ("VALIDATION_ERROR", False)
        assert "/times: expected integer, found array" in cause["message"]
        assert [each for each in records(file) if each["method"] == "tools/call"] == [], "the server was not asked"
        fine = await here.engine.run("t", agent_id="a", params={"times": "2"})
        assert fine["output"]["text"] == "aa", "a text that is a number is one where the schema wants one"


@pytest.mark.parametrize(
    ("given", "code", "retryable", "said"),
    [
        ({"code": -32602}, "VALIDATION_ERROR", False, "tiny.rpc_error: refused"),
        ({"code": -32603, "message": "oops"}, "EXECUTION_ERROR", True, "tiny.rpc_error: oops"),
        ({"code": -32601}, "EXECUTION_ERROR", False, "refused"),
    ],
)
async def test_an_error_of_the_protocol_is_a_failure_by_its_code(
    place: Any, tiny: Any, given: Any, code: str, retryable: bool, said: str
) -> None:
    async with place(tiny()) as here:
        with pytest.raises(ActionError) as caught:
            await here.call("tiny.rpc_error", **given)
    error = caught.value
    assert (error.code, error.retryable, error.details["rpc_code"]) == (code, retryable, given["code"])
    assert said in error.message


async def test_a_tool_that_says_it_failed_fails_the_step_with_its_text(place: Any, tiny: Any) -> None:
    async with place(tiny()) as here:
        with pytest.raises(ActionError, match=r"\[EXECUTION_ERROR\] tiny\.fail: no such report") as caught:
            await here.call("tiny.fail", text="no such report")
        assert caught.value.details == {"text": "no such report", "is_error": True}


async def test_a_tool_that_is_not_there_is_unavailable_and_may_come_later(place: Any, tiny: Any) -> None:
    async with place(tiny()) as here:
        with pytest.raises(ActionError, match=r"\[ACTION_UNAVAILABLE\] .*it has no action of that name"):
            await here.call("tiny.unheard_of")


async def test_a_call_without_an_answer_times_out_and_the_server_is_told(
    place: Any, tiny: Any, records: Any, tmp_path: Any
) -> None:
    file = tmp_path / "seen"
    async with place(tiny(env={"RECORD": str(file)}, call_timeout=0.1)) as here:
        with pytest.raises(ActionError, match=r"\[TIMEOUT_ERROR\] .*within 0.1 s"):
            await here.call("tiny.hang")
        assert (await here.call("tiny.echo", text="next"))["text"] == "next", "the next answer goes to the next call"
        seen = records(file)
    (hanging,) = [each["id"] for each in seen if each.get("params", {}).get("name") == "hang"]
    (cancelled,) = [each["params"] for each in seen if each["method"] == "notifications/cancelled"]
    assert cancelled["requestId"] == hanging


async def test_an_answer_that_comes_too_late_goes_to_nobody(place: Any, tiny: Any) -> None:
    async with place(tiny(call_timeout=0.3)) as here:
        with pytest.raises(ActionError, match=r"\[TIMEOUT_ERROR\]"):
            await here.call("tiny.rendezvous", size=2, tag="too late")
        assert (await here.call("tiny.rendezvous", size=2, tag="in time"))["text"] == "in time"


async def test_text_that_no_utf8_can_carry_is_replaced_on_its_way(place: Any, tiny: Any) -> None:
    async with place(tiny()) as here:
        steps = [{"id": "s", "action": "tiny.echo", "params": {"text": "${{inputs.text}}"}}]
        await here.engine.define("odd", {"steps": steps}, agent_id="a")
        result = await here.engine.run("odd", agent_id="a", params={"text": "a\ud800b"})
        assert result["output"]["text"] == "a\ufffdb"
        assert (await here.call("tiny.echo", text="on"))["text"] == "on"


async def test_a_step_that_is_cancelled_cancels_its_call(place: Any, tiny: Any, records: Any, tmp_path: Any) -> None:
    file = tmp_path / "seen"
    async with place(tiny(env={"RECORD": str(file)})) as here:
        with pytest.raises(ActionError, match=r"\[TIMEOUT_ERROR\] step s exceeded"):
            await here.run({"id": "s", "action": "tiny.hang", "timeout": "100ms"})
        await here.call("tiny.echo", text="x")
        assert [each["method"] for each in records(file)].count("notifications/cancelled") == 1


async def test_calls_overlap_and_each_gets_its_own_answer_whatever_the_order(place: Any, tiny: Any) -> None:
    size = 12
    async with place(tiny(max_concurrency=size), pool_size=size) as here:
        steps = [{"id": f"s{n}", "action": "tiny.rendezvous", "params": {"size": size, "tag": f"tag {n}"}}
                 for n in range(size)]  # fmt: skip
        await here.engine.define("all", {"steps": steps}, agent_id="a")
        result = await here.engine.run("all", agent_id="a")
    assert result["status"] == "completed"
    assert {id: step["output"]["text"] for id, step in result["steps"].items()} == {
        f"s{n}": f"tag {n}" for n in range(size)
    }


async def test_no_more_calls_than_allowed_are_under_way_at_a_time(
    place: Any, tiny: Any, records: Any, tmp_path: Any
) -> None:
    file = tmp_path / "seen"
    async with place(tiny(env={"RECORD": str(file)}, max_concurrency=2, call_timeout=0.2), pool_size=6) as here:
        steps = [{"id": f"s{n}", "action": "tiny.hang", "on_error": {"strategy": "ignore"}} for n in range(4)]
        await here.engine.define("all", {"steps": steps}, agent_id="a")
        await here.engine.run("all", agent_id="a")
        order = [
            each["method"] for each in records(file) if each["method"] in ("tools/call", "notifications/cancelled")
        ]
    assert order[:2] == ["tools/call"] * 2
    assert "tools/call" not in order[2:3], "the third waits for one of the first two"
    assert order.count("tools/call") == 4


async def test_the_output_is_the_result_with_its_text_and_its_json(place: Any, tiny: Any) -> None:
    async with place(tiny()) as here:
        assert await here.call("tiny.add", a=2, b=3) == {
            "content": [], "structuredContent": {"sum": 5}, "_meta": {"by": "tiny"}, "text": "", "json": {"sum": 5},
        }  # fmt: skip
        spelled = await here.call("tiny.echo", text='{"rows": [1, 2.5]}')
        assert spelled["json"] == {"rows": [1, 2.5]}
        for text in ("plain", "NaN", "1e999", "{", "", " "):
            assert (await here.call("tiny.echo", text=text))["json"] is None
        raw = '{"jsonrpc":"2.0","id":@ID@,"result":{"content":[%s],"extra":[true,null]}}'
        parts = '{"type":"text","text":"a"},{"type":"image","data":"AA==","mimeType":"image/png"},{"type":"text","text":"b"}'
        mixed = await here.call("tiny.raw", line=raw % parts)
        assert (mixed["text"], mixed["extra"], len(mixed["content"])) == ("a\nb", [True, None], 3)


async def test_five_calls_that_get_no_answer_open_the_circuit_of_the_whole_plugin(place: Any, tiny: Any) -> None:
    async with place(tiny(call_timeout=0.02)) as here:
        for _ in range(5):
            with pytest.raises(ActionError, match=r"\[TIMEOUT_ERROR\]"):
                await here.call("tiny.hang")
        with pytest.raises(ActionError, match=r"\[CIRCUIT_OPEN\] tiny\.\* to tiny failed 5 times"):
            await here.call("tiny.echo", text="another tool")


async def test_tools_that_say_no_open_no_circuit(place: Any, tiny: Any) -> None:
    async with place(tiny()) as here:
        for _ in range(7):
            with pytest.raises(ActionError, match=r"\[EXECUTION_ERROR\]"):
                await here.call("tiny.fail")
        assert (await here.call("tiny.echo", text="well"))["text"] == "well"


async def test_the_schema_of_the_server_is_the_descriptor_of_the_action(place: Any, tiny: Any) -> None:
    async with place(tiny()) as here:
        described = here.engine.registry.actions["tiny.echo"].describe()
    assert described["description"] == "Say it again"
    assert described["effect"] == "idempotent", "the server says that it only reads"
    assert described["input_schema"]["properties"]["times"] == {"type": "integer"}
    assert described["output_schema"]["properties"]["text"]["type"] == "string"


async def test_a_server_asks_for_roots_and_pings_us_and_is_answered(place: Any, tiny: Any, tmp_path: Any) -> None:
    async with place(tiny(cwd=str(tmp_path))) as here:
        roots = await here.call("tiny.ask", method="roots/list")
        assert roots["json"] == {"result": {"roots": [{"uri": tmp_path.as_uri()}]}}
        assert (await here.call("tiny.ask", method="ping"))["json"] == {"result": {}}
        refused = await here.call("tiny.ask", method="sampling/createMessage")
        assert "error" in refused["json"]


async def test_a_server_sees_a_small_environment_without_anything_of_ours(
    place: Any, tiny: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    monkeypatch.setenv("OPCODE_VAULT_KEY", "never to be seen")
    monkeypatch.setenv("AWS_SECRET", "x")
    monkeypatch.setenv("LC_CTYPE", "C.UTF-8")
    async with place(tiny(env={"MODE": "1"}, cwd=str(tmp_path))) as here:
        seen = (await here.call("tiny.env"))["json"]
    assert seen["MODE"] == "1"
    assert seen["PATH"] == os.environ["PATH"]
    assert not [name for name in seen if name.startswith(("OPCODE_", "AWS_"))]
    allowed = {"PATH", "HOME", "USER", "LOGNAME", "LANG", "TZ", "TMPDIR", "MODE"}
    assert {name for name in seen if not name.startswith("LC_")} <= allowed


async def test_the_handshake_is_completed_and_says_who_we_are(
    place: Any, tiny: Any, records: Any, tmp_path: Any
) -> None:
    file = tmp_path / "seen"
    async with place(tiny("--pages", env={"RECORD": str(file)})) as here:
        assert len([name for name in here.engine.registry.actions if name.startswith("tiny.")]) == 19
        seen = records(file)
    assert [each["method"] for each in seen[:3]] == ["initialize", "notifications/initialized", "tools/list"]
    assert seen[0]["params"]["clientInfo"]["name"] == "opcode"
    assert [each.get("params", {}).get("cursor") for each in seen if each["method"] == "tools/list"] == [
        None, "3", "6", "9", "12", "15", "18",
    ]  # fmt: skip


async def test_a_plan_keeps_working_over_restarts_of_the_server(place: Any, tiny: Any) -> None:
    async with place(tiny()) as here:
        steps = [
            {"id": "crash", "action": "tiny.crash", "on_error": {"strategy": "ignore"}},
            {"id": "after", "action": "tiny.echo", "params": {"text": "still here"}, "depends_on": ["crash"]},
        ]
        await here.engine.define("t", {"steps": steps}, agent_id="a")
        for _ in range(3):
            result = await here.engine.run("t", agent_id="a")
            assert result["steps"]["after"]["output"]["text"] == "still here"


async def test_many_calls_at_once_lose_nothing(place: Any, tiny: Any) -> None:
    async with place(tiny(max_concurrency=64), pool_size=64) as here:
        steps = [{"id": f"s{n}", "action": "tiny.echo", "params": {"text": str(n)}} for n in range(200)]
        await here.engine.define("all", {"steps": steps}, agent_id="a")
        with anyio.fail_after(30):
            result = await here.engine.run("all", agent_id="a")
    assert {step["output"]["json"] for step in result["steps"].values()} == set(range(200))


SDK = """
from mcp.server.mcpserver import MCPServer
from pydantic import BaseModel

class Place(BaseModel):
    city: str
    height: int

server = MCPServer("sdk")

@server.tool()
def where(name: str) -> Place:
    "Where it is."
    return Place(city=name, height=7)

server.run("stdio")
"""


async def test_a_server_made_with_the_sdk_is_spoken_with(place: Any, tiny: Any) -> None:
    async with place(tiny(name="sdk", args=["-c", SDK])) as here:
        assert (await here.call("sdk.where", name="Ulm"))["json"] == {"city": "Ulm", "height": 7}
        described = here.engine.registry.actions["sdk.where"].describe()
        assert described["input_schema"]["required"] == ["name"]
        with pytest.raises(OpcodeError, match=r"\[VALIDATION_ERROR\]"):
            await here.call("sdk.where")
