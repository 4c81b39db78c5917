import pytest

XS = [
    {"id": 1, "n": "b", "on": True, "t": ["x"]},
    {"id": 2, "n": "a", "on": False, "t": []},
    {"id": 3, "n": "c", "on": True, "t": ["y", "z"]},
]

ARRAYS = [
    ("all(1..3, # > 0)", True), ("all([], nope)", True), ("all(1..3, # > 1)", False), ("any(1..3, # > 2)", True), ("any([], true)", False),
    ("one(1..3, # == 2)", True), ("one(1..3, # > 1)", False), ("one([], true)", False), ("none(1..3, # > 3)", True), ("none([], true)", True),
    ("map(1..3, # * 2)", [2, 4, 6]), ("map(xs, .id)", [1, 2, 3]), ("map(xs, {.id})", [1, 2, 3]), ("map(xs, {{id: .id}})", [{"id": 1}, {"id": 2}, {"id": 3}]),
    ("map(xs, #index)", [0, 1, 2]), ("map(xs, #.n + string(#index))", ["b0", "a1", "c2"]), ("map([[1], [2]], #[0])", [1, 2]),
    ("map(1..2, map(1..2, #))", [[1, 2], [1, 2]]), ("map(1..2, let x = #; map(1..2, # * x))", [[1, 2], [2, 4]]),
    ("map(1..2, map(1..2, #index) | sum()) | sum()", 2), ("filter(xs, .on) | map(.id)", [1, 3]), ("filter(xs, {.on and .id > 1}) | len()", 1),
    ("filter(xs, #.n in ['a', 'b']) | len()", 2), ("filter(xs, len(.t) > 0) | len()", 2), ("find(1..4, # > 2)", 3), ("find(1..4, # > 9)", None),
    ("findIndex(1..4, # > 2)", 2), ("findIndex(1..4, # > 9)", None), ("findLast(1..4, # < 3)", 2), ("findLastIndex(1..4, # < 3)", 1),
    ("groupBy(1..4, # % 2)", {"1": [1, 3], "0": [2, 4]}), ("groupBy([1, 1.0, true, nil, 'nil'], #)", {"1": [1, 1.0], "true": [True], "null": [None], "nil": ["nil"]}),
    ("groupBy(xs, .on).true | map(.id)", [1, 3]), ("sortBy(xs, .n) | map(.id)", [2, 1, 3]), ("sortBy(xs, .n, 'desc') | map(.id)", [3, 1, 2]),
    ("sortBy(xs, {-.id}) | map(.id)", [3, 2, 1]), ("xs | sortBy(.n, 'asc') | first() | get('id')", 2), ("sortBy([nil], #)", [None]),
    ("map(data, {{id: .id, n: len(.t)}}) | sortBy(.n, \"desc\") | first()", {"id": 3, "n": 2}),
    ("count([true, false, true])", 2), ("count(1..5, # > 2)", 3), ("sum([1, 2.5])", 3.5), ("sum([])", 0), ("sum(xs, .id)", 6), ("sum(1..3)", 6),
    ("let t = sum(data, .id); t > 5 ? 'big' : 'small'", "big"), ("reduce(1..9, #acc + #)", 45), ("reduce(1..3, #acc + #, 10)", 16),
    ("reduce([], #acc, 5)", 5), ("reduce(['a', 'b'], #acc + # + string(#index))", "ab1"), ("reduce(1..3, #acc + reduce(1..2, #acc + #), 0)", 9),
    ("concat([1], [2, 3], [])", [1, 2, 3]), ("flatten([1, [2, [3, [4]]], []])", [1, 2, 3, 4]), ("uniq([1, 1.0, true, 'a', 'a', [1], [1], nil, nil])", [1, True, "a", [1], None]),
    ("join(['a', 'b'])", "ab"), ("join(['a', 'b'], ', ')", "a, b"), ("join([], '-')", ""), ("first([1, 2])", 1), ("first([])", None), ("last([1, 2])", 2),
    ("last([])", None), ("first(nil)", None), ("take([1, 2, 3], 2)", [1, 2]), ("take([1], 9)", [1]), ("take([1], 0)", []), ("reverse([1, 2])", [2, 1]),
    ("sort([3, 1.5, 2])", [1.5, 2, 3]), ("sort(['b', 'a'])", ["a", "b"]), ("sort([1, 2], 'desc')", [2, 1]), ("sort([])", []), ("sort([nil])", [None]),
    ("len([1, 2])", 2), ("len({a: 1})", 1), ("len('é😀')", 2), ("mean([1, 2])", 1.5), ("mean([])", 0.0), ("mean(1, 2, 3)", 2.0), ("median([3, 1, 2])", 2.0),
    ("median([1, 2, 3, 4])", 2.5), ("median([])", 0.0), ("min([])", None), ("max([])", None), ("min(2, 1)", 1), ("max([1, [5, 2]], 3)", 5), ("max(1, 1.5)", 1.5),
    ("keys({b: 1, a: 2})", ["a", "b"]), ("values({b: 1, a: 2})", [2, 1]), ("toPairs({b: 1, a: 2})", [["a", 2], ["b", 1]]),
    ("fromPairs([['a', 1], [2, 'b']])", {"a": 1, "2": "b"}), ("fromPairs(toPairs({a: 1}))", {"a": 1}), ("get({a: 1}, 'a')", 1), ("get({a: 1}, 'b')", None),
    ("get([1], 0)", 1), ("get([1], 5)", None), ("get(nil, 'a')", None), ("get('abc', -1)", "c"), ("get(5, 5)", None),
]  # fmt: skip
TEXTS = [
    ("trim('  a\u00a0\\n')", "a"), ("trim('__a__', '_')", "a"), ("trimPrefix('HelloWorld', 'Hello')", "World"), ("trimPrefix(' a')", "a"),
    ("trimSuffix('HelloWorld', 'World')", "Hello"), ("trimSuffix('a ')", "a"), ("upper('aé')", "AÉ"), ("lower('AÉ')", "aé"),
    ("split('a,b,c', ',')", ["a", "b", "c"]), ("split('a,b,c', ',', 2)", ["a", "b,c"]), ("split('a,b', ',', 0)", []), ("split('a,b', ',', -1)", ["a", "b"]),
    ("split('', ',')", [""]), ("split('', '')", []), ("split('aé', '')", ["a", "é"]), ("split('abc', '', 2)", ["a", "bc"]),
    ("splitAfter('a,b,c', ',')", ["a,", "b,", "c"]), ("splitAfter('a,b,c', ',', 2)", ["a,", "b,c"]), ("replace('aXbX', 'X', '-')", "a-b-"),
    ("replace('aXbX', 'X', '-', 1)", "a-bX"), ("replace('ab', '', '-')", "-a-b-"), ("replace('ab', 'a', 'x', 0)", "ab"), ("repeat('Hi', 3)", "HiHiHi"),
    ("repeat('a', 0)", ""), ("indexOf('éa pie', 'pie')", 3), ("indexOf('a', 'x')", -1), ("lastIndexOf('apple pie apple', 'apple')", 10), ("lastIndexOf('aa', 'x')", -1), ("lastIndexOf('aé', '')", 2), ("lastIndexOf('aaa', 'aa')", 1),
    ("hasPrefix('HelloWorld', 'Hello')", True), ("hasSuffix('HelloWorld', 'World')", True), ("hasSuffix('a', 'ab')", False),
]  # fmt: skip
NUMBERS = [
    ("abs(-5)", 5), ("abs(-1.5)", 1.5), ("ceil(1.2)", 2.0), ("ceil(3)", 3.0), ("floor(-1.2)", -2.0), ("round(2.5)", 3.0), ("round(-2.5)", -3.0),
    ("round(2.4)", 2.0), ("round(0.49999999999999994)", 0.0), ("int('42')", 42), ("int('-7')", -7), ("int(3.9)", 3), ("int(-3.9)", -3), ("int(5)", 5),
    ("float('1.5e3')", 1500.0), ("float(2)", 2.0), ("float('.5')", 0.5), ("bitand(12, 10)", 8), ("bitor(12, 10)", 14), ("bitxor(12, 10)", 6),
    ("bitnand(12, 10)", 4), ("bitnot(0)", -1), ("bitshl(1, 4)", 16), ("bitshl(1, 63)", -(2**63)), ("bitshl(1, 64)", 0), ("bitshl(1, 4e9)", 0),
    ("bitshr(-8, 1)", -4), ("bitushr(-1, 63)", 1), ("bitshr(5.0, 1.0)", 2),
]  # fmt: skip
CONVERSIONS = [
    ("string('a')", "a"), ("string(1)", "1"), ("string(1.0)", "1"), ("string(1048576.0)", "1048576"), ("string(0.00001)", "0.00001"), ("string(nil)", "null"),
    ("string(true)", "true"), ("string([1, 2.0, 'é\"', nil])", '[1,2,"é\\"",null]'), ("string({b: 1, a: [1e-5]})", '{"a":[0.00001],"b":1}'),
    ("string(9007199254740993)", "9007199254740993"), ("type(nil)", "nil"), ("type(true)", "bool"), ("type(1)", "int"), ("type(1.5)", "float"),
    ("type('')", "string"), ("type([])", "array"), ("type({})", "map"), ("type(now())", "time.Time"), ("type(duration('1s'))", "time.Duration"),
    ("toJSON({b: [1, 2.0], a: {}, c: []})", '{\n  "a": {},\n  "b": [\n    1,\n    2\n  ],\n  "c": []\n}'), ("toJSON('<a>')", '"<a>"'), ("toJSON(nil)", "null"),
    ("toJSON(date('2024-01-02'))", '"2024-01-02T00:00:00Z"'), ("fromJSON('{\"a\":[1,null,12345678901234567890]}')", {"a": [1, None, 12345678901234567890]}),
    ("fromJSON(toJSON([1, 'a']))", [1, "a"]), ("fromJSON(`{\"\\ud800\":\"\\ud83d\\ude00\\ud800\"}`)", {"\ufffd": "😀\ufffd"}), ("toBase64('é')", "w6k="),
    ("fromBase64('w6k=')", "é"), ("fromBase64('/w==')", "\ufffd"), ("toBase64('') + fromBase64('')", ""),
]  # fmt: skip


