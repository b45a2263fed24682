"""The environment `m3tooleval`: the tool families of a checkout of code-act, loaded inside the world's jail.

The checkout's package is called `tasks`; we import it under another name. It imports tqdm and IPython, but we use no
function that needs them. If they are not installed, empty modules replace them. Its prints go to the jail's log.
"""

import ast
import importlib
import importlib.machinery
import importlib.util
import inspect
import sys
import types
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from sca_cli import Environment, MissingError, PluginError, RecordError, Shown, Tool, ToolError
from sca_cli.toolkit.arithmetic import calculate
from sca_suites import m3_checkers
from sca_suites.faults import absent, reading
from sca_suites.loading import carrying_out, chosen, evaluates_code, fingerprint, first_line

PACKAGE = "_m3tooleval_tasks"
SOURCE = "a whole checkout of github.com/xingyaoww/code-act"
CHECKERS = ("m3-exact", "tolerant")
_PLACES = ("scripts/eval/m3tooleval/tasks", "tasks", ".")
_REPLACEABLE = ("tqdm", "IPython", "IPython.core", "IPython.core.interactiveshell", "IPython.utils", "IPython.utils.io")
_WORDS = {
    "no_action": "Invalid generation. Your output should contain either 'Action:' or 'Answer:'",
    "unknown_tool": "Cound not find tool with name {tool}",
    "refused": "Failed to execute tool {tool} with args {arguments}. "
    "Did you try to invoke more than one tool at a time?",
    "wrong_answer": "Your answer is incorrect. Please try again. "
    "Note that you should ONLY output the answer (e.g., single number), without any other text.",
}
"""The benchmark's texts, with its spelling (`main.py` and `tasks/base.py`)."""
_PUBLISHED = {
    "actions": "text",
    "attempts": 1,
    "temperature": 0.0,
    "turns": 10,
    "max_tokens": 512,
    "retry": True,
}
"""The defaults of `main.py`."""
_SHOWN_CHARS = 2000
"""Longest result that the benchmark shows whole."""
_SCHEMAS = {
    "str": {"type": "string"}, "float": {"type": "number"}, "int": {"type": "number"}, "bool": {"type": "boolean"},
}  # fmt: skip


class M3ToolEval(Environment):
    """Offer the tools of one family; a reset opens the browser's start page again.

    Args:
        path: a checkout of code-act, or its directory m3tooleval.
        family: the family of the tools, which is the part of a task's name before the slash.
        families: the families whose tasks are listed, joined by `+`; default: all.
        checker: m3-exact (the benchmark's own, with its faults) or tolerant.
        oracle: yes to report a wrong answer to the model and let it retry, as the benchmark does.
        listing: yes to list the tasks: then there are no tools, and `state` returns the tasks.
    """

    checks_arguments = True

    def __init__(
        self,
        path: str = "",
        family: str = "",
        families: str = "",
        checker: str = "m3-exact",
        oracle: str = "no",
        listing: str = "",
    ) -> None:
        self._folder = folder = _folder(path)
        chosen("checker", checker, CHECKERS)
        chosen("oracle", oracle, ("yes", "no"))
        self._tasks = _loaded(folder)
        known = tuple(dict.fromkeys(_family(task) for task in self._tasks))
        self._listing: dict[str, Any] | None = None
        self._tool_source: Any = {}  # the tools by name, or a function that returns them
        if listing == "yes":
            selected = [chosen("family", name, known) for name in families.split("+")] if families else known
            specs = [_spec(task, path, checker) for task in self._tasks if _family(task) in selected]
            self._listing = {
                "data": f"m3tooleval {fingerprint(folder)}",
                "checker": checker,
                "retry": oracle == "yes",
                "words": _WORDS,
                "published": _PUBLISHED if checker == "m3-exact" and not families else None,
                "tasks": specs,
            }
        else:
            chosen("family", family, known)
            self._tool_source = next(task.given_tools for task in self._tasks if _family(task) == family)
        self._family = family
        self.reset(0)

    def reset(self, seed: int) -> None:  # noqa: ARG002  the benchmark has one state
        """Create the tools again if they hold a state; a task's own reset would keep the old ones."""
        with reading(PACKAGE, self._folder, SOURCE, self._folder):
            self._theirs = self._tool_source() if callable(self._tool_source) else self._tool_source

    def state(self) -> Any:
        """Return {}; with the option `listing=yes`, return the tasks instead."""
        return self._listing or {}

    def tools(self) -> dict[str, tuple[Tool, Callable[..., Any]]]:
        """Return the family's tools.

        Raises:
            PluginError: a tool's signature cannot be read.
            RecordError: a tool is not an object of the benchmark's tool class.
        """
        try:
            return {name: self._tool(name, their) for name, their in self._theirs.items()}
        except (AttributeError, TypeError) as error:
            where = f"{self._folder}: the tools of family '{self._family}'"
            raise RecordError(f"{where} cannot be read: {first_line(error)}") from None

    def _tool(self, name: str, their: Any) -> tuple[Tool, Callable[..., Any]]:
        signature, annotations = _signature(their)
        properties: dict[str, Any] = {}
        for parameter in signature.parameters.values():
            schema = _SCHEMAS.get(annotations.get(parameter.name, ""), {})
            starred = parameter.kind is parameter.VAR_POSITIONAL
            properties[parameter.name] = {"type": "array", "items": schema} if starred else schema
        required = [
            p.name for p in signature.parameters.values() if p.default is p.empty and p.kind is not p.VAR_POSITIONAL
        ]
        tool = Tool(
            name=name,
            description=their.description,
            parameters={
                "type": "object",
                "properties": properties,
                "required": required,
                "additionalProperties": False,
            },
            signature=their.fn_signature,
            returns=their.fn_signature.rpartition("->")[2].strip() or "Any",
        )
        if evaluates_code(their.function):
            return tool, carrying_out(partial(_calculated, their), signature)
        return tool, carrying_out(partial(self._call, name), signature)

    def _call(self, name: str, *args: Any, **kwargs: Any) -> Shown:
        return _shown(self._theirs[name].function(*args, **kwargs))


