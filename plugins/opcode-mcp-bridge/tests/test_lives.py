"""What becomes of servers that end, hang or do not let go: they are started again or given up, and nothing else happens."""

from __future__ import annotations

import os
import signal
from dataclasses import replace
from typing import Any

import anyio
import pytest

from opcode_kernel import ActionError

pytestmark = pytest.mark.anyio


async def test_a_crash_fails_the_call_at_once_and_may_be_retried(place: Any, tiny: Any) -> None:
    async with place(tiny()) as here:
        with anyio.fail_after(5), pytest.raises(ActionError) as caught:
            await here.call("tiny.crash")
        error = caught.value
        assert (error.code, error.retryable) == ("EXECUTION_ERROR", True)
        assert "ended with exit code 3; it said: tiny has had enough" in error.message


async def test_a_retried_step_succeeds_on_the_server_that_was_started_again(
    place: Any, tiny: Any, tmp_path: Any
) -> None:
    pids = tmp_path / "pids"
    async with place(tiny(env={"PIDS": str(pids)})) as here:
        steps = [
            {"id": "crash", "action": "tiny.crash", "on_error": {"strategy": "ignore"}},
            {"id": "s", "action": "tiny.echo", "params": {"text": "back"}, "retry": {"max": 5, "delay": "10ms"},
             "depends_on": ["crash"]},
        ]  # fmt: skip
        await here.engine.define("t", {"steps": steps}, agent_id="a")
        result = await here.engine.run("t", agent_id="a")
        assert result["steps"]["s"]["output"]["text"] == "back"
        assert len(pids.read_text().split()) == 2


async def test_all_calls_under_way_fail_when_the_server_ends(
    place: Any, tiny: Any, records: Any, tmp_path: Any
) -> None:
    file, pids = tmp_path / "seen", tmp_path / "pids"
    async with place(tiny(env={"RECORD": str(file), "PIDS": str(pids)}), pool_size=8) as here:
        steps = [{"id": f"s{n}", "action": "tiny.hang", "on_error": {"strategy": "ignore"}} for n in range(5)]
        await here.engine.define("t", {"steps": steps}, agent_id="a")
        run = await here.engine.run("t", agent_id="a", wait=False)
        with anyio.fail_after(20):
            while [each.get("method") for each in records(file)].count("tools/call") < 5:  # noqa: ASYNC110
                await anyio.sleep(0.005)
            os.kill(int(pids.read_text()), signal.SIGKILL)
            while (result := await here.engine.status(run["workflow_id"]))["status"] == "active":  # noqa: ASYNC110
                await anyio.sleep(0.005)
        errors = [step["error"] for step in result["steps"].values()]
        assert [error["code"] for error in errors] == ["EXECUTION_ERROR"] * 5
        assert all("the server was lost before it answered" in error["message"] for error in errors)


async def test_a_kill_from_outside_is_noticed_at_once_and_mended(place: Any, tiny: Any, tmp_path: Any) -> None:
    pids = tmp_path / "pids"
    async with place(tiny(env={"PIDS": str(pids)})) as here:
        os.kill(int(pids.read_text()), signal.SIGKILL)
        lost = await here.until(lambda row: row.status != "active")
        assert "killed by signal 9" in lost.error_message
        await here.until(lambda row: row.status == "active")
        assert (await here.call("tiny.echo", text="on"))["text"] == "on"


async def test_the_reason_of_an_end_quotes_only_what_that_life_said(place: Any, tiny: Any, tmp_path: Any) -> None:
    pids = tmp_path / "pids"
    async with place(tiny(env={"PIDS": str(pids)})) as here:
        with pytest.raises(ActionError, match="it said: words of the first life"):
            await here.call("tiny.crash", words="words of the first life")
        assert (await here.call("tiny.echo", text="on"))["text"] == "on"
        os.kill(int(pids.read_text().split()[-1]), signal.SIGKILL)
        lost = await here.until(lambda row: "signal 9" in (row.error_message or ""))
        assert lost.error_message.startswith("it was killed by signal 9; it is ")


async def test_one_that_is_never_restarted_is_not_said_to_have_been(place: Any, tiny: Any) -> None:
    plugin = tiny("--die")
    async with place(replace(plugin, restart=replace(plugin.restart, max=0))) as here:
        assert (await here.row()).error_message == "it ended with exit code 7; it said: cannot start today"


