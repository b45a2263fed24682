"""What a check demands, read from its source: its conditions weakened one at a time, and the literals it compares with.

Text only; nothing is run here.
"""

import ast
import copy
import re
from collections.abc import Iterator

from sca_cli.analysis import source, text_values
from sca_cli.records import JSON

_GUARDS = {"isinstance", "hasattr", "callable", "type", "len"}
"""Calls of conditions about the answer's shape, which no failure case needs to try."""

_FREE_NUMBERS = {-1, 0, 1, 2}
"""Numbers that code needs without anybody having told them."""

_SYNTAX = re.compile(r"\\.|\[[^\]]*\]|\(\?\w*|\{[\d,]*\}")
"""What stands for itself in no regular expression: escapes, sets of characters, heads of groups, counts."""

_FIELD = re.compile(r"%[-+ 0#]*\d*(?:\.\d+)?[a-z]")


def weakened(program: str) -> Iterator[tuple[str, str]]:
    """Yield (condition, variant of the check in which it always holds) for each condition of a check.

    A condition is a comparison, or an operand of `and`, which does not merely look at the answer's shape. Where it is
    negated, the variant may refuse instead of accept: whoever runs them keeps those that accept the solution. `all`
    becomes `any`.

    Raises:
        NotPython: it does not parse.
    """
    tree = source.parse(program)
    seen = {ast.unparse(tree)}
    for index, node in enumerate(_conditions(tree)):
        for held in (ast.Constant(True), ast.Constant(False)):
            replacement = ast.Name("any", ast.Load()) if isinstance(node, ast.Name) else held
            variant = copy.deepcopy(tree)
            _replace(variant, _conditions(variant)[index], replacement)
            text = ast.unparse(ast.fix_missing_locations(variant))
            if text not in seen:
                seen.add(text)
                yield ast.unparse(node), text


def _conditions(tree: ast.Module) -> list[ast.expr]:
    found: list[ast.expr] = []
    for node in ast.walk(tree):
        operands = node.values if isinstance(node, ast.BoolOp) else [node]
        for operand in operands:
            is_compare = isinstance(operand, ast.Compare)
            is_operand = isinstance(node, ast.BoolOp) and not isinstance(operand, ast.BoolOp)
            is_all = isinstance(operand, ast.Name) and operand.id == "all"
            if (is_compare or is_operand or is_all) and not _is_guard(operand) and operand not in found:
                found.append(operand)  # type: ignore[arg-type]  # all three are expressions
    return found


def _is_guard(node: ast.AST) -> bool:
    """Tell whether a condition only looks at the shape of what it is given."""
    if isinstance(node, ast.UnaryOp):
        return _is_guard(node.operand)
    if isinstance(node, ast.Name):
        return node.id != "all"
    if isinstance(node, ast.Call):
        return isinstance(node.func, ast.Name) and node.func.id in _GUARDS
    if isinstance(node, ast.Compare):
        sides = [node.left, *node.comparators]
        return any(isinstance(side, ast.Constant) and side.value is None for side in sides) or any(
            isinstance(side, ast.Call) and _is_guard(side) for side in sides
        )
    return isinstance(node, ast.Constant)


def _replace(tree: ast.Module, old: ast.expr, new: ast.expr) -> None:
    for parent in ast.walk(tree):
        for name, value in ast.iter_fields(parent):
            if value is old:
                setattr(parent, name, new)
            elif isinstance(value, list):
                value[:] = [new if item is old else item for item in value]


def demanded(program: str) -> list[JSON]:
    """Return the strings and numbers that a check or solution cannot know of itself.

    Left out are what every program may bring along: indices and keys, tolerances, digits to round to, 0, 1 and 2,
    empty and one-character strings, the arguments of string methods that clean up. Of a regular expression and of a
    template for `%` only the words count.

    Raises:
        NotPython: it does not parse.
    """
    tree = _Folded().visit(source.parse(program))
    for node in ast.walk(tree):
        if isinstance(node, ast.For | ast.comprehension) and isinstance(node.iter, ast.Constant):
            node.iter = ast.Constant(None)  # an alphabet
        elif isinstance(node, ast.Compare) and any(_is_length(side) for side in [node.left, *node.comparators]):
            node.comparators = [side for side in node.comparators if not isinstance(side, ast.Constant)]
        elif isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mod) and _is_text(node.left):
            node.left = _in_words(node.left, _FIELD)
        elif isinstance(node, ast.Call):
            if _is_of_re(node.func) and node.args and _is_text(node.args[0]):
                node.args[0] = _in_words(node.args[0], _SYNTAX)
            name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            if name in {"round", "range", "get", "strip", "replace", "split", "join", "isclose", "getattr", "pop"}:
                node.args = [
                    ast.Constant(None) if isinstance(arg, ast.Constant) and (at or name != "round") else arg
                    for at, arg in enumerate(node.args)
                ]
                node.keywords = []
    return [value for value in source.literals(tree) if not _is_free(value)]


def _is_text(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, str)


def _is_of_re(function: ast.expr) -> bool:
    return isinstance(function, ast.Attribute) and isinstance(function.value, ast.Name) and function.value.id == "re"


def _in_words(node: ast.expr, without: re.Pattern[str]) -> ast.expr:
    """Return a tuple of the words of three letters or more that are left of a text."""
    assert isinstance(node, ast.Constant) and isinstance(node.value, str)
    words = re.findall(r"[^\W\d_]{3,}", without.sub(" ", node.value))
    return ast.Tuple([ast.Constant(word) for word in words], ast.Load())


def _is_length(node: ast.expr) -> bool:
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "len"


class _Folded(ast.NodeTransformer):
    """Put sums and differences of numbers in their place: how much there was, and what was added, is one figure."""

    def visit_BinOp(self, node: ast.BinOp) -> ast.expr:
        self.generic_visit(node)
        left, right = node.left, node.right
        if isinstance(left, ast.Constant) and isinstance(right, ast.Constant):
            one, other = left.value, right.value
            if isinstance(one, int | float) and isinstance(other, int | float):
                if isinstance(one, float) or isinstance(other, float):
                    one, other = text_values.as_float(one), text_values.as_float(other)
                if isinstance(node.op, ast.Add):
                    return ast.Constant(one + other)
                if isinstance(node.op, ast.Sub):
                    return ast.Constant(one - other)
        return node


def _is_free(value: JSON) -> bool:
    if isinstance(value, str):
        return len(value.strip()) <= 1
    assert isinstance(value, int | float)
    return value in _FREE_NUMBERS or 0 < abs(value) <= 0.1
