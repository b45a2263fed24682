"""Learn from comparisons, on the prefix tree: DPO from pairs of a passed and a failed rollout, KTO from single ones.

The reference is the model before training. Its log-probabilities are computed once. A rollout of several token
sequences counts with the sum over all of them.
"""

import random
from abc import abstractmethod
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from sca_cli.records import JSON
from sca_cli.training import ranks
from sca_cli.training.batching import AlikeFirst, alike
from sca_cli.training.data import Example
from sca_cli.training.packing import Layout, common, layouts, surprise
from sca_cli.training.trainer import Batch, Learner, NothingToTrain, TrainOptions, fail_if_in_the_way, train
from sca_cli.training.work import fingerprint_of

if TYPE_CHECKING:
    import torch

PreferenceAlgorithm = Literal["dpo", "kto"]

MOST_PAIRS = 4
"""Most pairs of one task; chosen by hand."""


@dataclass(frozen=True, slots=True)
class PreferenceOptions:
    """Settings of the loss."""

    algorithm: PreferenceAlgorithm
    beta: float = 0.1
    """Strength of the reference: a larger value keeps the model closer to it."""
    nll: float = 0.1
    """DPO: weight of the mean -log p of the chosen rollout. DPO alone may lower its probability, too."""


@dataclass(frozen=True, slots=True, eq=False)
class Compared:
    """A rollout to compare: its token sequences."""

    sequences: Sequence[Example]

    @property
    def passed(self) -> bool:
        """Whether the check passed."""
        return self.sequences[0].outcome == "pass"

    @property
    def task(self) -> str:
        """Id of the task."""
        return self.sequences[0].task


type Pair = tuple[Compared, Compared]
"""The chosen and the rejected rollout."""


def compared(examples: Iterable[Example]) -> list[Compared]:
    """Join the token sequences of each rollout."""
    by_record: dict[str, list[Example]] = {}
    for example in examples:
        by_record.setdefault(example.record, []).append(example)
    return [Compared(sequences) for sequences in by_record.values()]


def pairs(rollouts: Sequence[Compared]) -> list[Pair]:
    """Pair passed with failed rollouts of the same task: at most `MOST_PAIRS` a task.

    Pairs with the longest common beginning come first: they differ least, so that the comparison is about the turn
    that decides. Each rollout is used once before any is used again.
    """
    by_task: dict[str, list[Compared]] = {}
    for rollout in rollouts:
        by_task.setdefault(rollout.task, []).append(rollout)
    return [pair for group in by_task.values() for pair in _pairs_of_task(group)]


def _pairs_of_task(group: Sequence[Compared]) -> list[Pair]:
    candidates = [(one, other) for one in group if one.passed for other in group if not other.passed]
    candidates.sort(key=lambda pair: -_common(*pair))
    used: Counter[int] = Counter()
    chosen: list[Pair] = []
    while candidates and len(chosen) < MOST_PAIRS:
        # min is stable: among the rollouts used least, the pair with the longest common beginning
        pair = min(candidates, key=lambda pair: max(used[id(rollout)] for rollout in pair))
        candidates.remove(pair)
        chosen.append(pair)
        used.update(map(id, pair))
    return chosen


def _common(one: Compared, other: Compared) -> int:
    return common(one.sequences[0].input_ids, other.sequences[0].input_ids)


def dpo_loss(chosen: "torch.Tensor", rejected: "torch.Tensor", beta: float) -> "torch.Tensor":
    """Return the loss of each pair: Rafailov et al. 2023 (arXiv 2305.18290), equation 7.

    Args:
        chosen: (pairs,) log-probability of the chosen rollout, minus the reference's, nats.
        rejected: (pairs,) the same of the rejected one.
        beta: strength of the reference.
    """
    import torch

    return -torch.nn.functional.logsigmoid(beta * (chosen - rejected))


