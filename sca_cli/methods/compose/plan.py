"""Draw programs for `compose`, run them in the jail, and make their checks and failure cases."""

import random
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from queue import SimpleQueue

from sca_cli.errors import RecordError, ScaError, WorldError
from sca_cli.methods import Dropped
from sca_cli.methods.compose import alike, composer
from sca_cli.methods.compose.composer import Coverage, Unfit
from sca_cli.methods.compose.links import Link, links, parts
from sca_cli.methods.compose.material import Material, short
from sca_cli.methods.compose.operations import Operation
from sca_cli.methods.compose.steps import Step, program
from sca_cli.methods.compose.wrong_branches import SHORTENED, wrong_branches
from sca_cli.methods.observed import NothingObserved, check_of, is_answer
from sca_cli.methods.questions import NotWorthAsking
from sca_cli.records import JSON, EnvSpec, Exploration, Observation, Outcome, Task
from sca_cli.sandbox import Run, Sandbox, Session
from sca_cli.verification.paper_filter import FAILURE_CASES, run_check

DRAWS = 100
"""Programs drawn for one place before the place is left out. If there are two ways to draw, the second half of the
draws uses the other way. Chosen by hand."""

AHEAD = 64
"""Programs that may wait for an instruction at the same time; the next draw waits for the result of the oldest.

The number is fixed, so that the same seed draws the same programs for every speed and batch size of the model."""

ALIKE = 0.4
"""Share of the places with two or more calls whose programs repeat the same call with several values (module
`alike`). Chosen by hand."""

_SHORT_ANSWER = 120
_PART = 0.5
"""If an answer has parts: probability that the task asks for only one part. Chosen by hand."""


@dataclass(frozen=True, slots=True)
class Composed:
    """A program that ran, and the check made from its effects."""

    world: Exploration
    """Exploration that gives the environment and seed in which the program ran."""
    steps: list[Step]
    answer: str
    """Expression of the answer; `@` is the last step's result."""
    result: JSON
    calls: list[Observation]
    evaluate: str
    wrong: list[tuple[str, str]]
    """(what is wrong, program) of the failure cases."""

    @property
    def program(self) -> str:
        """The solution."""
        return program(self.steps, answer=self.answer)


