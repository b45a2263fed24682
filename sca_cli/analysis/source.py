"""Model-written Python as text: parsed, searched and mutated here, never run. Running it is the sandbox's business."""

import ast
import copy
import random
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial

from sca_cli.records import JSON

MAX_CHARS = 20_000
"""A longer program is refused unread: a parser is code too."""

MAX_DEPTH = 100
"""A tree nested deeper is refused: whoever visits or copies it would run into Python's recursion limit."""

_MAX_BITS = 8192
"""A longer integer is refused: Python would not print it in decimals."""


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
            tree = ast.parse(program)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise NotPython(str(error)) from error
    _refuse_extremes(tree)
    return tree


def _refuse_extremes(tree: ast.Module) -> None:
    level: list[ast.AST] = [tree]
    for _ in range(MAX_DEPTH):
        level = [child for node in level for child in ast.iter_child_nodes(node)]
        if any(isinstance(n, ast.Constant) and _is_number(n.value) and _bits(n.value) > _MAX_BITS for n in level):
            raise NotPython(f"an integer longer than {_MAX_BITS} bits")
    if level:
        raise NotPython(f"nested deeper than {MAX_DEPTH}")


def _bits(value: object) -> int:
    return value.bit_length() if isinstance(value, int) else 0


def without_answer(program: str) -> str:
    """Return a program that answers with nothing: `final_answer(None)` in place of whatever it says.

    Raises:
        NotPython: it does not parse.
    """
    tree = parse(program)
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "final_answer":
            node.args = [ast.Constant(None)]
    return ast.unparse(tree)


def literals(tree: ast.Module) -> list[JSON]:
    """Return the numbers and strings a program brings along, in order, without indices, booleans and docstrings."""
    finder = _Literals()
    finder.visit(tree)
    return finder.found


def inlined(program: str) -> str:
    """Return a program in which a value that is named once and used once stands where it is used.

    Raises:
        NotPython: it is not a program.
    """
    tree = parse(program)
    _name_apart(tree)
    for _ in range(MAX_DEPTH):
        if not _inline_one(tree):
            break
    return ast.unparse(tree)


def _assigned(statement: ast.stmt) -> str:
    """Return the name that a statement does nothing but assign to, or ""."""
    match statement:
        case ast.Assign(targets=[ast.Name(id=name)]):
            return name
    return ""


def _name_apart(tree: ast.Module) -> None:
    """Give every assignment a name of its own, where a name is assigned to outside loops and functions only."""
    stored = Counter(
        node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)
    )
    plain = Counter(map(_assigned, tree.body))
    latest: dict[str, str] = {}
    for place, statement in enumerate(tree.body):
        for node in ast.walk(statement):
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
                node.id = latest.get(node.id, node.id)
        name = _assigned(statement)
        if name and plain[name] == stored[name]:
            latest[name] = f"{name}_{place}"
            statement.targets[0].id = latest[name]  # type: ignore[attr-defined]


def _inline_one(tree: ast.Module) -> bool:
    used = Counter(node.id for node in ast.walk(tree) if isinstance(node, ast.Name))
    for statement in tree.body:
        if isinstance(statement, ast.Assign) and used[name := _assigned(statement)] == 2:  # it is stored, and read once
            tree.body = [_Inlined(name, statement.value).visit(other) for other in tree.body if other is not statement]
            return True
    return False


class _Inlined(ast.NodeTransformer):
    """Puts an expression in the place of a name."""

    def __init__(self, name: str, value: ast.expr) -> None:
        self.name, self.value = name, value

    def visit_Name(self, node: ast.Name) -> ast.expr:
        """Return the expression for the name, and any other name as it is."""
        return self.value if node.id == self.name else node


def without_unused_steps(tree: ast.Module) -> ast.Module:
    """Return the program without top-level assignments to names that nothing reads; repeated until none is left."""
    read = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)}
    body = [statement for statement in tree.body if not _is_unused(statement, read)]
    if len(body) == len(tree.body):
        return tree
    return without_unused_steps(ast.Module(body=body, type_ignores=[]))


