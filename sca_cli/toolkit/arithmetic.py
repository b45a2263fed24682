"""Compute an arithmetic expression from its syntax tree, without running it as code.

Covered: numbers, + - * / // % **, unary signs, parentheses. Not covered: everything else, such as names and calls.
"""

import ast
import math
import operator
import re
from collections.abc import Callable

from sca_cli.errors import ToolError

MAX_EXPRESSION = 300
"""Maximum number of characters; this also limits the depth of the syntax tree. Chosen by hand."""
MAX_MAGNITUDE = 1e100
"""Largest magnitude of every intermediate result. So whole numbers can be printed, and floats stay finite."""

_BINARY: dict[type[ast.operator], Callable[[float, float], float]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
}
# Only these characters reach the parser. So there are no names, no strings, and no literals that cause warnings.
_CHARACTERS = re.compile(r"[0-9eE.+\-*/%() ]+")


def calculate(expression: str) -> float:
    """Return the value of an arithmetic expression of at most `MAX_EXPRESSION` characters.

    Raises:
        ToolError: the text is not such an expression, it divides by zero, or a result exceeds `MAX_MAGNITUDE`.
    """
    expression = expression.strip()
    if not expression:
        raise ToolError("expression is empty")
    if not _CHARACTERS.fullmatch(expression):
        bad = next(character for character in expression if not _CHARACTERS.fullmatch(character))
        raise ToolError(f"expression holds {bad!r}; only numbers, + - * / // % ** and parentheses are taken")
    try:
        tree = ast.parse(expression, mode="eval")
        return _value(tree.body)
    except ZeroDivisionError:
        raise ToolError("expression divides by zero") from None
    except (SyntaxError, RecursionError, MemoryError):
        raise ToolError("expression is not complete arithmetic; check operators and parentheses") from None


def _value(node: ast.expr) -> float:
    match node:
        case ast.Constant(value=int() | float() as value):
            return _bounded(value)
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return -_value(operand)
        case ast.UnaryOp(op=ast.UAdd(), operand=operand):
            return _value(operand)
        case ast.BinOp(left=left, op=ast.Pow(), right=right):
            return _power(_value(left), _value(right))
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _BINARY:
            return _bounded(_BINARY[type(op)](_value(left), _value(right)))
    raise ToolError("expression must be plain arithmetic: numbers, + - * / // % ** and parentheses")


def _power(base: float, exponent: float) -> float:
    # Estimate the size before computing the power, because 9**9**9 would take forever.
    if base and exponent * math.log10(abs(base)) > math.log10(MAX_MAGNITUDE):
        raise ToolError("a power in the expression is too large")
    if base < 0 and exponent != int(exponent):
        raise ToolError("a negative number has no fractional power here")
    return _bounded(base**exponent)


def _bounded(value: float) -> float:
    if not -MAX_MAGNITUDE <= value <= MAX_MAGNITUDE:
        raise ToolError("a number in the expression is larger than 1e100")
    return value
