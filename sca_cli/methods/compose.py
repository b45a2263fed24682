"""Method `compose`: programs put together from calls that were seen to work; the model only writes the question.

Tasks that a small model writes one by one are mostly of one call, and teach what it can do already. These come in equal
shares by number of calls, and cover the ordered pairs of tools (an addition to the paper).

1. `plan` draws programs of 1 … K calls (`composer`), runs each in the jail for its outcome, and drops those that are
   refused, change nothing, end in a trivial answer, or have a step that makes no difference.
2. `evaluate` is filled from what was observed: the answer, or what the read tools show to have changed.
3. The failure cases are wrong branches: an intermediate result answered, a step left out, arguments swapped, another
   value.
4. `make` has the model write the instruction: a question for a single call, else a sentence for each, in order. Of
   several, one is taken that names every value and no other figure, says which result it goes on from, and gives away
   neither the answer nor a tool. Whole questions for several calls mostly left a step out with a 0.5B model.
"""

import asyncio
import random
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

from sca_cli import source
from sca_cli.checks import FAILURE_CASES, run_check
from sca_cli.errors import WorldError
from sca_cli.methods import Workshop, composer, in_words, rejected
from sca_cli.methods.composer import Coverage, Link, Literal, Step, Unfit, Use
from sca_cli.methods.material import Material, short
from sca_cli.methods.observed import NothingObserved, answer_check, state_check
from sca_cli.methods.questions import NotWorthAsking, instruction_problem, step_problem, worth_asking
from sca_cli.records import JSON, EnvSpec, Exploration, Observation, Task
from sca_cli.sandbox import Run, Sandbox

INSTRUCTION_CANDIDATES = 6
"""Of the question of a single call, or of the sentence of each of several."""
INSTRUCTION_TOKENS = 96
DRAWS = 60
"""Programs drawn for one candidate before it is given up."""

_SHORT_ANSWER = 120


class Dropped(ValueError):
    """The program, or its question, came to nothing; the message says why."""


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
        return composer.program(self.steps, answer=self.answer)


