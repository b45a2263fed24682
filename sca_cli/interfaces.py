"""The interfaces that a plugin implements: `Environment` with its `@tool` methods, and `Model`.

This module imports only the standard library, because the world process in the jail loads it: each extra module takes
memory pages that every fork copies. The manual is `sca-plugins(7)`.
"""

import inspect
import json
import re
import types
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import (
    TYPE_CHECKING,
    Annotated,
    Any,
    Literal,
    Optional,
    Protocol,
    Union,
    get_args,
    get_origin,
    get_type_hints,
    overload,
    runtime_checkable,
)

from sca_cli.errors import PluginError

if TYPE_CHECKING:
    from pathlib import Path

    from sca_cli.records import JSON, Message, ToolCall

# ---------------------------------------------------------------- environments


@dataclass(frozen=True, slots=True)
class Tool:
    """A tool as the model sees it."""

    name: str
    description: str
    """The full docstring, without its indentation."""
    parameters: "dict[str, JSON]"
    """JSON Schema of an object with one property per parameter; a `*args` parameter is an array."""
    signature: str
    """The signature as Python text: `convert_currency(base_price: float, conversion_rate: float) -> float`."""
    returns: str
    """The returned type as Python text: `float` or `list[str]`."""
    writes: bool = False
    """The tool can change the environment's state. During a check (`evaluate`) its calls are blocked."""
    result: "dict[str, JSON]" = field(default_factory=dict)
    """JSON Schema of the result; {} if it is not known."""
    ends: bool = False
    """A call of the tool ends the attempt, as a transfer to a human does in TauBench."""

    def variadic(self) -> str:
        """Return the name of the `*args` parameter, or "" if there is none."""
        star = re.search(r"\*(\w+):", self.signature)
        return star[1] if star else ""


@dataclass(frozen=True, slots=True)
class Shown:
    """A result of a tool function, with the text that a model reads instead of the value's own text.

    Programs get the value. The text may show what JSON does not keep, such as a tuple, or what another program prints.
    """

    value: "JSON"
    """The result for programs."""
    text: str
    """The result for a model that acts by JSON calls or by text."""


@overload
def tool[F: Callable[..., Any]](function: F) -> F: ...
@overload
def tool[F: Callable[..., Any]](*, writes: bool = False) -> Callable[[F], F]: ...
def tool(function: Any = None, *, writes: bool = False) -> Any:
    """Mark a method of an `Environment` as a tool.

    Args:
        function: a method with type hints and a docstring; its parameters and its result have JSON types.
        writes: the tool can change the environment's state.
    """

    def mark(function: Any) -> Any:
        function.__sca_tool__ = {"writes": writes}
        return function

    return mark(function) if function is not None else mark