async def test_a_server_that_always_ends_is_given_up_and_its_actions_are_unavailable(
    place: Any, tiny: Any, tmp_path: Any
) -> None:
    pids = tmp_path / "pids"
    plugin = tiny(env={"PIDS": str(pids)})
    async with place(replace(plugin, restart=replace(plugin.restart, max=2))) as here:
        for _ in range(3):
            with pytest.raises(ActionError, match=r"\[EXECUTION_ERROR\]"):
                await here.call("tiny.crash")
        row = await here.until(lambda row: row.status == "error")
        assert row.error_message.endswith("it was restarted 2 times in 600 s and is given up")
        assert len(pids.read_text().split()) == 3
        assert "tiny.echo" in here.engine.registry.actions, "the words stay known"
        with pytest.raises(ActionError) as caught:
            await here.call("tiny.echo", text="x")
        assert (caught.value.code, caught.value.retryable) == ("ACTION_UNAVAILABLE", True)
        assert f"{row.error_message}; once its cause is mended, have the OPCODE server" in caught.value.message
        assert "(kill -HUP)" in caught.value.message
        here.engine.providers.reconcile([replace(plugin, restart=replace(plugin.restart, max=2))])
        await here.until(lambda row: row.status == "active")
        assert (await here.call("tiny.echo", text="mended"))["text"] == "mended", "asked again, it is tried again"


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"command": "no-such-program-anywhere"}, "expected a program called 'no-such-program-anywhere'"),
        ({"command": "/etc/passwd"}, "expected a program called '/etc/passwd'"),
        ({"cwd": "/no/such/directory"}, "cannot start"),
        ({"env": {"TOKEN": "${{secrets.TOKEN}}"}}, "the secret 'TOKEN' cannot be used: no vault is open"),
    ],
)
async def test_what_cannot_be_started_is_not_tried_again(place: Any, tiny: Any, given: Any, said: str) -> None:
    async with place(tiny(**given)) as here:
        row = await here.row()
        assert row.status == "error"
        assert said in row.error_message
        with pytest.raises(ActionError, match=r"\[ACTION_UNAVAILABLE\] .*" + said.split(":")[0][:20]):
            await here.call("tiny.echo", text="x")


@pytest.mark.parametrize(
    ("flag", "said"),
    [
        ("--die", "ended with exit code 7; it said: cannot start today"),
        ("--silent", "not ready within 0.3 s"),
        ("--ancient", "Unsupported protocol version"),
        ("--endless", "expected a list of at most 2000 tools that ends"),
        ("--heavy", "expected a list of tools of at most 16 MiB"),
    ],
)
async def test_a_server_that_does_not_get_ready_keeps_nobody_from_starting(
    place: Any, tiny: Any, gone: Any, tmp_path: Any, flag: str, said: str
) -> None:
    pids = tmp_path / "pids"
    bad = tiny(flag, name="bad", env={"PIDS": str(pids)}, start_timeout=0.3 if flag == "--silent" else 20.0)
    async with place(replace(bad, restart=replace(bad.restart, max=0)), tiny()) as here:
        row = await here.row("bad")
        assert row.status == "error"
        assert said in row.error_message
        assert (await here.call("tiny.echo", text="fine"))["text"] == "fine"
        await gone(*map(int, pids.read_text().split() if pids.exists() else ()))


async def test_the_start_waits_for_slow_servers_only_so_long(place: Any, tiny: Any, fast: Any, log: Any) -> None:
    with anyio.fail_after(15):
        async with place(tiny("--silent", name="slow"), tiny(), timing=replace(fast, ready=1.0)) as here:
            assert (await here.row("slow")).status == "inactive"
            assert (await here.call("tiny.echo", text="fine"))["text"] == "fine"
            assert [each for each in log if each.get("plugins") == ["slow"]], "the log says who is late"


