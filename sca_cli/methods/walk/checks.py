"""The check of a task that changes the state: the fields that changed, and a few neighbours that must not change."""

from collections import defaultdict
from collections.abc import Iterator, Sequence

from sca_cli.analysis.calls import call_text
from sca_cli.methods.walk.knowledge import Knowledge, Write
from sca_cli.records import JSON, Observation
from sca_cli.sandbox import Session
from sca_cli.walk.memory import canonical, has_data_keys

# All numbers below are chosen by hand.
_READ_AGAIN = 120
"""Look-ups that are made again after the solution."""
_VALUE_CHARS = 900
"""Longest value that a check compares, as Python text."""
_SAME_CHARS = 200
"""Longest value of a changed record that a check compares although it did not change, as Python text."""
_MOST_READS = 4
"""Changed results that a check compares."""
_NEIGHBOURS = 2
"""Results of the same tools that must not change."""

_HEAD = """\
def same(value, expected):
    if isinstance(value, list) and isinstance(expected, list) and all(isinstance(x, str) for x in value + expected):
        return sorted(value) == sorted(expected)
    return value == expected
{same_records}

def evaluate({answer}):
"""
_SAME_RECORDS = """\


def same_records(value, expected):
    if not isinstance(value, list) or len(value) != len(expected):
        return False
    return all(value.count(x) == expected.count(x) for x in expected)
"""
"""Compares lists without order: a customer who names several people does not say in which places they are."""
_NUMBER_ANSWER = """\
    try:
        if not abs(float(str(answer).strip().removesuffix('.')) - {answer!r}) <= 1e-6:
            return False
    except ValueError:
        return False
"""
_TEXT_ANSWER = """\
    text = str(answer).strip().lower().removesuffix('.').strip()
    if {{'true': 'yes', 'false': 'no'}}.get(text, text) != {answer!r}:
        return False
"""
_FIELDS = """\
    record = {call}
    if not all(same(record.get(key), value) for key, value in {fields!r}.items()):
        return False
"""
_RECORDS = """\
    if not same_records(record.get({name!r}), {value!r}):
        return False
"""
_WHOLE = """\
    if not same({call}, {value!r}):
        return False
"""


class NothingChanged(ValueError):
    """No look-up shows what the solution changed, or the change is too large for a check."""


def state_check(knowledge: Knowledge, session: Session, answer: JSON = None, writes: Sequence[Write] = ()) -> str:
    """Return an `evaluate` that is True for the state of a session, in the fields that the solution changed.

    Args:
        knowledge: the look-ups, with their results before the solution.
        session: the world after the solution.
        answer: the right answer, a number or a text; None if the task asks for none.
        writes: of the solution; lists of objects that they give are compared without order.

    Raises:
        NothingChanged: no look-up shows a change that a check can compare.
    """
    after = {number: _again(session, call) for number, call in _read_again(knowledge)}
    reads = knowledge.reads
    parts: list[str] = []
    changed_fields: dict[str, set[str]] = defaultdict(set)
    changed = [number for number, result in after.items() if _unordered(result) != _unordered(reads[number].result)]
    given = [_unordered(value) for write in writes for value in write.arguments.values() if _are_records(value)]
    for number in changed:
        before, now = reads[number].result, after[number]
        if _has_fields(before) and _has_fields(now):
            fields = _fields_after(before, now)
            names = {name for name in fields if _unordered(before.get(name)) != _unordered(now.get(name))}
            changed_fields[reads[number].tool] |= names
            if names:
                lists = {name: fields.pop(name) for name in sorted(names) if _unordered(fields[name]) in given}
                part = _FIELDS.format(call=_text(reads[number]), fields=fields)
                parts.append(part + "".join(_RECORDS.format(name=name, value=lists[name]) for name in lists))
        elif len(repr(now)) <= _VALUE_CHARS:
            changed_fields[reads[number].tool] |= set()
            parts.append(_WHOLE.format(call=_text(reads[number]), value=now))
    parts = parts[:_MOST_READS]
    if not parts:
        raise NothingChanged("no look-up shows a change")
    parts += _guards(knowledge, after, changed, changed_fields)
    return _evaluate(parts, answer)


