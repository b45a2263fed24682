"""Method `solution-first`: tools drawn at random, the model writes a program, what it does fills the check, and only
then the model writes the question. Small models need it: they cannot foresee results in `evaluate` (departure from the
paper, which has the model write all four parts).

1. Draw one to three tools so that the result of each can be an argument of the next.
   Several such chains are tried for one candidate.
2. The model fills in the arguments; each program is run in the jail, steps that nothing reads are left out, and the
   program with most calls is taken.
3. `evaluate` is filled from what was observed: the answer, or what the read tools show to have changed.
4. The model writes the instruction, several times; the first that names every literal of the program, and neither the
   answer nor a tool, is taken.
5. The model writes wrong programs; those that `evaluate` refuses are the failure cases, filled up with mutants.
"""

import ast
import asyncio
import random
from dataclasses import dataclass
from itertools import islice

from sca_cli.analysis import fits, source
from sca_cli.episode import chat
from sca_cli.interfaces import Tool
from sca_cli.methods import Dropped, Workshop, rejected
from sca_cli.methods.cat import shown_observations
from sca_cli.methods.observed import NothingObserved, check_of
from sca_cli.methods.questions import NotWorthAsking, instruction_problem, written
from sca_cli.records import JSON, Exploration, Observation, Task
from sca_cli.verification.paper_filter import FAILURE_CASES, run_check

PROGRAM_CANDIDATES = 3
INSTRUCTION_CANDIDATES = 8
PROGRAM_TOKENS, INSTRUCTION_TOKENS, FAILURES_TOKENS = 160, 160, 320
MAX_CHAIN = 3

_MUTANTS_TRIED = 12


async def make(workshop: Workshop, exploration: Exploration, seed: int) -> Task:
    """Make one task, or a rejected candidate that says at which step it was dropped.

    Raises:
        ModelError: the engine failed.
        SandboxError: the jail does not start.
    """
    draw = random.Random(seed)
    asked = [
        workshop.ask(
            "solution-first-program",
            seed + place,
            most=PROGRAM_TOKENS,
            stop=chat.CODE_STOP,
            policy=workshop.setting(exploration),
            tools=chat.tool_lines(chain),
            observations=shown_observations(_of_tools(exploration.observations, chain), draw),
            skeleton=skeleton(chain),
        )
        for place, chain in enumerate(draw_chain(workshop.tools, draw) for _ in range(PROGRAM_CANDIDATES))
    ]
    completions = [completion for answered in await asyncio.gather(*asked) for completion in answered]
    replies = [completion.text for completion in completions]
    try:
        program, ran = await asyncio.to_thread(_best, workshop, exploration, replies)
        instruction = await _instruction(workshop, exploration, program, ran, seed)
        task = Task(
            env=exploration.env,
            seed=exploration.seed,
            method="solution-first",
            parents=[exploration.id],
            instruction=instruction,
            evaluate=ran.evaluate,
            solution=program,
            calls=len(ran.calls),
        )
        await _add_failure_cases(workshop, task, seed)
    except Dropped as error:
        return rejected(exploration, "solution-first", str(error), "\n\n".join(replies))
    return task


# ---------------------------------------------------------------- 1: tools


def draw_chain(tools: list[Tool], draw: random.Random) -> list[Tool]:
    """Draw one to `MAX_CHAIN` tools, each able to take the result of the one before; shorter where none can."""
    chain = [draw.choice(tools)]
    for _ in range(draw.randrange(MAX_CHAIN)):
        followers = [tool for tool in tools if fits.accepts(tool, chain[-1].returns)]
        if not followers:
            break
        chain.append(draw.choice(followers))
    return chain


def skeleton(chain: list[Tool]) -> str:
    """Return the program to be filled in: a step a tool, each given the step before, then the final answer."""
    steps = []
    for place, tool in enumerate(chain, 1):
        taken = place > 1 and next(
            (name for name in tool.parameters["properties"] if fits.takes(tool, name, chain[place - 2].returns)), None
        )
        arguments = [f"step{place - 1}" if name == taken else "..." for name in tool.parameters["properties"]]
        if tool.variadic():
            arguments += ["..."]
        steps.append(f"step{place} = {tool.name}({', '.join(arguments)})")
    return "\n".join([*steps, f"final_answer(step{len(chain)})"])


def _of_tools(observations: list[Observation], tools: list[Tool]) -> list[Observation]:
    names = {tool.name for tool in tools}
    return [call for call in observations if call.tool in names]


