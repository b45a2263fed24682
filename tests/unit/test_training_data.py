"""Rollouts become examples: selection, counting, and the loss mask of rendered conversations."""

from pathlib import Path
from typing import Any

import pytest
from tiny_model import save_tokenizer

from sca_cli.errors import RecordError, UsageError
from sca_cli.records import (
    EnvSpec,
    ErrorNote,
    FunctionCall,
    Message,
    Rollout,
    Segment,
    Task,
    ToolCall,
    sealed,
)
from sca_cli.training.data import Tally, examples

FORGETFUL = """\
{%- for message in messages %}<|im_start|>{{ message.role }}
{% if message.role == 'assistant' and not loop.last %}{{ message.content.split('</think>')[-1] }}\
{% else %}{{ message.content }}{% endif %}<|im_end|>
{% endfor %}
{%- if add_generation_prompt %}<|im_start|>assistant
{% endif %}"""
"""Drops the reasoning of earlier turns: what was rendered for turn one is no prefix of turn two."""

OPENING = FORGETFUL.replace("assistant\n{% endif %}", "assistant\n<think>{% endif %}")
"""Opens the reasoning in the generation prompt, and shows finished turns without it."""


def task(name: str = "t", **fields: Any) -> Task:
    """Return a task that its instruction identifies."""
    return sealed(Task(env=EnvSpec(name="e"), instruction=name, evaluate="", **fields))


def rollout(tokens: list[int], mask: list[int] | None = None, **fields: Any) -> Rollout:
    """Return a passed rollout with one segment; the last two tokens are the model's."""
    mask = mask if mask is not None else [0] * (len(tokens) - 2) + [1, 1]
    segment = Segment(token_ids=tokens, loss_mask=mask, logprobs=[0.0] * len(tokens))
    return sealed(Rollout(**{"task": task(), "segments": [segment], "outcome": "pass", **fields}))


