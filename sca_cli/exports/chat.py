"""`chat`: conversations for supervised fine-tuning, one file for each of the readers.

The readers agree on messages and tools, and differ in how the arguments of a call are written. Loaders that give all
rows one set of columns (`datasets` before 5) would add absent arguments as null. So each file has the form that its
reader decodes without loss:

- `axolotl.jsonl`: arguments, and the parameters of tools, as JSON text. `type: chat_template` decodes both.
- `llama_factory.jsonl`: sharegpt roles; calls and tools are JSON text. `dataset_info.json` describes the file.
- `messages.jsonl`: the columns `messages` and `tools` as JSON text, for unsloth, TRL and code of your own.
"""

import json
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import Any

from sca_cli.exports.source import Conversation, ExportSource
from sca_cli.records import JSON

_README = """\
# {name}: conversations for supervised fine-tuning

Written by `sca export chat`: {count} conversations, from attempts that passed the check of their task, and from
verified solutions.

## axolotl
```yaml
datasets:
  - path: axolotl.jsonl
    ds_type: json
    type: chat_template
```

## LLaMA-Factory
```sh
llamafactory-cli train --dataset_dir . --dataset {name} --stage sft …
```
{skipped}
## unsloth
```python
import json
from datasets import load_dataset

rows = load_dataset("json", data_files="messages.jsonl", split="train")
rows = rows.map(lambda row: {{"text": tokenizer.apply_chat_template(
    json.loads(row["messages"]), tools=json.loads(row["tools"]) or None, tokenize=False)}})
```
The trainer then reads the column `text` (`dataset_text_field="text"`).
"""


def export(source: ExportSource, folder: Path) -> int:
    """Write the conversations."""
    count = skipped = 0
    with (
        (folder / "axolotl.jsonl").open("w", encoding="utf-8") as axolotl,
        (folder / "llama_factory.jsonl").open("w", encoding="utf-8") as llama_factory,
        (folder / "messages.jsonl").open("w", encoding="utf-8") as messages,
    ):
        for conversation in source.conversations():
            count += 1
            axolotl.write(_text(axolotl_row(conversation)) + "\n")
            messages.write(_text(text_row(conversation)) + "\n")
            if row := llama_factory_row(conversation):
                llama_factory.write(_text(row) + "\n")
            else:
                skipped += 1
    if not count:
        return 0
    (folder / "dataset_info.json").write_text(json.dumps({source.name: _INFO}, indent=2) + "\n")
    left_out = f"\n{skipped} conversations are not in this file: LLaMA-Factory needs turns that alternate.\n"
    text = _README.format(name=source.name, count=count, skipped=left_out if skipped else "")
    (folder / "README.md").write_text(text, encoding="utf-8")
    if skipped:
        source.notes.append(f"{skipped} conversations are not in llama_factory.jsonl: their turns do not alternate")
    return count


_INFO = {
    "file_name": "llama_factory.jsonl",
    "formatting": "sharegpt",
    "columns": {"messages": "conversations", "system": "system", "tools": "tools"},
}
"""What LLaMA-Factory's dataset_info.json says of the file. The tags of the roles are its defaults."""


def text_row(conversation: Conversation) -> dict[str, str]:
    """Return messages and tools as JSON text, which no loader changes."""
    return {"messages": _text(conversation.messages), "tools": _text(conversation.tools)}


def axolotl_row(conversation: Conversation) -> dict[str, JSON]:
    """Return messages and tools in OpenAI form, with arguments and parameters as JSON text."""
    row: dict[str, JSON] = {"messages": [_with_text(message) for message in conversation.messages]}
    if conversation.tools:
        row["tools"] = [
            {**tool, "function": {**tool["function"], "parameters": _text(tool["function"]["parameters"])}}
            for tool in conversation.tools
        ]
    return row


def _with_text(message: dict[str, Any]) -> dict[str, JSON]:
    if "tool_calls" not in message:
        return message
    calls = [
        {**call, "function": {**call["function"], "arguments": _text(call["function"]["arguments"])}}
        for call in message["tool_calls"]
    ]
    return {**message, "tool_calls": calls}


def llama_factory_row(conversation: Conversation) -> dict[str, JSON] | None:
    """Return the conversation with sharegpt roles; None if the two sides do not take turns.

    Several results in a row become one observation.
    """
    first, *others = conversation.messages
    system = first["content"] if first["role"] == "system" else ""
    turns = list(_turns(others if first["role"] == "system" else conversation.messages))
    sides = [turn["from"] in ("gpt", "function_call") for turn in turns]
    if not turns or len(turns) % 2 or sides != [False, True] * (len(turns) // 2):
        return None
    tools = _text([tool["function"] for tool in conversation.tools]) if conversation.tools else ""
    return {"conversations": turns, "system": system, "tools": tools}


def _turns(messages: list[dict[str, Any]]) -> Iterator[dict[str, str]]:
    names = {"user": "human", "assistant": "gpt", "tool": "observation", "system": "system"}
    for role, group in groupby(messages, key=lambda message: message["role"]):
        if role == "tool":
            yield {"from": "observation", "value": "\n".join(message["content"] for message in group)}
            continue
        for message in group:
            if calls := message.get("tool_calls"):
                yield {"from": "function_call", "value": _text([call["function"] for call in calls])}
            else:
                yield {"from": names[role], "value": message["content"]}


def _text(value: JSON) -> str:
    return json.dumps(value, ensure_ascii=False)
