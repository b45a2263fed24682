"""What a task does, as a key that its wording, its names and its layout do not change."""

import ast
import hashlib
from typing import Any

import msgspec

from sca_cli.analysis import source
from sca_cli.records import Finding, Task


class Known:
    """What the tasks that were kept so far do."""

    def __init__(self) -> None:
        self._done: set[bytes] = set()
        self._shapes: set[bytes] = set()
        self._called: set[bytes] = set()

    def compare(self, task: Task) -> list[Finding]:
        """Return what there is against a task that passed everything else.

        The same calls with the same arguments from the same program, once names and literals are masked and unused
        steps left out, make a duplicate. With other arguments it is only reported: re-drawn literals are other
        tasks, and many of one shape teach little; so are the same calls from another program, which may make
        something else of what they return. The state's seed does not count.
        """
        shape, done, called = _keys(task)
        if done in self._done:
            return [Finding("duplicate", "an earlier task is solved by the same calls")]
        if shape in self._shapes:
            return [
                Finding("duplicate", "an earlier task is solved by the same program with other values", rejects=False)
            ]
        if called in self._called:
            return [Finding("duplicate", "an earlier task makes the same calls", rejects=False)]
        return []

    def add(self, task: Task) -> None:
        """Take in a task, if it has passed."""
        if task.kept:
            shape, done, called = _keys(task)
            self._shapes.add(shape)
            self._done.add(done)
            self._called.add(called)


def _keys(task: Task) -> tuple[bytes, bytes, bytes]:
    calls = (task.verdict and task.verdict.solution_calls()) or []
    shape = [str(task.env), masked(task.solution)]
    asked = [call.asked() for call in calls]
    return _digest(shape), _digest([*shape, asked]), _digest([str(task.env), asked])


def _digest(value: list[Any]) -> bytes:
    return hashlib.sha256(msgspec.json.encode(value)).digest()[:16]


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
        if own := _bound(node):
            names.setdefault(own, f"name{len(names)}")
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


def _bound(node: ast.AST) -> str:
    """Return the name that a node binds, or ""."""
    match node:
        case ast.Name(ctx=ast.Store()):
            return node.id
        case ast.FunctionDef():
            return node.name
        case ast.arg():
            return node.arg
    return ""
