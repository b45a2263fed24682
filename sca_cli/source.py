"""Model-written Python as text: parsed, searched and mutated here, never run. Running it is the sandbox's business."""

import ast
import copy
import random
import warnings
from collections.abc import Iterator

from sca_cli.records import JSON

MAX_CHARS = 20_000
"""A longer program is refused unread: a parser is code too."""


class NotPython(ValueError):
    """A text is not a Python program."""


def parse(program: str) -> ast.Module:
    """Return the syntax tree.

    Raises:
        NotPython: it does not parse, is too long or nested too deeply.
    """
    if len(program) > MAX_CHARS:
        raise NotPython(f"longer than {MAX_CHARS} characters")
    try:
        with warnings.catch_warnings(action="ignore"):
            return ast.parse(program)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise NotPython(str(error)) from error


def literals(tree: ast.Module) -> list[JSON]:
    """Return the numbers and strings a program brings along, in order, without indices, booleans and docstrings."""
    finder = _Literals()
    finder.visit(tree)
    return finder.found


class _Literals(ast.NodeVisitor):
    def __init__(self) -> None:
        self.found: list[JSON] = []

    def visit_Subscript(self, node: ast.Subscript) -> None:
        self.visit(node.value)

    def visit_Expr(self, node: ast.Expr) -> None:
        if not isinstance(node.value, ast.Constant):
            self.generic_visit(node)

    def visit_UnaryOp(self, node: ast.UnaryOp) -> None:
        if isinstance(node.op, ast.USub) and isinstance(node.operand, ast.Constant) and _is_number(node.operand.value):
            self._add(-node.operand.value)  # type: ignore[operator]
        else:
            self.generic_visit(node)

    def visit_Constant(self, node: ast.Constant) -> None:
        if isinstance(node.value, str) or _is_number(node.value):
            self._add(node.value)

    def _add(self, value: JSON) -> None:
        if value not in self.found:
            self.found.append(value)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def mutants(program: str, seed: int) -> Iterator[str]:
    """Yield wrong variants of a program in a drawn order: another constant, two constants swapped, a step left out.

    Raises:
        NotPython: it does not parse.
    """
    tree = parse(program)
    variants = [*_other_constants(tree), *_swapped_arguments(tree), *_skipped_steps(tree)]
    random.Random(seed).shuffle(variants)
    seen = {ast.unparse(tree)}
    for variant in variants:
        text = ast.unparse(ast.fix_missing_locations(variant))
        if text not in seen:
            seen.add(text)
            yield text


def _constants(tree: ast.Module) -> list[ast.Constant]:
    return [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and (_is_number(node.value) or (isinstance(node.value, str) and node.value))
    ]


def _other_constants(tree: ast.Module) -> Iterator[ast.Module]:
    for index, node in enumerate(_constants(tree)):
        value = node.value
        if isinstance(value, str):
            changes: list[JSON] = [value[::-1]] if value != value[::-1] else []
        elif isinstance(value, int):
            changes = [value + 1, value * 2 + 1]
        else:
            changes = [round(float(value) * 1.1 + 1, 4), round(float(value) / 2, 4)]  # type: ignore[arg-type]
        for change in changes:
            variant = copy.deepcopy(tree)
            _constants(variant)[index].value = change
            yield variant


def _calls(tree: ast.Module) -> list[ast.Call]:
    return [node for node in ast.walk(tree) if isinstance(node, ast.Call)]


def _swapped_arguments(tree: ast.Module) -> Iterator[ast.Module]:
    for index, node in enumerate(_calls(tree)):
        if len(node.args) >= 2:
            variant = copy.deepcopy(tree)
            arguments = _calls(variant)[index].args
            arguments[0], arguments[1] = arguments[1], arguments[0]
            yield variant


def _skipped_steps(tree: ast.Module) -> Iterator[ast.Module]:
    """Replace a nested or assigned call by its first argument: the step is left out."""
    for index, node in enumerate(_calls(tree)):
        if node.args and not (isinstance(node.func, ast.Name) and node.func.id == "final_answer"):
            variant = copy.deepcopy(tree)
            target = _calls(variant)[index]
            first = target.args[0]
            if isinstance(first, ast.Starred):
                continue
            _Replace(target, first).visit(variant)
            yield variant


class _Replace(ast.NodeTransformer):
    def __init__(self, old: ast.AST, new: ast.AST) -> None:
        self._old, self._new = old, new

    def visit(self, node: ast.AST) -> ast.AST:
        if node is self._old:
            return self._new
        self.generic_visit(node)
        return node
