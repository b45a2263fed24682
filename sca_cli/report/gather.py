"""Read a run: count every record once, in any order.

Memory contains the counts, the sampled tasks, scores and checkpoints. It also contains a short hash of each task and
attempt, to recognise the same record in another file.
"""

import contextlib
import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from sca_cli import streams
from sca_cli.errors import MissingError, RecordError
from sca_cli.records import (
    CHECKPOINT_FILE,
    AnyRecord,
    Checkpoint,
    Exploration,
    Record,
    Rollout,
    Score,
    Task,
    Verdict,
    decode,
)
from sca_cli.report import places
from sca_cli.report.counts import AgreementCounts, Cost, ExplorationCounts, HeldOutAttempts, ToolCoverage
from sca_cli.report.draw import TaskSelection
from sca_cli.report.places import Place
from sca_cli.training import metrics
from sca_cli.verification import paper_filter
from sca_cli.verification.funnel import Funnel, method_of

STAGES = ("parsed", *paper_filter.STAGES)

TASKS_TO_READ = 30
"""Number of tasks in the section of tasks to read; chosen by hand."""


class Gathered:
    """The data that the report shows.

    Args:
        seed: seed of the draw of tasks to read.
    """

    def __init__(self, seed: int) -> None:
        self.files = 0
        self.kinds: Counter[str] = Counter()
        self.halves: list[str] = []
        """`file:line` of each incomplete last line."""
        self.foreign: list[str] = []
        """Messages about files of a directory that hold no record or cannot be read; these files are left out."""
        self.envs: set[str] = set()
        self.models: dict[str, set[str]] = {}
        """Verb → models that it used."""
        self.seeds: set[int] = set()
        """Seeds of evaluations and trainings, and of `seed-N` directories."""
        self.versions: set[str] = set()
        self.funnels: dict[tuple[str, str], Funnel] = {}
        """(arm, environment without its options) → the funnel of its candidates."""
        self.beyond_paper: set[tuple[str, str, str]] = set()
        """(arm, environment, method) of verdicts with more proofs than the paper's filter."""
        self.explorations: dict[tuple[str, str], ExplorationCounts] = {}
        """(arm, environment) → counts of its explorations."""
        self.coverage: dict[tuple[str, str], ToolCoverage] = {}
        self.agreements: dict[tuple[str, bool], AgreementCounts] = {}
        """(arm, True for kept tasks only) → agreement of the check with attempts at the instruction."""
        self.costs: dict[tuple[str, str, str], Cost] = {}
        """(arm, verb, model) → its work and cost."""
        self.scores: list[tuple[Place, Score]] = []
        self.checkpoints: list[tuple[Place, Checkpoint]] = []
        self.trainings: list[tuple[Place, str, metrics.Curves]] = []
        """Curves of each metrics file, with the id of the checkpoint beside it; "" while the training still runs."""
        self.evaluated: dict[tuple[str, int | None, str], list[HeldOutAttempts]] = {}
        """(arm, seed, model) → its attempts at held-out tasks: first all of them, then those of each file."""
        self.draw = TaskSelection(TASKS_TO_READ, seed)
        self._digests: set[bytes] = set()
        self._without_verdict: dict[bytes, tuple[str, str, str]] = {}

    def read(self, inputs: Sequence[str], left_out: Callable[[RecordError], None] | None = None) -> None:
        """Read files and directories.

        Args:
            inputs: files, directories, `-` for standard input.
            left_out: as for `streams.read`.

        Raises:
            RecordError: a file named in `inputs` holds no records; without `left_out`, also if it holds another line.
            MissingError: a file named in `inputs` cannot be read.
        """
        for path, place in places.files_to_read(inputs):
            before = self.kinds.total()
            if Path(path).name == metrics.FILE and self._training(Path(path), place):
                continue
            try:
                self.add(streams.read([path], halves=self.halves, left_out=left_out), place)
            except (RecordError, MissingError) as error:
                if path in inputs or self.kinds.total() > before:
                    raise
                self.foreign.append(error.message)
            else:
                self.files += 1

    def add(self, records: Iterable[AnyRecord], place: Place) -> None:
        """Count the records of one file."""
        in_file: dict[tuple[str, int | None, str], HeldOutAttempts] = {}
        for record in records:
            self.kinds[streams.kind_of(type(record))] += 1
            self._origin(record, place)
            match record:
                case Exploration():
                    self._exploration(record, place.arm)
                case Task():
                    self._task(record, place.arm)
                case Rollout():
                    self._rollout(record, place, in_file)
                case Score():
                    self._score(record, place)
                case Checkpoint():
                    self._checkpoint(record, place)

    def _training(self, path: Path, place: Place) -> bool:
        """Read the metrics file of a training; return False if it is another file of this name."""
        try:
            with path.open("rb") as lines:
                curves = metrics.read_curves(lines)
        except (OSError, ValueError):
            return False
        record = path.with_name(CHECKPOINT_FILE)
        identity = ""
        with contextlib.suppress(OSError, ValueError, RecursionError):
            identity = decode(record.read_bytes()).id
        if curves:
            self.files += 1
            self.trainings.append((place, identity, curves))
        return True

    def without_verdict(self) -> Counter[tuple[str, str, str]]:
        """Return (arm, environment, method) → number of candidates without a verdict of `verify`."""
        return Counter(self._without_verdict.values())

    def _origin(self, record: Record, place: Place) -> None:
        if place.seed is not None:
            self.seeds.add(place.seed)
        if (origin := record.made_by) is None:
            return
        self.versions |= {origin.version} - {""}
        if origin.model:
            self.models.setdefault(origin.command, set()).add(origin.model)
        if origin.seed is not None and isinstance(record, Score | Checkpoint):
            self.seeds.add(origin.seed)

    def _is_duplicate(self, *key: Any) -> bool:
        """Tell whether this key occurred before, and store it."""
        digest = _digest(*key)
        known = digest in self._digests
        self._digests.add(digest)
        return known

    def _exploration(self, record: Exploration, arm: str) -> None:
        self.envs.add(str(record.env))
        if self._is_duplicate("exploration", arm, record.id, _maker(record)):
            return
        self.explorations.setdefault((arm, str(record.env)), ExplorationCounts()).add(record)
        if record.usage is not None:
            command, model, _ = _maker(record)
            self.costs.setdefault((arm, command, model), Cost()).creation(record.usage)

    def _task(self, task: Task, arm: str) -> None:
        self.envs.add(str(task.env))
        self.draw.offer(task)
        self._written(task, arm)
        candidate = _digest("task", arm, task.id, _maker(task), task.error is not None)
        if task.kept is None:
            if candidate not in self._digests and task.split == "train":
                self._without_verdict[candidate] = (arm, task.env.name, method_of(task))
            return
        self._agreement(task, arm)
        self._without_verdict.pop(candidate, None)
        if candidate in self._digests:
            return
        self._digests.add(candidate)
        self.funnels.setdefault((arm, task.env.name), Funnel(STAGES)).count(task)
        if task.verdict is not None:
            if _beyond_paper(task.verdict):
                self.beyond_paper.add((arm, task.env.name, method_of(task)))
            self.costs.setdefault((arm, "verify", ""), Cost()).verified(task)
            if task.verdict.passed:
                self.coverage.setdefault((arm, str(task.env)), ToolCoverage()).add(task.verdict)

    def _written(self, task: Task, arm: str) -> None:
        if task.usage is None or self._is_duplicate("written", arm, task.id, _maker(task)):
            return
        command, model, _ = _maker(task)
        verb = " --method ".join(filter(None, (command, task.method)))
        self.costs.setdefault((arm, verb, model), Cost()).creation(task.usage)

    def _agreement(self, task: Task, arm: str) -> None:
        if (
            task.verdict is None
            or task.verdict.agreement is None
            or self._is_duplicate("agreed", arm, task.id, _maker(task))
        ):
            return
        for only_kept in {False, task.verdict.passed}:
            self.agreements.setdefault((arm, only_kept), AgreementCounts()).add(task.verdict)

    def _rollout(
        self, rollout: Rollout, place: Place, in_file: dict[tuple[str, int | None, str], HeldOutAttempts]
    ) -> None:
        self.envs.add(str(rollout.task.env))
        command, model, _ = _maker(rollout)
        arm = place.arm
        if command == "eval":
            key = (arm, place.seed, model)
            of_model = self.evaluated.setdefault(key, [HeldOutAttempts()])
            if key not in in_file:
                of_model.append(in_file.setdefault(key, HeldOutAttempts()))
            for attempts in (of_model[0], in_file[key]):
                attempts.add(rollout)
            arm = ""  # the same attempts of the baseline may be recorded next to every arm: count them once
        else:
            self.draw.attempt(rollout)
        if not self._is_duplicate("rollout", arm, rollout.id, _maker(rollout)):
            self.costs.setdefault((place.arm, command, model), Cost()).attempt(rollout)

    def _score(self, score: Score, place: Place) -> None:
        if not self._is_duplicate("score", place.arm, place.seed, place.round, score.id, _maker(score)):
            self.envs |= score.by_env.keys()
            self.scores.append((place, score))

    def _checkpoint(self, checkpoint: Checkpoint, place: Place) -> None:
        if not self._is_duplicate("checkpoint", place.arm, place.seed, place.round, checkpoint.id):
            checkpoint.data, checkpoint.parents = [], []
            self.checkpoints.append((place, checkpoint))


def _beyond_paper(verdict: Verdict) -> bool:
    ran = any(check.name != "solution" and not check.name.startswith("failure_case[") for check in verdict.checks)
    return ran or bool(verdict.findings) or verdict.stage not in (*paper_filter.PAPER_STAGES, "kept")


def _maker(record: Record) -> tuple[str, str, int | None]:
    origin = record.made_by
    return (origin.command, origin.model, origin.seed) if origin else ("", "", None)


def _digest(*key: Any) -> bytes:
    return hashlib.blake2b(repr(key).encode(), digest_size=12).digest()
