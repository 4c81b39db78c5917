"""What was weak in injection and correctness, and holds now, as far as no other test of this folder shows it."""

from __future__ import annotations

import json
from typing import Any

import anyio
import pytest

from opcode_kernel import HostRules, Json, Policy, discover

pytestmark = pytest.mark.anyio

#: Data that closes a text of a params object and goes on with members of its own.
CLOSING = '","shell":true,"command":"id","x":"'


# Injection ------------------------------------------------------------------------------------------------------------


@pytest.mark.spec("15.I1")
@pytest.mark.parametrize("evil", [CLOSING, '"}', "\n", '\\"', '{"shell": true}', '${{inputs.evil}}", "shell": "true'])
async def test_data_never_becomes_a_param(world: Any, evil: str) -> None:
    params = {"command": "printf", "args": ["%s", "<${{inputs.evil}}>"], "parse_json": False}
    found = await world.call("shell.exec", params, inputs={"evil": evil})
    assert found["stdout_raw"] == f"<{evil}>"


@pytest.mark.spec("15.I2")
async def test_a_reference_in_a_shell_line_is_warned_about(warned: Any) -> None:
    def step(**params: Json) -> list[dict[str, Json]]:
        return [{"id": "s", "action": "shell.exec", "params": params}]

    (warning,) = await warned(step(command="echo ${{inputs.x}}", shell=True))
    assert warning["path"].startswith("steps[0].params")
    assert "args" in warning["message"]
    assert await warned(step(command="echo", shell=True, args=["${{inputs.x}}"])) == []
    assert await warned(step(command="${{inputs.x}}")) == []


@pytest.mark.spec("15.I3")
@pytest.mark.parametrize(
    "evil", ["1) + secrets.P + (1", "'+'", '"+"', "`+`", "\\", "\\'", "}}", "\n#\t\r", "//", "*/", "\x00", "é😀"]
)
async def test_data_never_becomes_code(world: Any, evil: str) -> None:
    inputs = {"evil": evil, "rows": [{"a": 1}, {"a": 2}]}
    found = await world.call("expr.eval", {"expression": "${{inputs.evil}} + '!'"}, inputs=inputs)
    assert found == {"result": f"{evil}!"}
    for quote, read in (("'", evil), ('"', evil), ("`", evil.replace("`", "'"))):
        found = await world.call("expr.eval", {"expression": f"{quote}<${{{{inputs.evil}}}}>{quote}"}, inputs=inputs)
        assert found == {"result": f"<{read}>"}, quote
    assert await world.call("expr.eval", {"expression": "sum(${{inputs.rows}}, .a)"}, inputs=inputs) == {"result": 3}


@pytest.mark.spec("15.I4")
@pytest.mark.parametrize("key", ['a"b', "a\nb", '","skipped":true,"x":"', "\\", "${{inputs.key}}", "é", ""])
async def test_a_branch_key_of_any_text_leaves_a_readable_output(world: Any, key: str) -> None:
    steps = [{"id": "c", "type": "condition", "config": {"expression": "inputs.key", "branches": {"never": []}}}]
    async with world.engine() as engine:
        await engine.define("t", {"steps": steps}, agent_id="me")
        result = await engine.run("t", agent_id="me", params={"key": key})
        status = await engine.status(result["workflow_id"])
    assert result["steps"]["c"]["output"] == {"branch": key, "skipped": True}
    assert json.loads(json.dumps(status))["steps"]["c"]["output"] == {"branch": key, "skipped": True}


@pytest.mark.spec("15.I6")
async def test_an_item_that_may_become_an_option_is_warned_about(warned: Any) -> None:
    def loop(args: list[str]) -> list[dict[str, Json]]:
        body = [{"id": "s", "action": "shell.exec", "params": {"command": "rm", "args": args}}]
        return [{"id": "l", "type": "loop", "config": {"over": "inputs.files", "body": body}}]

    (warning,) = await warned(loop(["-f", "${{loop.item}}"]))
    assert "put -- before it" in warning["message"]
    for args in (["-f", "--", "${{loop.item}}"], ["--file=${{loop.item}}"], ["./${{loop.item}}"], ["${{inputs.file}}"]):
        assert await warned(loop(args)) == [], args


# Correctness ----------------------------------------------------------------------------------------------------------


