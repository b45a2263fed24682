"""`hf`: a data set for the Hugging Face hub: one parquet file and its card.

Conversations and tools are JSON text: in nested columns, loaders would add absent arguments as null. The column
`record` is the complete record, so nothing is lost.
"""

import json
from collections import Counter
from itertools import batched
from pathlib import Path

from sca_cli.exports.source import Conversation, ExportSource
from sca_cli.records import JSON, Rollout, encode

_ROWS = 1000
"""Rows that are written at once; it bounds the memory."""

COLUMNS = {
    "id": "id of the record",
    "kind": "`task` or `rollout`",
    "env": "environment, as `sca --env` accepts it",
    "method": "how the task was made",
    "split": "`train`, or `eval` for held-out tasks",
    "instruction": "the text that asks the agent to do the task",
    "evaluate": "the check: Python source that defines `evaluate`",
    "solution": "Python program that passes the check",
    "failure_cases": "JSON text: programs that fail the check",
    "messages": "JSON text: the attempt, or the solution as tool calls, in OpenAI form",
    "tools": "JSON text: the tools that the messages call",
    "outcome": "`pass` or `fail`; of a task: `pass`, because its solution passes",
    "record": "JSON text: the complete record, see the manual page sca-records(5)",
}
"""Column → what it holds. All columns are text."""

_CARD = """\
---
pretty_name: {name}
language:
- en
task_categories:
- text-generation
tags:
- agent
- tool-use
- synthetic
configs:
- config_name: default
  data_files:
  - split: train
    path: data.parquet
---
# {name}

{count} examples, written by `sca export hf`: verified tasks, or attempts at them, by environment:

{envs}

| column | content |
|---|---|
{columns}

```python
import json
from datasets import load_dataset

rows = load_dataset("parquet", data_files="data.parquet", split="train")
messages, tools = json.loads(rows[0]["messages"]), json.loads(rows[0]["tools"])
```

`evaluate`, `solution` and `failure_cases` are programs, which a model may have written. `sca` runs them in a jail,
without files and network. Do not run them without one.

The instructions are in English unless the environment uses another language. Choose a licence before you publish.
"""


def export(source: ExportSource, folder: Path) -> int:
    """Write the parquet file and the card."""
    import pyarrow
    from pyarrow import parquet

    schema = pyarrow.schema([(name, pyarrow.string()) for name in COLUMNS])
    envs: Counter[str] = Counter()
    with parquet.ParquetWriter(folder / "data.parquet", schema, compression="zstd") as writer:
        for conversations in batched(source.conversations(failed=True), _ROWS):
            rows = [row(conversation) for conversation in conversations]
            envs.update(each["env"] for each in rows)
            writer.write_table(pyarrow.Table.from_pylist(rows, schema))
    card = _CARD.format(
        name=source.name,
        count=envs.total(),
        envs="\n".join(f"- `{env}`: {number}" for env, number in sorted(envs.items())),
        columns="\n".join(f"| `{name}` | {text} |" for name, text in COLUMNS.items()),
    )
    (folder / "README.md").write_text(card, encoding="utf-8")
    source.notes.append("'evaluate' and 'solution' are programs that a model may have written: outside sca, no jail")
    source.notes.append("README.md is the card; 'hf upload REPO DIR . --repo-type dataset' publishes the directory")
    return envs.total()


def row(conversation: Conversation) -> dict[str, str]:
    """Return the row of a conversation, see `COLUMNS`."""
    record = conversation.record
    task = record.task if isinstance(record, Rollout) else record
    line = encode(record).decode()
    return {
        "id": record.id,
        "kind": "rollout" if isinstance(record, Rollout) else "task",
        "env": str(task.env),
        "method": task.method,
        "split": task.split,
        "instruction": task.instruction,
        "evaluate": task.evaluate,
        "solution": task.solution,
        "failure_cases": _text(task.failure_cases),
        "messages": _text(conversation.messages),
        "tools": _text(conversation.tools),
        "outcome": record.outcome if isinstance(record, Rollout) else "pass",
        "record": line,
    }


def _text(value: JSON) -> str:
    return json.dumps(value, ensure_ascii=False)
