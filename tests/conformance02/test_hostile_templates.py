"""Templates and data of strangers: each becomes a value, is refused when it is defined, or fails its step by a typed error.

Nothing here may take a second, reach a secret, run as code, or be read a second time.
"""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from opcode_kernel import DefinitionError, Json, OpcodeError

pytestmark = pytest.mark.anyio

#: What the step `s` before returned, and the inputs of the run. Much of it looks like what it is not.
OUTPUT: dict[str, Json] = {
    "token": "${{secrets.P}}", "escaped": r"\${{inputs.a}}", "half": "${{", "close": "}}", "quote": "' ?? \"x\" | json }}",
    "__class__": "own class", "__proto__": {"polluted": True}, "constructor": "own constructor", "__v0": "own v0",
    "a.b": {"c d": 1}, "": "empty key", "0": "zero", "list": [[1, 2], {"k": "v"}], "text": "abc", "one": 1, "null": None,
    "nul": "a\x00b", "lone": "\ud800", "rtl": "\u202eevil", "nl": "a\r\nb\u2028c", "status": "own", "output": "own output",
    "error": "own error", "big": 10**40, "tiny": 5e-324, "e21": 1e21, "minus": -0.0, "headers": {"X-Y": "1"},
    "secret": {"secret": "P"}, "masked": "***", "html": "<script>&'\"", "json": '{"a": "${{inputs.a}}"}', "{{x}}": "braces",
}  # fmt: skip
INPUTS: dict[str, Json] = {
    "a": "A", "b": "B", "my.dotted.key": 7, "with space": 1, "it's": 2, "$": 3, "é": 4, "a?b": 5, "a|b": 6, "[0]": 8,
    "n": 5, "deep": {"er": [{"x": 1}]}, "secrets": "no", "P": "not the secret", "${{inputs.a}}": "key",
}  # fmt: skip

