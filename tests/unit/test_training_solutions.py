"""Solutions as attempts: which tasks count, and what the model is shown and learns to say."""

from collections.abc import Iterator
from typing import Any

import pytest
from tiny_model import save_tokenizer

from sca_cli.episode import chat
from sca_cli.errors import RecordError
from sca_cli.prompts import Prompts
from sca_cli.records import EnvSpec, ErrorNote, Rollout, Task, Verdict, sealed
from sca_cli.sandbox import Description
from sca_cli.training.data import Tally, examples
from sca_cli.training.solutions import demonstrations, proven_tasks

PLACE = Description([], "Be kind.", customer=True)
KEPT = Verdict(passed=True, stage="kept")


def task(name: str, **fields: Any) -> Task:
    """Return a proven task, unless its fields say otherwise."""
    solution = f"final_answer({name!r})"
    return sealed(
        Task(**{"env": EnvSpec(name="e"), "instruction": name, "evaluate": "", "solution": solution, "verdict": KEPT}
             | fields)
    )  # fmt: skip


@pytest.fixture
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Return a byte tokenizer with a ChatML template."""
    transformers = pytest.importorskip("transformers", reason="needs the train extra")
    directory = tmp_path_factory.mktemp("tokenizer")
    save_tokenizer(directory)
    return transformers.AutoTokenizer.from_pretrained(directory)


def test_distinct_proven_tasks_are_taken_from_tasks_and_rollouts() -> None:
    """Rejected and broken tasks are counted, duplicates are not, and a rollout gives its task."""
    good, fallen = task("good"), task("fallen", verdict=Verdict(passed=False, stage="no-op"))
    broken = task("broken", verdict=None, error=ErrorNote(boundary="task", message="unparsable"))
    rolled = task("rolled")
    records = [good, Rollout(task=rolled), fallen, Rollout(task=good), broken, Rollout(task=rolled, sample=1), good]
    tally = Tally()
    assert [one.instruction for one in proven_tasks(records, tally)] == ["good", "rolled"]
    assert tally == Tally(read=2, unproven=2)


def test_a_task_that_nobody_verified_is_refused_with_the_way_out() -> None:
    """Nothing proves its solution."""
    with pytest.raises(RecordError, match="has no verdict") as refused:
        list(proven_tasks([task("new", verdict=None)], Tally()))
    assert "sca verify" in refused.value.hint


def test_tasks_without_a_solution_that_can_be_said_are_counted() -> None:
    """An empty solution, and one that would end its own code block, teach nothing."""
    tasks = [task("empty", solution="\n"), task("fence", solution='print("""\n```\n""")'), task("good")]
    tally = Tally()
    made = list(demonstrations(tasks, lambda _: PLACE, Prompts(), tally))
    assert [one.id for one in made] == [tasks[2].id]
    assert tally == Tally(read=2, wordless=2)
    assert chat.code_blocks(made[0].messages[-1].content) == [tasks[2].solution]


@pytest.mark.torch
def test_the_reply_is_learnt_and_no_reply_that_the_prompt_shows(tokenizer: Any) -> None:
    """The opening holds an example turn of an assistant: it carries no loss. A customer is left out."""
    (made,) = demonstrations(
        [task("Say hello.", solution="final_answer('hello')\n")], lambda _: PLACE, Prompts(), Tally()
    )
    assert [message.role for message in made.messages].count("assistant") == 2
    (example,) = examples([made], tokenizer)
    pairs = zip(example.input_ids, example.loss_mask, strict=True)
    assert tokenizer.decode([token for token, own in pairs if own]) == "```python\nfinal_answer('hello')\n```<|im_end|>"
    assert "The task: Say hello." in tokenizer.decode(example.input_ids)
    assert (example.record, example.task) == (made.task.id, made.task.id)