def _is_unused(statement: ast.stmt, read: set[str]) -> bool:
    return isinstance(statement, ast.Assign) and all(
        isinstance(target, ast.Name) and target.id not in read for target in statement.targets
    )


class _Literals(ast.NodeVisitor):
    def __init__(self) -> None:
        self.found: list[JSON] = []

    def visit_Subscript(self, node: ast.Subscript) -> None:
        self.visit(node.value)

    def visit_FormattedValue(self, node: ast.FormattedValue) -> None:
        self.visit(node.value)  # not its format

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
    edits = [*_other_constants(tree), *_swapped_arguments(tree), *_skipped_steps(tree)]
    random.Random(seed).shuffle(edits)
    seen = {ast.unparse(tree)}
    for edit in edits:
        variant = copy.deepcopy(tree)
        edit(variant)
        text = ast.unparse(ast.fix_missing_locations(variant))
        if text not in seen:
            seen.add(text)
            yield text


type _Edit = Callable[[ast.Module], None]
"""Changes a copy of the tree in place; made before the copy, so that only the variants asked for are built."""


def _constants(tree: ast.Module) -> list[ast.Constant]:
    return [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and (_is_number(node.value) or (isinstance(node.value, str) and node.value))
    ]


def _other_constants(tree: ast.Module) -> Iterator[_Edit]:
    for index, node in enumerate(_constants(tree)):
        value = node.value
        if isinstance(value, str):
            changes: list[JSON] = [value[::-1], value[:-1], value[0] + value]
        elif isinstance(value, int):
            changes = [value + 1, value * 2 + 1]
        else:
            changes = [round(float(value) * 1.1 + 1, 4), round(float(value) / 2, 4)]  # type: ignore[arg-type]
        for change in changes:
            yield partial(_set_constant, index, change)


def _set_constant(index: int, value: JSON, variant: ast.Module) -> None:
    _constants(variant)[index].value = value


def _calls(tree: ast.Module) -> list[ast.Call]:
    return [node for node in ast.walk(tree) if isinstance(node, ast.Call)]


def _swapped_arguments(tree: ast.Module) -> Iterator[_Edit]:
    for index, node in enumerate(_calls(tree)):
        if len(node.args) >= 2:
            yield partial(_swap_arguments, index)


def _swap_arguments(index: int, variant: ast.Module) -> None:
    arguments = _calls(variant)[index].args
    arguments[0], arguments[1] = arguments[1], arguments[0]


def _skipped_steps(tree: ast.Module) -> Iterator[_Edit]:
    """Replace a nested or assigned call by its first argument: the step is left out."""
    for index, node in enumerate(_calls(tree)):
        final = isinstance(node.func, ast.Name) and node.func.id == "final_answer"
        if node.args and not final and not isinstance(node.args[0], ast.Starred):
            yield partial(_skip_step, index)


def _skip_step(index: int, variant: ast.Module) -> None:
    call = _calls(variant)[index]
    _Replace(call, call.args[0]).visit(variant)


class _Replace(ast.NodeTransformer):
    def __init__(self, old: ast.AST, new: ast.AST) -> None:
        self._old, self._new = old, new

    def visit(self, node: ast.AST) -> ast.AST:
        if node is self._old:
            return self._new
        self.generic_visit(node)
        return node


def depends(program: str, tools: set[str]) -> bool:
    """Tell whether the final answer may depend on what a tool returns, through names, containers and branches.

    Raises:
        NotPython: it does not parse.
    """
    tree = parse(program)
    tainted = set(tools)
    while (grown := tainted | set(_reached(tree, tainted))) != tainted:
        tainted = grown
    return "final_answer" in tainted


