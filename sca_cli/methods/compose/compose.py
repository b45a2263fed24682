"""Method `compose`: compose programs from recorded calls that succeeded; the model writes only the instruction.

Tasks that a small model writes one by one mostly need one call, and teach what the model can do already. These tasks
come in equal shares by number of calls, and cover the ordered pairs of tools (an addition to the paper).

1. `Plan` draws programs of 1 … K calls (`composer`) and runs each in the jail for its outcome. It drops a program if a
   call is refused, the state does not change, the answer is trivial, or a step makes no difference.
2. `evaluate` is made from the observed outcome: the answer, or the changes that the read tools show.
3. The failure cases are wrong branches (`wrong_branches`): the program answers an intermediate result, leaves out a
   step, swaps arguments, or uses another value.
4. `make` has the model write the instruction. For a single call it writes a question. For several calls it writes one
   sentence for each call, in order. Many programs can also be asked for in one question: those that only read and use
   each result once, in chains of at most two calls. For three quarters of them, the model writes a noun phrase for the
   result of each call, and the phrases are nested into one question. Steps that combine results without a tool
   (`operations`) have fixed words. A text is accepted if it names every value and no other number, says which result
   it uses, does not contain the answer, and does not name a tool where tools must not be named. The model does not
   write the whole question for several calls, because a 0.5B model then mostly left out a step.
"""

import asyncio
import contextlib
import random
import re
from collections import Counter
from typing import Any, Literal

from sca_cli.analysis import source
from sca_cli.methods import Dropped, Workshop, rejected
from sca_cli.methods.compose import in_words, machine_words
from sca_cli.methods.compose.operations import Operation
from sca_cli.methods.compose.plan import Composed
from sca_cli.methods.compose.steps import pairs, program
from sca_cli.methods.questions import first_sentence, instruction_problem, phrase_problem, step_problem, written
from sca_cli.records import Task

INSTRUCTION_CANDIDATES = 6
"""Most texts that are sampled for one call. Chosen by hand; not measured."""
ASKED_AT_ONCE = 2
"""Texts sampled in one request; requests are repeated until a text is accepted, mostly the first or second. Chosen by
hand.
"""
INSTRUCTION_TOKENS = 96
"""Most tokens of one text. Chosen by hand; not measured."""
NESTED = 2
"""Largest depth of nested phrases: a question with three or more nested calls is hard to understand. Chosen by hand."""

type Form = Literal["question", "sentence", "phrase"]
type Writer = Literal["model", "machine"]
_PROMPTS: dict[Form, str] = {
    "question": "compose-question",
    "sentence": "compose-step",
    "phrase": "compose-phrase",
}
_WRITTEN_BY: dict[Form, str] = {
    "question": "",
    "sentence": ", a sentence a call",
    "phrase": ", a phrase a call, put into each other",
}
_UNQUOTED = re.compile("['\"]((?:that|the \\w+) result)['\"]")


async def make(workshop: Workshop, composed: Composed, seed: int) -> Task:
    """Have the model write the instruction of a composed program.

    Raises:
        ModelError: the engine failed.
    """
    replies: list[str] = []
    try:
        instruction, form, writer, notes = await _instruction(workshop, composed, seed, replies)
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
        extra=_origin(composed, form, writer) | notes,
    )


async def _instruction(
    workshop: Workshop, composed: Composed, seed: int, replies: list[str]
) -> tuple[str, Form, Writer, dict[str, Any]]:
    """Return the instruction, the form of its parts, its writer, and notes for the record.

    `machine_words` writes it if there is no model, or if all texts of the model are rejected; the notes then say why.

    Raises:
        Dropped: no text is accepted; the model's texts are in `replies`.
    """
    notes: dict[str, Any] = {}
    if workshop.model is not None:
        try:
            return *await _joined(workshop, composed, seed, replies, "model"), "model", notes
        except Dropped as problem:
            notes = {"model_wording": str(problem), "reply": "\n\n".join(replies)}
    instruction, form = await _joined(workshop, composed, seed, replies, "machine")
    return machine_words.in_context(instruction, len(composed.calls), seed), form, "machine", notes


async def _joined(
    workshop: Workshop, composed: Composed, seed: int, replies: list[str], writer: Writer
) -> tuple[str, Form]:
    """Join the texts of the calls to an instruction; return it and its form.

    Raises:
        Dropped: no text is accepted for one of the calls.
    """
    steps, part = composed.steps, in_words.part(composed.answer)
    if len(steps) == 1 and not part:
        return (await _texts(workshop, composed, seed, replies, "question", writer))[0], "question"
    if seed % 4 and in_words.can_be_nested(steps) and in_words.depth(steps) <= NESTED:
        with contextlib.suppress(Dropped):
            phrases = await _texts(workshop, composed, seed, replies, "phrase", writer)
            question = in_words.nested(steps, phrases, composed.answer, seed)
            facts = source.literals(source.parse(program(steps)))
            if not instruction_problem(question, facts, composed.result, workshop.unspoken):
                return question, "phrase"
    sentences = await _texts(workshop, composed, seed, replies, "sentence", writer)
    return " ".join([*sentences, *part]), "sentence"


