"""What a plugin implements: `Environment` with its `@tool` methods, and `Model`.

Only the standard library is imported here: this module is loaded inside the jail's world process, where every page
counts. `sca-plugins(7)` is the manual.
"""

import inspect
import re
import types
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol, Union, get_args, get_origin, get_type_hints, overload

from sca_cli.errors import PluginError

if TYPE_CHECKING:
    from pathlib import Path

    from sca_cli.records import JSON, Message, ToolCall

# ---------------------------------------------------------------- environments


@dataclass(frozen=True, slots=True)
class Tool:
    """A tool as a model sees it."""

    name: str
    description: str
    """The whole docstring, cleaned."""
    parameters: "dict[str, JSON]"
    """JSON Schema of an object; a `*args` parameter is an array."""
    signature: str
    """Python form: `convert_currency(base_price: float, conversion_rate: float) -> float`."""
    returns: str
    """Python name of the returned type, `float` or `list[str]`."""
    writes: bool = False
    """It can change the environment's state; refused to `evaluate`."""

    def variadic(self) -> str:
        """Return the parameter that takes any number of arguments, or ""."""
        star = re.search(r"\*(\w+):", self.signature)
        return star[1] if star else ""


@overload
def tool[F: Callable[..., Any]](function: F) -> F: ...
@overload
def tool[F: Callable[..., Any]](*, writes: bool = False) -> Callable[[F], F]: ...
def tool(function: Any = None, *, writes: bool = False) -> Any:
    """Mark a method of an `Environment` as a tool.

    Args:
        function: a method with type hints and a docstring; parameters and result are JSON-able.
        writes: the tool can change the environment's state.
    """

    def mark(function: Any) -> Any:
        function.__sca_tool__ = {"writes": writes}
        return function

    return mark(function) if function is not None else mark


class Environment:
    """A set of tools over a state. Subclass it, mark methods with `@tool`, and that is all.

    The options of `--env NAME:k=v,…` arrive as keyword arguments of the constructor, as strings. Constructing may be
    slow (load the data here); `reset` must be fast. A tool refuses a call by raising `ToolError`; any other
    exception makes the outcome `invalid`. An environment never returns a reward.
    """

    policy: str = ""
    """Text for the system prompt: what this place is and which rules hold."""
    customer: bool = False
    """An agent here serves a customer: the instruction goes to a simulated user, whom the agent talks to."""
    isolated: bool = False
    """Its tools run their arguments as code: checks see a world rebuilt from `state()` by `restore`."""
    outside: bool = False
    """It must reach beyond its process (a server, the network): it runs without a jail, as trusted code."""

    def reset(self, seed: int) -> None:
        """Put the state of `seed` in place. Same seed, same state; different seeds, different states."""

    def state(self) -> "JSON":
        """Return the state as plain JSON data."""
        return {}

    def restore(self, state: "JSON") -> None:
        """Put in place a state that `state()` gave.

        Raises:
            NotImplementedError: this environment cannot; checks of isolated ones need it.
        """
        raise NotImplementedError

    def tools(self) -> dict[str, tuple[Tool, Callable[..., Any]]]:
        """Return name → (description, what carries it out) of its tools: by default the methods marked `@tool`.

        For environments whose tools are known only at run time: the parameters of what carries a tool out have the
        names of the description's (a `__signature__` will do), and the description's schemas are of the kind that
        `@tool` makes: `type`, `items`, `enum`, `anyOf`.
        """
        return tools_of(self)

    def first_observation(self) -> str:
        """Return what an explorer or challenger is told of this seed's state before any call; "" for nothing.

        Where records can only be reached through a customer, this introduces one. Agents that attempt a task do not
        see it.
        """
        return ""

    @classmethod
    def reads(cls, options: dict[str, str]) -> "list[Path]":  # noqa: ARG003  for those that override it
        """Return the files and directories besides its package that it reads: a world sees nothing else."""
        return []

    @classmethod
    def variants(cls, options: dict[str, str]) -> list[dict[str, str]]:
        """Return the option sets that these options stand for; commands that make records take them in turn."""
        return [options]

    @classmethod
    def eval_path(cls) -> "Path | None":
        """Return the JSONL file of held-out tasks that ships with the environment, or None."""
        return None


