"""The parameters of the tools, with what their documentation tells about their values."""

import re
from dataclasses import dataclass

from sca_cli.analysis import fits
from sca_cli.interfaces import Tool
from sca_cli.records import JSON
from sca_cli.walk.documented import quoted
from sca_cli.walk.memory import words_of

_EXAMPLE = re.compile(r"for example|such as|e\.g\.|\blike ")
_FIELDS = re.compile(r"\{([^{}]*)\}")
_FORMAT = re.compile(r"\b(?:YYYY|MM|DD|HH|SS)(?:[-/:. T]+(?:YYYY|MM|DD|HH|SS))+\b")
WEAK_WORDS = frozenset(("id", "name", "number", "detail", "new", "get", "find", "list", "all", "by", "of", "the", "to"))
"""Words that say little about what a name means. Chosen by hand."""


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter of one tool."""

    tool: str
    name: str
    schema: dict[str, JSON]
    """The schema of one value: of an item, if the parameter takes a list."""
    words: frozenset[str]
    """Words of the name."""
    required: bool
    many: bool
    """It takes a list."""
    shapes: frozenset[str]
    """Shapes of the examples in the documentation."""
    choices: tuple[JSON, ...]
    """The values that the schema or the documentation lists; empty if there is no such list."""
    fields: tuple[str, ...]
    """Names of the fields, if it takes an object whose fields are documented."""

    @property
    def is_object(self) -> bool:
        """Whether one value is an object."""
        return self.schema.get("type") == "object"

    def holds(self, value: JSON) -> bool:
        """Tell whether the type fits one value."""
        return fits.holds(self.schema, value)


def parameters_of(tool: Tool) -> list[Parameter]:
    """Describe the parameters of a tool."""
    return [_parameter(tool, name) for name in tool.parameters["properties"]]


def _parameter(tool: Tool, name: str) -> Parameter:
    schema = _not_null(tool.parameters["properties"][name])
    text = str(tool.parameters["properties"][name].get("description", "")) or " ".join(
        re.findall(rf".*\b{re.escape(name)}\b.*", tool.description)
    )
    many = schema.get("type") == "array"
    item = _not_null(schema.get("items", {})) if many else schema
    is_object = item.get("type") == "object"
    described = _FIELDS.search(text) if is_object else None
    plain = _FIELDS.sub("", text)
    example = _EXAMPLE.search(plain)
    listed = quoted(plain[: example.start()] if example else plain)
    examples = [str(value) for value in quoted(plain[example.start() :])] if example else []
    return Parameter(
        tool=tool.name,
        name=name,
        schema=item,
        words=words_of(name),
        required=name in tool.parameters.get("required", []),
        many=many,
        shapes=frozenset(map(shape, examples)) | format_shapes(plain),
        choices=tuple(item.get("enum", listed if len(listed) > 1 and item.get("type") == "string" else ())),
        fields=tuple(re.findall(r"['\"](\w+)['\"]\s*:", described[1])) if described else (),
    )


def _not_null(schema: dict[str, JSON]) -> dict[str, JSON]:
    if "anyOf" not in schema:
        return schema
    return next((option for option in schema["anyOf"] if option.get("type") != "null"), {})


def shape(text: str) -> str:
    """Return the shape of a text: `ada_moss_4821` as `a_a_9`, `4XK9TM` as `A`, `2024-05-15` as `9999-99-99`."""
    if re.fullmatch(r"[\d\-/:. T]*\d[\d\-/:. T]*", text) and not text.isdigit():
        return re.sub(r"\d", "9", text)
    mixed = re.sub(r"[A-Za-z0-9]*(?:[A-Z][A-Za-z]*\d|\d[A-Z0-9]*[A-Z])[A-Za-z0-9]*", "X", text)
    return re.sub(r"[a-z]+", "a", re.sub(r"[A-Z]+", "A", re.sub(r"\d+", "9", mixed)))


def format_shapes(text: str) -> frozenset[str]:
    """Return the shapes of the formats in a text, such as YYYY-MM-DD."""
    return frozenset(re.sub(r"[YMDHS]", "9", match) for match in _FORMAT.findall(text))


def affinity(parameter: Parameter, name: str, words: frozenset[str], value: JSON) -> float:
    """Return how well the name of a link and the shape of a value fit a parameter: 0 if they share nothing, up to 2.

    Args:
        parameter: takes the value.
        name: the parameter's name, or the name of a field of its objects.
        words: the words of the link's key.
        value: one value of the link.
    """
    own = words_of(name)
    strong = own - WEAK_WORDS or own
    fit = len(strong & words) / len(strong) + 0.15 * (own == words) + 0.1 * bool(own & words & WEAK_WORDS)
    if fit and words - own - WEAK_WORDS:
        fit -= 0.15
    if not isinstance(value, str) or name != parameter.name or not parameter.shapes:
        return max(fit, 0.0)
    if shape(value) in parameter.shapes:
        return fit + 0.7
    return max(fit - 0.6, 0.0)
