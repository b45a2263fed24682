"""Write the tasks of the experiment on learners: one tool call each, on two numbers, in varied words.

    python tasks.py COUNT SEED > candidates.jsonl

The numbers of an odd seed are odd and those of an even seed even, so that tasks of both kinds of seeds are never equal.
Tasks of even seeds are held out for evaluation.
"""

import json
import random
import sys
from pathlib import Path

TOOLS = Path(__file__).with_name("tools.py").resolve()
WORDS = {
    "add": ("Add {a} and {b}.", "What is {a} plus {b}?", "I have {a} coins and get {b} more. How many do I have?"),
    "subtract": (
        "Subtract {b} from {a}.",
        "What is {a} minus {b}?",
        "I had {a} coins and spent {b}. How many are left?",
        "How far is it from page {b} to page {a}?",
    ),
    "multiply": (
        "Multiply {a} by {b}.",
        "What is {a} times {b}?",
        "There are {a} boxes with {b} coins each. How many coins are there?",
    ),
    "larger": (
        "Which is more, {a} or {b}?",
        "Ann has {a} coins and Bob has {b}. How many does the richer one have?",
        "What is the maximum of {a} and {b}?",
    ),
}
RESULT = {
    "add": lambda a, b: a + b,
    "subtract": lambda a, b: a - b,
    "multiply": lambda a, b: a * b,
    "larger": max,
}


def task(draw: random.Random, parity: int) -> dict[str, object]:
    """Return one candidate task."""
    tool = draw.choice(list(WORDS))
    b, a = sorted(draw.sample(range(10 + parity, 98, 2), 2))
    right = RESULT[tool](a, b)
    others = [name for name in WORDS if name != tool]
    return {
        "kind": "task",
        "env": {"name": "python", "options": {"target": str(TOOLS)}},
        "method": "experiment",
        "split": "train" if parity else "eval",
        "instruction": draw.choice(WORDS[tool]).format(a=a, b=b),
        "evaluate": f"def evaluate(answer):\n    return answer == {right}",
        "solution": f"final_answer({tool}({a}, {b}))",
        "failure_cases": [f"final_answer({name}({a}, {b}))" for name in others],
        "calls": 1,
    }


def main() -> None:
    """Print tasks as JSON Lines."""
    count, seed = map(int, sys.argv[1:])
    draw = random.Random(seed)
    for _ in range(count):
        print(json.dumps(task(draw, seed % 2)))


if __name__ == "__main__":
    main()
