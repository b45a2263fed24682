"""The tools that a program calls, in the order of evaluation, told from its text alone: nothing is run."""

import ast
import builtins
from collections.abc import Iterator

from sca_cli.analysis import source

_NO_TOOLS = {*dir(builtins), "final_answer"}


def tools_called(program: str) -> list[str]:
    """Return the names of the tools that a program calls, each call in the text once, in the order they are reached.

    A tool is what is called by a plain name that is neither Python's nor bound by the program. Loops go round once,
    all branches are taken, and a function of the program's own is entered where it is called.

    Raises:
        NotPython: it does not parse.
    """
    tree = source.parse(program)
    functions = {node.name: node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
    own = _NO_TOOLS | set(_bound(tree))
    return [name for name in _called(tree, functions, ()) if name not in own]


def _bound(tree: ast.Module) -> Iterator[str]:
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


def _called(node: ast.AST, functions: dict[str, ast.FunctionDef], entered: tuple[str, ...]) -> Iterator[str]:
    """Yield the plain names called below a node; `entered` are the functions it is in, which are not entered again."""
    if isinstance(node, ast.FunctionDef):
        return
    for child in _in_order(node):
        yield from _called(child, functions, entered)
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
        name = node.func.id
        yield name
        if name in functions and name not in entered:
            for statement in functions[name].body:
                yield from _called(statement, functions, (*entered, name))


def _in_order(node: ast.AST) -> list[ast.AST]:
    """Return the children of a node as Python evaluates them, which is not always as they are written."""
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
