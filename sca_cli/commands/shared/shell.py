"""Helpers of all verbs: required options, opening models, driving records through a verb, progress and reports."""

import os
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import TracebackType
from typing import TYPE_CHECKING, Any

import typer

import sca_cli
from sca_cli import machine, messages, plugins, streams
from sca_cli.commands.shared.error_note import error_note
from sca_cli.errors import ExitCode, RecordError, UsageError
from sca_cli.fanout import Fanout
from sca_cli.interfaces import Model
from sca_cli.records import EnvSpec, ErrorNote, MadeBy, Record, TaskLimits

if TYPE_CHECKING:
    from rich.progress import Progress

MODEL_WIDTH = 64
"""Default number of concurrent episodes; it fills the batch of a small model. Chosen by hand."""


@dataclass(slots=True)
class Done:
    """The result of one input."""

    identity: str
    """Identifies the input, so that `--resume` can check that it is the same."""
    kept: list[Record] = field(default_factory=list)
    rejected: list[Record] = field(default_factory=list)
    rollouts: list[Record] = field(default_factory=list)
    """Attempts that were made for the verdict."""


def sandbox_width() -> int:
    """Return the number of concurrent checks: two for each core, because each waits for its children."""
    return 2 * len(os.sched_getaffinity(0))


def session_width(width: int) -> int:
    """Return `width`, or fewer concurrent sessions if their programs, each at the default limit, need more memory."""
    return max(1, min(width, machine.programs_mb() // TaskLimits().memory_mb))


def required_model(text: str | None, option: str = "--model") -> str:
    """Return a model specification whose plugin is known.

    Raises:
        UsageError: the option is missing.
        MissingError: the plugin is unknown.
    """
    if not text:
        variable = ", or set SCA_MODEL" if option == "--model" else ""
        raise UsageError(
            f"{option} is missing", f"for example {option} transformers:Qwen/Qwen2.5-Coder-0.5B-Instruct{variable}"
        )
    plugins.fail_if_unknown([], [text])
    return text


def required_envs(texts: list[str] | None) -> list[EnvSpec]:
    """Return environment specifications, one for each variant.

    Raises:
        UsageError: the option is missing, or not of the form NAME[:k=v,…].
        MissingError: the name is unknown.
    """
    if not texts:
        raise UsageError("--env is missing", "for example --env calculation, or set SCA_ENV; 'sca env list' shows all")
    specs = [plugins.parse_env(text) for text in texts]
    plugins.fail_if_unknown(specs, [])
    return [variant for spec in specs for variant in plugins.expand_env(spec)]


def required_inputs(paths: list[str] | None, usage: str) -> list[str]:
    """Return the inputs: the named files, else standard input if it is piped.

    Raises:
        UsageError: no file is named, and nothing is piped in.
    """
    if paths:
        return paths
    if not streams.is_piped():
        raise UsageError("nothing to read: pipe records in or name a file", usage)
    return ["-"]


def on_command_line(context: typer.Context, parameter: str) -> bool:
    """Return whether a parameter was typed, and not set by a variable, a configuration file or a default."""
    source = context.get_parameter_source(parameter)
    return source is not None and source.name == "COMMANDLINE"


def is_default(context: typer.Context, parameter: str) -> bool:
    """Return whether a parameter has its default: it was neither typed nor set by a variable or a file."""
    source = context.get_parameter_source(parameter)
    return source is None or source.name == "DEFAULT"


def written_before[R: Record](output: streams.Output, paths: Iterable[str | None], kind: type[R]) -> Iterator[R]:
    """Yield the records of the run that is being resumed."""
    return streams.read([path for path in paths if path], kind) if output.finished else iter(())


def made_by(command: str, *, model: str = "", seed: int | None = None, prompt: str = "") -> MadeBy:
    """Return the stamp of a record."""
    return MadeBy(command=command, model=model, seed=seed, version=sca_cli.__version__, prompt=prompt)


@contextmanager
def opened_model(text: str, fanout: Fanout) -> Iterator[Model]:
    """Context manager: load a model, and release its resources at the end of the block.

    Raises:
        MissingError: the plugin, an extra or the weights are absent.
    """
    model = plugins.load_model(text)
    try:
        yield model
    finally:
        fanout.call(model.close())


def pump[T](
    items: Iterable[T],
    work: Callable[[T], Awaitable[Done]],
    *,
    failed: Callable[[T, ErrorNote], Done],
    identify: Callable[[T], str],
    output: streams.Output,
    fanout: Fanout,
    meter: "Meter",
    settle: Callable[[Done], None] = lambda _: None,
) -> Iterator[Done]:
    """Run `work` on each item, write the results in order, and yield them, so that the caller can count.

    `settle` may change a result before it is written; it sees the results in the order of the stream. An item whose
    work raises an exception, or whose result cannot be written as JSON, becomes `failed(item, note)`. The output is
    closed at the end, and marked as complete only if all items were finished.
    """

    async def guarded(item: T) -> tuple[T, Done]:
        try:
            return item, await work(item)
        except Exception as error:  # noqa: BLE001  whatever one record raises, it does not end the run
            return item, failed(item, error_note(error))

    def written(done: Done) -> Done:
        output.write(done.identity, done.kept, done.rejected, done.rollouts)
        return done

    complete = False
    meter.begin_at(output.finished)
    try:
        for item, done in fanout.ordered(output.remaining(items, identify), guarded):
            try:
                settle(done)
                result = written(done)
            except BrokenPipeError:
                raise
            except Exception as error:  # noqa: BLE001  as above
                result = written(failed(item, error_note(error)))
            meter.advance(len(result.kept))
            yield result
        complete = True
    finally:
        output.close(complete=complete)


def exit_code(kept: int, left_out: "LeftOut | None" = None) -> ExitCode:
    """Return the exit code of a finished run: 3 if lines of the input were no records, 1 if no record was kept."""
    if left_out and left_out.count:
        left_out.summarise()
        return ExitCode.RECORD
    return ExitCode.OK if kept else ExitCode.NOTHING


class LeftOut:
    """Reports each line of the input that is no record, and counts them. Their records are lost, so `--quiet` has no
    effect.

    Args:
        verb: name of the verb, for the messages.
    """

    def __init__(self, verb: str) -> None:
        self._verb = verb
        self.count = 0

    def __call__(self, error: RecordError) -> None:
        """Report one line."""
        self.count += 1
        if self.count <= _MOST_LINES:
            hint = f"\nhint: {error.hint}" if error.hint else ""
            say(f"sca {self._verb}: {error.message}{hint}", quiet=False)

    def summarise(self) -> None:
        """Report how many lines were left out."""
        lines = "1 line" if self.count == 1 else f"{self.count} lines"
        say(f"sca {self._verb}: {lines} of the input left out; all other records were processed", quiet=False)


_MOST_LINES = 5
"""Lines without a record that are reported one by one."""


def most_frequent(reasons: Counter[str], count: int = 12) -> list[str]:
    """Return one line for each of the most frequent reasons, with its count. A reason can hold several lines."""
    return [f"  {number:5d}  {' '.join(reason.split())[:100]}" for reason, number in reasons.most_common(count)]


def say(text: str, *, quiet: bool) -> None:
    """Print a message on standard error."""
    if not quiet:
        messages.write(text)


_REPORT_EVERY_S = 60.0
"""Seconds between two lines of progress in a log."""


class Meter:
    """Progress on standard error: rate, time left and share of kept records; nothing with `--quiet`.

    If standard error is not a terminal, one line a minute is printed.

    Args:
        verb: name shown at the left.
        total: number of expected inputs, or None.
    """

    def __init__(self, verb: str, total: int | None, *, quiet: bool) -> None:
        self._verb, self._total = verb, total
        self._quiet, self._shown = quiet, not quiet and sys.stderr.isatty()
        self._last_report_s = time.monotonic()
        self._progress: Progress | None = None
        self._task: Any = None
        self.inputs = self.kept = self._before = 0

    def __enter__(self) -> "Meter":
        if self._shown:
            from rich.console import Console
            from rich.progress import (
                BarColumn,
                MofNCompleteColumn,
                Progress,
                TextColumn,
                TimeElapsedColumn,
                TimeRemainingColumn,
            )

            self._progress = Progress(
                TextColumn("{task.description}", markup=False),
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn("{task.fields[rate]}", markup=False),
                TimeElapsedColumn(),
                TimeRemainingColumn(),
                TextColumn("{task.fields[share]}", markup=False),
                console=Console(stderr=True),
                transient=True,
            )
            self._task = self._progress.add_task(f"sca {self._verb}", total=self._total, rate="", share="")
            self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._progress is not None:
            self._progress.stop()

    def begin_at(self, finished: int) -> None:
        """Count the inputs that the run before finished."""
        self._before = finished
        if self._progress is not None and finished:
            self._progress.update(self._task, completed=finished)

    def advance(self, kept: int) -> None:
        """Count one input and its kept records."""
        self.inputs += 1
        self.kept += kept
        if self._progress is None:
            of = "" if self._total is None else f" of {self._total}"
            self._report(f"{self._before + self.inputs}{of}, kept {self.kept} ({self.kept / self.inputs:.0%})")
        else:
            speed = self._progress.tasks[0].speed
            self._progress.update(
                self._task,
                advance=1,
                rate=f"{speed:.1f}/s" if speed else "",
                share=f"kept {self.kept} ({self.kept / self.inputs:.0%})",
            )

    def status(self, text: str) -> None:
        """Show the current activity, for work without a count."""
        if self._progress is None:
            self._report(text)
        else:
            self._progress.update(self._task, description=messages.visible(f"sca {self._verb}: {text}"))

    def _report(self, text: str) -> None:
        if time.monotonic() - self._last_report_s >= _REPORT_EVERY_S:
            say(f"sca {self._verb}: {text}", quiet=self._quiet)
            self._last_report_s = time.monotonic()
