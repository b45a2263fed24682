"""sca: turn any tool environment into verified training tasks and then into a better agent (arXiv 2506.01716).

Plugins import from this module only. Each name is loaded when it is first used, so importing the module is cheap.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sca_cli.devices import ask_for_huge_pages, device_of, dtype_of
    from sca_cli.errors import MissingError, ModelError, PluginError, RecordError, ToolError, UsageError
    from sca_cli.exports.source import ExportSource
    from sca_cli.hookspecs import Register, hookimpl
    from sca_cli.interfaces import Completion, Environment, Model, Sampling, Shown, Tool, describe_tool, tool
    from sca_cli.messages import visible
    from sca_cli.records import FunctionCall, Message, ToolCall

_HOME = {
    "devices": ("ask_for_huge_pages", "device_of", "dtype_of"),
    "errors": ("MissingError", "ModelError", "PluginError", "RecordError", "ToolError", "UsageError"),
    "exports.source": ("ExportSource",),
    "hookspecs": ("Register", "hookimpl"),
    "interfaces": ("Completion", "Environment", "Model", "Sampling", "Shown", "Tool", "describe_tool", "tool"),
    "messages": ("visible",),
    "records": ("FunctionCall", "Message", "ToolCall"),
}
_MODULE_OF = {name: module for module, names in _HOME.items() for name in names}

__all__ = [  # noqa: RUF022  the order of _HOME, so that a missing name is easy to find
    "ask_for_huge_pages", "device_of", "dtype_of",
    "MissingError", "ModelError", "PluginError", "RecordError", "ToolError", "UsageError",
    "ExportSource",
    "Register", "hookimpl",
    "Completion", "Environment", "Model", "Sampling", "Shown", "Tool", "describe_tool", "tool",
    "visible",
    "FunctionCall", "Message", "ToolCall",
]  # fmt: skip

__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module 'sca_cli' has no attribute {name!r}")
    return getattr(importlib.import_module(f"sca_cli.{_MODULE_OF[name]}"), name)
