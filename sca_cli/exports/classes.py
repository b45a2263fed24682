"""Write the tools of environments as Python classes with one method a tool, for systems that read signatures.

The schema of a tool that these systems show the model comes from the method's type hints and docstring.
"""

import keyword
import re
import textwrap
from collections.abc import Iterable

from sca_cli.errors import UsageError
from sca_cli.interfaces import Tool
from sca_cli.records import JSON

_TYPES = {"string": "str", "integer": "int", "number": "float", "boolean": "bool", "array": "list", "object": "dict"}


def class_name(number: int, env: str) -> str:
    """Return a class name for an environment, such as `Calculation1`."""
    words = re.findall(r"[A-Za-z0-9]+", env.partition(":")[0])
    return "".join(word.capitalize() for word in words) + str(number)


def method(tool: Tool, taken: Iterable[str], decorator: str = "", prefix: str = "def") -> str:
    """Return the source of a method that passes its arguments to `self._call`, indented by four spaces.

    Args:
        tool: the tool.
        taken: names that the class uses itself.
        decorator: a line before the method, or "".
        prefix: `def` or `async def`.

    Raises:
        UsageError: a name of the tool or of a parameter cannot be a name in Python, or is taken.
    """
    properties = tool.parameters["properties"]
    for name in (tool.name, *properties):
        if not name.isidentifier() or keyword.iskeyword(name) or name[0] == "_" or name in ("self", *taken):
            message = f"tool '{tool.name}': '{name}' cannot be a method or a parameter of a Python class"
            raise UsageError(message, "choose another format, or rename it in the environment")
    required = [name for name in properties if name in tool.parameters.get("required", ())]
    optional = [name for name in properties if name not in required]
    texts = [f"{name}: {_hint(properties[name])}" for name in required]
    texts += [f"{name}: {_hint(properties[name])} | None = None" for name in optional]
    signature = ", ".join(["self", *texts])
    arguments = ", ".join(f"{name!r}: {name}" for name in properties)
    call = f"self._call({tool.name!r}, {{{arguments}}})"
    lines = [*([decorator] if decorator else []), f"{prefix} {tool.name}({signature}) -> str:"]
    lines += textwrap.indent(_docstring(tool), "    ").splitlines()
    lines.append(f"    return {'await ' if prefix.startswith('async') else ''}{call}")
    return textwrap.indent("\n".join(lines), "    ", lambda line: bool(line.strip()))


def _hint(schema: dict[str, JSON]) -> str:
    """Return a type hint. Parts without a name in plain Python become `Any`."""
    if "enum" in schema and all(isinstance(value, str) for value in schema["enum"]):
        return f"Literal[{', '.join(map(repr, schema['enum']))}]"
    if "anyOf" in schema:
        return " | ".join(dict.fromkeys("None" if s.get("type") == "null" else _hint(s) for s in schema["anyOf"]))
    if schema.get("type") == "array" and isinstance(items := schema.get("items"), dict) and items:
        return f"list[{_hint(items)}]"
    return _TYPES.get(str(schema.get("type", "")), "Any")


def _docstring(tool: Tool) -> str:
    """Return a docstring in Google's style that describes every parameter."""
    text = re.split(r"\n\s*(?:Args|Arguments|Parameters|Returns|Raises):?\s*\n", tool.description)[0].strip()
    lines = [text, "", "Args:"] if tool.parameters["properties"] else [text]
    for name, schema in tool.parameters["properties"].items():
        lines.append(f"    {name}: {' '.join(str(schema.get('description') or name).split())}")
    inside = "\n".join(lines).replace("\\", "\\\\").replace('"""', "'''")
    return f'"""{inside}\n"""' if len(lines) > 1 or inside.endswith('"') else f'"""{inside}"""'
