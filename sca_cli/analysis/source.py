"""Parse, search and mutate Python that a model wrote. Nothing is run here; the sandbox runs programs."""

import ast
import copy
import random
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial

from sca_cli.records import JSON

MAX_CHARS = 20_000
"""Longest program that is parsed. A longer one is rejected, because hostile input can attack the parser too."""

MAX_DEPTH = 100
"""Deepest syntax tree. A deeper one is rejected, because code that visits or copies it would reach Python's recursion
limit.
"""

_MAX_BITS = 8192
"""Longest integer literal. A longer one is rejected, because Python refuses to print very long integers in decimal."""


class NotPython(ValueError):
    """A text is not a Python program, or is too large to be examined."""


def parse(program: str) -> ast.Module:
    """Return the syntax tree of a program.

    Raises:
        NotPython: the program does not parse, is too long or too deeply nested, or holds too long an integer.
    """
    if len(program) > MAX_CHARS:
        raise NotPython(f"longer than {MAX_CHARS} characters")
    try:
        with warnings.catch_warnings(action="ignore"):
            tree = ast.parse(program)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise NotPython(str(error)) from error
    _reject_extremes(tree)
    return tree


def _reject_extremes(tree: ast.Module) -> None:
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
    """Return a program that makes the same calls but gives no answer: every `final_answer(…)` gets None.

    Raises:
        NotPython: the program does not parse.
    """
    tree = parse(program)
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "final_answer":
            node.args = [ast.Constant(None)]
    return ast.unparse(tree)


def literals(tree: ast.Module) -> list[JSON]:
    """Return the literals of a program that are numbers or strings, each once and in order.

    Indices, booleans and docstrings are left out.
    """
    finder = _LiteralFinder()
    finder.visit(tree)
    return finder.literals


def inlined(program: str) -> str:
    """Return the program with each variable that is assigned once and read once replaced by its expression.

    Programs then become equal if they differ only in how they split an expression over several lines.

    Raises:
        NotPython: the program does not parse.
    """
    tree = parse(program)
    _number_assignments(tree)
    for _ in range(MAX_DEPTH):
        if not _inline_one(tree):
            break
    return ast.unparse(tree)


def _assigned_name(statement: ast.stmt) -> str:
    """Return the name that a statement assigns to if that is its only target, else ""."""
    match statement:
        case ast.Assign(targets=[ast.Name(id=name)]):
            return name
    return ""


def _number_assignments(tree: ast.Module) -> None:
    """Give each assignment to the same name its own name, so that each can be replaced by its expression.

    A name that is also assigned elsewhere, such as in a loop, a branch or a function, is left as it is.
    """
    store_counts = Counter(
        node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)
    )
    top_level_counts = Counter(map(_assigned_name, tree.body))
    latest: dict[str, str] = {}
    for place, statement in enumerate(tree.body):
        for node in ast.walk(statement):
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
                node.id = latest.get(node.id, node.id)
        name = _assigned_name(statement)
        if name and top_level_counts[name] == store_counts[name]:
            latest[name] = f"{name}_{place}"
            statement.targets[0].id = latest[name]  # type: ignore[attr-defined]


def _inline_one(tree: ast.Module) -> bool:
    """Inline the first variable that is assigned once and read once; return False if there is none."""
    use_counts = Counter(node.id for node in ast.walk(tree) if isinstance(node, ast.Name))
    for statement in tree.body:
        if (
            isinstance(statement, ast.Assign) and use_counts[name := _assigned_name(statement)] == 2
        ):  # one store, one read
            inliner = _Inliner(name, statement.value)
            tree.body = [inliner.visit(other) for other in tree.body if other is not statement]
            return True
    return False


class _Inliner(ast.NodeTransformer):
    """Replaces a name by an expression."""

    def __init__(self, name: str, value: ast.expr) -> None:
        self.name, self.value = name, value

    def visit_Name(self, node: ast.Name) -> ast.expr:
        """Return the expression for the name; return any other name unchanged."""
        return self.value if node.id == self.name else node


def without_unused_steps(tree: ast.Module) -> ast.Module:
    """Return the program without top-level assignments to names that are never read.

    One removed assignment can make another one unused, which is then removed too.
    """
    reads = Counter(_reads(tree))
    assignments: dict[str, list[ast.Assign]] = {}
    for statement in tree.body:
        if isinstance(statement, ast.Assign) and all(isinstance(target, ast.Name) for target in statement.targets):
            for name in _names_in(*statement.targets):
                assignments.setdefault(name, []).append(statement)
    todo = [name for name in assignments if not reads[name]]
    removed: set[ast.stmt] = set()
    while todo:
        for statement in assignments[todo.pop()]:
            if statement in removed or any(reads[name] for name in _names_in(*statement.targets)):
                continue
            removed.add(statement)
            for name in _reads(statement):
                reads[name] -= 1
                if not reads[name] and name in assignments:
                    todo.append(name)
    return ast.Module(body=[statement for statement in tree.body if statement not in removed], type_ignores=[])