_PRIMITIVES: dict[Any, str] = {str: "string", int: "integer", float: "number", bool: "boolean", type(None): "null"}


def _schema(hint: Any) -> "dict[str, JSON]":
    """Return the JSON Schema of a type hint made of JSON types, unions, Literals and typed containers."""
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
    """Return what the docstring's `Args:` section says of each parameter."""
    texts: dict[str, str] = {}
    section = re.search(r"^Args:\n((?:[ \t]+.*\n?|\n)+)", docstring, re.MULTILINE)
    for match in re.finditer(r"^ {4}\*?(\w+): (.*(?:\n {8}.*)*)", section.group(1) if section else "", re.MULTILINE):
        texts[match.group(1)] = re.sub(r"\s+", " ", match.group(2)).strip()
    return texts


def describe_tool(function: Callable[..., Any]) -> Tool:
    """Return the `Tool` of a method or function, from its hints and docstring.

    Raises:
        PluginError: no docstring, or a type that JSON does not have.
    """
    name = function.__name__
    docstring = inspect.getdoc(function)
    if not docstring:
        raise PluginError(f"tool '{name}' has no docstring", "the model reads it; say what the tool does")
    hints = get_type_hints(function)
    texts = _parameter_texts(docstring)
    parameters = [p for p in inspect.signature(function).parameters.values() if p.name != "self"]
    properties: dict[str, Any] = {}
    shown: list[str] = []
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
        shown.append(f"{star}{parameter.name}: {_type_name(hint)}{default}")
    returns = _type_name(hints.get("return", inspect.Parameter.empty))
    return Tool(
        name=name,
        description=docstring,
        parameters={"type": "object", "properties": properties, "required": required, "additionalProperties": False},
        signature=f"{name}({', '.join(shown)}) -> {returns}",
        returns=returns,
        writes=bool(getattr(function, "__sca_tool__", {}).get("writes", False)),
    )


def tools_of(environment: Environment) -> dict[str, tuple[Tool, Callable[..., Any]]]:
    """Return name → (description, bound method) of every `@tool` method, in the order they are written."""
    methods: dict[str, Callable[..., Any]] = {}
    for cls in reversed(type(environment).__mro__):
        for name, member in vars(cls).items():
            if hasattr(member, "__sca_tool__"):
                methods[name] = getattr(environment, name)
    return {name: (describe_tool(method), method) for name, method in methods.items()}


# ---------------------------------------------------------------- models


@dataclass(frozen=True, slots=True)
class Sampling:
    """How to sample. Conversation i of a call uses `seed + i`."""

    temperature: float = 0.7
    """0 is greedy."""
    top_p: float = 1.0
    max_tokens: int = 512
    stop: tuple[str, ...] = ()
    """Texts that end the reply; the text that matched is kept as its end."""
    seed: int = 0


@dataclass(slots=True)
class Completion:
    """One reply."""

    text: str
    finish_reason: Literal["stop", "length", "tool_calls", "context"]
    """`context`: the conversation does not fit in the model's window; text is empty."""
    prompt_tokens: int = 0
    completion_tokens: int = 0
    tool_calls: "list[ToolCall]" = field(default_factory=list)
    prompt_ids: list[int] | None = None
    """The conversation as the engine saw it, where it says so."""
    token_ids: list[int] | None = None
    """The reply as it was sampled, end-of-turn token included."""
    logprobs: list[float] | None = None
    """Natural-log probability of each of `token_ids` under the sampling distribution at temperature 1."""


class Model(Protocol):
    """A language model behind one async method; the engine batches concurrent calls itself."""

    async def generate(
        self,
        conversations: "Sequence[Sequence[Message]]",
        sampling: Sampling,
        tools: "Sequence[Tool]" = (),
    ) -> list[Completion]:
        """Reply to each conversation.

        Args:
            conversations: chat messages, system message first.
            sampling: the same for all; see `Sampling.seed`.
            tools: offered as native tool calls where the model has them.

        Raises:
            ModelError: the engine failed.
        """
        ...

    async def close(self) -> None:
        """Give back what the model holds. May be called twice."""
        ...
