"""Method `solution-first`: tools drawn at random, the model writes a program, what it does fills the check, and only
then the model writes the question. Small models need it: they cannot foresee results in `evaluate` (departure from the
paper, which has the model write all four parts).

1. Draw one to three tools so that the result of each can be an argument of the next.
2. The model writes a program that calls them; it is run in the jail.
3. `evaluate` is filled from what was observed: the answer, or what the read tools show to have changed.
4. The model writes the instruction, several times; the first that names every literal of the program, and neither the
   answer nor a tool, is taken.
5. The model writes wrong programs; those that `evaluate` refuses are the failure cases, filled up with mutants.
"""

import asyncio
import random
import re
from dataclasses import dataclass

from sca_cli import chat, source
from sca_cli.checks import FAILURE_CASES, run_check
from sca_cli.interfaces import Tool
from sca_cli.methods import Workshop, rejected
from sca_cli.methods.cat import shown_observations
from sca_cli.methods.observed import NothingObserved, answer_check, state_check
from sca_cli.records import JSON, Exploration, Observation, Task

INSTRUCTION_CANDIDATES = 4
MAX_CHAIN = 3
_MAX_ANSWER_CHARS = 300
_INSTRUCTION_CHARS = (20, 800)
_MUTANTS_TRIED = 12


class Dropped(ValueError):
    """The candidate came to nothing; the message says why."""


async def make(workshop: Workshop, exploration: Exploration, seed: int) -> Task:
    """Make one task, or a rejected candidate that says at which step it was dropped.

    Raises:
        ModelError: the engine failed.
        SandboxError: the jail does not start.
    """
    draw = random.Random(seed)
    chain = draw_chain(workshop.tools, draw)
    reply = ""
    try:
        (completion,) = await workshop.ask(_program_prompt(workshop, exploration, chain, draw), seed, stop=chat.CODE_STOP)
        reply = completion.text
        program = _program(reply)
        ran = await asyncio.to_thread(_run, workshop, exploration, program, chain)
        instruction = await _instruction(workshop, program, ran, seed)
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
        return rejected(exploration, "solution-first", str(error), reply)
    return task


# ---------------------------------------------------------------- 1: tools


def draw_chain(tools: list[Tool], draw: random.Random) -> list[Tool]:
    """Draw one to `MAX_CHAIN` tools, each able to take the result of the one before; shorter where none can."""
    chain = [draw.choice(tools)]
    for _ in range(draw.randrange(MAX_CHAIN)):
        followers = [tool for tool in tools if accepts(tool, chain[-1].returns)]
        if not followers:
            break
        chain.append(draw.choice(followers))
    return chain


_JSON_TYPE = {"str": "string", "int": "integer", "float": "number", "bool": "boolean", "list": "array", "dict": "object"}


def accepts(tool: Tool, returned: str) -> bool:
    """Whether a parameter of the tool takes a value of the returned Python type."""
    given = _JSON_TYPE.get(re.match(r"\w*", returned)[0])  # type: ignore[index]  # \w* always matches
    wanted = {_type(schema) for schema in tool.parameters["properties"].values()}
    return given in wanted or (given == "integer" and "number" in wanted)


def _type(schema: dict[str, JSON]) -> str:
    if schema.get("type") == "array":
        return str(schema.get("items", {}).get("type", "array"))
    return str(schema.get("type", ""))


# ---------------------------------------------------------------- 2 and 3: the program and what it does


@dataclass(frozen=True, slots=True)
class _Ran:
    """A program that ran, and the check made from it."""

    answer: JSON
    calls: list[Observation]
    evaluate: str


def _program_prompt(workshop: Workshop, exploration: Exploration, chain: list[Tool], draw: random.Random) -> str:
    return workshop.prompts.fill(
        "solution-first-program",
        policy=workshop.policy,
        tools=chat.tool_listing(chain),
        observations=shown_observations(exploration.observations, draw),
        focus=", then ".join(tool.name for tool in chain),
        chained=", giving the result of each to the next" if len(chain) > 1 else "",
    )


def _program(reply: str) -> str:
    blocks = chat.code_blocks(reply)
    if not blocks:
        raise Dropped("program: no code block")
    try:
        source.parse(blocks[0])
    except source.NotPython as error:
        raise Dropped("program: not Python") from error
    return blocks[0]


