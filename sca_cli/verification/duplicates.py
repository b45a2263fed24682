"""Find duplicates: compare tasks by what their solutions do, whatever their wording, variable names and layout."""

import ast
import hashlib
from typing import Any

import msgspec

from sca_cli.analysis import source
from sca_cli.records import Finding, Task


class KeptTasks:
    """The programs and calls of the tasks that were kept so far."""

    def __init__(self) -> None:
        self._shapes: set[bytes] = set()
        self._shapes_with_calls: set[bytes] = set()
        self._calls: set[bytes] = set()

    def compare(self, task: Task) -> list[Finding]:
        """Compare a task that passed all other stages with the kept tasks.

        A task is a duplicate, and rejected, if its solution is the same program as that of a kept task, makes the same
        calls with the same arguments, and gives the same answer. Programs are compared in their masked form (see
        `masked`). A task is only reported if the programs are the same and the arguments or the answers differ: such
        tasks are different, but many of them teach little. It is also only reported if the calls are the same and the
        programs differ, because the programs may use the results differently. The seed of the state is not compared.

        Returns:
            At most one finding.
        """
        shape, shape_with_calls, calls = _keys(task)
        if shape_with_calls in self._shapes_with_calls:
            return [Finding("duplicate", "an earlier task is solved by the same calls")]
        if shape in self._shapes:
            return [
                Finding("duplicate", "an earlier task is solved by the same program with other values", rejects=False)
            ]
        if calls in self._calls:
            return [Finding("duplicate", "an earlier task makes the same calls", rejects=False)]
        return []

    def add(self, task: Task) -> None:
        """Add a task, if it was kept."""
        if task.kept:
            shape, shape_with_calls, calls = _keys(task)
            self._shapes.add(shape)
            self._shapes_with_calls.add(shape_with_calls)
            self._calls.add(calls)


def _keys(task: Task) -> tuple[bytes, bytes, bytes]:
    """Return digests of a task's masked program, of that program with calls and answer, and of the calls alone."""
    observations = (task.verdict and task.verdict.solution_calls()) or []
    answer = task.verdict.checks[0].answer if task.verdict and task.verdict.checks else None
    shape = [str(task.env), masked(task.solution)]
    calls = [call.asked() for call in observations]
    return _digest(shape), _digest([*shape, calls, answer]), _digest([str(task.env), calls])


def _digest(value: list[Any]) -> bytes:
    return hashlib.sha256(msgspec.json.encode(value)).digest()[:16]


def masked(program: str) -> str:
    """Return a program with numbered variable names, masked literals, and without unused steps: its shape.

    A text that does not parse is returned unchanged.
    """
    try:
        tree = source.without_unused_steps(source.parse(program))
    except source.NotPython:
        return program
    names: dict[str, str] = {}
    for node in ast.walk(tree):
        if bound := _bound_name(node):
            names.setdefault(bound, f"name{len(names)}")
    for node in ast.walk(tree):
        if isinstance(node, ast.Name):
            node.id = names.get(node.id, node.id)
        elif isinstance(node, ast.FunctionDef):
            node.name = names[node.name]
        elif isinstance(node, ast.arg):
            node.arg = names[node.arg]
        elif isinstance(node, ast.Constant):
            node.value = f"<{type(node.value).__name__}>"
    return ast.unparse(tree)


def _bound_name(node: ast.AST) -> str:
    """Return the name that a node binds, or ""."""
    match node:
        case ast.Name(ctx=ast.Store()):
            return node.id
        case ast.FunctionDef():
            return node.name
        case ast.arg():
            return node.arg
    return ""