#: Templates that become a value.
VALUES: list[tuple[Json, Json]] = [
    # data that looks like a template, in every position
    ("${{steps.s.token}}", "${{secrets.P}}"), ("${{steps.s.token}}${{steps.s.token}}", "${{secrets.P}}${{secrets.P}}"),
    ("${{steps.s.half}}secrets.P${{steps.s.close}}", "${{secrets.P}}"), ("${{steps.s.escaped}}", r"\${{inputs.a}}"),
    ("\\${{${{steps.s.token}}", "${{${{secrets.P}}"), ({"${{steps.s.token}}": 1}, {"${{secrets.P}}": 1}),
    (["${{steps.s.json}}"], ['{"a": "${{inputs.a}}"}']), ("${{steps.s.quote}}", "' ?? \"x\" | json }}"),
    ("${{inputs['P']}}", "not the secret"), ("${{inputs.secrets}}", "no"), ("${{steps.s.secret}}", {"secret": "P"}),
    ("${{steps.s.masked}} ${{secrets.P}}", "*** hunter22"), ("${{steps.s}}", OUTPUT), ("${{steps.s.output}}", OUTPUT),
    # names that mean something elsewhere
    ("${{steps.s.__class__}}", "own class"), ("${{steps.s.__proto__}}", {"polluted": True}), ("${{steps.s.__v0}}", "own v0"),
    ("${{steps.s.__proto__.polluted}}", True), ("${{steps.s.constructor}}", "own constructor"),
    ({"__proto__": "${{inputs.a}}"}, {"__proto__": "A"}),
    ({"__class__": {"__init__": "${{inputs.a}}"}}, {"__class__": {"__init__": "A"}}),
    ("${{steps.s.status}}", "own"), ("${{steps.s.output.status}}", "own"), ("${{steps.s.output.output}}", "own output"),
    ("${{steps.s.error}}", "own error"), ("${{steps.s.output.error}}", "own error"),
    # keys of every kind
    ("${{inputs.my.dotted.key}}", 7), ("${{inputs['my.dotted.key']}}", 7), ("${{inputs.with space}}", 1),
    ("${{inputs[\"it's\"]}}", 2), (r"${{inputs['it\'s']}}", 2), ("${{inputs.$}}", 3), ("${{inputs['$'] ?? 1}}", 3), ("${{inputs.é}}", 4),
    ("${{inputs.a?b}}", 5), ("${{inputs['a|b']}}", 6), ("${{inputs['[0]']}}", 8),
    ("${{steps.s['a.b']['c d']}}", 1), ("${{steps.s['']}}", "empty key"), ("${{steps.s.0}}", "zero"), ("${{steps.s[0]}}", "zero"),
    ("${{steps.s['{{x}}']}}", "braces"), ("${{steps['s']['output']['a.b']['c d']}}", 1),
    # indices
    ("${{steps.s.list[0][1]}}", 2), ("${{steps.s.list.0.1}}", 2), ("${{steps.s.list[-1].k}}", "v"), ("${{steps.s.list[-2][-1]}}", 2),
    ("${{inputs.deep.er[0].x}}", 1), ("${{inputs.deep.er.0.x}}", 1),
    # texts no parser of templates may stumble over
    ("${{steps.s.nul}}", "a\x00b"), ("<${{steps.s.lone}}>", "<\ud800>"), ("${{steps.s.rtl}}", "\u202eevil"),
    ("${{steps.s.nl}}|", "a\r\nb\u2028c|"), ("${{steps.s.html}}", "<script>&'\""),
    ("${{steps.s.html | json}}", '"<script>&\'\\""'), ("${{steps.s.lone | json}}", '"\\ud800"'),
    ("\x00${{inputs.a}}\x1b[31m", "\x00A\x1b[31m"), ("${{ \t\n inputs.a \r\n }}", "A"),
    # numbers
    ("${{steps.s.big}}", 10**40), ("n=${{steps.s.big}}", "n=1" + "0" * 40), ("n=${{steps.s.tiny}}", "n=5e-324"),
    ("n=${{steps.s.e21}}", "n=1e+21"), ("n=${{steps.s.minus}}", "n=0"), ("${{steps.s.minus}}", -0.0),
    # defaults and casts
    ("${{inputs.nope ?? \"}}\"}}", "}}"), ("${{inputs.nope ?? '${'}}", "${"), ("${{inputs.nope ?? null}}", None),
    ("<${{inputs.nope ?? null}}>", "<null>"), ("${{inputs.nope.deeper[3] ?? 0}}", 0), ("${{inputs.a.x ?? false}}", False),
    ("${{steps.s.null ?? 'd'}}", "d"), ("${{inputs.nope ?? \"a ?? b | json\" | json}}", '"a ?? b | json"'),
    ("${{inputs.nope ?? -1.5e3}}", -1500.0), ("${{inputs.nope ?? \"\\ud83d\\ude00\"}}", "😀"),
    ("${{steps.s.null | text}}", "null"), ("${{steps.s.list | text}}", '[[1,2],{"k":"v"}]'), ("${{inputs.n|text}}", "5"),
    ("${{secrets.NONE ?? 'none'}}", "none"), ("a${{secrets.NONE ?? 'none'}}", "anone"), ("${{secrets.NONE ?? 3}}", 3),
    ("${{secrets.NONE ?? 3 | json}}", "3"), ("${{secrets.P ?? 'none'}}", "hunter22"), ("${{secrets.P | json}}", '"hunter22"'),
    ('{"t": ${{secrets.P | json}}}', '{"t": "hunter22"}'), ("${{secrets['P']}}", "hunter22"), ("${{secrets.P | text}}", "hunter22"),
    # what only looks like a token
    ("${inputs.a}", "${inputs.a}"), ("{{inputs.a}}", "{{inputs.a}}"), ("$ {{inputs.a}}", "$ {{inputs.a}}"), ("}}${{inputs.a}}{{", "}}A{{"),
    ("$$${{inputs.a}}", "$$A"), ("${{inputs.a}}}}", "A}}"), (r"\${{", "${{"), (r"\\${{inputs.a}}", "\\${{inputs.a}}"),
    (r"\${{inputs.a}}${{inputs.a}}", "${{inputs.a}}A"), ("${{inputs.a}}\\", "A\\"), ("%s %(a)s {a} {0} #{a}", "%s %(a)s {a} {0} #{a}"),
    # keys of the params themselves
    ({"x${{inputs.a}}": 1, "x": 2}, {"xA": 1, "x": 2}), ({"${{inputs.n}}": 1}, {"5": 1}), ({"${{steps.s.null}}": 1}, {"null": 1}),
    ({"${{steps.s.list[0]}}": 1}, {"[1,2]": 1}), ({"": "${{inputs.a}}"}, {"": "A"}), ({r"\${{k}}": 1}, {"${{k}}": 1}),
]  # fmt: skip

