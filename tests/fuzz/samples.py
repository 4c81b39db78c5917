"""Sound definitions and expressions, in every form the contract knows, and the tokens they are respelt with."""

from __future__ import annotations

from typing import Any

_ECHO: dict[str, Any] = {"id": "a", "action": "test.echo", "params": {"value": "${{inputs.n}}"}}

#: Beside the ones that are generated: what the generator does not make.
DEFINITIONS: tuple[dict[str, Any], ...] = (
    {"steps": [_ECHO]},
    {
        "inputs": {"n": 3, "who": "${{workflow.run_id}}"},
        "context": {"intent": "fuzz"},
        "steps": [
            {"id": "hash", "action": "crypto.hash", "params": {"data": "${{inputs.text}}", "algorithm": "sha256"}},
            {"id": "sum", "action": "expr.eval", "params": {"expression": "sum(data, .x)", "data": [{"x": 1}, {"x": 2}]}},
            {"id": "same", "action": "assert.equals", "params": {"expected": 3, "actual": "${{steps.sum.output.result}}"}},
            {"id": "like", "action": "assert.matches", "params": {"value": "abc", "pattern": "^a.c$"}, "depends_on": ["hash"]},
            {"id": "shape", "action": "assert.schema",
             "params": {"data": {"a": 1}, "schema": {"type": "object", "properties": {"a": {"type": "integer", "pattern": "x"}}}}},
            {"id": "say", "action": "workflow.log", "params": {"message": "n is ${{inputs.n ?? 0}}", "level": "info"}},
            {"id": "tell", "action": "workflow.emit", "params": {"event_type": "told", "payload": {"n": "${{steps.sum.output}}"}}},
        ],
        "output": {"hash": "${{steps.hash.output.hash}}", "n": "${{steps.sum.output.result}}"},
        "timeout": "30s",
    },
    {
        "steps": [
            {"id": "c", "type": "condition", "config": {"expression": "inputs.kind", "branches": {"p": [_ECHO], "q": []}, "default": []}},
            {"id": "l", "type": "loop", "depends_on": ["c"],
             "config": {"over": "[.inputs.items[] | select(. != null)]", "body": [{**_ECHO, "params": {"value": "${{loop.item}}"}}], "max_iter": 9}},
            {"id": "p", "type": "parallel", "config": {"mode": "race", "branches": [[{**_ECHO, "id": "x"}], [{**_ECHO, "id": "y"}]]}},
            {"id": "r", "type": "reasoning", "timeout": "1h",
             "config": {"prompt_context": "Which?", "options": [{"id": "go", "description": "on"}, {"id": "no"}], "fallback": "no",
                        "data_inject": {"n": "inputs.n", "all": "${{steps.c.output}}"}}},
            {"id": "w", "type": "wait", "config": {"duration": "2h", "signal": "go"}, "condition": "inputs.flag == true"},
        ],
        "on_error": {"id": "bad", "action": "workflow.log", "params": {"message": "${{workflow.status}}"}},
        "on_complete": {"id": "good", "action": "test.echo", "params": {"value": 1}},
        "on_timeout": "suspend",
    },
)  # fmt: skip

