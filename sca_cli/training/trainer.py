"""The trainer of all algorithms: LoRA or all weights, on a CPU or a GPU, with transformers' Trainer as its base.

`train` lets a `Learner` learn, and writes a model directory that transformers and vLLM can load. During training,
checkpoints are in `OUT.work/`. The output directory appears only when it is complete.

A learner says what one optimiser step is: forward passes laid out by `packing`, and the loss of each. Everything else
is the same for all algorithms: optimiser, schedule, clipping, checkpoints, resume, reports.
"""

import contextlib
import json
import math
import shutil
import sys
import tempfile
import time
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from sca_cli import plugins
from sca_cli.devices import ask_for_huge_pages, device_of, dtype_of
from sca_cli.errors import ExitCode, MissingError, ModelError, ScaError, UsageError
from sca_cli.records import JSON
from sca_cli.streams import locked
from sca_cli.training import metrics, ranks
from sca_cli.training.memory import free_bytes, kept_bytes, set_recomputing
from sca_cli.training.packing import Layout, shares
from sca_cli.training.weights import load_model, write_model
from sca_cli.training.work import last_checkpoint

if TYPE_CHECKING:
    import torch


class NothingToTrain(ScaError):
    """There is no example to train on. The command exits with the code for an empty result."""

    exit_code = ExitCode.NOTHING


@dataclass(frozen=True, slots=True)
class TrainOptions:
    """Settings of the training. The defaults suit rejection sampling on a few hundred to a few thousand rollouts."""

    lora_rank: int = 16
    """0 trains all weights."""
    lora_alpha: int = 32
    learning_rate: float | None = None
    """None: 2e-4 with LoRA, 1e-5 without."""
    epochs: int = 2
    batch_size: int = 8
    """Examples in one optimiser step."""
    batch_tokens: int = 4096
    """Most tokens in one forward pass; a larger step is split into several passes."""
    max_steps: int | None = None
    """Most optimiser steps; None: the number of epochs decides."""
    warmup: float = 0.0
    """Share of the steps during which the learning rate rises; the first step has rate 0."""
    scheduler: Literal["linear", "cosine", "constant"] = "cosine"
    seed: int = 0
    dtype: Literal["auto", "bfloat16", "float32"] = "auto"
    """Precision of matrix products. auto: bfloat16 if the hardware multiplies it natively, else float32."""
    device: str = "auto"
    """auto, cpu or cuda. auto: a GPU if there is one."""
    threads: int | None = None
    """Number of CPU threads; None: torch's default."""
    save_every_steps: int = 50
    """Optimiser steps between two checkpoints. 0: no checkpoints, and a killed run starts from the beginning."""
    share_prefixes: bool = True
    """Compute the common prefixes of a batch once, if the model allows it."""
    trust_remote_code: bool = False
    """Run Python code of the base model's directory."""
    report_to: str = "none"
    """Library that gets the metrics of each step, as transformers names it; none: metrics.jsonl only."""

    @property
    def rate(self) -> float:
        """The highest learning rate of the schedule."""
        return self.learning_rate or (2e-4 if self.lora_rank else 1e-5)

    def chosen(self) -> dict[str, JSON]:
        """Return the settings that decide the trained weights, with the values that this machine chooses.

        Raises:
            MissingError: the train extra or the device is missing.
        """
        with libraries(self):
            device = device_of(self.device)
            dtype = str(dtype_of(self.dtype, device)).removeprefix("torch.")
        values = {name: value for name, value in asdict(self).items() if name not in WITHOUT_EFFECT}
        return values | {"learning_rate": self.rate, "device": device, "dtype": dtype}


WITHOUT_EFFECT = frozenset({"threads", "save_every_steps", "trust_remote_code", "report_to"})
"""Settings that do not change the trained weights."""


@dataclass(frozen=True, slots=True)
class Batch:
    """One optimiser step: its forward passes, whose losses are summed."""

    layouts: Sequence[Layout]
    loss: "Callable[[Any, Layout], torch.Tensor]"
    """(model, layout on the model's device) → the layout's share of the loss, differentiable."""


