"""From rollouts to training examples: which rollouts count, and which of their tokens carry loss.

Where the rollout holds the tokens that were sampled, exactly those are trained on: nothing is tokenised
again. Where it does not (a teacher behind a chat API, or another tokenizer), the messages are rendered with
the student's own chat template, so that the student is trained on prompts it will really see.
"""

import hashlib
import json
from array import array
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from sca_cli.errors import RecordError, UsageError
from sca_cli.records import Message, Outcome, Rollout, Segment, content_id


@dataclass(frozen=True, slots=True)
class Example:
    """One sequence to train on."""

    input_ids: Sequence[int]
    loss_mask: Sequence[int]
    """1 where the model's own token is to be learnt, 0 where it was given; as long as `input_ids`."""
    task: str
    """Id of the task."""
    rollout: str
    """Id of the rollout."""
    outcome: Outcome


@dataclass(slots=True)
class Tally:
    """What became of the rollouts; `examples` fills it in while it is read."""

    rollouts: int = 0
    """Rollouts read."""
    invalid: int = 0
    """Rollouts with an error or outcome `invalid`: never trained on."""
    failed: int = 0
    """Rollouts with outcome `fail` that were left out."""
    unrendered: int = 0
    """Assistant turns that the chat template does not render as they were said."""
    blank: int = 0
    """Sequences without a token to learn."""
    too_long: int = 0
    """Sequences longer than the limit; nothing is cut."""
    duplicates: int = 0
    """Sequences that occurred before."""
    capped: int = 0
    """Sequences above the limit for their task."""
    examples: int = 0
    """Sequences to train on."""
    tokens: int = 0
    """Tokens in them."""
    loss_tokens: int = 0
    """Tokens in them that carry loss."""


def examples(
    rollouts: Iterable[Rollout],
    tokenizer: Any = None,
    *,
    use_segments: bool = True,
    keep_failures: bool = False,
    max_tokens: int = 8192,
    max_per_task: int | None = None,
    tally: Tally | None = None,
) -> Iterator[Example]:
    """Turn rollouts into examples, one at a time and in order.

    Args:
        rollouts: read once.
        tokenizer: the student's (transformers), with a chat template; for rollouts without segments to use.
        use_segments: take the sampled tokens. False when another model's tokenizer made them.
        keep_failures: train on `fail` as well as on `pass`.
        max_tokens: longest example, in tokens.
        max_per_task: most examples of one task, the first ones; None is no limit.
        tally: counts what was taken and what was left out.

    Raises:
        UsageError: a held-out task; no tokens and no tokenizer or chat template to make them.
        RecordError: a segment whose lists differ in length; outcomes of a judge model beside outcomes of checks.
    """
    tally = tally if tally is not None else Tally()
    seen: set[bytes] = set()
    per_task: Counter[str] = Counter()
    for rollout in _of_one_kind(rollouts):
        tally.rollouts += 1
        if not _selected(rollout, keep_failures, tally):
            continue
        task = rollout.task.id or content_id(rollout.task)
        for input_ids, loss_mask in _sequences(rollout, tokenizer, use_segments, tally):
            digest = hashlib.sha256(array("q", input_ids).tobytes() + bytes(loss_mask)).digest()
            # the first token has nothing before it to be predicted from
            if not any(loss_mask[1:]):
                tally.blank += 1
            elif len(input_ids) > max_tokens:
                tally.too_long += 1
            elif digest in seen:
                tally.duplicates += 1
            elif max_per_task is not None and per_task[task] >= max_per_task:
                tally.capped += 1
            else:
                seen.add(digest)
                per_task[task] += 1
                tally.examples += 1
                tally.tokens += len(input_ids)
                tally.loss_tokens += sum(loss_mask[1:])
                yield Example(input_ids, loss_mask, task, rollout.id or content_id(rollout), rollout.outcome)


def _of_one_kind(rollouts: Iterable[Rollout]) -> Iterator[Rollout]:
    """Pass rollouts on, as long as all were judged by a model or all by their task's check."""
    kinds: dict[bool, str] = {}
    for rollout in rollouts:
        if rollout.outcome != "invalid":
            kinds.setdefault(bool(rollout.judged_by), rollout.id or content_id(rollout))
        if len(kinds) == 2:
            raise RecordError(
                f"rollout {kinds[True]} was judged by a model, rollout {kinds[False]} by its task's check",
                "train on one kind: jq -c 'select(.judged_by)' picks the first, 'select(.judged_by | not)' the second",
            )
        yield rollout


def _selected(rollout: Rollout, keep_failures: bool, tally: Tally) -> bool:
    if rollout.task.split == "eval":
        raise UsageError(
            f"rollout {rollout.id} is of a held-out task: training on it would spoil the evaluation",
            "leave out tasks with split 'eval'",
        )
    if rollout.error is not None or rollout.outcome == "invalid":
        tally.invalid += 1
        return False
    if rollout.outcome == "fail" and not keep_failures:
        tally.failed += 1
        return False
    return True


