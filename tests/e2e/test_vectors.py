"""The test vectors of the specification, one test per row, through the real engine with every built-in plugin."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from opcode_kernel import DefinitionError, Json, PathRules, Policy

pytestmark = pytest.mark.anyio

OUTPUT = {
    "n": 1048576, "f": 0.00001, "b": True, "z": None, "t": 'a\n"q"', "o": {"k": [1, 2]}, "evil": "${{secrets.P}}",
}  # fmt: skip


# Interpolation ---------------------------------------------------------------------------------------------------------


async def interpolated(world: Any, template: str) -> dict[str, Json]:
    """Run `probe.take` with the template as a param after a step `s`; returns the result of the run."""
    world.probe.answer = OUTPUT
    steps = [
        {"id": "s", "action": "probe.take"},
        {"id": "e", "action": "probe.take", "depends_on": ["s"], "params": {"v": template}},
    ]
    result: dict[str, Json] = await world.run(steps, {"u": "x"})
    return result


@pytest.mark.parametrize(
    ("template", "value"),
    [
        ("${{steps.s.output.n}}", 1048576),
        ("#${{steps.s.output.n}}", "#1048576"),
        ("${{steps.s.output.f}}!", "0.00001!"),
        ("${{steps.s.b}}", True),
        ("v=${{steps.s.b}}", "v=true"),
        ("${{steps.s.output.z}}", None),
        ("[${{steps.s.output.z}}]", "[null]"),
        ("${{steps.s.output.t}}", 'a\n"q"'),
        ("${{steps.s.output.o.k[-1]}}", 2),
        ("${{steps['s'].output['o'].k.0}}", 1),
        ("${{steps.s.output.o}}", {"k": [1, 2]}),
        ("o=${{steps.s.output.o}}", 'o={"k":[1,2]}'),
        ("${{steps.s.output.evil}}", "${{secrets.P}}"),
        ("$${{inputs.u}}", "$x"),
        (r"\${{inputs.u}}", "${{inputs.u}}"),
        ("${{inputs.nope ?? 3}}", 3),
    ],
)
async def test_a_reference_becomes_its_value(world: Any, template: str, value: Json) -> None:
    result = await interpolated(world, template)
    assert result["status"] == "completed", result
    found = world.probe.taken[-1]["v"]
    assert (found, type(found)) == (value, type(value))


async def test_a_secret_reaches_the_action_and_nothing_that_is_stored(world: Any) -> None:
    world.probe.answer = {"echo": "Bearer hunter22", "url": "?p=hunter22&x", "encoded": "aHVudGVyMjI="}
    async with world.engine() as engine:
        step = {"id": "s", "action": "probe.take", "params": {"h": "Bearer ${{ secrets.P }}"}}
        await engine.define("t", {"steps": [step]}, agent_id="me")
        result = await engine.run("t", agent_id="me")
        stored = await engine.status(result["workflow_id"])
    assert world.probe.taken == [{"h": "Bearer hunter22"}]
    output = result["steps"]["s"]["output"]
    assert (output["echo"], output["url"]) == ("Bearer ***", "?p=***&x")
    assert output["encoded"].startswith("***")
    assert "hunter22" not in json.dumps([result, stored])


async def test_a_missing_input_lists_the_ones_there_are(world: Any) -> None:
    result = await interpolated(world, "${{inputs.nope}}")
    error = result["steps"]["e"]["error"]
    assert (error["code"], error["retryable"]) == ("INTERPOLATION_ERROR", False)
    assert "u" in json.dumps(error["details"])


@pytest.mark.parametrize(
    ("template", "hint"),
    [
        ("${{inputs.u", "expected }}"),
        ("${{}}", "found nothing"),
        ("${{foo.bar}}", "unknown namespace 'foo'"),
        ("${{loop.item}}", "only in the body of a loop"),
    ],
)
async def test_a_reference_to_nowhere_is_refused_before_anything_runs(world: Any, template: str, hint: str) -> None:
    with pytest.raises(DefinitionError) as caught:
        await interpolated(world, template)
    (problem,) = caught.value.details["errors"]
    assert problem["path"].startswith("steps[1].params")
    assert hint in problem["message"]


# Expressions -----------------------------------------------------------------------------------------------------------


async def branch_of(world: Any, expression: str, inputs: dict[str, Json]) -> Json:
    """Decide a condition step by a CEL expression; returns the step as clients read it."""
    definition = [
        {"id": "a-b", "action": "expr.eval", "params": {"expression": "true"}},
        {"id": "c", "type": "condition", "depends_on": ["a-b"], "config": {"expression": expression, "branches": {"never": []}}},
    ]  # fmt: skip
    return (await world.run(definition, inputs))["steps"]["c"]


@pytest.mark.parametrize(
    ("expression", "inputs", "branch"),
    [
        ("inputs.n > 3 && steps['a-b'].result", {"n": 5}, "true"),
        ("inputs.n + 1", {"n": 5}, "6"),
        ("inputs.n / 2", {"n": 5}, "2.5"),
        ("has(inputs.missing)", {}, "false"),
        ("inputs.missing || true", {}, "true"),
        ("inputs.tags.exists(t, t.startsWith('x'))", {"tags": ["a", "xb"]}, "true"),
    ],
)
async def test_cel_decides(world: Any, expression: str, inputs: dict[str, Json], branch: str) -> None:
    step = await branch_of(world, expression, inputs)
    assert step["output"] == {"branch": branch, "skipped": True}


async def test_cel_refuses_a_missing_key_while_running(world: Any) -> None:
    step = await branch_of(world, "inputs.missing", {})
    assert (step["error"]["code"], step["error"]["retryable"]) == ("EXECUTION_ERROR", False)
    assert "missing" in step["error"]["message"]


@pytest.mark.parametrize("expression", ["loop.item", "steps.a-b.x", '"5" == 5'])
async def test_cel_that_does_not_compile_is_refused_when_it_is_defined(world: Any, expression: str) -> None:
    with pytest.raises(DefinitionError) as caught:
        await branch_of(world, expression, {})
    assert "expression" in caught.value.details["errors"][0]["path"]


@pytest.mark.parametrize(
    ("over", "items"),
    [
        ('["a","b"]', ["a", "b"]),
        ("[.steps.l.result.items[] | select(.on) | .id]", [1, 3]),
    ],
)
async def test_a_loop_goes_over_json_and_over_jq(world: Any, over: str, items: list[Json]) -> None:
    rows = [{"id": 1, "on": True}, {"id": 2, "on": False}, {"id": 3, "on": True}]
    steps = [
        {"id": "l", "action": "expr.eval", "params": {"expression": "data", "data": {"items": rows}}},
        {"id": "x", "type": "loop", "depends_on": ["l"],
         "config": {"over": over, "body": [{"id": "b", "action": "probe.take", "params": {"v": "${{loop.item}}"}}]}},
    ]  # fmt: skip
    result = await world.run(steps)
    assert result["status"] == "completed", result
    assert [taken["v"] for taken in world.probe.taken] == items


@pytest.mark.parametrize(
    ("expression", "data", "value"),
    [
        ("filter(steps['q'].body.items, {.score >= inputs.min})", None, [{"score": 3}]),
        ('let t = sum(data, .x); t > 10 ? "big" : "small"', [{"x": 4}, {"x": 7}], "big"),
        ('let t = sum(data, .x); t > 10 ? "big" : "small"', [], "small"),
        ('data?.a?.b ?? "none"', {}, "none"),
        (
            'map(data, {{id: .id, n: len(.tags)}}) | sortBy(.n, "desc") | first()',
            [{"id": 1, "tags": []}, {"id": 2, "tags": ["x", "y"]}],
            {"id": 2, "n": 2},
        ),
    ],
)
async def test_expr_evaluates(world: Any, server: Any, expression: str, data: Json, value: Json) -> None:
    steps = [
        {
            "id": "q",
            "action": "http.get",
            "params": {"url": server.answer("/q", {"items": [{"score": 1}, {"score": 3}]})},
        },
        {"id": "e", "action": "expr.eval", "depends_on": ["q"], "params": {"expression": expression, "data": data}},
    ]
    result = await world.run(steps, {"min": 2})
    assert result["steps"]["e"].get("output") == {"result": value}, result


async def test_expr_refuses_a_default_mixed_with_another_operator(world: Any) -> None:
    with pytest.raises(DefinitionError, match="cannot be mixed"):
        await world.call("expr.eval", {"expression": "inputs.a ?? 1 + 2"})
    error = await world.call("expr.eval", {"expression": "${{inputs.text}} ?? 1 + 2"}, inputs={"text": 1})
    assert error["code"] == "VALIDATION_ERROR"


async def test_expr_depends_on_no_earlier_evaluation(world: Any) -> None:
    body = [{"id": "e", "action": "expr.eval", "params": {"expression": 'data == "a"', "data": "${{loop.item}}"}}]
    result = await world.run([{"id": "x", "type": "loop", "config": {"over": '["a", null, 5]', "body": body}}])
    found = [result["steps"][f"x.iter_{index}.e"]["output"]["result"] for index in range(3)]
    assert found == [True, False, False]


# http ------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("hops", "status"), [(2, 200), (3, None)])
async def test_redirects_are_counted_exactly(world: Any, server: Any, hops: int, status: int | None) -> None:
    for hop in range(hops):
        server.answer(f"/{hop}", status=302, Location=f"/{hop + 1}")
    server.answer(f"/{hops}", {"ok": True})
    retry = {"max": 3, "delay": "1ms"}
    found = await world.call("http.get", {"url": server.url("/0"), "max_redirects": 2}, retry=retry)
    if status is not None:
        assert found["status_code"] == status
    else:
        assert (found["code"], found["retryable"]) == ("EXECUTION_ERROR", False)
        assert len(server.asked) == 3


async def test_a_problem_document_is_parsed_and_fails_nothing(world: Any, server: Any) -> None:
    server.routes["/p"] = lambda nth: (404, {"Content-Type": "application/problem+json"}, b'{"title": "gone"}')
    found = await world.call("http.get", {"url": server.url("/p")})
    assert (found["status_code"], found["body"]) == (404, {"title": "gone"})


async def test_too_many_requests_are_retried_after_the_time_asked_for(world: Any, server: Any) -> None:
    server.routes["/busy"] = lambda nth: (200, {}, b"") if nth else (429, {"Retry-After": "2"}, b"")
    started = time.monotonic()
    params = {"url": server.url("/busy"), "fail_on_error_status": True}
    found = await world.call("http.get", params, retry={"max": 2, "delay": "1ms"})
    assert found["status_code"] == 200
    assert time.monotonic() - started >= 2


async def test_a_link_local_address_is_refused(world: Any) -> None:
    error = await world.call("http.get", {"url": "http://169.254.169.254/latest/meta-data"})
    assert error["code"] == "PERMISSION_DENIED"


# shell.exec ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("printed", "stdout"),
    [
        ("null", None),
        ("3", 3),
        ('{"a":1}', {"a": 1}),
        ("{} {}", "{} {}"),
        ("NaN", "NaN"),
    ],
)
async def test_what_a_command_prints_is_parsed_when_it_is_one_document(world: Any, printed: str, stdout: Json) -> None:
    found = await world.call("shell.exec", {"command": "printf", "args": ["%s", printed]})
    assert (found["stdout"], type(found["stdout"]), found["stdout_raw"]) == (stdout, type(stdout), printed)


def gone(pid: int) -> bool:
    """Tell whether a process has ended, waiting for the system to take note of it."""
    until = time.monotonic() + 5
    while time.monotonic() < until:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        if Path(f"/proc/{pid}/stat").exists() and Path(f"/proc/{pid}/stat").read_text().split()[2] == "Z":
            return True
        time.sleep(0.005)
    return False


async def test_what_a_command_leaves_in_the_background_ends_with_it(world: Any, tmp_path: Path) -> None:
    line = f"sleep 60 & echo $! > {tmp_path}/pid; echo hi"
    started = time.monotonic()
    found = await world.call("shell.exec", {"command": line, "shell": True})
    assert time.monotonic() - started < 5
    assert (found["stdout"], found["exit_code"]) == ("hi\n", 0)
    assert gone(int((tmp_path / "pid").read_text()))


async def test_a_command_that_takes_too_long_ends_with_all_its_children(world: Any, tmp_path: Path) -> None:
    line = f"trap '' TERM; (trap '' TERM; while :; do sleep 60; done) & echo $! > {tmp_path}/pid; wait; wait"
    started = time.monotonic()
    found = await world.call("shell.exec", {"command": line, "shell": True, "timeout": "200ms"})
    assert time.monotonic() - started < 0.2 + 2.5 + 0.5  # half a second for a slow machine
    assert (found["killed"], found["exit_code"]) == (True, -1)
    assert gone(int((tmp_path / "pid").read_text()))


async def test_a_command_never_sees_the_key_of_the_vault(world: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPCODE_VAULT_KEY", "hunter22hunter22")
    found = await world.call("shell.exec", {"command": "printenv", "args": ["OPCODE_VAULT_KEY"]})
    assert (found["exit_code"], found["stdout"]) == (1, "")


async def test_arguments_of_a_shell_line_are_never_code(world: Any) -> None:
    found = await world.call("shell.exec", {"shell": True, "command": "echo", "args": ["a; id"]})
    assert found["stdout"] == "a; id\n"


# fs --------------------------------------------------------------------------------------------------------------------


def names_in(path: Path) -> list[str]:
    """Return what a directory holds."""
    return sorted(each.name for each in path.iterdir())


def only(path: Path, **more: Any) -> Policy:
    """Return rules that let nothing be touched but one directory."""
    return Policy(paths=PathRules(writable=(str(path),), **more))


async def test_a_dangling_link_leads_no_write_out_of_the_allowed_area(world: Any, tmp_path: Path) -> None:
    allowed = tmp_path / "allowed"
    allowed.mkdir()
    (allowed / "link").symlink_to(tmp_path / "outside")
    params = {"path": str(allowed / "link"), "content": "x"}
    error = await world.call("fs.write", params, policy=only(allowed))
    assert error["code"] == "PATH_DENIED"
    assert not (tmp_path / "outside").exists()


@pytest.mark.parametrize(
    ("name", "params"),
    [
        ("fs.list", lambda root: {"path": root, "pattern": "../*"}),
        ("fs.copy", lambda root: {"src": f"{root}/f", "dst": f"{root}/./f"}),
        ("fs.copy", lambda root: {"src": root, "dst": f"{root}/below"}),
    ],
)
async def test_what_cannot_be_meant_is_refused(
    world: Any, tmp_path: Path, name: str, params: Callable[[str], dict[str, Json]]
) -> None:
    (tmp_path / "f").write_text("kept")
    error = await world.call(name, params(str(tmp_path)))
    assert error["code"] == "VALIDATION_ERROR"
    assert (tmp_path / "f").read_text() == "kept"
    assert names_in(tmp_path) == ["f"]


async def test_a_tree_with_a_denied_entry_is_not_copied_at_all(world: Any, tmp_path: Path) -> None:
    (tmp_path / "tree/secret").mkdir(parents=True)
    (tmp_path / "tree/a").write_text("a")
    (tmp_path / "tree/secret/key").write_text("k")
    policy = only(tmp_path, deny=(str(tmp_path / "tree/secret"),))
    error = await world.call("fs.copy", {"src": f"{tmp_path}/tree", "dst": f"{tmp_path}/copy"}, policy=policy)
    assert error["code"] == "PATH_DENIED"
    assert not (tmp_path / "copy").exists()


async def test_bytes_that_are_not_utf8_are_read_as_base64(world: Any, tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(bytes.fromhex("636166e9"))
    found = await world.call("fs.read", {"path": f"{tmp_path}/f", "encoding": "auto"})
    assert (found["encoding"], found["content"], found["size"]) == ("base64", "Y2Fm6Q==", 4)


# assert, crypto, workflow ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("params", "code"),
    [
        ({"expected": "200", "actual": 200}, None),
        ({"expected": "200", "actual": 200, "strict": True}, "ASSERTION_FAILED"),
        ({"expected": True, "actual": 1}, "ASSERTION_FAILED"),
    ],
)
async def test_equality_knows_text_of_numbers_and_no_booleans_of_them(
    world: Any, params: dict[str, Json], code: str | None
) -> None:
    found = await world.call("assert.equals", params)
    assert (found == {"pass": True}) if code is None else (found["code"] == code)


@pytest.mark.parametrize("name", ["assert.equals", "crypto.hash", "workflow.run"])
async def test_required_params_are_required(world: Any, name: str) -> None:
    with pytest.raises(DefinitionError) as caught:
        await world.call(name, {})
    assert {each["code"] for each in caught.value.details["errors"]} == {"VALIDATION_ERROR"}


async def test_an_event_may_be_given_by_its_alias(world: Any) -> None:
    async with world.engine() as engine:
        step = {"id": "s", "action": "workflow.emit", "params": {"event": "x", "data": 1}}
        await engine.define("t", {"steps": [step]}, agent_id="me")
        result = await engine.run("t", agent_id="me")
        events = (await engine.status(result["workflow_id"]))["events"]
    assert result["steps"]["s"]["output"] == {"emitted": True}
    assert [each["payload"] for each in events if each["event_type"] == "x"] == [{"value": 1}]


async def test_a_failing_child_fails_its_parent_with_its_own_code(world: Any) -> None:
    async with world.engine() as engine:
        child = [{"id": "a", "action": "assert.equals", "params": {"expected": 1, "actual": 2}}]
        parent = [{"id": "s", "action": "workflow.run", "params": {"template_name": "child"}}]
        await engine.define("child", {"steps": child}, agent_id="me")
        await engine.define("parent", {"steps": parent}, agent_id="me")
        result = await engine.run("parent", agent_id="me")
    error, child = result["steps"]["s"]["error"], result["steps"]["s"]["error"]["details"]["child_error"]
    assert (error["code"], error["retryable"]) == (child["code"], child["retryable"])
    assert child["details"]["cause"]["code"] == "ASSERTION_FAILED"
    assert (error["details"]["child_status"], result["status"]) == ("failed", "failed")


async def test_a_template_that_calls_itself_is_stopped(world: Any) -> None:
    async with world.engine(pool_size=2) as engine:
        step = {"id": "s", "action": "workflow.run", "params": {"template_name": "again"}}
        await engine.define("again", {"steps": [step]}, agent_id="me")
        result = await engine.run("again", agent_id="me")
    assert result["status"] == "failed"
    error = result["error"]
    while deeper := error.get("details", {}).get("cause") or error.get("details", {}).get("child_error"):
        error = deeper
    assert error["code"] == "VALIDATION_ERROR"
