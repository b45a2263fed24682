"""JSON Schemas in one form: references, tuples, nested objects, and the odd ones that servers send."""

from typing import Any

import pytest

from sca_cli.toolkit import schemas

ADDRESS = {
    "type": "object",
    "properties": {"street": {"type": "string"}, "no": {"type": "integer"}},
    "required": ["street"],
}
TREE = {
    "$defs": {
        "Node": {"type": "object", "properties": {"next": {"$ref": "#/$defs/Node"}, "value": {"type": "integer"}}}
    },
    "$ref": "#/$defs/Node",
}


@pytest.mark.parametrize(
    ("schema", "text", "fitting", "unfitting"),
    [
        (ADDRESS, "{'street': str, 'no': NotRequired[int]}", [{"street": "a"}], [{}, {"street": 1}, []]),
        (ADDRESS | {"additionalProperties": False}, None, [{"street": "a"}], [{"street": "a", "x": 1}]),
        ({"$defs": {"A": ADDRESS}, "type": "array", "items": {"$ref": "#/$defs/A"}}, None, [[{"street": "a"}]], [[{}]]),
        (
            TREE,
            "{'next': NotRequired[dict], 'value': NotRequired[int]}",
            [{"next": {"value": "any"}}],
            [{"value": "a"}],
        ),
        (
            {"type": "object", "additionalProperties": {"type": "integer"}},
            "dict[str, int]",
            [{}, {"a": 1}],
            [{"a": "b"}],
        ),
        (
            {"type": "array", "prefixItems": [{"type": "integer"}, {"type": "string"}], "minItems": 2, "maxItems": 2},
            "tuple[int, str]",
            [[1, "a"]],
            [[1], ["a", 1], [1, "a", 2]],
        ),
        ({"type": ["string", "null"]}, "str | None", ["a", None], [1]),
        ({"oneOf": [{"const": 1}, {"type": "string"}]}, "Literal[1] | str", [1, "a"], [2, True, 1.0]),
        (
            {"allOf": [ADDRESS, {"properties": {"zip": {"type": "string"}}, "required": ["zip"]}]},
            None,
            [{"street": "a", "zip": "b"}],
            [{"street": "a"}],
        ),
        ({"type": "integer", "nullable": True}, "int | None", [1, None], ["a"]),
        ({"type": "number"}, "float", [1, 0.5], [True, 1 << 1024]),
        (True, "Any", [1, None], []),
        (None, "Any", [1, None], []),
        (False, "Literal[]", [], [1, None]),
        ({"type": "any", "properties": None, "required": True, "enum": None}, "Any", [1], []),
    ],
)
def test_schemas_match_values_and_name_types(
    schema: Any, text: str | None, fitting: list[Any], unfitting: list[Any]
) -> None:
    """One form serves the world, the walk and `env test`; reading it again changes nothing."""
    plain = schemas.plain(schema)
    assert schemas.plain(plain) == plain
    assert text is None or schemas.python_type(plain) == text
    assert all(schemas.fits(plain, value) for value in fitting)
    assert not any(schemas.fits(plain, value) for value in unfitting)


def test_details_of_nested_parts_are_written_below_the_text() -> None:
    """Descriptions and bounds that a signature does not show; what the text says already is not repeated."""
    nested = {
        "type": "object",
        "properties": {"zip": {"type": "string", "pattern": "^1", "description": "five digits"}},
    }
    properties = {"to": nested, "n": {"type": "integer", "minimum": 1, "description": "how many"}}
    added = "\n\nArgs:\n    to.zip: five digits; pattern ^1\n    n: how many; minimum 1"
    assert schemas.with_details("Send.", properties) == f"Send.{added}"
    documented = "Send.\n\nArgs:\n    n: how many"
    assert schemas.with_details(documented, properties).endswith(
        "Details:\n    to.zip: five digits; pattern ^1\n    n: minimum 1"
    )
    assert schemas.with_details("Send.", {"n": {"type": "integer"}}) == "Send."


def test_descriptions_and_values_that_only_the_schema_has_are_written_below_the_text() -> None:
    """What the signature or the text shows is not repeated; parts of parameters count too."""
    legs = {"type": "array", "items": {"type": "object", "properties": {"to": {"description": "three letters"}}}}
    properties = {
        "reason": {"type": "string", "enum": ["moved", "late"], "description": "why"},
        "legs": legs,
        "n": {"type": "integer", "minimum": 1},
    }
    signature = "send(reason: str, legs: list, n: int)"
    added = "\n\nArgs:\n    reason: why; one of 'moved', 'late'\n    legs[].to: three letters"
    assert schemas.with_descriptions("Send.", signature, properties) == f"Send.{added}"
    shown = "send(reason: Literal['moved', 'late'], legs: list, n: int)"
    documented = "Send.\n\nArgs:\n    reason: why\n    legs: to has three letters"
    assert schemas.with_descriptions(documented, shown, properties) == documented