def kto_loss(ratios: "torch.Tensor", passed: "torch.Tensor", kl: float, beta: float) -> "torch.Tensor":
    """Return the loss of each rollout: Ethayarajh et al. 2024 (arXiv 2402.01306), equation 8, without its weights.

    Args:
        ratios: (rollouts,) log-probability of the rollout, minus the reference's, nats.
        passed: (rollouts,) bool
        kl: estimate of the divergence from the reference, nats, not negative.
        beta: strength of the reference.
    """
    import torch

    return 1 - torch.sigmoid(beta * torch.where(passed, ratios - kl, kl - ratios))


def kto_weights(rollouts: Sequence[Compared]) -> tuple[float, float]:
    """Return the weights of passed and of failed rollouts in the loss of KTO: section 4.2 of the paper.

    The rarer outcome weighs more, so that both have the same total weight. With equal weights, many failed rollouts
    lower the probability of every reply.
    """
    passed = max(sum(rollout.passed for rollout in rollouts), 1)
    failed = max(len(rollouts) - passed, 1)
    return max(failed / passed, 1.0), max(passed / failed, 1.0)


def mismatched(rollouts: Sequence[Compared]) -> list[Compared]:
    """Join each rollout's prompt with the reply of the rollout before it. KTO estimates the KL on these sequences."""
    replies = [rollouts[-1], *rollouts[:-1]] if rollouts else []
    return [
        Compared([_joined(one.sequences[0], other.sequences[0])]) for one, other in zip(rollouts, replies, strict=True)
    ]


def _joined(one: Example, other: Example) -> Example:
    prompt, begun = list(one.loss_mask).index(1), list(other.loss_mask).index(1)
    ids = [*one.input_ids[:prompt], *other.input_ids[begun:]]
    return Example(ids, [*[0] * prompt, *other.loss_mask[begun:]], one.task, one.record, one.outcome)


def train_preference(
    examples: Iterable[Example],
    base_model: str,
    out: Path,
    options: TrainOptions,
    preference: PreferenceOptions,
    progress: Callable[[dict[str, float]], None] = lambda _: None,
    *,
    resume: bool = False,
) -> dict[str, JSON]:
    """Train a model on comparisons and write it to `out`; arguments and errors as for `train_sft`.

    Args:
        examples: the token sequences of passed and failed rollouts.
        base_model: a Hugging Face directory, or a name that transformers resolves.
        out: output directory (created).
        options: settings of the training. A step has `batch_size` pairs (DPO) or rollouts (KTO).
        preference: settings of the loss.
        progress: called after every step.
        resume: continue from the last checkpoint in `OUT.work`, if there is one.

    Returns:
        pairs or examples, and what `trainer.train` returns.

    Raises:
        NothingToTrain: no task has both a passed and a failed rollout (DPO), or all rollouts have one outcome (KTO).
    """
    fail_if_in_the_way(out, resume=resume)
    learner, counts = preference_learner(examples, options, preference)
    data = [sequence for rollout in learner.rollouts for sequence in rollout.sequences]
    fingerprint = fingerprint_of(data, base_model, asdict(options) | asdict(preference))
    return counts | train(learner, base_model, out, options, fingerprint, progress)


def preference_learner(
    examples: Iterable[Example], options: TrainOptions, preference: PreferenceOptions
) -> "tuple[Preference, dict[str, JSON]]":
    """Return the learner of some examples, and the number of its pairs or of its passed and failed rollouts.

    Raises:
        NothingToTrain: as `train_preference`.
    """
    rollouts = compared(examples)
    learner: Preference
    if preference.algorithm == "dpo":
        chosen = pairs(rollouts)
        if not chosen:
            raise NothingToTrain(
                "no pair to learn from: no task has both a passed and a failed rollout",
                "attempt each task more often (--attempts), or use --algo kto",
            )
        learner = Dpo(chosen, options, preference)
        counts: dict[str, JSON] = {"pairs": len(chosen), "pair_tasks": len({one.task for one, _ in chosen})}
    else:
        passed = sum(rollout.passed for rollout in rollouts)
        if not 0 < passed < len(rollouts):
            what = "passed" if passed else "failed"
            raise NothingToTrain(f"nothing to compare: all {len(rollouts)} rollouts {what}", "add rollouts of others")
        # neighbours are of different tasks then, as the estimate of the KL needs
        random.Random(options.seed).shuffle(rollouts)
        learner = Kto(rollouts, options, preference)
        counts = {"passed": passed, "failed": len(rollouts) - passed}
    return learner, counts


