"""The stages of `sca train --on solutions` and `--on both`: train on solutions, then on rollouts of the new model.

With `both`, SAVE/solutions is the model after the first stage. SAVE/rollouts.jsonl holds the attempts of the second
stage, unless `--rollouts` names a file. The third stage trains in SAVE/rft.*. `--resume` continues in each stage.
"""

import shutil
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import msgspec

from sca_cli import plugins
from sca_cli.commands.shared.attempting import Roller
from sca_cli.commands.shared.shell import say
from sca_cli.commands.shared.training import RECORD, Training, keep_checkpoint, trained_before
from sca_cli.errors import UsageError
from sca_cli.records import Checkpoint, Task
from sca_cli.sandbox import Limits, Sandbox
from sca_cli.training.data import Tally
from sca_cli.training.solutions import demonstrations
from sca_cli.training.trainer import NothingToTrain, fail_if_in_the_way


def on_solutions(
    training: Training, tasks: Iterable[Task], base: str, save: Path, roller: Roller, tally: Tally
) -> Checkpoint:
    """Fine-tune on the solutions of tasks.

    Raises:
        MissingError, NothingToTrain, UsageError: as `Training.fine_tune`.
        SandboxError, PluginError: an environment does not start.
    """
    with Sandbox(Limits(), roller.allowed) as sandbox:
        attempts = list(demonstrations(tasks, sandbox.describe, roller.prompts, tally))
    checkpoint = training.fine_tune(attempts, base, save, "solutions", tally)
    keep_checkpoint(checkpoint, save, training)
    return checkpoint


def updated(model: str | None, directory: Path) -> str:
    """Return the model specification that runs the weights in `directory`.

    The options are those of `model` if it runs locally. The plugin is `vllm` if that of `model` is, else
    `transformers`.

    Raises:
        UsageError: the directory's name holds a comma, which separates options.
    """
    if "," in str(directory):
        raise UsageError(f"--save {directory.parent}: a comma separates options of a model", "a name without a comma")
    plugin, _, model_options = plugins.parse_model(model) if model else ("transformers", "", {})
    if plugin not in ("transformers", "vllm", "embedded"):
        model_options = {}
    kind = "vllm" if plugin == "vllm" else "transformers"
    return ",".join([f"{kind}:{directory}", *(f"{key}={value}" for key, value in model_options.items())])


def fail_if_not_free(save: Path, *, resume: bool) -> None:
    """Check, before any work, that both stages can be written to `save`.

    Raises:
        UsageError: it holds something other than an unfinished run to resume.
    """
    if not (resume and any(save.glob("solutions*"))):
        fail_if_in_the_way(save, resume=resume)


def on_both(training: Training, tasks: list[Task], base: str, save: Path, roller: Roller, tally: Tally) -> Checkpoint:
    """Fine-tune on the solutions of tasks, roll the tasks out with the result, and fine-tune it on its successes.

    Raises:
        MissingError, NothingToTrain, UsageError: as `on_solutions`.
    """
    first = save / "solutions"
    solutions = trained_before(first, training.settings, training.files) if roller.resume else None
    if solutions is None:
        solutions = on_solutions(training, tasks, base, first, roller, tally)
    second = save / "rft"
    if trained := trained_before(second, training.settings, training.files):
        return _lifted(trained, second, save)
    spec = updated(roller.model, first)
    keep = roller.options.rollouts or str(save / "rollouts.jsonl")
    roller = replace(roller, model=spec, options=replace(roller.options, rollouts=keep))
    try:
        checkpoint = replace(training, model=spec, prompt="").fine_tune(
            roller.rollouts(tasks), str(first), second, "solutions+rft", Tally()
        )
    except NothingToTrain:
        say("sca train: no attempt to train on; the model after the solutions is the result", quiet=roller.quiet)
        checkpoint = msgspec.structs.replace(solutions, id="")
        shutil.copytree(first, second.with_name("rft.partial"), dirs_exist_ok=True)
        second.with_name("rft.partial").rename(second)
    checkpoint.path, checkpoint.parents = str(save), [solutions.id, *checkpoint.data]
    keep_checkpoint(checkpoint, second, training)
    return _lifted(checkpoint, second, save)


def _lifted(checkpoint: Checkpoint, directory: Path, save: Path) -> Checkpoint:
    """Move a finished model up into `save`: first weights, then `config.json`, last the record."""
    last = ["config.json", RECORD]
    for path in sorted(directory.iterdir(), key=lambda path: last.index(path.name) if path.name in last else -1):
        path.rename(save / path.name)
    directory.rmdir()
    return checkpoint
