"""What a task does, as a key that its wording, its names and its layout do not change."""

import ast

import msgspec

from sca_cli import source
from sca_cli.records import Task

type Key = tuple[str, str, bytes]
"""Environment, masked solution, calls made."""


def key_of(task: Task) -> Key:
    """Return the same key for tasks whose solutions do the same.

    That is: the same environment, the same program once its names and literals are masked and unused steps are left
    out, and the same calls with the same arguments. The state's seed does not count.

    Args:
        task: with a verdict, whose first check is the solution's.
    """
    calls = task.verdict.checks[0].calls if task.verdict and task.verdict.checks else []
    made = msgspec.json.encode([[call.tool, call.args, call.kwargs] for call in calls])
    return str(task.env), masked(task.solution), made


def masked(program: str) -> str:
    """Return a program with its own names numbered, its literals masked and its unused steps left out.

    A text that is no program is returned as it is.
    """
    try:
        tree = source.without_unused_steps(source.parse(program))
    except source.NotPython:
        return program
    names: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.setdefault(node.id, f"name{len(names)}")
    for node in ast.walk(tree):
        if isinstance(node, ast.Name):
            node.id = names.get(node.id, node.id)
        elif isinstance(node, ast.Constant):
            node.value = f"<{type(node.value).__name__}>"
    return ast.unparse(tree)