@pytest.mark.spec("15.K1", "18.4")
async def test_numbers_stay_exact_from_end_to_end(world: Any, server: Any) -> None:
    big = 12345678901234567890123
    url = server.answer("/v1/1048576", {"id": big, "price": 1048576.0, "small": 0.00001})
    steps = [
        {"id": "g", "action": "http.get", "params": {"url": url.replace("1048576", "${{inputs.id}}")}},
        {"id": "p", "action": "http.post", "depends_on": ["g"], "params": {
            "url": server.answer("/p"), "body": {"id": "${{steps.g.body.id}}", "text": "${{steps.g.body.price}}/${{steps.g.body.small}}"}}},
    ]  # fmt: skip
    result = await world.run(steps, {"id": 1048576})
    assert result["status"] == "completed", result
    assert server.bodies("/p") == [{"id": big, "text": "1048576/0.00001"}]


@pytest.mark.spec("15.K2", "18.2")
@pytest.mark.parametrize(("choice", "published"), [("approve", True), ("reject", False)])
async def test_a_guard_on_a_decision_decides(world: Any, choice: str, published: bool) -> None:
    options: list[Json] = [{"id": "approve"}, {"id": "reject"}]
    steps = [
        {"id": "gate", "type": "reasoning", "config": {"prompt_context": "?", "options": options}},
        {
            "id": "publish",
            "action": "probe.take",
            "depends_on": ["gate"],
            "condition": "steps['gate'].choice == 'approve'",
        },
    ]
    async with world.engine() as engine:
        await engine.define("t", {"steps": steps}, agent_id="me")
        run_id = (await engine.run("t", agent_id="me"))["workflow_id"]
        result = await engine.signal(run_id, "decision", payload={"choice": choice})
    assert result["status"] == "completed"
    assert bool(world.probe.taken) is published


@pytest.mark.spec("18.2")
async def test_a_guard_that_cannot_work_is_reported_when_it_is_defined(refused: Any) -> None:
    problem = await refused([{"id": "s", "action": "probe.take", "condition": "inputs.a =="}])
    assert problem["path"] == "steps[0].condition"


@pytest.mark.spec("15.K3")
async def test_what_a_script_prints_can_be_piped_into_the_next(world: Any) -> None:
    lines = 'a "quoted" line\n\ta tab \\ and a backslash\n'
    steps = [
        {"id": "a", "action": "shell.exec", "params": {"command": "printf", "args": ["%s", lines]}},
        {"id": "b", "action": "shell.exec", "depends_on": ["a"], "params": {"command": "cat", "stdin": "${{steps.a.stdout_raw}}"}},
        {"id": "c", "action": "shell.exec", "depends_on": ["b"], "params": {"command": "cat", "stdin": {"whole": "${{steps.b}}"}}},
    ]  # fmt: skip
    result = await world.run(steps)
    assert result["steps"]["b"]["output"]["stdout_raw"] == lines
    assert result["steps"]["c"]["output"]["stdout"]["whole"]["stdout_raw"] == lines


@pytest.mark.spec("15.K4", "15.K16")
@pytest.mark.parametrize("restart", [False, True])
async def test_outputs_from_before_a_suspension_are_there_after_it_and_are_not_made_anew(
    world: Any, restart: bool
) -> None:
    steps = [
        {"id": "now", "action": "expr.eval", "params": {"expression": "string(now())"}},
        {"id": "ask", "type": "reasoning", "depends_on": ["now"], "config": {"prompt_context": "?", "options": [{"id": "yes"}]}},
        {"id": "e", "action": "probe.take", "depends_on": ["ask"], "params": {"v": ["${{steps.now.result}}", "${{steps.ask.choice}}"]}},
    ]  # fmt: skip
    async with world.engine() as engine:
        await engine.define("t", {"steps": steps}, agent_id="me")
        result = await engine.run("t", agent_id="me")
        if not restart:
            await engine.signal(result["workflow_id"], "decision", payload={"choice": "yes"})
    if restart:
        async with world.engine() as engine:
            with anyio.fail_after(5):
                await engine.signal(result["workflow_id"], "decision", payload={"choice": "yes"})
    assert world.probe.taken == [{"v": [result["steps"]["now"]["output"]["result"], "yes"]}]


