"""`trl`: prompts and an environment class for each environment, for `environment_factory` of TRL's GRPOTrainer.

TRL calls `reset` with the columns of a row, offers the public methods of the class as tools, and calls `get_reward` at
the end (TRL 1.16, `trl/trainer/grpo_trainer.py`).
"""

import json
from pathlib import Path

from sca_cli.exports.attempt import LOST, opening
from sca_cli.exports.classes import class_name, method
from sca_cli.exports.source import ExportSource
from sca_cli.interfaces import Tool
from sca_cli.records import EnvSpec, encode

_HEAD = '''\
"""Environments for TRL's GRPOTrainer, written by `sca export trl`. Import `ENVIRONMENTS`.

The tools and the checks run in the jail of sca, so `sca-cli` must be installed and `sca doctor` must pass.
"""

from collections.abc import Callable
from typing import Any, Literal

from sca_cli.exports.attempt import Attempt


class _Environment:
    """One attempt at a task; TRL resets and reuses it."""

    _attempt: Attempt | None = None

    def __init__(self, watch: Callable[[list[Any], bool, Any], None] | None = None) -> None:
        self._watch = watch

    def reset(self, task: str, **_: Any) -> None:
        """Start an attempt at a task."""
        if self._attempt:
            self._attempt.close()
        self._attempt = Attempt(task)

    def _call(self, tool: str, arguments: dict[str, Any]) -> str:
        assert self._attempt, "reset() comes first"
        text = self._attempt.call(tool, {name: value for name, value in arguments.items() if value is not None})
        self._report(self._attempt)
        return text

    def _report(self, attempt: Attempt) -> None:
        if self._watch:
            self._watch(attempt.calls, attempt.answered, attempt.given)

    def get_reward(self) -> float | None:
        """Run the check: 1.0 for pass, 0.0 for fail, None if the attempt cannot be judged."""
        assert self._attempt, "reset() comes first"
        return self._attempt.reward()

    def final_answer(self, answer: str) -> str:
        """Give the final answer; this ends the task.

        Args:
            answer: the answer as JSON, such as 54.0, true, null or ["a", "b"]; other text is an answer as it is.
        """
        assert self._attempt, "reset() comes first"
        text = self._attempt.answer_text(answer)
        self._report(self._attempt)
        return text
'''

_README = """\
# {name}: tasks for TRL

Written by `sca export trl`: {count} tasks. Run this in this directory:

```python
from datasets import load_dataset
from environments import ENVIRONMENTS
from trl import GRPOConfig, GRPOTrainer

GRPOTrainer(
    model="Qwen/Qwen3-0.6B",
    args=GRPOConfig("trained", max_completion_length=1024),
    train_dataset=load_dataset("json", data_files="train.jsonl", split="train"),
    environment_factory=ENVIRONMENTS,
).train()
```

The reward is 1 if the check of the task passes, else 0. {lost}
"""

_TAKEN = ("reset", "get_reward", "final_answer")


class Environments:
    """The classes of the environments of the tasks; one is added when its first task arrives.

    Args:
        source: describes the environments.
    """

    def __init__(self, source: ExportSource) -> None:
        self._source = source
        self._names: dict[str, str] = {}
        self._tools: dict[str, list[Tool]] = {}

    def policy(self, env: EnvSpec) -> str:
        """Return the policy of an environment."""
        return self._source.describe(env).policy

    def name(self, env: EnvSpec) -> str:
        """Return the name of the class of an environment."""
        key = str(env)
        if key not in self._names:
            self._names[key] = class_name(len(self._names) + 1, key)
            self._tools[key] = self._source.describe(env).tools
        return self._names[key]

    def source_text(self) -> str:
        """Return the module with the classes.

        Raises:
            UsageError: a tool or a parameter has a name that Python does not allow.
        """
        parts = [_HEAD]
        for env, name in self._names.items():
            methods = "\n\n".join(method(tool, _TAKEN) for tool in self._tools[env])
            parts.append(f"class {name}(_Environment):\n    # {env!a}\n\n{methods}\n")
        table = ", ".join(f'"{name}": {name}' for name in self._names.values())
        return "\n\n".join([*parts, f"ENVIRONMENTS = {{{table}}}\n"])


def export(source: ExportSource, folder: Path) -> int:
    """Write the prompts, and the classes."""
    environments = Environments(source)
    count = 0
    with (folder / "train.jsonl").open("w", encoding="utf-8") as file:
        for task in source.tasks():
            prompt = opening(environments.policy(task.env), task.instruction)
            line = {"prompt": prompt, "environment": environments.name(task.env), "task": encode(task).decode()}
            file.write(json.dumps(line, ensure_ascii=False) + "\n")
            count += 1
    (folder / "environments.py").write_text(environments.source_text(), encoding="utf-8")
    (folder / "README.md").write_text(_README.format(name=source.name, count=count, lost=LOST), encoding="utf-8")
    source.notes.append(LOST)
    return count
