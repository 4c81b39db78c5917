"""The registry as validation sees it, with real actions."""

from __future__ import annotations

from typing import Any

import pytest

import opcode_cel
import opcode_crypto
import opcode_expr
import opcode_shell
import opcode_steps
from opcode_kernel.core.validation import Report, validate
from opcode_kernel.plugin.manager import registry_of
from opcode_kernel.runtime.vocabulary import RegistryVocabulary


@pytest.fixture(scope="module")
def vocabulary() -> RegistryVocabulary:
    return RegistryVocabulary(registry_of(opcode_cel, opcode_crypto, opcode_expr, opcode_shell, opcode_steps))


def check(vocabulary: RegistryVocabulary, *steps: dict[str, Any]) -> Report:
    return validate({"steps": list(steps)}, vocabulary)


def test_a_misspelt_param_or_alias_is_refused(vocabulary: RegistryVocabulary) -> None:
    step = {"id": "a", "action": "shell.exec", "params": {"comand": "ls", "shel": True, "workdr": "/"}}
    report = check(vocabulary, step)
    assert [issue.did_you_mean for issue in report.errors] == ["command", "shell", "workdir"]
    assert not report.warnings


def test_an_output_field_that_is_not_declared_is_a_warning(vocabulary: RegistryVocabulary) -> None:
    make = {"id": "b", "action": "crypto.uuid"}
    report = check(vocabulary, make, {
        "id": "a", "action": "shell.exec", "depends_on": ["b"], "params": {"command": "x", "args": ["${{steps.b.output.uid}}"]},
    })  # fmt: skip
    assert [issue.did_you_mean for issue in report.warnings] == ["uuid"]


@pytest.mark.parametrize(
    ("text", "ok"),
    [("1 +", False), ("1 + 2", True), ("1 + ${{inputs.x}} +", False), ("'${{inputs.x}}' +", True)],
)
def test_an_expression_is_compiled_unless_a_value_is_in_its_quotes(
    vocabulary: RegistryVocabulary, text: str, ok: bool
) -> None:
    report = check(vocabulary, {"id": "a", "action": "expr.eval", "params": {"expression": text}})
    assert [issue.path for issue in report.errors] == ([] if ok else ["steps[0].params.expression"])


def test_a_guard_is_reported_with_a_picture_of_the_place(vocabulary: RegistryVocabulary) -> None:
    step = {"id": "a", "action": "crypto.uuid", "condition": "{{inputs.x}} == 1"}
    (issue,) = check(vocabulary, step).errors
    sentence, _, picture = issue.message.partition("\n")
    assert sentence.endswith("inside an expression write inputs.name without ${{ }}")
    assert picture.endswith("^")
