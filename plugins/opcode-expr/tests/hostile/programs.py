"""Programs that want too much of the machine, over data that is too large, too deep or no JSON.

Each row is (text, outcome): `EXECUTION_ERROR`, or the value. `ENDS` is for what a fast machine finishes within the limit.
"""

import math
from functools import cache
from random import Random

ERROR, ENDS = "EXECUTION_ERROR", "ends"


@cache
def data():
    """Return the variables of all programs. Texts have ten million characters, arrays a million elements."""
    long, many = 10_000_000, 1_000_000
    return {
        "s": "a" * long, "u": "é" * long, "w": "😀" * (long // 4), "spaces": " " * long, "wide": "\u2003" * long, "digits": "9" * long, "ab": "ab" * (long // 2),
        "lines": "\n" * long, "control": "\x01" * long, "brackets": "[" * long, "ones": "[" + "1," * (long // 2) + "1]", "escapes": '"' + "\\u0041" * (long // 6) + '"',
        "nested_json": '{"a":' * 1000 + "1" + "}" * 1000, "coded": "QUJD" * (long // 4), "set": "".join(map(chr, range(256, 3000))) + "a",
        "lone": "a\ud800b", "half": "\udc00", "ints": list(range(many)), "floats": [(n * 2654435761) % 1000003 / 7 for n in range(many)],
        "texts": [f"{(n * 2654435761) % 1000003:07d}" for n in range(many // 4)], "rows": [{"a": n % 7, "b": str(n)} for n in range(many // 10)],
        "map": {f"k{n}": n for n in range(many // 4)}, "shared": [[1] * 1000] * 1000, "long_texts": ["a" * 100_000 + str(n) for n in range(500)],
        "nan": math.nan, "inf": math.inf, "odd": [math.nan, 1.0, math.inf, -math.inf] * 100, "huge": 10**400, "endless": 10**5000,
        "deep": deep([]), "deep_map": deep({}), "unlike": [[n] for n in range(300)] + [{}] * 200_000, "colliding": [n * (2**61 - 1) for n in range(30_000)],
        "random": "".join(Random(1).choices("ab", k=10_000)), "commas": "a," * 450_000, "halves": "\ud800" * 1_000_000, "mixed_case": "aΣß" * 1_000_000,
    }  # fmt: skip


def deep(inside):
    """Return a hundred thousand lists or maps, one in the other."""
    value = inside
    for _ in range(100_000):
        value = [value] if isinstance(inside, list) else {"a": value}
    return value


TWICE = "let d = reduce(1..60, [#acc, #acc], 1); "
CHAIN = "let d = reduce(1..100000, [#acc], []); "
CUBE = "let a = map(1..1000, 1); let b = map(1..1000, a); let c = map(1..1000, b); "

PROGRAMS = [
    # time
    ("map(1..1000, map(1..1000, map(1..1000, # + 1)))", ERROR), ("all(1..1000, all(1..1000, all(1..1000, true)))", ERROR), ("any(1..1000000, any(1..1000000, false))", ERROR),
    ("all(1..900000, all(1..#, true))", ERROR), ("map(1..100, map(1..100, map(1..100, map(1..100, 1))))", ERROR), ("all(1..999999, keys($env) != nil)", ERROR),
    ("all(1..999999, date('2024-01-01').Year() > 0)", ERROR), ("all(1..999999, now().Format('2006-01-02T15:04:05.999999999Z07:00 Monday January') != '')", ERROR),
    ("map(ints, date('2024-01-01 10:00:00', '2006-01-02 15:04:05', 'Europe/Zurich').In('Asia/Tokyo').Hour())", ERROR), ("map(ints, duration('1h30m'))", ERROR),
    ("map(ints, sort([3, 2, 1]))", ERROR), ("map(ints, fromJSON('[1]'))", ERROR), ("any(ints, s == s + 'x')", ERROR), ("all(ints, s not contains 'b')", ERROR), ("all(ints, s + 'a' <= s + 'b')", ERROR),
    ("map(ints, upper(s))", ERROR), ("map(ints, trim(s))", ERROR), ("map(ints, s[1:])", ERROR), ("all(ints, len(split(s, 'b')) == 1)", ERROR), ("any(ints, lastIndexOf(s, 'ab' + s) > 0)", ERROR),
    ("map(ints, toJSON(map))", ERROR), ("map(ints, map == {a: 1}) | len()", ENDS), ("map(1..100, sort(floats))", ERROR), ("map(1..100, uniq(ints))", ERROR), ("map(1..100, fromJSON(ones))", ERROR),
    ("all(1..99999, 'x' not matches ('[^x]' + string(#) + `\\pL{20}`))", ERROR), ("all(1..900000, string(#) matches ('[ab]{500}' + string(#)) == false)", ERROR),
    ("all(ints, s not matches '[ab]*b$')", ERROR), ("uniq(map(1..5000, [#]))", ENDS), ("uniq(map(1..100000, [#]))", ERROR), ("filter(rows, ({a: 1} in rows))", ERROR),
    # memory
    ("1..1000000000", ERROR), ("-1000000000..1000000000", ERROR), ("0..1e300", ERROR), ("1..9223372036854775807", ERROR), ("len(1..1000001)", ERROR), ("map(1..1000000000, #)", ERROR),
    ("filter(1..1000000000, true)", ERROR), ("any(1..1000000000, true)", ERROR), ("1..1000000 | map(#)", ERROR), ("filter(1..600000, true)", ERROR), ("repeat('a', 1000000000)", ERROR),
    ("repeat('', 1000000000000)", ERROR), ("repeat('a', 1e308)", ERROR), ("repeat('a', huge)", ERROR), ("repeat(repeat('a', 1000), 1001)", ERROR), ("repeat(s, 2)", ERROR),
    ("reduce(1..100, #acc + #acc, 'ab')", ERROR), ("reduce(1..100, concat(#acc, #acc), [1])", ERROR), ("reduce(1..900000, #acc + 'x', '')", ERROR), ("s + s + s + s + s + s + s", ERROR),
    ("replace(s, 'a', s)", ERROR), ("replace(s, '', s)", ERROR), ("split(s, '')", ERROR), ("split(lines, '\\n')", ERROR), ("splitAfter(ab, 'b')", ERROR), ("join(map(1..90, s))", ERROR),
    ("concat(ints, ints)", ERROR), ("flatten([shared, shared])", ERROR), ("map(1..500000, {{a: #}})", ERROR), ("map(1..300000, [#, #, #])", ERROR), ("groupBy(1..600000, #)", ERROR),
    (CUBE + "flatten(c)", ERROR), (CUBE + "max(c)", ERROR), (CUBE + "mean(c)", ERROR), (CUBE + "median(c)", ERROR), (CUBE + "toJSON(c)", ERROR), (CUBE + "string(c)", ERROR), (CUBE + "sum(c)", ERROR),
    (TWICE + "flatten(d)", ERROR), (TWICE + "toJSON(d)", ERROR), (TWICE + "{(d): 1}", ERROR), (TWICE + "groupBy([d], #)", ERROR), (TWICE + "max(d)", ERROR), (TWICE + "d == reduce(1..60, [#acc, #acc], 1)", ERROR),
    (TWICE + "d == d", True), (TWICE + "d in [d]", True), (TWICE + "uniq([d, reduce(1..60, [#acc, #acc], 1)])", ERROR),
    # the size of the result
    ("map(1..1000, s)", ERROR), ("map(1..1000, {{(s): 1}})", ERROR), ("s", ERROR), ("s + s", ERROR), ("upper(s)", ERROR), ("toBase64(s)", ERROR), ("toJSON(control)", ERROR), ("lower(u)", ERROR), (CUBE + "c", ERROR),
    ("reduce(1..100, [#acc, #acc], 1)", ERROR), ("reduce(1..100, {{a: #acc, b: #acc}}, 1)", ERROR), ("$env", ERROR), ("map(1..1000000, '0123456789abcdef')", ERROR), ("long_texts", ERROR),
    # depth
    ("deep", ERROR), ("deep_map", ERROR), ("toJSON(deep)", ERROR), ("string(deep_map)", ERROR), ("deep == [deep]", ERROR), ("deep == deep", True), ("len(deep)", 1), ("keys(deep_map)", ["a"]), ("flatten(deep)", []),
    ("max(deep)", ERROR), ("sum(deep)", ERROR), ("mean(deep)", ERROR), ("uniq([deep, [deep]])", ERROR), ("[deep] in [deep]", ERROR), ("groupBy([deep], #)", ERROR), ("fromJSON(nested_json)", ERROR), ("fromJSON(repeat('[', 100000))", ERROR),
    ("reduce(1..100000, [#acc], [])", ERROR), (CHAIN + "toJSON(d)", ERROR), (CHAIN + "d == d", True), (CHAIN + "len(d)", 1), (CHAIN + "flatten(d)", []), (CHAIN + "max(d)", ERROR), (CHAIN + "{(d): 1}", ERROR),
    # numbers
    ("2 ** 100000", ERROR), ("2 ** 2 ** 2 ** 2 ** 2 ** 2", ERROR), ("1e308 * 10 ** 10", ERROR), ("reduce(1..2000, #acc * #acc, 3)", ERROR), ("reduce(1..100000, #acc * 10, 1)", ERROR), ("reduce(1..100000, #acc + #acc, 1)", ERROR),
    ("reduce(1..100000, #acc ** 2, 2)", ERROR), ("reduce(1..100000, #acc - 1e300, 0) < 0", True), ("reduce(1..100000, #acc * 2, duration('1h'))", ERROR), ("huge * huge", ERROR), ("huge + 1", ERROR), ("-huge", ERROR), ("huge", ERROR),
    ("endless", ERROR), ("-endless", ERROR), ("string(endless)", ERROR), ("endless * endless", ERROR), ("huge / 2", ERROR), ("huge * 1.5", ERROR), ("huge ** 2", ERROR), ("huge % 7", 4), ("huge == huge", True), ("huge < inf", True),
    ("float(huge)", ERROR), ("mean([huge])", ERROR), ("sum([huge, huge])", ERROR), ("[1][huge]", ERROR), ("[1][:huge]", [1]), ("take([1], huge)", [1]), ("1..huge", ERROR), ("bitand(huge, 1)", ERROR), ("round(huge)", ERROR),
    ("bitshl(1, 1000000000)", 0), ("bitshl(1, 9223372036854775807)", 0), ("bitshr(-1, 1e18)", -1), ("bitushr(-1, 1e18)", 0), ("bitshl(1, huge)", ERROR), ("bitshl(1, inf)", ERROR), ("int(digits)", ERROR), ("float(digits)", ERROR),
    ("fromJSON(digits)", ERROR), ("fromJSON('1e999')", ERROR), ("fromJSON('-1e999')", ERROR), ("fromJSON(repeat('9', 5000))", ERROR), ("duration(digits)", ERROR), ("date(digits)", ERROR), ("5 in 1..1000000000000000", True),
    # what is no JSON
    ("nan", ERROR), ("inf", ERROR), ("-inf", ERROR), ("[nan]", ERROR), ("{a: {b: inf}}", ERROR), ("odd", ERROR), ("sort(odd)", ERROR), ("max(odd)", ERROR), ("mean(odd)", ERROR), ("median(odd)", ERROR), ("sum(odd)", ERROR), ("uniq(odd)", ERROR),
    ("sortBy(odd, #)", ERROR), ("groupBy(odd, #)", ERROR), ("toJSON(nan)", ERROR), ("int(nan)", ERROR), ("int(inf)", ERROR), ("float(inf)", ERROR), ("round(nan)", ERROR), ("ceil(inf)", ERROR), ("abs(-inf)", ERROR), ("[1][nan]", ERROR),
    ("[1][inf:]", ERROR), ("1..inf", ERROR), ("1..nan", ERROR), ("inf % 2", ERROR), ("2 % inf", ERROR), ("nan ** 2", ERROR), ("bitand(inf, 1)", ERROR), ("repeat('a', nan)", ERROR), ("take([1], inf)", ERROR), ("split('a', '', nan)", ERROR),
    ("nan ? 1 : 2", ERROR), ("nan && true", ERROR), ("duration('1s') * inf", ERROR), ("duration('1s') * nan", ERROR), ("duration('1s') / 1e-300", ERROR), ("nan == nan", False), ("nan in [nan]", False), ("nan in odd", False), ("nan < 1", False),
    ("inf > 1", True), ("string(nan)", "null"), ("type(inf)", "float"), ("now().AddDate(0, nan, 0)", ERROR), ("now().AddDate(0, 0, 1e300)", ERROR), ("now().AddDate(huge, 0, 0)", ERROR), ("lone", "a\ufffdb"), ("[half]", ["\ufffd"]),
    ("{(half): lone}", {"\ufffd": "a\ufffdb"}), ("lone matches 'a.b'", True), ("'a' matches half", False), ("'a' matches ('[' + half)", ERROR), ("toJSON(half)", '"\ufffd"'), ("toBase64(half)", "77+9"), ("upper(lone) + lower(half)", "A\ufffdB\ufffd"),
    ("lone == half", False), ("sort([lone, half])", ["a\ufffdb", "\ufffd"]), ("int(half)", ERROR), ("timezone(lone)", ERROR), ("date(half)", ERROR), ("half | split('')", ["\ufffd"]), ("nope[half]", ERROR), ("fromJSON('\"\\\\ud800\"')", "\ufffd"),
    # long texts
    ("len(upper(u))", 10_000_000), ("len(trim(spaces))", 0), ("len(trim(wide))", 0), ("len(trim(s, 'a'))", 0), ("trim(s, set)", ENDS), ("trimPrefix(s, s)", ""), ("replace(s, 'b', 'c') == s", True), ("replace(s, 'a', 'bb') | len()", 20_000_000),
    ("indexOf(s, 'b')", -1), ("indexOf(ab, 'aba' + repeat('b', 1000))", -1), ("lastIndexOf(s, 'b')", -1), ("s contains 'b'", False), ("ab contains (repeat('ab', 4000) + 'c')", False), ("hasPrefix(s, s)", True), ("s in [s + 'b', s]", True),
    ("sort(long_texts) | len()", ERROR), ("s < s + 'b'", True), ("fromBase64(coded) | len()", 7_500_000), ("fromBase64(s) | len()", 7_500_000), ("fromJSON(escapes) | len()", 1_666_666), ("fromJSON(brackets)", ERROR), ("fromJSON(s)", ERROR), ("fromJSON(ones)", ERROR),
    ("date(s, s)", ERROR), ("date('2024', s)", ERROR), ("now().Format(s)", ERROR), ("timezone(s)", ERROR), ("duration(s)", ERROR), ("int(s)", ERROR), ("nope[s]", ERROR), ("[1][s]", ERROR), ("sort([1], s)", ERROR), ("join(texts) | len()", 1_750_000),
    # large arrays and maps
    ("len(ints)", 1_000_000), ("-1 in ints", False), ("sum(ints)", 499999500000), ("max(floats) > 0", True), ("ints == floats", False), ("map == map", True), ("len(keys(map))", 250_000), ("'k1' in map", True), ("[0] in rows", False),
    ("sort(texts) | first()", ENDS), ("sortBy(rows, .b, 'desc') | first() | get('b')", ENDS), ("len(groupBy(rows, .a))", ENDS), ("toJSON(map)", ENDS), ("toJSON(rows) | len()", ENDS), ("sort(floats) | len()", ENDS), ("fromPairs(toPairs(map)) | len()", ENDS),
    # regular expressions
    ("s matches '(a*)*b'", False), ("s matches 'a+a+a+a+b'", False), ("s matches '^(a|aa)+$'", True), ("ab matches '(a|b)*c'", False), ("s matches '(x+x+)+y'", False), ("s matches 'a{1000}b'", ERROR), ("s matches '(a{1,100}){1,10}b'", ERROR),
    ("repeat('ab', 400000) matches '(a|b)*a(a|b){500}c'", ERROR), ("repeat('ab', 40000) matches '[ab]*a[ab]{12}c'", ENDS), ("repeat('a', 30) matches (repeat('a?', 30) + repeat('a', 30))", True), ("'x' matches repeat('(a|b)', 2000)", ERROR),
    ("'a' matches repeat('a', 5000)", ERROR), ("'a' matches s", ERROR), ("s matches s", ERROR), ("u matches 'é+$'", ENDS), ("w matches '\\\\pL'", ENDS), ("repeat('a', 5000) matches '(.*)(.*)(.*)(.*)(.*)x'", False), ("'\\x00' matches '\\x00'", True),
    # what a look at the clock between the elements must stop
    ("uniq(unlike) | len()", ERROR), ("uniq(colliding) | len()", ERROR), ("ints == map(ints, #)", ENDS), ("all(1..1000, nil not in ints)", ERROR), ("all(ints, hasPrefix(s, s))", ERROR), ("all(ints, hasSuffix(s, s))", ERROR),
    ("all(1..9000, not (random[#:# + 1000] matches '[ab]*a[ab]{300}c'))", ERROR), ("sort(map(texts, duration(# + 'ns'))) | len()", ENDS), ("reduce(1..400, [#acc], map(1..150000, 1)) | toJSON()", ERROR), ("string(map) | len()", ENDS),
    ("fromPairs(map(ints[:300000], [string(#), #])) | len()", ENDS), ("median(floats) > 0", ENDS), ("splitAfter(commas, ',') | len()", ENDS), ("halves", ENDS), ("toBase64(halves) | len()", ENDS), ("lower(mixed_case) | len()", ENDS),
]  # fmt: skip