class Preference(Learner):
    """What DPO and KTO share: the reference, and log-probabilities of whole rollouts.

    Args:
        rollouts: the rollouts that are compared.
        options: batch size, tokens in a pass, and seed.
        preference: settings of the loss.
    """

    def __init__(self, rollouts: Sequence[Compared], options: TrainOptions, preference: PreferenceOptions) -> None:
        self.rollouts, self._options, self._preference = rollouts, options, preference
        sequences = [sequence.input_ids for rollout in rollouts for sequence in rollout.sequences]
        self.longest, self.highest = max(map(len, sequences)), max(map(max, sequences))
        self.metrics = {}
        self._shared = False
        self._reference: dict[int, float] = {}

    def begin(self, model: Any, *, shared: bool) -> None:
        self._shared = shared
        for place in range(0, len(self.rollouts), self._options.batch_size):
            part = self.rollouts[place : place + self._options.batch_size]
            for rollout, logprob in zip(part, self.logprobs(model, part), strict=True):
                self._reference[id(rollout)] = logprob

    def sampler(self) -> AlikeFirst:
        sequences = [self.leader(item).sequences[0].input_ids for item in self.items]
        return AlikeFirst(alike(sequences), self._options.batch_size, self._options.seed)

    @abstractmethod
    def first(self, count: int) -> "Preference":
        """Return a learner of the first items only."""

    @abstractmethod
    def leader(self, item: int) -> Compared:
        """Return one rollout of an item; items whose rollouts have the same prompt share a batch."""

    def logprobs(self, model: Any, rollouts: Sequence[Compared]) -> list[float]:
        """Return the log-probability of each rollout, without a gradient, nats."""
        import torch

        model.eval()
        sequences, owners = _flat(rollouts)
        sums = torch.zeros(len(rollouts), dtype=torch.float64)
        with torch.no_grad():
            for layout in layouts(sequences, self._options.batch_tokens, shared=self._shared):
                logprobs = -surprise(model, layout.on(model.device)).cpu().double()
                sums.index_add_(0, torch.tensor(owners)[layout.owners], logprobs[layout.uses])
        return sums.tolist()

    def ratios(
        self, model: Any, layout: Layout, rollouts: Sequence[Compared], owners: Sequence[int]
    ) -> "tuple[torch.Tensor, torch.Tensor, torch.Tensor]":
        """Compare the model with the reference on the rollouts of one layout.

        Returns:
            (r,) index in `rollouts` of each rollout of the layout; (r,) its log-probability minus the reference's; (r,)
            the mean of -log p over its own tokens. The last two are differentiable.
        """
        import torch

        logprobs = -surprise(model, layout)[layout.uses]
        owner = torch.tensor(owners, device=logprobs.device)[layout.owners]
        present, inverse = torch.unique(owner, return_inverse=True)
        sums = logprobs.new_zeros(len(present)).index_add(0, inverse, logprobs)
        counts = torch.bincount(inverse, minlength=len(present))
        reference = [self._reference[id(rollouts[index])] for index in present.tolist()]
        return present, sums - torch.tensor(reference, device=sums.device, dtype=sums.dtype), -sums / counts


