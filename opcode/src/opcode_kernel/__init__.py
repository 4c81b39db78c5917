"""The public surface of the OPCODE kernel: all that a plugin or an embedding program may import.

What is not listed here, in `opcode_kernel.testing` or in the module a docstring names, is private.
"""

from opcode_kernel.core.definition import Step
from opcode_kernel.core.evaluator import Evaluator, Program, References, find_references
from opcode_kernel.core.events import RESERVED_EVENTS
from opcode_kernel.core.interpolation import Template
from opcode_kernel.core.step_type import (
    BlockView,
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
from opcode_kernel.plugin.host_policy import check_address, check_host
from opcode_kernel.plugin.params import FreeText, Param, Rest, Seconds
from opcode_kernel.plugin.path_policy import PathGuard, absolute_path, resolve_read, resolve_write
from opcode_kernel.plugin.policy import HostRules, PathRules, Policy, ShellRules
from opcode_kernel.plugin.tool import Tool, ToolResult, ToolSession

__version__ = "0.1.0"

__all__ = [
    "RESERVED_EVENTS",
    "Action", "ActionContext", "ActionError", "BlockView", "Body", "Call", "Compiler", "Complete", "ConfigProblem", "ConflictError",
    "Decision", "DefinitionError", "Directive", "Evaluator", "ExpressionError", "Fail", "Failure", "FreeText",
    "HostRules", "InterpolationError", "Json", "NotFoundError", "Note", "OpcodeError", "Open", "OpenBlock", "Param",
    "PathGuard", "PathRules", "PluginError", "Policy", "Program", "References", "Rest", "Seconds", "ShellRules", "Slot", "Step", "StepType",
    "StepView", "Template", "Tool", "ToolResult", "ToolSession", "Wait", "__version__", "absolute_path", "action", "canonical_text",
    "check_address", "check_host", "compact_json", "find_references", "hookimpl", "json_type", "parse_duration",
    "resolve_read", "resolve_write",
]  # fmt: skip
