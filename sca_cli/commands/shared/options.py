"""Options that several verbs have, each described once, and which options decide the records of a run.

Help and manual pages are derived from here. Two rules hold for all verbs:

- An option that runs a model (`--model`, `--teacher`, `--user-model`, `--judge`, `--agree`) takes PLUGIN:NAME[,k=v…].
- An option that names weights to train (`--base`, `--student`) takes a directory, a hub name, or PLUGIN:NAME of a local
  model.
"""

from typing import Annotated, Any, Literal

import typer

from sca_cli.records import JSON

FILES = "Input and output"
TASKS = "Tasks"
MODEL = "Model and sampling"
ATTEMPTS = "Attempts"
PROOFS = "Proofs"
TRAINING = "Training"
LIMITS = "Limits"
RUN = "Run"
PANELS = (FILES, TASKS, MODEL, PROOFS, ATTEMPTS, TRAINING, LIMITS, RUN)
"""Headings of the option tables, in the order of help and manual."""

WITHOUT_EFFECT = frozenset(
    {"inputs", "output", "rejected", "rollouts", "save", "resume", "concurrency", "threads", "quiet", "allow_env"}
    | {"report_to", "dry_run"}
)
"""Parameters that cannot change a byte of a record. All others are settings: `--resume` refuses other values."""


def option_name(parameter: Any) -> str:
    """Return the long name of an option without its dashes."""
    return str(max(parameter.opts, key=len)).lstrip("-")


def settings_of(context: typer.Context, *leave_out: str, **resolved: JSON) -> dict[str, JSON]:
    """Return the settings that decide the records of a run: all options, except those in `WITHOUT_EFFECT`.

    Args:
        context: the verb's context.
        leave_out: further parameters that do not count under this verb.
        resolved: parameter → value to record in place of what was typed, such as the hash of prompt files.
    """
    settings: dict[str, JSON] = {"command": context.info_name}
    for parameter in context.command.params:
        name = str(parameter.name)
        if name in context.params and name not in WITHOUT_EFFECT and name not in leave_out:
            settings[option_name(parameter)] = resolved.get(name, context.params[name])
    return settings


