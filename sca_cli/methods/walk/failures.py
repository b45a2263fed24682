"""Programs that a check must reject: other values, a write left out, one write more, another write."""

import random
from collections.abc import Iterator

from sca_cli.methods.walk.knowledge import Knowledge, Write, is_opaque
from sca_cli.methods.walk.lookups import Program, call_of
from sca_cli.records import JSON

_WRONG_TRIED = 14
"""Programs of one kind that are tried. Chosen by hand."""


def wrong_programs(
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


def left_out(program: Program) -> Iterator[tuple[str, str]]:
    if len(program.writes) > 1:
        for place in range(len(program.writes)):
            lines = [*program.lookups, *program.writes[:place], *program.writes[place + 1 :]]
            yield "leaves a write out", "\n".join(lines) + "\n"


def altered(knowledge: Knowledge, program: Program, writes: list[Write]) -> Iterator[tuple[str, str]]:
    """Yield (argument, program) of programs in which one argument of one write has another value of its kind."""
    for place, write in enumerate(writes):
        for name, value in write.arguments.items():
            for other in _others_of(knowledge, value):
                text = call_of(Write(write.tool, write.arguments | {name: other}, {}))
                lines = [*program.lookups, *program.writes[:place], text, *program.writes[place + 1 :]]
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
