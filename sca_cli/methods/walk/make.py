"""Method `walk`: make a task of one to three writes of an exploration, with the look-ups that they need.

The solution looks up what a customer would not say, then writes. The check compares what the look-ups show afterwards.
The failure cases choose other values, leave a write out, or write more. Only the wording needs a model, and templates
replace it if there is none.
"""

import asyncio
import random
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from itertools import chain, islice

from sca_cli.methods import Dropped, Workshop, rejected
from sca_cli.methods.questions import written
from sca_cli.methods.walk import answers, paraphrase, places, words
from sca_cli.methods.walk.checks import NothingChanged, state_check, unchanged_check
from sca_cli.methods.walk.failures import altered, left_out, wrong_programs
from sca_cli.methods.walk.knowledge import Knowledge, Write, is_opaque
from sca_cli.methods.walk.lookups import NoWay, Program
from sca_cli.methods.walk.naming import NoName
from sca_cli.methods.walk.permitted import firm, rules_of
from sca_cli.methods.walk.requests import add
from sca_cli.records import Exploration, Outcome, Task
from sca_cli.verification.paper_filter import FAILURE_CASES, run_check
from sca_cli.walk.memory import canonical

# All numbers below are chosen by hand.
_WRITES = {1: 5, 2: 4, 3: 1}
"""Number of writes of a task → weight of its draws."""
_SAYS_IDS = 0.5
"""Share of the tasks in which the customer says the ids that she knows; in the others they are described."""
_TRIES = 20
"""Draws of writes until one makes a task."""
_DRAWS = 400
"""Draws from which the different ones are taken."""
_STRIDE = 16
"""Distance between the draws of one candidate, so that candidates of one exploration have different writes."""
_READ_MORE = 16
"""Look-ups of records that the exploration did not look up."""
_ALTERED_TRIED = 12
"""Arguments with another value that are tried, to see whether each argument makes a difference."""
_ASKS = 0.4
"""Share of the tasks of one write that ask for an answer too, if there is something to ask for."""
_REFUSED = 0.15
"""Share of the tasks in which a rule forbids what the customer wants, if the exploration has such writes."""
_PARAPHRASES = 4
_PARAPHRASE_TOKENS = 220
_AND_TELL = ("Please also tell me {}.", "Then tell me {}.", "I also need to know {}.")
_IF_REFUSED = (
    "If that is not allowed, change nothing and tell me {} instead.",
    "If you may not do that, leave everything as it is and just tell me {}.",
)
_ANSWERED = ("another answer", "no answer")
"""Failure cases that have their own answer, or none."""


async def make(workshop: Workshop, exploration: Exploration, seed: int) -> Task:
    """Make one task of the writes of an exploration.

    Raises:
        ModelError: the engine failed.
        WorldError: the environment failed.
    """
    draw = random.Random(seed)
    knowledge = Knowledge(exploration, {tool.name: tool for tool in workshop.tools}, workshop.customer)
    try:
        draft = await asyncio.to_thread(_draft, workshop, knowledge, draw)
    except Dropped as problem:
        return rejected(exploration, "walk", str(problem), "")
    text, written_by, notes = draft.instruction, "machine", {}
    if workshop.model is not None:
        paraphrased, problem_of_model = await _paraphrased(workshop, draft, seed)
        if paraphrased:
            text, written_by = paraphrased, "machine, paraphrased by the model"
        else:
            notes = {"model_wording": problem_of_model}
    return Task(
        env=exploration.env,
        seed=exploration.seed,
        method="walk",
        parents=[exploration.id],
        instruction=text,
        evaluate=draft.evaluate,
        solution=draft.solution,
        failure_cases=[program for _, program in draft.wrong],
        calls=draft.calls,
        extra={
            "written_by": {
                "instruction": written_by,
                "solution": "walk",
                "evaluate": "observed",
                "failure_cases": [kind for kind, _ in draft.wrong],
            },
            "writes": [write.tool for write in draft.writes],
            "lookups": draft.lookups,
        }
        | ({"answers": True} if draft.answers else {})
        | ({"refused": True} if draft.refused else {})
        | notes,
    )


@dataclass(frozen=True, slots=True)
class _Draft:
    """A task before its wording is final."""

    writes: list[Write]
    requests: list[words.Request]
    instruction: str
    solution: str
    evaluate: str
    wrong: list[tuple[str, str]]
    """(kind, program) of the failure cases."""
    lookups: int
    calls: int
    values: frozenset[str]
    """Words that results hold, in small letters."""
    answers: bool
    """The customer asks for an answer."""
    refused: bool
    """A rule forbids what the customer wants."""


