"""The vectors of actions, row by row: real sockets, child processes and files under a real engine."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from opcode_kernel import DefinitionError, Json, PathRules, Policy

pytestmark = pytest.mark.anyio


# http ------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("hops", "status"), [(2, 200), (3, None)])
@pytest.mark.spec("17.A1")
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


@pytest.mark.spec("17.A2")
async def test_a_problem_document_is_parsed_and_fails_nothing(world: Any, server: Any) -> None:
    server.routes["/p"] = lambda nth: (404, {"Content-Type": "application/problem+json"}, b'{"title": "gone"}')
    found = await world.call("http.get", {"url": server.url("/p")})
    assert (found["status_code"], found["body"]) == (404, {"title": "gone"})


@pytest.mark.spec("17.A3")
async def test_too_many_requests_are_retried_after_the_time_asked_for(world: Any, server: Any) -> None:
    server.routes["/busy"] = lambda nth: (200, {}, b"") if nth else (429, {"Retry-After": "2"}, b"")
    started = time.monotonic()
    params = {"url": server.url("/busy"), "fail_on_error_status": True}
    found = await world.call("http.get", params, retry={"max": 2, "delay": "1ms"})
    assert found["status_code"] == 200
    assert time.monotonic() - started >= 2


@pytest.mark.spec("17.A4")
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
@pytest.mark.spec("17.A5")
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


@pytest.mark.spec("17.A6")
async def test_what_a_command_leaves_in_the_background_ends_with_it(world: Any, tmp_path: Path) -> None:
    line = f"sleep 60 & echo $! > {tmp_path}/pid; echo hi"
    started = time.monotonic()
    found = await world.call("shell.exec", {"command": line, "shell": True})
    assert time.monotonic() - started < 5
    assert (found["stdout"], found["exit_code"]) == ("hi\n", 0)
    assert gone(int((tmp_path / "pid").read_text()))


@pytest.mark.spec("17.A7")
async def test_a_command_that_takes_too_long_ends_with_all_its_children(world: Any, tmp_path: Path) -> None:
    line = f"trap '' TERM; (trap '' TERM; while :; do sleep 60; done) & echo $! > {tmp_path}/pid; wait; wait"
    started = time.monotonic()
    found = await world.call("shell.exec", {"command": line, "shell": True, "timeout": "200ms"})
    assert time.monotonic() - started < 0.2 + 2.5 + 0.5  # half a second for a slow machine
    assert (found["killed"], found["exit_code"]) == (True, -1)
    assert gone(int((tmp_path / "pid").read_text()))


@pytest.mark.spec("17.A8")
async def test_a_command_never_sees_the_key_of_the_vault(world: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPCODE_VAULT_KEY", "hunter22hunter22")
    found = await world.call("shell.exec", {"command": "printenv", "args": ["OPCODE_VAULT_KEY"]})
    assert (found["exit_code"], found["stdout"]) == (1, "")


@pytest.mark.spec("17.A9")
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


@pytest.mark.spec("17.A10")
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
@pytest.mark.spec("17.A11")
async def test_what_cannot_be_meant_is_refused(
    world: Any, tmp_path: Path, name: str, params: Callable[[str], dict[str, Json]]
) -> None:
    (tmp_path / "f").write_text("kept")
    error = await world.call(name, params(str(tmp_path)))
    assert error["code"] == "VALIDATION_ERROR"
    assert (tmp_path / "f").read_text() == "kept"
    assert names_in(tmp_path) == ["f"]


@pytest.mark.spec("17.A12")
async def test_a_tree_with_a_denied_entry_is_not_copied_at_all(world: Any, tmp_path: Path) -> None:
    (tmp_path / "tree/secret").mkdir(parents=True)
    (tmp_path / "tree/a").write_text("a")
    (tmp_path / "tree/secret/key").write_text("k")
    policy = only(tmp_path, deny=(str(tmp_path / "tree/secret"),))
    error = await world.call("fs.copy", {"src": f"{tmp_path}/tree", "dst": f"{tmp_path}/copy"}, policy=policy)
    assert error["code"] == "PATH_DENIED"
    assert not (tmp_path / "copy").exists()


@pytest.mark.spec("17.A13")
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
@pytest.mark.spec("17.A14")
async def test_equality_knows_text_of_numbers_and_no_booleans_of_them(
    world: Any, params: dict[str, Json], code: str | None
) -> None:
    found = await world.call("assert.equals", params)
    assert (found == {"pass": True}) if code is None else (found["code"] == code)


@pytest.mark.parametrize("name", ["assert.equals", "crypto.hash", "workflow.run"])
@pytest.mark.spec("17.A15")
async def test_required_params_are_required(world: Any, name: str) -> None:
    with pytest.raises(DefinitionError) as caught:
        await world.call(name, {})
    assert {each["code"] for each in caught.value.details["errors"]} == {"VALIDATION_ERROR"}


@pytest.mark.spec("17.A16")
async def test_an_event_may_be_given_by_its_alias(world: Any) -> None:
    async with world.engine() as engine:
        step = {"id": "s", "action": "workflow.emit", "params": {"event": "x", "data": 1}}
        await engine.define("t", {"steps": [step]}, agent_id="me")
        result = await engine.run("t", agent_id="me")
        events = (await engine.status(result["workflow_id"]))["events"]
    assert result["steps"]["s"]["output"] == {"emitted": True}
    assert [each["payload"] for each in events if each["event_type"] == "x"] == [{"value": 1}]


@pytest.mark.spec("17.A17")
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


@pytest.mark.spec("17.A18")
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
