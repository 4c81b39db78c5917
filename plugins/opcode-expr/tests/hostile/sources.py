"""Texts out of all proportion. Each is refused with `VALIDATION_ERROR`, or has the value or error that stands beside it."""

DEEP = 10_000
#: Ten million characters.
LONG = 10_000_000

REFUSED = [
    "(" * DEEP, "(" * DEEP + "1" + ")" * DEEP, "[" * DEEP, "[" * DEEP + "]" * DEEP, "{" * DEEP, "{a:" * DEEP, "{a: " * DEEP + "1" + "}" * DEEP,
    "{(" * DEEP, "{{" * DEEP, ")" * DEEP, "]" * DEEP, "}" * DEEP, "-" * DEEP + "1", "- " * DEEP + "1", "+" * DEEP + "1", "!" * DEEP + "true",
    "not " * DEEP + "true", "-(" * DEEP + "1" + ")" * DEEP, "a[" * DEEP, "a[" * DEEP + "0" + "]" * DEEP, "a[:" * DEEP, "a?.[" * DEEP,
    "map(" * DEEP, "map(a, " * DEEP, "map([1], " * DEEP + "#" + ")" * DEEP, "all(x, {" * DEEP, "len(" * DEEP, "len([" * DEEP + "])" * DEEP,
    "string(" * DEEP + "1" + ")" * DEEP, "reduce([1], #acc + " * DEEP, "a ? " * DEEP, "true ? " * DEEP + "1" + " : 2" * DEEP, "if a {" * DEEP,
    "if true {" * DEEP + "1" + "} else {2}" * DEEP, "let a = " * DEEP, "(let a = 1; " * DEEP + "a" + ")" * DEEP, "1 ** " * DEEP + "1",
    "1 + (" * DEEP + "1" + ")" * DEEP, "true ? 1 : " * DEEP + "1", "if false {1} else " * DEEP + "{2}", "1" + " | string()" * DEEP,
    "[1]" + " | map(#)" * DEEP, "1" + " not in [1]" * DEEP, "+".join(["1"] * 10_001), " and ".join(["true"] * 10_001), "1" + " < 2" * 10_001,
    "[" + "1," * 10_001 + "]", "{" + ",".join(f"k{n}: 1" for n in range(10_001)) + "}", "let a = 1; " * DEEP + "a", "1;" * DEEP + "1",
    "$env[" * DEEP + "'a'" + "]" * DEEP, "#" * DEEP, "." * DEEP, ".a" * DEEP, "?." * DEEP, "?:" * DEEP, "??" * DEEP, ".." * DEEP, "|" * DEEP,
    "a." * DEEP, "a?." * DEEP, "1 " * 200_000, "a " * 200_000, "," * DEEP, ";" * DEEP, ":" * DEEP, "=" * DEEP, "\\" * DEEP, "@" * DEEP,
    "\x00" * DEEP, "\u202e" * DEEP, "\ud800" * DEEP, "😀" * DEEP, "'" + "\\q" * 100_000 + "'", '"\\u' * DEEP, '"\\U0010FFFF' * DEEP,
    "/*" * 100_000, "/* " * 300_000, "//\n" * 300_000, " " * 1_000_000, "\n" * 1_000_000, "`" * 99_999, '"' * 99_999, "'" + "a" * 900_000,
    "9" * 100_000, "1" * 5000, "0x" + "f" * 100_000, "0b" + "1" * 100_000, "0o" + "7" * 100_000, "1e" + "9" * 100_000, "1_" * 50_000 + "x",
    "9223372036854775808", "1e400", "f" * 900_000 + "()", "let " + "f" * 900_000, "1 | " + "f" * 900_000, "x" * 1_000_001, "'" + "a" * LONG + "'", "/*" * (LONG // 2),
    "\ud800" * LONG, "(" * LONG, " " * LONG, "é" * LONG, "1+" * (LONG // 2) + "1", '"' * LONG,
    " || ".join(f"x matches 'a{n}\\\\pL{{20}}'" for n in range(900)), "'a' matches '" + "(" * 500 + "'", "'a' matches '" + "(a|b)" * 300 + "'",
    "'a' matches '((a{1000}){1000}){1000}'", "'a' matches '" + "a{1000}" * 100 + "'", "'a' matches '[[:word:]]{1000}{1000}'", "'a' matches '(?<=a)b'",
    "'a' matches '\\\\1'", "'a' matches '\ud800('", "__import__('os')", "eval('1')", "exec('1')", "open('x')", "getattr(data, 'x')", "lambda: 1",
    "import os", "print(1)", "().__class__", "[x for x in data]", "f'{data}'", "data if true else 1", "globals()", "data; import os",
    "__builtins__.open('x') = 1", "while(true){}", "function(){}()", "new Date()", "${{secrets.x}}", "$(id)", "; DROP TABLE runs", "<script>", "%s%s%n",
]  # fmt: skip

#: (text, variables, value)
HOLDS = [
    ("x?" + ".a" * 9000, {}, None), ("x" + "?.a" * 9000, {}, None), ("x" + "?.[0]" * 4000, {}, None), ("(" * 70 + "1" + ")" * 70, {}, 1),
    ("[" * 70 + "]" * 70 + " | len()", {}, 1), ("1" + " + (2" * 35 + ")" * 35, {}, 71), ("-" * 70 + "1", {}, 1), ("not " * 70 + "true", {}, True),
    ("let a = 1; " + "a; " * 3000 + "a", {}, 1), ("if false {1} else " * 1000 + "{2}", {}, 2), ("false ? 1 : " * 2000 + "2", {}, 2),
    ("+".join(["1"] * 4000), {}, 4000), (" - ".join(["1"] * 4000), {}, -3998), (" || ".join(["false"] * 4000), {}, False),
    (" and ".join(["true"] * 4000), {}, True), (" ?? ".join(["nil"] * 4000 + ["1"]), {}, 1), (" + ".join(["'a'"] * 1000), {}, "a" * 1000),
    ("1 < " * 2000 + "1", {}, False), ("1 in 1..9" + " == true" * 30, {}, True), (" and ".join(["'a' matches 'a' == true"] * 20), {}, True),
    ("1" + " | string()" * 100, {}, "1"), ("[1]" + " | map(# + 1)" * 60, {}, [61]), ("len('" + "a" * 900_000 + "')", {}, 900_000),
    ("len(`" + "é" * 900_000 + "`)", {}, 900_000), ("len('" + "\\n" * 400_000 + "')", {}, 400_000), ("len('" + "\\u00e9" * 100_000 + "')", {}, 100_000),
    ("a" * 900_000, {}, None), ("x." + "b" * 900_000, {"x": {}}, None), ("1" + " " * 900_000, {}, 1), ("1 //" + "*" * 900_000, {}, 1),
    ("/*" + "*" * 900_000 + "*/1", {}, 1), ("1" + "/**/" * 200_000, {}, 1), ("len([" + "1," * 9_000 + "])", {}, 9_000),
    ("len({" + ",".join(f"k{n}: {n}" for n in range(3000)) + "})", {}, 3000), ("x in [" + ",".join(f"'k{n}'" for n in range(9000)) + "]", {"x": "k8"}, True),
    ("." + "1" * 100_000, {}, 0.1111111111111111), ("1_" * 9 + "1", {}, 1111111111), ("0." + "0" * 100_000 + "1", {}, 0.0), ("data.__class__", {"data": {}}, None),
    ("__builtins__", {}, None), ("__proto__", {}, None), ("{__class__: 1}.__class__", {}, 1), ("$env['__class__']", {}, None), ("get([1], '__class__')", {}, None),
    ("let __class__ = 1; __class__", {}, 1), ("'\ud800'", {}, "\ufffd"), ("'\x00'", {}, "\x00"), ("'%s {0.__class__} ${x}'", {}, "%s {0.__class__} ${x}"),
]  # fmt: skip

#: (text, variables, how the message starts)
FAILS = [
    ("x." + "b" * 900_000, {"x": 1}, "cannot read a text of 900000 characters"), ("now()." + "b" * 900_000 + "()", {}, "time.Time has no method"),
    ("x" + ".a" * 9000, {}, 'cannot read "a" of nil'), ("''.__class__", {}, 'cannot read "__class__" of a value of type string'),
    ("''.__class__()", {}, 'cannot call "__class__" of a value of type string'), ("[].__class__", {}, 'cannot read "__class__" of a value of type array'), ("data.__class__.__mro__", {"data": {}}, 'cannot read "__mro__" of nil'),
    ("now().__class__", {}, 'cannot read "__class__" of a value of type time.Time'), ("now().__class__()", {}, 'time.Time has no method "__class__"'),
    ("now().ns", {}, 'cannot read "ns"'), ("duration('1s').__post_init__()", {}, "time.Duration has no method"), ("date('2024-01-01').zone", {}, 'cannot read "zone"'),
    ("timezone('UTC').info", {}, 'cannot read "info"'), ("now().Month().label", {}, 'cannot read "label"'), ("'a'.format(1)", {}, 'cannot call "format"'),
    ("[1].append(2)", {}, 'cannot call "append"'), ("data.items()", {"data": {}}, 'cannot call "items"'), ("data['__init__'].__globals__", {"data": {}}, "cannot read"),
    ("len.__globals__", {}, "cannot read"), ("$env.__class__.__base__", {}, "cannot read"), ("1.0 | string() | get(0) | int() / nope", {}, "operator /"),
]  # fmt: skip