NO_UPDATE = Batch((), lambda *_: NotImplemented)
"""A step that changes nothing."""


class Learner(ABC):
    """An algorithm. It defines the optimiser steps that the trainer takes."""

    items: Sequence[int]
    """The items of an epoch; each step gets `batch_size` of them."""
    longest: int
    """Tokens of the longest sequence."""
    highest: int
    """Highest token id in the data."""
    metrics: dict[str, float]
    """Figures of the last step, for the log."""

    @abstractmethod
    def begin(self, model: Any, *, shared: bool) -> None:
        """Prepare for training; called once, with the model before its first step, also when a run is resumed.

        Args:
            model: the model on its device, under PEFT if an adapter is trained.
            shared: the model computes trees.
        """

    def sampler(self) -> Any:
        """Return the sampler of an epoch's items; None: in order."""
        return None

    @abstractmethod
    def batch(self, model: Any, items: Sequence[int]) -> Batch:
        """Return the optimiser step that trains on these items."""

    def gather(self) -> None:  # noqa: B027  most learners have no such figures
        """Add up the figures of the step that each process computed for its own passes."""

    def end_of_step(self) -> str:
        """Return the reason to stop training now, or "" to continue."""
        return ""

    def end(self, model: Any) -> None:
        """Choose the weights to keep: called once, after the last step, before the model is written."""
        del model

    def save(self, directory: Path) -> None:
        """Write the learner's own state, if it has one, into a checkpoint."""
        del directory

    def load(self, directory: Path) -> None:
        """Read what `save` wrote."""
        del directory


def fail_if_in_the_way(out: Path, *, resume: bool) -> None:
    """Check, before any work, that a model can be written to `out`.

    Raises:
        UsageError: `out` is a file, or a directory with files in it; `OUT.work` is a link; or `resume` is False, and
            `OUT.work` exists.
    """
    if ranks.follows():  # the first process has checked, and may have begun
        return
    work = work_of(out)
    if work.is_symlink():
        raise UsageError(f"{work} is a symbolic link, which is not followed", "remove it")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UsageError(f"{out} exists already", "name another directory, or remove it")
    if work.exists() and not resume:
        raise UsageError(f"{work} contains checkpoints of a run that did not finish", "add --resume, or remove it")


def work_of(out: Path) -> Path:
    """Return the directory of the checkpoints of a run whose output is `out`."""
    return out.with_name(out.name + ".work")


def train(
    learner: Learner,
    base_model: str,
    out: Path,
    options: TrainOptions,
    fingerprint: dict[str, Any],
    progress: Callable[[dict[str, float]], None] = lambda _: None,
) -> dict[str, JSON]:
    """Train a model and write it to `out`.

    Args:
        learner: the algorithm with its data.
        base_model: a Hugging Face directory, or a name that transformers resolves.
        out: output directory (created). `OUT.work` and `OUT.partial` in the same folder are used during the run.
        options: settings of the training.
        fingerprint: what must be equal to resume from the checkpoints in `OUT.work`, see `fingerprint_of`.
        progress: called after every step with step, steps, epoch, loss, learning_rate, and the learner's metrics.

    Returns:
        steps; trainable_parameters; stopped (why it ended early, if it did); first_loss, last_loss, loss_epoch_1, … and
        losses, one a step; seconds (wall time of this call).

    Raises:
        MissingError: the train extra, the base model or the device is missing; or the library that metrics are sent to
            reports an error.
        UsageError: `OUT.work` belongs to another run, or another process writes it; a token id is outside the model's
            vocabulary; the launcher asks for FSDP or DeepSpeed.
        ModelError: the loss is not finite.
    """
    began = time.monotonic()
    work = work_of(out)
    with libraries(options):
        checkpoint = ranks.from_first(lambda: last_checkpoint(work, fingerprint))
        trainer, report = _trainer(learner, base_model, work, options, progress)
        from peft.helpers import disable_input_dtype_casting

        work.mkdir(parents=True, exist_ok=True)
        alone = contextlib.nullcontext() if ranks.follows() else locked(work)
        # autocast rounds the input of an adapter; PEFT would first convert it to the adapter's type: a second copy
        with alone, disable_input_dtype_casting(trainer.model):
            if not ranks.follows():
                (work / "run.json").write_text(json.dumps(fingerprint))
            with reports_to(options.report_to):
                trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
            learner.end(trainer.model)
            trainable = sum(p.numel() for p in trainer.model.parameters() if p.requires_grad)
            if not ranks.follows():
                write_model(
                    trainer.model,
                    base_model,
                    lora_of(options),
                    out,
                    beside=results_in(work),
                    trust_remote_code=options.trust_remote_code,
                )
    if not ranks.follows():
        shutil.rmtree(work)
    return {
        "steps": trainer.state.global_step,
        "trainable_parameters": trainable,
        **({"stopped": report.stopped} if report.stopped else {}),
        **losses_of(trainer.state.log_history),
        "seconds": time.monotonic() - began,
    }


