"""Convert between JSON and the types of a user's functions: pydantic makes the schemas and converts both ways.

pydantic is imported only if a function needs it, because a world that imports it takes longer to start and to fork.
"""

import ast
import contextlib
import dataclasses
import dis
import functools
import inspect
import itertools
import json
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

from sca_cli import MissingError, Tool, ToolError, describe_tool
from sca_cli.toolkit import schemas

if TYPE_CHECKING:
    from pydantic import TypeAdapter, ValidationError
    from pydantic.fields import FieldInfo

_MOST_ITEMS = 10_000
"""Most values of a generator that a result may hold; chosen by hand."""
_REFUSALS = (ValueError, LookupError, ArithmeticError, StopIteration)
_RAISE = dis.opmap["RAISE_VARARGS"]


def tool_of(name: str, function: Callable[..., Any], home: types.ModuleType) -> tuple[Tool, Callable[..., Any]]:
    """Return the description of a function, and a function that takes and returns JSON.

    Args:
        name: of the tool.
        function: a typed, documented function or bound method; it may be a coroutine function or a generator.
        home: the user's module. Exceptions that code in its directory raises, by `raise` or `assert`, are refusals.

    Raises:
        PluginError: a parameter has a type that pydantic cannot read; the message names tool and parameter.
    """
    adapters: dict[str, TypeAdapter[Any]] = {}
    finish = _finisher(function)
    fields = _fields(inspect.signature(function))

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        try:
            if adapters:
                args, kwargs = _converted(signature, adapters, fields, args, kwargs)
            return jsonable(finish(function(*args, **kwargs)), home)
        except ToolError:
            raise
        except ModuleNotFoundError as error:
            raise missing_package(error, Path(home.__file__ or "")) from error
        except Exception as error:
            if isinstance(error, _REFUSALS) or _is_raised_in(Path(home.__file__ or "").parent, error):
                raise ToolError(f"{type(error).__name__}: {error}") from error
            raise

    signature = _with_json_defaults(inspect.signature(function), fields, home)
    call.__name__ = name
    call.__annotations__ = _with_checked_names(function, home) | {
        key: Annotated[call.__annotations__[key], field] for key, field in fields.items()
    }
    call.__signature__ = signature  # type: ignore[attr-defined]  # inspect.signature reads this first

    def read(parameter: str, hint: Any) -> tuple[dict[str, Any], str]:
        adapter, schema = _adapter(hint, is_result=parameter == "return")
        if parameter != "return":
            adapters[parameter] = adapter
        return schema, schemas.python_type(schema)

    tool = describe_tool(call, read)
    description = schemas.with_details(tool.description, tool.parameters["properties"])
    return dataclasses.replace(tool, description=description), call


def jsonable(value: Any, home: types.ModuleType) -> Any:
    """Return a value as JSON data; a value that is JSON already is returned unchanged.

    Args:
        value: JSON, or what pydantic can write as JSON (dataclasses, sets, dates, enumerations, models), arrays and
            scalars of numpy, and objects of the user's own classes, which become their attributes.
        home: the user's module.

    Raises:
        TypeError: it holds another object; the message names its type.
        ValueError: it contains itself.
    """
    if value is None or isinstance(value, str | int | float):
        return value
    try:
        json.dumps(value)
        return value
    except RecursionError:
        return value  # the world refuses it
    except TypeError:
        pass
    import pydantic_core  # not at the top: most files do not need it

    def convert(part: Any) -> Any:
        if callable(tolist := getattr(part, "tolist", None)):
            return tolist()
        if type(part).__module__ == home.__name__ and hasattr(part, "__dict__"):
            return vars(part)
        raise TypeError(f"{type(part).__qualname__} is not JSON")

    try:
        return pydantic_core.to_jsonable_python(value, fallback=convert, inf_nan_mode="constants")
    except pydantic_core.PydanticSerializationError as error:
        raise TypeError(str(error).removeprefix("Error calling `fallback`: TypeError: ")) from error


def source_tree(home: types.ModuleType) -> ast.Module:
    """Return the syntax tree of a module; an empty one if it has no Python source."""
    try:
        return ast.parse(inspect.getsource(home))
    except (OSError, TypeError, SyntaxError):
        return ast.Module([], [])


def missing_package(error: ModuleNotFoundError, file: Path) -> MissingError:
    """Return the error for an import that fails in the user's code: its line, and how to make the module available.

    Args:
        error: Python's error.
        file: the user's file.
    """
    lines = [frame.tb_lineno for frame in _frames(error) if frame.tb_frame.f_code.co_filename == str(file)]
    package = str(error.name).partition(".")[0]
    return MissingError(
        f"{file}{f':{lines[-1]}' if lines else ''} needs the module '{error.name}', which is not there",
        f"'pip install {package}' into the environment of sca, or put {package}.py beside {file.name}",
    )


def _frames(error: BaseException) -> Iterator[types.TracebackType]:
    trace = error.__traceback__
    while trace:
        yield trace
        trace = trace.tb_next


def _is_raised_in(folder: Path, error: Exception) -> bool:
    """Tell whether code of this folder raised an exception itself, by `raise` or `assert`.

    An exception that an operation causes, such as `None.name`, is a fault of the code.
    """
    *_, last = _frames(error)
    code = last.tb_frame.f_code
    return Path(code.co_filename).parent == folder and code.co_code[last.tb_lasti] == _RAISE