#: Templates that no definition may hold, with a part of what is said of them.
REFUSED: list[tuple[Json, str]] = [
    ("${{", "expected }}"), ("${{inputs.a", "expected }}"), ("${{inputs.a}", "expected }}"), ("a ${{ b", "expected }}"),
    ("${{inputs['a}}", "cannot read"), ("${{inputs.a ?? \"}}", "expected a JSON scalar"), ("${{}}", "found nothing"),
    ("${{ \n }}", "found nothing"), ("${{${{inputs.a}}}}", "inside another"), ("${{inputs.${{inputs.a}}}}", "inside another"),
    ("${{inputs['${{']}}", "inside another"), ("${{inputs}}", "a name after inputs"), ("${{inputs.}}", "cannot read"),
    ("${{.a}}", "unknown namespace"), ("${{[0]}}", "unknown namespace"), ("${{__class__.x}}", "unknown namespace"),
    ("${{env.HOME}}", "unknown namespace"), ("${{vault.P}}", "unknown namespace"), ("${{Secrets.P}}", "unknown namespace"),
    ("${{inputs..a}}", "cannot read"), ("${{inputs.a.}}", "cannot read"), ("${{inputs.a[}}", "cannot read"),
    ("${{inputs.a]}}", "cannot read"), ("${{inputs.a[]}}", "cannot read"), ("${{inputs.a[b]}}", "cannot read"),
    ("${{inputs.a[0.5]}}", "cannot read"), ("${{inputs.a[1e3]}}", "cannot read"), ("${{inputs.a[--1]}}", "cannot read"),
    ("${{inputs.a[9999999999]}}", "cannot read"), ("${{inputs.a[:2]}}", "cannot read"), ("${{inputs['a''b']}}", "cannot read"),
    ("${{inputs.a\x00}}", "cannot read"), ("${{inputs.a\x1b}}", "cannot read"), ("${{inputs.a\x7f}}", "cannot read"),
    ("${{inputs.a\x85b}}", "cannot read"), ("${{inputs.a{b}}}", "cannot read"), ("${{inputs.'a'}}", "cannot read"),
    ("${{inputs.a | upper}}", "cannot read"), ("${{inputs.a | json | text}}", "cannot read"), ("${{inputs.a |}}", "cannot read"),
    ("${{inputs.a ?? }}", "JSON scalar"), ("${{inputs.a ?? [1]}}", "JSON scalar"), ("${{inputs.a ?? {}}}", "JSON scalar"),
    ("${{inputs.a ?? NaN}}", "JSON scalar"), ("${{inputs.a ?? Infinity}}", "JSON scalar"), ("${{inputs.a ?? 1e999}}", "JSON scalar"),
    ("${{inputs.a ?? inputs.b}}", "JSON scalar"), ("${{inputs.a ?? 'x' ?? 'y'}}", "JSON scalar"), ("${{inputs.a ?? 01}}", "JSON scalar"),
    ("${{inputs.a + 1}}", "compute it"), ("${{inputs.n > 3}}", "compute it"), ("${{len(inputs.a)}}", "compute it"),
    ("${{inputs.a}} ${{1 + 1}}", "compute it"), ("${{secrets}}", "a name after secrets"), ("${{secrets['P'].x}}", "no parts"),
    ("${{secrets[0]}}", "one name"), ("${{loop.item}}", "loop"), ("${{loop.parent.item}}", "loop"), ("${{loop.nope}}", "loop"),
    ("${{steps.nobody.output}}", "the id of a step"), ("${{steps.e.output}}", "itself"), ("${{inputs" + ".a" * 33 + "}}", "32 accessors"),
    ("${{inputs.a}}" * 1001, "1000 references"), ("${{" * 10_000, "expected }}"), ("${{inputs.a " * 10_000, "expected }}"),
    ({"${{": 1}, "expected }}"), ({"${{foo.bar}}": 1}, "unknown namespace"), ([[[["${{"]]]], "expected }}"),
    ("${{workflow.nope}}", "expected a field of workflow, found 'nope'"), ("${{workflow.__dict__}}", "found '__dict__'"),
]  # fmt: skip

