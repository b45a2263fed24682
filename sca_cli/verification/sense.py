"""Let a model review a task that passed all proofs: would a user say it, does it say enough, does the policy allow it.

A model can be wrong, so a review is recorded and never rejects a task. The rule that it quotes must be in the policy.
"""

import re

from sca_cli.errors import ModelError
from sca_cli.interfaces import Model, Sampling
from sca_cli.prompts import Prompts
from sca_cli.records import Finding, Sense, Task
from sca_cli.toolkit.replies import without_reasoning

_REPLY_TOKENS = 256
"""Most tokens of the review. Chosen by hand."""
_QUESTIONS = {
    "said": "no real user would ask for this",
    "complete": "the instruction leaves out what the solution needs",
    "allowed": "the policy forbids a change of the solution",
}
"""Field of a review → the finding if it is False."""


async def review(model: Model, name: str, prompts: Prompts, task: Task, policy: str) -> tuple[Sense, list[Finding]]:
    """Ask a model to review a task; return the review, and findings that only report.

    Sampling is greedy, so that the same task gets the same review.

    Args:
        model: writes the review.
        name: the model specification.
        prompts: contain the prompt `sense`.
        task: gives the instruction and the solution.
        policy: the rules of the task's environment.
    """
    prompt = prompts.fill(
        "sense", policy=policy or "There are no rules.", instruction=task.instruction, solution=task.solution
    )
    sense = Sense(by=name)
    try:
        (completion,) = await model.generate([prompt], Sampling(temperature=0, max_tokens=_REPLY_TOKENS, seed=0))
    except ModelError as error:
        sense.problem = error.message
        return sense, []
    reply = without_reasoning(completion.text)
    answers = {field: _answer(field, reply) for field in _QUESTIONS}
    sense.said, sense.complete, sense.allowed = answers["said"], answers["complete"], answers["allowed"]
    rule = re.search(r"^\W*rule\W+(.+)$", reply, re.IGNORECASE | re.MULTILINE)
    quoted = rule[1].strip(" \"'*") if rule else ""
    if quoted and quoted.lower().rstrip(".") != "none":
        if _words(quoted) in _words(policy):
            sense.rule = quoted
        else:
            sense.problem = "the quoted rule is not in the policy"
    if None in answers.values():
        sense.problem = "the reply does not answer every question"
    messages = [message for field, message in _QUESTIONS.items() if answers[field] is False]
    quote = f": {sense.rule[:200]}" if sense.rule and answers["allowed"] is False else ""
    return sense, [Finding("sense", f"the model says: {message}{quote}", rejects=False) for message in messages]


def _answer(field: str, reply: str) -> bool | None:
    match = re.search(rf"^\W*{field}\W+(yes|no)\b", reply, re.IGNORECASE | re.MULTILINE)
    return match[1].lower() == "yes" if match else None


def _words(text: str) -> str:
    return " ".join(re.findall(r"\w+", text.lower()))