@contextlib.contextmanager
def reports_to(library: str) -> Iterator[None]:
    """Name the library that metrics are sent to in the errors that it raises.

    Raises:
        MissingError: the library raised an error.
    """
    try:
        yield
    except Exception as error:
        if type(error).__module__.split(".")[0] != library:
            raise
        hint = "wandb login, or WANDB_MODE=offline" if library == "wandb" else ""
        raise MissingError(f"--report-to {library}: {error}", hint) from error


def results_in(work: Path) -> list[Path]:
    """Return the files in the work directory of a training that belong in the directory of its model."""
    return [work / metrics.FILE, work / "runs"]  # TensorBoard's files are in runs/


def fail_if_diverged(step: int, loss: float) -> None:
    """Check the loss of a step.

    Raises:
        ModelError: it is not finite.
    """
    if not math.isfinite(loss):
        raise ModelError(f"training diverged: the loss of step {step} is {loss}", "use a lower --learning-rate")


def timed_step(learner: Learner, base_model: str, options: TrainOptions) -> float:
    """Compute one step at the learning rate 0, which changes no weight, and return its wall time in seconds.

    Nothing is written. The step is computed twice, because the first one is slower.

    Args:
        learner: the algorithm with its data; the first items of an epoch are the step.
        base_model: as for `train`.
        options: settings of the training.

    Raises:
        MissingError, UsageError: as `train`.
    """
    with libraries(options), tempfile.TemporaryDirectory() as work:
        trainer, _ = _trainer(learner, base_model, Path(work), replace(options, report_to="none"), lambda _: None)
        items = list(islice(learner.sampler() or learner.items, options.batch_size))
        model = trainer.accelerator.prepare(trainer.model)
        optimizer = trainer.create_optimizer()
        for group in optimizer.param_groups:
            group["lr"] = 0.0
        seconds = 0.0
        for _ in range(2):
            began = time.monotonic()
            trainer.training_step(model, {"items": items})
            optimizer.step()
            optimizer.zero_grad()
            seconds = time.monotonic() - began
        return seconds


def losses_of(history: list[dict[str, float]]) -> dict[str, JSON]:
    """Return the first and last loss, the mean of each epoch, and the loss of every step (rounded to 4 decimals).

    The history counts epochs in fractions.
    """
    steps = [(entry["epoch"], entry["loss"]) for entry in history if "loss" in entry]
    by_epoch: dict[int, list[float]] = {}
    for epoch, loss in steps:
        # the last step of an epoch is logged with a whole number
        by_epoch.setdefault(int(epoch - 1e-6) + 1, []).append(loss)
    means = {f"loss_epoch_{epoch}": sum(losses) / len(losses) for epoch, losses in by_epoch.items()}
    every = [round(loss, 4) for _, loss in steps]
    return {"first_loss": steps[0][1], "last_loss": steps[-1][1], **means, "losses": every}


