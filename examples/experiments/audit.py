"""What share of the tasks that a filter keeps an audit finds mislabelled, filter by filter; and some to read by eye.

    python examples/experiments/audit.py AUDITED.jsonl paper=PAPER.jsonl all=ALL.jsonl [--draw 20] > by-eye.txt

AUDITED is what `sca verify --paper --all --agree MODEL` says of all tasks that the most generous filter keeps; the
other files are what each filter keeps of them. The table goes to stderr, the drawn tasks to stdout.
"""

import argparse
import random
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from sca_cli.records import Task, decode


def tasks_in(path: str) -> dict[str, Task]:
    """Return id → task of a JSONL file."""
    lines = Path(path).read_bytes().splitlines()
    return {task.id: task for task in map(decode, lines) if isinstance(task, Task)}


def mislabelled(task: Task) -> bool:
    """Tell whether a majority of the attempts came to an outcome that the check refuses."""
    return task.verdict is not None and any(f.stage == "agreement" and f.rejects for f in task.verdict.findings)


def unsolved(task: Task) -> bool:
    """Tell whether no attempt passed: too hard for the auditor, or wrong; it does not say which."""
    return task.verdict is not None and task.verdict.agreement is not None and not task.verdict.agreement.passed


def table(audited: Mapping[str, Task], arms: Mapping[str, Iterable[str]]) -> list[str]:
    """Return a line for each filter: what it keeps, how much of it was audited, and what the audit found.

    Args:
        audited: id → task with the audit's verdict.
        arms: name of a filter → ids that it keeps.
    """
    lines = [f"{'filter':<24} {'kept':>5} {'audited':>8} {'mislabelled':>16} {'unsolved':>16}"]
    for name, kept in arms.items():
        ids = list(kept)
        seen = [audited[id_] for id_ in ids if id_ in audited and audited[id_].verdict]
        seen = [task for task in seen if task.verdict and task.verdict.agreement and task.verdict.agreement.attempts]
        wrong, nobody = (_share(sum(map(test, seen)), len(seen)) for test in (mislabelled, unsolved))
        lines.append(f"{name:<24} {len(ids):5} {len(seen):8} {wrong:>16} {nobody:>16}")
    return lines


def _share(count: int, total: int) -> str:
    return f"{count} ({count / total:.1%})" if total else "0"


def to_read(task: Task, kept_by: Sequence[str]) -> str:
    """Return a task as text for somebody who judges whether the check asks for what the instruction asks for."""
    found = task.verdict and task.verdict.agreement
    audit = f"{found.passed} of {found.attempts} attempts pass; most came to {found.answer!r}" if found else "none"
    parts = [f"# {task.id}   kept by: {', '.join(kept_by)}", task.instruction, task.evaluate, task.solution]
    return "\n\n".join([*parts, f"audit: {audit}", "by eye: [ ] right   [ ] wrong   [ ] cannot tell\n"])


def main() -> None:
    """Print the table and the drawn tasks."""
    parser = argparse.ArgumentParser(description="Audit of what filters keep.")
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
