"""Words of other workflow languages, and what is written here instead. One table, kept short.

A word counts only where the key it stands for is known and not given; anything else stays an unknown key.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from opcode_kernel.errors import Json

Words = Mapping[str, str]

DEFINITION_WORDS: Words = {
    "tasks": "steps",
    "jobs": "steps",
    "nodes": "steps",
    "variables": "inputs",
    "result": "output",
}
STEP_WORDS: Words = {
    "if": "condition", "when": "condition", "needs": "depends_on", "after": "depends_on", "requires": "depends_on",
    "args": "params", "arguments": "params", "with": "params", "inputs": "params", "input": "params", "uses": "action",
    "run": "action", "tool": "action", "retries": "retry", "on_failure": "on_error", "catch": "on_error",
}  # fmt: skip
CONFIG_WORDS: Words = {
    "if": "expression", "when": "expression", "then": "branches", "else": "default", "otherwise": "default",
    "foreach": "over", "for_each": "over", "items": "over", "do": "body", "steps": "body", "question": "prompt_context",
    "prompt": "prompt_context", "choices": "options",
}  # fmt: skip
TYPE_WORDS: Words = {
    "if": "condition", "switch": "condition", "branch": "condition", "foreach": "loop", "for_each": "loop", "for": "loop",
    "while": "loop", "sleep": "wait", "delay": "wait", "timer": "wait", "approval": "reasoning", "decision": "reasoning",
    "task": "action", "step": "action", "tool": "action",
}  # fmt: skip

RETRY_WORDS: Words = {
    "max_retries": "max",
    "count": "max",
    "times": "max",
    "retries": "max",
    "limit": "max",
    "strategy": "backoff",
    "interval": "delay",
}
HANDLER_WORDS: Words = {"fallback": "fallback_step", "action": "strategy"}
#: Values, not keys.
STRATEGY_WORDS: Words = {
    "fallback": "fallback_step", "continue": "ignore", "skip": "ignore", "fail": "fail_workflow", "abort": "fail_workflow",
}  # fmt: skip
BACKOFF_WORDS: Words = {"fixed": "constant", "exp": "exponential"}

#: What the name of an action looks like: `run: npm test` names none.
_ACTION = re.compile(r"[A-Za-z][\w-]*(?:\.[\w-]+)+", re.ASCII)


def meant_by(key: str, value: Json, known: tuple[str, ...], words: Words) -> str | None:
    """Return the known key that the word `key` stands for, if its value may be a value of that one."""
    meant = words.get(key)
    if meant not in known or (meant == "action" and not (isinstance(value, str) and _ACTION.fullmatch(value))):
        return None
    return meant
