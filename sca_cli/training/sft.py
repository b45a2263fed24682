"""Supervised fine-tuning on sampled tokens: the loss is the mean of -log p over the model's own tokens."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sca_cli.records import JSON
from sca_cli.training.batching import AlikeFirst, alike
from sca_cli.training.data import Example
from sca_cli.training.packing import Layout, layouts, surprise
from sca_cli.training.trainer import Batch, Learner, NothingToTrain, TrainOptions, fail_if_in_the_way, train
from sca_cli.training.work import fingerprint_of

if TYPE_CHECKING:
    import torch


def train_sft(
    data: Iterable[Example],
    base_model: str,
    out: Path,
    options: TrainOptions,
    progress: Callable[[dict[str, float]], None] = lambda _: None,
    *,
    resume: bool = False,
) -> dict[str, JSON]:
    """Fine-tune a model on examples and write it to `out`.

    Args:
        data: the examples; all are stored in memory (token ids only).
        base_model: a Hugging Face directory, or a name that transformers resolves.
        out: output directory (created). `OUT.work` and `OUT.partial` in the same folder are used during the run.
        options: settings of the training.
        progress: called after every step with step, steps, epoch, loss (nats a token), learning_rate.
        resume: continue from the last checkpoint in `OUT.work`, if there is one.

    Returns:
        examples, tokens and loss_tokens in the data, and what `trainer.train` returns; losses are nats a token.

    Raises:
        NothingToTrain: there are no examples.
        MissingError: the train extra, the base model or the device is missing.
        UsageError: `out` exists; `OUT.work` belongs to another run; a token id is outside the model's vocabulary.
        ModelError: the loss is not finite.
    """
    fail_if_in_the_way(out, resume=resume)
    chosen = list(data)
    learner = sft_learner(chosen, options)
    counts: dict[str, JSON] = {
        "examples": len(chosen),
        "tokens": sum(len(example.input_ids) for example in chosen),
        "loss_tokens": sum(sum(example.loss_mask[1:]) for example in chosen),
    }
    fingerprint = fingerprint_of(chosen, base_model, asdict(options))
    return counts | train(learner, base_model, out, options, fingerprint, progress)


def sft_learner(data: Sequence[Example], options: TrainOptions) -> "Sft":
    """Return the learner of some examples.

    Raises:
        NothingToTrain: there are no examples.
    """
    if not data:
        raise NothingToTrain(
            "no examples to train on", "only passed attempts and verified solutions are used for training"
        )
    return Sft(data, options)


class Sft(Learner):
    """Learn to repeat the own tokens of examples.

    Args:
        data: the examples.
        options: batch size, tokens in a pass, and seed.
    """

    def __init__(self, data: Sequence[Example], options: TrainOptions) -> None:
        self._data, self._options = data, options
        self.items = range(len(data))
        self.longest = max(len(example.input_ids) for example in data)
        self.highest = max(max(example.input_ids) for example in data)
        self.metrics = {}
        self._shared = False

    def begin(self, model: Any, *, shared: bool) -> None:
        del model
        self._shared = shared

    def sampler(self) -> AlikeFirst:
        groups = alike([example.input_ids for example in self._data])
        return AlikeFirst(groups, self._options.batch_size, self._options.seed)

    def batch(self, model: Any, items: Sequence[int]) -> Batch:
        del model
        examples = [self._data[item] for item in items]
        passes = list(layouts(examples, self._options.batch_tokens, shared=self._shared))
        counted = sum(float(layout.weights.sum()) for layout in passes)

        def loss(model: Any, layout: Layout) -> "torch.Tensor":
            return (surprise(model, layout) * layout.weights).sum() / counted

        return Batch(passes, loss)
