"""Method `solution-first`: the model writes a program first, and the question for it last.

The check is made from what the program did when it ran. This is a departure from the paper, in which the model writes
all four parts. Small models need it, because they cannot predict the results that `evaluate` must contain.

1. Draw one to three tools so that the result of each can be an argument of the next.
   `PROGRAM_CANDIDATES` such chains are tried for one candidate.
2. The model fills in the arguments. If the program calls no writing tool, steps with an unused result are removed. Each
   program runs in the jail, and the program with the most calls is used.
3. `evaluate` is made from the observations: the answer, or the changes that the reading tools show.
4. The model writes the instruction several times. The first text that contains every literal of the program, and
   neither the answer nor the name of a tool, is used.
5. The model writes wrong programs. Those that `evaluate` rejects become the failure cases; mutants of the solution
   replace the missing ones.
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
"""Most tokens of one reply, for each of the three prompts; chosen by hand, like the numbers of candidates."""
MAX_CHAIN = 3
"""Most tools in one chain."""

_MUTANTS_TRIED = 12
"""Most mutants that run to complete the failure cases; chosen by hand."""


async def make(workshop: Workshop, exploration: Exploration, seed: int) -> Task:
    """Make one task, or a rejected candidate whose error names the step at which it was rejected.

    Raises:
        ModelError: the engine failed.
        SandboxError: the jail does not start.
    """
    draw = random.Random(seed)
    requests = [
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
    completions = [completion for batch in await asyncio.gather(*requests) for completion in batch]
    replies = [completion.text for completion in completions]
    try:
        program, run = await asyncio.to_thread(_best, workshop, exploration, replies)
        instruction = await _instruction(workshop, exploration, program, run, seed)
        task = Task(
            env=exploration.env,
            seed=exploration.seed,
            method="solution-first",
            parents=[exploration.id],
            instruction=instruction,
            evaluate=run.evaluate,
            solution=program,
            calls=len(run.calls),
        )
        await _add_failure_cases(workshop, task, seed)
    except Dropped as error:
        return rejected(exploration, "solution-first", str(error), "\n\n".join(replies))
    return task


# ---------------------------------------------------------------- 1: tools


def draw_chain(tools: list[Tool], draw: random.Random) -> list[Tool]:
    """Draw one to `MAX_CHAIN` tools, each of which accepts the result of the tool before it.

    The chain ends early if no tool accepts the last result.
    """
    chain = [draw.choice(tools)]
    for _ in range(draw.randrange(MAX_CHAIN)):
        followers = [tool for tool in tools if fits.accepts(tool, chain[-1].returns)]
        if not followers:
            break
        chain.append(draw.choice(followers))
    return chain


def skeleton(chain: list[Tool]) -> str:
    """Return a program for the model to complete: one step for each tool, then the final answer.

    The result of the step before is already filled in as an argument; the model replaces every `...`.
    """
    steps = []
    for place, tool in enumerate(chain, 1):
        fed = place > 1 and next(
            (name for name in tool.parameters["properties"] if fits.takes(tool, name, chain[place - 2].returns)), None
        )
        arguments = [f"step{place - 1}" if name == fed else "..." for name in tool.parameters["properties"]]
        if tool.variadic():
            arguments += ["..."]
        steps.append(f"step{place} = {tool.name}({', '.join(arguments)})")
    return "\n".join([*steps, f"final_answer(step{len(chain)})"])


def _of_tools(observations: list[Observation], tools: list[Tool]) -> list[Observation]:
    names = {tool.name for tool in tools}
    return [call for call in observations if call.tool in names]


# ---------------------------------------------------------------- 2 and 3: the program and its check


@dataclass(frozen=True, slots=True)
class _ProgramRun:
    """The answer and the calls of a program that ran, and the check made from them."""

    answer: JSON
    calls: list[Observation]
    evaluate: str


def _best(workshop: Workshop, exploration: Exploration, replies: list[str]) -> tuple[str, _ProgramRun]:
    """Run the program of every reply; return the program with the most calls, and its run.

    Raises:
        Dropped: no reply holds a usable program; the message is that of the first one.
    """
    usable: list[tuple[str, _ProgramRun]] = []
    problems = []
    for reply in replies:
        try:
            program = _program(reply, {tool.name for tool in workshop.tools if tool.writes})
            usable.append((program, _run(workshop, exploration, program)))
        except Dropped as error:
            problems.append(error)
    if not usable:
        raise problems[0]
    return max(usable, key=lambda pair: len(pair[1].calls))


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


def _run(workshop: Workshop, exploration: Exploration, program: str) -> _ProgramRun:
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
    return _ProgramRun(run.answer, run.calls, evaluate)


# ---------------------------------------------------------------- 4: the instruction


async def _instruction(workshop: Workshop, exploration: Exploration, program: str, run: _ProgramRun, seed: int) -> str:
    facts = source.literals(source.parse(program))
    used = {call.tool for call in run.calls}
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
        problem = instruction_problem(text, facts, run.answer, workshop.unspoken)
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
    wrong_programs = [block for block in chat.code_blocks(completion.text) if block.strip() != task.solution.strip()]
    await asyncio.to_thread(_add_failing, workshop, task, wrong_programs[:FAILURE_CASES], seed)
    if len(task.failure_cases) < FAILURE_CASES:
        raise Dropped("failure cases: fewer than three fail")


def _add_failing(workshop: Workshop, task: Task, from_model: list[str], seed: int) -> None:
    """Add programs that the check rejects to the task as failure cases: the model's, then mutants, until enough."""
    mutants = islice(source.mutants(task.solution, seed), _MUTANTS_TRIED)
    origins = []
    for origin, program in [*(("model", text) for text in from_model), *(("mutation", text) for text in mutants)]:
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
