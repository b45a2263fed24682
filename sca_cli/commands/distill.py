"""`sca distill`: a teacher rolls out, a student learns from it (paper, section 2.3: distillation)."""

from typing import Annotated

import typer

from sca_cli import plugins, streams
from sca_cli.commands import options, train
from sca_cli.commands.acting import Talk
from sca_cli.commands.shell import Meter, made_by, required_inputs
from sca_cli.errors import ExitCode
from sca_cli.interfaces import Sampling
from sca_cli.prompts import Prompts
from sca_cli.records import Rollout, Task
from sca_cli.streams import Output


def command(
    save: train.Save,
    student: Annotated[
        str,
        typer.Option(
            "--student",
            metavar="DIR_OR_NAME",
            help="Weights that learn: a Hugging Face directory or hub name.",
            show_default=False,
        ),
    ],
    inputs: options.Inputs = None,
    teacher: Annotated[
        str | None,
        typer.Option(
            "--teacher",
            metavar="PLUGIN:NAME[,k=v…]",
            help="Model that rolls out, where tasks are read.",
            show_default=False,
        ),
    ] = None,
    keep_failures: Annotated[
        bool,
        typer.Option(
            "--keep-failures", help="Learn from failed rollouts too; more effective in the paper.", show_default=False
        ),
    ] = False,
    samples: train.Samples = 4,
    rollouts: Annotated[
        str | None,
        typer.Option("--rollouts", metavar="FILE", help="Keep the rollouts made of tasks in FILE.", show_default=False),
    ] = None,
    lora_rank: train.Lora = 16,
    learning_rate: train.LearningRate = None,
    epochs: train.Epochs = 2,
    batch_size: train.BatchSize = 8,
    max_length: train.MaxLength = 4096,
    max_per_task: train.PerTask = None,
    device: train.Device = "auto",
    dtype: train.Dtype = "auto",
    threads: train.Threads = None,
    actions: options.Actions = "code",
    turns: options.Turns = 4,
    user_model: options.UserModel = None,
    user_turns: options.UserTurns = 30,
    direct: options.Direct = False,
    seed: options.Seed = 0,
    temperature: options.Temperature = 0.7,
    top_p: options.TopP = 1.0,
    max_tokens: options.MaxTokens = 512,
    prompt: options.Prompt = None,
    allow_eval: train.AllowEval = False,
    output: options.Output = "-",
    resume: options.Resume = False,
    concurrency: options.Concurrency = None,
    times: options.Times = False,
    quiet: options.Quiet = False,
) -> ExitCode:
    """Fine-tune a student on a teacher's rollouts.

    \b
    Example:
      sca distill tasks.jsonl --teacher openai:BIG,base_url=http://localhost:8000/v1 --student SMALL --save runs/student

    Reads tasks, which the teacher rolls out, or rollouts that a teacher made. The messages are rendered with the
    student's own chat template; loss is on what the teacher said only.
    """
    from sca_cli.training.sft import SftOptions, fail_if_in_the_way, load_tokenizer

    paths = required_inputs(inputs, "sca distill tasks.jsonl --teacher … --student … --save runs/student")
    if teacher:
        plugins.fail_if_unknown([], [teacher])
    talk = Talk.from_options(user_model, user_turns, direct=direct)
    sink = Output(output, rejected=None, resume=False, settings={"command": "distill"}, inputs=paths)
    if resume and (trained := train.trained_before(save)):
        return train.write_checkpoint("distill", trained, sink, quiet=quiet)
    fail_if_in_the_way(save, resume=resume)
    tokenizer = load_tokenizer(student)
    training = SftOptions(
        lora_rank=lora_rank,
        learning_rate=learning_rate,
        epochs=epochs,
        batch_size=batch_size,
        seed=seed,
        device=device,
        dtype=dtype,
        threads=threads,
    )
    selection = train.Selection(
        use_segments=False, keep_failures=keep_failures, max_length=max_length, max_per_task=max_per_task
    )
    sampling = Sampling(temperature, top_p, max_tokens)
    roller = train.Roller(
        "distill",
        teacher or "",
        samples,
        actions,
        turns,
        talk,
        seed,
        sampling,
        Prompts.from_option(prompt),
        concurrency,
        quiet,
        rollouts,
        resume,
    )
    records = train.refuse_eval(streams.read(paths, Task, Rollout), allow=allow_eval)
    with Meter("distill", None, quiet=quiet) as meter:
        attempts = train.attempted(records, teacher, roller)
        checkpoint, tally = train.run(attempts, student, tokenizer, save, selection, training, meter, resume=resume)
    checkpoint.algorithm, checkpoint.made_by = "distill", made_by("distill", model=teacher or "", seed=seed)
    train.keep_checkpoint(checkpoint, times=times)
    train.report("distill", tally, quiet=quiet)
    return train.write_checkpoint("distill", checkpoint, sink, quiet=quiet)
