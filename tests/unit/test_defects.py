"""The planted defects: the contents of the files, and that the paper's three filters do not find them."""

import sys
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from sca_cli import plugins, streams
from sca_cli.records import Task
from sca_cli.sandbox import Sandbox
from sca_cli.verification import paper_filter

DEFECTS = Path(__file__).parents[1] / "defects"
sys.path[:0] = [str(DEFECTS), str(DEFECTS / "site")]

import make  # noqa: E402  it is in the folder of the cards
from defect_worlds import sca_register_environments  # noqa: E402  as above

GOOD = list(streams.read([str(DEFECTS / "good.jsonl")], Task))
PLANTED = list(streams.read([str(DEFECTS / "planted.jsonl")], Task))
FRESH_GOOD = list(streams.read([str(DEFECTS / "fresh" / "good.jsonl")], Task))
FRESH_PLANTED = list(streams.read([str(DEFECTS / "fresh" / "planted.jsonl")], Task))
THIRD_GOOD = list(streams.read([str(DEFECTS / "third" / "good.jsonl")], Task))
THIRD_PLANTED = list(streams.read([str(DEFECTS / "third" / "planted.jsonl")], Task))


@pytest.fixture(scope="module")
def opened() -> Iterator[Sandbox]:
    """Give a sandbox that knows the two worlds."""

    def register(name: str, target: str, *, help: str, extra: str = "") -> None:  # noqa: A002  the hook's own word
        plugins.registry().environments[name] = plugins.Entry(name, target, help, extra, "tests")

    sca_register_environments(register)
    with Sandbox() as sandbox:
        yield sandbox


@pytest.mark.parametrize("folder", [DEFECTS, DEFECTS / "fresh", DEFECTS / "third"], ids=["first", "fresh", "third"])
def test_the_files_are_what_the_cards_say(folder: Path) -> None:
    """`make.py` writes the very bytes that are kept here."""
    assert {name: (folder / name).read_bytes() for name in make.files(folder)} == make.files(folder)


@pytest.mark.parametrize(
    ("good", "planted", "enough", "of_each"),
    [(GOOD, PLANTED, 100, 25), (FRESH_GOOD, FRESH_PLANTED, 100, 30), (THIRD_GOOD, THIRD_PLANTED, 60, 20)],
    ids=["first", "fresh", "third"],
)
def test_there_are_enough_of_each_class(good: list[Task], planted: list[Task], enough: int, of_each: int) -> None:
    """Enough good tasks, enough of each class, no task twice, and a reason given with every defect."""
    counts = Counter(task.extra["defect"] for task in planted)
    assert set(counts) == set(make.CLASSES)
    assert min(counts.values()) >= of_each
    assert len(good) >= enough
    assert len({task.id for task in good + planted}) == len(good + planted)
    assert all(task.extra["why"] for task in planted)


def proven(sandbox: Sandbox, task: Task) -> bool:
    """Whether a task passes the paper's three filters."""
    solution = paper_filter.run_check(sandbox, task, task.solution, "solution")
    return solution.outcome == "pass" and paper_filter.failures_fail(
        [paper_filter.run_check(sandbox, task, program, "failure_case") for program in task.failure_cases]
    )


EVERY = 6
"""One of this many tasks of each class is run by default; `--all` also runs the others."""


@pytest.mark.sandbox
@pytest.mark.parametrize("part", ["sample", pytest.param("rest", marks=pytest.mark.slow)])
@pytest.mark.parametrize("kind", ["good", *make.CLASSES])
def test_the_papers_filters_see_no_defect(opened: Sandbox, kind: str, part: str) -> None:
    """Good and planted tasks pass the paper's filter, so that only the later proofs can find the defects; forged tasks
    fail it.
    """
    tasks = [task for task in GOOD + PLANTED if task.extra.get("defect", "good") == kind]
    tasks = [task for place, task in enumerate(tasks) if (place % EVERY == 0) == (part == "sample")]
    assert tasks
    with ThreadPoolExecutor(4) as pool:
        passed = list(pool.map(lambda task: proven(opened, task), tasks))
    wrong = [task.extra["card"] for task, kept in zip(tasks, passed, strict=True) if kept == (kind in make.NOT_PROVEN)]
    assert wrong == []


@pytest.mark.sandbox
@pytest.mark.slow
def test_the_fresh_good_tasks_pass_the_papers_filters(opened: Sandbox) -> None:
    """Their solutions do what they should, and their failure cases do not."""
    with ThreadPoolExecutor(4) as pool:
        passed = list(pool.map(lambda task: proven(opened, task), FRESH_GOOD))
    assert [task.extra["card"] for task, kept in zip(FRESH_GOOD, passed, strict=True) if not kept] == []
