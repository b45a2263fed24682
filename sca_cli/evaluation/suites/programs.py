"""Write checks, solutions and failure cases as Python source, from the effect of reference actions on a state.

Such a check reads only the records that the reference actions changed or named, and the records linked to them. It does
not notice other changes, nor changes of records that no tool reads. Scores therefore compare whole states instead.
"""

import json
from collections.abc import Iterator, Mapping, Sequence

from sca_cli.analysis.calls import call_text
from sca_cli.evaluation.suites.listing import CollectionReader
from sca_cli.records import JSON, Observation

_CHECK = """\
import json

OUTPUTS = {outputs}
EXPECTED = [
{expected}]


def without_nulls(value):
    if isinstance(value, dict):
        return {{key: without_nulls(item) for key, item in value.items() if item is not None}}
    return [without_nulls(item) for item in value] if isinstance(value, list) else value


def read(tool, key):
    try:
        return without_nulls(tool(key))
    except ToolError:
        return None


def evaluate(answer):
    said = answer if isinstance(answer, str) else json.dumps(answer, ensure_ascii=False)
    said = said.lower().replace(",", "")
    if not all(output.lower() in said for output in OUTPUTS):
        return False
    return all(read(tool, key) == record for tool, key, record in EXPECTED)
"""


def without_nulls(value: JSON) -> JSON:
    """Return a value without fields that are null, because some tools leave a field out where others set it to null."""
    if isinstance(value, dict):
        return {key: without_nulls(item) for key, item in value.items() if item is not None}
    return [without_nulls(item) for item in value] if isinstance(value, list) else value


def answer_text(answer: JSON) -> str:
    """Return an answer as the text in which required outputs are searched: a string unchanged, other values as JSON."""
    return answer if isinstance(answer, str) else json.dumps(answer, ensure_ascii=False)


def program(calls: Sequence[Observation], outputs: Sequence[str]) -> str:
    """Return a program that makes calls and answers with the outputs.

    Args:
        calls: the calls, with results. A call that was refused is wrapped in `try`, because it may be refused again.
        outputs: texts that the answer joins with "; ". If there are none, the answer is None.
    """
    lines = [_call(call) for call in calls]
    return "\n".join([*lines, f"final_answer({'; '.join(outputs) if outputs else None!r})"])


def _call(call: Observation) -> str:
    text = call_text(call.tool, call.args, call.kwargs)
    return f"try:\n    {text}\nexcept ToolError:\n    pass" if call.error else text


def state_check(
    before: JSON,
    after: JSON,
    calls: Sequence[Observation],
    readers: Mapping[str, CollectionReader],
    outputs: Sequence[str],
) -> str:
    """Return the source of an `evaluate(answer)` that checks the changed records and the texts in the answer.

    Args:
        before: the state before the calls.
        after: the state after the calls, which the records must equal.
        calls: the reference calls, with results.
        readers: collection of the state → how the check reads it.
        outputs: texts that the answer must contain.
    """
    keys = sorted(_compared(before, after, calls, readers))
    lines = [f"    ({readers[kind].tool}, {key!r}, {without_nulls(after[kind].get(key))!r}),\n" for kind, key in keys]
    return _CHECK.format(outputs=repr(list(outputs)), expected="".join(lines))


def _compared(
    before: JSON, after: JSON, calls: Sequence[Observation], readers: Mapping[str, CollectionReader]
) -> set[tuple[str, str]]:
    """Return (collection, key) of the records that the calls changed or named, and of all records linked to them."""
    names = {text for call in calls for text in (*call.kwargs.values(), call.result) if isinstance(text, str)}
    todo = {
        (kind, key)
        for kind in readers
        for key in before[kind].keys() | after[kind].keys()
        if key in names or before[kind].get(key) != after[kind].get(key)
    }
    compared: set[tuple[str, str]] = set()
    while todo:
        compared |= todo
        todo = {linked for kind, key in todo for linked in _linked(after[kind].get(key), readers[kind])} - compared
    return compared


def _linked(record: JSON, reader: CollectionReader) -> Iterator[tuple[str, str]]:
    for name, kind in reader.links.items():
        value = (record or {}).get(name, [])
        yield from ((kind, key) for key in ([value] if isinstance(value, str) else value))
