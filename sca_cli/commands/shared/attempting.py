"""Attempts that `train` and `distill` make when they read tasks; the loop is that of `sca rollout`."""

from collections.abc import Awaitable, Callable, Iterable, Iterator
from dataclasses import dataclass, fields
from itertools import chain
from typing import Annotated

import typer

from sca_cli.commands.shared import options
from sca_cli.commands.shared.acting import Acting, Talk, opened_actor
from sca_cli.commands.shared.attempts import Attempts, Results, attempt_name, worth_attempting
from sca_cli.commands.shared.correcting import correct, correction_name, worth_correcting
from sca_cli.commands.shared.limits import Sandboxes
from sca_cli.commands.shared.shell import MODEL_WIDTH, Meter, required_model, written_before
from sca_cli.errors import RecordError
from sca_cli.fanout import Fanout
from sca_cli.prompts import ATTEMPT, Prompts
from sca_cli.records import Record, Rollout, Task
from sca_cli.sandbox import AllowedEnvs
from sca_cli.streams import Output


@dataclass(frozen=True, slots=True)
class Attempting(Acting):
    """The options of attempts; they count only if tasks are read."""

    rollouts: Annotated[
        str | None,
        typer.Option(
            "--rollouts",
            metavar="FILE",
            help="Write the attempts to FILE.",
            show_default=False,
            rich_help_panel=options.FILES,
        ),
    ] = None
    allow_env: options.AllowEnv = None
    concurrency: options.Concurrency = None


@dataclass(frozen=True, slots=True)
class Roller:
    """Attempts tasks."""

    command: str
    model: str | None
    options: Attempting
    prompts: Prompts
    talk: Talk
    allowed: AllowedEnvs
    seed: int
    quiet: bool
    resume: bool

    @classmethod
    def from_options(
        cls, command: str, model: str | None, attempting: Attempting, seed: int, *, quiet: bool, resume: bool
    ) -> "Roller":
        """Check the options before any work is done.

        Raises:
            UsageError: options that exclude each other, or `--prompt` is not a directory of prompts.
            MissingError: the plugin of the user model, or an environment, is unknown.
        """
        prompts = Prompts.from_option(attempting.prompt)
        allowed = AllowedEnvs(attempting.allow_env or [])
        return cls(command, model, attempting, prompts, attempting.talk(), allowed, seed, quiet, resume)

    def of(self, records: Iterator[Task | Rollout]) -> Iterator[Rollout]:
        """Return the input's rollouts; if the input holds tasks, attempt them and return these rollouts.

        Raises:
            UsageError: tasks are read, but no model is named.
            RecordError: tasks and rollouts are mixed.
        """
        first = next(records, None)
        if first is None:
            return iter(())
        everything = chain([first], records)
        if isinstance(first, Rollout):
            return _only(Rollout, everything)
        return self.rollouts(_only(Task, everything))

    def rollouts(self, tasks: Iterable[Task]) -> Iterator[Rollout]:
        """Attempt each task, yield every rollout, and report how many passed.

        Raises:
            UsageError: no model is named.
        """
        return self._made(
            lambda attempts: attempts.of(worth_attempting(tasks)),
            lambda attempts, item: attempts.attempt(*item),
            attempt_name,
        )

    def corrections(self, records: Iterator[Task | Rollout]) -> Iterator[Rollout]:
        """Let the teacher continue each failed attempt, yield every rollout, and report how many passed.

        Raises:
            UsageError: no model is named.
            RecordError: tasks are read instead of rollouts.
        """
        failed = worth_correcting(only_rollouts(records))
        return self._made(
            lambda attempts: ((one, number) for one in failed for number in range(attempts.per_task)),
            correct,
            correction_name,
        )

    def _made[T](
        self,
        items: Callable[[Attempts], Iterable[T]],
        attempt: Callable[[Attempts, T], Awaitable[Rollout]],
        name: Callable[[T], str],
    ) -> Iterator[Rollout]:
        """Make one attempt for each item.

        Args:
            items: returns the items.
            attempt: makes one attempt.
            name: returns the name of an item, by which `--resume` identifies it.

        Raises:
            UsageError: no model is named.
        """
        model = required_model(self.model, "--teacher" if self.command == "distill" else "--model")
        results = Results(self.command)
        keep = self.options.rollouts
        sink = Output(keep, rejected=None, resume=self.resume, settings=self._settings(model)) if keep else None
        if sink is not None:
            for rollout in written_before(sink, [keep], Rollout):
                results.add(rollout)
                yield rollout
        with (
            Fanout(self.options.concurrency or MODEL_WIDTH) as fanout,
            Sandboxes(self.allowed) as sandboxes,
            opened_actor(
                model,
                fanout,
                self.options.sampling,
                self.options.limits,
                self.options.actions,
                self.prompts,
                self.talk,
            ) as actor,
            Meter(self.command, None, quiet=self.quiet) as meter,
        ):
            attempts = Attempts(
                actor,
                sandboxes,
                model,
                self.options.attempts,
                self.seed,
                command=self.command,
                turns=self.options.turns,
            )

            async def work(item: T) -> tuple[T, Rollout]:
                return item, await attempt(attempts, item)

            todo = sink.remaining(items(attempts), name) if sink else items(attempts)
            for item, attempted in fanout.ordered(todo, work):
                rollout = attempts.write(name(item), attempted, sink) if sink else attempted
                results.add(rollout)
                meter.advance(rollout.outcome == "pass")
                yield rollout
        if sink is not None:
            sink.close(complete=True)
        results.say(quiet=self.quiet)

    def _settings(self, model: str) -> dict[str, object]:
        """Return the settings that decide the rollouts, for `--resume`."""
        values = {option.name: getattr(self.options, option.name) for option in fields(self.options)}
        decisive = {
            name.replace("_", "-"): value for name, value in values.items() if name not in options.WITHOUT_EFFECT
        }
        prompt = self.prompts.fingerprint(*ATTEMPT)
        return {"command": self.command, "model": model, "seed": self.seed, **decisive, "prompt": prompt}


def only_rollouts(records: Iterable[Task | Rollout]) -> Iterator[Rollout]:
    """Yield the rollouts to correct.

    Raises:
        RecordError: tasks are read instead.
    """
    for record in records:
        if isinstance(record, Task):
            raise RecordError(
                f"record {record.id} is a task: --correct reads a student's rollouts",
                "sca rollout tasks.jsonl -m transformers:STUDENT | sca distill --correct …",
            )
        yield record


def _only[R: Record](kind: type[R], records: Iterable[Record]) -> Iterator[R]:
    for record in records:
        if not isinstance(record, kind):
            raise RecordError(f"record {record.id}: tasks and rollouts are mixed", "give one kind of record")
        yield record
