"""Find tools that run their arguments as code, by reading their source. Standard library only.

Hostile arguments reach a tool as data. A tool that evaluates them would give hostile code control of the world's
process. Covered: a tool and everything it refers to in its own top-level package, by `ast`. Not covered: other packages
that receive the arguments from a tool, and code without Python source.
"""

import ast
import builtins
import functools
import importlib
import importlib.util
import inspect
import linecache
import sys
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from sca_cli.errors import PluginError
from sca_cli.interfaces import Environment

_EVALUATORS = {
    *(f"builtins.{name}" for name in ("eval", "exec", "compile", "__import__")),
    *(f"{module}.{name}" for module in ("pickle", "_pickle", "marshal", "dill") for name in ("load", "loads")),
    *("pickle.Unpickler", "_pickle.Unpickler", "pickle._load", "pickle._loads", "shelve.open"),
    *(f"{module}.{name}" for module in ("os", "posix") for name in ("system", "popen", "startfile")),
    *("importlib.import_module", "importlib.__import__", "runpy.run_module", "runpy.run_path"),
    *(f"timeit.{name}" for name in ("timeit", "repeat", "Timer", "main")),
    *(f"{module}.{name}" for module in ("profile", "cProfile") for name in ("run", "runctx")),
}
_EVALUATING_PREFIXES = (
    *("subprocess.", "asyncio.create_subprocess", "asyncio.subprocess.", "code.", "pty."),
    *(f"{module}.{name}" for module in ("os", "posix") for name in ("exec", "spawn", "posix_spawn")),
)
_BY_NAME = {
    **{f"builtins.{name}": 1 for name in ("getattr", "setattr", "delattr")},
    **{f"operator.{name}": 0 for name in ("attrgetter", "methodcaller")},
    "inspect.getattr_static": 1,
}
"""Functions that access an attribute by name → index of the argument with the name."""
_NAMESPACES = {"vars", "globals", "locals"}
"""Functions that return a table of names."""
_BY_NAME_METHODS = {"__getattribute__", "__getattr__", "__setattr__", "__delattr__"}
"""Methods that take the name of an attribute."""

_CURE = "look the argument up in a table of allowed values, or set `isolated = True` and write `restore(state)`"

type _Function = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda


def evaluators(function: Callable[..., Any]) -> list[str]:
    """Return the places where a tool, or a function of its package that it refers to, may run a value as code.

    A call whose arguments are all literals runs no value from outside and is not reported.

    Args:
        function: a function, a bound method, or a `functools.partial` of one.

    Returns:
        `file.py:12: eval(expression)` for each place, in search order; empty for functions without source.
    """
    locations: dict[str, None] = {}
    todo, visited = [function], set[Any]()
    while todo:
        current, owner = _plain(todo.pop())
        if current in visited or (node := _definition(current)) is None:
            continue
        visited.add(current)
        reader = _Reader(current, owner, node)
        locations |= dict.fromkeys(reader.findings())
        todo += reader.functions()
    return list(locations)


def refuse_evaluators(environment: Environment) -> None:
    """Reject an environment whose tools run their arguments as code, unless it is `isolated` and implements `restore`.

    Raises:
        PluginError: a tool runs its arguments as code. The message names the tool, the line and the solution.
    """
    if environment.isolated:
        if type(environment).restore is Environment.restore:
            raise PluginError("an isolated environment needs restore(state)", "sca-plugins(7) shows one")
        return
    for name, (_, method) in environment.tools().items():
        if locations := evaluators(method):
            raise PluginError(f"tool '{name}' may run its arguments as code: {locations[0]}", _CURE)
    _functions.cache_clear()
    linecache.clearcache()


def _plain(function: Any) -> tuple[Any, Any]:
    """Return the function that has the source, and the object or class it is bound to."""
    owner = None
    while not isinstance(function, types.FunctionType):
        if isinstance(function, functools.partial):
            function = function.func
        elif isinstance(function, types.MethodType):
            function, owner = function.__func__, function.__self__
        elif "__wrapped__" in getattr(function, "__dict__", {}):  # staticmethod, classmethod, lru_cache
            function = function.__wrapped__
        else:
            break
    return function, owner


