"""The scripted model: replies from rules, whatever the order of calls."""

import asyncio
from pathlib import Path

import pytest
from sca_scripted.script import ScriptedModel

from sca_cli import Completion, Message, MissingError, ModelError, Sampling, UsageError


def talk(*turns: str) -> list[Message]:
    """Return a conversation: system, then user and assistant in turn."""
    messages = [Message(role="system", content="policy: be brief")]
    for index, text in enumerate(turns):
        messages.append(Message(role="assistant" if index % 2 else "user", content=text))
    return messages


def reply(model: ScriptedModel, conversation: list[Message], **sampling: object) -> Completion:
    """Return the only reply of one call."""
    return asyncio.run(model.generate([conversation], Sampling(**sampling)))[0]  # type: ignore[arg-type]


@pytest.fixture
def script(tmp_path: Path):
    """Return a function that writes lines to a file and opens it as a model."""

    def write(*lines: str, **options: str) -> ScriptedModel:
        path = tmp_path / "script.jsonl"
        path.write_text("\n".join(lines))
        return ScriptedModel(str(path), **options)

    return write


def test_first_matching_rule_answers(script):
    """Rules are tried in the order of the file; one without `when` matches everything."""
    model = script('{"when": "eu+ro", "replies": ["money"]}', "", '{"replies": ["other"]}', '{"replies": ["never"]}')
    assert reply(model, talk("a euuro")).text == "money"
    assert reply(model, talk("a pound")).text == "other"


def test_when_reads_the_last_user_or_tool_message_only(script):
    """Earlier messages, system and assistant text do not match unless the rule says `anywhere`."""
    model = script(
        '{"when": "policy|old", "replies": ["last"]}',
        '{"when": "^policy.*old.*new$", "anywhere": true, "replies": ["all"]}',
    )
    assert reply(model, talk("old", "reply", "new")).text == "all"
    assert reply(model, [*talk("x", "y"), Message(role="tool", content="an old result")]).text == "last"


def test_turns_follow_the_replies_and_the_last_repeats(script):
    """Reply i answers a conversation with i assistant messages."""
    model = script('{"replies": ["one", "two"]}')
    turns = [talk("q"), talk("q", "one", "q"), talk("q", "one", "q", "two", "q")]
    assert [reply(model, turn).text for turn in turns] == ["one", "two", "two"]


def test_seed_chooses_among_alternatives_and_fills_the_placeholder(script):
    """An inner list is indexed by the seed; `{seed}` is replaced and other braces are left alone."""
    model = script('{"replies": [["even {seed}", "odd {seed} {x}"]]}')
    assert [reply(model, talk("q"), seed=seed).text for seed in (4, 7)] == ["even 4", "odd 7 {x}"]


def test_conversation_i_uses_seed_plus_i(script):
    """One call over many conversations equals many calls with consecutive seeds."""
    model = script('{"replies": [["a{seed}", "b{seed}", "c{seed}"]]}')
    together = asyncio.run(model.generate([talk("q")] * 5, Sampling(seed=10)))
    assert [completion.text for completion in together] == [reply(model, talk("q"), seed=10 + i).text for i in range(5)]


def test_replies_do_not_depend_on_the_order_of_concurrent_calls(script):
    """The same conversations and seeds give the same replies in any order and at any concurrency."""
    model = script('{"when": "odd", "replies": [["o{seed}", "p{seed}"]]}', '{"replies": ["e{seed}"]}', delay_s="0.001")
    jobs = [(talk("odd" if n % 2 else "even"), n) for n in range(40)]

    async def run(order: list[int]) -> dict[int, str]:
        async def one(n: int) -> tuple[int, str]:
            conversation, seed = jobs[n]
            return n, (await model.generate([conversation], Sampling(seed=seed)))[0].text

        return dict(await asyncio.gather(*(one(n) for n in order)))

    assert asyncio.run(run(list(range(40)))) == asyncio.run(run(list(reversed(range(40)))))


def test_tool_calls_are_given_in_openai_form(script):
    """A reply object may call tools; arguments become JSON text, the seed included."""
    model = script(
        '{"replies": [{"text": "so", "tool_calls": [{"name": "add", "arguments": {"a": 1, "b": "{seed}"}}]}]}'
    )
    completion = reply(model, talk("q"), seed=3)
    assert completion.finish_reason == "tool_calls"
    call = completion.tool_calls[0]
    assert (call.id, call.function.name, call.function.arguments) == ("call_0_0", "add", '{"a":1,"b":"3"}')


def test_stop_text_ends_the_reply_and_is_kept(script):
    """The earliest stop text cuts the reply behind itself."""
    completion = reply(script('{"replies": ["one ``` two END three"]}'), talk("q"), stop=("END", "```"))
    assert (completion.text, completion.finish_reason) == ("one ```", "stop")


def test_max_tokens_counts_words(script):
    """A reply longer than `max_tokens` words is cut and says so; usage is in words, no ids are made up."""
    completion = reply(script('{"replies": ["a b  c d"]}'), talk("one two"), max_tokens=3)
    assert (completion.text, completion.finish_reason) == ("a b  c", "length")
    assert (completion.prompt_tokens, completion.completion_tokens) == (5, 3)
    assert completion.token_ids is completion.prompt_ids is completion.logprobs is None


def test_no_rule_is_a_model_error(script):
    """A conversation that nothing matches is an error of the model, with what was looked at."""
    with pytest.raises(ModelError, match="matches 'unheard of'"):
        reply(script('{"when": "x{9}", "replies": ["a"]}'), talk("unheard of"))


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("{", "not a rule"),
        ("[]", "not a rule"),
        ('{"when": "a"}', "missing required field `replies`"),
        ('{"reply": ["a"]}', "unknown field `reply`|missing required field"),
        ('{"replies": []}', "at least one reply"),
        ('{"replies": [[]]}', "at least one reply"),
        ('{"replies": [1]}', r"\$\.replies\[0\]"),
        ('{"when": "(", "replies": ["a"]}', "not a regular expression"),
    ],
)
def test_bad_line_is_named_by_number(script, line, said):
    """A line that is not a rule is refused when the file is read, with file and line number."""
    with pytest.raises(UsageError, match=rf"script\.jsonl:2: .*({said})"):
        script('{"replies": ["fine"]}', line)


def test_missing_file_and_missing_name():
    """A missing file and a missing file name have different errors."""
    with pytest.raises(MissingError, match=r"cannot read the script '/nowhere\.jsonl'"):
        ScriptedModel("/nowhere.jsonl")
    with pytest.raises(UsageError, match="needs a file"):
        ScriptedModel("")