class Environment:
    """A set of tools over a state. To write one, subclass this class and mark methods with `@tool`.

    The constructor receives the options of `--env NAME:k=v,…` as keyword arguments; the values are strings. The
    constructor may be slow (load the data there); `reset` must be fast. A tool refuses a call by raising `ToolError`.
    Any other exception makes the outcome `invalid`. An environment never returns a reward.
    """

    policy: str = ""
    """Text for the system prompt: it describes the environment and its rules."""
    customer: bool = False
    """The agent serves a customer: a simulated user gets the instruction, and the agent talks to this user."""
    isolated: bool = False
    """The tools run their arguments as code. So checks run in a new world, which `restore` builds from `state()`."""
    checks_arguments: bool = False
    """The tools check their arguments themselves, and refuse those that they cannot use.

    Without it, a call whose arguments do not fit the tool's types is refused before the tool gets it.
    """
    outside: bool = False
    """The environment needs access to something outside its process, such as a server or the network.

    It runs without a jail, as trusted code.
    """

    def reset(self, seed: int) -> None:
        """Set the state that belongs to `seed`: same seed, same state; different seeds, different states."""

    def state(self) -> "JSON":
        """Return the state as JSON data."""
        return {}

    def not_in_state(self) -> list[str]:
        """Return the names of variables that `state()` leaves out, for `sca env test`."""
        return []

    def restore(self, state: "JSON") -> None:
        """Set a state that `state()` returned.

        Raises:
            NotImplementedError: this environment cannot do it. Checks need it if the environment is isolated.
        """
        raise NotImplementedError

    def tools(self) -> dict[str, tuple[Tool, Callable[..., Any]]]:
        """Return name → (description, function) of the tools: by default the methods marked with `@tool`.

        Override it if the tools are known only at run time. Each function's parameters must have the names in its
        description (setting `__signature__` is enough). The description's schemas have the form that
        `sca_cli.toolkit.schemas` describes.
        """
        return tools_of(self)

    def first_observation(self) -> str:
        """Return a text about this seed's state that explorers and challengers get before any call, or "".

        If records can only be reached through a customer, this text introduces one. Agents that attempt a task do not
        see it.
        """
        return ""

    def allows(self, tool: str, arguments: "dict[str, JSON]") -> str | None:  # noqa: ARG002  overriding methods use it
        """Return the rule of the policy that forbids a call in this state, or None if the policy allows the call.

        Override it if the policy forbids more than the tools refuse. Only `sca challenge --method walk` calls it, in
        the environment's world after `reset` with the task's seed, and makes no task of a call that is forbidden. A
        call that the policy neither allows nor forbids for certain, because it depends on what the customer says or
        because no rule names the case, returns `""`: then there is no task of it at all, not even of a refusal.

        Args:
            tool: name of a writing tool.
            arguments: arguments with which its call worked in this state, by name.
        """
        return None

    @classmethod
    def reads(cls, options: dict[str, str]) -> "list[Path]":  # noqa: ARG003  overriding methods use it
        """Return the files and directories outside its package that it reads. A world can read nothing else."""
        return []

    @classmethod
    def variants(cls, options: dict[str, str]) -> list[dict[str, str]]:
        """Return the option sets that these options describe. Commands that write records use them in turn."""
        return [options]

    @classmethod
    def eval_path(cls) -> "Path | None":
        """Return the path of the JSONL file of held-out tasks that is installed with the environment, or None."""
        return None


_PRIMITIVES: dict[Any, str] = {str: "string", int: "integer", float: "number", bool: "boolean", type(None): "null"}


class _NotJson(Exception):
    """A type hint is not made of JSON types."""


def _schema(hint: Any) -> "dict[str, JSON]":
    """Return the JSON Schema of a type hint made of JSON types, unions, Literals, lists and dicts.

    Raises:
        _NotJson: the hint is made of other types.
    """
    if hint is Any or hint is object or hint is inspect.Parameter.empty:
        return {}
    origin, args = get_origin(hint), get_args(hint)
    if origin is Literal and all(type(arg) in (str, int, bool, type(None)) for arg in args):
        return {"enum": list(args)}
    if origin in (Union, types.UnionType):
        return {"anyOf": [_schema(arg) for arg in args]}
    if hint is list or origin is list:
        return {"type": "array", "items": _schema(args[0])} if args else {"type": "array"}
    if (hint is dict or origin is dict) and args[:1] in ((), (str,)):
        values = _schema(args[1]) if args else {}
        return {"type": "object", "additionalProperties": values} if values else {"type": "object"}
    if isinstance(hint, type | types.NoneType) and hint in _PRIMITIVES:
        return {"type": _PRIMITIVES[hint]}
    raise _NotJson


def _type_name(hint: Any) -> str:
    if hint is inspect.Parameter.empty:
        return "Any"
    return str(inspect.formatannotation(hint)).replace("typing.", "")


def _parameter_texts(docstring: str) -> dict[str, str]:
    """Return parameter → description from a docstring in the style of Google, NumPy or Sphinx."""
    if not re.search(r"^ *(?:(?:Args|Arguments|Parameters|Params):?|:param .*)$", docstring, re.MULTILINE):
        return {}
    import docstring_parser  # not at the top: most forks of a world would copy its pages for nothing

    try:
        parsed = docstring_parser.parse(docstring)
    except docstring_parser.ParseError:
        return {}
    return {each.arg_name.lstrip("*"): " ".join((each.description or "").split()) for each in parsed.params}


