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
from sca_cli.methods.walk import paraphrase, words
from sca_cli.methods.walk.checks import NothingChanged, state_check
from sca_cli.methods.walk.knowledge import RECORD_FIELDS, Knowledge, Write, is_opaque
from sca_cli.methods.walk.lookups import NoWay, Program, ValueReference, call_of
from sca_cli.methods.walk.naming import NoName
from sca_cli.methods.walk.permitted import permitted
from sca_cli.records import JSON, Exploration, Outcome, Task
from sca_cli.verification.paper_filter import FAILURE_CASES, run_check
from sca_cli.walk.memory import KEY, canonical

# All numbers below are chosen by hand.
_WRITES = {1: 5, 2: 4, 3: 1}
"""Number of writes of a task → weight of its draws."""
_SAYS_IDS = 0.5
"""Share of the tasks in which the customer says the ids that she knows; in the others they are described."""
_TRIES = 12
"""Draws of writes until one makes a task."""
_DRAWS = 400
"""Draws from which the different ones are taken."""
_STRIDE = 16
"""Distance between the draws of one candidate, so that candidates of one exploration have different writes."""
_ALTERED_TRIED = 12
"""Arguments with another value that are tried, to see whether each argument makes a difference."""
_WRONG_TRIED = 14
_PARAPHRASES = 4
_PARAPHRASE_TOKENS = 220


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


def _draft(workshop: Workshop, knowledge: Knowledge, draw: random.Random) -> _Draft:
    """Draw writes until they make a task.

    Raises:
        Dropped: none of the draws makes one; the message is the last reason.
    """
    if not knowledge.writes:
        raise Dropped("no write worked whose values can be said or looked up")
    allowed = permitted(workshop.sandbox, knowledge.exploration, knowledge.writes)
    if not allowed:
        raise Dropped("the policy allows none of the writes")
    problem = "the exploration has no further writes"
    for writes in _drawings(knowledge, allowed)[workshop.turn :: _STRIDE][:_TRIES]:
        try:
            return _one(workshop, knowledge, writes, draw)
        except (Dropped, NoWay, NoName, NothingChanged) as error:
            problem = str(error)
    raise Dropped(problem)


def _one(workshop: Workshop, knowledge: Knowledge, writes: list[Write], draw: random.Random) -> _Draft:
    program = Program(knowledge, says_ids=draw.random() < _SAYS_IDS)
    program.introduce()
    requests = [_add(program, write) for write in writes]
    sandbox, exploration = workshop.sandbox, knowledge.exploration
    with sandbox.session(exploration.env, exploration.seed) as session:
        run = session.run(program.text)
        if not run.ok or any(call.error for call in run.calls):
            raise Dropped("the solution is refused")
        evaluate = state_check(knowledge, session)
    instruction = words.instruction(knowledge.introduction, requests, draw, customer=knowledge.customer)
    task = Task(
        env=exploration.env, seed=exploration.seed, instruction=instruction, evaluate=evaluate, solution=program.text
    )
    if run_check(sandbox, task, program.text, "solution").outcome != "pass":
        raise Dropped("the check rejects the solution")
    outcome_of = partial(_outcome, workshop, task)
    shortened = list(_left_out(program))
    if any(outcome_of(text) == "pass" for _, text in shortened):
        raise Dropped("a write makes no difference")
    for argument, text in islice(_altered(knowledge, program, writes), _ALTERED_TRIED):
        if outcome_of(text) == "pass":
            raise Dropped(f"the argument {argument!r} makes no difference")
    wrong = shortened[:1]
    for kind, text in chain(_wrong_programs(knowledge, program, writes, draw), shortened[1:]):
        if len(wrong) == FAILURE_CASES:
            break
        if (kind, text) not in wrong and outcome_of(text) == "fail":
            wrong.append((kind, text))
    if len(wrong) < FAILURE_CASES:
        raise Dropped("fewer than three failure cases fail")
    return _Draft(
        writes, requests, instruction, program.text, evaluate, wrong, program.count, len(run.calls), knowledge.words
    )


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


