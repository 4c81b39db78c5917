"""The public surface of the OPCODE kernel: all that a plugin or an embedding program may import.

What is not listed here, in `opcode_kernel.testing` or in the module a docstring names, is private. Names are looked up
when they are first used: `opcode --help` must not pay for the plugin contract.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from opcode_kernel.core.definition import Step
    from opcode_kernel.core.evaluator import Evaluator, Program, References, find_references
    from opcode_kernel.core.events import RESERVED_EVENTS
    from opcode_kernel.core.interpolation import Template
    from opcode_kernel.core.limits import Limits
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
    )
    from opcode_kernel.core.text import canonical_text, compact_json, json_type, meant_duration, parse_duration
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
    )
    from opcode_kernel.isolation.access import process_limits
    from opcode_kernel.isolation.child import Child
    from opcode_kernel.isolation.launcher import DEVNULL, PIPE, Launcher, open_launcher
    from opcode_kernel.isolation.rules import IsolationRules, ProcessLimits
    from opcode_kernel.plugin.action import Action, ActionContext, action
    from opcode_kernel.plugin.external import ExternalPlugin
    from opcode_kernel.plugin.hookspecs import hookimpl
    from opcode_kernel.plugin.host_policy import check_address, check_host
    from opcode_kernel.plugin.manager import Registry, discover, registry_of
    from opcode_kernel.plugin.params import FreeText, Param, Rest, Seconds
    from opcode_kernel.plugin.paths import Directory, PathGuard, Place, absolute_path, resolve_read, resolve_write
    from opcode_kernel.plugin.policy import BoundSecret, HostRules, PathRules, Policy, ShellRules
    from opcode_kernel.plugin.provider import Provider, ProviderHost
    from opcode_kernel.plugin.schema_params import Allowance, SchemaParams
    from opcode_kernel.plugin.tool import Tool, ToolResult, ToolSession
    from opcode_kernel.runtime.engine import Engine, EngineOptions, open_engine
    from opcode_kernel.runtime.vault import open_vault
    from opcode_kernel.schemas import JsonSchema, first_match
    from opcode_kernel.store.base import Store
    from opcode_kernel.store.memory import MemoryStore
    from opcode_kernel.store.tortoise import SqlStore

#: Where each public name lives, by module below this package.
_MODULES = {
    "core.definition": ("Step",),
    "core.evaluator": ("Evaluator", "Program", "References", "find_references"),
    "core.events": ("RESERVED_EVENTS",),
    "core.interpolation": ("Template",),
    "core.limits": ("Limits",),
    "core.step_type": (
        "BlockView",
        "Body",
        "Call",
        "Compiler",
        "Complete",
        "ConfigProblem",
        "Decision",
        "Directive",
        "Fail",
        "Note",
        "Open",
        "OpenBlock",
        "Slot",
        "StepType",
        "StepView",
        "Wait",
    ),
    "core.text": ("canonical_text", "compact_json", "json_type", "meant_duration", "parse_duration"),
    "errors": (
        "ActionError",
        "ConflictError",
        "DefinitionError",
        "ExpressionError",
        "Failure",
        "InterpolationError",
        "Json",
        "NotFoundError",
        "OpcodeError",
        "PluginError",
    ),
    "isolation.access": ("process_limits",),
    "isolation.child": ("Child",),
    "isolation.launcher": ("DEVNULL", "PIPE", "Launcher", "open_launcher"),
    "isolation.rules": ("IsolationRules", "ProcessLimits"),
    "plugin.action": ("Action", "ActionContext", "action"),
    "plugin.external": ("ExternalPlugin",),
    "plugin.hookspecs": ("hookimpl",),
    "plugin.host_policy": ("check_address", "check_host"),
    "plugin.manager": ("Registry", "discover", "registry_of"),
    "plugin.params": ("FreeText", "Param", "Rest", "Seconds"),
    "plugin.paths": ("Directory", "PathGuard", "Place", "absolute_path", "resolve_read", "resolve_write"),
    "plugin.policy": ("BoundSecret", "HostRules", "PathRules", "Policy", "ShellRules"),
    "plugin.provider": ("Provider", "ProviderHost"),
    "plugin.schema_params": ("Allowance", "SchemaParams"),
    "plugin.tool": ("Tool", "ToolResult", "ToolSession"),
    "runtime.engine": ("Engine", "EngineOptions", "open_engine"),
    "runtime.vault": ("open_vault",),
    "schemas": ("JsonSchema", "first_match"),
    "store.base": ("Store",),
    "store.memory": ("MemoryStore",),
    "store.tortoise": ("SqlStore",),
}
_HOMES = {name: module for module, names in _MODULES.items() for name in names}


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(f"{__name__}.{home}"), name)
    return value


def __dir__() -> list[str]:
    return sorted(__all__)


__all__ = [
    "DEVNULL",
    "PIPE",
    "RESERVED_EVENTS",
    "Action",
    "ActionContext",
    "ActionError",
    "Allowance",
    "BlockView",
    "Body",
    "BoundSecret",
    "Call",
    "Child",
    "Compiler",
    "Complete",
    "ConfigProblem",
    "ConflictError",
    "Decision",
    "DefinitionError",
    "Directive",
    "Directory",
    "Engine",
    "EngineOptions",
    "Evaluator",
    "ExpressionError",
    "ExternalPlugin",
    "Fail",
    "Failure",
    "FreeText",
    "HostRules",
    "InterpolationError",
    "IsolationRules",
    "Json",
    "JsonSchema",
    "Launcher",
    "Limits",
    "MemoryStore",
    "NotFoundError",
    "Note",
    "OpcodeError",
    "Open",
    "OpenBlock",
    "Param",
    "PathGuard",
    "PathRules",
    "Place",
    "PluginError",
    "Policy",
    "ProcessLimits",
    "Program",
    "Provider",
    "ProviderHost",
    "References",
    "Registry",
    "Rest",
    "SchemaParams",
    "Seconds",
    "ShellRules",
    "Slot",
    "SqlStore",
    "Step",
    "StepType",
    "StepView",
    "Store",
    "Template",
    "Tool",
    "ToolResult",
    "ToolSession",
    "Wait",
    "__version__",
    "absolute_path",
    "action",
    "canonical_text",
    "check_address",
    "check_host",
    "compact_json",
    "discover",
    "find_references",
    "first_match",
    "hookimpl",
    "json_type",
    "meant_duration",
    "open_engine",
    "open_launcher",
    "open_vault",
    "parse_duration",
    "process_limits",
    "registry_of",
    "resolve_read",
    "resolve_write",
]
