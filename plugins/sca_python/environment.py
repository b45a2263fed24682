"""The `python` environment: the functions of a module, or the methods of one class, are the tools."""

import ast
import contextlib
import copy
import functools
import importlib
import importlib.util
import inspect
import sys
import traceback
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from sca_cli import Environment, MissingError, PluginError, RecordError, Tool, UsageError
from sca_python.conversion import missing_package, source_tree, tool_of
from sca_python.files import files_of
from sca_python.variables import as_json, assign, variables


class PythonEnvironment(Environment):
    """Make a tool of every public function that the module itself defines, or of every public method of the class.

    Functions marked `@tool(writes=True)` change the state; functions without the mark only read it. The state consists
    of the module's variables, or the object's attributes, that can be written as JSON. The functions do not have to
    import sca: ValueError, LookupError, ArithmeticError, StopIteration (of `next`) and what the user's code raises
    itself count as refusals, like ToolError. If the class is an `Environment` itself, its object is returned unchanged.
    """

    _owner: Any
    """The module, or the instance of the class."""
    _home: types.ModuleType
    """The module."""

    def __new__(cls, target: str) -> Environment:  # type: ignore[misc]  # may return the user's own Environment
        """Import the module, and create an instance of the class if the target names one."""
        path, _, name = _split(target)
        module = _module(path)
        owner = _instance(module, name) if name else module
        if isinstance(owner, Environment):
            if owner.outside:
                raise UsageError(f"'{name}' must reach outside, and this world is jailed", "make it a plugin")
            return owner
        self = super().__new__(cls)
        self._owner, self._home = owner, module
        return self

    def __init__(self, target: str) -> None:
        """Describe the tools and save the initial state.

        Args:
            target: a file (`tools.py`) or the name of a module; append `:CLASS` to use the methods of one class.

        Raises:
            UsageError: the file, module or class does not exist.
            PluginError: its code fails, or a public function has no type hints or no docstring.
            MissingError: the code needs a package that is not installed.
        """
        self._tools = _describe(self._owner, self._home, target)
        self.policy = inspect.getdoc(self._owner if inspect.ismodule(self._owner) else type(self._owner)) or ""
        self._initial_state = self.state()
        self._initial = copy.deepcopy({name: self._variables()[name] for name in self._initial_state})

    def tools(self) -> dict[str, tuple[Tool, Callable[..., Any]]]:
        """Return the public functions, in the order of the source code."""
        return self._tools

    def reset(self, seed: int) -> None:
        """Restore the initial state, then call the module's or the object's own `reset(seed)`, if it has one."""
        if self.state() != self._initial_state:
            self._assign(copy.deepcopy(self._initial))
        if own_reset := getattr(self._owner, "reset", None):
            own_reset(seed)

    def state(self) -> dict[str, Any]:
        """Return the variables that can be written as JSON."""
        return as_json(self._variables(), self._home)

    def not_in_state(self) -> list[str]:
        """Return the variables that cannot be written as JSON, each with its type."""
        state = self.state()
        return [f"{name} ({type(value).__name__})" for name, value in self._variables().items() if name not in state]

    def restore(self, state: Any) -> None:
        """Set the variables to the result of an earlier `state()`; lists and dictionaries stay the same objects.

        Raises:
            NotImplementedError: a variable holds objects, which JSON cannot restore.
        """
        current = self._variables()
        if objects := [name for name, value in self.state().items() if value != current[name]]:
            raise NotImplementedError(f"these variables hold objects: {', '.join(objects)}")
        self._assign(copy.deepcopy(state))

    def _variables(self) -> dict[str, Any]:
        return variables(self._owner, self._home)

    def _assign(self, new: dict[str, Any]) -> None:
        old = self._variables()
        for name in self.state().keys() - new.keys():
            delattr(self._owner, name)
        for name, value in new.items():
            assign(self._owner, name, value, old.get(name))

    @classmethod
    def variants(cls, options: dict[str, str]) -> list[dict[str, str]]:
        """Return the option with an absolute path, so that records are valid in any directory."""
        path, colon, name = _split(options["target"])
        return [{"target": f"{path.absolute()}{colon}{name}" if isinstance(path, Path) else options["target"]}]

    @classmethod
    def reads(cls, options: dict[str, str]) -> list[Path]:
        """Return the file, and what it needs from its folder."""
        path, _, _ = _split(options["target"])
        return files_of(path.absolute()) if isinstance(path, Path) else []


def _split(target: str) -> tuple[Path | str, str, str]:
    """Split a target into file or module, ":", and class; the last two are empty if the target names no class."""
    head, colon, name = target.rpartition(":")
    if not colon or not name.isidentifier():
        head, colon, name = target, "", ""
    is_file = head.endswith(".py") or "/" in head
    return Path(head) if is_file else head, colon, name


