"""What `compose` makes tasks of: programs drawn, run in the jail, and kept with their check and failure cases."""

import random
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from queue import SimpleQueue

from sca_cli.errors import RecordError, WorldError
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
"""Programs drawn for one candidate before it is given up; the second half in the other way, if there are two."""

AHEAD = 64
"""Programs drawn before what became of the first is waited for, and so on: as many can be put into words at once.

A fixed number, so that the same seed draws the same programs however fast or wide the model is."""

ALIKE = 0.4
"""Share of the places for programs of two and more calls that do alike with several values."""

_SHORT_ANSWER = 120
_PART = 0.5
"""Share of the answers that have parts of which one is asked for."""


@dataclass(frozen=True, slots=True)
class Composed:
    """A program that ran, and the check made from what it did."""

    world: Exploration
    """Where it ran."""
    steps: list[Step]
    answer: str
    """What it answers; @ stands for the last step's result."""
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
    """Draws programs, in equal shares by environment and number of calls.

    Args:
        sandbox: where they are run.
        sizes: largest number of calls.
        cover: programs in which every pair of tools is to occur before all are drawn alike.
        seed: everything drawn depends on it.
    """

    def __init__(self, sandbox: Sandbox, sizes: int, cover: int, seed: int) -> None:
        self.dropped: Counter[str] = Counter()
        """Reason → programs drawn that came to nothing."""
        self._sandbox, self._sizes, self._cover, self._seed = sandbox, sizes, cover, seed
        self._materials: dict[str, Material] = {}
        self._ways: dict[str, list[Link]] = {}
        self._coverage: dict[str, Coverage] = defaultdict(lambda: Coverage(cover))
        self._pending: deque[Composed] = deque()  # no task came of them yet; the oldest first
        self._told: SimpleQueue[bool] = SimpleQueue()
        self._seen: set[str] = set()
        self.unproven = 0
        """Tasks that were read and left out, because `sca verify` did not keep them."""

    def read(self, records: Iterable[Exploration | Task]) -> int:
        """Take in what was seen to work; return how many records there were.

        Raises:
            RecordError: a task is held out for evaluation.
            SandboxError, MissingError, PluginError: an environment cannot be had.
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
                self._material(record.env).add(record)
                number += 1
        for material in self._materials.values():
            self._look_at_results(material)
        self._ways = {name: links(material) for name, material in self._materials.items()}
        return number

    def _material(self, env: EnvSpec) -> Material:
        if str(env) not in self._materials:
            self._materials[str(env)] = Material(env, self._sandbox.describe(env).tools)
        return self._materials[str(env)]

    def _look_at_results(self, material: Material) -> None:
        """Make calls again whose results no record holds: a task's calls say only what was asked."""
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
        self, count: int, before: Collection[tuple[str, str]] = (), told: int = 0
    ) -> Iterator[tuple[int, Composed]]:
        """Yield (place, program); a place for which none is found is left out and counted.

        Args:
            count: places.
            before: (environment, program) of the tasks that an earlier run, which is being resumed, wrote.
            told: programs that the earlier run came to the end of; the others wait for `became`.
        """
        materials = list(self._materials.values())
        for place in range(count if materials else 0):
            if len(self._pending) == AHEAD:
                self._settle(written=self._told.get())
            material = materials[place % len(materials)]
            size = 1 + (place // len(materials)) % self._sizes
            draw = random.Random(f"{self._seed} {material.env} {place}")
            ways = [composer.composed, alike.composed] if size > 1 else [composer.composed]
            if draw.random() < ALIKE:
                ways.reverse()
            for drawn in range(DRAWS):
                try:
                    made = self._one(material, size, ways[drawn * len(ways) // DRAWS], draw)
                except (Unfit, Dropped) as problem:
                    self.dropped[str(problem)] += 1
                    continue
                self._pending.append(made)
                if told:
                    told -= 1
                    self.became(written=(str(material.env), made.program) in before)
                yield place, made
                break
            else:
                self.dropped[f"no program of {size} call(s) found"] += 1

    def _one(self, material: Material, size: int, way: Callable[..., list[Step]], draw: random.Random) -> Composed:
        name = str(material.env)
        world = draw.choice(material.worlds)
        coverage = self._coverage[name]
        steps = way(material, self._ways[name], world, size, coverage, draw)
        text = f"{name}\n{program(steps)}"
        if text in self._seen:
            raise Dropped("drawn before")
        self._seen.add(text)
        made = _ran(self._sandbox, material, world, steps, draw)
        coverage.add(steps)
        return made

    def became(self, *, written: bool) -> None:
        """Say of the oldest program that nothing was said of whether an instruction was written for it.

        Its pairs of tools count from then on only if there was one.
        """
        self._told.put(written)

    def _settle(self, *, written: bool) -> None:
        made = self._pending.popleft()
        if not written:
            self._coverage[str(made.world.env)].take_back(made.steps)

    def coverage(self) -> dict[str, tuple[int, int, int, int]]:
        """Return, by environment, how many ordered pairs of tools there are when all programs are told of.

        Returns:
            Environment → (pairs that fit by type, pairs in programs that ran, in tasks, in tasks as often as wanted).
        """
        while not self._told.empty():
            self._settle(written=self._told.get())
        told = {}
        for name, ways in self._ways.items():
            found = self._coverage[name]
            fitting = {link.pair for link in ways}
            times = [found.occurred[pair] for pair in fitting]
            often = sum(number >= self._cover for number in times)
            told[name] = (len(fitting), len(fitting & found.worked), sum(map(bool, times)), often)
        return told


def _ran(sandbox: Sandbox, material: Material, world: Exploration, steps: list[Step], draw: random.Random) -> Composed:
    """Run a program and make its check and its failure cases.

    Raises:
        Dropped: it is worth nothing.
    """
    writes = any(step.tool.writes for step in steps)
    if writes and not steps[-1].tool.writes:
        raise Dropped("reads after it wrote")
    with sandbox.session(world.env, world.seed) as session:
        run = session.run(program(steps))
        _refuse_failed(run)
        _refuse_detours(run.calls)
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
        made = Composed(world, steps, answer, result, run.calls, evaluate, [])
        judge = partial(_outcome_in_fresh_world if writes else partial(_outcome_here, session), sandbox, made)
        return replace(made, wrong=_failing(material, made, draw, judge))


def _outcome_in_fresh_world(sandbox: Sandbox, made: Composed, kind: str, text: str) -> Outcome:
    """Return what the check says of a program, run in a fresh world and judged in the jail."""
    task = Task(env=made.world.env, seed=made.world.seed, instruction="", evaluate=made.evaluate, solution=made.program)
    return run_check(sandbox, task, text, kind).outcome


def _outcome_here(session: Session, sandbox: Sandbox, made: Composed, kind: str, text: str) -> Outcome:
    """Return what the check says of a program that changes nothing, run as one more turn of the session.

    The check is one of `observed.answer_check`, so it need not run here; `sca verify` runs it. This takes a tenth of
    the time of a fresh world. A session that ended at its limits is replaced by fresh worlds.
    """
    session.withdraw_answer()
    run = session.run(text)
    if not run.alive:
        return _outcome_in_fresh_world(sandbox, made, kind, text)
    if not run.ok or not run.answered:
        return "invalid"
    return "pass" if is_answer(made.result, run.answer) else "fail"


def _refuse_failed(run: Run) -> None:
    if any(call.error for call in run.calls):
        raise Dropped("a tool refused")
    if not run.ok:
        raise Dropped(f"it raises: {run.reason}")


def _refuse_detours(calls: Sequence[Observation]) -> None:
    """Refuse calls that only lead back to a text that was there before, as where it is reversed twice."""
    known: set[str] = set()
    for call in (call for call in calls if not call.writes):
        given = {value for value in [*call.args, *call.kwargs.values()] if isinstance(value, str)}
        if isinstance(call.result, str) and call.result in known - given:
            raise Dropped("leads back to what was there before")
        known |= given | ({call.result} if isinstance(call.result, str) else set())


def _projected(result: JSON, draw: random.Random) -> tuple[str, JSON]:
    """Return what is answered: the result, or a part of one that has parts or is too long."""
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
    material: Material, made: Composed, draw: random.Random, judge: Callable[[str, str], Outcome]
) -> list[tuple[str, str]]:
    """Return three wrong programs that the check rejects, of as many kinds as there are.

    Args:
        material: what was observed; other values come from it.
        made: the right program and its check.
        draw: the source of chance.
        judge: (kind, program) → what the check says of it.

    Raises:
        Dropped: a step makes no difference, or there are not three.
    """
    found: dict[str, tuple[int, str]] = {}  # program → how many of its kind came before it, kind
    of_kind: Counter[str] = Counter()
    for kind, text in wrong_branches(made.steps, made.answer, material, made.world, draw):
        enough = kind not in SHORTENED and of_kind[kind] == FAILURE_CASES
        if enough or text in found or text == made.program:
            continue
        outcome = judge(kind, text)
        if outcome == "pass" and kind in SHORTENED:
            raise Dropped("a step makes no difference")
        if outcome == "fail":
            found[text] = (of_kind[kind], kind)
            of_kind[kind] += 1
    if len(found) < FAILURE_CASES:
        raise Dropped("fewer than three failure cases fail")
    chosen = sorted(found, key=lambda text: found[text][0])[:FAILURE_CASES]
    return [(found[text][1], text) for text in chosen]