def _shown(value: Any) -> Shown:
    """Return a result with the text that the benchmark shows, in which a tuple is no list."""
    text = str(value)
    return Shown(value, text if len(text) <= _SHOWN_CHARS else f"{text[:_SHOWN_CHARS]}...\n[Output Truncated]")


def _calculated(their: Any, expression: Any) -> Shown:
    """Return the value of an expression, without running it as code; if it has none, what the benchmark returns then.

    Raises:
        ToolError: it has no value, and the benchmark's function raises an exception for such an expression.
    """
    try:
        return _shown(calculate(expression))
    except (ToolError, TypeError, AttributeError):  # the last two: it is no text
        try:
            text = their.function("(")  # this is no expression for any function, and nothing is run
        except Exception:  # noqa: BLE001  any exception of foreign code
            text = None
        if not isinstance(text, str):
            raise
        return _shown(text.replace("(", str(expression)))


def _family(task: Any) -> str:
    return str(task.name).partition("/")[0]


def _folder(path: str) -> Path:
    """Return the package's directory within a checkout.

    Raises:
        MissingError: the checkout does not contain the package.
    """
    if not path.startswith("/"):
        raise MissingError("no checkout of code-act named", "m3tooleval:PATH names it, as in m3tooleval:code-act")
    for place in _PLACES:
        folder = Path(path) / place
        if (folder / "base.py").is_file() and (folder / "impl").is_dir():
            return folder
    raise MissingError(f"{path} holds no M3ToolEval", "it has scripts/eval/m3tooleval/tasks/base.py, or tasks/base.py")