@contextlib.contextmanager
def libraries(options: TrainOptions) -> Iterator[None]:
    """Import the libraries, send their output to stderr, and restore the number of threads at the end.

    Raises:
        MissingError: a library of the train extra is not installed.
    """
    ask_for_huge_pages()
    with contextlib.redirect_stdout(sys.stderr), warnings.catch_warnings():
        try:
            import peft  # noqa: F401  imported here so that a missing package is reported before any work
            import torch
            import transformers
        except ImportError as error:
            raise plugins.missing_package(error, "training", "pip install 'sca-cli[train]'") from error
        transformers.logging.set_verbosity_warning()  # type: ignore[no-untyped-call,unused-ignore]
        transformers.logging.disable_progress_bar()  # type: ignore[no-untyped-call,unused-ignore]
        threads = torch.get_num_threads()
        if options.threads:
            torch.set_num_threads(options.threads)
        try:
            yield
        finally:
            torch.set_num_threads(threads)


def lora_of(options: TrainOptions) -> Any:
    """Return the configuration of the LoRA adapter; None: all weights are trained."""
    from peft import LoraConfig

    if not options.lora_rank:
        return None
    return LoraConfig(
        r=options.lora_rank, lora_alpha=options.lora_alpha, target_modules="all-linear", task_type="CAUSAL_LM"
    )


def _model(base_model: str, options: TrainOptions, dtype: "torch.dtype") -> Any:
    """Load the model, under PEFT if an adapter is trained."""
    import torch
    from peft import get_peft_model

    # without LoRA the weights are trained in float32: bfloat16 would round a step of 1e-5 to nothing
    kept_dtype = dtype if options.lora_rank else torch.float32
    model = load_model(base_model, kept_dtype, trust_remote_code=options.trust_remote_code)
    adapter = lora_of(options)
    return get_peft_model(model, adapter) if adapter else model