def _draft(workshop: Workshop, knowledge: Knowledge, draw: random.Random) -> _Draft:
    """Draw writes until they make a task.

    Raises:
        Dropped: none of the draws makes one; the message is the last reason.
    """
    if not knowledge.has_look_ups and knowledge.exploration.first_observation:
        return _in_place(workshop, knowledge)
    if not knowledge.writes:
        raise Dropped("no write worked whose values can be said or looked up")
    rules = rules_of(workshop.sandbox, knowledge.exploration, knowledge.writes)
    allowed = [write for write, rule in zip(knowledge.writes, rules, strict=True) if rule is None]
    forbidden = [(write, rule) for write, rule in zip(knowledge.writes, rules, strict=True) if rule]
    _read_more(workshop, knowledge)
    problem = "the exploration has no further writes" if allowed else "the policy allows none of the writes"
    if forbidden and (not allowed or draw.random() < _REFUSED):
        firmly = firm(workshop.sandbox, knowledge.exploration, draw.sample(forbidden, min(len(forbidden), _TRIES)))
        for write, rule in firmly:
            try:
                return _refused(workshop, knowledge, write, rule, draw)
            except (Dropped, NoWay, NoName, NothingChanged) as error:
                problem = str(error)
    drawings = _drawings(knowledge, allowed)
    own = chain(drawings[workshop.turn :: _STRIDE], drawings[-1 - workshop.turn :: -_STRIDE])
    for writes in islice(chain(own, draw.sample(drawings, len(drawings))), _TRIES):
        try:
            return _one(workshop, knowledge, writes, draw)
        except (Dropped, NoWay, NoName, NothingChanged) as error:
            problem = str(error)
    raise Dropped(problem)


def _in_place(workshop: Workshop, knowledge: Knowledge) -> _Draft:
    """Make a task of a world that shows one text at a time; candidates of one exploration take different ones."""
    exploration = knowledge.exploration
    draw = random.Random(f"places of {exploration.id}")
    drafts = places.tasks(places.Places(exploration, knowledge.tools), draw)
    for task in islice(chain(drafts[workshop.turn :: _STRIDE], drafts[-1 - workshop.turn :: -_STRIDE]), _TRIES):
        judged = Task(
            env=exploration.env,
            seed=exploration.seed,
            instruction=task.instruction,
            evaluate=task.evaluate,
            solution=task.solution,
        )
        outcome_of = partial(_outcome, workshop, judged)
        programs = [program for _, program in task.wrong]
        if outcome_of(task.solution) == "pass" and all(outcome_of(each) == "fail" for each in programs):
            return _Draft(
                [], [], task.instruction, task.solution, task.evaluate, task.wrong[-FAILURE_CASES:], task.steps,
                task.steps, frozenset(), answers="final_answer" in task.solution, refused=False,
            )  # fmt: skip
    raise Dropped("no further place of the exploration makes a task")


def _read_more(workshop: Workshop, knowledge: Knowledge) -> None:
    """Look up records that the exploration did not, so that each can be named among all."""
    if unread := list(islice(knowledge.unread(), _READ_MORE)):
        exploration = knowledge.exploration
        with workshop.sandbox.session(exploration.env, exploration.seed) as session:
            for tool, arguments in unread:
                call = session.call(tool, [], arguments)
                if not call.error:
                    knowledge.add_read(call, arguments)


def _one(workshop: Workshop, knowledge: Knowledge, writes: list[Write], draw: random.Random) -> _Draft:
    """Make a task of writes; of one write, it may ask for an answer too."""
    program, requests = _begun(knowledge, writes, draw)
    asks = len(writes) == 1 and draw.random() < _ASKS
    answer = None
    with workshop.sandbox.session(knowledge.exploration.env, knowledge.exploration.seed) as session:
        run = session.run(program.text)
        if not run.ok or any(call.error for call in run.calls):
            raise Dropped("the solution is refused")
        if asks:
            result = run.calls[-1].result
            answer = answers.of_result(program, result, writes[0], draw)
            answer = answer or answers.of_record(program, writes[0], requests[0], draw, result=result)
        evaluate = state_check(knowledge, session, answer.value if answer else None, writes)
    said = f"{draw.choice(_AND_TELL).format(answer.words)}" if answer else ""
    wrong = chain(wrong_programs(knowledge, program, writes, draw), _wrong_answers(program.text, answer))
    shortened = [text for _, text in left_out(program)]
    return _proven(workshop, program, requests, evaluate, answer, said, wrong, shortened, writes, draw)


def _refused(workshop: Workshop, knowledge: Knowledge, write: Write, rule: str, draw: random.Random) -> _Draft:
    """Make a task whose right end state is the first one, because a rule forbids what the customer wants."""
    program, requests = _begun(knowledge, [write], draw)
    answer = answers.of_record(program, write, requests[0], draw, rule=rule)
    if answer is None:
        raise Dropped("nothing to tell about a record that stays as it is")
    forbidden, program.writes = program.writes, []
    records = [call for call in program.variables if isinstance(knowledge.reads[call].result, dict)]
    evaluate = unchanged_check(knowledge, records, answer.value)
    said = draw.choice(_IF_REFUSED).format(answer.words)
    wrong = chain(_wrong_answers(program.text, answer), wrong_programs(knowledge, program, [], draw))
    does_it = program.text + forbidden[0] + "\n"
    return _proven(workshop, program, requests, evaluate, answer, said, wrong, [does_it], [write], draw)