class Dpo(Preference):
    """Prefer the passed rollout of each pair."""

    def __init__(self, chosen: Sequence[Pair], options: TrainOptions, preference: PreferenceOptions) -> None:
        unique = {id(rollout): rollout for pair in chosen for rollout in pair}
        super().__init__(list(unique.values()), options, preference)
        self._pairs = chosen
        self.items = range(len(chosen))

    def first(self, count: int) -> "Dpo":
        return Dpo(self._pairs[:count], self._options, self._preference)

    def leader(self, item: int) -> Compared:
        return self._pairs[item][0]

    def gather(self) -> None:
        self.metrics = ranks.summed(self.metrics)

    def batch(self, model: Any, items: Sequence[int]) -> Batch:
        import torch

        del model
        batch = [self._pairs[item] for item in items]
        rollouts = [rollout for pair in batch for rollout in pair]
        sequences, owners = _flat(rollouts)
        passes = list(
            layouts(
                sequences,
                self._options.batch_tokens,
                shared=self._shared,
                together=[owner // 2 for owner in owners],
            )
        )
        self.metrics = {"accuracy": 0.0, "margin": 0.0}

        def loss(model: Any, layout: Layout) -> "torch.Tensor":
            # both rollouts of a pair are in one layout, beside each other in `present`
            _, ratios, surprises = self.ratios(model, layout, rollouts, owners)
            chosen, rejected = ratios[0::2], ratios[1::2]
            margins = (chosen - rejected).detach()
            self.metrics["accuracy"] += float((margins > 0).sum()) / len(batch)
            self.metrics["margin"] += float(margins.sum()) / len(batch)
            losses = dpo_loss(chosen, rejected, self._preference.beta) + self._preference.nll * surprises[0::2]
            total: torch.Tensor = losses.sum() / len(batch)
            return total

        return Batch(passes, loss)


class Kto(Preference):
    """Raise the log-ratio of passed rollouts above the estimated KL divergence; lower that of failed ones below it.

    The outcomes are weighted, see `kto_weights`.
    """

    def __init__(self, rollouts: Sequence[Compared], options: TrainOptions, preference: PreferenceOptions) -> None:
        super().__init__(rollouts, options, preference)
        self.items = range(len(rollouts))
        self._mismatched = mismatched(rollouts)
        self._mismatched_reference: list[float] = []
        self._weight_of_passed, self._weight_of_failed = kto_weights(rollouts)

    def first(self, count: int) -> "Kto":
        return Kto(self.rollouts[:count], self._options, self._preference)

    def leader(self, item: int) -> Compared:
        return self.rollouts[item]

    def begin(self, model: Any, *, shared: bool) -> None:
        super().begin(model, shared=shared)
        size = self._options.batch_size
        parts = [self._mismatched[place : place + size] for place in range(0, len(self._mismatched), size)]
        self._mismatched_reference = [logprob for part in parts for logprob in self.logprobs(model, part)]

    def batch(self, model: Any, items: Sequence[int]) -> Batch:
        import torch

        rollouts = [self.rollouts[item] for item in items]
        now = self.logprobs(model, [self._mismatched[item] for item in items])
        before = [self._mismatched_reference[item] for item in items]
        kl = max(0.0, sum(a - b for a, b in zip(now, before, strict=True)) / len(items))
        sequences, owners = _flat(rollouts)
        passes = list(layouts(sequences, self._options.batch_tokens, shared=self._shared, together=owners))
        self.metrics = {"kl": kl}

        def loss(model: Any, layout: Layout) -> "torch.Tensor":
            present, ratios, _ = self.ratios(model, layout, rollouts, owners)
            passed = torch.tensor([rollouts[index].passed for index in present.tolist()], device=ratios.device)
            weights = torch.where(passed, self._weight_of_passed, self._weight_of_failed)
            total: torch.Tensor = (weights * kto_loss(ratios, passed, kl, self._preference.beta)).sum() / len(rollouts)
            return total

        return Batch(passes, loss)


def _flat(rollouts: Sequence[Compared]) -> tuple[list[Example], list[int]]:
    """Return the sequences of rollouts, and the place of the rollout of each."""
    flat = [(sequence, place) for place, rollout in enumerate(rollouts) for sequence in rollout.sequences]
    return [sequence for sequence, _ in flat], [place for _, place in flat]