def _reads(tree: ast.AST) -> Iterator[str]:
    """Yield each name that is read, once for each place where it is read."""
    return (node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load))


class _LiteralFinder(ast.NodeVisitor):
    def __init__(self) -> None:
        self.literals: list[JSON] = []

    def visit_Subscript(self, node: ast.Subscript) -> None:
        self.visit(node.value)

    def visit_FormattedValue(self, node: ast.FormattedValue) -> None:
        self.visit(node.value)  # the format specification is skipped

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
        if value not in self.literals:
            self.literals.append(value)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def mutants(program: str, seed: int) -> Iterator[str]:
    """Yield wrong variants of a program in random order: a constant changed, two arguments swapped, or a call skipped.

    Args:
        program: Python source.
        seed: seeds the order.

    Raises:
        NotPython: the program does not parse.
    """
    tree = parse(program)
    edits = [*_other_constants(tree), *_swapped_arguments(tree), *_skipped_steps(tree)]
    random.Random(seed).shuffle(edits)
    known_texts = {ast.unparse(tree)}
    for edit in edits:
        variant = copy.deepcopy(tree)
        edit(variant)
        text = ast.unparse(ast.fix_missing_locations(variant))
        if text not in known_texts:
            known_texts.add(text)
            yield text


type _Edit = Callable[[ast.Module], None]
"""Changes a copy of the tree. The edits are listed first, and a copy is made only for each variant that is used."""


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
    """Yield edits that replace a call by its first argument, which skips that step. `final_answer` is never skipped."""
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
    """Tell whether the final answer may depend on a tool's result: through names, containers, branches and functions.

    This is taint analysis: the tools are tainted, and every statement passes the taint of the names that it reads to
    the names that it may change. Each statement is examined once, so the cost does not grow with the length of a chain.

    Raises:
        NotPython: the program does not parse.
    """
    passed_on: dict[str, list[set[str]]] = {}
    for node in ast.walk(parse(program)):
        for read, changed in _flows(node):
            for name in read:
                passed_on.setdefault(name, []).append(changed)
    tainted: set[str] = set()
    todo = set(tools)
    while todo:
        name = todo.pop()
        tainted.add(name)
        for changed in passed_on.pop(name, ()):
            todo |= changed - tainted
    return "final_answer" in tainted


type _Flow = tuple[set[str], set[str]]
"""The names that a statement reads, and the names to which it passes the taint of each of them."""


def _flows(node: ast.AST) -> Iterator[_Flow]:
    """Yield the flows of taint at one node. The nodes inside it are examined separately."""
    match node:
        case ast.Assign() | ast.AnnAssign() | ast.AugAssign() | ast.NamedExpr() if node.value:
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            yield _names_in(node.value), _names_in(*targets)
        case ast.comprehension():
            yield _names_in(node.iter), _names_in(node.target)
        case ast.For():
            yield _names_in(node.iter), _names_in(node.target) | _changed_names(node)
            yield _exit_tests(node), _changed_names(node)
        case ast.While():
            yield _names_in(node.test) | _exit_tests(node), _changed_names(node)
        case ast.If():
            yield _names_in(node.test), _changed_names(node)
        case ast.Match():
            yield _names_in(node.subject), _changed_names(node)
        case ast.With():
            yield _names_in(*(item.context_expr for item in node.items)), _changed_names(node)
        case ast.Try():
            yield _names_in(*node.body), _changed_names(node)
        case ast.FunctionDef():
            yield {node.name} | _names_in(node), {node.name} | {argument.arg for argument in node.args.args}
        case ast.Lambda():
            yield _names_in(node), {argument.arg for argument in node.args.args}
        case ast.Call():
            yield _names_in(*node.args, *node.keywords), _names_in(node.func)


def _exit_tests(loop: ast.For | ast.While) -> set[str]:
    """Return the names in the tests of branches that hold `break` or `continue`.

    All that the loop changes depends on such a branch.
    """
    branches = [
        node
        for node in ast.walk(loop)
        if isinstance(node, ast.If) and any(isinstance(part, ast.Break | ast.Continue) for part in ast.walk(node))
    ]
    return _names_in(*(branch.test for branch in branches))


def _names_in(*nodes: ast.AST) -> set[str]:
    """Return the names inside expressions or targets: `a[0]` and `a.append` both hold `a`."""
    return {part.id for node in nodes for part in ast.walk(node) if isinstance(part, ast.Name)}


