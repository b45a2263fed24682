"""The `python` environment: a module's functions, or the methods of one class, as tools."""

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


class PythonEnvironment(Environment):
    """Every public function that the module itself defines is a tool, or every public method of the class.

    What is marked `@tool(writes=True)` changes the state; what is not marked only reads. The state is what is plain
    JSON among the module's variables, or the instance's attributes. These functions need not know of sca: ValueError
    and LookupError are refusals here, as ToolError is. A class that is an `Environment` is taken as it is.
    """

    _owner: Any
    """The module, or the object of the class."""

    def __new__(cls, target: str) -> Environment:  # type: ignore[misc]  # the object of a class may be one itself
        """Import the module, and make an instance of the class if one is named."""
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
        """Describe the tools and keep the first state.

        Args:
            target: a file (`tools.py`) or the name of a module, and `:CLASS` to take the methods of one class.

        Raises:
            UsageError: there is no such file, module or class.
            PluginError: its code fails, or a function that would be a tool has no type hints or no docstring.
            MissingError: it needs a package that is absent.
        """
        self._tools = _described(self._owner, target)
        self.policy = inspect.getdoc(self._owner if inspect.ismodule(self._owner) else type(self._owner)) or ""
        self._initial = copy.deepcopy(self.state())

    def tools(self) -> dict[str, tuple[Tool, Callable[..., Any]]]:
        """Return the public functions, in the order they are written."""
        return self._tools

    def reset(self, seed: int) -> None:
        """Put the first state back, then call the module's or the object's own `reset(seed)`, if it has one."""
        if self.state() != self._initial:
            self.restore(self._initial)
        if own := getattr(self._owner, "reset", None):
            own(seed)

    def state(self) -> dict[str, Any]:
        """Return the variables that are plain JSON."""
        return {name: value for name, value in vars(self._owner).items() if name[:2] != "__" and _is_json(value)}

    def restore(self, state: Any) -> None:
        """Set the variables to what `state()` gave; lists and dictionaries stay the same objects."""
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
        """Return the option with an absolute path, so that records can be used in any directory."""
        path, colon, name = _split(options["target"])
        return [{"target": f"{path.absolute()}{colon}{name}" if isinstance(path, Path) else options["target"]}]

    @classmethod
    def reads(cls, options: dict[str, str]) -> list[Path]:
        """Return the file's directory: what it imports lies beside it."""
        path, _, _ = _split(options["target"])
        if not isinstance(path, Path):
            return []
        folder = path.absolute().parent
        return [folder if folder != Path("/") else path.absolute()]


def _split(target: str) -> tuple[Path | str, str, str]:
    """Return file or module, ":" and class; the last two empty where no class is named."""
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
                    raise UsageError(f"no module '{path}'", "a file is written with its .py") from error
                raise
    try:
        path.open().close()
    except PermissionError as error:
        cure = f"chmod o+rx {path.absolute().parent}; chmod o+r {path}"
        raise UsageError(f"the jail's user may not read {path}", cure) from error
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}") from error
    sys.path.insert(0, str(path.absolute().parent))
    name = f"sca_python_{path.stem}"  # a file called random.py must not stand in for the module of that name
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
    """Tell what the user's code raises with its file and line; errors of ours are told as they are."""
    try:
        yield
    except (MissingError, PluginError, RecordError, UsageError):
        raise
    except (Exception, SystemExit) as error:
        raise _with_line(error) from error


def _with_line(error: BaseException) -> MissingError | PluginError:
    frames = [(frame.filename, frame.lineno) for frame in traceback.extract_tb(error.__traceback__)]
    theirs = [frame for frame in frames if frame[0] not in (__file__, importlib.__file__) and frame[0][0] != "<"]
    beside = [frame for frame in theirs if Path(frame[0]).parent == Path(theirs[0][0]).parent]  # not a library's
    place, text = beside[-1] if beside else ("", 0), str(error).partition("\n")[0]
    if isinstance(error, SyntaxError):
        place, text = (error.filename or "", error.lineno), error.msg
    if isinstance(error, ModuleNotFoundError):
        return MissingError(f"{place[0]} needs the package '{error.name}'", f"pip install {error.name}")
    where = f"{place[0]}:{place[1]}: " if place[0] else ""
    return PluginError(f"{where}{type(error).__name__}: {text}")


def _described(owner: Any, target: str) -> dict[str, tuple[Tool, Callable[..., Any]]]:
    functions = _functions(owner)
    if not functions:
        raise PluginError(
            f"{target} has no public functions",
            "define one with type hints and a docstring, or name a class: FILE:CLASS",
        )
    if bare := [name for name, function in functions.items() if not _is_documented(function)]:
        raise PluginError(
            f"{target}: no type hints or no docstring: {', '.join(bare)}",
            "the model reads both; write them, or start the names of functions that are no tools with _",
        )
    return {name: (describe_tool(function), _refusing(function)) for name, function in functions.items()}


def _functions(owner: Any) -> dict[str, Callable[..., Any]]:
    """Return the public functions of a module that are its own, or the public methods of an object."""
    if isinstance(owner, types.ModuleType):
        names = [name for name, value in vars(owner).items() if getattr(value, "__module__", "") == owner.__name__]
    else:
        names = [name for cls in reversed(type(owner).__mro__[:-1]) for name in vars(cls)]
    members = {name: getattr(owner, name) for name in names if name[0] != "_" and name != "reset"}
    return {name: value for name, value in members.items() if inspect.isroutine(value)}


def _refusing(function: Callable[..., Any]) -> Callable[..., Any]:
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