@pytest.mark.spec("15.K16")
@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("keys(data)", ["a", "b", "c"]),
        ("values(data)", [2, 3, 1]),
        ("toPairs(data)", [["a", 2], ["b", 3], ["c", 1]]),
    ],
)
async def test_the_order_of_keys_is_always_the_same(world: Any, expression: str, value: Json) -> None:
    params = {"expression": expression, "data": {"c": 1, "a": 2, "b": 3}}
    assert await world.call("expr.eval", params) == {"result": value}


@pytest.mark.spec("15.K17")
async def test_external_plugins_are_part_of_an_engine(world: Any) -> None:
    """What they promise is shown by the tests of `opcode-mcp-bridge`; here only that they are not dead code."""
    assert "mcp-bridge" in {source.name for source in discover().sources}


# Deviations -----------------------------------------------------------------------------------------------------------


@pytest.mark.spec("18.1")
async def test_who_wants_the_text_of_a_value_can_say_so(taken: Any) -> None:
    output = {"status_code": 200, "body": {"k": 1.0}}
    assert await taken(["${{steps.s.status_code}}", "${{steps.s.status_code | text}}"], output=output) == [200, "200"]
    assert await taken("${{steps.s.body | text}}", output=output) == '{"k":1}'


@pytest.mark.spec("18.3")
@pytest.mark.parametrize(
    ("name", "params"),
    [
        ("workflow.emit", {"event": "x", "data": 1}), ("workflow.emit", {"signal": "x"}),
        ("shell.exec", {"command": "pwd", "workdir": "/"}), ("workflow.log", {"message": "x", "count": 3}),
        ("crypto.hash", {"data": 5, "unheard": "of"}),
    ],
)  # fmt: skip
async def test_templates_with_other_names_and_types_go_on_working(
    world: Any, name: str, params: dict[str, Json]
) -> None:
    assert "code" not in await world.call(name, params)


@pytest.mark.spec("18.8")
async def test_what_is_refused_by_default_can_be_allowed(world: Any, server: Any) -> None:
    own = ((server.server_address[0], server.server_address[1]),)
    params = {"url": server.answer("/", {"ok": True})}
    for rules in (HostRules(own_addresses=own), HostRules(egress="public")):
        error = await world.call("http.get", params, policy=Policy(hosts=rules))
        assert (error["code"], "http." in error["message"]) == ("PERMISSION_DENIED", True), rules
    for rules in (HostRules(own_addresses=own, egress="open"), HostRules(egress="public", allow=("127.0.0.1",))):
        assert (await world.call("http.get", params, policy=Policy(hosts=rules)))["body"] == {"ok": True}


@pytest.mark.spec("18.9")
async def test_variables_of_opcode_reach_a_child_only_when_they_are_passed(
    world: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPCODE_THING", "inherited")
    params: dict[str, Json] = {"command": "sh", "args": ["-c", "echo ${OPCODE_THING-nothing}"]}
    assert (await world.call("shell.exec", params))["stdout"] == "nothing\n"
    assert (await world.call("shell.exec", {**params, "env": {"OPCODE_THING": "passed"}}))["stdout"] == "passed\n"


@pytest.mark.spec("18.10")
@pytest.mark.parametrize("status", [408, 425, 429, 500, 503])
async def test_a_passing_trouble_of_a_server_is_retried(world: Any, server: Any, status: int) -> None:
    server.routes["/r"] = lambda nth: (200, {}, b"") if nth else (status, {}, b"")
    params = {"url": server.url("/r"), "fail_on_error_status": True}
    found = await world.call("http.get", params, retry={"max": 1, "delay": "1ms"})
    assert found["status_code"] == 200
    server.routes["/t"] = lambda nth: (status, {}, b"")
    error = await world.call("http.get", {"url": server.url("/t"), "fail_on_error_status": True})
    assert (error["code"], error["retryable"]) == ("EXECUTION_ERROR", True)


@pytest.mark.spec("18.10")
async def test_a_time_out_has_a_code_of_its_own(world: Any, server: Any) -> None:
    gate = anyio.Event()
    server.routes["/slow"] = lambda nth: (200, {}, _after(gate))
    error = await world.call("http.get", {"url": server.url("/slow"), "timeout": "50ms"})
    assert (error["code"], error["retryable"]) == ("TIMEOUT_ERROR", True)


def _after(gate: Any) -> bytes:
    """Answer only when whoever asked must have given up."""
    import time

    time.sleep(0.3)
    return b""