def _begun(knowledge: Knowledge, writes: list[Write], draw: random.Random) -> tuple[Program, list[words.Request]]:
    program = Program(knowledge, says_ids=draw.random() < _SAYS_IDS)
    program.introduce()
    return program, [add(program, write) for write in writes]


def _wrong_answers(program: str, answer: answers.Answer | None) -> Iterator[tuple[str, str]]:
    """Yield the program with no answer, and with a wrong one."""
    if answer:
        other = f"no {answer.value}" if isinstance(answer.value, str) else answer.value + 1
        yield "another answer", f"{program}final_answer({other!r})\n"
        yield "no answer", program


def _proven(
    workshop: Workshop,
    program: Program,
    requests: list[words.Request],
    evaluate: str,
    answer: answers.Answer | None,
    said: str,
    wrong: Iterator[tuple[str, str]],
    first_wrong: list[str],
    writes: list[Write],
    draw: random.Random,
) -> _Draft:
    """Return the task if its check accepts the solution and rejects wrong programs.

    Raises:
        Dropped: it does not.
    """
    sandbox, knowledge = workshop.sandbox, program.knowledge
    text = words.instruction(knowledge.introduction, requests, draw, customer=knowledge.customer, last=said)
    solution = program.text + (f"final_answer({answer.code})\n" if answer else "")
    right = f"final_answer({answer.value!r})\n" if answer else ""
    task = Task(
        env=knowledge.exploration.env,
        seed=knowledge.exploration.seed,
        instruction=text,
        evaluate=evaluate,
        solution=solution,
    )
    check = run_check(sandbox, task, solution, "solution")
    if check.outcome != "pass":
        raise Dropped("the check rejects the solution")
    outcome_of = partial(_outcome, workshop, task)
    if any(outcome_of(each + right) == "pass" for each in first_wrong):
        raise Dropped("a write makes no difference")
    if program.writes:
        for argument, altered_text in islice(altered(knowledge, program, writes), _ALTERED_TRIED):
            if outcome_of(altered_text + right) == "pass":
                raise Dropped(f"the argument {argument!r} makes no difference")
    kind_of_first = "leaves a write out" if program.writes else "does what is forbidden"
    kept = [(kind_of_first, each + right) for each in first_wrong[:1]]
    for kind, each in chain(wrong, ((kind_of_first, each) for each in first_wrong[1:])):
        if len(kept) == FAILURE_CASES:
            break
        wrong_text = each if kind in _ANSWERED else each + right
        if (kind, wrong_text) not in kept and outcome_of(wrong_text) == "fail":
            kept.append((kind, wrong_text))
    if len(kept) < FAILURE_CASES:
        raise Dropped("fewer than three failure cases fail")
    return _Draft(
        writes, requests, text, solution, evaluate, kept, program.count, len(check.calls), knowledge.words,
        answers=answer is not None, refused=not program.writes,
    )  # fmt: skip


def _outcome(workshop: Workshop, task: Task, program: str) -> Outcome:
    return run_check(workshop.sandbox, task, program, "").outcome


def _drawings(knowledge: Knowledge, allowed: list[Write]) -> list[list[Write]]:
    """Return different draws of writes, the same for all candidates of an exploration."""
    draw = random.Random(f"writes of {knowledge.exploration.id}")
    drawn = [_drawn(knowledge, allowed, draw) for _ in range(_DRAWS)]
    return list({canonical(sorted(write.key for write in writes)): writes for writes in drawn}.values())


def _drawn(knowledge: Knowledge, allowed: list[Write], draw: random.Random) -> list[Write]:
    """Draw writes of different tools and of different records, each tool with the same probability."""
    by_tool: dict[str, list[Write]] = {}
    for write in allowed:
        by_tool.setdefault(write.tool, []).append(write)
    count = draw.choices(list(_WRITES), list(_WRITES.values()))[0]
    drawn: list[Write] = []
    records: set[str] = set()
    for tool in draw.sample(list(by_tool), len(by_tool)):
        apart = [write for write in by_tool[tool] if not records & _records(knowledge, write)]
        if apart and len(drawn) < count:
            drawn.append(draw.choice(apart))
            records |= _records(knowledge, drawn[-1])
    return drawn


def _records(knowledge: Knowledge, write: Write) -> set[str]:
    """Return the ids of the records that a write names, without the customer's own."""
    values = [value for value in write.arguments.values() if isinstance(value, str)]
    ids = {canonical(value) for value in values if is_opaque(value) and not knowledge.is_introduced(value)}
    return ids & knowledge.taken


# ---------------------------------------------------------------- wording


async def _paraphrased(workshop: Workshop, draft: _Draft, seed: int) -> tuple[str, str]:
    """Have the model paraphrase the instruction; return (text, "") or ("", problem of its last text)."""
    problem = ""
    completions = await workshop.ask(
        "walk-paraphrase", seed, count=_PARAPHRASES, most=_PARAPHRASE_TOKENS, instruction=draft.instruction
    )
    for completion in completions:
        text = written(completion.text)
        problem = paraphrase.problem_of(text, draft.instruction, draft.requests, draft.values)
        if not problem:
            return text, ""
    return "", problem
