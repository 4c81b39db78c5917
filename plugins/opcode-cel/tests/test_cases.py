"""The language by topic: expression, inputs, and what comes of it. Every case holds for each engine and for the choice.

Inputs of None stand for `COMMON`. What comes of it is a value, `INVALID` (it does not compile), `FAILS` (an error at run
time that is no missing key), or `lacks(key)` (an error because this key is not there).
"""

import json

import pytest

from opcode_cel.evaluator import CelEvaluator
from opcode_kernel import ExpressionError

COMMON = {
    "n": 5, "two": 2, "half": 2.5, "neg": -7, "zero": 0, "on": True, "off": False, "nil": None, "text": "héllo",
    "empty": "",
    "tags": ["x1", "y"], "list": [1, 2.0, "a", None, True], "none": [], "nested": [[1, 2], [3]],
    "map": {"k": 1, "in": 2, "a b": 3},
    "rows": [{"id": 1, "on": True, "name": "ada"}, {"id": 2, "on": False, "name": "bob"}, {"id": 3, "on": True}],
    "big": 2**60 + 1, "id": 1048576, "long": "x" * 1000, "deep": {"a": {"b": {"c": [{"d": 1}]}}},
}  # fmt: skip
SCOPE = {
    "steps": {
        "a-b": {"ok": True, "output": {"ok": True}, "status": "completed"},
        "fetch": {"status_code": 200, "body": {"items": [{"id": 1}, {"id": 2}], "item-list": ["p", "q"]}, "headers": {"X-Y": "z"}},
        "gate.true.ask": {"choice": "go", "output": {"choice": "go"}}, "skipped": {"status": "skipped"},
    },
    "workflow": {"run_id": "r-1", "name": "demo", "template_name": None, "template_version": 3, "agent_id": "x", "parent_id": None},
    "context": {"intent": "ship it", "agent_id": "x", "notes": {"a": 1}},
    "iter": {"item": {"id": 7}, "index": 3, "parent": {"item": "p", "index": 1}},
}  # fmt: skip


class Outcome:
    """An error instead of a value."""

    def __init__(self, code, missing=None):
        self.code, self.missing = code, missing

    def __repr__(self):
        return f"lacks {self.missing}" if self.missing else self.code


INVALID, FAILS = Outcome("VALIDATION_ERROR"), Outcome("EXECUTION_ERROR")


def lacks(key):
    return Outcome("EXECUTION_ERROR", key)


