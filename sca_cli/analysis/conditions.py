"""Read what a check demands from its source: weaken one condition at a time, and list the literals it compares with.

Nothing is run here.
"""

import ast
import copy
import re
from collections.abc import Iterator

from sca_cli.analysis import source, text_values
from sca_cli.records import JSON

_GUARDS = {"isinstance", "hasattr", "callable", "type", "len"}
"""Functions that test only the shape of the answer. No failure case has to try such a condition."""

_FREE_NUMBERS = {-1, 0, 1, 2}
"""Numbers that a program may use although the task does not state them. Chosen by hand; not measured."""

_REGEX_SYNTAX = re.compile(r"\\.|\[[^\]]*\]|\(\?\w*|\{[\d,]*\}")
"""Parts of a regular expression that do not match themselves: escapes, character sets, group heads, counts."""

_PERCENT_FIELD = re.compile(r"%[-+ 0#]*\d*(?:\.\d+)?[a-z]")
"""A field of a template for the `%` operator."""


def weakened(program: str) -> Iterator[tuple[str, str]]:
    """Yield each condition of a check with variants of the check that replace the condition by a constant.

    A condition is a comparison or an operand of `and` or `or`, unless it tests only the shape of the answer. Each
    condition is replaced by True in one variant and by False in another, because a condition can be negated. The
    caller runs the variants and keeps those that accept the solution. `all` counts as a condition too; its variant
    calls `any` instead.

    Yields:
        The source of the condition, and the source of the variant. Variants that repeat an earlier one are left out.

    Raises:
        NotPython: the check does not parse.
    """
    tree = source.parse(program)
    known_texts = {ast.unparse(tree)}
    for index, node in enumerate(_conditions(tree)):
        for constant in (ast.Constant(True), ast.Constant(False)):
            replacement = ast.Name("any", ast.Load()) if isinstance(node, ast.Name) else constant
            variant = copy.deepcopy(tree)
            _replace(variant, _conditions(variant)[index], replacement)
            text = ast.unparse(ast.fix_missing_locations(variant))
            if text not in known_texts:
                known_texts.add(text)
                yield ast.unparse(node), text


def only_excluded(program: str) -> str:
    """Return the first condition of a check if all its conditions only exclude values; else "".

    `status != "open"` excludes a value: every other status passes, a wrong one too.

    Raises:
        NotPython: the check does not parse.
    """
    compared = [node for node in _conditions(source.parse(program)) if isinstance(node, ast.Compare)]
    excludes = [all(isinstance(op, ast.NotEq | ast.NotIn | ast.IsNot) for op in node.ops) for node in compared]
    return ast.unparse(compared[0]) if compared and all(excludes) else ""


def _conditions(tree: ast.Module) -> list[ast.expr]:
    conditions: dict[ast.expr, None] = {}
    for node in ast.walk(tree):
        operands = node.values if isinstance(node, ast.BoolOp) else [node]
        for operand in operands:
            is_compare = isinstance(operand, ast.Compare)
            is_operand = isinstance(node, ast.BoolOp) and not isinstance(operand, ast.BoolOp)
            is_all = isinstance(operand, ast.Name) and operand.id == "all"
            if (is_compare or is_operand or is_all) and not _is_guard(operand):
                conditions[operand] = None  # type: ignore[index]  # all three are expressions
    return list(conditions)


def _is_guard(node: ast.AST) -> bool:
    """Tell whether a condition tests only the type or the shape of a value."""
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
    """Return the string and number literals of a check or solution that must come from the task or from the tools.

    Literals that every program may contain are left out: indices and keys, tolerances (numbers up to 0.1), numbers of
    digits for `round`, lengths, -1, 0, 1 and 2, strings of at most one character, and the arguments of methods such as
    `strip` and `split`. A regular expression or a template for `%` counts only by its words.

    Raises:
        NotPython: the program does not parse.
    """
    tree = _SumFolder().visit(source.parse(program))
    for node in ast.walk(tree):
        if isinstance(node, ast.For | ast.comprehension) and isinstance(node.iter, ast.Constant):
            node.iter = ast.Constant(None)  # a loop over the characters of a text: an alphabet, not data
        elif isinstance(node, ast.Compare) and any(_is_length(side) for side in [node.left, *node.comparators]):
            node.comparators = [side for side in node.comparators if not isinstance(side, ast.Constant)]
        elif isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mod) and _is_text(node.left):
            node.left = _words_of(node.left, _PERCENT_FIELD)
        elif isinstance(node, ast.Call):
            if _is_in_re(node.func) and node.args and _is_text(node.args[0]):
                node.args[0] = _words_of(node.args[0], _REGEX_SYNTAX)
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


def _is_in_re(function: ast.expr) -> bool:
    """Tell whether a function is called as an attribute of the module `re`."""
    return isinstance(function, ast.Attribute) and isinstance(function.value, ast.Name) and function.value.id == "re"


def _words_of(node: ast.expr, syntax: re.Pattern[str]) -> ast.expr:
    """Return the words of a text constant as a tuple: three letters or more each, after its syntax is removed."""
    assert isinstance(node, ast.Constant) and isinstance(node.value, str)
    words = re.findall(r"[^\W\d_]{3,}", syntax.sub(" ", node.value))
    return ast.Tuple([ast.Constant(word) for word in words], ast.Load())


def _is_length(node: ast.expr) -> bool:
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "len"


class _SumFolder(ast.NodeTransformer):
    """Replaces sums and differences of number literals by their result, because a program means the result."""

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
