"""The form that a solution gives its answer: rounded, in capitals, between words of its own. Nothing is run here."""

import ast
import re
from typing import Any

from sca_cli.analysis import source

_CASES = {"upper", "lower", "title", "capitalize", "casefold", "swapcase"}
_PATCHED = {"replace", "rjust", "ljust", "zfill", "center"}
_SAID = {
    "rounding": r"round|decimal|nearest|whole|integer|cents?\b|digits?\b|places\b|figures\b|exact",
    "case": r"capital|upper|lower|case|letter",
}
"""Form → what an instruction says that tells it."""


def undressed(program: str) -> tuple[str, list[str]]:
    """Take the form off a solution's answer.

    Returns:
        The program that answers what was found as it was found, and what was taken off: `rounding`, `case`, or a
        text that stood before or after it. Without any of these, the program is none: "".

    Raises:
        NotPython: it does not parse.
    """
    tree = source.parse(program)
    bare = _Bare()
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "final_answer":
            for given in [*node.args, *(keyword.value for keyword in node.keywords)]:
                if named := _only_assignment(tree, given):
                    named.value = bare.visit(named.value)
            node.args = [bare.visit(arg) for arg in node.args]
            for keyword in node.keywords:
                keyword.value = bare.visit(keyword.value)
    return (ast.unparse(ast.fix_missing_locations(tree)) if bare.taken else ""), bare.taken


def _only_assignment(tree: ast.Module, value: ast.expr) -> ast.Assign | None:
    """Return where a name gets its value, if that is in one place, and it is used for nothing but the answer."""
    if not isinstance(value, ast.Name):
        return None
    uses = [node for node in ast.walk(tree) if isinstance(node, ast.Name) and node.id == value.id]
    made = [node for node in ast.walk(tree) if isinstance(node, ast.Assign) and node.targets[0] in uses]
    return made[0] if len(uses) == 2 and made else None


def told(form: str, instruction: str) -> bool:
    """Tell whether an instruction says that the answer is to have a form, one of those that `undressed` names."""
    if form in _SAID:
        return re.search(_SAID[form], instruction, re.IGNORECASE) is not None
    return all(part in instruction.lower() for part in re.findall(r"\w+|[^\w\s]", form.lower()))


class _Bare(ast.NodeTransformer):
    """Replaces what gives a value its form by the value; what is made of several values stays."""

    def __init__(self) -> None:
        self.taken: list[str] = []

    def visit(self, node: ast.AST) -> Any:
        while (inner := self._inner(node)) is not None:
            node = inner
        return super().generic_visit(node) if isinstance(node, ast.List | ast.Tuple | ast.Dict) else node

    def _inner(self, node: ast.AST) -> ast.AST | None:
        match node:
            case ast.Call(func=ast.Name(id="round"), args=[value, *_]):
                return self._without("rounding", value)
            case ast.Call(func=ast.Name(id="format"), args=[value, _]):
                return self._without("rounding", value)
            case ast.Call(func=ast.Name(id="str"), args=[value]):
                return value
            case ast.Call(func=ast.Attribute(value=value, attr=name)) if name in _CASES:
                return self._without("case", value)
            case ast.Call(func=ast.Attribute(value=value, attr=name), args=[*given]) if name in _PATCHED:
                return self._without(_text(given[-1]) if given else "", value)
            case ast.Call(
                func=ast.Attribute(value=ast.Constant(value=str(text)), attr="format"), args=[value], keywords=[]
            ):
                self._formatted(text)
                return self._without(re.sub(r"\{[^}]*\}", "", text), value)
            case ast.BinOp(left=ast.Constant(value=str(text)), op=ast.Add(), right=value):
                return self._without(text, value)
            case ast.BinOp(left=value, op=ast.Add(), right=ast.Constant(value=str(text))):
                return self._without(text, value)
            case ast.BinOp(left=ast.Constant(value=str(text)), op=ast.Mod(), right=value) if not isinstance(
                value, ast.Tuple | ast.Dict
            ):
                self._formatted(text)
                return self._without(re.sub(r"%[-+ 0#]*\d*(?:\.\d+)?[a-z]", "", text), value)
            case ast.JoinedStr(values=parts):
                return self._joined(parts)
        return None

    def _joined(self, parts: list[ast.expr]) -> ast.expr | None:
        values = [part for part in parts if isinstance(part, ast.FormattedValue)]
        if len(values) != 1:
            return None
        if values[0].format_spec is not None:
            self._formatted(ast.unparse(values[0].format_spec))
        text = " ".join(_text(part) for part in parts)
        return self._without(text, values[0].value)

    def _formatted(self, spec: str) -> None:
        if re.search(r"\.\d", spec):
            self.taken.append("rounding")

    def _without(self, form: str, value: ast.expr) -> ast.expr:
        self.taken += [form] if form.strip() else []
        return value


def _text(node: ast.expr) -> str:
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""