async def _texts(
    workshop: Workshop, composed: Composed, seed: int, replies: list[str], form: Form, writer: Writer
) -> list[str]:
    """Return a text for each call.

    Raises:
        Dropped: no text is accepted for one of the calls.
    """
    places = range(len(composed.steps))
    if writer == "machine":
        return [_machine_text(workshop, composed, place, seed, form) for place in places]
    results = await asyncio.gather(*(_text(workshop, composed, place, seed, form) for place in places))
    for texts, _ in results:
        replies += texts
    for _, problem in results:
        if problem:
            raise Dropped(f"instruction: {problem}")
    return [texts[-1] for texts, _ in results]


def _machine_text(workshop: Workshop, composed: Composed, place: int, seed: int, form: Form) -> str:
    """Return the first text of `machine_words` that has no problem.

    Raises:
        Dropped: every text has a problem; the message is the most frequent one.
    """
    steps, step = composed.steps, composed.steps[place]
    if isinstance(step.tool, Operation):
        return in_words.operation(steps, place, seed)
    write = {"question": machine_words.question, "sentence": machine_words.sentence, "phrase": machine_words.phrase}
    draw = random.Random(f"{seed} {place}")
    problems: Counter[str] = Counter()
    for _ in range(machine_words.TEXTS):
        text = write[form](steps, place, draw)
        if not (problem := _problem(workshop, composed, place, form, text)):
            return text
        problems[problem] += 1
    raise Dropped(f"instruction: {problems.most_common(1)[0][0]}")


def _problem(workshop: Workshop, composed: Composed, place: int, form: Form, text: str) -> str:
    """Return the reason to reject a text for one call, or ""."""
    steps, step = composed.steps, composed.steps[place]
    call = in_words.call(steps, place)
    facts = source.literals(source.parse(program([step.alone()])))
    if form == "phrase":
        return phrase_problem(text, call, facts, in_words.references(steps, place, all_of_them=True), step.tool)
    problem = step_problem(text, call, facts, in_words.references(steps, place), step.tool)
    return problem or instruction_problem(text, facts, composed.result, workshop.unspoken)


async def _text(workshop: Workshop, composed: Composed, place: int, seed: int, form: Form) -> tuple[list[str], str]:
    """Sample texts that describe one step until a text is accepted.

    Returns:
        (texts, problem). If a text is accepted, it is the last one and the problem is ""; otherwise the problem is the
        most frequent reason to reject.
    """
    steps, step = composed.steps, composed.steps[place]
    if isinstance(step.tool, Operation):
        return [in_words.operation(steps, place, seed)], ""
    call = in_words.call(steps, place)
    facts = source.literals(source.parse(program([step.alone()])))
    texts: list[str] = []
    problems: Counter[str] = Counter()
    while len(texts) < INSTRUCTION_CANDIDATES:
        completions = await workshop.ask(
            _PROMPTS[form],
            seed + INSTRUCTION_CANDIDATES * place + len(texts),
            count=ASKED_AT_ONCE,
            most=INSTRUCTION_TOKENS,
            call=call,
            meaning=first_sentence(step.tool.description) + ".",
            values=", ".join(map(str, [*facts, *in_words.mentioned(steps, place)])) or "nothing",
            request=workshop.request(composed.world) if form == "question" else "",
        )
        for text in (_UNQUOTED.sub(r"\1", written(completion.text)) for completion in completions):
            problem = _problem(workshop, composed, place, form, text)
            texts.append(text if form == "phrase" or text[-1:] in (".", "?", "!") else f"{text}.")
            if not problem:
                return texts, ""
            problems[problem] += 1
    return texts, problems.most_common(1)[0][0]


def _origin(composed: Composed, form: Form, writer: Writer) -> dict[str, Any]:
    """Return the writer of each part, for the record."""
    operation = any(isinstance(step.tool, Operation) for step in composed.steps)
    return {
        "written_by": {
            "instruction": writer + _WRITTEN_BY[form] + (", put together in fixed words" if operation else ""),
            "solution": "composed",
            "evaluate": "observed",
            "failure_cases": [kind for kind, _ in composed.wrong],
        },
        "pairs": sorted(map(list, pairs(composed.steps))),
    }
