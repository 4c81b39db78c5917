"""What the author of a definition is told, with the actions and languages that are shipped."""

from __future__ import annotations

import copy
from typing import Any

import pytest

import opcode_cel
import opcode_crypto
import opcode_expr
import opcode_shell
import opcode_steps
from opcode_kernel import MemoryStore, open_engine, registry_of

pytestmark = pytest.mark.anyio

UUID = {"id": "u", "action": "crypto.uuid"}
HASH = {"id": "a", "action": "crypto.hash", "params": {"data": "x"}}


def shell(**keys: Any) -> dict[str, Any]:
    return {"id": "s", "action": "shell.exec", **keys}


async def found(*steps: dict[str, Any], **given: Any) -> list[Any]:
    plugins = (opcode_steps, opcode_crypto, opcode_shell, opcode_expr, opcode_cel)
    async with open_engine(MemoryStore(), registry_of(*plugins)) as engine:
        report = engine.check({"steps": list(copy.deepcopy(steps))}, **given)
    return [*report.errors, *report.warnings]


async def only(*steps: dict[str, Any], **given: Any) -> Any:
    (issue,) = await found(*steps, **given)
    return issue


async def test_a_command_that_is_a_list_is_parted_into_command_and_args() -> None:
    issue = await only(shell(params={"command": ["ls", "-l"], "args": ["/"]}))
    assert (issue.severity, issue.path) == ("warning", "steps[0].params.command")
    assert issue.patch == [
        {"op": "replace", "path": "/steps/0/params/command", "value": "ls"},
        {"op": "replace", "path": "/steps/0/params/args", "value": ["-l", "/"]},
    ]


async def test_one_text_where_a_list_is_expected_is_a_list_of_it_unless_it_has_blanks() -> None:
    issue = await only(shell(params={"command": "ls", "args": "-l"}))
    assert (issue.path, issue.details["found_at"]) == ("steps[0].params", "/steps/0/params/args")
    assert issue.patch == [{"op": "replace", "path": "/steps/0/params/args", "value": ["-l"]}]
    assert (await only(shell(params={"command": "ls", "args": "-l /"}))).patch is None


async def test_params_that_stand_in_the_config_are_moved() -> None:
    issue = await only(shell(config={"command": "ls", "args": ["-l"]}))
    assert (issue.severity, issue.path) == ("error", "steps[0].config.command")
    assert "'command', 'args' in config" in issue.message
    assert [step["op"] for step in issue.patch] == ["add", "move", "move", "remove"]


async def test_params_in_the_config_that_nobody_misses_are_a_warning() -> None:
    issues = await found(shell(params={"command": "ls"}, config={"args": ["-l"], "colour": 1}))
    assert {(issue.severity, issue.path) for issue in issues} == {
        ("warning", "steps[0].config"), ("warning", "steps[0].config.args"),
    }  # fmt: skip
    assert [issue.patch for issue in issues if issue.patch] == [
        [{"op": "move", "from": "/steps/0/config/args", "path": "/steps/0/params/args"}]
    ]


async def test_a_word_that_is_nearly_one_of_the_allowed_ones_is_named() -> None:
    issue = await only({**HASH, "params": {"data": "x", "algorithm": "sha-256"}})
    assert (issue.did_you_mean, issue.patch[0]["value"]) == ("sha256", "sha256")


async def test_a_function_of_expr_that_is_nearly_a_known_one_is_named() -> None:
    issue = await only({"id": "e", "action": "expr.eval", "params": {"expression": "lenn([1])"}})
    assert issue.did_you_mean == "len"


async def test_a_function_of_another_language_is_written_as_in_cel() -> None:
    issue = await only({**UUID, "condition": "len(inputs.xs) > 1"})
    assert issue.did_you_mean == "size(inputs.xs) > 1"
    assert issue.patch == [{"op": "replace", "path": "/steps/0/condition", "value": "size(inputs.xs) > 1"}]


@pytest.mark.parametrize(
    ("written", "meant"),
    [("steps.a.staus", "status"), ("steps.a.algoritm", "algorithm"), ("steps.a.output.algoritm", "algorithm")],
)
async def test_a_field_of_a_step_is_compared_with_all_that_may_stand_there(written: str, meant: str) -> None:
    reads = {**HASH, "id": "b", "depends_on": ["a"], "params": {"data": f"${{{{{written}}}}}"}}
    issue = await only(HASH, reads)
    assert (issue.did_you_mean, issue.patch[0]["value"]) == (meant, f"${{{{{written.rpartition('.')[0]}.{meant}}}}}")


async def test_what_may_stand_there_is_listed_where_nothing_is_near() -> None:
    reads = {**HASH, "id": "b", "depends_on": ["a"], "params": {"data": "${{steps.a.zzz}}"}}
    assert "known are output, status, error," in (await only(HASH, reads)).message


async def test_a_loop_without_its_test_is_told_what_it_is_for() -> None:
    loop = {"id": "l", "type": "loop", "config": {"mode": "while", "body": [UUID], "max_iter": 3}}
    issue = await only(loop)
    assert issue.path == "steps[0].config.condition"
    assert "; condition: `while`, `until`: CEL that yields true or false" in issue.message


async def test_a_misspelt_type_in_a_schema_is_named_with_its_place() -> None:
    issue = await only(UUID, input_schema={"properties": {"n": {"type": "objct"}}})
    assert (issue.did_you_mean, issue.details) == ("object", {"found_at": "/input_schema/properties/n/type"})
    assert "/properties/n/type: expected one of [" in issue.message


async def test_a_fallback_is_held_against_options_that_are_mended() -> None:
    config = {"prompt_context": "?", "options": ["yes", "no"], "fallback": "maybe"}
    issues = await found({"id": "q", "type": "reasoning", "config": config})
    paths = {"steps[0].config.options[0]", "steps[0].config.options[1]", "steps[0].config.fallback"}
    assert {issue.path for issue in issues} == paths