Inputs = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[FILE]...",
        help="JSONL files to read; standard input if there is no FILE, or for '-'.",
        show_default=False,
        rich_help_panel=FILES,
    ),
]
Env = Annotated[
    list[str] | None,
    typer.Option(
        "--env",
        "-e",
        metavar="NAME[:k=v,…]",
        envvar="SCA_ENV",
        help="Environment and its options; repeat it to use several in turn.",
        show_default=False,
        rich_help_panel=TASKS,
    ),
]
AllowEnv = Annotated[
    list[str] | None,
    typer.Option(
        "--allow-env",
        metavar="SPEC",
        envvar="SCA_ENV",
        help="Allow the records to start this environment with code of your own (python:, mcp:, a suite); repeat it "
        "for several.",
        show_default=False,
        rich_help_panel=TASKS,
    ),
]
EnvArgument = Annotated[
    str, typer.Argument(metavar="NAME[:k=v,…]", help="Environment and its options.", show_default=False)
]
Model = Annotated[
    str | None,
    typer.Option(
        "--model",
        "-m",
        metavar="PLUGIN:NAME[,k=v…]",
        envvar="SCA_MODEL",
        help="Model to run: plugin, name and options, as in transformers:./weights,threads=2.",
        show_default=False,
        rich_help_panel=MODEL,
    ),
]
Output = Annotated[
    str,
    typer.Option(
        "--output",
        "-o",
        metavar="FILE",
        help="File to write records to; '-' is standard output.",
        rich_help_panel=FILES,
    ),
]
Resume = Annotated[
    bool,
    typer.Option(
        "--resume",
        help="Continue a stopped run from its -o FILE, with the same output as a run without a stop.",
        show_default=False,
        rich_help_panel=FILES,
    ),
]
Rejected = Annotated[
    str | None,
    typer.Option(
        "--rejected",
        metavar="FILE",
        help="Write rejected records to FILE, with the reason.",
        show_default=False,
        rich_help_panel=FILES,
    ),
]
Seed = Annotated[int, typer.Option("--seed", help="Seed of all random choices.", rich_help_panel=RUN)]
Quiet = Annotated[
    bool,
    typer.Option("--quiet", "-q", help="Show no progress and no summary.", show_default=False, rich_help_panel=RUN),
]
Times = Annotated[
    bool,
    typer.Option(
        "--times",
        help="Record wall times. Without it, the same seed gives the same bytes.",
        show_default=False,
        rich_help_panel=RUN,
    ),
]
Prompt = Annotated[
    str | None,
    typer.Option(
        "--prompt",
        metavar="DIR",
        help="Use the prompt files in DIR instead of the built-in files of the same names.",
        show_default=False,
        rich_help_panel=MODEL,
    ),
]
Temperature = Annotated[
    float,
    typer.Option("--temperature", min=0.0, help="Sampling temperature; 0 is greedy.", rich_help_panel=MODEL),
]
TopP = Annotated[
    float,
    typer.Option(
        "--top-p", min=0.0, max=1.0, help="Nucleus sampling: the probability mass that is kept.", rich_help_panel=MODEL
    ),
]
MaxTokens = Annotated[
    int, typer.Option("--max-tokens", min=1, help="Limit of tokens in one reply.", rich_help_panel=MODEL)
]
Attempts = Annotated[
    int, typer.Option("--attempts", "-k", min=1, help="Attempts at each task.", rich_help_panel=ATTEMPTS)
]
Actions = Annotated[
    Literal["code", "json", "text"],
    typer.Option(
        "--actions",
        help="Form of the model's actions: Python code blocks, JSON tool calls, or `Action:` lines.",
        rich_help_panel=ATTEMPTS,
    ),
]
Turns = Annotated[
    int | None,
    typer.Option(
        "--turns",
        min=1,
        help="Limit of turns in one attempt.",
        show_default="as in the task, else 4",
        rich_help_panel=ATTEMPTS,
    ),
]
UserModel = Annotated[
    str | None,
    typer.Option(
        "--user-model",
        metavar="PLUGIN:NAME[,k=v…]",
        help="Model that plays the customer, in environments that have one.",
        show_default="the agent's model",
        rich_help_panel=ATTEMPTS,
    ),
]
UserTurns = Annotated[
    int,
    typer.Option(
        "--user-turns",
        min=1,
        help="Limit of turns in an episode with a customer, instead of --turns.",
        rich_help_panel=ATTEMPTS,
    ),
]
UserTemperature = Annotated[
    float | None,
    typer.Option(
        "--user-temperature",
        min=0.0,
        help="Sampling temperature of the model that plays the customer.",
        show_default="--temperature",
        rich_help_panel=ATTEMPTS,
    ),
]
UserMaxTokens = Annotated[
    int | None,
    typer.Option(
        "--user-max-tokens",
        min=1,
        help="Limit of tokens in one message of the customer.",
        show_default="--max-tokens",
        rich_help_panel=ATTEMPTS,
    ),
]
Direct = Annotated[
    bool,
    typer.Option(
        "--direct",
        help="Give the instruction directly to the agent, even in environments that have a customer.",
        show_default=False,
        rich_help_panel=ATTEMPTS,
    ),
]
ObservationChars = Annotated[
    int | None,
    typer.Option(
        "--observation-chars",
        min=100,
        metavar="N",
        help="Longest output of a tool or program that the model sees whole; the middle of a longer one is left out.",
        show_default="2000; in a suite all is shown",
        rich_help_panel=ATTEMPTS,
    ),
]
Concurrency = Annotated[
    int | None,
    typer.Option(
        "--concurrency",
        min=1,
        help="Records processed at the same time; a higher number fills the model's batch.",
        show_default="64 with a model, else two for each core",
        rich_help_panel=RUN,
    ),
]
CheckSeconds = Annotated[
    float | None,
    typer.Option(
        "--check-seconds",
        min=0.1,
        max=3600.0,
        help="Wall time of a program, and of the check after it. The kept task records it for later verbs.",
        show_default="as in the task, else 10",
        rich_help_panel=LIMITS,
    ),
]
CpuSeconds = Annotated[
    int | None,
    typer.Option(
        "--cpu-seconds",
        min=1,
        max=3600,
        help="CPU time of a program, and of a check.",
        show_default="as in the task, else 5",
        rich_help_panel=LIMITS,
    ),
]
MemoryMb = Annotated[
    int | None,
    typer.Option(
        "--memory-mb",
        min=64,
        max=65536,
        help="Memory of a program in MiB.",
        show_default="as in the task, else 512",
        rich_help_panel=LIMITS,
    ),
]
WorldMemoryMb = Annotated[
    int,
    typer.Option(
        "--memory-mb",
        min=64,
        max=65536,
        help="Memory of a world in MiB, and of the import of its code; sca verify needs the same value.",
        rich_help_panel=LIMITS,
    ),
]
OutputBytes = Annotated[
    int | None,
    typer.Option(
        "--output-bytes",
        min=1,
        max=1 << 26,
        help="Bytes that a program may print.",
        show_default="as in the task, else 65536",
        rich_help_panel=LIMITS,
    ),
]
ReplyBytes = Annotated[
    int | None,
    typer.Option(
        "--reply-bytes",
        min=256,
        max=1 << 26,
        help="Bytes of an answer or of a tool call.",
        show_default="as in the task, else 1048576",
        rich_help_panel=LIMITS,
    ),
]
ToolCalls = Annotated[
    int | None,
    typer.Option(
        "--tool-calls",
        min=1,
        max=1_000_000,
        help="Tool calls of a program, and of a check.",
        show_default="as in the task, else 200",
        rich_help_panel=LIMITS,
    ),
]
Against = Annotated[
    list[str] | None,
    typer.Option(
        "--against",
        metavar="FILE",
        help="Training data: also report the score without the tasks that overlap with it; repeat it for several "
        "files.",
        show_default=False,
        rich_help_panel=TASKS,
    ),
]
