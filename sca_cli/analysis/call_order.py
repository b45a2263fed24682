"""Read from a program's source which tools it calls, in the order of evaluation. Nothing is run here."""

import ast
import builtins
from collections.abc import Iterator
from itertools import islice

from sca_cli.analysis import source

_NO_TOOLS = {*dir(builtins), "final_answer"}
_MOST_CALLS = 10_000
"""Most calls that are read. If each of a few functions calls the next one twice, their number is exponential. Chosen by
hand; not measured.
"""


def tools_called(program: str) -> list[str]:
    """Return the names of the tools that a program calls, in the order in which the calls are evaluated.

    A call counts as a tool call if its plain name is neither a Python builtin, nor `final_answer`, nor bound by the
    program. The body of a loop counts once, every branch counts, and the body of a function that the program defines
    counts at each of its calls. Calls after the first 10,000 are left out.

    Raises:
        NotPython: the program does not parse.
    """
    tree = source.parse(program)
    functions = {node.name: node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
    no_tools = _NO_TOOLS | set(_bound_names(tree))
    called = islice(_called_names(tree, functions, ()), _MOST_CALLS)
    return [name for name in called if name not in no_tools]


def _bound_names(tree: ast.Module) -> Iterator[str]:
    """Yield the names that a program binds."""
    for node in ast.walk(tree):
        match node:
            case ast.Name(ctx=ast.Store()):
                yield node.id
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                yield node.name
            case ast.arg():
                yield node.arg
            case ast.alias():
                yield (node.asname or node.name).partition(".")[0]


def _called_names(node: ast.AST, functions: dict[str, ast.FunctionDef], entered: tuple[str, ...]) -> Iterator[str]:
    """Yield the plain names that are called inside a node.

    Args:
        node: the part of the program to search.
        functions: name → definition, of the program's own functions.
        entered: the functions whose bodies contain the node. They are not entered again, so that recursion ends.
    """
    if isinstance(node, ast.FunctionDef):
        return
    for child in _children_in_order(node):
        yield from _called_names(child, functions, entered)
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
        name = node.func.id
        yield name
        if name in functions and name not in entered:
            for statement in functions[name].body:
                yield from _called_names(statement, functions, (*entered, name))


def _children_in_order(node: ast.AST) -> list[ast.AST]:
    """Return the children of a node in the order in which Python evaluates them, which can differ from the text's."""
    match node:
        case ast.Assign():
            return [node.value, *node.targets]
        case ast.AnnAssign():
            return [part for part in (node.value, node.target) if part]
        case ast.For():
            return [node.iter, node.target, *node.body, *node.orelse]
        case ast.comprehension():
            return [node.iter, node.target, *node.ifs]
        case ast.ListComp() | ast.SetComp() | ast.GeneratorExp():
            return [*node.generators, node.elt]
        case ast.DictComp():
            return [*node.generators, node.key, node.value]
        case ast.Dict():
            return [part for pair in zip(node.keys, node.values, strict=True) for part in pair if part]
        case ast.IfExp():
            return [node.test, node.body, node.orelse]
    return list(ast.iter_child_nodes(node))
