"""Servers that break the protocol, flood, or offer tools that are traps: calls fail or go on, the engine does not notice."""

from __future__ import annotations

import json
from time import perf_counter
from typing import Any

import anyio
import pytest

from opcode_kernel import ActionError, Limits
from opcode_mcp_bridge.lines import MAX_MESSAGE

pytestmark = pytest.mark.anyio

DEEP = "[" * 100_000


def nested(levels: int) -> Any:
    schema: Any = {"type": "string"}
    for _ in range(levels):
        schema = {"type": "object", "properties": {"a": schema}}
    return schema


class Pulse:
    """The longest time for which the event loop did nothing else."""

    def __init__(self) -> None:
        self.longest = 0.0

    async def beat(self) -> None:
        while True:
            before = perf_counter()
            await anyio.sleep(0.001)
            self.longest = max(self.longest, perf_counter() - before)


async def test_noise_partial_lines_and_answers_to_nobody_do_not_disturb_a_call(place: Any, tiny: Any, log: Any) -> None:
    async with place(tiny()) as here:
        assert (await here.call("tiny.noise"))["text"] == "right"
    said = [each["text"] for each in log if each.get("stream") == "stdout"]
    assert any("Listening on everything" in text for text in said)
    assert all("\x00" not in json.dumps(text) for text in said)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('{"jsonrpc":"2.0","id":@ID@,"result":"text"}', "expected a result or an error"),
        ('{"jsonrpc":"2.0","id":@ID@,"result":null}', "expected a result or an error"),
        ('{"jsonrpc":"2.0","id":@ID@}', "expected a result or an error"),
        ('{"jsonrpc":"2.0","id":@ID@,"error":"no"}', "expected a result or an error"),
        ('{"jsonrpc":"2.0","id":@ID@,"result":{"content":NaN}}', "the number NaN"),
        ('{"jsonrpc":"2.0","id":@ID@,"result":{"content":' + "9" * 5_000 + "}}", "expected JSON"),
        ('{"jsonrpc":"2.0","id":@ID@,"result":{"content":[' + "[" * 5_000 + "]" * 5_000 + "]}}", "nests less deeply"),
        ('{"result":{"content":[' + "{]" + '], "id":@ID@}', "expected JSON"),
    ],
)
async def test_an_answer_that_cannot_be_read_fails_its_call_at_once(
    place: Any, tiny: Any, line: str, said: str
) -> None:
    async with place(tiny()) as here:
        with anyio.fail_after(10), pytest.raises(ActionError, match=r"\[EXECUTION_ERROR\]") as caught:
            await here.call("tiny.raw", line=line)
        assert said in caught.value.message
        assert (await here.call("tiny.echo", text="on"))["text"] == "on"


@pytest.mark.parametrize(
    "result",
    [
        '{"content":[{"type":"text","text":"a\\ud800b"}]}',
        '{"content":"no list"}',
        '{"content":[1,null,{"type":"text"},{"type":"text","text":7},[]]}',
        "{}",
        '{"isError":"yes","content":[]}',
        '{"content":[],"structuredContent":[1,2],"text":{"a":1},"json":0}',
    ],
)
async def test_odd_results_are_still_results(place: Any, tiny: Any, result: str) -> None:
    async with place(tiny()) as here:
        output = await here.call("tiny.raw", line='{"jsonrpc":"2.0","id":@ID@,"result":' + result + "}")
    assert isinstance(output["text"], str)
    output["text"].encode()
    if "structuredContent" in result:
        assert (output["text"], output["json"]) == ("", [1, 2])


async def test_a_result_that_nests_too_deeply_for_a_log_fails_its_step_alone(place: Any, tiny: Any) -> None:
    line = '{"jsonrpc":"2.0","id":@ID@,"result":{"content":' + "[" * 400 + "]" * 400 + "}}"
    async with place(tiny()) as here:
        with pytest.raises(ActionError, match=r"\[EXECUTION_ERROR\] the action returned no JSON"):
            await here.call("tiny.raw", line=line)
        assert (await here.call("tiny.echo", text="on"))["text"] == "on"


