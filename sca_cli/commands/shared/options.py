"""Options that mean the same under every verb, described once: help and man pages are derived from here."""

from typing import Annotated, Literal

import typer

Inputs = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[FILE]...", help="JSONL files to read; '-' or nothing is standard input.", show_default=False
    ),
]
Env = Annotated[
    list[str] | None,
    typer.Option(
        "--env",
        "-e",
        metavar="NAME[:k=v,…]",
        envvar="SCA_ENV",
        help="Environment and its options; give it several times to take several in turn.",
        show_default=False,
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
        help="Model plugin, model name and options, as in transformers:./weights,threads=2.",
        show_default=False,
    ),
]
Output = Annotated[
    str, typer.Option("--output", "-o", metavar="FILE", help="Where to write records; '-' is standard output.")
]
Resume = Annotated[
    bool, typer.Option("--resume", help="Go on where a killed run that wrote to -o FILE stopped.", show_default=False)
]
Rejected = Annotated[
    str | None,
    typer.Option(
        "--rejected", metavar="FILE", help="Keep what was turned down, with the reason, in FILE.", show_default=False
    ),
]
Seed = Annotated[int, typer.Option("--seed", help="Everything drawn at random depends on it.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress and no summary.", show_default=False)]
Times = Annotated[
    bool,
    typer.Option(
        "--times", help="Record wall times; without it the same seed gives the same bytes.", show_default=False
    ),
]
Prompt = Annotated[
    str | None,
    typer.Option(
        "--prompt", metavar="DIR", help="Replace prompt files by those of the same name in DIR.", show_default=False
    ),
]
Temperature = Annotated[float, typer.Option("--temperature", min=0.0, help="Sampling temperature; 0 is greedy.")]
TopP = Annotated[float, typer.Option("--top-p", min=0.0, max=1.0, help="Nucleus sampling: share of probability kept.")]
MaxTokens = Annotated[int, typer.Option("--max-tokens", min=1, help="Tokens a reply may have.")]
Actions = Annotated[
    Literal["code", "json", "text"],
    typer.Option("--actions", help="How the model acts: Python code blocks, JSON tool calls, or `Action:` lines."),
]
Turns = Annotated[int, typer.Option("--turns", min=1, help="Turns an episode may have.")]
UserModel = Annotated[
    str | None,
    typer.Option(
        "--user-model",
        metavar="PLUGIN:NAME[,k=v…]",
        help="Model that plays the customer, in environments that have one.",
        show_default="the agent's model",
    ),
]
UserTurns = Annotated[
    int, typer.Option("--user-turns", min=1, help="Turns an episode with a customer may have, in place of --turns.")
]
Direct = Annotated[
    bool,
    typer.Option("--direct", help="Give the instruction to the agent itself, customer or not.", show_default=False),
]
Concurrency = Annotated[
    int | None,
    typer.Option(
        "--concurrency", min=1, help="Records at work at once; more fill a model's batch.", show_default=False
    ),
]
CheckSeconds = Annotated[
    float, typer.Option("--check-seconds", min=0.1, help="Wall time a program, and then its check, may take.")
]
CpuSeconds = Annotated[int, typer.Option("--cpu-seconds", min=1, help="CPU time a program, or a check, may take.")]
MemoryMb = Annotated[int, typer.Option("--memory-mb", min=64, help="Memory a program may take, MiB.")]
OutputBytes = Annotated[int, typer.Option("--output-bytes", min=1, help="What a program may print.")]
ReplyBytes = Annotated[int, typer.Option("--reply-bytes", min=256, help="Size of an answer or of a tool call.")]
ToolCalls = Annotated[int, typer.Option("--tool-calls", min=1, help="Tool calls a program, or a check, may make.")]
