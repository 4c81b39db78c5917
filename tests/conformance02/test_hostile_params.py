"""Every param of every action takes what a stranger sends: an output or a typed error, soon, and never a bare exception."""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import Any

import pytest

from opcode_kernel import Json, PathRules, Policy, discover
from opcode_kernel.errors import CODES

pytestmark = pytest.mark.anyio


def nested(levels: int) -> Json:
    value: Json = 1
    for _ in range(levels):
        value = {"k": [value]}
    return value


HOSTILE: tuple[Json, ...] = (
    "", "a\x00b", "\ud800", "x" * 100_000, "é" * 1_000, "../..", "\n", "-", "%s{0}${{secrets.P}}", "[NaN]", 0, -1, 10**40, 1e308,
    True, [], {}, [None, "\x00"], {"A=B": "\ud800", "\x00": None}, nested(120),
)  # fmt: skip

#: A call of each action that does no harm whatever one of its params becomes; `{root}` is an empty directory of its own.
CALLS: dict[str, dict[str, Json]] = {
    "assert.contains": {"haystack": "a", "needle": "a"}, "assert.equals": {"expected": 1, "actual": 1},
    "assert.matches": {"value": "a", "pattern": "a"}, "assert.schema": {"data": 1, "schema": {}},
    "crypto.hash": {"data": "x"}, "crypto.hmac": {"data": "x", "key": "k"}, "expr.eval": {"expression": "data", "data": 1},
    "fs.append": {"path": "{root}/a", "content": "x"}, "fs.copy": {"src": "{root}/a", "dst": "{root}/b"},
    "fs.delete": {"path": "{root}/none"}, "fs.list": {"path": "{root}"}, "fs.move": {"src": "{root}/a", "dst": "{root}/b"},
    "fs.read": {"path": "{root}/a"}, "fs.stat": {"path": "{root}/a"}, "fs.write": {"path": "{root}/a", "content": "x"},
    "http.get": {"url": "http://127.0.0.1:1/"}, "http.post": {"url": "http://127.0.0.1:1/"},
    "http.request": {"url": "http://127.0.0.1:1/"}, "shell.exec": {"command": "true", "timeout": "2s"},
    "workflow.context": {"action": "update", "data": {"a": 1}}, "workflow.emit": {"event_type": "x"},
    "workflow.fail": {"reason": "x"}, "workflow.log": {"message": "x"}, "workflow.notify": {"message": "x"},
    "workflow.run": {"template_name": "nobody"},
}  # fmt: skip
_BARE = re.compile(r"\w*(Error|Exception|Warning)\b: ")


@pytest.mark.spec("1.3", "1.4")
@pytest.mark.parametrize("name", CALLS)
async def test_whatever_a_param_becomes_is_taken_or_refused_by_a_typed_error(
    world: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "area").mkdir()
    policy = Policy(paths=PathRules(writable=(f"{tmp_path}/area",)))
    base = {
        key: value.replace("{root}", f"{tmp_path}/area") if isinstance(value, str) else value
        for key, value in CALLS[name].items()
    }
    found = []
    async with world.engine(policy=policy) as engine:
        for param in discover().actions[name].input_schema["properties"]:
            step = {"id": "s", "action": name, "params": {**base, param: "${{inputs.v}}"}, "timeout": "5s"}
            await engine.define("t", {"steps": [step]}, agent_id="me")
            for value in HOSTILE:
                started = time.monotonic()
                result = await engine.run("t", agent_id="me", params={"v": value})
                took = time.monotonic() - started
                error = result["steps"]["s"].get("error", {"code": CODES[0], "message": "none"})
                if error["code"] not in CODES or _BARE.match(error["message"]) or took > 3:
                    found.append((param, repr(value)[:60], error["message"][:200], took))
    assert found == []


def test_no_action_with_params_is_left_out() -> None:
    names = {
        name for name in discover().actions if name.partition(".")[0] in {each.partition(".")[0] for each in CALLS}
    }
    assert names - set(CALLS) == {"crypto.uuid"}
