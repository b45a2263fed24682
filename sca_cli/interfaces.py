"""The interfaces that a plugin implements: `Environment` with its `@tool` methods, and `Model`.

This module imports only the standard library, because the world process in the jail loads it: each extra module takes
memory pages that every fork copies. The manual is `sca-plugins(7)`.
"""

import inspect
import re
import types
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import (
    TYPE_CHECKING,
    Any,
    Literal,
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

    def variadic(self) -> str:
        """Return the name of the `*args` parameter, or "" if there is none."""
        star = re.search(r"\*(\w+):", self.signature)
        return star[1] if star else ""


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
    outside: bool = False
    """The environment needs access to something outside its process, such as a server or the network.

    It runs without a jail, as trusted code.
    """

    def reset(self, seed: int) -> None:
        """Set the state that belongs to `seed`: same seed, same state; different seeds, different states."""

    def state(self) -> "JSON":
        """Return the state as JSON data."""
        return {}

    def restore(self, state: "JSON") -> None:
        """Set a state that `state()` returned.

        Raises:
            NotImplementedError: this environment cannot do it. Checks need it if the environment is isolated.
        """
        raise NotImplementedError

    def tools(self) -> dict[str, tuple[Tool, Callable[..., Any]]]:
        """Return name → (description, function) of the tools: by default the methods marked with `@tool`.

        Override it if the tools are known only at run time. Each function's parameters must have the names in its
        description (setting `__signature__` is enough). The description's schemas may use what `@tool` produces:
        `type`, `items`, `enum`, `anyOf`.
        """
        return tools_of(self)

    def first_observation(self) -> str:
        """Return a text about this seed's state that explorers and challengers get before any call, or "".

        If records can only be reached through a customer, this text introduces one. Agents that attempt a task do not
        see it.
        """
        return ""

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


def _schema(hint: Any) -> "dict[str, JSON]":
    """Return the JSON Schema of a type hint made of JSON types, unions, Literals, lists and dicts."""
    if hint in _PRIMITIVES:
        return {"type": _PRIMITIVES[hint]}
    origin, args = get_origin(hint), get_args(hint)
    if origin is Literal:
        return {"enum": list(args)}
    if origin in (Union, types.UnionType):
        return {"anyOf": [_schema(arg) for arg in args]}
    if hint is list or origin is list:
        return {"type": "array", "items": _schema(args[0])} if args else {"type": "array"}
    if hint is dict or origin is dict:
        return {"type": "object"}
    if hint is Any or hint is inspect.Parameter.empty:
        return {}
    raise PluginError(
        f"a tool's type {hint!r} is not a JSON type", "use str, int, float, bool, None, list, dict or a union of them"
    )


def _type_name(hint: Any) -> str:
    if hint is inspect.Parameter.empty:
        return "Any"
    return str(inspect.formatannotation(hint)).replace("typing.", "")


def _parameter_texts(docstring: str) -> dict[str, str]:
    """Return parameter → description from the `Args:` section of a docstring."""
    texts: dict[str, str] = {}
    section = re.search(r"^Args:\n((?:[ \t]+.*\n?|\n)+)", docstring, re.MULTILINE)
    for match in re.finditer(r"^ {4}\*?(\w+): (.*(?:\n {8}.*)*)", section.group(1) if section else "", re.MULTILINE):
        texts[match.group(1)] = re.sub(r"\s+", " ", match.group(2)).strip()
    return texts


def describe_tool(function: Callable[..., Any]) -> Tool:
    """Build the `Tool` of a method or function from its type hints and docstring.

    Raises:
        PluginError: it has no docstring, a `**` parameter, or a type that JSON does not have.
    """
    name = function.__name__
    docstring = inspect.getdoc(function)
    if not docstring:
        raise PluginError(f"tool '{name}' has no docstring", "the model reads it; say what the tool does")
    hints = get_type_hints(function)
    texts = _parameter_texts(docstring)
    parameters = [p for p in inspect.signature(function).parameters.values() if p.name != "self"]
    properties: dict[str, Any] = {}
    signature_parts: list[str] = []
    required: list[str] = []
    for parameter in parameters:
        hint = hints.get(parameter.name, parameter.annotation)
        schema = _schema(hint)
        star = ""
        if parameter.kind is parameter.VAR_POSITIONAL:
            schema, star = {"type": "array", "items": schema}, "*"
        elif parameter.kind is parameter.VAR_KEYWORD:
            raise PluginError(f"tool '{name}' takes **{parameter.name}", "name every parameter")
        elif parameter.default is parameter.empty:
            required.append(parameter.name)
        default = "" if parameter.default is parameter.empty else f" = {parameter.default!r}"
        properties[parameter.name] = schema | (
            {"description": texts[parameter.name]} if parameter.name in texts else {}
        )
        signature_parts.append(f"{star}{parameter.name}: {_type_name(hint)}{default}")
    returns = _type_name(hints.get("return", inspect.Parameter.empty))
    return Tool(
        name=name,
        description=docstring,
        parameters={"type": "object", "properties": properties, "required": required, "additionalProperties": False},
        signature=f"{name}({', '.join(signature_parts)}) -> {returns}",
        returns=returns,
        writes=bool(getattr(function, "__sca_tool__", {}).get("writes", False)),
    )


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
    """Texts that end the reply. The text that matched is kept at the end of the reply."""
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
            ModelError: replies are in the making, or the engine failed.
        """
        ...