async def test_a_nudge_is_heard_while_it_is_noted_that_a_server_was_given_up(
    place: Any, tiny: Any, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    pids = tmp_path / "pids"
    plugin = tiny("--die", env={"PIDS": str(pids)})
    plugin = replace(plugin, restart=replace(plugin.restart, max=0))
    async with place() as here:
        report, noted = here.engine.providers.report, []

        async def slowly(plugin: Any, status: Any, error: str | None = None) -> None:
            await report(plugin, status, error)
            if status == "error" and not noted:
                noted.append(error)
                here.engine.providers.reconcile([plugin])
                await anyio.wait_all_tasks_blocked()

        monkeypatch.setattr(here.engine.providers, "report", slowly)
        here.engine.providers.reconcile([plugin])
        with anyio.fail_after(10):
            while not pids.exists() or len(pids.read_text().split()) < 2:  # noqa: ASYNC110 - another process
                await anyio.sleep(0.005)


async def test_pings_that_are_not_answered_end_the_server_and_it_is_started_again(
    place: Any, tiny: Any, fast: Any, tmp_path: Any
) -> None:
    pids = tmp_path / "pids"
    timing = replace(fast, ping_every=0.02, ping_timeout=0.05)
    async with place(tiny(env={"PIDS": str(pids)}), timing=timing) as here:
        await here.call("tiny.mute")
        row = await here.until(lambda row: row.status != "active")
        assert row.error_message.startswith("it did not answer 3 pings in a row; it is ")
        await here.until(lambda row: row.status == "active")
        assert len(pids.read_text().split()) == 2


async def test_an_error_is_an_answer_to_a_ping_too(
    place: Any, tiny: Any, fast: Any, records: Any, tmp_path: Any
) -> None:
    pids, file = tmp_path / "pids", tmp_path / "seen"
    plugin = tiny("--no-ping", env={"PIDS": str(pids), "RECORD": str(file)})
    async with place(plugin, timing=replace(fast, ping_every=0.005)):
        with anyio.fail_after(20):
            while [each.get("method") for each in records(file)].count("ping") < 12:  # noqa: ASYNC110
                await anyio.sleep(0.01)
        assert len(pids.read_text().split()) == 1


async def test_a_server_that_is_busy_with_a_call_need_not_answer_pings(
    place: Any, tiny: Any, fast: Any, records: Any, tmp_path: Any
) -> None:
    pids, file = tmp_path / "pids", tmp_path / "seen"
    timing = replace(fast, ping_every=0.2, ping_again=0.2, ping_timeout=0.05)
    plugin = tiny(env={"PIDS": str(pids), "RECORD": str(file)}, call_timeout=1.5)
    async with place(plugin, timing=timing) as here:
        steps = [{"id": "m", "action": "tiny.mute"}, {"id": "s", "action": "tiny.hang", "depends_on": ["m"]}]
        await here.engine.define("t", {"steps": steps}, agent_id="a")
        result = await here.engine.run("t", agent_id="a")
        assert result["steps"]["s"]["error"]["code"] == "TIMEOUT_ERROR"
        assert len(pids.read_text().split()) == 1
        assert [each.get("method") for each in records(file)].count("ping") > 3


async def test_a_server_that_does_not_read_is_given_up(place: Any, tiny: Any, fast: Any) -> None:
    async with place(tiny(call_timeout=2.0), timing=replace(fast, stalled=0.2)) as here:
        await here.call("tiny.deafen")
        with anyio.fail_after(10), pytest.raises(ActionError, match=r"it did not read its input for 0\.2 s"):
            await here.call("tiny.echo", text="x" * 900_000)


async def test_everything_a_server_started_ends_with_the_engine(
    place: Any, tiny: Any, alive: Any, gone: Any, tmp_path: Any
) -> None:
    pids = tmp_path / "pids"
    async with place(tiny(env={"PIDS": str(pids)})) as here:
        grandchild = (await here.call("tiny.spawn"))["json"]
        assert alive(grandchild)
    await gone(grandchild, int(pids.read_text()))


async def test_a_server_that_does_not_want_to_end_is_told_and_then_killed(
    place: Any, tiny: Any, gone: Any, tmp_path: Any
) -> None:
    pids = tmp_path / "pids"
    with anyio.fail_after(15):
        async with place(tiny("--stubborn", env={"PIDS": str(pids)})):
            pass
    await gone(int(pids.read_text()))


async def test_one_that_goes_leaves_the_others_alone(place: Any, tiny: Any) -> None:
    async with place(tiny(name="one"), tiny(name="two")) as here:
        steps = [
            {"id": "slow", "action": "two.rendezvous", "params": {"size": 2, "tag": "a"}},
            {"id": "end", "action": "one.crash", "on_error": {"strategy": "ignore"}},
            {"id": "fast", "action": "two.rendezvous", "params": {"size": 2, "tag": "b"}, "depends_on": ["end"]},
        ]
        await here.engine.define("t", {"steps": steps}, agent_id="a")
        result = await here.engine.run("t", agent_id="a")
        assert result["steps"]["slow"]["output"]["text"] == "a"
        assert result["steps"]["fast"]["output"]["text"] == "b"