def _reached(tree: ast.Module, tainted: set[str]) -> Iterator[str]:
    """Yield names that a tainted name reaches in one step."""
    for node in ast.walk(tree):
        match node:
            case ast.Assign() | ast.AnnAssign() | ast.AugAssign() | ast.NamedExpr() if node.value:
                if _mentions(node.value, tainted):
                    targets = node.targets if isinstance(node, ast.Assign) else [node.target]
                    yield from (name for target in targets for name in _bound(target))
            case ast.For() | ast.comprehension() if _mentions(node.iter, tainted):
                yield from _bound(node.target)
                if isinstance(node, ast.For):
                    yield from _touched(node)
            case ast.For() | ast.While() if any(_cuts_short(part, tainted) for part in ast.walk(node)):
                yield from _touched(node)
            case ast.If() | ast.While() if _mentions(node.test, tainted):
                yield from _touched(node)
            case ast.Match() if _mentions(node.subject, tainted):
                yield from _touched(node)
            case ast.With() if any(_mentions(item.context_expr, tainted) for item in node.items):
                yield from _touched(node)
            case ast.Try() if any(_mentions(part, tainted) for part in node.body):
                yield from _touched(node)
            case ast.FunctionDef() if node.name in tainted or _mentions(node, tainted):
                yield node.name
                yield from (argument.arg for argument in node.args.args)
            case ast.Lambda() if _mentions(node, tainted):
                yield from (argument.arg for argument in node.args.args)
            case ast.Call() if any(_mentions(part, tainted) for part in [*node.args, *node.keywords]):
                yield from _bound(node.func)


def _cuts_short(node: ast.AST, tainted: set[str]) -> bool:
    """Tell whether a tainted branch ends a loop or one of its rounds: what the loop binds then hangs on it."""
    return (
        isinstance(node, ast.If)
        and _mentions(node.test, tainted)
        and any(isinstance(part, ast.Break | ast.Continue) for part in ast.walk(node))
    )


def _mentions(node: ast.AST, names: set[str]) -> bool:
    return any(isinstance(part, ast.Name) and part.id in names for part in ast.walk(node))


def _bound(target: ast.AST) -> Iterator[str]:
    """Yield the names that a target stores into, or that a call is made of: `a[0]`, `a.append` → a."""
    return (part.id for part in ast.walk(target) if isinstance(part, ast.Name))


def _touched(block: ast.AST) -> Iterator[str]:
    """Yield all names that a block binds or calls."""
    for node in ast.walk(block):
        if isinstance(node, ast.Name | ast.Subscript | ast.Attribute) and isinstance(node.ctx, ast.Store):
            yield from _bound(node)
        elif isinstance(node, ast.Call):
            yield from _bound(node.func)


def orders_a_set(tree: ast.Module) -> bool:
    """Tell whether a program makes a sequence of a set, whose order is chance, and uses more than its members."""
    sets = {
        target.id
        for node in ast.walk(tree)
        if isinstance(node, ast.Assign) and _is_set(node.value, set())
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    harmless = {
        id(part)
        for call in _calls(tree)
        if _called(call) in {"sorted", "len", "sum", "min", "max", "set", "any", "all"}
        for part in call.args
    }
    return any(
        _called(call) in {"list", "tuple", "iter", "join"} and _is_set(call.args[0], sets)
        for call in _calls(tree)
        if call.args and id(call) not in harmless
    )


def _called(call: ast.Call) -> str:
    return call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")


def _is_set(node: ast.expr, names: set[str]) -> bool:
    if isinstance(node, ast.Name):
        return node.id in names
    is_call = isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in {"set", "frozenset"}
    return is_call or isinstance(node, ast.Set | ast.SetComp)


def takes_argument(program: str, name: str) -> bool:
    """Tell whether a program defines a function of this name that takes an argument.

    Raises:
        NotPython: it does not parse.
    """
    return any(
        isinstance(node, ast.FunctionDef) and node.name == name and bool(node.args.args or node.args.vararg)
        for node in ast.walk(parse(program))
    )