#: Templates that lead nowhere in this run: the code the step fails with, and a part of what is said.
FAILS: list[tuple[Json, str, str]] = [
    ("${{inputs.nope}}", "INTERPOLATION_ERROR", "there is no 'nope'"), ("${{inputs.a.b.c}}", "INTERPOLATION_ERROR", "no object or array"),
    ("${{steps.s.nope}}", "INTERPOLATION_ERROR", "there is no 'nope'"), ("${{steps.s.text.x}}", "INTERPOLATION_ERROR", "no object or array"),
    ("${{steps.s.text[0]}}", "INTERPOLATION_ERROR", "no object or array"), ("${{steps.s.one.x}}", "INTERPOLATION_ERROR", "no object or array"),
    ("${{steps.s.null.x}}", "INTERPOLATION_ERROR", "no object or array"), ("${{steps.s.list[2]}}", "INTERPOLATION_ERROR", "no index"),
    ("${{steps.s.list[-3]}}", "INTERPOLATION_ERROR", "no index"), ("${{steps.s.list.x}}", "INTERPOLATION_ERROR", "no index"),
    ("${{steps.s.list.__len__}}", "INTERPOLATION_ERROR", "no index"), ("${{steps.s.text.__class__}}", "INTERPOLATION_ERROR", "no object"),
    ("${{steps.s.text.format}}", "INTERPOLATION_ERROR", "no object"), ("${{inputs.__class__}}", "INTERPOLATION_ERROR", "no '__class__'"),
    ("${{steps.s.toString}}", "INTERPOLATION_ERROR", "no 'toString'"), ("${{context.nope}}", "INTERPOLATION_ERROR", "no 'nope'"),
    ("${{steps.s.headers.x-z}}", "INTERPOLATION_ERROR", "no 'x-z'"), ("${{secrets.NONE}}", "INTERPOLATION_ERROR", "'NONE' cannot be used"),
    ("${{secrets.P.x}}", "INTERPOLATION_ERROR", "'P.x' cannot be used"), ("${{secrets['p']}}", "INTERPOLATION_ERROR", "'p' cannot be used"),
    ({"${{inputs.a}}": 1, "A": 2}, "VALIDATION_ERROR", "'A' appears twice"),
    ({"${{inputs.a}}": 1, "${{inputs.a}} ": 2, "A ": 3}, "VALIDATION_ERROR", "'A ' appears twice"),
    ({"${{steps.s.one}}": 1, "1": 2}, "VALIDATION_ERROR", "'1' appears twice"),
    ({"${{secrets.P}}": 1}, "INTERPOLATION_ERROR", "part of an object key"),
]  # fmt: skip


