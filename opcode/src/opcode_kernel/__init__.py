"""The public surface of the OPCODE kernel: all that a plugin or an embedding program may import.

What is not listed here, in `opcode_kernel.testing` or in the module a docstring names, is private.
"""

from opcode_kernel.core.evaluator import Evaluator, Program, References, find_references
from opcode_kernel.core.step_type import (
    Body,
    Call,
    Compiler,
    Complete,
    ConfigProblem,
    Decision,
    Directive,
    Fail,
    Note,
    Open,
    OpenBlock,
    Slot,
    StepType,
    StepView,
    Wait,
)  # fmt: skip
from opcode_kernel.core.text import canonical_text, compact_json, json_type, parse_duration
from opcode_kernel.errors import (
    ActionError,
    ConflictError,
    DefinitionError,
    ExpressionError,
    Failure,
    InterpolationError,
    Json,
    NotFoundError,
    OpcodeError,
    PluginError,
)  # fmt: skip
from opcode_kernel.plugin.action import Action, ActionContext, action
from opcode_kernel.plugin.hookspecs import hookimpl
from opcode_kernel.plugin.params import FreeText, Param, Seconds
from opcode_kernel.plugin.policy import HostRules, PathRules, Policy, ShellRules
from opcode_kernel.plugin.tool import Tool, ToolResult, ToolSession

__version__ = "0.1.0"

__all__ = [
    "Action", "ActionContext", "ActionError", "Body", "Call", "Compiler", "Complete", "ConfigProblem", "ConflictError",
    "Decision", "DefinitionError", "Directive", "Evaluator", "ExpressionError", "Fail", "Failure", "FreeText",
    "HostRules", "InterpolationError", "Json", "NotFoundError", "Note", "OpcodeError", "Open", "OpenBlock", "Param",
    "PathRules", "PluginError", "Policy", "Program", "References", "Seconds", "ShellRules", "Slot", "StepType",
    "StepView", "Tool", "ToolResult", "ToolSession", "Wait", "__version__", "action", "canonical_text",
    "compact_json", "find_references", "hookimpl", "json_type", "parse_duration",
]  # fmt: skip
