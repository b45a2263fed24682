"""The rules by which the scripted model plays every part of the loop in these tests."""

from typing import Any

WORDS = ("drawer", "stressed", "reknits")

_TASK = """\
<instruction>
Which text do you get when you write the word {word} backwards?
</instruction>
<evaluation_function>
def evaluate(answer):
    return answer == reverse_string('{word}')
</evaluation_function>
<solution>
final_answer(reverse_string('{word}'))
</solution>
<failure_case>
final_answer('{word}')
</failure_case>
<failure_case>
final_answer(reverse_string('{word}')[1:])
</failure_case>
<failure_case>
final_answer(string_length('{word}'))
</failure_case>
"""

_WRONG_SOLUTION = _TASK.format(word="repaid").replace(
    "final_answer(reverse_string('repaid'))\n</sol", "final_answer(1)\n</sol"
)


def code(program: str) -> str:
    """Return a reply that acts by code."""
    return f"```python\n{program}\n```"


def rules() -> list[dict[str, Any]]:
    """Return the rules of a challenger (three tasks, one that verify rejects, one reply that is no task), a solver
    (right, wrong and broken replies) and an explorer.
    """
    tasks = [*(_TASK.format(word=word) for word in WORDS), _WRONG_SOLUTION, "I would rather not."]
    solver = [
        {
            "when": f"the word {word} backwards",
            "replies": [[code(f"final_answer(reverse_string('{word}'))"), code("final_answer('?')")]],
        }
        for word in WORDS
    ]
    explorer = [code("print(reverse_string('pool{seed}'))"), code("print(string_length('abc'))")]
    return [{"when": "Write (a|ONE) new task", "replies": [tasks]}, *solver, {"replies": explorer}]