@pytest.mark.parametrize("form", [DEEP, '{"jsonrpc":"2.0","id":' * 2_000, '{"a":' * 50_000, '"' + "x" * 100_000])
async def test_lines_that_are_no_messages_are_left_out_whatever_they_look_like(
    place: Any, tiny: Any, form: str
) -> None:
    async with place(tiny()) as here:
        answer = '{"jsonrpc":"2.0","id":@ID@,"result":{"content":[]}}'
        assert (await here.call("tiny.raw", line=form + "\n" + answer))["content"] == []


async def test_an_answer_of_nearly_sixteen_mebibytes_is_taken(place: Any, tiny: Any) -> None:
    size = MAX_MESSAGE - 200
    limits = Limits(step_output_size=64 << 20)
    async with place(tiny(call_timeout=60.0), limits=limits) as here:
        output = await here.call("tiny.big", size=size)
    assert (len(output["text"]), len(output["content"][0]["text"])) == (size, size)


async def test_an_answer_beyond_that_fails_its_call_and_no_other(place: Any, tiny: Any) -> None:
    async with place(tiny(call_timeout=60.0)) as here:
        with pytest.raises(ActionError, match=f"expected a message of at most {MAX_MESSAGE} bytes"):
            await here.call("tiny.big", size=MAX_MESSAGE)
        assert (await here.call("tiny.echo", text="on"))["text"] == "on"


@pytest.mark.alone
@pytest.mark.parametrize("item", ["1", "{}", "[]", '{"type":"text","text":""}', '{"a":1}', '"\\u0041"'])
async def test_no_answer_holds_the_loop_up_for_a_second(place: Any, tiny: Any, item: str) -> None:
    fill = f'",".join(["""{item}"""] * ({MAX_MESSAGE - 1_000} // {len(item) + 1}))'
    program = (
        "import sys, json\n"
        "for line in sys.stdin:\n"
        "    m = json.loads(line)\n"
        "    if m.get('method') == 'initialize':\n"
        "        r = {'protocolVersion': m['params']['protocolVersion'], 'capabilities': {}, "
        "'serverInfo': {'name': 'x', 'version': '1'}}\n"
        "    elif m.get('method') == 'tools/list':\n"
        "        r = {'tools': [{'name': 'fill'}]}\n"
        "    elif m.get('method') == 'tools/call':\n"
        "        body = " + fill + "\n"
        '        sys.stdout.write(\'{"jsonrpc":"2.0","id":%d,"result":{"content":[\' % m[\'id\'] + body + \']}}\\n\')\n'
        "        sys.stdout.flush(); continue\n"
        "    else: continue\n"
        "    print(json.dumps({'jsonrpc': '2.0', 'id': m['id'], 'result': r}), flush=True)\n"
    )
    pulse = Pulse()
    async with place(tiny(args=["-I", "-c", program], call_timeout=60.0)) as here, anyio.create_task_group() as tasks:
        tasks.start_soon(pulse.beat)
        with pytest.raises(ActionError):
            await here.call("tiny.fill")
        tasks.cancel_scope.cancel()
    assert pulse.longest < 1.0


async def test_a_flood_of_stderr_is_logged_in_part_and_counted(place: Any, tiny: Any, log: Any) -> None:
    async with place(tiny()) as here:
        assert (await here.call("tiny.flood_stderr", lines=20_000, words="x" * 50))["text"] == "flooded"
        assert (await here.call("tiny.echo", text="on"))["text"] == "on"
    assert len([each for each in log if each.get("stream") == "stderr"]) <= 50


async def test_a_flood_of_requests_is_answered_and_calls_go_on(
    place: Any, tiny: Any, tmp_path: Any, records: Any
) -> None:
    file = tmp_path / "seen"
    async with place(tiny(env={"RECORD": str(file)})) as here:
        assert (await here.call("tiny.ping_flood", count=3_000))["text"] == "flooded"
        assert (await here.call("tiny.echo", text="on"))["text"] == "on"
        answers = [each for each in records(file) if str(each.get("id")).startswith("f") and "result" in each]
    assert len(answers) == 3_000