# ---------------------------------------------------------------- a write


def _add(program: Program, write: Write) -> words.Request:
    """Add a write to the program; return what the customer says of it.

    Raises:
        NoWay, NoName: a value can neither be said nor be looked up.
    """
    request = words.Request(write.tool)
    codes: dict[str, str] = {}
    together = _of_one_record(write)
    for name, value in write.arguments.items():
        if is_opaque(value):
            program.read_of(value)
        codes[name], said = _argument(program, write, name)
        if name in together:
            if name == together[0]:
                values = [str(write.arguments[other]) for other in together if write.arguments[other] != ""]
                request.details.append(words.Detail(_record_label(write, name), ", ".join(values)))
        elif said:
            several = isinstance(value, list) and len(value) > 1
            request.details.append(words.Detail(words.label_of(name, several=several), said, _kind(value, codes[name])))
    program.writes.append(call_of(write, codes))
    return request


def _kind(value: JSON, code: str) -> words.Kind:
    if isinstance(value, int | float):
        return words.Kind.NUMBER
    items = value if isinstance(value, list) else [value]
    if any(isinstance(item, dict) for item in items):
        return words.Kind.VALUE
    if code != repr(value):
        return words.Kind.RECORD
    return words.Kind.ID if all(map(is_opaque, items)) else words.Kind.VALUE


def _argument(program: Program, write: Write, name: str) -> tuple[str, str]:
    """Return (code, words) of one argument."""
    value, place = write.arguments[name], write.places.get(name)
    if not isinstance(value, list):
        reference = _value(program, value, place)
        return reference.code, reference.words or _fallback(write, name, reference)
    places = place if isinstance(place, list) and len(place) == len(value) else [None] * len(value)
    references = [_value(program, each, where) for each, where in zip(value, places, strict=True)]
    code = f"[{', '.join(reference.code for reference in references)}]"
    said = [reference.words for reference in references if reference.words]
    return code, words.listed(said) if said else ""


def _value(program: Program, value: JSON, place: JSON) -> ValueReference:
    if not isinstance(value, dict):
        return program.reference(value, place)
    fields = place.get("fields", {}) if isinstance(place, dict) else {}
    references = {name: program.reference(part, fields.get(name)) for name, part in value.items()}
    code = f"{{{', '.join(f'{name!r}: {reference.code}' for name, reference in references.items())}}}"
    said = []
    for name, reference in references.items():
        if text := reference.words or (str(value[name]) if reference.literal else ""):
            said.append(_field_in_words(name, text))
    return ValueReference(code, " ".join(said))


def _field_in_words(name: str, text: str) -> str:
    """Return a field of an object: a name alone, a date with "on", any other with its label."""
    label = words.label_of(name)
    if "name" in label.split() or text.startswith("the "):
        return text
    return f"on {text}" if label.split()[-1] in ("date", "day") else f"({label} {text})"


def _fallback(write: Write, name: str, reference: ValueReference) -> str:
    """Return words for a value that is the only one at its place: where it is, because the tool may take others."""
    if reference.literal:
        return ""
    place = write.places.get(name)
    if not isinstance(place, dict) or "path" not in place:
        return ""
    *outer, last = place["path"] or [0]
    if last == KEY:
        return words.ONLY
    keys = [key for key in outer if isinstance(key, str) and not is_opaque(key)]
    return f"as in the {words.label_of(keys[-1])}" if keys and isinstance(last, str) else ""


def _of_one_record(write: Write) -> list[str]:
    """Return the arguments that are text fields of one record, if there are several, such as those of an address."""
    by_record: dict[str, list[str]] = {}
    for name, place in write.places.items():
        if isinstance(place, dict) and "path" in place and not is_opaque(write.arguments.get(name)):
            by_record.setdefault(canonical([place["call"], place["path"][:-1]]), []).append(name)
    names = max(by_record.values(), key=len, default=[])
    return [name for name in write.arguments if name in names] if len(names) >= RECORD_FIELDS else []


