"""Turn rollouts into training examples: choose the rollouts, and the tokens that carry loss.

If a rollout contains the sampled tokens, exactly these are used for training; nothing is tokenised again. If it does
not (a teacher behind a chat API, or another tokenizer), the messages are rendered with the student's own chat template.
The student is then trained on the prompts that it reads at inference.
"""

import hashlib
from array import array
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from sca_cli.errors import RecordError, UsageError
from sca_cli.records import Outcome, Rollout, Segment, content_id
from sca_cli.training.rendering import Tokens, rendered


@dataclass(frozen=True, slots=True)
class Example:
    """One sequence to train on."""

    input_ids: Sequence[int]
    loss_mask: Sequence[int]
    """1 for a token of the model's own reply, which carries loss; 0 for a token of the context. Same length as
    `input_ids`."""
    task: str
    """Id of the task."""
    record: str
    """Id of the rollout, or of the task whose solution is the example."""
    outcome: Outcome
    calls: int = 0
    """Number of tool calls of the task's solution; of the rollout if that is not recorded."""
    tools: frozenset[str] = frozenset()
    """The tools that the solution calls; those of the rollout if they are not recorded."""


@dataclass(slots=True)
class Tally:
    """Counts of the input, which is rollouts or tasks with solutions, and of the sequences made from it."""

    read: int = 0
    """Rollouts, or tasks, read."""
    unproven: int = 0
    """Tasks with an error, or that `sca verify` rejected."""
    wordless: int = 0
    """Tasks whose solution cannot be written as one Markdown code block."""
    unusable: int = 0
    """Tasks whose environment does not start, and rollouts whose token lists do not fit together."""
    invalid: int = 0
    """Rollouts with an error or outcome `invalid`: never trained on."""
    failed: int = 0
    """Rollouts with outcome `fail` that were left out."""
    unrendered: int = 0
    """Assistant turns left out: the chat template rejects them, or does not reproduce a reply with tool calls."""
    blank: int = 0
    """Sequences without a token that carries loss."""
    too_long: int = 0
    """Sequences longer than the limit; they are left out, not cut."""
    duplicates: int = 0
    """Sequences equal to an earlier one."""
    capped: int = 0
    """Sequences left out because their task already has the maximum number of examples."""
    solved: int = 0
    """Sequences left out because every attempt solved their task; one attempt of each such task stays."""
    examples: int = 0
    """Sequences to train on."""
    tokens: int = 0
    """Tokens in the examples."""
    loss_tokens: int = 0
    """Tokens in the examples that carry loss."""
    judged: dict[str, Counter[Outcome]] = field(default_factory=dict, compare=False)
    """Id of a task → number of its judged attempts by outcome."""


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
        rollouts: the rollouts; iterated once.
        tokenizer: the student's (transformers), with a chat template. It is needed for rollouts without sampled
            tokens, or without `use_segments`.
        use_segments: train on the sampled tokens. False if another model's tokenizer made them.
        keep_failures: train on rollouts with outcome `fail` too.
        max_tokens: length of the longest example, in tokens.
        max_per_task: most examples of one task; the first ones are used. None: no limit.
        tally: updated with what is used and what is left out.

    Raises:
        UsageError: a task is held out for evaluation; or a rollout has no tokens, and there is no tokenizer with a chat
            template to make them.
        RecordError: some outcomes are a judge model's and others a check's.
    """
    tally = tally if tally is not None else Tally()
    digests: set[bytes] = set()
    per_task: Counter[str] = Counter()
    for rollout in _of_one_kind(rollouts):
        tally.read += 1
        if not _selected(rollout, keep_failures, tally):
            continue
        task = rollout.task.id or content_id(rollout.task)
        calls, tools = _calls_and_tools(rollout)
        try:
            sequences = _sequences(rollout, tokenizer, use_segments, tally)
        except RecordError:
            tally.unusable += 1
            continue
        for input_ids, loss_mask in sequences:
            digest = hashlib.sha256(array("q", input_ids).tobytes() + bytes(loss_mask)).digest()
            # the first token cannot be predicted: it has no context
            if not any(loss_mask[1:]):
                tally.blank += 1
            elif len(input_ids) > max_tokens:
                tally.too_long += 1
            elif digest in digests:
                tally.duplicates += 1
            elif max_per_task is not None and per_task[task] >= max_per_task:
                tally.capped += 1
            else:
                digests.add(digest)
                per_task[task] += 1
                tally.examples += 1
                tally.tokens += len(input_ids)
                tally.loss_tokens += sum(loss_mask[1:])
                record = rollout.id or content_id(rollout)
                yield Example(input_ids, loss_mask, task, record, rollout.outcome, calls, tools)


def _of_one_kind(rollouts: Iterable[Rollout]) -> Iterator[Rollout]:
    """Yield the rollouts; all outcomes must be of one kind, either a judge model's or a check's.

    Raises:
        RecordError: both kinds occur.
    """
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
            f"rollout {rollout.id} belongs to a held-out task: training on it would make the evaluation invalid",
            "remove tasks with split 'eval' from the input",
        )
    if rollout.error is not None or rollout.outcome == "invalid":
        tally.invalid += 1
        return False
    tally.judged.setdefault(rollout.task.id or content_id(rollout.task), Counter())[rollout.outcome] += 1
    if rollout.outcome == "fail" and not keep_failures:
        tally.failed += 1
        return False
    return True


def _calls_and_tools(rollout: Rollout) -> tuple[int, frozenset[str]]:
    """Return the number of calls and the tools of the task's verified solution; if unknown, those of the attempt."""
    verdict = rollout.task.verdict
    calls = verdict.solution_calls() if verdict else None
    known_calls = rollout.calls if calls is None else calls
    count = len(known_calls) if rollout.task.calls is None else rollout.task.calls
    return count, frozenset(call.tool for call in known_calls)


def _sequences(rollout: Rollout, tokenizer: Any, use_segments: bool, tally: Tally) -> Iterable[Tokens]:
    if use_segments and rollout.segments:
        for segment in rollout.segments:
            _check_segment(segment, rollout.id)
        return [(segment.token_ids, segment.loss_mask) for segment in rollout.segments]
    if tokenizer is None or not tokenizer.chat_template:
        raise UsageError(
            f"rollout {rollout.id} has no tokens, and there is no chat template to make them",
            "train from a model whose tokenizer has a chat template",
        )
    # each reply of the model is one turn; assistant messages before these are examples in the prompt
    sequences, unrendered = rendered(rollout.messages, rollout.usage.turns, tokenizer)
    tally.unrendered += unrendered
    return sequences


def _check_segment(segment: Segment, rollout: str) -> None:
    if len(segment.token_ids) != len(segment.loss_mask):
        lengths = f"{len(segment.token_ids)} token ids, {len(segment.loss_mask)} in the loss mask"
        raise RecordError(f"rollout {rollout}: $.segments: lists of different lengths: {lengths}")
    if not set(segment.loss_mask) <= {0, 1}:
        raise RecordError(f"rollout {rollout}: $.segments: the loss mask has values other than 0 and 1")
