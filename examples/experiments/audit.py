"""Compare filters: which share of the tasks that each filter keeps is mislabelled according to an audit.

    python examples/experiments/audit.py AUDITED.jsonl paper=PAPER.jsonl all=ALL.jsonl [--draw 20] > by-eye.txt

AUDITED is the output of `sca verify --paper --all --agree MODEL` for all tasks that the least strict filter keeps. Each
other file holds the tasks that one filter keeps. The table is written to stderr. A random sample of the tasks, for a
person to read, is written to stdout.
"""

import argparse
import random
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from sca_cli.records import Task, decode


def tasks_in(path: str) -> dict[str, Task]:
    """Return the tasks of a JSONL file by id."""
    lines = Path(path).read_bytes().splitlines()
    return {task.id: task for task in map(decode, lines) if isinstance(task, Task)}


def mislabelled(task: Task) -> bool:
    """Return whether most attempts agree on an outcome that the check rejects."""
    return task.verdict is not None and any(f.stage == "agreement" and f.rejects for f in task.verdict.findings)


def unsolved(task: Task) -> bool:
    """Return whether no attempt passed, because the task is too hard for the auditor or wrong."""
    return task.verdict is not None and task.verdict.agreement is not None and not task.verdict.agreement.passed


def table(audited: Mapping[str, Task], arms: Mapping[str, Iterable[str]]) -> list[str]:
    """Return a line for each filter with the numbers of kept, audited, mislabelled and unsolved tasks.

    Args:
        audited: id → task with the audit's verdict.
        arms: name of a filter → ids of the tasks that it keeps.
    """
    lines = [f"{'filter':<24} {'kept':>5} {'audited':>8} {'mislabelled':>16} {'unsolved':>16}"]
    for name, kept_ids in arms.items():
        ids = list(kept_ids)
        tasks = [audited[id_] for id_ in ids if id_ in audited and audited[id_].verdict]
        tasks = [task for task in tasks if task.verdict and task.verdict.agreement and task.verdict.agreement.attempts]
        shares = [_share(sum(map(test, tasks)), len(tasks)) for test in (mislabelled, unsolved)]
        lines.append(f"{name:<24} {len(ids):5} {len(tasks):8} {shares[0]:>16} {shares[1]:>16}")
    return lines


def _share(count: int, total: int) -> str:
    return f"{count} ({count / total:.1%})" if total else "0"


def to_read(task: Task, kept_by: Sequence[str]) -> str:
    """Return a task as text for a person who judges whether check and instruction ask for the same thing."""
    agreement = task.verdict and task.verdict.agreement
    audit = "none"
    if agreement:
        audit = f"{agreement.passed} of {agreement.attempts} attempts pass; the most frequent outcome is "
        audit += repr(agreement.answer)
    parts = [f"# {task.id}   kept by: {', '.join(kept_by)}", task.instruction, task.evaluate, task.solution]
    return "\n\n".join([*parts, f"audit: {audit}", "by eye: [ ] right   [ ] wrong   [ ] cannot tell\n"])


def main() -> None:
    """Print the table and the drawn tasks."""
    parser = argparse.ArgumentParser(description="Compare filters by the share of mislabelled tasks that they keep.")
    parser.add_argument("audited")
    parser.add_argument("arms", nargs="+", metavar="NAME=KEPT.jsonl")
    parser.add_argument("--draw", type=int, default=20, metavar="N")
    options = parser.parse_args()
    audited = tasks_in(options.audited)
    arms = {name: list(tasks_in(path)) for name, _, path in (arm.partition("=") for arm in options.arms)}
    print("\n".join(table(audited, arms)), file=sys.stderr)
    for id_ in random.Random(0).sample(sorted(audited), min(options.draw, len(audited))):
        print(to_read(audited[id_], [name for name, kept in arms.items() if id_ in kept]))


if __name__ == "__main__":
    main()
