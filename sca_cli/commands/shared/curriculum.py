"""The options of the curriculum of online training."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import typer

from sca_cli.commands.shared import options
from sca_cli.errors import UsageError
from sca_cli.records import Task
from sca_cli.training.curriculum import Band, CurriculumOptions


@dataclass(frozen=True, slots=True)
class Choice:
    """The options that choose the tasks of each round."""

    band: Annotated[
        str | None,
        typer.Option(
            "--band",
            metavar="LOW,HIGH",
            help="Reinforcement learning: train on tasks whose pass rate lies between LOW and HIGH, as in 0.2,0.8. A "
            "sequential test drops other tasks early.",
            show_default=False,
            rich_help_panel=options.TRAINING,
        ),
    ] = None
    promote: Annotated[
        float | None,
        typer.Option(
            "--promote",
            min=0.0,
            max=1.0,
            help="Reinforcement learning: begin with the tasks that need the fewest calls, and add those of one more "
            "call when the pass rate exceeds X.",
            show_default=False,
            rich_help_panel=options.TRAINING,
        ),
    ] = None
    replay: Annotated[
        bool,
        typer.Option(
            "--replay",
            help="Reinforcement learning: if all attempts at a task fail, add its latest success of an earlier round.",
            show_default=False,
            rich_help_panel=options.TRAINING,
        ),
    ] = False
    mix: Annotated[
        str | None,
        typer.Option(
            "--mix",
            metavar="NAME=W,…",
            help="Reinforcement learning: draw tasks of each environment in proportion to its weight; 1 if not named.",
            show_default=False,
            rich_help_panel=options.TRAINING,
        ),
    ] = None

    def parts(self) -> CurriculumOptions:
        """Return the parts of the curriculum.

        Raises:
            UsageError: a value is not of its form.
        """
        return CurriculumOptions(
            band=None if self.band is None else _band(self.band),
            promote=self.promote,
            replay=self.replay,
            mix={} if self.mix is None else _mix(self.mix),
        )


def _band(text: str) -> Band:
    try:
        low, high = map(float, text.split(","))
    except ValueError:
        low, high = 0.0, 0.0
    if not 0 <= low < high <= 1 or (low, high) == (0, 1):
        raise UsageError(f"--band {text}: not two pass rates", "for example --band 0.2,0.8")
    return Band(low, high)


def _mix(text: str) -> dict[str, float]:
    weights: dict[str, float] = {}
    for part in text.split(","):
        name, _, weight = part.partition("=")
        try:
            weights[name] = float(weight)
        except ValueError:
            weights[name] = 0.0
        if not name or not 0 < weights[name] < float("inf"):
            raise UsageError(f"--mix {text}: '{part}' is no weight", "for example --mix calculation=2,retail=1")
    return weights


def fail_if_without_tasks(parts: CurriculumOptions, tasks: Sequence[Task]) -> None:
    """Check that the tasks have what the curriculum chooses by.

    Raises:
        UsageError: an environment of the mix has no task, or no task has a number of calls to promote by.
    """
    names = {task.env.name for task in tasks}
    if unknown := sorted(parts.mix.keys() - names):
        raise UsageError(
            f"--mix: no task of environment '{unknown[0]}'", f"the tasks are of {', '.join(sorted(names))}"
        )
    if parts.promote is not None and all(task.calls is None for task in tasks):
        raise UsageError("--promote: no task has its number of calls", "sca verify records it")
