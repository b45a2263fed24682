"""Attempting the tasks that `train` and `distill` read, with the same loop as `sca rollout`."""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from typing import Annotated

import typer

from sca_cli.commands.rollout import Attempts, attempt_name, summary, worth_attempting
from sca_cli.commands.shared import options
from sca_cli.commands.shared.acting import Talk, opened_actor
from sca_cli.commands.shared.shell import MODEL_WIDTH, Meter, required_model, say, written_before
from sca_cli.episode.agent import EpisodeLimits
from sca_cli.errors import RecordError
from sca_cli.fanout import Fanout
from sca_cli.interfaces import Sampling
from sca_cli.prompts import ATTEMPT, Prompts
from sca_cli.records import Record, Rollout, Task
from sca_cli.sandbox import Limits, Sandbox
from sca_cli.streams import Output


@dataclass(frozen=True, slots=True)
class Attempting:
    """The options of attempts, where tasks are read."""

    samples: Annotated[
        int, typer.Option("--samples", "-k", min=1, help="Attempts at each task, where tasks are read.")
    ] = 4
    rollouts: Annotated[
        str | None,
        typer.Option("--rollouts", metavar="FILE", help="Keep the rollouts made of tasks in FILE.", show_default=False),
    ] = None
    actions: options.Actions = "code"
    turns: options.Turns = 4
    user_model: options.UserModel = None
    user_turns: options.UserTurns = 30
    direct: options.Direct = False
    temperature: options.Temperature = 0.8
    top_p: options.TopP = 1.0
    max_tokens: options.MaxTokens = 384
    prompt: options.Prompt = None
    concurrency: options.Concurrency = None


@dataclass(frozen=True, slots=True)
class Roller:
    """Attempts tasks."""

    command: str
    model: str | None
    given: Attempting
    prompts: Prompts
    talk: Talk
    seed: int
    quiet: bool
    resume: bool

    @classmethod
    def from_options(
        cls, command: str, model: str | None, given: Attempting, seed: int, *, quiet: bool, resume: bool
    ) -> "Roller":
        """Check the options before any work is done.

        Raises:
            UsageError: options that exclude each other, or a prompt directory that is none.
            MissingError: unknown plugin of the user model.
        """
        prompts = Prompts.from_option(given.prompt)
        talk = Talk.from_options(given.user_model, given.user_turns, direct=given.direct)
        return cls(command, model, given, prompts, talk, seed, quiet, resume)

    def of(self, records: Iterator[Task | Rollout]) -> Iterator[Rollout]:
        """Return the rollouts that come in, or roll out the tasks that come in.

        Raises:
            UsageError: tasks, but no model to attempt them with.
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
        """Attempt each task, yield every rollout, and say how many passed.

        Raises:
            UsageError: no model to attempt them with.
        """
        model = required_model(self.model, "--teacher" if self.command == "distill" else "--model")
        sampling = Sampling(self.given.temperature, self.given.top_p, self.given.max_tokens)
        outcomes: Counter[str] = Counter()
        keep = self.given.rollouts
        sink = Output(keep, rejected=None, resume=self.resume, settings=self._settings(model)) if keep else None
        if sink is not None:
            for rollout in written_before(sink, [keep], Rollout):
                outcomes[rollout.outcome] += 1
                yield rollout
        with (
            Fanout(self.given.concurrency or MODEL_WIDTH) as fanout,
            Sandbox(Limits()) as sandbox,
            opened_actor(
                model,
                fanout,
                sampling,
                EpisodeLimits(turns=self.given.turns),
                self.given.actions,
                self.prompts,
                self.talk,
            ) as actor,
            Meter(self.command, None, quiet=self.quiet) as meter,
        ):
            attempts = Attempts(actor, sandbox, model, self.given.samples, self.seed, command=self.command)
            items = attempts.of(worth_attempting(tasks))

            async def work(item: tuple[Task, int]) -> tuple[str, Rollout]:
                return attempt_name(item), await attempts.attempt(*item)

            todo = sink.remaining(items, attempt_name) if sink else items
            for identity, rollout in fanout.ordered(todo, work):
                if sink is not None:
                    sink.write(identity, [rollout])
                outcomes[rollout.outcome] += 1
                meter.advance(rollout.outcome == "pass")
                yield rollout
        if sink is not None:
            sink.close(complete=True)
        say(summary(self.command, outcomes), quiet=self.quiet)

    def _settings(self, model: str) -> dict[str, object]:
        """Return what decides the rollouts, for `--resume`."""
        return {
            "command": self.command,
            "model": model,
            "samples": self.given.samples,
            "actions": self.given.actions,
            "turns": self.given.turns,
            "seed": self.seed,
            "temperature": self.given.temperature,
            "top_p": self.given.top_p,
            "max_tokens": self.given.max_tokens,
            "prompt": self.prompts.fingerprint(*ATTEMPT),
            **self.talk.settings(),
        }


def _only[R: Record](kind: type[R], records: Iterable[Record]) -> Iterator[R]:
    for record in records:
        if not isinstance(record, kind):
            raise RecordError(f"record {record.id}: tasks and rollouts are mixed", "give one kind")
        yield record