def _loaded(folder: Path) -> list[Any]:
    """Import the package and return its tasks; `given_tools` of each is the constructor's argument `tools`.

    Raises:
        MissingError, PluginError, RecordError: as `reading`; or the package has another layout.
    """
    for name in ("__init__.py", "base.py"):
        if not (folder / name).is_file():
            raise absent(folder / name, SOURCE)
    missing = {root for root in ("tqdm", "IPython") if root not in sys.modules and not importlib.util.find_spec(root)}
    sys.modules.update({name: _EmptyModule(name) for name in _REPLACEABLE if name.partition(".")[0] in missing})
    spec = importlib.util.spec_from_file_location(
        PACKAGE, folder / "__init__.py", submodule_search_locations=[str(folder)]
    )
    if spec is None or spec.loader is None:
        raise PluginError(f"{folder} is not a package")
    with reading(PACKAGE, folder, SOURCE, folder):
        package = importlib.util.module_from_spec(spec)
        sys.modules[PACKAGE] = package
        base = importlib.import_module(f"{PACKAGE}.base")
        if "Task" not in vars(base):
            raise RecordError(f"{base.__file__} has no Task")
        _remember_tools(base.Task)
        spec.loader.exec_module(package)
    try:
        tasks = [task for tasks, _ in base.task_iterators for task in tasks]
        if not all(isinstance(task, base.Task) for task in tasks):
            raise TypeError(f"{next(task for task in tasks if not isinstance(task, base.Task))!r:.60} is no Task")
    except (AttributeError, TypeError, ValueError) as error:
        raise RecordError(
            f"{base.__file__}: task_iterators should hold pairs of tasks and their number: {first_line(error)}"
        ) from None
    return tasks


class _EmptyModule(types.ModuleType):
    """A module in which every attribute is an empty class."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.__path__: list[str] = []

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return type(name, (), {})


def _remember_tools(task_class: Any) -> None:
    """Make the tasks store the constructor's argument `tools` unchanged, as `given_tools`.

    The original constructor calls the argument if it is a function, and stores only the result.
    """
    original = task_class.__init__
    signature = inspect.signature(original)

    def construct(self: Any, *args: Any, **kwargs: Any) -> None:
        self.given_tools = signature.bind(self, *args, **kwargs).arguments["tools"]
        original(self, *args, **kwargs)

    task_class.__init__ = construct


def _signature(their: Any) -> tuple[inspect.Signature, dict[str, str]]:
    """Return a tool's signature, and the known types of its parameters by name.

    The result is the signature of the function itself, because the documented one can be wrong. Built-in functions may
    have no signature of their own; then the result is the documented one.

    Raises:
        PluginError: neither signature can be read.
    """
    written = _written(their.fn_signature)
    types_of = {name: p.annotation for name, p in written.parameters.items() if p.annotation is not p.empty}
    try:
        own = inspect.signature(their.function)
    except (ValueError, TypeError):
        if not written.parameters:
            raise PluginError(f"the signature of tool '{their.name}' cannot be read") from None
        return written, types_of
    annotated = {name: p.annotation for name, p in own.parameters.items() if p.annotation is not p.empty}
    return own, types_of | {name: getattr(hint, "__name__", str(hint)) for name, hint in annotated.items()}


def _written(text: str) -> inspect.Signature:
    """Parse a signature from text such as `find(place: str, *tags: str) -> list`; without parameters if that fails."""
    try:
        definition = ast.parse(f"def {text}: ...").body[0]
    except SyntaxError:
        return inspect.Signature()
    assert isinstance(definition, ast.FunctionDef)
    parsed = definition.args
    kinds: list[tuple[ast.arg, Any]] = [(name, inspect.Parameter.POSITIONAL_OR_KEYWORD) for name in parsed.args]
    kinds += [(parsed.vararg, inspect.Parameter.VAR_POSITIONAL)] if parsed.vararg else []
    return inspect.Signature(
        [
            inspect.Parameter(
                name.arg, kind, annotation=ast.unparse(name.annotation) if name.annotation else inspect.Parameter.empty
            )
            for name, kind in kinds
        ]
    )


def _spec(task: Any, path: str, checker: str) -> dict[str, Any]:
    """Return a task as plain data.

    Raises:
        PluginError: its expected output cannot be written as a literal.
    """
    expected = repr(task.expected_output)
    try:
        ast.literal_eval(expected)
    except (ValueError, SyntaxError):
        raise PluginError(f"task '{task.name}' expects {expected[:80]}, which is not a plain value") from None
    function = m3_checkers.m3_exact if checker == "m3-exact" else m3_checkers.tolerant
    return {
        "name": task.name,
        "instruction": task.instruction,
        "options": {"path": path, "family": _family(task)},
        "evaluate": f"from typing import Any\n\n{inspect.getsource(function)}\n\n"
        f"def evaluate(answer):\n    return {function.__name__}(answer, {expected})\n",
        "solution": f"final_answer({expected})",
    }