EXPRESSIONS: dict[str, tuple[str, ...]] = {
    "cel": (
        "inputs.n > 3 && steps['a'].ok", "inputs.tags.exists(t, t.startsWith('x'))", "has(inputs.maybe) ? inputs.maybe : 'none'",
        "size(inputs.items) % 2 == 0 || inputs.flag", "inputs.items.map(x, x * 2).filter(y, y > 2)", "[1, 2, 3].all(x, x < 4)",
        "inputs.text.matches('^a.*z$') || inputs.text.contains(\"q\")", "{'a': 1, 'b': [2, 3]}['b'][1] + 4", "double(inputs.n) / 2.0 >= 1.5",
        "timestamp('2026-01-01T00:00:00Z').getFullYear() + int('7')", "duration('90m') > duration('1h')", "string(inputs.n) + r'\\d' + '\\u00e9'",
        "inputs.items.exists_one(x, x == 1) == !false", "type(inputs.n) == double", "1 in inputs.items ? b'ab' : bytes('c')", "-inputs.n - -3u + 1u",
    ),
    "expr": (
        "inputs.n > 3 and steps['a'].ok", "filter(inputs.items, {# > 1}) | map({# * 2}) | sum()", "let t = sum(data, .x); t > 10 ? 'big' : 'small'",
        "data?.a?.b ?? 'none'", "groupBy(data, .x)", "sortBy(data, .x, 'desc') | first()", "map(1..9, {{id: #, sq: # ** 2}})",
        "reduce(1..9, #acc + #, 0)", "split('a,b,c', ',') | map(upper(#)) | join('-')", "inputs.text matches '^a.*z$'", "data[1:3][-1].x",
        "toJSON(fromJSON('{\"a\": [1, 2]}'))", "date('2026-01-01').Add(duration('1h')).Format('2006-01-02')", "if inputs.n > 1 { 'a' } else { 'b' }",
        "int('42') + float('1.5') - len('héllo') % 2", "bitand(12, 10) | bitor(1) | bitshl(2)", "not (1 in [1.0, 2]) or nil == data", "1 < inputs.n <= 5",
        "find(data, .x == 2)?.y ?? [1, 2, 3]", "concat([1], [2], flatten([[3]])) | uniq() | reverse()", "keys({a: 1, 'b': 2}) | join()", "$env.inputs.n",
        "trim('  x ') + repeat('ab', 3) + `raw`", "mean([1, 2]) + median([3, 4]) + max(1, 2) + abs(-3)", "toPairs({a: 1}) | fromPairs()",
    ),
    "jq": (
        ".steps.a.items | map(.name)", "[.inputs.items[] | select(. != null)]", ".inputs | to_entries | map({(.key): .value}) | add",
        "[.inputs.items[] | tostring | ascii_upcase]", "reduce .inputs.items[] as $x (0; . + ($x | length))", "try error(\"x\") catch .",
        "[range(0; 5)] | map(. * 2) | .[1:3]", ".inputs.text | split(\",\") | join(\"-\")", "def f(x): x * 2; f(.inputs.n)", "[.. | numbers] | sort",
        ".inputs.text | test(\"a.c\"; \"i\")", "if .inputs.flag then 1 else 2 end", "[limit(3; .inputs.items[])]", "@base64 \"x\\(.inputs.n)\"",
    ),
    "template": (
        "${{inputs.n}}", "n is ${{ inputs.n ?? 3 }} and ${{steps.a.output | json}}", "${{steps['a'].output['k'][0]}}", "${{steps.a.status | text}}",
        "${{inputs.items[-1].y}}${{context.intent}}", "$${{inputs.n}} \\${{inputs.n}}", "${{workflow.run_id}}", "${{ inputs.maybe ?? \"eu\" }}",
        "Bearer ${{ secrets.P }}", "${{inputs.text}}", "${{loop.item.x}} ${{loop.parent.index}}", "${{steps.a.output.k.0}}", "${{inputs['x-y'] ?? null}}",
    ),
}  # fmt: skip

TOKENS: tuple[str, ...] = (
    "+", "-", "*", "/", "%", "**", "^", "==", "!=", "<=", "in", "not in", "&&", "||", "and", "or", "??", "?.", "?", ":", "|", "..", "...", "!",
    "(", ")", "[", "]", "{", "}", "{{", "}}", "${{", "#", "#acc", ".", ",", ";", "'", '"', "`", "\\", "//", "/*", "*/", "$env", "$", "@", "nil", "null", "true",
    "matches", "contains", "let x =", "x", "size", "map", "filter", "all", "reduce", "repeat", "inputs", "steps", "iter", "loop", "data",
    "1", "0", "-1", "1e308", "9223372036854775807", "18446744073709551615u", "0x7f", "'a'", "b'\\xff'", "\n", "\x00", "\ud800", "é",
)  # fmt: skip