async def test_what_a_server_logs_over_the_protocol_is_logged(place: Any, tiny: Any, log: Any) -> None:
    async with place(tiny()) as here:
        await here.call("tiny.say", text="half\x1b[31m way")
        await here.call("tiny.say", text={"structured": list(range(1000))})
    said = [each["text"] for each in log if each.get("stream") == "log"]
    assert said[0].startswith("half")
    assert len(said[1]) < 200


async def test_tools_that_changed_are_read_again(place: Any, tiny: Any) -> None:
    new = [{"name": "fresh", "inputSchema": {"type": "object"}}, {"name": "echo", "inputSchema": {"type": "object"}}]
    async with place(tiny()) as here:
        await here.engine.define(
            "kept", {"steps": [{"id": "s", "action": "tiny.echo", "params": {"text": "old"}}]}, agent_id="a"
        )
        version = here.engine.registry.live.version
        await here.call("tiny.retool", tools=new)
        with anyio.fail_after(10):
            while here.engine.registry.live.version == version:  # noqa: ASYNC110
                await anyio.sleep(0.005)
        assert sorted(here.engine.registry.actions) == ["tiny.echo", "tiny.fresh"]
        with pytest.raises(ActionError, match=r"\[ACTION_UNAVAILABLE\]"):
            await here.call("tiny.add", a=1, b=2)
        assert (await here.engine.run("kept", agent_id="a"))["output"]["text"] == "old", "a template keeps working"


@pytest.mark.parametrize(
    "tools",
    [
        [{"name": "twice", "inputSchema": {"type": "object"}}, {"name": "twice", "inputSchema": {}}],
        "no list",
    ],
)
async def test_a_change_that_makes_no_sense_leaves_the_tools_as_they_were(
    place: Any, tiny: Any, log: Any, tools: Any
) -> None:
    async with place(tiny()) as here:
        before = sorted(here.engine.registry.actions)
        await here.call("tiny.retool", tools=tools)
        with anyio.fail_after(10):
            while not [each for each in log if each["event"] == "the tools stay as they were"]:  # noqa: ASYNC110
                await anyio.sleep(0.005)
        assert sorted(here.engine.registry.actions) == before
        assert (await here.row()).status == "active"


async def test_two_different_tools_of_one_name_are_a_conflict_and_none_is_offered(
    tools_file: Any, place: Any, tiny: Any
) -> None:
    tools = [{"name": "fine"}, {"name": "twice", "description": "a"}, {"name": "twice", "description": "b"}]
    async with place(tiny(env={"TOOLS": tools_file(tools)})) as here:
        row = await here.row()
        assert row.status == "error"
        assert row.error_message == "[CONFLICT] the server has two different tools called 'twice'"
        assert not here.engine.registry.actions


async def test_the_same_tool_listed_twice_counts_once(tools_file: Any, place: Any, tiny: Any) -> None:
    async with place(tiny(env={"TOOLS": tools_file([{"name": "fine"}, {"name": "fine"}])})) as here:
        assert list(here.engine.registry.actions) == ["tiny.fine"]


HOSTILE_TOOLS: list[Any] = [
    "text", 7, None, [], {}, {"name": 7}, {"name": ""}, {"name": "a b"}, {"name": "a\n"}, {"name": "${{secrets.X}}"},
    {"name": "x" * 129}, {"name": ".hidden"}, {"name": "naïve"}, {"name": "a\u202eb"}, {"name": "__proto__;rm"},
    {"name": "schema-text", "inputSchema": "object"}, {"name": "schema-list", "inputSchema": []},
    {"name": "schema-array", "inputSchema": {"type": "array"}},
    {"name": "schema-type", "inputSchema": {"type": "object", "properties": 7}},
    {"name": "schema-file", "inputSchema": {"type": "object", "properties": {"a": {"$ref": "file:///etc/passwd"}}}},
    {"name": "schema-http", "inputSchema": {"type": "object", "properties": {"a": {"$ref": "http://127.0.0.1:1/x"}}}},
    {"name": "schema-lost", "inputSchema": {"type": "object", "properties": {"a": {"$ref": "#/$defs/none"}}}},
    {"name": "schema-index", "inputSchema": {"$ref": "#/required/first", "required": ["a"]}},
    {"name": "schema-leaf", "inputSchema": {"$ref": "#/maxProperties/x", "maxProperties": 3}},
    {"name": "schema-address", "inputSchema": {"$schema": "http://[", "type": "object"}},
    {"name": "schema-loop", "inputSchema": {"type": "object", "$ref": "#"}},
    {"name": "schema-deep", "inputSchema": nested(80)},
    {"name": "schema-huge", "inputSchema": {"type": "object", "properties": {f"p{n}": {} for n in range(25_000)}}},
    {"name": "schema-long", "inputSchema": {"type": "object", "description": "x" * 300_000}},
    {"name": "schema-draft", "inputSchema": {"$schema": "http://evil.example/schema", "type": "object"}},
    {"name": "schema-regex", "inputSchema": {"type": "object", "properties": {"a": {"pattern": "(a)\\1(?=b)"}}}},
]  # fmt: skip


