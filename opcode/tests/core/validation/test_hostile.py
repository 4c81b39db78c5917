"""Any JSON value may be given to validation: it answers, it answers the same again, and what it answers is JSON."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from opcode_kernel.core.validation import Report

SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8),
    st.sampled_from(["a", "b", "${{", "${{steps.a.output}}", "${{loop.item}}", "steps.a", "((", "1s", "", "\ud800", "a.b", "{{inputs.a}}", "${{inputs.a + 1}}", "steps.a.map(", "http.get",
                     "${{loop.items}}"]),
)  # fmt: skip
KEYS = st.one_of(
    st.text(max_size=4),
    st.sampled_from([
        "id", "type", "action", "params", "depends_on", "condition", "timeout", "retry", "on_error", "config", "steps",
        "on_complete", "inputs", "context", "output", "expression", "branches", "default", "mode", "over", "body",
        "max_iter", "duration", "signal", "prompt_context", "options", "data_inject", "fallback", "strategy",
        "fallback_step", "max", "description", "conditon", "dependsOn", "if", "then", "needs", "items", "name", "retries",
        "uses", "cofig", "[x]", "a.b", "${{inputs.k}}",
    ]),
)  # fmt: skip
ANY_JSON = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4), max_leaves=12
)
IDS = st.sampled_from(["a", "b", "c", "d"])
TEXTS = st.sampled_from(["${{steps.a.output}}", "steps.b.x", "${{loop.index}}", "x", ".steps.c", "((", "iter.index"])


NOOPS = st.fixed_dictionaries({"id": IDS, "action": st.just("noop")})


def steps_of(inner: st.SearchStrategy[Any] = NOOPS) -> st.SearchStrategy[Any]:
    """Steps that are nearly right, so that the later stages see them too."""
    lists = st.lists(inner, max_size=3)
    config = st.one_of(
        st.fixed_dictionaries({"expression": TEXTS, "branches": st.dictionaries(IDS, lists, max_size=2)}),
        st.fixed_dictionaries({"over": TEXTS, "body": lists}),
        st.fixed_dictionaries({"branches": st.lists(lists, max_size=2)}),
        st.fixed_dictionaries({"prompt_context": TEXTS}, optional={"options": ANY_JSON, "data_inject": ANY_JSON}),
        ANY_JSON,
    )  # fmt: skip
    handler = st.fixed_dictionaries({"strategy": st.just("fallback_step"), "fallback_step": IDS})
    return st.fixed_dictionaries(
        {"id": IDS},
        optional={
            "type": st.sampled_from(["action", "condition", "loop", "parallel", "wait", "reasoning"]),
            "action": st.sampled_from(["noop", "http.get", "fs.nope"]), "params": st.dictionaries(KEYS, TEXTS | ANY_JSON),
            "depends_on": st.lists(IDS, max_size=2), "condition": TEXTS, "on_error": handler, "config": config,
        },
    )  # fmt: skip


NEARLY = st.fixed_dictionaries(
    {"steps": st.lists(st.recursive(steps_of(), steps_of, max_leaves=4), max_size=4)},
    optional={"on_complete": steps_of(), "output": ANY_JSON, "context": ANY_JSON, "inputs": ANY_JSON},
)


@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(ANY_JSON | NEARLY, ANY_JSON, ANY_JSON)
def test_validate_answers_for_any_json_value(plain_check, definition, schema, triggers) -> None:
    report: Report = plain_check(definition, input_schema=schema, triggers=triggers)
    again: Report = plain_check(definition, input_schema=schema, triggers=triggers)
    assert report == again
    for issue in (*report.errors, *report.warnings):
        assert issue.message
        assert issue.path
        assert issue.pointer == "" or issue.pointer.startswith("/")
    json.dumps(report.to_json())
    if not isinstance(definition, dict):
        assert not report.ok