def _own_passes(batch: Batch) -> list[tuple[Layout, float]]:
    """Return the passes of this process, and the weight of the loss of each.

    Every process has the same number: one that has fewer repeats a pass with weight 0. Processes average their
    gradients, so the weight of the others is the number of processes.
    """
    count, passes = ranks.count(), batch.layouts
    if count == 1:
        return [(layout, 1.0) for layout in passes]
    own = [(layout, float(count)) for layout in passes[ranks.number() :: count]]
    missing = -(-len(passes) // count) - len(own)
    return own + [(passes[0], 0.0)] * missing


def _trainer(
    learner: Learner,
    base_model: str,
    work: Path,
    options: TrainOptions,
    progress: Callable[[dict[str, float]], None],
) -> tuple[Any, Any]:
    """Return transformers' trainer with the batches of the learner, and the callback that reports its steps."""
    import torch
    from accelerate.data_loader import prepare_data_loader
    from transformers import PrinterCallback, Trainer, TrainerCallback, TrainingArguments, set_seed

    device = device_of(options.device)
    dtype = dtype_of(options.dtype, device)
    set_seed(options.seed)
    model = _model(base_model, options, dtype)
    if learner.highest >= model.get_input_embeddings().num_embeddings:
        raise UsageError(
            f"the rollouts contain tokens that '{base_model}' does not have: another model made them",
            "sca distill trains on another model's rollouts",
        )

    class LearnerTrainer(Trainer):
        """transformers' trainer, in which one step is a batch of the learner, as one or more forward passes."""

        free: int | None = None

        def _get_train_sampler(self, train_dataset: Any = None) -> Any:  # noqa: ARG002
            return learner.sampler() or torch.utils.data.SequentialSampler(learner.items)

        def training_step(
            self,
            model: Any,
            inputs: Any,
            num_items_in_batch: Any = None,  # noqa: ARG002  the trainer's
        ) -> Any:
            bare = self.accelerator.unwrap_model(model)
            batch = learner.batch(bare, inputs["items"])
            model.train()
            if self.free is None:  # measured here because only now all weights are on the device
                self.free = free_bytes(bare)
            total = torch.zeros((), device=self.args.device)
            passes = _own_passes(batch)
            for place, (layout_on_cpu, weight) in enumerate(passes):
                layout = layout_on_cpu.on(self.args.device)
                set_recomputing(bare, 2 * kept_bytes(bare, layout, dtype) > self.free)
                is_last = place == len(passes) - 1
                # several processes exchange their gradients in the last backward pass
                with contextlib.nullcontext() if is_last else self.accelerator.no_sync(model):
                    with self.compute_loss_context_manager():
                        loss = batch.loss(model, layout)
                    if weight != 1:
                        loss = loss * weight
                    self.accelerator.backward(loss)
                total += loss.detach()
            learner.gather()
            return total

        def get_train_dataloader(self) -> Any:
            if ranks.count() == 1:
                return super().get_train_dataloader()
            # every process sees all items of a step, and computes its share of the passes
            loader: Any = torch.utils.data.DataLoader(
                learner.items,  # type: ignore[arg-type]
                batch_size=options.batch_size,
                sampler=self._get_train_sampler(),
                collate_fn=self.data_collator,
            )
            # it passes the number of the epoch to the sampler, as with one process
            return prepare_data_loader(loader, num_processes=1, process_index=0)

        def log(self, logs: dict[str, float], *args: Any, **kwargs: Any) -> None:
            super().log(logs | (learner.metrics if "loss" in logs else {}), *args, **kwargs)

        def save_model(self, output_dir: str | None = None, _internal_call: bool = False) -> None:
            super().save_model(output_dir, _internal_call)
            if self.args.should_save:
                learner.save(Path(output_dir or work))

        def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
            super()._load_from_checkpoint(resume_from_checkpoint, model)
            learner.load(Path(resume_from_checkpoint))

        def floating_point_ops(self, inputs: Any) -> int:  # noqa: ARG002
            return 0

    lines = metrics.MetricsFile(work / metrics.FILE)

    class Report(TrainerCallback):
        stopped = ""

        def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:  # noqa: ARG002
            if not ranks.follows():
                lines.begin(state.log_history)

        def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:  # noqa: ARG002
            if reason := learner.end_of_step():
                self.stopped, control.should_training_stop = reason, True

        def on_log(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:  # noqa: ARG002
            logs = kwargs["logs"]
            if "loss" not in logs:
                return
            if not ranks.follows():
                lines.add({"step": state.global_step, **logs})
            fail_if_diverged(state.global_step, logs["loss"])
            named = {name: logs[name] for name in ("epoch", "loss", "learning_rate")}
            progress({"step": state.global_step, "steps": state.max_steps, **named, **learner.metrics})

    arguments = TrainingArguments(
        output_dir=str(work),
        per_device_train_batch_size=options.batch_size,
        num_train_epochs=options.epochs,
        max_steps=options.max_steps or -1,
        learning_rate=options.rate,
        warmup_steps=options.warmup,
        lr_scheduler_type="constant_with_warmup" if options.scheduler == "constant" else options.scheduler,
        weight_decay=0.0,
        seed=options.seed,
        bf16=dtype == torch.bfloat16,
        use_cpu=device == "cpu",
        gradient_checkpointing=False,  # decided for each forward pass
        remove_unused_columns=False,
        dataloader_pin_memory=False,
        save_strategy="steps" if options.save_every_steps else "no",
        save_steps=options.save_every_steps or 1,
        save_total_limit=1,
        logging_steps=1,
        logging_nan_inf_filter=False,
        report_to="none" if ranks.follows() else options.report_to,
        run_name=str(work.with_suffix("")),
        project="sca",
        disable_tqdm=True,
        ddp_find_unused_parameters=False if ranks.count() > 1 else None,
    )
    if device != "cpu":
        arguments._n_gpu = 1  # the trainer would wrap the model for all GPUs of the machine
    report = Report()
    trainer = LearnerTrainer(
        model=model,
        args=arguments,
        train_dataset=learner.items,
        data_collator=lambda items: {"items": list(items)},
        callbacks=[report],
    )
    if trainer.is_fsdp_enabled or trainer.is_deepspeed_enabled:
        raise UsageError(
            "training by FSDP or DeepSpeed is not supported: each process holds the whole model",
            "start it by torchrun, or by accelerate launch without FSDP and DeepSpeed",
        )
    trainer.remove_callback(PrinterCallback)
    model.to(trainer.args.device)
    base = model.get_base_model() if options.lora_rank else model
    learner.begin(model, shared=options.share_prefixes and shares(base, learner.longest))
    return trainer, report