# ---------------------------------------------------------------- 1: programs


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
        self._seen: set[str] = set()

    def read(self, records: Iterable[Exploration | Task]) -> int:
        """Take in what was seen to work; return how many records there were.

        Raises:
            SandboxError, MissingError, PluginError: an environment cannot be had.
        """
        number = 0
        for record in records:
            if record.error is None:
                self._material(record.env).add(record)
                number += 1
        for material in self._materials.values():
            self._look_at_results(material)
        self._ways = {name: composer.links(material) for name, material in self._materials.items()}
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

    def programs(self, count: int) -> Iterator[tuple[int, Composed]]:
        """Yield (place, program); a place for which none is found is left out and counted."""
        materials = list(self._materials.values())
        for place in range(count if materials else 0):
            material = materials[place % len(materials)]
            size = 1 + (place // len(materials)) % self._sizes
            draw = random.Random(f"{self._seed} {material.env} {place}")
            for _ in range(DRAWS):
                try:
                    yield place, self._one(material, size, draw)
                    break
                except (Unfit, Dropped) as problem:
                    self.dropped[str(problem)] += 1
            else:
                self.dropped[f"no program of {size} call(s) found"] += 1

    def _one(self, material: Material, size: int, draw: random.Random) -> Composed:
        name = str(material.env)
        world = draw.choice(material.worlds)
        coverage = self._coverage[name]
        steps = composer.composed(material, self._ways[name], world, size, coverage, draw)
        text = f"{name}\n{composer.program(steps)}"
        if text in self._seen:
            raise Dropped("drawn before")
        self._seen.add(text)
        made = _ran(self._sandbox, material, world, steps, draw)
        coverage.add(steps)
        return made

    def coverage(self) -> dict[str, tuple[int, int, int]]:
        """Return environment → (pairs that fit by type, pairs that occur, pairs that occur as often as wanted)."""
        told = {}
        for name, ways in self._ways.items():
            fitting = {link.pair for link in ways}
            times = [self._coverage[name].pairs[pair] for pair in fitting]
            told[name] = (len(fitting), sum(map(bool, times)), sum(number >= self._cover for number in times))
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
        run = session.run(composer.program(steps))
        _refuse_failed(run)
        answer, result = _projected(run.answer, draw)
        text = composer.program(steps, answer=answer)
        try:
            if writes:
                evaluate = state_check(sandbox, session, world, run.calls)
            else:
                evaluate = answer_check(worth_asking(result, text))
        except (NothingObserved, NotWorthAsking) as error:
            raise Dropped(str(error)) from error
    made = Composed(world, steps, answer, result, run.calls, evaluate, [])
    return replace(made, wrong=_failing(sandbox, material, made, draw))


def _refuse_failed(run: Run) -> None:
    if any(call.error for call in run.calls):
        raise Dropped("a tool refused")
    if not run.ok:
        raise Dropped(f"it raises: {run.reason}")


def _projected(result: JSON, draw: random.Random) -> tuple[str, JSON]:
    """Return what is answered: the result, or, of one too long for an answer, a part."""
    if len(repr(result)) <= _SHORT_ANSWER:
        return "@", result
    parts = [(access, value) for access, value in composer.parts(result) if not isinstance(value, dict | list)]
    parts = [(access, value) for access, value in parts if value is not None and short(value)]
    if not parts:
        raise Dropped("the answer is too long")
    return draw.choice(parts)


# ---------------------------------------------------------------- 3: failure cases


def _failing(sandbox: Sandbox, material: Material, made: Composed, draw: random.Random) -> list[tuple[str, str]]:
    """Return three wrong programs that the check refuses, of as many kinds as there are.

    Raises:
        Dropped: a step makes no difference, or there are not three.
    """
    task = Task(env=made.world.env, seed=made.world.seed, instruction="", evaluate=made.evaluate, solution=made.program)
    found: dict[str, str] = {}
    for kind, text in wrong_branches(made.steps, made.answer, material, made.world, draw):
        if text in found or text == made.program or sum(known == kind for known in found.values()) == FAILURE_CASES:
            continue
        outcome = run_check(sandbox, task, text, kind).outcome
        if outcome == "pass" and kind in _SHORTENED:
            raise Dropped("a step makes no difference")
        if outcome == "fail":
            found[text] = kind
    if len(found) < FAILURE_CASES:
        raise Dropped("fewer than three failure cases fail")
    by_kind = sorted(found.items(), key=lambda pair: _place_in_kind(pair, found))
    return [(kind, text) for text, kind in by_kind[:FAILURE_CASES]]


def _place_in_kind(pair: tuple[str, str], found: dict[str, str]) -> int:
    text, kind = pair
    return [known for known in found if found[known] == kind].index(text)


_SHORTENED = ("intermediate", "left out")


def wrong_branches(
    steps: Sequence[Step], answer: str, material: Material, world: Exploration, draw: random.Random
) -> Iterator[tuple[str, str]]:
    """Yield (what is wrong, program): an intermediate result, a step left out, arguments swapped, another value."""
    for place in range(1, len(steps)):
        yield "intermediate", composer.program(steps[:place])
    for place in range(len(steps)):
        if shorter := _without(steps, place):
            yield "left out", composer.program(shorter, answer=answer if place < len(steps) - 1 else "@")
    for variant in _swapped(steps):
        yield "swapped", composer.program(variant, answer=answer)
    if len(steps) == 1:
        for argument in (argument for given in steps[0].arguments.values() for argument in given):
            if isinstance(argument, Literal):
                yield "no call", f"final_answer({argument.value!r})"
    for _ in range(2 * FAILURE_CASES):
        yield "another value", composer.program(_revalued(steps, material, world, draw), answer=answer)


def _copied(steps: Sequence[Step]) -> list[Step]:
    """Return steps that can be changed, their uses pointing at each other."""
    copies = {
        id(step): Step(step.tool, {name: list(given) for name, given in step.arguments.items()}) for step in steps
    }
    for step in copies.values():
        for name, place, use in list(step.uses()):
            step.arguments[name][place] = Use(copies[id(use.step)], use.access)
    return list(copies.values())


def _without(steps: Sequence[Step], place: int) -> list[Step] | None:
    """Leave a step out; what used its result gets its first argument. None: nothing would be left."""
    if len(steps) == 1:
        return None
    copies = _copied(steps)
    gone = copies.pop(place)
    first = next((argument for given in gone.arguments.values() for argument in given), Literal(None))
    for step in copies:
        for name, position, use in list(step.uses()):
            if use.step is gone:
                step.arguments[name][position] = first
    return copies


def _swapped(steps: Sequence[Step]) -> Iterator[list[Step]]:
    """Swap two arguments of a step, or two writing steps."""
    for place, step in enumerate(steps):
        spots = [(name, position) for name, given in step.arguments.items() for position in range(len(given))]
        for (one, i), (other, j) in pairwise(spots):
            if one != other:
                variant = _copied(steps)
                given = variant[place].arguments
                given[one][i], given[other][j] = given[other][j], given[one][i]
                yield variant


def _revalued(steps: Sequence[Step], material: Material, world: Exploration, draw: random.Random) -> list[Step]:
    """Draw another value for one of the literals."""
    variant = _copied(steps)
    spots = [
        (step, name, place)
        for step in variant
        for name, given in step.arguments.items()
        for place, argument in enumerate(given)
        if isinstance(argument, Literal)
    ]
    if spots:
        step, name, place = draw.choice(spots)
        others = material.arguments(step.tool, world, draw)
        if name in others:
            value = others[name]
            many = isinstance(value, list) and len(step.arguments[name]) > 1
            step.arguments[name][place] = Literal(draw.choice(value) if many and value else value)
    return variant


# ---------------------------------------------------------------- 4: the instruction


async def make(workshop: Workshop, composed: Composed, seed: int) -> Task:
    """Have the model write the instruction of a composed program.

    Raises:
        ModelError: the engine failed.
    """
    replies: list[str] = []
    try:
        instruction = await _instruction(workshop, composed, seed, replies)
    except Dropped as problem:
        return rejected(composed.world, "compose", str(problem), "\n\n".join(replies))
    return Task(
        env=composed.world.env,
        seed=composed.world.seed,
        method="compose",
        parents=[composed.world.id],
        instruction=instruction,
        evaluate=composed.evaluate,
        solution=composed.program,
        failure_cases=[text for _, text in composed.wrong],
        calls=len(composed.calls),
        extra=_origin(composed),
    )


async def _instruction(workshop: Workshop, composed: Composed, seed: int, replies: list[str]) -> str:
    """Return the question of a single call, or a sentence for each of several.

    Raises:
        Dropped: what the model wrote will not do; it is in `replies`.
    """
    alone = len(composed.steps) == 1
    asked = [
        workshop.ask(
            "compose-question" if alone else "compose-step",
            seed + INSTRUCTION_CANDIDATES * place,
            count=INSTRUCTION_CANDIDATES,
            most=INSTRUCTION_TOKENS,
            call=in_words.call(composed.steps, place),
            meaning=composer.first_sentence(step.tool.description) + ".",
            values=", ".join(map(str, [*_facts(step), *in_words.mentioned(composed.steps, place)])) or "nothing",
            request=workshop.request(composed.world) if alone else "",
        )
        for place, step in enumerate(composed.steps)
    ]
    sentences = []
    for place, completions in enumerate(await asyncio.gather(*asked)):
        texts = [completion.text.strip().strip('"').strip() for completion in completions]
        replies += texts
        sentences.append(_sentence(texts, composed, place, [tool.name for tool in workshop.tools]))
    return " ".join([*sentences, *in_words.part(composed.answer)])


def _sentence(texts: Sequence[str], composed: Composed, place: int, tools: list[str]) -> str:
    """Return the first text that asks for what a step does, for all of it and nothing else.

    Raises:
        Dropped: none does.
    """
    step = composed.steps[place]
    facts, call = _facts(step), in_words.call(composed.steps, place)
    references = in_words.references(composed.steps, place)
    problems = []
    for text in texts:
        problem = step_problem(text, call, facts, references, step.tool)
        problem = problem or instruction_problem(text, facts, composed.result, tools)
        if not problem:
            whole = text if text[-1] in ".?!" else f"{text}."
            return re.sub("['\"]((?:that|the \\w+) result)['\"]", r"\1", whole)
        problems.append(problem)
    raise Dropped(f"instruction: {Counter(problems).most_common(1)[0][0]}")


def _facts(step: Step) -> list[JSON]:
    return source.literals(source.parse(composer.program([step.alone()])))


def _origin(composed: Composed) -> dict[str, Any]:
    """Return what the machine composed and what the model wrote, for the record."""
    return {
        "written_by": {
            "instruction": "model" if len(composed.steps) == 1 else "model, a sentence a call",
            "solution": "composed",
            "evaluate": "observed",
            "failure_cases": [kind for kind, _ in composed.wrong],
        },
        "pairs": sorted(map(list, composer.pairs(composed.steps))),
    }