async def test_tools_that_are_traps_are_left_out_and_the_others_serve(
    place: Any, tiny: Any, log: Any, tmp_path: Any
) -> None:
    file = tmp_path / "tools.json"
    file.write_text(json.dumps([{"name": "echo", "inputSchema": {"type": "object"}}, *HOSTILE_TOOLS]))
    async with place(tiny(env={"TOOLS": str(file)})) as here:
        assert list(here.engine.registry.actions) == ["tiny.echo"]
        assert (await here.call("tiny.echo", text="served"))["text"] == "served"
        (left,) = [each["tools"] for each in log if each["event"] == "tools left out"]
    assert len(left) == 21
    assert left[-1] == f"and {len(HOSTILE_TOOLS) - 20} more"


async def test_a_pattern_that_explodes_elsewhere_takes_no_time_here(tools_file: Any, place: Any, tiny: Any) -> None:
    schema = {"type": "object", "properties": {"text": {"type": "string", "pattern": "^(a+)+$"}}}
    tools = [{"name": "echo", "inputSchema": schema}]
    async with place(tiny(env={"TOOLS": tools_file(tools)})) as here:
        started = perf_counter()
        with pytest.raises(Exception, match=r"VALIDATION_ERROR"):
            await here.call("tiny.echo", text="a" * 5_000 + "!")
        assert perf_counter() - started < 2.0


@pytest.mark.alone
async def test_a_schema_that_takes_for_ever_is_not_waited_for(tools_file: Any, place: Any, tiny: Any) -> None:
    defs: Any = {"d0": {"type": "integer"}}
    for n in range(1, 40):
        defs[f"d{n}"] = {"anyOf": [{"$ref": f"#/$defs/d{n - 1}"}, {"$ref": f"#/$defs/d{n - 1}"}]}
    schema = {"type": "object", "properties": {"a": {"$ref": "#/$defs/d39"}}, "$defs": defs}
    tools = [{"name": "slow", "inputSchema": schema}]
    pulse = Pulse()
    async with place(tiny(env={"TOOLS": tools_file(tools)})) as here, anyio.create_task_group() as tasks:
        assert list(here.engine.registry.actions) == ["tiny.slow"]
        tasks.start_soon(pulse.beat)
        steps = [{"id": f"s{n}", "action": "tiny.slow", "params": {"a": "x"}} for n in range(50)]
        await here.engine.define("many", {"steps": steps}, agent_id="a")
        with pytest.raises(ActionError, match=r"\[VALIDATION_ERROR\] .*at most 1 s"):
            await here.call("tiny.slow", a="x")
        tasks.cancel_scope.cancel()
    assert pulse.longest < 1.0


async def test_descriptions_cannot_act_on_a_terminal(tools_file: Any, place: Any, tiny: Any) -> None:
    tools = [{"name": "x", "description": "a\x1b[2J\x07\nb\u202ec " + "d" * 5_000}]
    async with place(tiny(env={"TOOLS": tools_file(tools)})) as here:
        summary = here.engine.registry.actions["tiny.x"].summary
    assert summary.startswith("a [2J b c dd")
    assert summary.isprintable()
    assert len(summary) <= 2_000
