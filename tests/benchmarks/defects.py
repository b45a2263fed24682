"""Which planted defects `sca verify` finds, by class, and which good tasks it turns down.

    python tests/benchmarks/defects.py [--classes vacuous,leaking,…] [--timeout SECONDS]

The tasks are those of `tests/defects`. Each class is a stream of its own through `sca verify --all`, since a defective
task shares its solution with the good one it was made from; the duplicates come after all good tasks. Where verify has
`--strict`, everything is done a second time with it. `reported` counts verdicts that say more than stage and checks,
`rejected` those that did not pass. Tables and the good tasks that fell on stderr, one JSON object on stdout.
"""

import argparse
import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

SCA = str(Path(sys.prefix) / "bin" / "sca")
DEFECTS = Path(__file__).parents[1] / "defects"
CORE = {"passed", "stage", "checks"}
"""What a verdict of the paper's filter holds; anything else in it is a finding."""

Task = dict[str, Any]


def tasks(name: str) -> list[Task]:
    """Return the records of a file."""
    return [json.loads(line) for line in (DEFECTS / name).read_text().splitlines()]


def verified(records: list[Task], options: list[str], timeout: float) -> list[Task]:
    """Return what `sca verify --all` makes of records, in their order."""
    path = os.pathsep.join(filter(None, [str(DEFECTS / "site"), os.environ.get("PYTHONPATH", "")]))
    ended = subprocess.run(
        [SCA, "verify", "--all", "-q", *options],
        input="".join(json.dumps(record) + "\n" for record in records).encode(),
        stdout=subprocess.PIPE, env=os.environ | {"PYTHONPATH": path}, timeout=timeout, check=False,
    )  # fmt: skip
    written = [json.loads(line) for line in ended.stdout.splitlines()]
    if [task["extra"] for task in written] != [record["extra"] for record in records]:
        raise SystemExit(f"sca verify: exit code {ended.returncode}, {len(written)} of {len(records)} tasks came out")
    return written


def figures(written: list[Task]) -> dict[str, Any]:
    """Return how many of the tasks were rejected or reported, and at which stages."""
    rejected = [task for task in written if not task["verdict"]["passed"]]
    reported = [task for task in written if any(task["verdict"][key] for key in task["verdict"].keys() - CORE)]
    decidable = [task for task in written if task["extra"].get("decidable", True)]
    found = [task for task in decidable if not task["verdict"]["passed"]]
    return {
        "tasks": len(written),
        "rejected_share": round(len(rejected) / len(written), 4),
        "rejected_share_of_decidable": round(len(found) / len(decidable), 4),
        "reported_share": round(len(reported) / len(written), 4),
        "stages": dict(Counter(task["verdict"]["stage"] for task in rejected).most_common()),
    }


def measure(classes: list[str], options: list[str], timeout: float) -> dict[str, Any]:
    """Verify the good tasks, then each class, and return the figures of all."""
    good, planted = tasks("good.jsonl"), tasks("planted.jsonl")
    title = " ".join(["sca verify", *options])
    written = verified(good, options, timeout)
    found: dict[str, Any] = {"good": figures(written)}
    _say(f"{title}\n  {'':16} tasks  rejected  of decidable  reported  at")
    _say_row("good", found["good"])
    for kind in classes:
        before = good if kind == "duplicated" else []
        defective = [task for task in planted if task["extra"]["defect"] == kind]
        found[kind] = figures(verified([*before, *defective], options, timeout)[len(before) :])
        _say_row(kind, found[kind])
    for task in written:
        if not task["verdict"]["passed"]:
            _say(f"  good task turned down at '{task['verdict']['stage']}': {task['extra']['card']} {task['id']}")
    return found


def _say_row(name: str, row: dict[str, Any]) -> None:
    stages = ", ".join(f"{stage} {count}" for stage, count in row["stages"].items())
    shares = (row["rejected_share"], row["rejected_share_of_decidable"], row["reported_share"])
    rejected, decidable, reported = (f"{share:.1%}" for share in shares)
    _say(f"  {name:16} {row['tasks']:5} {rejected:>9} {decidable:>13} {reported:>9}  {stages}")


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def main() -> None:
    """Measure and print."""
    known = list(dict.fromkeys(task["extra"]["defect"] for task in tasks("planted.jsonl")))
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--classes", default=",".join(known))
    parser.add_argument("--timeout", type=float, default=1800, help="seconds for one stream")
    options = parser.parse_args()
    usage = subprocess.run([SCA, "verify", "--help"], capture_output=True, text=True, check=True).stdout
    modes: dict[str, list[str]] = {"default": []} | ({"strict": ["--strict"]} if "--strict" in usage else {})
    found = {name: measure(options.classes.split(","), given, options.timeout) for name, given in modes.items()}
    print(json.dumps({"benchmark": "defects"} | found))


if __name__ == "__main__":
    main()
