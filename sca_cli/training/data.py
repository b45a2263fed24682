"""From rollouts to training examples: which rollouts count, and which of their tokens carry loss.

Where the rollout holds the tokens that were sampled, exactly those are trained on: nothing is tokenised
again. Where it does not (a teacher behind a chat API, or another tokenizer), the messages are rendered with
the student's own chat template, so that the student is trained on prompts it will really see.
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
    """1 where the model's own token is to be learnt, 0 where it was given; as long as `input_ids`."""
    task: str
    """Id of the task."""
    record: str
    """Id of the rollout, or of the task whose solution it is."""
    outcome: Outcome
    calls: int = 0
    """Tool calls of the task's solution."""
    tools: frozenset[str] = frozenset()
    """The tools that it calls."""


@dataclass(slots=True)
class Tally:
    """What became of what was read: rollouts, or tasks whose solutions are learnt."""

    read: int = 0
    """Rollouts, or tasks, read."""
    unproven: int = 0
    """Tasks with an error, or that `sca verify` turned down."""
    wordless: int = 0
    """Tasks without a solution that can be said in one code block."""
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
    solved: int = 0
    """Sequences of tasks that every attempt solved, but for those of one attempt."""
    examples: int = 0
    """Sequences to train on."""
    tokens: int = 0
    """Tokens in them."""
    loss_tokens: int = 0
    """Tokens in them that carry loss."""
    judged: dict[str, Counter[Outcome]] = field(default_factory=dict, compare=False)
    """Id of a task → its judged attempts by outcome."""


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
        tally.read += 1
        if not _selected(rollout, keep_failures, tally):
            continue
        task = rollout.task.id or content_id(rollout.task)
        calls, tools = _demands(rollout)
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
                record = rollout.id or content_id(rollout)
                yield Example(input_ids, loss_mask, task, record, rollout.outcome, calls, tools)


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
    tally.judged.setdefault(rollout.task.id or content_id(rollout.task), Counter())[rollout.outcome] += 1
    if rollout.outcome == "fail" and not keep_failures:
        tally.failed += 1
        return False
    return True


def _demands(rollout: Rollout) -> tuple[int, frozenset[str]]:
    """Return the calls and the tools that the task takes: its proven solution's, else those of the attempt."""
    verdict = rollout.task.verdict
    calls = verdict.solution_calls() if verdict else None
    made = rollout.calls if calls is None else calls
    return len(made) if rollout.task.calls is None else rollout.task.calls, frozenset(call.tool for call in made)


def _sequences(rollout: Rollout, tokenizer: Any, use_segments: bool, tally: Tally) -> Iterable[Tokens]:
    if use_segments and rollout.segments:
        for segment in rollout.segments:
            _check(segment, rollout.id)
        return [(segment.token_ids, segment.loss_mask) for segment in rollout.segments]
    if tokenizer is None or not tokenizer.chat_template:
        raise UsageError(
            f"rollout {rollout.id} holds no tokens, and there is no chat template to make them",
            "train from a model whose tokenizer has a chat template",
        )
    # each reply of the model is a turn; replies before them are the prompt's own, shown as examples
    made, lost = rendered(rollout.messages, rollout.usage.turns, tokenizer)
    tally.unrendered += lost
    return made


def _check(segment: Segment, rollout: str) -> None:
    if len(segment.token_ids) != len(segment.loss_mask):
        lengths = f"{len(segment.token_ids)} token ids, {len(segment.loss_mask)} in the loss mask"
        raise RecordError(f"rollout {rollout}: $.segments: lists of different lengths: {lengths}")
    if not set(segment.loss_mask) <= {0, 1}:
        raise RecordError(f"rollout {rollout}: $.segments: the loss mask holds something other than 0 and 1")
