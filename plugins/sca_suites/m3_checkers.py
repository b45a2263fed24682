"""Judge answers of M3ToolEval.

The source text of each function is copied into the checks of the tasks. So each function contains its imports and
helpers, and an edit of a function, even of its docstring, changes the tasks.
"""

from typing import Any


def m3_exact(answer: Any, expected: Any) -> bool:
    """Judge the text of an answer as the benchmark's own checker does, faults included.

    Kept faults: no numeric tolerance; if the text is a whole number, the fraction of the expected number is cut off (12
    is 12.7); a list is compared by its repr. As in the benchmark, blanks around the text do not count. JSON has no
    tuples: a list has the text of a tuple where a tuple is expected.
    """
    import ast

    def converted(value: Any) -> Any:
        try:
            return int(value)
        except ValueError:
            try:
                return float(value)
            except ValueError:
                return value

    given: Any = tuple(answer) if isinstance(answer, list) and isinstance(expected, tuple) else answer
    given = str(given).strip()
    try:
        if given == expected or converted(given) == converted(expected):
            return True
        given = ast.literal_eval(given)  # what the original goes on to do with it fails for every expected value
    except Exception:  # noqa: BLE001  as the original
        pass
    return str(given) == str(expected)


def tolerant(answer: Any, expected: Any) -> bool:
    """Judge numbers by a relative error of 1e-6 or by two decimals, lists by their items, texts without blanks around.

    Text that holds a Python literal counts as the value.
    """
    import ast
    import math

    def value_of(given: Any) -> Any:
        try:
            return ast.literal_eval(given.strip()) if isinstance(given, str) else given
        except (ValueError, SyntaxError, RecursionError, MemoryError):
            return given.strip()

    def is_number(value: Any) -> bool:
        return isinstance(value, int | float) and not isinstance(value, bool)

    def same(one: Any, other: Any) -> bool:
        if isinstance(one, list | tuple) and isinstance(other, list | tuple):
            return len(one) == len(other) and all(map(same, one, other))
        if isinstance(one, dict) and isinstance(other, dict):
            return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
        if is_number(one) and is_number(other):
            return math.isclose(one, other, rel_tol=1e-6) or abs(one - other) <= 0.005
        return str(one) == str(other)

    return same(value_of(answer), value_of(expected))