def _definition(function: Any) -> _Function | None:
    if not isinstance(function, types.FunctionType):
        return None
    code = function.__code__
    source = "".join(linecache.getlines(code.co_filename, function.__globals__))
    return _functions(source).get((code.co_firstlineno, code.co_name))


@functools.lru_cache(maxsize=8)
def _functions(source: str) -> dict[tuple[int, str], _Function]:
    """Return (first line, name) → definition for all functions of a module."""
    definitions: dict[tuple[int, str], _Function] = {}
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Lambda):
            definitions[node.lineno, "<lambda>"] = node
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            definitions[min([node.lineno, *(part.lineno for part in node.decorator_list)]), node.name] = node
    return definitions


class _Reader:
    """One function's source, and the objects that its names refer to.

    Args:
        function: the plain function.
        owner: the object it is bound to: an instance, a class or None.
        node: its definition.
    """

    def __init__(self, function: types.FunctionType, owner: Any, node: _Function) -> None:
        self._function, self._owner, self._node = function, owner, node
        self._package = (function.__module__ or "").partition(".")[0]
        self._names: dict[str, Any] = vars(builtins) | function.__globals__
        for name in function.__code__.co_varnames:
            self._names.pop(name, None)
        self._names |= inspect.getclosurevars(function).nonlocals
        parameters = [*node.args.posonlyargs, *node.args.args]
        if owner is not None and parameters:
            self._names[parameters[0].arg] = owner
        self._imports = dict(self._imported())
        parts = list(ast.walk(node))
        self._calls = {part.func: part for part in parts if isinstance(part, ast.Call)}
        self._loads = [
            part for part in parts if isinstance(part, ast.Name | ast.Attribute) and isinstance(part.ctx, ast.Load)
        ]

        self._named = [part for part in parts if isinstance(part, ast.expr) and _reaches_by_name(part)]

    def findings(self) -> Iterator[str]:
        """Yield the places where a value may be run as code."""
        for part in self._named:
            yield self._location(part)
        for part in self._loads:
            name = self._dotted(part)
            by_name = _BY_NAME.get(name)
            if by_name is None and name not in _EVALUATORS and not name.startswith(_EVALUATING_PREFIXES):
                continue
            call = self._calls.get(part)
            if call and _is_harmless(call, by_name):
                continue
            yield self._location(call or part)

    def _location(self, part: ast.expr) -> str:
        code = " ".join(ast.unparse(part).split())
        file = Path(self._function.__code__.co_filename).name
        return f"{file}:{part.lineno}: {code if len(code) <= 80 else code[:80] + '…'}"

    def functions(self) -> Iterator[Any]:
        """Yield the functions of its own package that it refers to, called or not."""
        for part in self._loads:
            yield from self._of_package(self._value(part), deep=True)

    def _of_package(self, value: Any, *, deep: bool) -> Iterator[Any]:
        plain, _ = _plain(value)
        if isinstance(value, type) and self._is_ours(value):
            yield from (member for member in vars(value).values() if self._is_ours(_plain(member)[0]))
        elif isinstance(plain, types.FunctionType) and self._is_ours(plain):
            yield value
        elif isinstance(value, property):
            yield from (f if self._owner is None else types.MethodType(f, self._owner) for f in (value.fget,) if f)
        elif deep and isinstance(value, dict | list | tuple | set | frozenset):
            for item in value.values() if isinstance(value, dict) else value:
                yield from self._of_package(item, deep=False)

    def _is_ours(self, value: Any) -> bool:
        package = str(getattr(value, "__module__", "")).partition(".")[0]
        return package == self._package or (_folder(package) == _folder(self._package) != "")

    def _value(self, node: ast.expr) -> Any:
        """Return the object that a name or a chain of attributes refers to, without running code; None if unknown."""
        if isinstance(node, ast.Name):
            return self._names.get(node.id)
        if not isinstance(node, ast.Attribute):
            return None
        if isinstance(node.value, ast.Call) and ast.unparse(node.value) == "super()":
            return _inherited(self._owner, node.attr)
        base = self._value(node.value)
        value = None if base is None else inspect.getattr_static(base, node.attr, None)
        bound = isinstance(value, types.FunctionType) and not isinstance(base, type | types.ModuleType)
        return types.MethodType(value, base) if bound and callable(value) else value

    def _dotted(self, node: ast.expr) -> str:
        """Return the full name of the object that an expression refers to, or "" if unknown."""
        text = ast.unparse(node)
        root, dot, rest = text.partition(".")
        if root in self._imports:
            return f"{self._imports[root]}{dot}{rest}"
        value = self._value(node)
        if isinstance(node, ast.Attribute) and isinstance(base := self._value(node.value), types.ModuleType):
            return f"{base.__name__}.{node.attr}"
        if isinstance(value, types.ModuleType) or not callable(value):
            return ""
        return f"{getattr(value, '__module__', None) or 'builtins'}.{getattr(value, '__qualname__', '')}"

    def _imported(self) -> Iterator[tuple[str, str]]:
        """Yield name → full dotted name for imports inside the function. Add imports of its package to its names."""
        for part in ast.walk(self._node):
            if isinstance(part, ast.Import):
                for alias in part.names:
                    yield (alias.asname, alias.name) if alias.asname else (alias.name.partition(".")[0],) * 2
            elif isinstance(part, ast.ImportFrom):
                anchor = self._function.__globals__.get("__package__")
                module = importlib.util.resolve_name("." * part.level + (part.module or ""), anchor)
                for alias in part.names:
                    name = alias.asname or alias.name
                    if module.partition(".")[0] == self._package:
                        self._names[name] = getattr(importlib.import_module(module), alias.name, None)
                    else:
                        yield name, f"{module}.{alias.name}"