CASES = {
    "vectors of the specification": [
        ("inputs.n > 3 && steps['a-b'].ok", {"n": 5}, True), ("inputs.n > 3 && steps['a-b'].ok", {"n": 2}, False),
        ("inputs.n + 1", {"n": 5}, 6), ("inputs.n / 2", {"n": 5}, 2.5),
        ("inputs.a / inputs.b", {"a": 7, "b": 2}, 3.5), ("inputs.missing", {}, lacks("missing")),
        ("has(inputs.missing)", {}, False), ("inputs.missing || true", {}, True), ("loop.item", {}, INVALID),
        ("steps.a-b.x", {}, INVALID), ('"5" == 5', {}, INVALID),
        ("inputs.tags.exists(t, t.startsWith('x'))", {"tags": ["a", "xb"]}, True),
        ("inputs.tags.exists(t, t.startsWith('x'))", {"tags": ["a"]}, False), ('["a","b"]', {}, ["a", "b"]),
        ("inputs.n == 5", {"n": 5}, True), ("1 in inputs.list", {"list": [1, 2]}, True), ("iter.index < 5", {}, True),
        ("steps.fetch-data", {}, INVALID), ("steps['fetch-data']", {}, lacks("fetch-data")),
        ("steps['gate.true.ask'].choice == 'go'", {}, True),
        ("steps['gate.false.ask'].choice == 'go'", {}, lacks("gate.false.ask")),
    ],
    "literals": [
        ("0", {}, 0), ("-1", {}, -1), ("007", {}, 7), ("0x1F", {}, 31), ("0XfF", {}, INVALID), ("-0x10", {}, -16),
        ("3u", {}, 3), ("3U", {}, 3), ("0xFFu", {}, 255), ("9223372036854775807", {}, 2**63 - 1),
        ("-9223372036854775808", {}, -(2**63)), ("9223372036854775808", {}, INVALID),
        ("18446744073709551615u", {}, 2**64 - 1), ("18446744073709551616u", {}, INVALID), ("1.5", {}, 1.5),
        (".5", {}, 0.5), ("1e3", {}, 1000), ("1E-2", {}, 0.01), ("2.5e+1", {}, 25), ("1.", {}, INVALID),
        ("1e", {}, INVALID), ("-1u", {}, INVALID), ("1.5u", {}, INVALID), ("true", {}, True), ("false", {}, False),
        ("null", {}, None), ("True", {}, INVALID), ("nil", {}, INVALID), ("[]", {}, []), ("{}", {}, {}),
        ("[1, 2,]", {}, [1, 2]), ("[,]", {}, []), ("{,}", {}, {}), ("[,,]", {}, INVALID), ("[,1]", {}, INVALID),
        ("{'a': 1,}", {}, {"a": 1}), ("{'a': [1, {'b': null}]}", {}, {"a": [1, {"b": None}]}),
        ("{1: 'x', true: 'y', 2u: 'z'}", {}, {"1": "x", "true": "y", "2": "z"}), ("{'a': 1, 'a': 2}", {}, FAILS),
        ("{1: 1, 1u: 2}", {}, FAILS), ("{1.5: 1}", {}, FAILS), ("{null: 1}", {}, FAILS),
        ("{inputs.n: 1}", None, FAILS), ("{1: 1, '1': 2}", {}, FAILS), ("{a: 1}", {}, INVALID),
        ("{inputs.text: inputs.n}", None, {"héllo": 5}), ("Thing{a: 1}", {}, INVALID),
        ("google.protobuf.Int64Value{value: 1}", {}, INVALID),
    ],
    "texts and escapes": [
        ('"open', {}, INVALID), ("'''open''", {}, INVALID), (r"'\n\u00e9' == 'né'", {}, False),
        ("'string(1)'", {}, "string(1)"), ("'inputs.n' + inputs.text", None, "inputs.nhéllo"), ("'a'", {}, "a"),
        ('"it\'s"', {}, "it's"), (r"'it\'s'", {}, "it's"), ("'''a\n'b''' + \"\"\"c\"\"\"", {}, "a\n'bc"),
        ("r'\\n'", {}, "\\n"), ("R\"\\d\"", {}, "\\d"), (r"'\a\b\f\n\r\t\v\\\?\"\`'", {}, "\a\b\f\n\r\t\v\\?\"`"),
        (r"'\x41\X42\u00e9\U0001F600\101'", {}, "AB\u00e9😀A"), (r"'\q'", {}, INVALID), (r"'\ud800'", {}, INVALID),
        (r"'\U00110000'", {}, INVALID), (r"'\x4'", {}, INVALID), (r"'\400'", {}, INVALID), ("'open", {}, INVALID),
        ("'a\nb'", {}, INVALID), ("'a' 'b'", {}, INVALID), ("'é😀'.size()", {}, 2), ("''", {}, ""),
        ("'${{x}}'", {}, "${{x}}"), ("b'a'", {}, "YQ=="), (r"b'\xff\101'", {}, "/0E="), ("b'é'", {}, "w6k="),
        (r"b'\u00e9'", {}, INVALID), ("br'\\n'", {}, "XG4="), (r"'a\x00b'", {}, "a\0b"),
        ("'// no comment'", {}, "// no comment"),
    ],
    "integers": [
        ("-9223372036854775807 - 2", {}, FAILS), ("7 / 2", {}, 3), ("-7 / 2", {}, -3), ("7 % 3", {}, 1),
        ("-7 % 3", {}, -1), ("7 % -3", {}, 1), ("1 + 2 * 3", {}, 7), ("(1 + 2) * 3", {}, 9), ("10 - 4 - 3", {}, 3),
        ("100 / 10 / 5", {}, 2), ("1 / 0", {}, FAILS), ("1 % 0", {}, FAILS), ("1u / 0u", {}, FAILS),
        ("1u % 0u", {}, FAILS), ("9223372036854775807 + 1", {}, FAILS), ("-9223372036854775808 - 1", {}, FAILS),
        ("9223372036854775807 * 2", {}, FAILS), ("-9223372036854775808 / -1", {}, FAILS),
        ("-(-9223372036854775808)", {}, FAILS), ("1u - 2u", {}, FAILS), ("18446744073709551615u + 1u", {}, FAILS),
        ("2u * 3u", {}, 6), ("1 + 1u", {}, INVALID), ("dyn(1) + dyn(1u)", {}, FAILS), ("-(3u)", {}, INVALID),
        ("1--1", {}, 2), ("1 -1", {}, 0), ("- -1", {}, 1),
    ],
    "numbers of the data": [
        ("inputs.n + 1 == 'a'", None, False), ("inputs.on < 1", None, FAILS), ("0.0 / 0.0", {}, FAILS),
        ("1 + inputs.n", None, 6), ("inputs.n - 1", None, 4), ("2 * inputs.n", None, 10), ("inputs.n % 2", None, 1),
        ("inputs.neg % 3", None, -1), ("inputs.n % inputs.two", None, 1), ("inputs.n + 1u", None, 6),
        ("1 + 1.5", {}, 2.5), ("7 / 2.0", {}, 3.5), ("inputs.half * 2", None, 5), ("inputs.half % 2", None, FAILS),
        ("inputs.n / 0", None, FAILS), ("inputs.n % 0", None, FAILS), ("inputs.n % inputs.zero", None, FAILS),
        ("1 / inputs.zero", None, FAILS), ("inputs.n / inputs.zero", None, FAILS), ("1.0 / 0.0", {}, FAILS),
        ("1.0 / 0.0 > 1.0", {}, True), ("0.0 / 0.0 == 0.0 / 0.0", {}, False), ("-inputs.n", None, -5),
        ("inputs.n + inputs.text", None, FAILS), ("inputs.n + 'a'", None, FAILS),
        ("inputs.n + inputs.nil", None, FAILS), ("inputs.big", None, 2**60 + 1),
        ("inputs.big == 1152921504606846977", None, True), ("inputs.big == 1152921504606846976", None, False),
        ("inputs.big + 1", None, 2**60 + 2), ("inputs.big * 16", None, FAILS), ("inputs.x", {"x": 2**53}, 2**53),
        ("inputs.x + 1", {"x": 2**53 - 1}, 2**53), ("type(inputs.x) == int", {"x": 2**53 + 1}, True),
        ("type(inputs.x) == double", {"x": 2**53 - 1}, True), ("type(inputs.x) == int", {"x": 2**53}, True),
        ("inputs.x > 1e18", {"x": 2**63}, True), ("inputs.x > 1e308", {"x": 10**400}, True),
        ("inputs.x", {"x": 10**400}, FAILS), ("inputs.x", {"x": -0.0}, 0), ("inputs.x", {"x": 1e-7}, 1e-7),
        ("inputs.x", {"x": 1e300}, 1e300), ("inputs.a + inputs.b == 0.3", {"a": 0.1, "b": 0.2}, False),
        ("size(inputs.list) + inputs.n", None, 10), ("iter.index + 1", {}, 4), ("iter.index / 2", {}, 1),
        ("iter.index * inputs.half", None, 7.5), ("iter.parent.index - 1", {}, 0), ("inputs.on + 1", None, FAILS),
    ],
    "comparison": [
        ("inputs.n == 5.0", None, True), ("inputs.n != 5", None, False), ("inputs.n > 2.5", None, True),
        ("inputs.half < 3", None, True), ("3u < 4", {}, True), ("1 == 1.0", {}, INVALID), ("1 < 1.5", {}, True),
        ("2u >= 2.0", {}, True), ("inputs.n == 'a'", None, False), ("inputs.on == 1", None, False),
        ("inputs.nil == 0", None, False), ("inputs.nil == null", None, True), ("inputs.text == null", None, False),
        ("inputs.nil == false", None, False), ("dyn(true) == 1", {}, False), ("dyn('1') == 1", {}, False),
        ("'a' < 'b'", {}, True), ("'Z' < 'a'", {}, True), ("'é' > 'z'", {}, True), ("false < true", {}, True),
        ("b'a' < b'b'", {}, True), ("inputs.text < 1", None, FAILS), ("inputs.nil < 1", None, FAILS),
        ("inputs.list < inputs.list", None, FAILS), ("'a' < 1", {}, INVALID), ("1 == 'a'", {}, INVALID),
        ("[1] == [1.0]", {}, INVALID), ("[1] == ['a']", {}, INVALID), ("null == 1", {}, INVALID),
        ("inputs.list == [1.0, 2, 'a', null, true]", None, True), ("inputs.tags == ['x1', 'y']", None, True),
        ("inputs.tags == ['y', 'x1']", None, False), ("inputs.map == {'in': 2, 'k': 1, 'a b': 3}", None, True),
        ("inputs.map == {'k': 1}", None, False), ("[] == []", {}, True), ("{} == {}", {}, True),
        ("inputs.nested == [[1, 2], [3]]", None, True), ("inputs.nested == [[1, 2], [4]]", None, False),
        ("inputs.none == {}", None, False), ("9007199254740993 == dyn(9007199254740992.0)", {}, True),
        ("inputs.x == 9007199254740993", {"x": 2**53}, False), ("inputs.x < 9007199254740993", {"x": 2**53}, True),
        ("inputs.x == 9007199254740993", {"x": 2**53 + 1}, True), ("1 == 1 == true", {}, True),
        ("1 < 2 < 3", {}, INVALID),
    ],
    "logic": [
        ("-'a'", {}, INVALID), ("-inputs.text", None, FAILS), ("true.x", {}, INVALID), ("true && false", {}, False),
        ("true || false", {}, True), ("!true", {}, False), ("!!true", {}, True), ("!inputs.on", None, False),
        ("!inputs.n", None, FAILS), ("!1", {}, INVALID), ("-!true", {}, INVALID),
        ("inputs.missing && false", {}, False), ("false && inputs.missing", {}, False),
        ("true || inputs.missing", {}, True), ("inputs.missing || false", {}, lacks("missing")),
        ("true && inputs.missing", {}, lacks("missing")), ("inputs.missing && true", {}, lacks("missing")),
        ("inputs.a || inputs.b", {}, lacks("a")), ("inputs.n && false", None, False),
        ("inputs.n || true", None, True), ("inputs.n && true", None, FAILS),
        ("inputs.n || inputs.gone", None, lacks("gone")), ("1 / 0 > 1 || true", {}, True), ("1 && true", {}, INVALID),
        ("true && false || true", {}, True), ("true || true && false", {}, True), ("!(true && false)", {}, True),
        ("inputs.on ? 'y' : 'n'", None, "y"), ("inputs.off ? 1 : inputs.off ? 2 : 3", None, 3),
        ("true ? 1 : inputs.missing", {}, 1), ("false ? inputs.missing : 2", {}, 2),
        ("inputs.n ? 1 : 2", None, FAILS), ("1 ? 2 : 3", {}, INVALID), ("true ? 1 : 'a'", {}, INVALID),
        ("true ? 1 : dyn('a')", {}, 1), ("inputs.missing ? 1 : 2", {}, lacks("missing")),
        ("true ? null : inputs.n", None, None), ("inputs.a.b || has(inputs.a)", {}, lacks("a")),
        ("has(inputs.a) && inputs.a.b == 1", {}, False), ("inputs.on and inputs.off", None, INVALID),
        ("not inputs.on", None, INVALID),
    ],
    "presence": [
        ("inputs.gone.deeper", {}, lacks("gone")), ("steps.fetch.nope > 3", {}, lacks("nope")),
        ("has(inputs.a.b)", {}, lacks("a")), ("'intent' in context", {}, True), ("has(inputs.nil)", None, True),
        ("has(inputs.n)", None, True), ("has(inputs.map.k)", None, True), ("has(inputs.map.z)", None, False),
        ("has(inputs.z.k)", None, lacks("z")), ("has(inputs.text.k)", None, FAILS),
        ("has(inputs.deep.a.b)", None, True), ("has(inputs)", {}, INVALID), ("has(inputs['a'])", {}, INVALID),
        ("has()", {}, INVALID), ("has(inputs.a, inputs.b)", {}, INVALID), ("has({'a': 1}.a)", {}, True),
        ("has((inputs.n))", None, True), ("'n' in inputs", None, True), ("'gone' in inputs", None, False),
        ("has(steps.fetch) && !has(steps.gone)", {}, True), ("inputs.nil.k", None, FAILS),
        ("inputs.deep.a.x.y", None, lacks("x")), ("inputs['a\"b']", {}, lacks('a"b')),
        (r"inputs['a\\b\'\u00e9\n']", {}, lacks("a\\b'é\n")), ("inputs['']", {}, lacks("")),
        ("[inputs.gone]", {}, lacks("gone")), ("{'a': inputs.gone}", {}, lacks("gone")),
        ("inputs.tags.map(t, inputs.map[t])", None, lacks("x1")), ("size(inputs.gone)", {}, lacks("gone")),
        ("steps.skipped.status == 'skipped'", {}, True), ("steps.skipped.output", {}, lacks("output")),
        ("string(inputs.gone)", {}, lacks("gone")), ("inputs.gone + 1", {}, lacks("gone")),
        ("-inputs.gone", {}, lacks("gone")), ("inputs.gone in [1]", {}, lacks("gone")),
    ],
    "members": [
        ("[1].map(x, x)[1.5]", {}, INVALID), ("inputs.text.k", None, FAILS), ("inputs.map.`in`", None, 2),
        ("steps.fetch.body.items[0].id", {}, 1), ("steps.fetch.body.items.filter(i, i.id > 1).map(i, i.id)", {}, [2]),
        ("{1: 'x', true: 'y'}[1]", {}, "x"), ("inputs.list[0]", None, 1), ("inputs.list[inputs.two]", None, "a"),
        ("inputs.list[inputs.n % 2]", None, 2), ("inputs.list[iter.index]", None, None),
        ("inputs.list[9]", None, FAILS), ("inputs.list[-1]", None, FAILS), ("inputs.list[0.5]", None, FAILS),
        ("inputs.list['a']", None, FAILS), ("[1, 2][5]", {}, FAILS), ("[1, 2]['a']", {}, INVALID),
        ("[1][0.0]", {}, INVALID), ("inputs.map['k']", None, 1), ("inputs.map['a b']", None, 3),
        ("inputs.map.`a b`", None, 3), ("inputs.map.in", None, INVALID), ("inputs.map['in']", None, 2),
        ("inputs.map[1]", None, FAILS), ("inputs[1]", {}, INVALID), ("{1: 'x'}[1]", {}, "x"),
        ("{1: 'x'}[inputs.one]", {"one": 1}, "x"), ("{1: 'x'}[dyn(1u)]", {}, "x"), ("{true: 'y'}[dyn(1)]", {}, FAILS),
        ("{'a': 1}.a", {}, 1), ("{'a': 1}.b", {}, lacks("b")), ("'abc'[0]", {}, INVALID),
        ("inputs.text[0]", None, FAILS), ("inputs.n.x", None, FAILS),
        ("steps.fetch.body['item-list'].map(x, x + '!')", {}, ["p!", "q!"]),
        ("steps.fetch['body']['items'].exists(i, i.id == 2)", {}, True), ("steps.fetch.headers['X-Y']", {}, "z"),
        ("inputs.deep['a'].b['c'][0].d", None, 1), ("inputs.nested[0][1]", None, 2), ("[1, 2, 3][1]", {}, 2),
        ("[[1], [2]][1][0]", {}, 2), ("inputs . n", None, 5), (".inputs.n", None, 5), ("inputs.?n", None, INVALID),
        ("inputs[?'n']", None, INVALID), ("(inputs).n", None, 5),
    ],
    "membership": [
        ("2 in inputs.list", None, True), ("2.0 in inputs.list", None, True), ("5 in inputs.list", None, False),
        ("'a' in inputs.list", None, True), ("null in inputs.list", None, True), ("inputs.n in [5, 6]", None, True),
        ("inputs.text in ['héllo']", None, True), ("'k' in inputs.map", None, True),
        ("'z' in inputs.map", None, False), ("1 in {1: 2}", {}, True), ("inputs.n in {5: 1}", None, True),
        ("inputs.list in inputs.map", None, FAILS), ("1 in 'abc'", {}, INVALID), ("'a' in 'abc'", {}, INVALID),
        ("inputs.text in inputs.text", None, FAILS), ("1 in ['a']", {}, INVALID), ("inputs.n in ['a']", None, False),
        ("[1] in [[1], [2]]", {}, True), ("!('a' in inputs)", {}, True),
    ],
    "macros": [
        ("inputs.tags.all(t, size(t) > 0)", None, True), ("inputs.none.all(t, false)", None, True),
        ("inputs.none.exists(t, true)", None, False), ("inputs.list.exists(x, x > 0)", None, True),
        ("inputs.list.all(x, x > 0)", None, FAILS), ("inputs.list.all(x, x == 1)", None, False),
        ("inputs.list.exists_one(x, x == 2)", None, True), ("[1, 1].exists_one(x, x == 1)", {}, False),
        ("inputs.list.exists_one(x, x > 1)", None, FAILS), ("inputs.tags.filter(t, t.contains('1'))", None, ["x1"]),
        ("inputs.tags.map(t, t + '!')", None, ["x1!", "y!"]), ("inputs.tags.map(t, t == 'y', size(t))", None, [1]),
        ("inputs.rows.filter(r, r.on).map(r, r.id)", None, [1, 3]),
        ("inputs.rows.map(r, has(r.name), r.name)", None, ["ada", "bob"]),
        ("inputs.rows.all(r, r.name != '')", None, lacks("name")),
        ("inputs.rows.exists(r, r.name == 'bob')", None, True), ("inputs.map.exists(k, k == 'in')", None, True),
        ("inputs.map.map(k, k)", None, ["k", "in", "a b"]), ("inputs.map.map(k, inputs.map[k])", None, [1, 2, 3]),
        ("inputs.map.filter(k, inputs.map[k] > 1)", None, ["in", "a b"]),
        ("{true: 1, 'a': 2}.exists(k, k == true)", {}, True), ("inputs.list.filter(x, x)", None, FAILS),
        ("inputs.n.map(x, x)", None, FAILS), ("inputs.text.exists(c, true)", None, FAILS),
        ("'abc'.map(c, c)", {}, INVALID), ("1.all(x, true)", {}, INVALID),
        ("inputs.tags.all(1, true)", None, INVALID), ("inputs.tags.all(t.x, true)", None, INVALID),
        ("inputs.tags.exists(t, u)", None, INVALID), ("inputs.tags.all(t)", None, INVALID),
        ("inputs.tags.map(t, t, t, t)", None, INVALID), ("[1].map(__result__, 1)", {}, INVALID),
        ("inputs.tags.map(t, inputs.tags.map(u, t + u))", None, [["x1x1", "x1y"], ["yx1", "yy"]]),
        ("inputs.tags.map(inputs, inputs)", None, ["x1", "y"]), ("inputs.tags.map(inputs, .inputs.n)", None, [5, 5]),
        ("[1].map(x, [2].map(x, x))", {}, [[2]]), ("[1, 2].map(x, [x].map(y, x + y)[0])", {}, [2, 4]),
        ("[1].map(x, 1) == [1] && [x] == []", {}, INVALID),
        ("inputs.nested.map(l, l.map(x, x * 2))", None, [[2, 4], [6]]),
        ("inputs.nested.all(l, l.all(x, x > 0))", None, True), ("[1, 2, 3].filter(x, x > 1).size()", {}, 2),
        ("[].map(x, x + 1)", {}, []), ("[1, 'a'].map(x, type(x))", {}, ["int", "string"]),
        ("[1].map(as, as)", {}, INVALID),
        ("inputs.list.map(x, x == null ? 'none' : 'some')", None, ["some", "some", "some", "none", "some"]),
        ("[1, 2].all(x, x > 0 || inputs.gone)", {}, True), ("[0, 1].exists(x, 1 / x == 1)", {}, True),
        ("[1].transformList(i, v, v)", {}, INVALID), ("inputs.tags.all(i, v, true)", None, INVALID),
        ("inputs.tags.any(t, true)", None, INVALID),
    ],
    "text functions": [
        ("size(inputs.text)", None, 5), ("inputs.text.size()", None, 5), ("inputs.empty.size()", None, 0),
        ("size(inputs.map)", None, 3), ("size(inputs.list)", None, 5), ("size(b'abc')", {}, 3),
        ("size(inputs.n)", None, FAILS), ("size(1)", {}, INVALID), ("size()", {}, INVALID),
        ("inputs.text.contains('éll')", None, True), ("inputs.text.contains('')", None, True),
        ("inputs.text.startsWith('hé')", None, True), ("inputs.text.endsWith('llo')", None, True),
        ("inputs.text.startsWith(inputs.n)", None, FAILS), ("'a'.contains(1)", {}, INVALID),
        ("inputs.n.contains('a')", None, FAILS), ("contains('ab', 'a')", {}, INVALID),
        ("'a' + 'b' + inputs.text", None, "abhéllo"), ("'a' + 1", {}, INVALID), ("inputs.text + 1", None, FAILS),
        ("'a'.upperAscii()", {}, INVALID), ("'a,b'.split(',')", {}, INVALID), ("'a'.charAt(0)", {}, INVALID),
        ("[1] + [2]", {}, [1, 2]), ("inputs.tags + ['z']", None, ["x1", "y", "z"]), ("[1] + ['a']", {}, INVALID),
        ("[1] + dyn(['a'])", {}, [1, "a"]), ("b'a' + b'b'", {}, "YWI="), ("{'a': 1} + {'b': 2}", {}, INVALID),
        ("'ab' * 2", {}, INVALID), ("'ab' - 'b'", {}, INVALID),
    ],
    "patterns": [
        ("inputs.text.matches('é.l')", None, True), ("inputs.text.matches('^l')", None, False),
        ("inputs.text.matches('o$')", None, True), ("matches('abc', 'b')", {}, True), ("'abc'.matches('')", {}, True),
        ("'AB'.matches('(?i)ab')", {}, True), (r"'a1'.matches(r'^[a-z]\d$')", {}, True),
        ("'a\nb'.matches('a.b')", {}, INVALID), (r"'a\nb'.matches('a.b')", {}, False),
        (r"'a\nb'.matches('(?s)a.b')", {}, True), (r"'é'.matches(r'^\pL$')", {}, True),
        ("'aaa'.matches('(')", {}, FAILS), ("'a'.matches('(?=a)')", {}, FAILS),
        (r"'aa'.matches(r'(a)\1')", {}, FAILS), ("'a'.matches(1)", {}, INVALID),
        ("inputs.n.matches('5')", None, FAILS), ("inputs.tags.filter(t, t.matches('[0-9]'))", None, ["x1"]),
        ("matches(inputs.text)", None, INVALID),
    ],
    "conversions": [
        ("int(2.9)", {}, 2), ("int(-2.9)", {}, -2), ("int('-12')", {}, -12), ("int('+5')", {}, 5),
        ("int(' 5')", {}, FAILS), ("int('5.0')", {}, FAILS), ("int('')", {}, FAILS), ("int('x')", {}, FAILS),
        ("int(1e30)", {}, FAILS), ("int('9223372036854775808')", {}, FAILS), ("int(3u)", {}, 3),
        ("int(true)", {}, INVALID), ("int(inputs.n)", None, 5), ("int(inputs.half) + 1", None, 3),
        ("int(inputs.nil)", None, FAILS), ("int(0.0 / 0.0)", {}, FAILS), ("uint(3)", {}, 3), ("uint('7')", {}, 7),
        ("uint(-1)", {}, FAILS), ("uint('-1')", {}, FAILS), ("uint(inputs.neg)", None, FAILS),
        ("uint(1e20)", {}, FAILS), ("double('1.5')", {}, 1.5), ("double('1e3')", {}, 1000),
        ("double(' 1')", {}, FAILS), ("double('1_0')", {}, FAILS), ("double('x')", {}, FAILS),
        ("double('1e999')", {}, FAILS), ("double(3u) / 2.0", {}, 1.5), ("double('inf') > 1.0", {}, True),
        ("bool('true')", {}, True), ("bool('0')", {}, False), ("bool('yes')", {}, FAILS), ("bool(1)", {}, INVALID),
        ("bool(inputs.n)", None, FAILS), ("string(inputs.id)", None, "1048576"), ("string(0.00001)", {}, "0.00001"),
        ("string(1e21)", {}, "1e+21"), ("string(true)", {}, "true"), ("string(3u)", {}, "3"),
        ("string(iter.index) + 'x'", {}, "3x"), ("string(b'a')", {}, "a"), (r"string(b'\xff')", {}, FAILS),
        ("string('a')", {}, "a"), ("string(null)", {}, FAILS), ("string(inputs.nil)", None, FAILS),
        ("string(inputs)", {}, INVALID), ("string(inputs.map)", None, FAILS),
        ("'n=' + string(inputs.half)", None, "n=2.5"), ("bytes('é')", {}, "w6k="), ("bytes(b'a')", {}, "YQ=="),
        ("bytes(1)", {}, INVALID), ("dyn(1) == 'a'", {}, False), ("type(1)", {}, "int"),
        ("type(inputs.n) == double", None, True), ("type(iter.index) == int", {}, True),
        ("type('a') == string", {}, True), ("type(null)", {}, "null_type"), ("type([])", {}, "list"),
        ("type({}) == map", {}, True), ("type(type(1))", {}, "type"), ("type(1) == type(1.0)", {}, False),
        ("type(b'')", {}, "bytes"), ("type(1u)", {}, "uint"), ("type(inputs.on) == bool", None, True),
        ("int == int", {}, True), ("[int, string]", {}, ["int", "string"]),
        ("type(timestamp(0)) == google.protobuf.Timestamp", {}, True), ("google.protobuf.Any", {}, INVALID),
    ],
    "time": [
        ("timestamp('2020-01-05T10:20:30.5Z')", {}, "2020-01-05T10:20:30.5Z"),
        ("timestamp(0)", {}, "1970-01-01T00:00:00Z"),
        ("timestamp('2020-01-05T12:00:00+02:00')", {}, "2020-01-05T10:00:00Z"),
        ("timestamp('0001-01-01T00:00:00Z')", {}, "0001-01-01T00:00:00Z"), ("timestamp('2020-01-05')", {}, FAILS),
        ("timestamp('2020-02-30T00:00:00Z')", {}, FAILS), ("timestamp('x')", {}, FAILS),
        ("timestamp(253402300800)", {}, FAILS),
        ("timestamp('2020-01-01T00:00:00.123456789Z')", {}, "2020-01-01T00:00:00.123456789Z"),
        ("timestamp(1.5)", {}, INVALID),
        ("timestamp(inputs.when) > timestamp(0)", {"when": "2020-01-01T00:00:00Z"}, True),
        ("duration('1h30m')", {}, "5400s"), ("duration('-1.5s')", {}, "-1.5s"),
        ("duration('1ns')", {}, "0.000000001s"), ("duration('0')", {}, "0s"), ("duration('1d')", {}, FAILS),
        ("duration('')", {}, FAILS), ("duration('1')", {}, FAILS), ("duration('1h ')", {}, FAILS),
        ("duration(1)", {}, INVALID), ("duration('1µs') == duration('1000ns')", {}, True),
        ("duration('9223372037s')", {}, FAILS), ("int(timestamp('2020-01-01T00:00:00Z'))", {}, 1577836800),
        ("int(timestamp('1969-12-31T23:59:59.5Z'))", {}, -1),
        ("timestamp('2020-01-01T00:00:00Z') + duration('1h')", {}, "2020-01-01T01:00:00Z"),
        ("duration('1h') + timestamp(0)", {}, "1970-01-01T01:00:00Z"),
        ("timestamp('2020-01-02T00:00:00Z') - timestamp('2020-01-01T00:00:00Z')", {}, "86400s"),
        ("timestamp(10) - duration('10s') == timestamp(0)", {}, True),
        ("duration('1h') - duration('1m')", {}, "3540s"), ("timestamp(0) + 1", {}, INVALID),
        ("timestamp(0) + timestamp(0)", {}, INVALID),
        ("timestamp('9999-12-31T23:59:59Z') + duration('8760h')", {}, FAILS),
        ("timestamp(0) < timestamp(1)", {}, True), ("duration('1m') == duration('60s')", {}, True),
        ("duration('90m') > duration('1h')", {}, True), ("null == duration('1s')", {}, False),
        ("duration('90m').getHours()", {}, 1), ("duration('90m').getMinutes()", {}, 90),
        ("duration('90s').getSeconds()", {}, 90), ("duration('1.5s').getMilliseconds()", {}, 500),
        ("string(duration('90m'))", {}, "5400s"), ("string(timestamp(0))", {}, "1970-01-01T00:00:00Z"),
        ("timestamp('2020-01-05T10:20:30Z').getDayOfWeek()", {}, 0),
        ("timestamp('2020-01-05T10:20:30Z').getDayOfMonth()", {}, 4),
        ("timestamp('2020-01-05T10:20:30Z').getDate()", {}, 5),
        ("timestamp('2020-01-05T10:20:30Z').getMonth()", {}, 0),
        ("timestamp('2020-01-05T10:20:30Z').getDayOfYear()", {}, 4),
        ("timestamp('2020-01-05T10:20:30Z').getFullYear()", {}, 2020),
        ("timestamp('2020-01-05T10:20:30Z').getSeconds()", {}, 30),
        ("timestamp('2020-01-05T10:20:30.123Z').getMilliseconds()", {}, 123),
        ("timestamp('2020-01-05T10:20:30Z').getHours('Europe/Paris')", {}, 11),
        ("timestamp('2020-01-05T10:20:30Z').getMinutes('-02:30')", {}, 50),
        ("timestamp('2020-01-05T10:20:30Z').getHours('')", {}, 10), ("timestamp(0).getHours('No/Where')", {}, FAILS),
        ("timestamp(0).getHours('/etc/hosts')", {}, FAILS), ("timestamp(0).getHours('../UTC')", {}, FAILS),
        ("timestamp(0).getHours('+99:00')", {}, FAILS), ("duration('1s').getFullYear()", {}, INVALID),
        ("inputs.n.getHours()", None, FAILS),
    ],
    "variables and names": [
        ("workflow.run_id", {}, "r-1"), ("workflow.name == 'demo' && workflow.template_version == 3", {}, True),
        ("workflow.parent_id == null", {}, True), ("context.intent.startsWith('ship')", {}, True),
        ("context.notes.a", {}, 1), ("context.gone", {}, lacks("gone")), ("iter.item.id", {}, 7),
        ("iter.parent.item", {}, "p"), ("nosuch", {}, INVALID), ("nosuch.x", {}, INVALID), ("nosuch(1)", {}, INVALID),
        ("inputs.nosuch()", {}, INVALID), ("as", {}, INVALID), ("for.x", {}, INVALID), ("while", {}, INVALID),
        ("inputs.in", {}, INVALID), ("inputs.true", {}, INVALID), ("inputs.null", {}, INVALID),
        ("inputs.as", {"as": 1}, 1), ("inputs.loop", {"loop": 2}, 2),
        ("inputs.package.import", {"package": {"import": 3}}, 3), ("inputs.__class__", {}, lacks("__class__")),
        ("inputs.n.__class__", None, FAILS), ("inputs['__proto__']", {}, lacks("__proto__")),
        ("__builtins__", {}, INVALID), ("inputs.items", {"items": [1]}, [1]), ("inputs.size", {"size": 4}, 4),
        ("inputs.map", {"map": 5}, 5), ("inputs.size.size()", {"size": "ab"}, 2), ("cel.bind(x, 1, x)", {}, INVALID),
        ("optional.none()", {}, INVALID), ("math.greatest(1, 2)", {}, INVALID), ("strings.quote('a')", {}, INVALID),
        ("lists.range(3)", {}, INVALID), ("base64.encode(b'a')", {}, INVALID),
        ("sets.contains([1], [1])", {}, INVALID), ("env.PATH", {}, INVALID), ("dyn", {}, INVALID),
        ("has", {}, INVALID), ("string", {}, "string"),
        ("steps['a-b'].ok && steps['a-b'].output.ok && steps['a-b'].status == 'completed'", {}, True),
        ("size(steps)", {}, 4), ("steps.exists(s, s == 'fetch')", {}, True), ("inputs.size() == 0", {}, True),
        ("size(iter)", {}, 3),
    ],
    "layout": [
        ("(", {}, INVALID), ("1-1", {}, 0), ("inputs.n -1", None, 4), ("1 < 2 && 2 < 3 || false", {}, True),
        ("1 " * 60_000, {}, INVALID), ("1" * 100_001, {}, INVALID), ("", {}, INVALID), ("  \n\t", {}, INVALID),
        ("// only a comment", {}, INVALID), ("1 // one\n + 2", {}, 3), ("inputs . n\t==\n5", None, True),
        ("(((1)))", {}, 1), ("(1", {}, INVALID), ("1)", {}, INVALID), ("1 +", {}, INVALID), ("1 2", {}, INVALID),
        ("1 = 1", {}, INVALID), ("1; 2", {}, INVALID), ("a ? b", {}, INVALID), ("@", {}, INVALID),
        ("1\u00a0+ 1", {}, INVALID), ("{{inputs.x}}", {}, INVALID), ("${{inputs.x}}", {}, INVALID),
        ("inputs.x === 1", {}, INVALID), ("[1, 2", {}, INVALID), ("1,", {}, INVALID), ("'\ud800'", {}, INVALID),
        ("(1, 2)", {}, INVALID), ("x => x", {}, INVALID), ("1 /* two */ + 1", {}, INVALID),
        ("true ? true ? 1 : 2 : 3", {}, INVALID), ("true ? (true ? 1 : 2) : 3", {}, 1), ("1 - -1 + - 1", {}, 1),
    ],
    "results": [
        ("inputs.n", None, 5), ("inputs.half", None, 2.5),
        ("[inputs.n, inputs.half, true, null, 'a', 1u]", None, [5, 2.5, True, None, "a", 1]),
        ("inputs.map", None, {"k": 1, "in": 2, "a b": 3}), ("inputs.deep", None, {"a": {"b": {"c": [{"d": 1}]}}}),
        ("inputs.rows[2]", None, {"id": 3, "on": True}), ("{'k': [1.0, 2.5]}", {}, {"k": [1, 2.5]}),
        ("[1.0 / 0.0]", {}, FAILS), ("{'a': 0.0 / 0.0}", {}, FAILS), ("1e400", {}, FAILS),
        ("[timestamp(0), duration('1s'), b'a', int]", {}, ["1970-01-01T00:00:00Z", "1s", "YQ==", "int"]),
        ("inputs.long.size()", None, 1000), ("steps.gone == null || true", {}, True),
        ("inputs", {"a": 1, "b": [None]}, {"a": 1, "b": [None]}),
    ],
}  # fmt: skip
ALL = [(topic, *case) for topic, cases in CASES.items() for case in cases]


