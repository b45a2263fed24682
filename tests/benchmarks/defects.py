"""Measure which planted defects `sca verify` finds, by class, and which good tasks it rejects.

    python tests/benchmarks/defects.py [--sets first,fresh,third] [--classes vacuous,leaking,…] [--modes default,strict]
        [--keep FILE] [--timeout SECONDS]

The tasks are those of `tests/defects`. The first set was written together with the proofs. The set in `fresh/` was
written without knowing them, but was read since. The set in `third/` was written without knowing them, in another
environment. Each class is verified in a separate `sca verify --all`, because a defective task has the same solution as
the good one it was made from. Duplicates are verified after all good tasks; the other classes skip that stage.
Everything is repeated with `--strict`. `reported` counts verdicts that have more than stage and checks, `rejected`
those that did not pass, `found` either of the two. Tables, the good tasks with findings and the missed defects go to
stderr, one JSON object goes to stdout.
"""

import argparse
import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

SCA = str(Path(sys.prefix) / "bin" / "sca")
DEFECTS = Path(__file__).parents[1] / "defects"
SETS = {"first": DEFECTS, "fresh": DEFECTS / "fresh", "third": DEFECTS / "third"}
MODES: dict[str, list[str]] = {"default": [], "strict": ["--strict"]}
CORE = {"passed", "stage", "checks"}
"""What a verdict of the paper's filter holds; anything else in it is a finding."""

Task = dict[str, Any]


def tasks(path: Path) -> list[Task]:
    """Return the records of a file."""
    return [json.loads(line) for line in path.read_text().splitlines()]


def verified(records: list[Task], given: list[str], options: argparse.Namespace) -> list[Task]:
    """Return what `sca verify --all` makes of records, in their order."""
    path = os.pathsep.join(filter(None, [str(DEFECTS / "site"), os.environ.get("PYTHONPATH", "")]))
    ended = subprocess.run(
        [SCA, "verify", "--all", "-q", *given],
        input="".join(json.dumps(record) + "\n" for record in records).encode(),
        stdout=subprocess.PIPE, env=os.environ | {"PYTHONPATH": path}, timeout=options.timeout, check=False,
    )  # fmt: skip
    written = [json.loads(line) for line in ended.stdout.splitlines()]
    if [task["extra"] for task in written] != [record["extra"] for record in records]:
        raise SystemExit(f"sca verify: exit code {ended.returncode}, {len(written)} of {len(records)} tasks came out")
    if options.keep:
        with options.keep.open("ab") as kept:
            kept.write(ended.stdout)
    return written


def is_rejected(task: Task) -> bool:
    """Return whether a verified task was rejected."""
    return not task["verdict"]["passed"]


def is_reported(task: Task) -> bool:
    """Return whether a verified task has a finding, rejected or not."""
    return any(task["verdict"][key] for key in task["verdict"].keys() - CORE)


def is_found(task: Task) -> bool:
    """Return whether a verified task was rejected or reported."""
    return is_rejected(task) or is_reported(task)


def _share(written: list[Task], is_so: Callable[[Task], bool]) -> float:
    return round(sum(map(is_so, written)) / len(written), 4) if written else 0.0


def figures(written: list[Task]) -> dict[str, Any]:
    """Return how many of the tasks were rejected or reported, and at which stages."""
    decidable = [task for task in written if task["extra"].get("decidable", True)]
    stages = Counter(task["verdict"]["stage"] for task in written if is_rejected(task))
    return {
        "tasks": len(written),
        "decidable": len(decidable),
        "rejected_share": _share(written, is_rejected),
        "rejected_share_of_decidable": _share(decidable, is_rejected),
        "reported_share": _share(written, is_reported),
        "found_share": _share(written, is_found),
        "found_share_of_decidable": _share(decidable, is_found),
        "stages": dict(stages.most_common()),
    }


def measure(folder: Path, classes: list[str], given: list[str], options: argparse.Namespace) -> dict[str, Any]:
    """Verify the good tasks of a set, then each class, and return the figures of all."""
    good, planted = tasks(folder / "good.jsonl"), tasks(folder / "planted.jsonl")
    _say(" ".join([folder.name + ":", "sca verify", *given]))
    _say(f"  {'':16} tasks  rejected  of decidable  reported  found  of decidable  at")
    good_written = verified(good, given, options)
    found: dict[str, Any] = {"good": figures(good_written)}
    _say_row("good", found["good"])
    all_written: list[Task] = []
    for kind in classes:
        before, more = (good, []) if kind == "duplicated" else ([], ["--skip", "duplicate"])
        defective = [task for task in planted if task["extra"]["defect"] == kind]
        written = verified([*before, *defective], [*given, *more], options)[len(before) :]
        all_written += written
        found[kind] = figures(written)
        _say_row(kind, found[kind])
    found["all"] = figures(all_written)
    _say_row("all", found["all"])
    for task in filter(is_found, good_written):
        _say(f"  good task found at '{task['verdict']['stage']}': {task['extra']['card']} {task['id']}")
    for task in all_written:
        if not is_found(task):
            _say(f"  missed: {task['extra']['defect']} {task['extra']['card']} {task['id']} ({task['extra']['why']})")
    return found


def _say_row(name: str, row: dict[str, Any]) -> None:
    stages = ", ".join(f"{stage} {count}" for stage, count in row["stages"].items())
    shares = ("rejected_share", "rejected_share_of_decidable", "reported_share", "found_share")
    rejected, rejected_of, reported, found = (f"{row[share]:.1%}" for share in shares)
    _say(
        f"  {name:16} {row['tasks']:5} {rejected:>9} {rejected_of:>13} {reported:>9} {found:>6}"
        f" {row['found_share_of_decidable']:>13.1%}  {stages}"
    )


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def main() -> None:
    """Measure and print."""
    known = list(dict.fromkeys(task["extra"]["defect"] for task in tasks(DEFECTS / "planted.jsonl")))
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sets", default=",".join(SETS))
    parser.add_argument("--classes", default=",".join(known))
    parser.add_argument("--modes", default="default,strict")
    parser.add_argument("--keep", type=Path, help="append the verified records to this file")
    parser.add_argument("--timeout", type=float, default=1800, help="seconds for one stream")
    options = parser.parse_args()
    classes = options.classes.split(",")
    found = {
        name: {mode: measure(SETS[name], classes, MODES[mode], options) for mode in options.modes.split(",")}
        for name in options.sets.split(",")
    }
    print(json.dumps({"benchmark": "defects"} | found))


if __name__ == "__main__":
    main()