def _module(path: Path | str) -> types.ModuleType:
    if isinstance(path, str):
        with _located():
            try:
                return importlib.import_module(path)
            except ModuleNotFoundError as error:
                if error.name and f"{path}.".startswith(f"{error.name}."):
                    raise UsageError(f"no module '{path}'", "write a file name with its .py") from error
                raise
    try:
        path.open().close()
    except PermissionError as error:
        hint = f"chmod o+rx {path.absolute().parent}; chmod o+r {path}"
        raise UsageError(f"the jail's user may not read {path}", hint) from error
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}") from error
    sys.path.insert(0, str(path.absolute().parent))
    name = f"sca_python_{path.stem}"  # a file called random.py must not replace the module `random`
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise UsageError(f"{path} is not a Python file")
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    with _located():
        spec.loader.exec_module(module)
    return module


def _instance(module: types.ModuleType, name: str) -> Any:
    cls = getattr(module, name, None)
    if not isinstance(cls, type):
        raise UsageError(f"{Path(module.__file__ or module.__name__).name} has no class '{name}'")
    with _located():
        return cls()


@contextlib.contextmanager
def _located() -> Iterator[None]:
    """Report an exception of the user's code with its file and line; pass our own errors through."""
    try:
        yield
    except (MissingError, PluginError, RecordError, UsageError):
        raise
    except (Exception, SystemExit) as error:
        raise _with_line(error) from error


def _with_line(error: BaseException) -> MissingError | PluginError:
    frames = [(frame.filename, frame.lineno) for frame in traceback.extract_tb(error.__traceback__)]
    foreign = [frame for frame in frames if frame[0] not in (__file__, importlib.__file__) and frame[0][0] != "<"]
    # Keep the frames in the directory of the user's file, without those of libraries that it calls.
    in_folder = [frame for frame in foreign if Path(frame[0]).parent == Path(foreign[0][0]).parent]
    place, text = in_folder[-1] if in_folder else ("", 0), str(error).partition("\n")[0]
    if isinstance(error, SyntaxError):
        place, text = (error.filename or "", error.lineno), error.msg
    if isinstance(error, ModuleNotFoundError):
        return missing_package(error, Path(place[0]))
    prefix = f"{place[0]}:{place[1]}: " if place[0] else ""
    return PluginError(f"{prefix}{type(error).__name__}: {text}")


def _describe(owner: Any, home: types.ModuleType, target: str) -> dict[str, tuple[Tool, Callable[..., Any]]]:
    functions = _functions(owner, home)
    if not functions:
        classes = [f":{name}" for name, value in vars(home).items() if _is_own_class(value, home)]
        raise PluginError(
            f"{target} has no public functions",
            f"define one with type hints and a docstring, or append a class: {' or '.join(classes) or ':CLASS'}",
        )
    if undocumented := [text for name, function in functions.items() for text in _undocumented(name, function)]:
        raise PluginError(
            f"{target}: no type hints or no docstring: {', '.join(undocumented)}",
            "add them, because the model reads both; if a function is no tool, start its name with _, or leave it out "
            "of __all__",
        )
    return {name: tool_of(name, function, home) for name, function in functions.items()}


def _functions(owner: Any, home: types.ModuleType) -> dict[str, Callable[..., Any]]:
    """Return the public functions that a module itself defines, or the public methods of an object.

    If the module has a list `__all__`, it says what is public. Functions that the file uses as decorators are no tools.
    """
    if isinstance(owner, types.ModuleType):
        names = [name for name, value in vars(owner).items() if getattr(value, "__module__", "") == owner.__name__]
    else:
        names = [name for cls in reversed(type(owner).__mro__[:-1]) for name in vars(cls)]
    listed = getattr(owner, "__all__", names) if owner is home else names
    left_out = {"reset", *_decorators(home)}
    public = [name for name in names if name[0] != "_" and name in listed and name not in left_out]
    members = {name: getattr(owner, name) for name in public if not _is_property(owner, name)}
    return {name: value for name, value in members.items() if inspect.isroutine(value) or hasattr(value, "__wrapped__")}


def _decorators(home: types.ModuleType) -> Iterator[str]:
    """Yield the names that a module uses as decorators: `logged` for `@logged` and for `@logged("calls")`."""
    for node in ast.walk(source_tree(home)):
        for decorator in getattr(node, "decorator_list", ()):
            part = decorator.func if isinstance(decorator, ast.Call) else decorator
            if isinstance(part, ast.Name | ast.Attribute):
                yield part.id if isinstance(part, ast.Name) else part.attr


def _is_own_class(value: Any, home: types.ModuleType) -> bool:
    return isinstance(value, type) and value.__module__ == home.__name__


def _is_property(owner: Any, name: str) -> bool:
    return isinstance(inspect.getattr_static(owner, name), property | functools.cached_property)


def _undocumented(name: str, function: Callable[..., Any]) -> list[str]:
    """Return what a function lacks: its name if it has no docstring, or its parameters without a type hint."""
    parameters = inspect.signature(function).parameters.values()
    untyped = [p.name for p in parameters if p.annotation is p.empty]
    if not inspect.getdoc(function):
        hidden = getattr(function, "__name__", name) != name
        return [f"{name} (its decorator hides both, without functools.wraps)" if hidden else name]
    return [f"{name}({', '.join(untyped[:3])}{', …' if untyped[3:] else ''})"] if untyped else []
