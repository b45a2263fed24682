"""A program as a list of steps, with one call each, and its text."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from sca_cli.interfaces import Tool
from sca_cli.methods.compose.operations import Operation
from sca_cli.records import JSON


@dataclass(frozen=True, slots=True)
class Literal:
    """An argument that is written in the program."""

    value: JSON


@dataclass(frozen=True, slots=True)
class Use:
    """An argument that is the result of an earlier step or a part of it; in `access`, @ means the result."""

    step: "Step"
    access: str = "@"


type Argument = Literal | Use


@dataclass(eq=False, slots=True)
class Step:
    """One call, or an operation on results."""

    tool: Tool
    arguments: dict[str, list[Argument]] = field(default_factory=dict)
    """Parameter → its argument; any number of them for `*args`."""

    def alone(self) -> "Step":
        """Return the step without the arguments that are results of other steps."""
        alone = Step(self.tool)
        for name, values in self.arguments.items():
            alone.arguments[name] = [argument for argument in values if isinstance(argument, Literal)]
        return alone

    def uses(self) -> Iterator[tuple[str, int, Use]]:
        """Yield (parameter, index, use) of every argument that is a result of another step."""
        for name, values in self.arguments.items():
            for place, argument in enumerate(values):
                if isinstance(argument, Use):
                    yield name, place, argument


def pairs(steps: Sequence[Step]) -> set[tuple[str, str]]:
    """Return the ordered pairs of tools that the program links.

    A pair is linked if the second call uses the result of the first, or if the calls are two successive writing calls.
    """
    calls = [step for step in steps if not isinstance(step.tool, Operation)]
    fed = {(use.step.tool.name, step.tool.name) for step in calls for _, _, use in step.uses()}
    writing = [step.tool.name for step in steps if step.tool.writes]
    return fed | set(pairwise(writing))


def copied(steps: Sequence[Step]) -> list[Step]:
    """Copy the steps, so that the copies can be changed. Uses in the copies refer to the copies."""
    copies = {
        id(step): Step(step.tool, {name: list(values) for name, values in step.arguments.items()}) for step in steps
    }
    for step in copies.values():
        for name, place, use in list(step.uses()):
            step.arguments[name][place] = Use(copies[id(use.step)], use.access)
    return list(copies.values())


def program(steps: Sequence[Step], *, answer: str = "@") -> str:
    """Return the steps as a Python program that ends with `final_answer`.

    Args:
        steps: in the order in which they run.
        answer: the answer as Python; @ means the last step's result.
    """
    names = {id(step): f"step{number}" for number, step in enumerate(steps, 1)}

    def text(argument: Argument) -> str:
        if isinstance(argument, Literal):
            return repr(argument.value)
        return argument.access.replace("@", names[id(argument.step)])

    lines = [f"{names[id(step)]} = {call_text(step, text)}" for step in steps]
    return "\n".join([*lines, f"final_answer({answer.replace('@', names[id(steps[-1])])})"])


def call_text(step: Step, text: Callable[[Argument], str], *, named: bool = False) -> str:
    """Return the call of a step, or its operation, as Python.

    Args:
        step: the step.
        text: returns the text of an argument.
        named: write all arguments with their names, except those of `*args`. Without it, names are written only where
            an optional argument before them is left out.
    """
    arguments = []
    for name in step.tool.parameters["properties"]:
        if name not in step.arguments:
            named = True  # an optional argument is left out: those after it need their names
            continue
        star = name == step.tool.variadic()
        arguments += [f"{name}={text(a)}" if named and not star else text(a) for a in step.arguments[name]]
    if isinstance(step.tool, Operation):
        return step.tool.text(arguments)
    return f"{step.tool.name}({', '.join(arguments)})"
