"""Reading a run: every record once, in any order, counted as it goes by.

Memory holds the counts, the tasks drawn to be read, scores and checkpoints, and a few bytes for each task and attempt
by which one that stands in several files is told to be the same.
"""

import hashlib
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from sca_cli import streams
from sca_cli.errors import RecordError
from sca_cli.records import AnyRecord, Checkpoint, Exploration, Record, Rollout, Score, Task, Verdict
from sca_cli.report import places
from sca_cli.report.counts import Agreed, Coverage, Evaluated, Spent, Walks
from sca_cli.report.draw import Draw
from sca_cli.report.places import Place
from sca_cli.verification import paper_filter
from sca_cli.verification.funnel import Funnel, method_of

STAGES = ("parsed", *paper_filter.STAGES)

TASKS_TO_READ = 30


class Gathered:
    """What the report shows.

    Args:
        seed: of the draw of tasks to read.
    """

    def __init__(self, seed: int) -> None:
        self.files = 0
        self.kinds: Counter[str] = Counter()
        self.halves: list[str] = []
        """Where the last line of a file was half a line."""
        self.foreign: list[str] = []
        """What is wrong with the first line of files that were found in a directory: they are left out."""
        self.envs: set[str] = set()
        self.models: dict[str, set[str]] = {}
        """Verb → models it was given."""
        self.seeds: set[int] = set()
        """Seeds of whole commands and of `seed-N` directories."""
        self.versions: set[str] = set()
        self.funnels: dict[tuple[str, str], Funnel] = {}
        """(arm, environment without its options) → its candidates."""
        self.beyond: set[tuple[str, str, str]] = set()
        """(arm, environment, method) whose verdicts tell of proofs beyond the paper's filter."""
        self.walks: dict[tuple[str, str], Walks] = {}
        """(arm, environment) → its explorations."""
        self.coverage: dict[tuple[str, str], Coverage] = {}
        self.agreed: dict[tuple[str, bool], Agreed] = {}
        """(arm, kept tasks only) → how attempts at the instruction and the check agree."""
        self.spent: dict[tuple[str, str, str], Spent] = {}
        """(arm, verb, model) → what was done."""
        self.scores: list[tuple[Place, Score]] = []
        self.checkpoints: list[tuple[Place, Checkpoint]] = []
        self.evaluated: dict[tuple[str, int | None, str], list[Evaluated]] = {}
        """(arm, seed, model) → its attempts at held-out tasks: all together, then those of each file."""
        self.draw = Draw(TASKS_TO_READ, seed)
        self._seen: set[bytes] = set()
        self._unproven: dict[bytes, tuple[str, str, str]] = {}

    def read(self, inputs: Sequence[str]) -> None:
        """Read files and directories.

        Raises:
            RecordError: a line is not a record, in a file that was named or begins with records.
            MissingError: a file cannot be read.
        """
        for path, place in places.found(inputs):
            before = self.kinds.total()
            try:
                self.add(streams.read([path], halves=self.halves), place)
            except RecordError as error:
                if path in inputs or self.kinds.total() > before:
                    raise
                self.foreign.append(error.message)
            else:
                self.files += 1

    def add(self, records: Iterable[AnyRecord], place: Place) -> None:
        """Count the records of one file."""
        here: dict[tuple[str, int | None, str], Evaluated] = {}
        for record in records:
            self.kinds[streams.kind_of(type(record))] += 1
            self._head(record, place)
            match record:
                case Exploration():
                    self._exploration(record, place.arm)
                case Task():
                    self._task(record, place.arm)
                case Rollout():
                    self._rollout(record, place, here)
                case Score():
                    self._score(record, place)
                case Checkpoint():
                    self._checkpoint(record, place)

    def unproven(self) -> Counter[tuple[str, str, str]]:
        """Return (arm, environment, method) → candidates that `verify` has said nothing of."""
        return Counter(self._unproven.values())

    def _head(self, record: Record, place: Place) -> None:
        if place.seed is not None:
            self.seeds.add(place.seed)
        if (made := record.made_by) is None:
            return
        self.versions |= {made.version} - {""}
        if made.model:
            self.models.setdefault(made.command, set()).add(made.model)
        if made.seed is not None and isinstance(record, Score | Checkpoint):
            self.seeds.add(made.seed)

    def _again(self, *key: Any) -> bool:
        """Tell whether this was seen before, and remember it."""
        digest = _digest(*key)
        known = digest in self._seen
        self._seen.add(digest)
        return known

    def _exploration(self, record: Exploration, arm: str) -> None:
        self.envs.add(str(record.env))
        if self._again("exploration", arm, record.id, _maker(record)):
            return
        self.walks.setdefault((arm, str(record.env)), Walks()).add(record)
        if record.usage is not None:
            command, model, _ = _maker(record)
            self.spent.setdefault((arm, command, model), Spent()).made(record.usage)

    def _task(self, task: Task, arm: str) -> None:
        self.envs.add(str(task.env))
        self.draw.offer(task)
        self._written(task, arm)
        candidate = _digest("task", arm, task.id, _maker(task), task.error is not None)
        if task.kept is None:
            if candidate not in self._seen and task.split == "train":
                self._unproven[candidate] = (arm, task.env.name, method_of(task))
            return
        self._agreement(task, arm)
        self._unproven.pop(candidate, None)
        if candidate in self._seen:
            return
        self._seen.add(candidate)
        self.funnels.setdefault((arm, task.env.name), Funnel(STAGES)).count(task)
        if task.verdict is not None:
            if _beyond_paper(task.verdict):
                self.beyond.add((arm, task.env.name, method_of(task)))
            self.spent.setdefault((arm, "verify", ""), Spent()).verified(task)
            if task.verdict.passed:
                self.coverage.setdefault((arm, str(task.env)), Coverage()).add(task.verdict)

    def _written(self, task: Task, arm: str) -> None:
        if task.usage is None or self._again("written", arm, task.id, _maker(task)):
            return
        command, model, _ = _maker(task)
        verb = " --method ".join(filter(None, (command, task.method)))
        self.spent.setdefault((arm, verb, model), Spent()).made(task.usage)

    def _agreement(self, task: Task, arm: str) -> None:
        if task.verdict is None or task.verdict.agreement is None or self._again("agreed", arm, task.id, _maker(task)):
            return
        for kept in {False, task.verdict.passed}:
            self.agreed.setdefault((arm, kept), Agreed()).add(task.verdict)

    def _rollout(self, rollout: Rollout, place: Place, here: dict[tuple[str, int | None, str], Evaluated]) -> None:
        self.envs.add(str(rollout.task.env))
        command, model, _ = _maker(rollout)
        arm = place.arm
        if command == "eval":
            key = (arm, place.seed, model)
            found = self.evaluated.setdefault(key, [Evaluated()])
            if key not in here:
                found.append(here.setdefault(key, Evaluated()))
            for attempts in (found[0], here[key]):
                attempts.add(rollout)
            arm = ""  # the baseline's attempts may stand beside every arm: they were made once
        else:
            self.draw.attempt(rollout)
        if not self._again("rollout", arm, rollout.id, _maker(rollout)):
            self.spent.setdefault((place.arm, command, model), Spent()).attempt(rollout)

    def _score(self, score: Score, place: Place) -> None:
        if not self._again("score", place.arm, place.seed, place.round, score.id, _maker(score)):
            self.envs |= score.by_env.keys()
            self.scores.append((place, score))

    def _checkpoint(self, checkpoint: Checkpoint, place: Place) -> None:
        if not self._again("checkpoint", place.arm, place.seed, place.round, checkpoint.id):
            checkpoint.data, checkpoint.parents = [], []
            self.checkpoints.append((place, checkpoint))


def _beyond_paper(verdict: Verdict) -> bool:
    ran = any(check.name != "solution" and not check.name.startswith("failure_case[") for check in verdict.checks)
    return ran or bool(verdict.findings) or verdict.stage not in (*paper_filter.PAPER_STAGES, "kept")


def _maker(record: Record) -> tuple[str, str, int | None]:
    made = record.made_by
    return (made.command, made.model, made.seed) if made else ("", "", None)


def _digest(*key: Any) -> bytes:
    return hashlib.blake2b(repr(key).encode(), digest_size=12).digest()