@pytest.mark.parametrize(("text", "expected"), ARRAYS + TEXTS + NUMBERS + CONVERSIONS)
def test_builtins(value, text, expected):
    found = value(text, xs=XS, data=XS)
    assert found == expected
    assert type(found) is type(expected)


@pytest.mark.parametrize(
    "text",
    [
        "filter(xs, .id)", "filter(xs, .nope)", "all([1], #)", "any([nil], #)", "find([1], nil)", "count([1])", "count([true, nil])", "count([1], #)",
        "map(nil, #)", "map({a: 1}, #)", "map('abc', #)", "filter(nope, true)", "sum(['a'])", "sum([nil])", "sum(xs, .n)", "sum(nope)", "reduce([], #acc + #)",
        "reduce(nope, 1)", "sortBy(xs, .nope)", "sortBy([1, 'a'], #)", "sortBy([1, 2], #, 'up')", "sortBy([true, false], #)", "sort([1, 'a'])", "sort([nil, nil])",
        "sort([[1], [2]])", "sort([1], 'down')", "sort([1], 1)", "sort(nil)", "join([1])", "join(['a'], 1)", "join(nope)", "concat([1], 2)", "flatten(1)", "uniq('a')",
        "reverse('abc')", "take([1], -1)", "take([1], 1.5)", "take('abc', 1)", "take([1], 'a')", "len(nil)", "len(5)", "len(true)", "mean(['a'])", "median([nil])",
        "max('a')", "min([1, 'a'])", "max(nil)", "min(true)", "keys([1])", "values(nil)", "toPairs('a')", "fromPairs([[1]])", "fromPairs([1])", "fromPairs({a: 1})",
        "trim(1)", "trim('a', 1)", "trimPrefix(1)", "trimSuffix('a', 1)", "upper(nil)", "lower(1)", "split(1, ',')", "split('a', 1)", "split('a', ',', 'x')",
        "splitAfter('a', nil)", "replace('a', 'b', 1)", "replace(nil, 'a', 'b')", "repeat('a', -1)", "repeat('a', 1.5)", "repeat(1, 1)",
        "indexOf(1, 'a')", "lastIndexOf('a', 1)", "hasPrefix(nil, 'a')", "hasSuffix('a', nil)", "abs('a')", "abs(true)", "ceil(nil)", "floor('1')", "round([])",
        "int('a')", "int('1.5')", "int('1_0')", "int(' 1')", "int(nil)", "int(true)", "int([])", "int(1/0)", "float('a')", "float('inf')", "float('nan')", "float(nil)",
        "bitand(1.5, 1)", "bitand('a', 1)", "bitor(1, big)", "bitshl(1, -1)", "bitnot(true)", "toJSON(1/0)", "toJSON([0/0])", "fromJSON('{')", "fromJSON('NaN')",
        "fromJSON('[Infinity]')", "fromJSON(1)", "fromJSON('')", "toBase64(1)", "fromBase64('*')", "fromBase64('YQ')", "fromBase64(nil)", "string(1/0) + nil",
    ],
)  # fmt: skip
def test_wrong_arguments_are_errors(failure, text):
    assert failure(text, xs=XS, big=2**64).code == "EXECUTION_ERROR"


def test_a_predicate_names_its_builtin_in_errors(failure):
    assert failure("filter(xs, .id)", xs=XS).message == "expected a bool from the predicate of filter, found int"


def test_sorting_keeps_the_order_of_equals_in_both_directions(value):
    rows = [{"k": 1, "v": "a"}, {"k": 0, "v": "b"}, {"k": 1, "v": "c"}]
    assert value("sortBy(data, .k) | map(.v)", data=rows) == ["b", "a", "c"]
    assert value("sortBy(data, .k, 'desc') | map(.v)", data=rows) == ["a", "c", "b"]
