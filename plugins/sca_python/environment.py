"""The `python` environment: the functions of a module, or the methods of one class, are the tools."""

import contextlib
import copy
import functools
import importlib
import importlib.util
import inspect
import json
import sys
import traceback
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from sca_cli import Environment, MissingError, PluginError, RecordError, Tool, ToolError, UsageError, describe_tool
from sca_python.files import files_of


class PythonEnvironment(Environment):
    """Make a tool of every public function that the module itself defines, or of every public method of the class.

    Functions marked `@tool(writes=True)` change the state; functions without the mark only read it. The state consists
    of the module's variables, or the object's attributes, that are plain JSON. The functions do not have to import sca:
    ValueError and LookupError count as refusals, like ToolError. If the class is an `Environment` itself, its object is
    returned unchanged.
    """

    _owner: Any
    """The module, or the instance of the class."""

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
        self._owner = owner
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
        self._tools = _describe(self._owner, target)
        self.policy = inspect.getdoc(self._owner if inspect.ismodule(self._owner) else type(self._owner)) or ""
        self._initial = copy.deepcopy(self.state())

    def tools(self) -> dict[str, tuple[Tool, Callable[..., Any]]]:
        """Return the public functions, in the order of the source code."""
        return self._tools

    def reset(self, seed: int) -> None:
        """Restore the initial state, then call the module's or the object's own `reset(seed)`, if it has one."""
        if self.state() != self._initial:
            self.restore(self._initial)
        if own_reset := getattr(self._owner, "reset", None):
            own_reset(seed)

    def state(self) -> dict[str, Any]:
        """Return the variables that are plain JSON."""
        return {name: value for name, value in vars(self._owner).items() if name[:2] != "__" and _is_json(value)}

    def restore(self, state: Any) -> None:
        """Set the variables to the result of an earlier `state()`; lists and dictionaries stay the same objects."""
        old, new = self.state(), copy.deepcopy(state)
        for name in old.keys() - new.keys():
            delattr(self._owner, name)
        for name, value in new.items():
            if isinstance(value, dict) and isinstance(old.get(name), dict):
                old[name].clear()
                old[name].update(value)
            elif isinstance(value, list) and isinstance(old.get(name), list):
                old[name][:] = value
            else:
                setattr(self._owner, name, value)

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
        return MissingError(f"{place[0]} needs the package '{error.name}'", f"pip install {error.name}")
    prefix = f"{place[0]}:{place[1]}: " if place[0] else ""
    return PluginError(f"{prefix}{type(error).__name__}: {text}")


def _describe(owner: Any, target: str) -> dict[str, tuple[Tool, Callable[..., Any]]]:
    functions = _functions(owner)
    if not functions:
        raise PluginError(
            f"{target} has no public functions",
            "define one with type hints and a docstring, or name a class: FILE:CLASS",
        )
    if undocumented := [name for name, function in functions.items() if not _is_documented(function)]:
        raise PluginError(
            f"{target}: no type hints or no docstring: {', '.join(undocumented)}",
            "add them, because the model reads both; a function whose name starts with _ is not a tool",
        )
    return {name: (describe_tool(function), _with_refusals(function)) for name, function in functions.items()}


def _functions(owner: Any) -> dict[str, Callable[..., Any]]:
    """Return the public functions that a module itself defines, or the public methods of an object."""
    if isinstance(owner, types.ModuleType):
        names = [name for name, value in vars(owner).items() if getattr(value, "__module__", "") == owner.__name__]
    else:
        names = [name for cls in reversed(type(owner).__mro__[:-1]) for name in vars(cls)]
    members = {name: getattr(owner, name) for name in names if name[0] != "_" and name != "reset"}
    return {name: value for name, value in members.items() if inspect.isroutine(value)}


def _with_refusals(function: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap a function so that ValueError and LookupError become refusals (ToolError)."""

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        try:
            return function(*args, **kwargs)
        except (ValueError, LookupError) as error:
            raise ToolError(f"{type(error).__name__}: {error}") from error

    return call


def _is_documented(function: Callable[..., Any]) -> bool:
    parameters = inspect.signature(function).parameters.values()
    return bool(inspect.getdoc(function)) and all(p.annotation is not p.empty for p in parameters)


def _is_json(value: Any) -> bool:
    try:
        return bool(json.loads(json.dumps(value, allow_nan=False)) == value)
    except (TypeError, ValueError, RecursionError):
        return False
