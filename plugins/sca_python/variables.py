"""The variables of a user's module, or the attributes of an object of their class, as the state of an environment."""

import inspect
import json
import types
from collections.abc import Iterator
from typing import Any

from sca_python.conversion import jsonable

_NO_DATA = {"typing", "typing_extensions", "types", "__future__", "re", "logging", "functools"}
"""Modules whose objects are part of the code, not of the state."""


def variables(owner: Any, home: types.ModuleType) -> dict[str, Any]:
    """Return name → value of a module's variables, or of an object's attributes and those of its class.

    Args:
        owner: the module, or the object.
        home: the user's module; attributes of classes of other modules are left out.
    """
    named: dict[str, Any] = {}
    if owner is not home:
        for cls in reversed(type(owner).__mro__):
            named |= vars(cls) if cls.__module__ == home.__name__ else {}
    for name in [name for name, value in named.items() if isinstance(value, types.MemberDescriptorType)]:
        del named[name]  # of `__slots__`: the value is the object's
        if hasattr(owner, name):
            named[name] = getattr(owner, name)
    named |= getattr(owner, "__dict__", {})
    return {name: value for name, value in named.items() if name[:2] != "__" and not _is_code(value)}


def as_json(named: dict[str, Any], home: types.ModuleType) -> dict[str, Any]:
    """Return the values that can be written as JSON, in that form."""
    result = {}
    for name, value in named.items():
        if not isinstance(value, Iterator):  # reading one would use it up
            try:
                result[name] = json.loads(json.dumps(jsonable(value, home), allow_nan=False))
            except (TypeError, ValueError, RecursionError):
                continue
    return result


def assign(owner: Any, name: str, value: Any, old: Any) -> None:
    """Set a variable; a list, dictionary or set stays the same object, because other variables may refer to it.

    Args:
        owner: the module, or the object.
        name: the variable.
        value: its new value.
        old: its present value.
    """
    if isinstance(value, dict | set) and type(old) is type(value):
        old.clear()
        old.update(value)
    elif isinstance(value, list) and isinstance(old, list):
        old[:] = value
    else:
        setattr(owner, name, value)


def _is_code(value: Any) -> bool:
    return (
        isinstance(value, types.ModuleType | type | property | staticmethod | classmethod)
        or inspect.isroutine(value)
        or type(value).__module__ in _NO_DATA
    )
