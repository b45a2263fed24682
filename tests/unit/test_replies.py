"""Reading replies: reasoning, stop texts, tool calls, tags, in linear time."""

import pytest

from sca_cli.episode import chat
from sca_cli.interfaces import Completion
from sca_cli.methods.cat import parse
from sca_cli.methods.tags import tag_contents
from sca_cli.records import Message
from sca_cli.toolkit.chat_format import parse_tool_calls
from sca_cli.toolkit.conversation import EMPTY_REPLY, alternating, without_system
from sca_cli.toolkit.replies import ends_in_reasoning, find_stop, read_arguments, without_reasoning

CALL = '<tool_call>{"name": "add", "arguments": {"a": 1}}</tool_call>'


@pytest.mark.parametrize(
    ("text", "spoken"),
    [
        ("plain", "plain"),
        ("<think>a</think>b", "b"),
        ("a, opened by the template</think>b", "b"),
        ("<think>\ncut off", ""),
        ("x\n<think>a</think>y\n<think>b</think>z", "x\ny\nz"),
        ("<THINK>a</THINK>b", "b"),
        ("[THINK]a[/THINK]b", "b"),
        ("<thinking>a</thinking>b", "b"),
        ("I use a <think> tag in prose", "I use a <think> tag in prose"),
        ("<think>one <think> two</think>b", "b"),
        ("", ""),
    ],
)
def test_only_the_text_outside_the_reasoning_is_spoken(text: str, spoken: str) -> None:
    """Reasoning ends at its closing tag, wherever it was opened."""
    assert without_reasoning(text) == spoken


@pytest.mark.parametrize(
    ("text", "inside"),
    [("<think>a", True), ("<think>a</think>", False), ("a", False), ("", False), ("b\n<think>", True)],
)
def test_a_reply_that_ends_in_its_reasoning_is_recognized(text: str, inside: bool) -> None:
    """Only an unclosed opening tag means that the reasoning was cut."""
    assert ends_in_reasoning(text) is inside


def test_a_stop_text_in_the_reasoning_ends_nothing() -> None:
    """The first stop text after the reasoning counts."""
    text = "<think>a END b</think>c END d"
    assert text[: find_stop(text, ["END"])] == "<think>a END b</think>c END"
    assert find_stop("<think>a END b", ["END"]) == -1


def test_calls_in_the_reasoning_are_not_made() -> None:
    """A call that the model only considered is no call, in text and in the in-process plugins."""
    other = CALL.replace("add", "sub")
    for text in (f"<think>{CALL}</think>{other}", f"{CALL}</think>{other}"):
        assert [call.call.function.name for call in chat.json_calls(Completion(text, "stop"))] == ["sub"]
        assert [call.function.name for call in parse_tool_calls(text)[1]] == ["sub"]
    assert chat.json_calls(Completion(f"<think>{CALL}", "length")) == []


@pytest.mark.parametrize(
    "text",
    [
        '<tool_call>{"name": "add", "parameters": {"a": 1}}</tool_call>',
        '<tool_call>{"name": " add ", "arguments": "{\\"a\\": 1}"}</tool_call>',
        '<tool_call>{"function": {"name": "add", "arguments": {"a": 1}}}</tool_call>',
        '{"name": "add", "parameters": {"a": 1}}',
        '```json\n{"name": "add", "arguments": {"a": 1}}\n```',
        f"<tool_call>\n{CALL}".replace("<tool_call>\n", "", 1),
    ],
)
def test_calls_are_read_in_the_forms_that_models_write(text: str) -> None:
    """`parameters`, arguments as text, the OpenAI shape, and a bare object are the same call."""
    ((call),) = chat.json_calls(Completion(text, "stop"))
    assert (call.call.function.name, call.arguments) == ("add", {"a": 1})


@pytest.mark.parametrize(
    ("written", "arguments"),
    [
        (None, {}),
        ("", {}),
        ("null", {}),
        ({"a": 1}, {"a": 1}),
        ('"{\\"a\\": 1}"', {"a": 1}),
        ("7", None),
        ("[1]", None),
    ],
)
def test_arguments_are_read_tolerantly(written: object, arguments: object) -> None:
    """Absent and twice encoded arguments are objects; other values are none."""
    assert read_arguments(written) == arguments


def test_tags_may_have_attributes_upper_case_and_no_last_end() -> None:
    """A task is read although its tags are not written exactly as in the prompt."""
    text = (
        '<INSTRUCTION lang="en">Do it, please.</Instruction>\n<evaluation_function>def evaluate(): return True\n'
        "</evaluation_function ><solution>pass</solution>"
        '<failure_case id="1">1</failure_case><failure_case>2</failure_case>\n<failure_case>3\n'
    )
    parts = parse(text)
    assert (parts.instruction, parts.failure_cases) == ("Do it, please.", ["1", "2", "3"])
    assert tag_contents("<solution>a <failure_case>b", "solution") == []


LONG = 50_000
SLOW = {
    "blanks after a fence": "```" + " " * LONG,
    "fences": "```" * LONG,
    "fence lines": "```x\n" * LONG,
    "tags without an end": "<solution>" * LONG,
    "calls without an end": "<tool_call>" * LONG,
    "blanks in a call": "<tool_call>" + " " * LONG + "x",
    "reasoning": "<think>\n" * LONG,
    "ends of reasoning": "</think>" * LONG,
    "actions": "Action:" * LONG,
    "brackets": "<tool_call>" + "[" * LONG,
    "openings": "<solution " * LONG,
    "commas": "a, " * LONG,
}


@pytest.mark.parametrize("text", SLOW.values(), ids=SLOW)
def test_no_reply_takes_more_than_linear_time_to_read(text: str) -> None:
    """Each reader finishes: with quadratic time, some of these replies would take many minutes."""
    assert not any(block.strip("x\n") for block in chat.code_blocks(text))
    assert all(call.arguments is None for call in chat.json_calls(Completion(text, "stop")))
    assert chat.text_step(text)[0] in ("", "action")
    assert len(chat.text_call(text)[1]) <= LONG
    assert parse_tool_calls(text) == (text, [])
    assert tag_contents(text, "solution") == []
    assert find_stop(text, ["END"]) == -1


def test_conversations_are_joined_for_strict_servers() -> None:
    """Roles alternate, no message is empty, and the system message can become the user's."""
    messages = [
        Message(role="system", content="S"),
        Message(role="user", content="a"),
        Message(role="user", content="b"),
        Message(role="assistant", content=""),
        Message(role="user", content="c"),
    ]
    assert [(m.role, m.content) for m in alternating(messages)] == [
        ("system", "S"),
        ("user", "a\n\nb"),
        ("assistant", EMPTY_REPLY),
        ("user", "c"),
    ]
    assert without_system(messages)[0] == Message(role="user", content="S\n\na\n\nb")
