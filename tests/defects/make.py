"""Build `good.jsonl` and `planted.jsonl` from the cards: tasks as models write them, and copies with one defect each.

    python tests/defects/make.py

The set in this folder was written together with the proofs. The author of the cards in `fresh/` had read the
definitions but no proof; `third/` was written later in the same way. A card is a good task; its variants are that
task with one defect. Each line of a card starts with a mark; a line without a mark continues the line above:

    == NAME ENV [SEED]      a good task              ^^ NAME                 continues a card of another file
    @ CLASS | WHY           a variant of it          @ … | undecidable       no program can tell, only a reader
    ? instruction           = evaluate               > solution              ! a failure case
    ?~ old => new           the instruction with other words in one place; ?+ text adds words at its end
    ~ old => new            the check with other code in one place; ~~ old => new the same in every part
    % rename                other names of variables % seed N                another state of the world

`<<expression>>` is evaluated in the initial state of the world: with the tools, `answer` (of the solution),
`truth` (the answer of the good task's solution), `hexed` and `caesar`. Its value is inserted as a literal; in an
instruction or with `:raw` it is inserted as plain text.
"""

import ast
import copy
import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
SITE = HERE / "site"
"""To be put on PYTHONPATH: it holds the worlds that are no plugin of ours."""

CLASSES = (
    "vacuous", "tautological", "leaking", "flaky", "unsolvable", "forging", "underspecified", "duplicated",
)  # fmt: skip
NOT_PROVEN = ("forging",)
"""Classes that the paper's three filters must already turn down."""

_WHOLE = {"?": "instruction", "=": "evaluate", ">": "solution"}
_MARK = re.compile(r"(==|\^\^|@|\?~|\?\+|\?|=|>|!|~~|~|%) ")


@dataclass
class Card:
    """A task before its expressions are worked out."""

    name: str
    env: str
    seed: int
    instruction: str = ""
    evaluate: str = ""
    solution: str = ""
    wrong: list[str] = field(default_factory=list)
    extra: dict[str, Any] = field(default_factory=dict)
    renamed: bool = False
    own_wrong: bool = False
    """Its failure cases are not those of the card it was copied from."""


def cards(folder: Path = HERE) -> tuple[list[Card], list[tuple[Card, Card]]]:
    """Return the good cards of a set, and the variants, each with the good card it was made from."""
    good: dict[str, Card] = {}
    planted: list[tuple[Card, Card]] = []
    named: Card | None = None
    files = sorted(
        (folder / "cards").glob("*.txt"), key=lambda path: (not path.read_text().startswith("=="), path.name)
    )
    for path in files:
        for mark, text in _parts(path.read_text()):
            if mark == "==":
                name, env, *seed = text.split()
                if name in good:
                    raise ValueError(f"{path.name}: a second card '{name}'")
                named = current = good[name] = Card(name, env, int(seed[0]) if seed else 0)
            elif mark == "^^":
                named = good[text]
            elif mark == "@":
                assert named
                current = copy.deepcopy(named)
                current.extra, current.own_wrong = _defect(text), False
                planted.append((current, named))
            else:
                _edit(current, mark, text)
    return list(good.values()), planted


def _parts(text: str) -> Iterator[tuple[str, str]]:
    """Yield each mark with all that belongs to it."""
    mark, lines = "", list[str]()
    for line in [*text.splitlines(), "== "]:
        if found := _MARK.match(line):
            if mark:
                yield mark, "\n".join(lines).rstrip("\n")
            mark, lines = found[1], [line[found.end() :]]
        else:
            lines.append(line)


def _defect(text: str) -> dict[str, Any]:
    kind, why, *rest = text.split(" | ")
    if kind not in CLASSES or rest not in ([], ["undecidable"]):
        raise ValueError(f"no such variant: {text}")
    return {"defect": kind, "why": why} | ({"decidable": False} if rest else {})


def _edit(card: Card, mark: str, text: str) -> None:
    if mark in _WHOLE:
        setattr(card, _WHOLE[mark], text)
    elif mark == "!":
        card.wrong = [*(card.wrong if card.own_wrong else []), text]
        card.own_wrong = True
    elif mark == "?+":
        card.instruction += " " + text
    elif mark == "%":
        card.renamed = card.renamed or text == "rename"
        card.seed = int(text.split()[1]) if text.startswith("seed") else card.seed
    else:
        _replace(card, mark, *text.split(" =>", 1))


def _replace(card: Card, mark: str, old: str, new: str) -> None:
    new = new.removeprefix(" ")
    parts = {"?~": ("instruction",), "~": ("evaluate",), "~~": ("instruction", "evaluate", "solution")}[mark]
    texts = [getattr(card, part) for part in parts] + (card.wrong if mark == "~~" else [])
    if not any(old in text for text in texts):
        raise ValueError(f"{card.name}: nothing to replace: {old}")
    for part in parts:
        setattr(card, part, getattr(card, part).replace(old, new))
    if mark == "~~":
        card.wrong = [text.replace(old, new) for text in card.wrong]


