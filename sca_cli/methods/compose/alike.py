"""Programs that repeat the same calls with several values and combine the results into one answer.

Many real requests have this shape: the shortest of three texts, the sum of two duties. `composer` draws it rarely,
because it draws every pair of tools equally often. A branch is one call, or two calls of which the second uses the
result of the first. The pairs for branches of two calls are drawn from those that occur least so far.
"""

import random
from collections.abc import Sequence

from sca_cli.methods.compose import operations
from sca_cli.methods.compose.composer import Coverage, Unfit, grow, linked, step_of
from sca_cli.methods.compose.links import Link, parts
from sca_cli.methods.compose.material import Material
from sca_cli.methods.compose.steps import Step, Use, program
from sca_cli.records import Exploration

_MOST_BRANCHES, _DEEPEST = 4, 2
"""Most branches in one program, and most calls in one branch; chosen by hand, like the shares below."""
_OPERATION = 0.4
"""Share of the programs in which an operation combines the results; in the others a call does."""
_OTHER = 0.25
"""Share of the branches after the first for which other tools are drawn."""

type _Tools = Link | str
"""The tools of a branch: two that are linked, or the name of one."""


def composed(
    material: Material, links: Sequence[Link], world: Exploration, size: int, coverage: Coverage, draw: random.Random
) -> list[Step]:
    """Draw a program of `size` calls: branches of one or two calls, and a step that combines their results.

    Further calls follow if the branches and the combining call are fewer than `size`. An operation is no call.

    Args:
        material: the calls that worked in one environment.
        links: ways in which the result of one tool can be an argument of another.
        world: the world in which the program will run.
        size: number of calls, at least 2.
        coverage: how often each pair of tools occurs so far.
        draw: the random numbers.

    Raises:
        Unfit: no step can combine the results, or a needed value has no recorded value like it.
    """
    # of two calls, both are needed for branches: only an operation can combine them
    operation = size == 2 or draw.random() < _OPERATION
    shapes = [
        (branch_count, branch_calls)
        for branch_count in range(2, _MOST_BRANCHES + 1)
        for branch_calls in range(1, _DEEPEST + 1)
        if (branch_count * branch_calls == size if operation else branch_count * branch_calls < size)
    ]
    try:
        branch_count, branch_calls = draw.choice(shapes)
        plans, value_type = _branch_plans(material, links, branch_count, branch_calls, coverage, draw)
        branches = [_branch(material, tools, world, draw) for tools, _ in plans]
        if len({program(branch) for branch in branches}) < branch_count:
            raise Unfit("the same twice")
        results = [Use(branch[-1], access) for branch, (_, access) in zip(branches, plans, strict=True)]
        steps = [step for branch in branches for step in branch]
        if operation:
            return [*steps, _combined(results, value_type, draw)]
        steps.append(_combining_call(material, links, world, results, draw))
    except IndexError as error:
        raise Unfit("nothing to put together") from error
    while len(steps) < size:
        grow(steps, material, links, world, coverage, draw)
    return steps


def _branch_plans(
    material: Material, links: Sequence[Link], count: int, calls: int, coverage: Coverage, draw: random.Random
) -> tuple[list[tuple[_Tools, str]], type]:
    """Draw (tools, part of the result to use) for each branch; return them and the type that all parts have."""
    tools = _branch_tools(material, links, calls, coverage, draw)
    access, value_type = _used_part(material, tools, draw)
    plans = [(tools, access)]
    while len(plans) < count:
        if draw.random() < _OTHER:
            other_tools = _branch_tools(material, links, calls, coverage, draw)
            other_access, other_type = _used_part(material, other_tools, draw)
            if other_type is value_type:
                tools, access = other_tools, other_access
        plans.append((tools, access))
    return plans, value_type


def _branch_tools(
    material: Material, links: Sequence[Link], calls: int, coverage: Coverage, draw: random.Random
) -> _Tools:
    """Draw the reading tools of a branch of one or two calls."""
    reading = [name for name, tool in material.tools.items() if not tool.writes]
    if calls == 1:
        return draw.choice(reading)
    fitting = [link for link in links if link.parameter and link.first in reading and link.second in reading]
    if not fitting:
        raise Unfit("nothing to put together")
    return coverage.draw(fitting, draw)


def _used_part(material: Material, tools: _Tools, draw: random.Random) -> tuple[str, type]:
    """Draw the part of a branch's result to use; return its access and its type, `float` or `str`."""
    tool = material.tools[tools if isinstance(tools, str) else tools.second]
    scalar_type = {"int": float, "float": float, "str": str}.get(tool.returns)
    if scalar_type:
        return "@", scalar_type
    inside = [(access, value) for result in material.results(tool.name) for access, value in parts(result)]
    access, value = draw.choice([(access, value) for access, value in inside if _is_number_or_text(value)])
    return access, str if isinstance(value, str) else float


def _is_number_or_text(value: object) -> bool:
    return isinstance(value, str | int | float) and not isinstance(value, bool)


def _branch(material: Material, tools: _Tools, world: Exploration, draw: random.Random) -> list[Step]:
    if isinstance(tools, str):
        return [step_of(material, material.tools[tools], world, draw)]
    return linked(material, tools, world, draw)


def _combined(results: Sequence[Use], value_type: type, draw: random.Random) -> Step:
    operation = operations.draw_one(value_type, len(results), draw)
    return Step(operation, {name: [use] for name, use in zip(operation.parameters["properties"], results, strict=True)})


def _combining_call(
    material: Material, links: Sequence[Link], world: Exploration, results: Sequence[Use], draw: random.Random
) -> Step:
    """Draw a tool with a `*args` parameter and return a call of it with these results."""
    first = results[0]
    fitting = [
        link
        for link in links
        if (link.first, link.access) == (first.step.tool.name, first.access)
        and link.parameter
        and link.parameter == material.tools[link.second].variadic()
    ]
    link = draw.choice(fitting)
    step = step_of(material, material.tools[link.second], world, draw)
    step.arguments[link.parameter] = list(results)
    return step
