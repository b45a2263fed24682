"""Messages ↔ actions."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from worlds import Shop

from sca_cli.episode import chat
from sca_cli.interfaces import Completion, tools_of
from sca_cli.plugins import load_environment
from sca_cli.records import EnvSpec, FunctionCall, Observation, ToolCall
from sca_cli.toolkit.schemas import with_descriptions

TOOLS = {name: tool for name, (tool, _) in tools_of(Shop()).items()}


@pytest.mark.parametrize(
    ("text", "blocks"),
    [
        ("```python\nx = 1\n```", ["x = 1"]),
        ("Sure.\n```py\na\n```\nand\n```Python\nb\n```\nDone.", ["a", "b"]),
        ("```\nx\n```", ["x"]),
        ("```python3 title='a.py'\nx\n```", ["x"]),
        ("``` python \nx\n```", ["x"]),
        ("```python\nx = 1", ["x = 1"]),
        ("```python\nx = 1\n", ["x = 1"]),
        ("```python\n\n\n  x = 1\n\ny\n\n```", ["  x = 1\n\ny"]),
        ("```python\nx```", ["x"]),
        ("```python\n\n```", []),
        ("```python\n```\n```python\nx\n```", ["x"]),
        ("```json\n{}\n```\nNow:\n```python\nx\n```", ["x"]),
        ("```bash\npip install x\n```\nThat is all", []),
        ("no code at all", []),
        ("a `code` word", []),
        ("", []),
        ("```python\nif x:\n\ty\r\n```", ["if x:\n\ty\r"]),
    ],
)
def test_code_blocks(text: str, blocks: list[str]) -> None:
    """Python blocks are found whatever stands around them; an end may be missing; other languages are not
    Python.
    """
    assert chat.code_blocks(text) == blocks


@given(st.text(alphabet='`python\n x=1{}<>_tol/call"', max_size=200))
def test_no_reply_breaks_the_readers(text: str) -> None:
    """Any text is some number of blocks and calls, each part of the text."""
    assert all(block in text for block in chat.code_blocks(text))
    chat.json_calls(Completion(text, "stop"))


def calls(text: str) -> list[tuple[str, object]]:
    """Return name and arguments of the calls in a text."""
    return [(call.call.function.name, call.arguments) for call in chat.json_calls(Completion(text, "stop"))]


def test_tagged_calls_are_read_in_order() -> None:
    """Each <tool_call> block is one call; spaces, prose between them and a missing end do not matter."""
    text = (
        'First\n<tool_call>\n{"name": "add", "arguments": {"numbers": [1, 2]}}\n</tool_call> then'
        '<tool_call>{"name":"echo"}</tool_call><tool_call>{"name":"get_user","arguments":{"uid":"u"}}'
    )
    assert calls(text) == [("add", {"numbers": [1, 2]}), ("echo", {}), ("get_user", {"uid": "u"})]
    assert [call.call.id for call in chat.json_calls(Completion(text, "stop"))] == [
        "call_0",
        "call_1",
        "call_2",
    ]


@pytest.mark.parametrize(
    "inside",
    [
        "add(1, 2)",
        "[1]",
        "7",
        "null",
        '{"arguments": {}}',
        '{"name": "add", "arguments": [1]}',
        '{"name": "add"',
        "[" * 100_000,
        "",
    ],
)
def test_a_call_that_is_not_json_has_no_arguments(inside: str) -> None:
    """A malformed call has no arguments, so that the reply can say what is wrong with it; it raises no error."""
    ((_, arguments),) = calls(f"<tool_call>{inside}</tool_call>")
    assert arguments is None


def test_calls_of_the_engine_come_before_those_in_the_text() -> None:
    """Native tool calls win; their arguments may be empty text or broken."""
    native = [
        ToolCall(id="x1", function=FunctionCall(name="add", arguments='{"numbers":[1]}')),
        ToolCall(id="x2", function=FunctionCall(name="add", arguments="")),
        ToolCall(id="x3", function=FunctionCall(name="add", arguments="{1}")),
    ]
    completion = Completion('<tool_call>{"name":"echo"}</tool_call>', "tool_calls", tool_calls=native)
    found = chat.json_calls(completion)
    assert [call.call.id for call in found] == ["x1", "x2", "x3"]
    assert [call.arguments for call in found] == [{"numbers": [1]}, {}, None]


def test_an_array_for_a_star_parameter_becomes_positional() -> None:
    """`*numbers` arrives as an array; other tools keep their named arguments."""
    assert chat.positional(TOOLS["add"], {"numbers": [1, 2]}) == ([1, 2], {})
    assert chat.positional(TOOLS["add"], {"numbers": 3}) == ([], {"numbers": 3})
    assert chat.positional(TOOLS["divide"], {"b": 1, "a": 2}) == ([], {"b": 1, "a": 2})


@pytest.mark.parametrize("length", [0, 1, 99, 100, 101, 5000])
def test_shortened_texts_keep_head_and_tail(length: int) -> None:
    """A text within the limit is untouched; a longer one keeps its ends and says how much is left out."""
    text = "".join(chr(97 + i % 26) for i in range(length))
    short = chat.shortened(text, 100)
    if length <= 100:
        assert short == text
    else:
        assert short.startswith(text[:75])
        assert short.endswith(text[-25:])
        assert f"[{length - 100} characters left out]" in short


def test_listings_show_every_tool() -> None:
    """All three ways to show tools hold each of them, with its documentation."""
    tools = list(TOOLS.values())
    listing, lines, schemas = chat.tool_listing(tools), chat.tool_lines(tools), chat.tool_schemas(tools)
    for tool in tools:
        assert tool.signature in listing
        assert f"- {tool.name}(" in lines
        assert f'"name": "{tool.name}"' in schemas
    assert "uid: the user's key." in listing
    assert len(lines.splitlines()) == len(schemas.splitlines()) == len(tools)


@pytest.mark.parametrize("name", ["airline", "calculation", "retail", "web_browsing"])
def test_the_docstrings_of_our_worlds_show_all_that_their_schemas_have(name: str) -> None:
    """Nothing is appended to their tools in a prompt, so that the prompts, and what models do with them, stay."""
    for tool, _ in load_environment(EnvSpec(name=name)).tools().values():
        shown = with_descriptions(tool.description, tool.signature, tool.parameters["properties"])
        assert shown == tool.description


def test_observations_read_like_a_session() -> None:
    """A call is shown as Python with its result, a refusal as an error, code without output says so."""
    call = Observation(tool="get_user", args=["u'1"], kwargs={"full": True}, result={"name": "Ann"})
    assert chat.observed_call(call) == "get_user(\"u'1\", full=True)  ->  {'name': 'Ann'}"
    assert chat.observed_call(Observation(tool="f", error="no")) == "f()  ->  ToolError: no"
    assert chat.code_observation("", "", 100).content == "Output:\n(nothing was printed)"
    assert chat.code_observation("a\n\n", "Error: b", 100).content == "Output:\na\nError: b"


@pytest.mark.parametrize(
    ("text", "kind", "held"),
    [
        ("I think. Action: add, 1, 2 End Action", "action", "add, 1, 2"),
        ("Action: add, 1, 2", "action", "add, 1, 2"),
        ("Action: a, 1 End Action\nAnswer: 2", "action", "a, 1"),
        ("Action: a, 1 Action: b, 2", "action", "a, 1"),
        ("Answer: 7\nAction: a End Action", "answer", "7"),
        ("Answer: [1, 2]\n", "answer", "[1, 2]"),
        ("nothing of the kind", "", ""),
    ],
)
def test_the_first_action_or_answer_of_a_text_counts(text: str, kind: str, held: str) -> None:
    """What follows the first action or answer is left out; a missing end is the end."""
    assert chat.text_step(text) == (kind, held)


@pytest.mark.parametrize(
    ("text", "call"),
    [
        ("add, 1, 2.5, x y", ("add", [1, 2.5, "x y"])),
        ("view", ("view", [])),
        ('{"tool": "add", "args": [1, "2"]}', ("add", [1, "2"])),
        ('{"tool": "go", "args": "east"}', ("go", ["east"])),
        ('{"tool": 3}', ('{"tool": 3}', [])),
    ],
)
def test_text_calls_are_read_with_commas_or_as_json(text: str, call: object) -> None:
    """Arguments between commas are numbers where they look like it; in JSON they are what they are."""
    assert chat.text_call(text) == call
