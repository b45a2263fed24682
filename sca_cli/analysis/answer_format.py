"""Find how a solution formats its answer: rounding, letter case, added text. Nothing is run here."""

import ast
import re
from typing import Any

from sca_cli.analysis import source

_CASE_METHODS = {"upper", "lower", "title", "capitalize", "casefold", "swapcase"}
_TEXT_METHODS = {"replace", "rjust", "ljust", "zfill", "center"}
_REQUEST_WORDS = {
    "rounding": r"round|decimal|nearest|whole|integer|cents?\b|digits?\b|places\b|figures\b|exact",
    "case": r"capital|upper|lower|case|letter",
}
"""Form → regular expression that matches instructions which ask for it. The words are chosen by hand."""


def without_form(program: str) -> tuple[str, list[str]]:
    """Remove the formatting of a solution's answer.

    Returns:
        The program that answers the unformatted value, and the removed forms: `rounding`, `case`, or a text that was
        added to the value. If nothing was removed, the program is "".

    Raises:
        NotPython: the program does not parse.
    """
    tree = source.parse(program)
    remover = _FormRemover()
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "final_answer":
            for argument in [*node.args, *(keyword.value for keyword in node.keywords)]:
                if assignment := _only_assignment(tree, argument):
                    assignment.value = remover.visit(assignment.value)
            node.args = [remover.visit(arg) for arg in node.args]
            for keyword in node.keywords:
                keyword.value = remover.visit(keyword.value)
    return (ast.unparse(ast.fix_missing_locations(tree)) if remover.removed else ""), remover.removed


def _only_assignment(tree: ast.Module, value: ast.expr) -> ast.Assign | None:
    """Return the assignment of a name, if the name is assigned once and read once (in the answer); else None."""
    if not isinstance(value, ast.Name):
        return None
    uses = [node for node in ast.walk(tree) if isinstance(node, ast.Name) and node.id == value.id]
    assignments = [node for node in ast.walk(tree) if isinstance(node, ast.Assign) and node.targets[0] in uses]
    return assignments[0] if len(uses) == 2 and assignments else None


def is_requested(form: str, instruction: str) -> bool:
    """Tell whether an instruction asks for a form.

    Args:
        form: one of the forms that `without_form` returns. For an added text, the instruction must contain each of
            its words and punctuation marks.
        instruction: the task's.
    """
    if form in _REQUEST_WORDS:
        return re.search(_REQUEST_WORDS[form], instruction, re.IGNORECASE) is not None
    return all(part in instruction.lower() for part in re.findall(r"\w+|[^\w\s]", form.lower()))


class _FormRemover(ast.NodeTransformer):
    """Replaces a formatting expression by the value it formats.

    An expression that formats several values is left as it is, because no single value can replace it.
    """

    def __init__(self) -> None:
        self.removed: list[str] = []

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
            case ast.Call(func=ast.Attribute(value=value, attr=name)) if name in _CASE_METHODS:
                return self._without("case", value)
            case ast.Call(func=ast.Attribute(value=value, attr=name), args=[*arguments]) if name in _TEXT_METHODS:
                return self._without(_text(arguments[-1]) if arguments else "", value)
            case ast.Call(
                func=ast.Attribute(value=ast.Constant(value=str(text)), attr="format"), args=[value], keywords=[]
            ):
                self._note_rounding(text)
                return self._without(re.sub(r"\{[^}]*\}", "", text), value)
            case ast.BinOp(left=ast.Constant(value=str(text)), op=ast.Add(), right=value):
                return self._without(text, value)
            case ast.BinOp(left=value, op=ast.Add(), right=ast.Constant(value=str(text))):
                return self._without(text, value)
            case ast.BinOp(left=ast.Constant(value=str(text)), op=ast.Mod(), right=value) if not isinstance(
                value, ast.Tuple | ast.Dict
            ):
                self._note_rounding(text)
                return self._without(re.sub(r"%[-+ 0#]*\d*(?:\.\d+)?[a-z]", "", text), value)
            case ast.JoinedStr(values=parts):
                return self._joined(parts)
        return None

    def _joined(self, parts: list[ast.expr]) -> ast.expr | None:
        values = [part for part in parts if isinstance(part, ast.FormattedValue)]
        if len(values) != 1:
            return None
        if values[0].format_spec is not None:
            self._note_rounding(ast.unparse(values[0].format_spec))
        text = " ".join(_text(part) for part in parts)
        return self._without(text, values[0].value)

    def _note_rounding(self, spec: str) -> None:
        if re.search(r"\.\d", spec):
            self.removed.append("rounding")

    def _without(self, form: str, value: ast.expr) -> ast.expr:
        self.removed += [form] if form.strip() else []
        return value


def _text(node: ast.expr) -> str:
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""