def outcome(evaluator, text, inputs):
    try:
        return evaluator.compile(text).evaluate({**SCOPE, "inputs": COMMON if inputs is None else inputs})
    except ExpressionError as error:
        return error


@pytest.mark.parametrize(("topic", "text", "inputs", "expected"), ALL)
def test_an_expression_has_its_value_or_its_error(engine, topic, text, inputs, expected):
    found = outcome(engine, text, inputs)
    if isinstance(expected, Outcome):
        assert isinstance(found, ExpressionError), found
        assert (found.code, found.missing, found.retryable) == (expected.code, expected.missing, False)
        assert found.message.startswith("cel: ")
        assert found.details["expression"] == text[:100_000]
    else:
        assert json.dumps(found) == json.dumps(expected)  # also the order of keys, and 1 is neither 1.0 nor true


def test_there_are_hundreds_of_cases_without_repetition():
    assert len(ALL) >= 300
    assert len({(text, json.dumps(inputs)) for _, text, inputs, _ in ALL}) == len(ALL)


def test_the_fast_engine_takes_its_part_of_them():
    pytest.importorskip("cel_expr_python")
    evaluator = CelEvaluator(engine="native")
    fast = 0
    for _, text, _, expected in ALL:
        if not isinstance(expected, Outcome):
            fast += evaluator.compile(text)._fast is not None
    assert fast >= 150