type HintReader = Callable[[str, Any], "tuple[dict[str, JSON], str]"]
"""Takes the name of a parameter, or "return", and its type hint; returns JSON Schema and Python text of the type."""


def _not_supported(_name: str, hint: Any) -> "tuple[dict[str, JSON], str]":
    raise TypeError(f"{_type_name(hint)} is not a JSON type")


def describe_tool(function: Callable[..., Any], read_hint: HintReader = _not_supported) -> Tool:
    """Build the `Tool` of a method or function from its type hints and docstring.

    Args:
        function: a function or a bound method.
        read_hint: reads hints that are not made of JSON types; raises TypeError for a hint that it does not support.

    Raises:
        PluginError: it has no docstring, a `**` parameter, or a type that is not supported. The message names the tool
            and the parameter.
    """
    name = function.__name__
    docstring = inspect.getdoc(function)
    if not docstring:
        raise PluginError(f"tool '{name}' has no docstring", "the model reads it; say what the tool does")
    hints = _hints(function)
    texts = _parameter_texts(docstring)
    properties: dict[str, Any] = {}
    signature_parts: list[str] = []
    required: list[str] = []
    star = ""
    for parameter in inspect.signature(function).parameters.values():
        if parameter.name == "self" and parameter.annotation is parameter.empty:
            continue
        if parameter.kind is parameter.VAR_KEYWORD:
            raise PluginError(f"tool '{name}' takes **{parameter.name}", "name every parameter")
        hint = hints.get(parameter.name, parameter.annotation)
        if parameter.default is None and get_origin(hint) is not Annotated and types.NoneType not in get_args(hint):
            hint = Optional[hint]  # noqa: UP045  `|` does not take every hint
        try:
            schema, text = _read(parameter.name, hint, read_hint)
        except TypeError as error:
            raise PluginError(f"tool '{name}', parameter '{parameter.name}': {error}", _SUPPORTED) from None
        if parameter.name in texts:
            schema = schema | {"description": texts[parameter.name]}
        default = ""
        if parameter.kind is parameter.VAR_POSITIONAL:
            described = {key: schema.pop(key) for key in ("description",) if key in schema}
            schema, star = {"type": "array", "items": schema} | described, "*"
        elif parameter.default is parameter.empty:
            required.append(parameter.name)
        else:
            schema, default = _with_default(schema, parameter.default)
        if parameter.kind is parameter.KEYWORD_ONLY and not star:
            signature_parts.append(star := "*")
        mark = "*" if parameter.kind is parameter.VAR_POSITIONAL else ""
        properties[parameter.name] = schema
        signature_parts.append(f"{mark}{parameter.name}: {text}{default}")
    try:
        result, returns = _read("return", hints.get("return", inspect.Parameter.empty), read_hint)
    except TypeError:
        result, returns = {}, _type_name(hints["return"])
    return Tool(
        name=name,
        description=docstring,
        parameters={"type": "object", "properties": properties, "required": required, "additionalProperties": False},
        signature=f"{name}({', '.join(signature_parts)}) -> {returns}",
        returns=returns,
        writes=bool(getattr(function, "__sca_tool__", {}).get("writes", False)),
        result=result,
    )


_SUPPORTED = "use JSON types (str, int, float, bool, None, list, dict, Literal)"


def _hints(function: Callable[..., Any]) -> dict[str, Any]:
    try:
        return get_type_hints(function, include_extras=True)
    except (NameError, TypeError, AttributeError, SyntaxError) as error:
        *_, unread = ["", *re.findall(r"'([^']+)'", str(error))]  # Python names the part that it cannot read
        written = inspect.unwrap(function).__annotations__.items()
        named = [key for key, hint in written if unread and unread in inspect.formatannotation(hint)]
        where = f", parameter '{named[0]}'" if named and named[0] != "return" else ", result" if named else ""
        raise PluginError(
            f"tool '{function.__name__}'{where}: the type hint cannot be read: {error}",
            "import its names at the top of the file, where they exist when the file runs",
        ) from None


