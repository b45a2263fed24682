"""Which values go into which parameters."""

from typing import Any

import pytest
from weather import TOOLS

from sca_cli.analysis import fits


@pytest.mark.parametrize(
    ("tool", "parameter", "returned", "fitting"),
    [
        ("nearest", "city", "str", True),
        ("nearest", "city", "str | None", True),
        ("nearest", "city", "float", False),
        ("nearest", "city", "list[str]", False),
        ("nearest", "city", "dict[str, Any]", False),
        ("nearest", "city", "Any", False),
        ("nearest", "city", "None", False),
        ("largest", "numbers", "float", True),
        ("largest", "numbers", "int", True),
        ("largest", "numbers", "list[float]", False),
        ("report", "day", "float", False),
        ("report", "day", "bool", False),
    ],
)
def test_types_are_told_from_signatures(tool: str, parameter: str, returned: str, fitting: bool) -> None:
    """A parameter takes results of its type, a number whole ones too, and `*args` single ones."""
    assert fits.takes(TOOLS[tool], parameter, returned) is fitting


def test_a_tool_accepts_what_one_of_its_parameters_takes() -> None:
    """The second parameter counts as the first does."""
    assert fits.accepts(TOOLS["report"], "int")
    assert not fits.accepts(TOOLS["report"], "float")


@pytest.mark.parametrize(
    ("schema", "holding", "not_holding"),
    [
        ({"type": "string"}, ["a", ""], [1, None, True, ["a"], {}]),
        ({"type": "integer"}, [1, -3], [1.0, True, "1"]),
        ({"type": "number"}, [1, 2.5], [False, "2"]),
        ({"type": "boolean"}, [True, False], [1, 0, "True"]),
        ({"type": "array", "items": {"type": "number"}}, [[], [1, 2.5]], [["a"], 1, [True]]),
        ({"type": "object"}, [], [{}, {"a": 1}]),
        ({"type": "string", "enum": ["May", "June"]}, ["May"], ["July", 1]),
        ({"anyOf": [{"type": "string"}, {"type": "integer"}]}, ["a", 1], [1.5, None]),
    ],
)
def test_values_are_told_by_schema(schema: dict[str, Any], holding: list[Any], not_holding: list[Any]) -> None:
    """Truths are no numbers, lists fit by their items, and objects are never drawn."""
    assert all(fits.holds(schema, value) for value in holding)
    assert not any(fits.holds(schema, value) for value in not_holding)