def talk(*turns: str) -> Rollout:
    """Return a passed rollout without tokens: system, then user and assistant in turn."""
    said = [Message(role=("user", "assistant")[i % 2], content=text) for i, text in enumerate(turns)]  # type: ignore[arg-type]
    return sealed(Rollout(task=task(), messages=[Message(role="system", content="S"), *said], outcome="pass"))


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Return a byte tokenizer with a ChatML template."""
    transformers = pytest.importorskip("transformers", reason="needs the train extra")
    directory = tmp_path_factory.mktemp("tokenizer")
    save_tokenizer(directory)
    return transformers.AutoTokenizer.from_pretrained(directory)


def learnt(example: Any, tokenizer: Any) -> str:
    """Return the text of the tokens that carry loss."""
    pairs = zip(example.input_ids, example.loss_mask, strict=True)
    return str(tokenizer.decode([token for token, counts in pairs if counts]))


def test_segments_are_used_as_they_were_sampled() -> None:
    """Token ids and mask of every segment come out unchanged, one example a segment."""
    first, second = [5, 6, 7, 8], [9, 9, 9]
    record = rollout(first)
    record.segments.append(Segment(token_ids=second, loss_mask=[0, 0, 1], logprobs=[0.0] * 3))
    made = list(examples([record]))
    assert [(e.input_ids, e.loss_mask) for e in made] == [(first, [0, 0, 1, 1]), (second, [0, 0, 1])]
    assert {(e.task, e.record, e.outcome) for e in made} == {(record.task.id, record.id, "pass")}


def test_only_passed_rollouts_are_used_and_the_rest_is_counted() -> None:
    """Failures, invalid rollouts and rollouts with an error are left out, each under its own count."""
    records = [
        rollout([1, 2, 3]),
        rollout([1, 2, 4], outcome="fail"),
        rollout([1, 2, 5], outcome="invalid"),
        rollout([1, 2, 6], error=ErrorNote(boundary="model", message="gone")),
    ]
    tally = Tally()
    assert [e.input_ids for e in examples(records, tally=tally)] == [[1, 2, 3]]
    assert tally == Tally(read=4, failed=1, invalid=2, examples=1, tokens=3, loss_tokens=2)


def test_failures_are_used_when_asked_for_but_never_invalid_rollouts() -> None:
    """`keep_failures` lets `fail` in and `invalid` still out."""
    records = [rollout([1, 2, 4], outcome="fail"), rollout([1, 2, 5], outcome="invalid")]
    assert [e.outcome for e in examples(records, keep_failures=True)] == ["fail"]


def test_long_double_and_blank_sequences_are_dropped_and_counted() -> None:
    """Nothing is cut: what is too long, occurred before, or has nothing to learn is counted."""
    records = [
        rollout([1, 2, 3]),
        rollout([1, 2, 3], sample=1),
        rollout([1] * 9),
        rollout([4, 5, 6], mask=[1, 0, 0]),  # the first token cannot be predicted
        rollout([1, 2, 3], mask=[0, 0, 1]),  # the same tokens, another mask
    ]
    tally = Tally()
    assert [e.loss_mask for e in examples(records, max_tokens=8, tally=tally)] == [[0, 1, 1], [0, 0, 1]]
    assert (tally.duplicates, tally.too_long, tally.blank, tally.examples) == (1, 1, 1, 2)


def test_at_most_n_examples_a_task_the_first_ones() -> None:
    """`max_per_task` keeps the first of each task and counts the others."""
    records = [rollout([n, 2, 3], task=task("ab"[n % 2])) for n in range(5)]
    tally = Tally()
    assert [e.input_ids[0] for e in examples(records, max_per_task=1, tally=tally)] == [0, 1]
    assert tally.capped == 3


def test_held_out_tasks_are_refused() -> None:
    """A rollout of a task with split `eval` ends the reading."""
    with pytest.raises(UsageError, match="held-out"):
        list(examples([rollout([1, 2, 3], task=task(split="eval"))]))


@pytest.mark.parametrize("mask", [[0, 1], [0, 1, 2], []])
def test_a_rollout_whose_lists_do_not_agree_is_left_out_and_counted(mask: list[int]) -> None:
    """A loss mask of another length or with other values costs this rollout; the next one is trained on."""
    tally = Tally()
    chosen = list(examples([rollout([1, 2, 3], mask=mask), rollout([1, 2, 3])], tally=tally))
    assert ([example.input_ids for example in chosen], tally.unusable) == ([[1, 2, 3]], 1)


def test_without_tokens_and_without_a_tokenizer_it_says_so() -> None:
    """Messages cannot become tokens without a chat template."""
    with pytest.raises(UsageError, match="chat template"):
        list(examples([talk("hi", "ho")]))


@pytest.mark.torch
def test_rendered_conversations_learn_every_reply_with_its_end_of_turn(tokenizer: Any) -> None:
    """One example; the mask covers the replies and their end-of-turn tokens, not the newline behind them."""
    (made,) = examples([talk("one?", "1", "two?", "2")], tokenizer)
    assert learnt(made, tokenizer) == "1<|im_end|>2<|im_end|>"
    assert tokenizer.decode(made.input_ids) == (
        "<|im_start|>system\nS<|im_end|>\n<|im_start|>user\none?<|im_end|>\n<|im_start|>assistant\n1<|im_end|>\n"
        "<|im_start|>user\ntwo?<|im_end|>\n<|im_start|>assistant\n2<|im_end|>"
    )


@pytest.mark.torch
def test_tokens_of_another_model_are_left_alone(tokenizer: Any) -> None:
    """With `use_segments=False` the messages are rendered although there are segments."""
    record = talk("one?", "1")
    record.segments = [Segment(token_ids=[1, 2, 3], loss_mask=[0, 1, 1], logprobs=[0.0] * 3)]
    (made,) = examples([record], tokenizer, use_segments=False)
    assert learnt(made, tokenizer) == "1<|im_end|>"


@pytest.mark.torch
def test_a_template_that_rewrites_the_past_gives_one_example_a_turn(tokenizer: Any) -> None:
    """Each turn is learnt after the prompt the model saw, reasoning included, once."""
    tokenizer.chat_template, before = FORGETFUL, tokenizer.chat_template
    made = list(examples([talk("one?", "why</think>1", "two?", "because</think>2")], tokenizer))
    tokenizer.chat_template = before
    assert [learnt(e, tokenizer) for e in made] == ["why</think>1<|im_end|>", "because</think>2<|im_end|>"]
    assert "why" not in tokenizer.decode(made[1].input_ids)


@pytest.mark.torch
def test_a_generation_prompt_that_the_finished_turn_lacks_is_kept(tokenizer: Any) -> None:
    """The generation prompt opens the reasoning; the reply follows it and ends with the end of the turn."""
    tokenizer.chat_template, before = OPENING, tokenizer.chat_template
    (made,) = examples([talk("one?", "why</think>1")], tokenizer)
    tokenizer.chat_template = before
    assert tokenizer.decode(made.input_ids).endswith("assistant\n<think>why</think>1<|im_end|>")
    assert learnt(made, tokenizer) == "why</think>1<|im_end|>"


@pytest.mark.torch
def test_tool_calls_are_rendered_as_objects_and_learnt(tokenizer: Any) -> None:
    """Arguments appear as JSON once, not as quoted text."""
    call = ToolCall(id="1", function=FunctionCall(name="add", arguments='{"a": 1}'))
    record = talk("one?")
    record.messages.append(Message(role="assistant", tool_calls=[call]))
    (made,) = examples([record], tokenizer)
    assert '"arguments": {"a": 1}' in learnt(made, tokenizer)


@pytest.mark.torch
def test_turns_that_a_template_refuses_are_counted(tokenizer: Any) -> None:
    """A template that raises costs the turn, not the run."""
    tokenizer.chat_template, before = "{{ raise_exception('no system role') }}", tokenizer.chat_template
    tally = Tally()
    made = list(examples([talk("one?", "1")], tokenizer, tally=tally))
    tokenizer.chat_template = before
    assert (made, tally.unrendered) == ([], 1)


@pytest.mark.torch
@pytest.mark.weights
def test_a_real_template_is_masked_alike() -> None:
    """Qwen2.5-Coder's own template and tokenizer, where they are on this machine."""
    directory = Path("/tmp/models/qwen0.5b")
    if not directory.is_dir():
        pytest.skip("no Qwen2.5-Coder-0.5B on this machine")
    transformers = pytest.importorskip("transformers")
    real = transformers.AutoTokenizer.from_pretrained(directory)
    (made,) = examples([talk("one?", "1", "two?", "2")], real)
    assert learnt(made, real) == "1<|im_end|>2<|im_end|>"


@pytest.mark.parametrize("kinds", [["", "m:x"], ["m:x", ""]])
def test_judged_and_verified_rollouts_are_not_mixed(kinds: list[str]) -> None:
    """A training set cannot mix outcomes of judges and of checks, failed ones included. Invalid outcomes do not count,
    and the outcomes of several judges may be mixed.
    """
    records = [rollout([n, 2, 3], judged_by=kind, outcome="fail") for n, kind in enumerate(kinds)]
    with pytest.raises(RecordError, match="judged by a model"):
        list(examples(records))
    invalid = rollout([9, 2, 3], judged_by=kinds[1], outcome="invalid")
    alone = [rollout([n, 2, 3], judged_by=kinds[0] and f"{kinds[0]}{n}") for n in range(3)]
    assert len(list(examples([*alone, invalid]))) == 3
