"""Workflows in the shapes that people publish, run whole: spellings, guards, decisions, scripts, numbers, hooks."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from opcode_kernel import Json

pytestmark = pytest.mark.anyio


async def decide(engine: Any, run: dict[str, Json], choice: str) -> dict[str, Json]:
    """Resolve the oldest open decision of a run; returns the result as it is then."""
    decision = run["pending_decisions"][0]
    answer: dict[str, Json] = await engine.signal(
        run["workflow_id"], "decision", payload={"choice": choice}, step_id=decision["step_id"], agent_id="me"
    )
    return answer


# Alerts: a switch over texts, branches at once, events by their other names, a decision beside other work -------------------

ROUTER = {
    "timeout": "1m",
    "steps": [
        {
            "id": "route", "type": "condition",
            "config": {
                "expression": "inputs.severity",
                "branches": {
                    "critical": [{
                        "id": "all", "type": "parallel",
                        "config": {"mode": "all", "branches": [
                            [{"id": "page", "action": "http.post", "retry": {"max": 2, "backoff": "exponential", "delay": "1ms"},
                              "params": {"url": "${{inputs.hook}}", "body": {"text": "page: ${{inputs.title}}"}}}],
                            [{"id": "tell", "action": "workflow.emit",
                              "params": {"event": "alert.critical", "data": {"title": "${{inputs.title}}"}}}],
                            [{"id": "ack", "type": "reasoning",
                              "config": {"prompt_context": "Escalate ${{inputs.title}}?",
                                         "options": [{"id": "yes"}, {"id": "no"}]}}],
                        ]},
                    }],
                    "warning": [{"id": "warn", "action": "workflow.emit", "params": {"signal": "alert.warning"}}],
                },
                "default": [{"id": "note", "action": "workflow.log",
                             "params": {"message": "unrouted ${{inputs.severity}}", "ticket": 7}}],
            },
        }
    ],
}  # fmt: skip


async def test_a_critical_alert_waits_for_a_decision_while_the_other_branches_finish(world: Any, server: Any) -> None:
    hook = server.answer("/hook", status=200)
    async with world.engine() as engine:
        await engine.define("router", ROUTER, agent_id="me")
        run = await engine.run(
            "router", agent_id="me", params={"severity": "critical", "title": 'disk "a"\nfull', "hook": hook}
        )
        (decision,) = run["pending_decisions"]
        assert run["status"] == "suspended"
        assert decision["step_id"] == "route.critical.all.branch_2.ack"
        assert decision["context"]["prompt"] == 'Escalate disk "a"\nfull?'
        done = await decide(engine, run, "yes")
        events = (await engine.status(run["workflow_id"]))["events"]
    assert done["status"] == "completed"
    assert server.bodies("/hook") == [{"text": 'page: disk "a"\nfull'}]
    assert [each["payload"] for each in events if each["event_type"] == "alert.critical"] == [
        {"title": 'disk "a"\nfull'}
    ]


@pytest.mark.parametrize(("severity", "ran"), [("warning", "route.warning.warn"), ("odd", "route.default.note")])
async def test_other_alerts_take_their_own_branch(world: Any, severity: str, ran: str) -> None:
    run = await world.run(ROUTER, {"severity": severity, "title": "t", "hook": "http://127.0.0.1:1"})
    assert (run["status"], run["steps"][ran]["status"]) == ("completed", "completed")


# Triage: a guard on a decision inside a branch, from beside it and from outside --------------------------------------------

TRIAGE = {
    "steps": [
        {"id": "fetch", "action": "http.get", "params": {"url": "${{inputs.url}}"},
         "retry": {"max": 2, "backoff": "linear", "delay": "1ms", "max_delay": "5ms"}},
        {"id": "check-new", "type": "condition", "depends_on": ["fetch"],
         "config": {"expression": "size(steps.fetch.body.errors) > inputs.limit", "branches": {"true": [
             {"id": "ask", "type": "reasoning",
              "config": {"prompt_context": "page or ignore?", "options": [{"id": "page"}, {"id": "ignore"}],
                         "data_inject": {"errors": "steps.fetch.output.body.errors", "limit": "inputs.limit"}}},
             {"id": "page", "action": "http.post", "depends_on": ["ask"],
              "condition": "steps['check-new.true.ask'].choice == 'page'",
              "params": {"url": "${{inputs.hook}}", "body": "${{steps.fetch.output.body.errors}}"}},
         ]}, "default": [{"id": "calm", "action": "workflow.log", "params": {"message": "nothing new"}}]}},
        {"id": "ticket", "action": "workflow.log", "depends_on": ["check-new"],
         "condition": "${{steps['check-new.true.ask'].choice == 'page'}}",
         "params": {"message": "ticket for ${{steps['check-new.true.ask'].choice}}"}},
        {"id": "mail", "action": "workflow.log", "depends_on": ["check-new"], "condition": "inputs.mail",
         "params": {"message": "mail"}},
    ],
}  # fmt: skip
OPTIONAL_MAIL = {"type": "object", "properties": {"mail": {"type": "boolean"}}}


@pytest.mark.parametrize(("choice", "status"), [("page", "completed"), ("ignore", "skipped")])
async def test_guards_read_a_decision_inside_a_branch_by_its_qualified_id(
    world: Any, server: Any, choice: str, status: str
) -> None:
    url, hook = server.answer("/e", {"errors": [{"id": 1}, {"id": 2}]}), server.answer("/hook")
    async with world.engine() as engine:
        await engine.define("triage", TRIAGE, agent_id="me", input_schema=OPTIONAL_MAIL)
        run = await engine.run("triage", agent_id="me", params={"url": url, "hook": hook, "limit": 1})
        assert run["pending_decisions"][0]["context"]["data"] == {"errors": [{"id": 1}, {"id": 2}], "limit": 1}
        done = await decide(engine, run, choice)
    assert done["status"] == "completed"
    found = {name: done["steps"][name]["status"] for name in ("check-new.true.page", "ticket", "mail")}
    assert found == {"check-new.true.page": status, "ticket": status, "mail": "skipped"}
    assert server.bodies("/hook") == ([[{"id": 1}, {"id": 2}]] if choice == "page" else [])


async def test_guards_on_a_decision_that_was_never_asked_are_false(world: Any, server: Any) -> None:
    params = {"url": server.answer("/e", {"errors": []}), "hook": "http://127.0.0.1:1", "limit": 1, "mail": True}
    run = await world.run(TRIAGE, params, input_schema=OPTIONAL_MAIL)
    assert run["status"] == "completed"
    assert [run["steps"][name]["status"] for name in ("ticket", "mail")] == ["skipped", "completed"]


# Decisions: every spelling of data_inject --------------------------------------------------------------------------------


async def test_data_inject_takes_every_spelling_and_keeps_types(world: Any, server: Any) -> None:
    body = {"rows": [{"a": 1}], "note": 'two\n"lines"'}
    inject = {
        "bare": "steps.scan.output.stdout.rows", "short": "steps.scan.stdout.rows", "cel": "steps['scan'].stdout.rows[0].a",
        "token": "${{steps.scan.output.stdout.note}}", "whole": "steps['fetch-context']", "input": "inputs.topic",
        "optional": "${{inputs.extra}}", "mixed": "topic ${{inputs.topic}}: ${{steps.scan.stdout.rows}}",
        "text": "a plain remark. Nothing else",
    }  # fmt: skip
    steps = [
        {"id": "scan", "action": "shell.exec", "params": {"command": "cat", "stdin": body}},
        {"id": "fetch-context", "action": "http.get", "params": {"url": server.answer("/c", {"k": 1})}},
        {"id": "ask", "type": "reasoning", "depends_on": ["scan", "fetch-context"],
         "config": {"prompt_context": "decide", "options": [], "data_inject": inject}},
        {"id": "after", "action": "workflow.log", "depends_on": ["ask"],
         "params": {"message": "${{steps['ask'].choice}} / ${{steps.ask.output.choice}} / ${{steps.ask.status}}"}},
    ]  # fmt: skip
    schema = {"type": "object", "properties": {"topic": {"type": "string"}, "extra": {"type": "string"}}}
    async with world.engine() as engine:
        await engine.define("t", {"steps": steps}, agent_id="me", input_schema=schema)
        run = await engine.run("t", agent_id="me", params={"topic": "x"})
        data = run["pending_decisions"][0]["context"]["data"]
        done = await decide(engine, run, "anything at all")
        row = (await engine.status(run["workflow_id"]))["steps"]["after"]
    assert data.pop("whole")["body"] == {"k": 1}
    assert data == {
        "bare": [{"a": 1}], "short": [{"a": 1}], "cel": 1, "token": 'two\n"lines"', "input": "x", "optional": None,
        "mixed": 'topic x: [{"a":1}]', "text": "a plain remark. Nothing else",
    }  # fmt: skip
    assert done["status"] == "completed"
    assert row["input"]["message"] == "anything at all / anything at all / completed"


async def test_a_decision_is_asked_for_each_item_of_a_loop(world: Any, server: Any) -> None:
    steps = [
        {"id": "list", "action": "http.get", "params": {"url": server.answer("/t", {"tasks": ["a", "b"]})}},
        {"id": "each", "type": "loop", "depends_on": ["list"], "config": {"over": "steps.list.body.tasks", "body": [
            {"id": "ask", "type": "reasoning",
             "config": {"prompt_context": "do ${{loop.item}}?", "options": [{"id": "do"}, {"id": "drop"}],
                        "data_inject": {"task": "loop.item", "index": "${{loop.index}}"}}},
            {"id": "do", "action": "workflow.log", "depends_on": ["ask"], "condition": "steps.ask.choice == 'do'",
             "params": {"message": "${{loop.item}}"}},
        ]}},
    ]  # fmt: skip
    asked, status = [], []
    async with world.engine() as engine:
        await engine.define("t", {"on_timeout": "suspend", "timeout": "1m", "steps": steps}, agent_id="me")
        run = await engine.run("t", agent_id="me")
        for choice in ("do", "drop"):
            asked.append(run["pending_decisions"][0]["context"]["data"])
            run = await decide(engine, run, choice)
        status = [run["steps"][f"each.iter_{index}.do"]["status"] for index in range(2)]
    assert asked == [{"task": "a", "index": 0}, {"task": "b", "index": 1}]
    assert (run["status"], status) == ("completed", ["completed", "skipped"])


# Scripts: text of several lines from one to the next, positional arguments, a condition in a loop ------------------------

CLEANUP = {
    "steps": [
        {"id": "list", "action": "shell.exec", "params": {"command": "printf", "args": ["%s\n", "main", "old \"x\"", "new"]}},
        {"id": "parse", "action": "shell.exec", "depends_on": ["list"],
         "params": {"command": "python3 -c \"import json,sys; print(json.dumps(sys.stdin.read().splitlines()))\"",
                    "shell": True, "stdin": "${{steps.list.output.stdout_raw}}"}},
        {"id": "each", "type": "loop", "depends_on": ["parse"],
         "config": {"over": "steps.parse.stdout", "max_iter": 10, "body": [
             {"id": "keep", "type": "condition", "config": {
                 "expression": "!(iter.item in ['main', 'develop'])", "branches": {"true": [
                     {"id": "delete", "action": "shell.exec", "on_error": {"strategy": "ignore"},
                      "params": {"command": "echo deleted", "args": ["${{loop.item}}", "${{loop.index}}"], "shell": True}},
                 ]}}}]}},
        {"id": "log", "action": "fs.append", "depends_on": ["each", "parse"],
         "params": {"path": "${{inputs.file}}", "content": "branches: ${{steps.parse.output.stdout}}\n"}},
    ],
}  # fmt: skip


async def test_scripts_hand_lines_and_lists_to_each_other(world: Any, tmp_path: Path) -> None:
    run = await world.run(CLEANUP, {"file": f"{tmp_path}/log"})
    assert run["status"] == "completed", run
    printed = [run["steps"][f"each.iter_{index}.keep.true.delete"]["output"]["stdout"] for index in (1, 2)]
    assert printed == ['deleted old "x" 1\n', "deleted new 2\n"]
    assert "each.iter_0.keep.true.delete" not in run["steps"]
    assert (tmp_path / "log").read_text() == 'branches: ["main","old \\"x\\"","new"]\n'


# Numbers: a large size in a URL, a body, a file name and a shell argument ---------------------------------------------------


async def test_numbers_stay_exact_wherever_they_go(world: Any, server: Any, tmp_path: Path) -> None:
    (tmp_path / "image").write_bytes(b"\0" * 1_048_576)
    server.answer("/size/1048576", {"id": 9_007_199_254_740_993, "price": 0.00001, "whole": 6.0})
    steps = [
        {"id": "stat", "action": "fs.stat", "params": {"path": "${{inputs.dir}}/image"}},
        {"id": "get", "action": "http.get", "depends_on": ["stat"],
         "params": {"url": "${{inputs.base}}/${{steps.stat.output.size}}", "query": {"limit": "${{steps.stat.size}}"}}},
        {"id": "copy", "action": "fs.copy", "depends_on": ["get"],
         "params": {"src": "${{inputs.dir}}/image", "dst": "${{inputs.dir}}/out/${{steps.get.body.id}}-${{steps.get.body.whole}}",
                    "create_dirs": True}},
        {"id": "hash", "action": "crypto.hash", "depends_on": ["get"], "params": {"data": "${{steps.get.output.body.price}}"}},
        {"id": "echo", "action": "shell.exec", "depends_on": ["get"],
         "params": {"command": "echo", "args": ["${{steps.get.body.id}}", "${{steps.get.body.price}}", "${{steps.stat.size}}"]}},
        {"id": "post", "action": "http.post", "depends_on": ["copy", "hash", "echo"],
         "params": {"url": server.answer("/post"), "timeout": 5,
                    "body": {"size": "${{steps.copy.output.size}}", "id": "${{steps.get.body.id}}",
                             "text": "${{steps.get.body.id}} at ${{steps.get.body.price}}", "hash": "${{steps.hash.hash}}"}}},
    ]  # fmt: skip
    run = await world.run(steps, {"dir": str(tmp_path), "base": server.url("/size")})
    assert run["status"] == "completed", run
    assert server.asked[0][1] == "/size/1048576?limit=1048576"
    assert (tmp_path / "out/9007199254740993-6").stat().st_size == 1_048_576
    assert run["steps"]["echo"]["output"]["stdout"] == "9007199254740993 0.00001 1048576\n"
    digest = hashlib.sha256(b"0.00001").hexdigest()
    assert server.bodies("/post") == [
        {"size": 1_048_576, "id": 9_007_199_254_740_993, "text": "9007199254740993 at 0.00001", "hash": digest}
    ]


# Rotation: a secret, an assertion against text, hooks at both ends ---------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "outcome", "hook"), [(200, "completed", "on_complete"), (500, "failed", "on_error")]
)
async def test_hooks_tell_how_a_rotation_ended_and_no_secret_is_kept(
    world: Any, server: Any, status: int, outcome: str, hook: str
) -> None:
    rotate, told = server.answer("/rotate", {"echo": "hunter22"}, status=status), server.answer("/told")
    definition = {
        "inputs": {"actor": "rotation of ${{workflow.template_name}}"},
        "context": {"team": "ops"},
        "steps": [
            {"id": "new", "action": "crypto.uuid"},
            {"id": "put", "action": "http.post", "depends_on": ["new"],
             "params": {"url": "${{inputs.url}}", "auth": {"type": "bearer", "token": "${{secrets.P}}"},
                        "body": {"key": "${{steps.new.output.uuid}}", "old": "${{secrets.P}}"}}},
            {"id": "check", "action": "assert.equals", "depends_on": ["put"],
             "params": {"expected": "200", "actual": "${{steps.put.output.status_code}}"}},
        ],
        "on_complete": {"id": "done", "action": "http.post",
                        "params": {"url": told, "body": "${{inputs.actor}} by ${{context.team}}: on_complete"}},
        "on_error": {"id": "oops", "action": "http.post",
                     "params": {"url": told, "body": "${{inputs.actor}} by ${{context.team}}: on_error"}},
    }  # fmt: skip
    async with world.engine() as engine:
        await engine.define("t", definition, agent_id="me")
        run = await engine.run("t", agent_id="me", params={"url": rotate})
        stored = await engine.status(run["workflow_id"])
    assert run["status"] == outcome
    (asked,) = [(headers, json.loads(body)) for _, path, headers, body in server.asked if path == "/rotate"]
    assert asked[0]["Authorization"] == "Bearer hunter22"
    assert asked[1] == {"key": run["steps"]["new"]["output"]["uuid"], "old": "hunter22"}
    assert server.bodies("/told") == [f"rotation of t by ops: {hook}"]
    assert run["steps"]["put"]["output"]["body"] == {"echo": "***"}
    assert "hunter22" not in json.dumps([run, stored])
