"""Every published code comes from something real, with the flag that the reference gives it (spec 01 section 9.2)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import pytest

import opcode_assert
import opcode_fs
import opcode_shell
from opcode_kernel import IsolationRules, OpcodeError, PathRules, Policy, ProcessLimits, open_vault
from opcode_kernel.errors import CODES, NOT_RETRYABLE, ConflictError, Failure, StoreError, is_retryable

pytestmark = pytest.mark.anyio

Case = Callable[[Any, Any], Awaitable[dict[str, Any]]]


async def step_error(engine: Any, step: dict[str, Any], **given: Any) -> dict[str, Any]:
    """Run one step and return the error it fails with."""
    await engine.define("t", {"steps": [{"id": "a", **step}]}, agent_id="me")
    error: dict[str, Any] = (await engine.run("t", agent_id="me", **given))["steps"]["a"]["error"]
    return error


async def run_error(engine: Any, step: dict[str, Any]) -> dict[str, Any]:
    """Run one step and return the error of the run."""
    await engine.define("t", {"steps": [{"id": "a", **step}]}, agent_id="me")
    error: dict[str, Any] = (await engine.run("t", agent_id="me"))["error"]
    return error


async def raised(attempt: Awaitable[Any]) -> dict[str, Any]:
    """Return the published shape of what is raised."""
    with pytest.raises(OpcodeError) as caught:
        await attempt
    return caught.value.to_json()


async def conflict(engine: Any, world: Any) -> dict[str, Any]:
    await engine.define("t", {"steps": [{"id": "a", "action": "fake.pure"}]}, agent_id="me")
    done = await engine.run("t", agent_id="me")
    return await raised(engine.signal(done["workflow_id"], "decision", payload={"choice": "x"}, step_id="a"))


async def denied(engine: Any, world: Any) -> dict[str, Any]:
    await engine.define("other", {"steps": [{"id": "a", "action": "fake.pure"}]}, agent_id="me")
    stranger = (await engine.run("other", agent_id="me"))["workflow_id"]
    return await step_error(
        engine, {"action": "workflow.context", "params": {"action": "read", "workflow_id": stranger}}
    )


async def circuit(engine: Any, world: Any) -> dict[str, Any]:
    step = {"action": "fake.call", "params": {"host": "h", "times": 100, "code": "EXECUTION_ERROR"}}
    for _ in range(6):
        error = await step_error(engine, step)
    return error


async def cancelled(engine: Any, world: Any) -> dict[str, Any]:
    await engine.define("t", {"steps": [{"id": "a", "action": "fake.gate"}]}, agent_id="me")
    run_id = (await engine.run("t", agent_id="me", wait=False))["workflow_id"]
    with anyio.fail_after(5):
        while "a" not in world.ran():
            await anyio.lowlevel.checkpoint()
    await engine.signal(run_id, "cancel")
    error: dict[str, Any] = (await engine.status(run_id))["error"]
    return error


async def store(engine: Any, world: Any) -> dict[str, Any]:
    await engine.define("t", {"steps": [{"id": "a", "action": "fake.note"}]}, agent_id="me")
    world.store.trouble = lambda writes: StoreError("the disk is full")
    return await raised(engine.run("t", agent_id="me"))


async def vault(engine: Any, world: Any) -> dict[str, Any]:
    await open_vault(world.store, "the right passphrase")
    return await raised(open_vault(world.store, "another passphrase"))


CASES: dict[str, Case] = {
    "VALIDATION_ERROR": lambda engine, world: step_error(
        engine, {"action": "fake.strict", "params": {"count": "${{inputs.n}}"}}, params={"n": 0}
    ),
    "NOT_FOUND": lambda engine, world: raised(engine.run("nobody", agent_id="me")),
    "CONFLICT": conflict,
    "CYCLE_DETECTED": lambda engine, world: raised(
        engine.define("t", {"steps": [{"id": "a", "action": "fake.pure", "depends_on": ["a"]}]}, agent_id="me")
    ),
    "PERMISSION_DENIED": denied,
    "PATH_DENIED": lambda engine, world: step_error(engine, {"action": "fs.read", "params": {"path": "/etc/hostname"}}),
    "ASSERTION_FAILED": lambda engine, world: step_error(
        engine, {"action": "assert.equals", "params": {"expected": 1, "actual": 2}}
    ),
    "NON_RETRYABLE": lambda engine, world: step_error(
        engine, {"action": "workflow.fail", "params": {"reason": "enough"}}
    ),
    "CIRCUIT_OPEN": circuit,
    "ACTION_UNAVAILABLE": lambda engine, world: step_error(engine, {"action": "acme.do"}),
    "EXECUTION_ERROR": lambda engine, world: step_error(engine, {"action": "fake.crash"}),
    "TIMEOUT_ERROR": lambda engine, world: step_error(engine, {"action": "fake.gate", "timeout": "20ms"}),
    "STEP_FAILED": lambda engine, world: run_error(engine, {"action": "fake.fail"}),
    "RETRY_EXHAUSTED": lambda engine, world: run_error(engine, {"action": "fake.fail", "retry": {"max": 1}}),
    "CANCELLED": cancelled,
    "STORE_ERROR": store,
    "INTERPOLATION_ERROR": lambda engine, world: step_error(
        engine, {"action": "fake.pure", "params": {"x": "${{inputs.missing.deep}}"}}
    ),
    "ISOLATION_ERROR": lambda engine, world: step_error(
        engine, {"action": "shell.exec", "params": {"command": "true"}}
    ),
    "VAULT_ERROR": vault,
}

#: Codes whose sources have tests of their own: `test_recovery.py` and `test_append_failures.py`.
ELSEWHERE = {"INVALID_TRANSITION", "SIGNAL_FAILED"}
#: The codes that section 9.2 calls not retryable.
NO = {
    "VALIDATION_ERROR", "NOT_FOUND", "CONFLICT", "INVALID_TRANSITION", "CYCLE_DETECTED", "PERMISSION_DENIED",
    "PATH_DENIED", "ASSERTION_FAILED", "NON_RETRYABLE", "CIRCUIT_OPEN",
}  # fmt: skip
#: What repeating cannot help, whatever the code says in general.
NEVERTHELESS = {"INTERPOLATION_ERROR", "VAULT_ERROR"}


@pytest.mark.parametrize("code", CASES)
async def test_each_code_is_produced_with_its_flag(world, code):
    policy = Policy(paths=PathRules(deny=("/etc",)), isolation=IsolationRules(limits=ProcessLimits(max_open_files=-5)))
    registry = world.registry_with(opcode_assert, opcode_fs, opcode_shell)
    async with world.engine(registry=registry, policy=policy) as engine:
        with anyio.fail_after(20):
            error = await CASES[code](engine, world)
        world.store.trouble = lambda writes: None
    assert error["code"] == code
    assert error["retryable"] is (code not in NO and code not in NEVERTHELESS)
    assert error["message"]
    assert set(error) <= {"code", "message", "details", "step_id", "retryable", "fatal", "reason"}


async def test_a_secret_without_a_vault_names_the_vault_as_the_cause(world):
    async with world.engine() as engine:
        error = await step_error(engine, {"action": "fake.note", "params": {"x": "${{secrets.K}}"}})
    assert (error["code"], error["details"]["cause"]["code"]) == ("INTERPOLATION_ERROR", "VAULT_ERROR")


def test_the_flags_of_all_codes_are_the_published_ones():
    assert set(CASES) | ELSEWHERE == set(CODES)
    assert {code for code in CODES if not is_retryable(code)} == NOT_RETRYABLE == NO


@pytest.mark.parametrize("code", CODES)
def test_an_error_has_one_shape_and_one_text(code):
    failure = Failure(code, "it broke", is_retryable(code), {"k": 1}, "a.b")
    shape = {"code": code, "message": "it broke", "details": {"k": 1}, "step_id": "a.b", "retryable": code not in NO}
    assert failure.to_json() == shape
    assert Failure.from_json(shape) == failure
    assert str(OpcodeError("it broke", code=code)) == f"[{code}] it broke"


def test_the_textual_form_names_the_step_when_it_is_known():
    assert str(Failure("CONFLICT", "no")) == str(ConflictError("no")) == "[CONFLICT] no"
    assert str(Failure("CONFLICT", "no", step_id="a.b")) == "[CONFLICT] step a.b: no"