def _record_label(write: Write, name: str) -> str:
    keys = [key for key in write.places[name]["path"][:-1] if isinstance(key, str) and not is_opaque(key)]
    return words.label_of(keys[-1]) if keys else ""


# ---------------------------------------------------------------- failure cases


def _wrong_programs(
    knowledge: Knowledge, program: Program, writes: list[Write], draw: random.Random
) -> Iterator[tuple[str, str]]:
    """Yield (kind, program) of wrong programs, of different kinds in turn."""
    kinds = [
        list(_other_values(knowledge, program, writes, draw)),
        list(_one_more(knowledge, program, writes, draw)),
        list(_other_writes(knowledge, writes, draw)),
    ]
    while any(kinds):
        for kind in kinds:
            if kind:
                yield kind.pop(0)


def _left_out(program: Program) -> Iterator[tuple[str, str]]:
    if len(program.writes) > 1:
        for place in range(len(program.writes)):
            lines = [*program.lookups, *program.writes[:place], *program.writes[place + 1 :]]
            yield "leaves a write out", "\n".join(lines) + "\n"


def _altered(knowledge: Knowledge, program: Program, writes: list[Write]) -> Iterator[tuple[str, str]]:
    """Yield (argument, program) of programs in which one argument of one write has another value of its kind."""
    for place, write in enumerate(writes):
        for name, value in write.arguments.items():
            for other in _others_of(knowledge, value):
                altered = call_of(Write(write.tool, write.arguments | {name: other}, {}))
                lines = [*program.lookups, *program.writes[:place], altered, *program.writes[place + 1 :]]
                yield name, "\n".join(lines) + "\n"


def _others_of(knowledge: Knowledge, value: JSON) -> list[JSON]:
    """Return one or two other values of the same kind: near numbers, or values at the same places of a result."""
    if isinstance(value, int) and not isinstance(value, bool):
        return [value + 1, *([value - 1] if value > 0 else [])]
    if not isinstance(value, str) or not is_opaque(value):
        return []
    for seen in knowledge.memory.places(value):
        others = [other.value for other in knowledge.memory.by_link[seen.link][seen.call] if other.value != value]
        if others:
            return others[:2]
    return []


def _other_values(
    knowledge: Knowledge, program: Program, writes: list[Write], draw: random.Random
) -> Iterator[tuple[str, str]]:
    """Yield programs in which one write has other arguments: those with the fewest differences first."""
    options = []
    for place, write in enumerate(writes):
        for other in knowledge.writes:
            if other.tool == write.tool and other.arguments != write.arguments:
                differences = sum(other.arguments.get(name) != value for name, value in write.arguments.items())
                options.append((differences, draw.random(), place, other))
    for _, _, place, other in sorted(options, key=lambda option: option[:2])[:_WRONG_TRIED]:
        lines = [*program.writes[:place], call_of(other), *program.writes[place + 1 :]]
        yield "another value", "\n".join([*program.lookups, *lines]) + "\n"


def _one_more(
    knowledge: Knowledge, program: Program, writes: list[Write], draw: random.Random
) -> Iterator[tuple[str, str]]:
    others = [write for write in knowledge.writes if write not in writes]
    for write in draw.sample(others, min(len(others), _WRONG_TRIED)):
        yield "one write more", program.text + call_of(write) + "\n"


def _other_writes(knowledge: Knowledge, writes: list[Write], draw: random.Random) -> Iterator[tuple[str, str]]:
    others = [write for write in knowledge.writes if write.tool not in {each.tool for each in writes}]
    for write in draw.sample(others, min(len(others), _WRONG_TRIED)):
        yield "another write", call_of(write) + "\n"


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
