"""Run code that a model wrote: programs and checks in a jail, tools and their state in a separate world process.

`Sandbox` starts both. `Session` runs one program against one world and then judges the result. Names are loaded on
first use, because this package is also imported inside the jail, where only the standard library is available.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sca_cli.sandbox.host.allowed import AllowedEnvs
    from sca_cli.sandbox.host.outcomes import Judgement, Limits, Run
    from sca_cli.sandbox.host.sandbox import Description, Sandbox
    from sca_cli.sandbox.host.session import Session

_HOME = {
    "AllowedEnvs": "allowed", "Judgement": "outcomes", "Limits": "outcomes", "Run": "outcomes",
    "Description": "sandbox", "Sandbox": "sandbox", "Session": "session",
}  # fmt: skip

__all__ = ["AllowedEnvs", "Description", "Judgement", "Limits", "Run", "Sandbox", "Session"]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'sca_cli.sandbox' has no attribute {name!r}")
    return getattr(importlib.import_module(f"sca_cli.sandbox.host.{_HOME[name]}"), name)