def _changed_names(block: ast.AST) -> set[str]:
    """Return the names that a block binds, assigns to or calls, and which it may thus change."""
    changed: set[str] = set()
    for node in ast.walk(block):
        match node:
            case ast.Name(ctx=ast.Store()) | ast.Subscript(ctx=ast.Store()) | ast.Attribute(ctx=ast.Store()):
                changed |= _names_in(node)
            case ast.Call():
                changed |= _names_in(node.func)
            case ast.ExceptHandler(name=str(name)) | ast.MatchAs(name=str(name)) | ast.MatchStar(name=str(name)):
                changed.add(name)
    return changed


def orders_a_set(tree: ast.Module) -> bool:
    """Tell whether a program turns a set into a sequence and may use the order, which changes from run to run.

    A sequence passed straight to `sorted`, `len`, `sum`, `min`, `max`, `set`, `any` or `all` does not count: these
    give the same result in every order.
    """
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
        if _function_name(call) in {"sorted", "len", "sum", "min", "max", "set", "any", "all"}
        for part in call.args
    }
    return any(
        _function_name(call) in {"list", "tuple", "iter", "join"} and _is_set(call.args[0], sets)
        for call in _calls(tree)
        if call.args and id(call) not in harmless
    )


def _function_name(call: ast.Call) -> str:
    return call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")


def _is_set(node: ast.expr, names: set[str]) -> bool:
    if isinstance(node, ast.Name):
        return node.id in names
    is_call = isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in {"set", "frozenset"}
    return is_call or isinstance(node, ast.Set | ast.SetComp)


_BY_NAME = {"__import__": 0, "import_module": 0, "getattr": 1}
"""Function that reaches something by its name → place of the argument that is the name."""

_HIDING = {
    "eval",
    "exec",
    "compile",
    "globals",
    "locals",
    "vars",
    "__builtins__",
    "__dict__",
    "__subclasses__",
    "ctypes",
}
"""Names by which a program can reach anything, without the name of what it reaches in its source."""


def names(tree: ast.Module) -> Iterator[str]:
    """Yield every name in a program: variables, attributes and imported modules; a name used twice is yielded twice."""
    for node in ast.walk(tree):
        yield from names_of(node)


def names_of(node: ast.AST) -> Iterator[str]:
    """Yield the names that one node of a program's tree holds itself, without those of the nodes below it."""
    if isinstance(node, ast.Name):
        yield node.id
    elif isinstance(node, ast.Attribute):
        yield node.attr
    elif isinstance(node, ast.Import | ast.ImportFrom):
        yield from (alias.name.partition(".")[0] for alias in node.names)
        if isinstance(node, ast.ImportFrom):
            yield node.module or ""


def names_as_texts(tree: ast.Module) -> Iterator[str]:
    """Yield the names that a program passes as texts, such as `time` in `__import__('ti' + 'me')`."""
    yield from (text for text in map(_folded, _name_arguments(tree)) if text)


def computed_access(tree: ast.Module) -> Iterator[str]:
    """Yield the calls by which a program can reach objects that its source does not name, such as `eval`."""
    for node in ast.walk(tree):
        names = {"Name": "id", "Attribute": "attr"}.get(type(node).__name__, "")
        if names and getattr(node, names) in _HIDING:
            yield getattr(node, names)
    yield from ("a computed name" for argument in _name_arguments(tree) if not _folded(argument))


def _name_arguments(tree: ast.Module) -> list[ast.expr]:
    places = [(call, _BY_NAME[name]) for call in _calls(tree) if (name := _function_name(call)) in _BY_NAME]
    return [call.args[place] for call, place in places if len(call.args) > place]


def _folded(node: ast.expr) -> str:
    """Return the text that an expression of literals computes, or "" if it is not known."""
    match node:
        case ast.Constant(value=str(text)):
            return text
        case ast.BinOp(left=left, op=ast.Add(), right=right):
            one, other = _folded(left), _folded(right)
            return one + other if one and other else ""
        case ast.JoinedStr(values=parts):
            texts = [_folded(part.value if isinstance(part, ast.FormattedValue) else part) for part in parts]
            return "".join(texts) if all(texts) else ""
        case ast.Call(
            func=ast.Attribute(value=ast.Constant(value=str(glue)), attr="join"), args=[ast.List(elts=parts)]
        ):
            return glue.join(texts) if all(texts := [_folded(part) for part in parts]) else ""
        case ast.Subscript(value=value, slice=ast.Slice(lower=None, upper=None, step=ast.UnaryOp(op=ast.USub()))):
            return _folded(value)[::-1]
    return ""


def takes_argument(program: str, name: str) -> bool:
    """Tell whether a program defines a function of this name that takes a positional argument.

    Raises:
        NotPython: the program does not parse.
    """
    return any(
        isinstance(node, ast.FunctionDef) and node.name == name and bool(node.args.args or node.args.vararg)
        for node in ast.walk(parse(program))
    )
