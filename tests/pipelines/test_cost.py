"""What exploring and writing tasks cost: on the records, through the stages, and in the report."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from loop_script import rules

from sca_cli.records import Usage, decode

pytestmark = [pytest.mark.sandbox, pytest.mark.usefixtures("no_strays")]

ENV = "calculation:family=message_decoder"
FILES = ("explorations", "candidates", "unreadable", "tasks", "fallen", "rollouts")


@pytest.fixture
def loop(tmp_path: Path, sca, script: Callable[..., str]) -> Callable[..., dict[str, list[Any]]]:
    """Return a function that runs the loop with prompts of few words and returns the records of each file."""
    prompts = tmp_path / "prompts"
    prompts.mkdir()
    (prompts / "explore.md").write_text("[user]\nLook around.")
    (prompts / "challenge-cat.md").write_text("[user]\nWrite a new task.")
    settings = {"SCA_MODEL": script(*rules()), "SCA_ENV": ENV}

    def run(name: str, times: str = "") -> dict[str, list[Any]]:
        (tmp_path / name).mkdir()
        explored, candidates, unreadable, tasks, fallen, rollouts = files = [f"{name}/{each}.jsonl" for each in FILES]
        for line in (
            f"explore -n 2 --prompt prompts -o {explored} {times}",
            f"challenge {explored} -n 10 --prompt prompts -o {candidates} --rejected {unreadable} {times}",
            f"verify {candidates} -o {tasks} --rejected {fallen}",
            f"rollout {tasks} -k 1 -o {rollouts}",
            f"report {name} -o {name}.html",
        ):
            ended = sca(*line.split(), env=settings)
            assert ended.returncode == 0, ended.stderr
        lines = [(tmp_path / file).read_bytes().splitlines() for file in files]
        return {each: list(map(decode, found)) for each, found in zip(FILES, lines, strict=True)}

    return run


def test_tokens_and_times_are_on_the_records_and_travel_with_the_task(loop, tmp_path: Path) -> None:
    """Tokens read and sampled are counted, also for replies that are no task, and later stages keep the counts. Only
    --times adds seconds; all other fields are the same.
    """
    made = loop("run")
    for walk in made["explorations"]:
        said = [len(message.content.split()) for message in walk.messages]
        assert (said[:2], len(said)) == ([2, 3], 5)
        assert walk.usage == Usage(prompt_tokens=2 + sum(said[:3]), completion_tokens=said[1] + said[3], turns=2)
    (replies,) = rules()[0]["replies"]
    assert made["unreadable"] and made["fallen"]
    for task in [*made["candidates"], *made["unreadable"]]:
        words = len(replies[task.made_by.seed % len(replies)].split())
        assert task.usage == Usage(prompt_tokens=4, completion_tokens=words, turns=1)
    before = {(task.id, task.made_by.seed): task.usage for task in made["candidates"]}
    after = [*made["tasks"], *made["fallen"], *(rollout.task for rollout in made["rollouts"])]
    assert made["rollouts"] and all(task.usage == before[task.id, task.made_by.seed] for task in after)
    sampled = sum(task.usage.completion_tokens for task in [*made["candidates"], *made["unreadable"]])
    shown = (tmp_path / "run.html").read_text()
    row = re.search(r"<tr><th[^>]*>main: challenge --method cat</th>(.*?)</tr>", shown)
    assert row and re.findall(r">([0-9,]+)</td>", row[1]) == ["10", "40", str(sampled), "10"]
    timed = loop("timed", "--times")
    for name in ("explorations", "candidates", "unreadable"):
        assert timed[name] and all(record.usage.seconds > 0 for record in timed[name])
        for record in timed[name]:
            record.usage.seconds = None
        assert timed[name] == made[name]