# ---------------------------------------------------------------- worlds


class _Answered(Exception):
    pass


def tools(env: str, seed: int) -> dict[str, Callable[..., Any]]:
    """Return the tools of a fresh world."""
    from defect_worlds import Bank, Warehouse
    from sca_airline.environment import Airline
    from sca_calculation.environment import Calculation
    from sca_retail.environment import Retail
    from sca_web_browsing.environment import WebBrowsing
    from third_world import Marina

    from sca_cli.interfaces import tools_of

    worlds: dict[str, Any] = {
        "calculation": Calculation, "warehouse": Warehouse, "bank": Bank, "retail": Retail, "airline": Airline,
        "web_browsing": WebBrowsing, "marina": Marina,
    }  # fmt: skip

    name, _, option = env.partition(":")
    world = worlds[name](**dict([option.split("=")] if option else []))
    world.reset(seed)
    return {name: method for name, (_, method) in tools_of(world).items()}


def answer_of(card: Card, solution: str) -> Any:
    """Run a solution of ours in a world of its own and return what it answers."""
    given: list[Any] = []

    def final_answer(value: Any) -> None:
        given.append(value)
        raise _Answered

    try:
        exec(solution, tools(card.env, card.seed) | {"final_answer": final_answer, "print": lambda *_: None})
    except _Answered:
        return given[0]
    return None


def hexed(text: str) -> str:
    """Return a text as hexadecimal digits."""
    return text.encode().hex()


def caesar(text: str, shift: int) -> str:
    """Return a text with its letters moved forward."""
    alphabet = "abcdefghijklmnopqrstuvwxyz"
    moved = alphabet[shift:] + alphabet[:shift]
    return text.translate(str.maketrans(alphabet + alphabet.upper(), moved + moved.upper()))


def _names(card: Card, good: Card, expression: str) -> dict[str, Any]:
    """Return what an expression of a card may use; answers only if it asks for them."""
    names: dict[str, Any] = tools(card.env, card.seed) | {"hexed": hexed, "caesar": caesar}
    harmless = good if card.extra.get("defect") == "forging" else card
    for name, owner in (("answer", harmless), ("truth", good)):
        if re.search(rf"\b{name}\b", expression):
            names[name] = answer_of(owner, worked_out(owner.solution, owner, owner))
    return names


def worked_out(text: str, card: Card, good: Card, *, plain: bool = False) -> str:
    """Return a text of a card with its expressions worked out."""

    def one(match: re.Match[str]) -> str:
        expression = match[1].removesuffix(":raw")
        value = eval(expression, _names(card, good, expression))
        return str(value) if plain or expression != match[1] else repr(value)

    return re.sub(r"<<(.+?)>>", one, text)


# ---------------------------------------------------------------- records


def _renamed(program: str) -> str:
    """Return the program with other names for what it assigns itself."""
    tree = ast.parse(program)
    own = {n.id for n in ast.walk(tree) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
    own |= {n.arg for n in ast.walk(tree) if isinstance(n, ast.arg)}
    names = {name: f"{name}_value" if place % 2 else f"my_{name}" for place, name in enumerate(sorted(own))}
    for node in ast.walk(tree):
        if isinstance(node, ast.Name):
            node.id = names.get(node.id, node.id)
        elif isinstance(node, ast.arg):
            node.arg = names[node.arg]
    return ast.unparse(tree)


def record(card: Card, good: Card) -> dict[str, Any]:
    """Return a card as a task record."""
    name, _, option = card.env.partition(":")
    solution = worked_out(card.solution, card, good)
    return {
        "kind": "task",
        "env": {"name": name, "options": dict([option.split("=")] if option else [])},
        "seed": card.seed,
        "instruction": worked_out(card.instruction, card, good, plain=True),
        "evaluate": worked_out(card.evaluate, card, good) + "\n",
        "solution": (_renamed(solution) if card.renamed else solution) + "\n",
        "failure_cases": [worked_out(text, card, good) + "\n" for text in card.wrong],
        "extra": {"card": card.name, **card.extra},
    }


def files(folder: Path = HERE) -> dict[str, bytes]:
    """Return the contents of `good.jsonl` and `planted.jsonl` of a set."""
    import msgspec

    from sca_cli.records import decode, encode, sealed

    good, planted = cards(folder)
    pairs = {"good.jsonl": [(card, card) for card in good], "planted.jsonl": planted}
    pairs["planted.jsonl"].sort(key=lambda pair: CLASSES.index(pair[0].extra["defect"]))
    return {
        name: b"".join(encode(sealed(decode(msgspec.json.encode(record(*pair))))) + b"\n" for pair in chosen)
        for name, chosen in pairs.items()
    }


def main() -> None:
    """Write both files of each set."""
    for folder in (HERE, HERE / "fresh", HERE / "third"):
        for name, text in files(folder).items():
            (folder / name).write_bytes(text)
            print(f"{folder / name}: {text.count(b'\n')} tasks", file=sys.stderr)


sys.path.insert(0, str(SITE))

if __name__ == "__main__":
    main()