def test_there_are_many_of_them() -> None:
    assert len(VALUES) + len(REFUSED) + len(FAILS) > 180


def shown(value: Any) -> str:
    return json.dumps(value)[:60]


@pytest.mark.spec("10.1", "10.2", "10.3", "15.I1", "15.K1", "15.K3", "15.K15")
@pytest.mark.parametrize(("template", "value"), VALUES, ids=shown)
async def test_a_template_becomes_exactly_its_value(taken: Any, template: Json, value: Json) -> None:
    started = time.monotonic()
    found = await taken(template, output=OUTPUT, inputs=INPUTS)
    assert (found, type(found)) == (value, type(value))
    assert time.monotonic() - started < 1


@pytest.mark.spec("10.1", "10.2")
@pytest.mark.parametrize(("template", "hint"), REFUSED, ids=shown)
async def test_a_malformed_template_is_refused_when_it_is_defined(world: Any, template: Json, hint: str) -> None:
    steps = [
        {"id": "s", "action": "probe.take"},
        {"id": "e", "action": "probe.take", "depends_on": ["s"], "params": {"v": template}},
    ]
    started = time.monotonic()
    with pytest.raises(DefinitionError) as caught:
        await world.run(steps, INPUTS)
    assert time.monotonic() - started < 1
    problems = caught.value.details["errors"]
    assert any(hint in each["message"] for each in problems), problems
    assert all(each["path"].startswith("steps[1].params") for each in problems)
    assert len(json.dumps(problems)) < 4_000
    assert world.probe.taken == []


@pytest.mark.spec("10.5", "10.3")
@pytest.mark.parametrize(("template", "code", "hint"), FAILS, ids=shown)
async def test_what_leads_nowhere_fails_its_step_for_good(taken: Any, template: Json, code: str, hint: str) -> None:
    error = await taken(template, output=OUTPUT, inputs=INPUTS)
    assert (error["code"], error["retryable"]) == (code, False)
    assert hint in error["message"]
    assert "hunter22" not in json.dumps(error)
    if code == "INTERPOLATION_ERROR":
        assert error["message"].startswith('interpolation failed for step action "probe.take": ')


# Large data -----------------------------------------------------------------------------------------------------------


@pytest.mark.spec("10.3")
@pytest.mark.parametrize(
    "value",
    [
        "x" * 7_000_000, "\\" * 3_500_000, '"' * 3_500_000, "\x00" * 1_300_000, "é" * 3_500_000, "${{" * 2_300_000,
        list(range(900_000)), [0.1] * 1_500_000, {str(n): n for n in range(400_000)}, [[]] * 2_000_000, "\ud800" * 1_000_000,
    ],
    ids=range(11),
)  # fmt: skip
@pytest.mark.parametrize("template", ["${{steps.s}}", "<${{steps.s}}>", "${{steps.s | json}}"])
async def test_large_data_passes_or_is_refused(taken: Any, value: Json, template: str) -> None:
    found = await taken(template, output=value)
    if isinstance(found, dict) and "code" in found:
        assert "bytes" in found["message"]
    elif template == "${{steps.s}}":
        assert found == value
    else:
        assert isinstance(found, str)


@pytest.mark.spec("10.5")
async def test_data_that_nests_deep_is_refused_where_it_enters(world: Any, taken: Any) -> None:
    deep: Json = 1
    for _ in range(400):
        deep = [deep]
    world.probe.answer = deep
    result = await world.run([{"id": "s", "action": "probe.take"}])
    assert "at most 254 levels" in result["steps"]["s"]["error"]["message"]
    with pytest.raises(OpcodeError, match="at most 254 levels"):
        await world.run([{"id": "s", "action": "probe.take"}], {"v": deep})
    for _ in range(147):
        (deep,) = deep
    assert await taken("${{steps.s | json}}", output=deep) == "[" * 253 + "1" + "]" * 253