class Plan:
    """Draw programs, in equal shares by environment and number of calls.

    Args:
        sandbox: runs the programs.
        sizes: largest number of calls.
        cover: pairs of tools that occur in fewer programs than this are preferred.
        seed: determines all draws.
    """

    def __init__(self, sandbox: Sandbox, sizes: int, cover: int, seed: int) -> None:
        self.dropped: Counter[str] = Counter()
        """Reason → number of dropped programs."""
        self._sandbox, self._sizes, self._cover, self._seed = sandbox, sizes, cover, seed
        self._materials: dict[str, Material] = {}
        self._links: dict[str, list[Link]] = {}
        self._coverage: dict[str, Coverage] = defaultdict(lambda: Coverage(cover))
        self._pending: deque[Composed] = deque()  # programs without a result yet, the oldest first
        self._outcomes: SimpleQueue[bool] = SimpleQueue()
        self._program_texts: set[str] = set()
        self.unproven = 0
        """Tasks that were read and left out, because `sca verify` did not keep them."""
        self.left_out: Counter[str] = Counter()
        """Reason → records that were left out, because their environment does not start."""

    def read(self, records: Iterable[Exploration | Task]) -> int:
        """Read calls that succeeded from records; return how many records were used.

        Raises:
            RecordError: a task is held out for evaluation.
            SandboxError: the jail does not start.
        """
        number = 0
        for record in records:
            if isinstance(record, Task) and record.split == "eval":
                raise RecordError(
                    f"task {record.id} is held out for evaluation",
                    "programs composed of its calls would make every later score worthless",
                )
            if isinstance(record, Task) and not record.kept:
                self.unproven += 1
            elif record.error is None:
                try:
                    self._material(record.env).add(record)
                    number += 1
                except ScaError as error:
                    if error.ends_run:
                        raise
                    self.left_out[error.message] += 1
        for material in self._materials.values():
            self._look_at_results(material)
        self._links = {name: links(material) for name, material in self._materials.items()}
        return number

    def _material(self, env: EnvSpec) -> Material:
        if str(env) not in self._materials:
            self._materials[str(env)] = Material(env, self._sandbox.describe(env).tools)
        return self._materials[str(env)]

    def _look_at_results(self, material: Material) -> None:
        """Run calls again whose results are not recorded: a task's calls hold only the arguments."""
        for world in material.worlds:
            lacking = [call for call in world.observations if not call.writes and not material.results(call.tool)]
            if lacking:
                with self._sandbox.session(world.env, world.seed) as session:
                    for call in lacking:
                        try:
                            call.result = session.call(call.tool, call.args, call.kwargs).result
                        except WorldError:
                            break

    def programs(
        self, count: int, before: Collection[tuple[str, str]] = (), finished: int = 0
    ) -> Iterator[tuple[int, Composed]]:
        """Yield (place, program). If no program is found for a place, count it in `dropped` and leave it out.

        Args:
            count: number of places.
            before: when resuming: (environment, program) of the tasks that the earlier run wrote.
            finished: when resuming: number of programs that the earlier run finished, with or without a task. The
                others wait for `became`.
        """
        materials = list(self._materials.values())
        for place in range(count if materials else 0):
            if len(self._pending) == AHEAD:
                self._settle(written=self._outcomes.get())
            material = materials[place % len(materials)]
            size = 1 + (place // len(materials)) % self._sizes
            draw = random.Random(f"{self._seed} {material.env} {place}")
            compose_functions = [composer.composed, alike.composed] if size > 1 else [composer.composed]
            if draw.random() < ALIKE:
                compose_functions.reverse()
            for attempt in range(DRAWS):
                try:
                    candidate = self._one(
                        material, size, compose_functions[attempt * len(compose_functions) // DRAWS], draw
                    )
                except (Unfit, Dropped) as problem:
                    self.dropped[str(problem)] += 1
                    continue
                self._pending.append(candidate)
                if finished:
                    finished -= 1
                    self.became(written=(str(material.env), candidate.program) in before)
                yield place, candidate
                break
            else:
                self.dropped[f"no program of {size} call(s) found"] += 1

    def _one(self, material: Material, size: int, compose: Callable[..., list[Step]], draw: random.Random) -> Composed:
        name = str(material.env)
        world = draw.choice(material.worlds)
        coverage = self._coverage[name]
        steps = compose(material, self._links[name], world, size, coverage, draw)
        text = f"{name}\n{program(steps)}"
        if text in self._program_texts:
            raise Dropped("drawn before")
        self._program_texts.add(text)
        candidate = _ran(self._sandbox, material, world, steps, draw)
        coverage.add(steps)
        return candidate

    def became(self, *, written: bool) -> None:
        """Report whether the oldest pending program got an instruction.

        If it got none, its pairs of tools are no longer counted.
        """
        self._outcomes.put(written)

    def _settle(self, *, written: bool) -> None:
        candidate = self._pending.popleft()
        if not written:
            self._coverage[str(candidate.world.env)].take_back(candidate.steps)

    def coverage(self) -> dict[str, tuple[int, int, int, int]]:
        """Count for each environment the ordered pairs of tools that occur. Call this when all outcomes are reported.

        Returns:
            Environment → four numbers of pairs: (1) pairs whose types fit, (2) pairs in programs that ran, (3) pairs in
            tasks, (4) pairs in at least `cover` tasks.
        """
        while not self._outcomes.empty():
            self._settle(written=self._outcomes.get())
        pairs_by_env = {}
        for name, tool_links in self._links.items():
            coverage = self._coverage[name]
            fitting = {link.pair for link in tool_links}
            counts = [coverage.occurred[pair] for pair in fitting]
            wanted = sum(number >= self._cover for number in counts)
            pairs_by_env[name] = (len(fitting), len(fitting & coverage.worked), sum(map(bool, counts)), wanted)
        return pairs_by_env


def _ran(sandbox: Sandbox, material: Material, world: Exploration, steps: list[Step], draw: random.Random) -> Composed:
    """Run a program and make its check and its failure cases.

    Raises:
        Dropped: the program is of no use for a task; the message says why.
    """
    writes = any(step.tool.writes for step in steps)
    if writes and not steps[-1].tool.writes:
        raise Dropped("reads after it wrote")
    with sandbox.session(world.env, world.seed) as session:
        run = session.run(program(steps))
        _drop_failed(run)
        _drop_detours(run.calls)
        if tool := material.tells_nothing(run.calls):
            raise Dropped(f"'{tool}' returns the same whatever it is given")
        answer, result = _projected(run.answer, draw)
        if isinstance(steps[-1].tool, Operation) and isinstance(result, int | float) and result < 0:
            raise Dropped("a difference below zero")
        text = program(steps, answer=answer)
        try:
            evaluate = check_of(sandbox, session, world, run.calls, result, text)
        except (NothingObserved, NotWorthAsking) as error:
            raise Dropped(str(error)) from error
        candidate = Composed(world, steps, answer, result, run.calls, evaluate, [])
        judge = partial(_outcome_in_fresh_world if writes else partial(_outcome_here, session), sandbox, candidate)
        return replace(candidate, wrong=_failing(material, candidate, draw, judge))


def _outcome_in_fresh_world(sandbox: Sandbox, candidate: Composed, kind: str, text: str) -> Outcome:
    """Run a program in a fresh world, run the check on it in the jail, and return the outcome."""
    task = Task(
        env=candidate.world.env,
        seed=candidate.world.seed,
        instruction="",
        evaluate=candidate.evaluate,
        solution=candidate.program,
    )
    return run_check(sandbox, task, text, kind).outcome


def _outcome_here(session: Session, sandbox: Sandbox, candidate: Composed, kind: str, text: str) -> Outcome:
    """Run a program that changes nothing as one more turn of the session, and return the outcome.

    The check comes from `observed.answer_check`, so only the answer is compared here; `sca verify` runs the check.
    This takes a tenth of the time of a fresh world. If the session has ended at a limit, a fresh world is used.
    """
    session.withdraw_answer()
    run = session.run(text)
    if not run.alive:
        return _outcome_in_fresh_world(sandbox, candidate, kind, text)
    if not run.ok or not run.answered:
        return "invalid"
    return "pass" if is_answer(candidate.result, run.answer) else "fail"


def _drop_failed(run: Run) -> None:
    if any(call.error for call in run.calls):
        raise Dropped("a tool refused")
    if not run.ok:
        raise Dropped(f"it raises: {run.reason}")


def _drop_detours(calls: Sequence[Observation]) -> None:
    """Drop programs whose calls return to an earlier text, such as reversing it twice."""
    known: set[str] = set()
    for call in (call for call in calls if not call.writes):
        texts = {value for value in [*call.args, *call.kwargs.values()] if isinstance(value, str)}
        if isinstance(call.result, str) and call.result in known - texts:
            raise Dropped("leads back to what was there before")
        known |= texts | ({call.result} if isinstance(call.result, str) else set())


def _projected(result: JSON, draw: random.Random) -> tuple[str, JSON]:
    """Return (expression, value) of the answer: the result, or a part of it if it has parts or is too long."""
    long = len(repr(result)) > _SHORT_ANSWER
    if not long and (not isinstance(result, dict | list) or draw.random() >= _PART):
        return "@", result
    leaves = [(access, value) for access, value in parts(result) if not isinstance(value, dict | list)]
    leaves = [(access, value) for access, value in leaves if value is not None and short(value)]
    if leaves:
        return draw.choice(leaves)
    if long:
        raise Dropped("the answer is too long")
    return "@", result


def _failing(
    material: Material, candidate: Composed, draw: random.Random, judge: Callable[[str, str], Outcome]
) -> list[tuple[str, str]]:
    """Return three wrong programs that the check rejects, of different kinds if possible.

    Args:
        material: recorded calls; wrong values are drawn from their values.
        candidate: the right program and its check.
        draw: the source of chance.
        judge: (kind, program) → outcome of the check.

    Raises:
        Dropped: a step makes no difference, or the check rejects fewer than three programs.
    """
    rejected_programs: dict[str, tuple[int, str]] = {}  # program → (earlier programs of its kind, kind)
    of_kind: Counter[str] = Counter()
    for kind, text in wrong_branches(candidate.steps, candidate.answer, material, candidate.world, draw):
        enough = kind not in SHORTENED and of_kind[kind] == FAILURE_CASES
        if enough or text in rejected_programs or text == candidate.program:
            continue
        outcome = judge(kind, text)
        if outcome == "pass" and kind in SHORTENED:
            raise Dropped("a step makes no difference")
        if outcome == "fail":
            rejected_programs[text] = (of_kind[kind], kind)
            of_kind[kind] += 1
    if len(rejected_programs) < FAILURE_CASES:
        raise Dropped("fewer than three failure cases fail")
    chosen = sorted(rejected_programs, key=lambda text: rejected_programs[text][0])[:FAILURE_CASES]
    return [(rejected_programs[text][1], text) for text in chosen]
