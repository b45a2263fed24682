"""Select rollouts for the arms of an ablation: those of some tasks, or subsets with equal numbers of sampled tokens.

python examples/experiments/arms.py of TASKS.jsonl ROLLOUTS.jsonl > SOME.jsonl
python examples/experiments/arms.py equal A.jsonl B.jsonl       writes A.equal.jsonl and B.equal.jsonl
"""

import random
import sys
from collections.abc import Sequence
from pathlib import Path

from sca_cli.records import Rollout, Task, decode, encode


def rollouts_in(path: str) -> list[Rollout]:
    """Return the rollouts of a JSONL file."""
    return [record for record in map(decode, Path(path).read_bytes().splitlines()) if isinstance(record, Rollout)]


def of_tasks(tasks: str, rollouts: str) -> list[Rollout]:
    """Return the rollouts whose task is in the file of tasks."""
    lines = Path(tasks).read_bytes().splitlines()
    ids = {task.id for task in map(decode, lines) if isinstance(task, Task)}
    return [rollout for rollout in rollouts_in(rollouts) if rollout.task.id in ids]


def sampled(rollouts: Sequence[Rollout]) -> int:
    """Return the number of tokens that models sampled, as agents and as customers."""
    return sum(rollout.usage.completion_tokens + rollout.usage.user_completion_tokens for rollout in rollouts)


def cut(rollouts: Sequence[Rollout], tokens: int) -> list[Rollout]:
    """Return rollouts in random order, and stop before their sampled tokens exceed a limit."""
    shuffled = random.Random(0).sample(list(rollouts), len(rollouts))
    subset: list[Rollout] = []
    for rollout in shuffled:
        tokens -= sampled([rollout])
        if tokens < 0:
            break
        subset.append(rollout)
    return subset


def equalise(files: Sequence[str]) -> None:
    """Cut every file to the sampled tokens of the smallest one; write NAME.equal.jsonl and report the counts."""
    arms = {name: rollouts_in(name) for name in files}
    tokens = min(map(sampled, arms.values()))
    for name, rollouts in arms.items():
        subset = cut(rollouts, tokens)
        lines = b"".join(encode(rollout) + b"\n" for rollout in subset)
        Path(name).with_suffix(".equal.jsonl").write_bytes(lines)
        tasks = len({rollout.task.id for rollout in subset})
        passed = sum(rollout.outcome == "pass" for rollout in subset)
        print(
            f"{name}: {len(subset)} of {len(rollouts)} rollouts of {tasks} tasks, {passed} passed, "
            f"{sampled(subset)} of at most {tokens} tokens",
            file=sys.stderr,
        )


def main() -> None:
    """Run the subcommand that the first argument names."""
    match sys.argv[1:]:
        case ["of", tasks, rollouts]:
            sys.stdout.buffer.writelines(encode(rollout) + b"\n" for rollout in of_tasks(tasks, rollouts))
        case ["equal", *files] if len(files) > 1:
            equalise(files)
        case _:
            sys.exit("usage: arms.py of TASKS ROLLOUTS | arms.py equal ROLLOUTS ROLLOUTS…")


if __name__ == "__main__":
    main()