def unchanged_check(knowledge: Knowledge, calls: Sequence[int], answer: JSON) -> str:
    """Return an `evaluate` that is True if the results of look-ups are as before, for the right answer.

    Args:
        knowledge: the look-ups.
        calls: numbers of look-ups that return an object; others of the same tools are compared too.
        answer: the right answer.

    Raises:
        NothingChanged: no result is small enough for a check.
    """
    tools = {knowledge.reads[call].tool for call in calls}
    others = [call for call, read in knowledge.reads.items() if read.tool in tools and call not in calls]
    parts = []
    for call in [*calls, *others[:_NEIGHBOURS]]:
        result = knowledge.reads[call].result
        fields = _fields_after({}, result) if _has_fields(result) else {}
        parts += [_FIELDS.format(call=_text(knowledge.reads[call]), fields=fields)] if fields else []
    if not parts:
        raise NothingChanged("no look-up shows a state that a check can compare")
    return _evaluate(parts, answer)


def _evaluate(parts: Sequence[str], answer: JSON) -> str:
    body = "".join(parts)
    same_records = _SAME_RECORDS if "same_records(" in body else ""
    if answer is None:
        return _HEAD.format(answer="", same_records=same_records) + body + "    return True\n"
    judged = answer_check(answer)
    return _HEAD.format(answer="answer", same_records=same_records) + body + judged + "    return True\n"


def answer_check(answer: JSON) -> str:
    """Return the condition on an answer: a text without case and final full stop, a number also as text."""
    if not isinstance(answer, str):
        return _NUMBER_ANSWER.format(answer=answer)
    return _TEXT_ANSWER.format(answer=answer.strip().lower().removesuffix(".").strip())


def _are_records(value: JSON) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(item, dict) for item in value)


def _unordered(value: JSON) -> str:
    """Return a value as JSON text that is the same for each order of its lists."""
    if isinstance(value, list):
        return f"[{','.join(sorted(map(_unordered, value)))}]"
    if isinstance(value, dict):
        return f"{{{','.join(f'{canonical(key)}:{_unordered(value[key])}' for key in sorted(value))}}}"
    return canonical(value)


def _fields_after(before: dict[str, JSON], now: dict[str, JSON]) -> dict[str, JSON]:
    """Return the fields of a changed record: those that changed, and short ones that another write could change."""
    fields = {}
    for name in {**before, **now}:
        most = _SAME_CHARS if before.get(name) == now.get(name) else _VALUE_CHARS
        if len(repr(now.get(name))) <= most:
            fields[name] = now.get(name)
    return fields


def _guards(
    knowledge: Knowledge, after: dict[int, JSON], changed: list[int], changed_fields: dict[str, set[str]]
) -> list[str]:
    """Return conditions on results of the same tools that did not change."""
    parts: list[str] = []
    for number, now in after.items():
        call = knowledge.reads[number]
        if number in changed or call.tool not in changed_fields or len(parts) == _NEIGHBOURS:
            continue
        if _has_fields(now):
            names = sorted(changed_fields[call.tool])
            fields = {name: now.get(name) for name in names if len(repr(now.get(name))) <= _VALUE_CHARS}
            if fields:
                parts.append(_FIELDS.format(call=_text(call), fields=fields))
        elif len(repr(now)) <= _VALUE_CHARS:
            parts.append(_WHOLE.format(call=_text(call), value=now))
    return parts


def _read_again(knowledge: Knowledge) -> Iterator[tuple[int, Observation]]:
    """Yield the look-ups to make again: those with the smallest results first, because records are small."""
    order = sorted(knowledge.reads, key=lambda number: (len(repr(knowledge.reads[number].result)) // 2000, number))
    for number in order[:_READ_AGAIN]:
        yield number, knowledge.reads[number]


def _again(session: Session, call: Observation) -> JSON:
    again = session.call(call.tool, call.args, call.kwargs)
    return None if again.error else again.result


def _has_fields(result: JSON) -> bool:
    return isinstance(result, dict) and not has_data_keys(result)


def _text(call: Observation) -> str:
    return call_text(call.tool, call.args, call.kwargs)