# ---------------------------------------------------------------- 2 and 3: the program and what it does


@dataclass(frozen=True, slots=True)
class _Ran:
    """A program that ran, and the check made from it."""

    answer: JSON
    calls: list[Observation]
    evaluate: str


def _best(workshop: Workshop, exploration: Exploration, replies: list[str]) -> tuple[str, _Ran]:
    """Run the program of every reply and return the one that made most calls, with what it did."""
    good: list[tuple[str, _Ran]] = []
    problems = []
    for reply in replies:
        try:
            program = _program(reply, {tool.name for tool in workshop.tools if tool.writes})
            good.append((program, _run(workshop, exploration, program)))
        except Dropped as error:
            problems.append(error)
    if not good:
        raise problems[0]
    return max(good, key=lambda pair: len(pair[1].calls))


def _program(reply: str, writing: set[str]) -> str:
    blocks = chat.code_blocks(reply)
    if not blocks:
        raise Dropped("program: no code block")
    try:
        tree = source.parse(blocks[0])
    except source.NotPython as error:
        raise Dropped("program: not Python") from error
    used = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    if any(isinstance(node, ast.FunctionDef | ast.ClassDef | ast.Import | ast.ImportFrom) for node in ast.walk(tree)):
        raise Dropped("program: defines or imports")
    return ast.unparse(tree if used & writing else source.without_unused_steps(tree))


def _run(workshop: Workshop, exploration: Exploration, program: str) -> _Ran:
    with workshop.sandbox.session(exploration.env, exploration.seed) as session:
        run = session.run(program)
        if not run.ok:
            raise Dropped(f"program: {run.reason}")
        if not run.answered:
            raise Dropped("program: no final answer")
        if any(call.error for call in run.calls):
            raise Dropped("program: a tool refused")
        if not run.calls:
            raise Dropped("program: calls no tool")
        try:
            evaluate = check_of(workshop.sandbox, session, exploration, run.calls, run.answer, program)
        except (NothingObserved, NotWorthAsking) as error:
            raise Dropped(f"program: {error}") from error
    return _Ran(run.answer, run.calls, evaluate)


# ---------------------------------------------------------------- 4: the instruction


async def _instruction(workshop: Workshop, exploration: Exploration, program: str, ran: _Ran, seed: int) -> str:
    facts = source.literals(source.parse(program))
    used = {call.tool for call in ran.calls}
    completions = await workshop.ask(
        "solution-first-instruction",
        seed + PROGRAM_CANDIDATES,
        count=INSTRUCTION_CANDIDATES,
        most=INSTRUCTION_TOKENS,
        solution=program,
        tools=chat.tool_lines([tool for tool in workshop.tools if tool.name in used]),
        literals=", ".join(map(str, facts)) or "none",
        request=workshop.request(exploration),
    )
    problems = []
    for completion in completions:
        text = written(completion.text)
        problem = instruction_problem(text, facts, ran.answer, workshop.unspoken)
        if not problem:
            return text
        problems.append(problem)
    raise Dropped(f"instruction: {problems[0]}")


# ---------------------------------------------------------------- 5: failure cases


async def _add_failure_cases(workshop: Workshop, task: Task, seed: int) -> None:
    (completion,) = await workshop.ask(
        "solution-first-failures",
        seed + PROGRAM_CANDIDATES + INSTRUCTION_CANDIDATES,
        most=FAILURES_TOKENS,
        instruction=task.instruction,
        solution=task.solution,
    )
    written = [block for block in chat.code_blocks(completion.text) if block.strip() != task.solution.strip()]
    await asyncio.to_thread(_keep_failing, workshop, task, written[:FAILURE_CASES], seed)
    if len(task.failure_cases) < FAILURE_CASES:
        raise Dropped("failure cases: fewer than three fail")


def _keep_failing(workshop: Workshop, task: Task, written: list[str], seed: int) -> None:
    mutants = islice(source.mutants(task.solution, seed), _MUTANTS_TRIED)
    origins = []
    for origin, program in [*(("model", text) for text in written), *(("mutation", text) for text in mutants)]:
        if len(task.failure_cases) == FAILURE_CASES:
            break
        if (
            program not in task.failure_cases
            and run_check(workshop.sandbox, task, program, "candidate").outcome == "fail"
        ):
            task.failure_cases.append(program)
            origins.append(origin)
    task.extra = {
        "written_by": {"instruction": "model", "solution": "model", "evaluate": "observed", "failure_cases": origins}
    }