def _read(name: str, hint: Any, read_hint: HintReader) -> "tuple[dict[str, JSON], str]":
    """Return the JSON Schema and the Python text of a type hint; a text in `Annotated` is the description."""
    words = [word for word in getattr(hint, "__metadata__", ()) if isinstance(word, str)]
    inner = get_args(hint)[0] if words and len(words) == len(hint.__metadata__) else hint
    try:
        schema, text = _schema(inner), _type_name(inner)
    except _NotJson:
        schema, text = read_hint(name, inner)
    return schema | ({"description": words[0]} if words else {}), text


def _with_default(schema: "dict[str, JSON]", default: Any) -> "tuple[dict[str, JSON], str]":
    """Add a default to a schema, if it is JSON, and return its text in a signature."""
    if "default" in schema:  # read from the hint
        return schema, f" = {schema['default']!r}"
    try:
        return schema | {"default": json.loads(json.dumps(default, allow_nan=False))}, f" = {default!r}"
    except (TypeError, ValueError):
        return schema, f" = {default!r}"


def tools_of(environment: Environment) -> dict[str, tuple[Tool, Callable[..., Any]]]:
    """Return name → (description, bound method) of every `@tool` method, in source order, base classes first."""
    methods: dict[str, Callable[..., Any]] = {}
    for cls in reversed(type(environment).__mro__):
        for name, member in vars(cls).items():
            if hasattr(member, "__sca_tool__"):
                methods[name] = getattr(environment, name)
    return {name: (describe_tool(method), method) for name, method in methods.items()}


# ---------------------------------------------------------------- models


@dataclass(frozen=True, slots=True)
class Sampling:
    """Sampling parameters. Conversation i of a call uses `seed + i`."""

    temperature: float = 0.7
    """0 is greedy."""
    top_p: float = 1.0
    max_tokens: int = 512
    stop: tuple[str, ...] = ()
    """Texts that end the reply, unless they occur in its reasoning. The text that matched is kept at the end."""
    seed: int = 0


@dataclass(slots=True)
class Completion:
    """One reply of a model."""

    text: str
    finish_reason: Literal["stop", "length", "tool_calls", "context"]
    """`context`: the conversation does not fit in the model's context window; `text` is empty."""
    prompt_tokens: int = 0
    completion_tokens: int = 0
    tool_calls: "list[ToolCall]" = field(default_factory=list)
    prompt_ids: list[int] | None = None
    """Token ids of the conversation as the engine processed it, if the engine reports them."""
    token_ids: list[int] | None = None
    """Token ids of the reply as sampled, including the end-of-turn token."""
    logprobs: list[float] | None = None
    """Natural-log probability of each of `token_ids` under the sampling distribution at temperature 1."""
    reasoning: str = ""
    """The reasoning before the reply, if the engine returns it apart from `text`."""


class Model(Protocol):
    """A language model with one asynchronous method. The engine batches concurrent calls itself."""

    async def generate(
        self,
        conversations: "Sequence[Sequence[Message]]",
        sampling: Sampling,
        tools: "Sequence[Tool]" = (),
    ) -> list[Completion]:
        """Reply to each conversation.

        Args:
            conversations: chat messages, system message first.
            sampling: the same parameters for all conversations; see `Sampling.seed`.
            tools: offered as native tool calls if the model supports them.

        Raises:
            ModelError: the engine failed.
        """
        ...

    async def close(self) -> None:
        """Release the model's resources. May be called twice."""
        ...


@runtime_checkable
class TrainableModel(Model, Protocol):
    """A model whose weights can be replaced while it is loaded. Online training needs it; other verbs do not."""

    async def update_weights(self, weights: "Iterable[tuple[str, Any]]") -> None:
        """Replace weights in place, and forget what was computed with the old ones.

        Args:
            weights: (name in the model's state, tensor of the same shape); names that are absent keep their weights.

        Raises:
            ModelError: the model is generating replies, or the engine failed.
        """
        ...