def _sequences(
    rollout: Rollout, tokenizer: Any, use_segments: bool, tally: Tally
) -> Iterator[tuple[list[int], list[int]]]:
    if use_segments and rollout.segments:
        for segment in rollout.segments:
            _check(segment, rollout.id)
            yield segment.token_ids, segment.loss_mask
        return
    if tokenizer is None or not tokenizer.chat_template:
        raise UsageError(
            f"rollout {rollout.id} holds no tokens, and there is no chat template to make them",
            "train from a model whose tokenizer has a chat template",
        )
    for pieces in _rendered(rollout.messages, tokenizer, tally):
        yield _encoded(pieces, tokenizer)


def _check(segment: Segment, rollout: str) -> None:
    if len(segment.token_ids) != len(segment.loss_mask):
        lengths = f"{len(segment.token_ids)} token ids, {len(segment.loss_mask)} in the loss mask"
        raise RecordError(f"rollout {rollout}: $.segments: lists of different lengths: {lengths}")
    if not set(segment.loss_mask) <= {0, 1}:
        raise RecordError(f"rollout {rollout}: $.segments: the loss mask holds something other than 0 and 1")


# ---------------------------------------------------------------- chat template

type Pieces = list[tuple[str, bool]]
"""Consecutive texts of one rendering; True: the model's own."""


def _rendered(messages: Sequence[Message], tokenizer: Any, tally: Tally) -> Iterator[Pieces]:
    """Yield the conversation as one sequence; where the template rewrites the past, one sequence a turn."""
    turns = [_turn(messages[: i + 1], tokenizer) for i, message in enumerate(messages) if message.role == "assistant"]
    said = [turn for turn in turns if turn is not None]
    tally.unrendered += len(turns) - len(said)
    if not said:
        return
    pieces: Pieces = []
    past = ""
    for prompt, reply in said:
        if not prompt.startswith(past):  # e.g. reasoning is dropped from earlier turns
            for alone in said:
                yield [(alone[0], False), (alone[1], True)]
            return
        pieces += [(prompt[len(past) :], False), (reply, True)]
        past = prompt + reply
    yield pieces


def _turn(messages: Sequence[Message], tokenizer: Any) -> tuple[str, str] | None:
    """Return the prompt as the model sees it and its reply up to its end-of-turn token; None: no fit."""
    from jinja2 import TemplateError

    try:
        prompt = _render(messages[:-1], tokenizer, add_generation_prompt=True)
        whole = _render(messages, tokenizer)
    except TemplateError:  # the template refuses a role or an order
        return None
    said = messages[-1].content
    if whole.startswith(prompt) and said.strip() in (reply := _until_end_of_turn(whole[len(prompt) :], tokenizer)):
        return prompt, reply
    # The finished turn is not what the model said after this prompt (the prompt opens a <think> that the turn
    # lacks, or reasoning is dropped): it read the prompt, it said the message, and a turn ends as turns end.
    return None if messages[-1].tool_calls else (prompt, said + _end_of_turn(tokenizer))


def _end_of_turn(tokenizer: Any) -> str:
    """Return what the template puts behind a reply, up to its last special token."""
    probe = "sca-end-of-turn"
    whole = _render([Message(role="user", content="?"), Message(role="assistant", content=probe)], tokenizer)
    return _until_end_of_turn(whole.partition(probe)[2], tokenizer)


def _until_end_of_turn(text: str, tokenizer: Any) -> str:
    """Cut what the template puts behind the last special token: the model never samples it."""
    ends = [text.rfind(token) + len(token) for token in _special(tokenizer) if token in text]
    return text[: max(ends)] if ends else text


def _special(tokenizer: Any) -> set[str]:
    """Return the texts of the control tokens, declared special or only added to the vocabulary as such."""
    added = tokenizer.added_tokens_decoder.values()
    return {token.content for token in added if token.special} | set(tokenizer.all_special_tokens)


def _render(messages: Sequence[Message], tokenizer: Any, add_generation_prompt: bool = False) -> str:
    plain = [_plain(message) for message in messages]
    text: str = tokenizer.apply_chat_template(plain, tokenize=False, add_generation_prompt=add_generation_prompt)
    return text


def _plain(message: Message) -> dict[str, Any]:
    """Return the message as templates expect it: arguments as objects, to be written as JSON by them."""
    plain: dict[str, Any] = {"role": message.role, "content": message.content}
    if message.tool_calls:
        plain["tool_calls"] = [
            {
                "id": c.id,
                "type": "function",
                "function": {"name": c.function.name, "arguments": _object(c.function.arguments)},
            }
            for c in message.tool_calls
        ]
    return plain | {name: value for name in ("tool_call_id", "name") if (value := getattr(message, name))}


def _object(text: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError:  # the model wrote something else; it stays as it was said
        return text


def _encoded(pieces: Pieces, tokenizer: Any) -> tuple[list[int], list[int]]:
    """Tokenise piece by piece: sampling starts at a token boundary, so training must have one there too."""
    input_ids: list[int] = []
    loss_mask: list[int] = []
    for text, own in pieces:
        ids = tokenizer(text, add_special_tokens=False)["input_ids"]
        input_ids += ids
        loss_mask += [int(own)] * len(ids)
    return input_ids, loss_mask