def _run(workshop: Workshop, exploration: Exploration, program: str, chain: list[Tool]) -> _Ran:
    with workshop.sandbox.session(exploration.env, exploration.seed) as session:
        run = session.run(program)
        if not run.ok:
            raise Dropped(f"program: {run.reason}")
        if not run.answered:
            raise Dropped("program: no final answer")
        if any(call.error for call in run.calls):
            raise Dropped("program: a tool refused")
        missing = {tool.name for tool in chain} - {call.tool for call in run.calls}
        if missing:
            raise Dropped("program: leaves out a tool")
        try:
            if any(call.writes for call in run.calls):
                evaluate = state_check(workshop.sandbox, session, exploration, run.calls)
            else:
                evaluate = answer_check(_worth_asking(run.answer, program))
        except NothingObserved as error:
            raise Dropped(f"program: {error}") from error
    return _Ran(run.answer, run.calls, evaluate)


def _worth_asking(answer: JSON, program: str) -> JSON:
    if answer in (None, "", 0, [], {}) or isinstance(answer, bool):
        raise Dropped("program: trivial answer")
    if answer in source.literals(source.parse(program)):
        raise Dropped("program: answer stands in the program")
    if len(repr(answer)) > _MAX_ANSWER_CHARS:
        raise Dropped("program: answer too long")
    return answer


# ---------------------------------------------------------------- 4: the instruction


async def _instruction(workshop: Workshop, program: str, ran: _Ran, seed: int) -> str:
    facts = source.literals(source.parse(program))
    used = {call.tool for call in ran.calls}
    prompt = workshop.prompts.fill(
        "solution-first-instruction",
        solution=program,
        tools=chat.tool_lines([tool for tool in workshop.tools if tool.name in used]),
        literals=", ".join(map(str, facts)) or "none",
    )
    problems = []
    for completion in await workshop.ask(prompt, seed + 1, count=INSTRUCTION_CANDIDATES):
        text = completion.text.strip().strip('"').strip()
        problem = instruction_problem(text, facts, ran.answer, [tool.name for tool in workshop.tools])
        if not problem:
            return text
        problems.append(problem)
    raise Dropped(f"instruction: {problems[0]}")


def instruction_problem(text: str, facts: list[JSON], answer: JSON, tool_names: list[str]) -> str:
    """Say what is wrong with an instruction, or return "".

    Args:
        facts: the literals of the program: each must stand in the text.
        answer: must not stand in the text.
        tool_names: those with an underscore must not stand in the text (others are everyday words).
    """
    shortest, longest = _INSTRUCTION_CHARS
    if not shortest <= len(text) <= longest:
        return "too short or too long"
    if "```" in text or "final_answer" in text or re.search(r"^\s*(def|import|from)\s", text, re.MULTILINE):
        return "holds code"
    if any("_" in name and name in text for name in tool_names):
        return "names a tool"
    if not all(_stands_in(fact, text) for fact in facts):
        return "leaves a fact out"
    if answer not in facts and not isinstance(answer, list | dict) and _stands_in(answer, text):
        return "gives the answer away"
    return ""


def _stands_in(value: JSON, text: str) -> bool:
    if isinstance(value, str):
        return value.strip().casefold() in text.casefold()
    numbers = (number.replace(",", "") for number in re.findall(r"-?\d[\d,]*(?:\.\d+)?", text))
    return any(abs(float(number)) == abs(value) for number in numbers)


# ---------------------------------------------------------------- 5: failure cases


async def _add_failure_cases(workshop: Workshop, task: Task, seed: int) -> None:
    prompt = workshop.prompts.fill("solution-first-failures", instruction=task.instruction, solution=task.solution)
    (completion,) = await workshop.ask(prompt, seed + 2)
    written = [block for block in chat.code_blocks(completion.text) if block.strip() != task.solution.strip()]
    await asyncio.to_thread(_keep_failing, workshop, task, written[:FAILURE_CASES], seed)
    if len(task.failure_cases) < FAILURE_CASES:
        raise Dropped("failure cases: fewer than three fail")


def _keep_failing(workshop: Workshop, task: Task, written: list[str], seed: int) -> None:
    mutants = list(source.mutants(task.solution, seed))[:_MUTANTS_TRIED]
    origins = []
    for origin, program in [*(("model", text) for text in written), *(("mutation", text) for text in mutants)]:
        if len(task.failure_cases) == FAILURE_CASES:
            break
        if program not in task.failure_cases and run_check(workshop.sandbox, task, program, "candidate").outcome == "fail":
            task.failure_cases.append(program)
            origins.append(origin)
    task.extra = {"written_by": {"instruction": "model", "solution": "model", "evaluate": "observed", "failure_cases": origins}}