# ---------------------------------------------------------------- parameters


def _with_checked_names(function: Callable[..., Any], home: types.ModuleType) -> dict[str, Any]:
    """Return the type hints of a function. A name that is imported under `if TYPE_CHECKING:` is imported if needed.

    Hints that cannot be read are returned as written; `describe_tool` reports them.
    """
    written: dict[str, Any] = function.__annotations__
    try:
        get_type_hints(function, include_extras=True)
    except NameError:
        try:
            return get_type_hints(function, localns=_checked_names(home), include_extras=True)
        except (NameError, TypeError, AttributeError, SyntaxError):
            return written
    except (TypeError, AttributeError, SyntaxError):
        return written
    return written


def _checked_names(home: types.ModuleType) -> dict[str, Any]:
    """Return the names that a module imports under `if TYPE_CHECKING:`, as far as they can be imported."""
    names: dict[str, Any] = {}
    for node in source_tree(home).body:
        if isinstance(node, ast.If) and ast.unparse(node.test).rpartition(".")[2] == "TYPE_CHECKING":
            for statement in node.body:
                with contextlib.suppress(ImportError):
                    exec(  # the user's own imports, in the world of the user's file
                        compile(ast.Module([statement], []), home.__file__ or "", "exec"), home.__dict__ | names, names
                    )
    return names


def _adapter(hint: Any, *, is_result: bool) -> "tuple[TypeAdapter[Any], dict[str, Any]]":
    """Return pydantic's adapter of a type, and the type's JSON Schema.

    Raises:
        TypeError: pydantic cannot convert values of this type.
    """
    from pydantic import PydanticUserError, TypeAdapter

    try:
        adapter: TypeAdapter[Any] = TypeAdapter(hint)
        return adapter, schemas.plain(adapter.json_schema(mode="serialization" if is_result else "validation"))
    except (PydanticUserError, NameError) as error:
        raise TypeError(f"the type {inspect.formatannotation(hint)} is not supported") from error


def _converted(
    signature: inspect.Signature,
    adapters: "dict[str, TypeAdapter[Any]]",
    fields: "dict[str, FieldInfo]",
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Return the arguments of a call as the types of their parameters.

    Raises:
        ToolError: a value does not fit.
    """
    from pydantic import ValidationError

    bound = signature.bind(*args, **kwargs)
    for name, value in bound.arguments.items():
        if name in adapters:
            convert = functools.partial(adapters[name].validate_json, strict=True)
            is_star = signature.parameters[name].kind is inspect.Parameter.VAR_POSITIONAL
            try:
                bound.arguments[name] = (
                    tuple(convert(json.dumps(each)) for each in value) if is_star else convert(json.dumps(value))
                )
            except ValidationError as error:
                raise ToolError(f"ValueError: {_reasons(name, error)}") from error
    for name, field in fields.items():
        if name not in bound.arguments:
            bound.arguments[name] = field.get_default(call_default_factory=True)
    return bound.args, bound.kwargs


def _reasons(name: str, error: "ValidationError") -> str:
    return "; ".join(
        f"{'.'.join(map(str, (name, *each['loc'])))}: {each['msg']}" for each in error.errors(include_url=False)
    )


def _fields(signature: inspect.Signature) -> "dict[str, FieldInfo]":
    """Return the parameters whose default is a pydantic `Field(…)`, which describes the parameter."""
    defaults = {parameter.name: parameter.default for parameter in signature.parameters.values()}
    return {name: value for name, value in defaults.items() if type(value).__module__ == "pydantic.fields"}


def _with_json_defaults(
    signature: inspect.Signature, fields: "dict[str, FieldInfo]", home: types.ModuleType
) -> inspect.Signature:
    """Return a signature whose defaults are JSON, as the model sees them. The function keeps its own defaults."""
    parameters = []
    for parameter in signature.parameters.values():
        default = parameter.default
        if field := fields.get(parameter.name):
            default = parameter.empty if field.is_required() else field.get_default(call_default_factory=True)
        if default is not parameter.empty:
            try:
                default = json.loads(json.dumps(jsonable(default, home)))
            except (TypeError, ValueError):
                default = _Default()
        parameters.append(parameter.replace(default=default))
    return signature.replace(parameters=parameters)


class _Default:
    """The default of a parameter whose value JSON cannot hold."""

    def __repr__(self) -> str:
        return "..."


# ---------------------------------------------------------------- results


def _finisher(function: Callable[..., Any]) -> Callable[[Any], Any]:
    """Return a function that runs a coroutine, or a generator to its end; other values are returned unchanged."""
    plain = inspect.unwrap(function)
    if inspect.iscoroutinefunction(plain) or inspect.isasyncgenfunction(plain):
        from sca_python.coroutines import run

        return lambda value: _exhausted(run(value, _MOST_ITEMS))
    return _exhausted


def _exhausted(value: Any) -> Any:
    """Return the values of an iterator as a list.

    Raises:
        ToolError: there are too many.
    """
    if not isinstance(value, Iterator):
        return value
    values = list(itertools.islice(value, _MOST_ITEMS + 1))
    if len(values) > _MOST_ITEMS:
        raise ToolError(f"more than {_MOST_ITEMS} values")
    return values