def _folder(module: str) -> str:
    """Return the directory of a module that is not in a package. Modules in this directory count as its package."""
    file = getattr(sys.modules.get(module), "__file__", None) or ""
    return "" if file.endswith("__init__.py") else str(Path(file).parent) if file else ""


def _is_harmless(call: ast.Call, by_name: int | None) -> bool:
    """Return whether a call's arguments, or the attribute name that it accesses, are literals in the source."""
    if by_name is not None:
        return len(call.args) > by_name and _is_literal(call.args[by_name])
    return all(map(_is_literal, [*call.args, *(keyword.value for keyword in call.keywords)]))


def _reaches_by_name(node: ast.expr) -> bool:
    """Return whether an expression accesses a name that is not a literal, through a namespace or a method."""
    match node:
        case ast.Subscript(value=namespace, slice=key) if _is_namespace(namespace):
            return not _is_literal(key) or f"builtins.{ast.literal_eval(key)}" in _EVALUATORS
        case ast.Call(func=ast.Attribute(value=namespace, attr="get" | "pop"), args=[key, *_]) if _is_namespace(
            namespace
        ):
            return not _is_literal(key)
        case ast.Call(func=ast.Attribute(attr=name), args=arguments) if name in _BY_NAME_METHODS:
            return not any(map(_is_literal, arguments[:2]))
    return False


def _is_namespace(node: ast.expr) -> bool:
    match node:
        case ast.Attribute(attr="__dict__") | ast.Name(id="__builtins__"):
            return True
        case ast.Attribute(value=ast.Name(id="sys"), attr="modules"):
            return True
        case ast.Call(func=ast.Name(id=name)):
            return name in _NAMESPACES
    return False


def _is_literal(node: ast.expr) -> bool:
    try:
        ast.literal_eval(node)
    except (ValueError, TypeError):
        return False
    return True


def _inherited(owner: Any, name: str) -> Any:
    bases = (owner if isinstance(owner, type) else type(owner)).__mro__[1:]
    value = next((vars(base)[name] for base in bases if name in vars(base)), None)
    return types.MethodType(value, owner) if isinstance(value, types.FunctionType) else None
