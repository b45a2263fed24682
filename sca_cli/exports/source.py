"""What an exporter receives: the records, and what they leave out, such as the tools of an environment."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from sca_cli.analysis.calls import bound
from sca_cli.episode.agent import FINAL_ANSWER
from sca_cli.errors import RecordError
from sca_cli.exports.attempt import opening, result_text
from sca_cli.interfaces import Tool
from sca_cli.records import JSON, EnvSpec, FunctionCall, Message, Observation, Rollout, Task, content_id
from sca_cli.sandbox import Description, Sandbox
from sca_cli.toolkit.replies import read_arguments


@dataclass(frozen=True, slots=True)
class Conversation:
    """One example to train on, in OpenAI form: messages, and the tools that they call natively."""

    messages: list[dict[str, JSON]]
    """Role, content and tool calls; the arguments of a call are an object."""
    tools: list[dict[str, JSON]]
    """Tool definitions, or [] if the messages contain no native tool call."""
    record: Task | Rollout
    """The record that it was made from."""


@dataclass(frozen=True, slots=True)
class ExportSource:
    """The records to export."""

    name: str
    """Name of the data set or package: lower-case letters, digits and _."""
    records: Iterable[Task | Rollout]
    """Tasks and rollouts, in order. They can be iterated once."""
    sandbox_of: Callable[[Task | None], Sandbox]
    """Return the sandbox with the limits of a task; None is a task that records none."""
    left_out: Counter[str] = field(default_factory=Counter)
    """Reason → number of records that were not exported. An exporter adds to it."""
    notes: list[str] = field(default_factory=list)
    """Lines to show the user after the export, such as what protection is lost. An exporter adds to it."""

    def describe(self, env: EnvSpec) -> Description:
        """Return the tools and the policy of an environment."""
        return self.sandbox_of(None).describe(env)

    def tools(self, env: EnvSpec) -> list[dict[str, JSON]]:
        """Return the definitions of an environment's tools, and of `final_answer`, in OpenAI form."""
        return [_definition(tool) for tool in [*self.describe(env).tools, FINAL_ANSWER]]

    def tasks(self) -> Iterator[Task]:
        """Yield each task that `sca verify` kept once; a rollout stands for its task.

        Raises:
            RecordError: a task has no verdict.
        """
        ids: set[str] = set()
        for record in self.records:
            task = record.task if isinstance(record, Rollout) else record
            if task.id in ids:
                continue
            ids.add(task.id)
            if self._is_proven(task):
                yield task

    def conversations(self, *, failed: bool = False) -> Iterator[Conversation]:
        """Yield a conversation for each rollout that passed, and for each verified task: its solution as tool calls.

        Args:
            failed: yield rollouts that failed too.

        Raises:
            RecordError: a task has no verdict.
        """
        ids: set[str] = set()
        for record in self.records:
            if isinstance(record, Rollout):
                if record.error or record.outcome == "invalid" or not record.messages:
                    self.left_out["the attempt is invalid"] += 1
                elif record.outcome == "fail" and not failed:
                    self.left_out["the attempt failed"] += 1
                else:
                    yield self._recorded(record)
            elif record.id not in ids and self._is_proven(record):
                ids.add(record.id)
                if conversation := self._demonstrated(record):
                    yield conversation

    def _is_proven(self, task: Task) -> bool:
        if task.kept is None:
            message = f"task {task.id or content_id(task)} has no verdict: its check and its solution are not verified"
            raise RecordError(message, "sca verify tasks.jsonl > verified.jsonl, then export verified.jsonl")
        self.left_out["sca verify rejected the task"] += not task.kept
        return task.kept

    def _recorded(self, rollout: Rollout) -> Conversation:
        messages = [_plain(message) for message in rollout.messages]
        while messages and messages[-1]["role"] != "assistant":  # nothing is learnt from what follows the last reply
            messages.pop()
        native = any(message.tool_calls for message in rollout.messages)
        return Conversation(messages, self.tools(rollout.task.env) if native else [], rollout)

    def _demonstrated(self, task: Task) -> Conversation | None:
        """Run the solution of a task, and return its calls as a conversation; None if it does not run to its end."""
        place = self.describe(task.env)
        with self.sandbox_of(task).session(task.env, task.seed) as session:
            run = session.run(task.solution)
        if not run.ok or not run.answered:
            self.left_out["the solution gives no answer"] += 1
            return None
        by_name = {tool.name: tool for tool in place.tools}
        messages: list[dict[str, JSON]] = opening(place.policy, task.instruction)
        for number, call in enumerate(run.calls):
            messages += _called(number, call, by_name[call.tool])
        messages.append(_calling(len(run.calls), FINAL_ANSWER.name, {"answer": run.answer}))
        return Conversation(messages, self.tools(task.env), task)


class Exporter(Protocol):
    """What `sca_register_exporters` registers: a function that writes one format."""

    def __call__(self, source: ExportSource, folder: Path) -> int:
        """Write the records of `source` into an empty directory, and return the number of examples.

        The directory gets its final name only if no exception is raised.
        """
        ...


def _definition(tool: Tool) -> dict[str, JSON]:
    function = {"name": tool.name, "description": tool.description, "parameters": tool.parameters}
    return {"type": "function", "function": function}


def _calling(number: int, tool: str, arguments: dict[str, JSON]) -> dict[str, JSON]:
    call = {"id": f"call{number:05d}", "type": "function", "function": {"name": tool, "arguments": arguments}}
    return {"role": "assistant", "content": "", "tool_calls": [call]}


def _called(number: int, call: Observation, tool: Tool) -> list[dict[str, JSON]]:
    """Return one call of a solution as two messages: the call and its result."""
    request = _calling(number, call.tool, bound(tool, call))
    answer = {"role": "tool", "tool_call_id": f"call{number:05d}", "name": call.tool, "content": result_text(call)}
    return [request, answer]


def _plain(message: Message) -> dict[str, JSON]:
    plain: dict[str, Any] = {"role": message.role, "content": message.content}
    if message.tool_calls:
        plain["tool_calls"] = [
            {"id": call.id, "type": "function", "function": _function(call.function)} for call in message.tool_calls
        ]
    names = ("tool_call_id", "name", "reasoning_content")
    return plain | {name: value for name in names if (value := getattr(message, name))}


def _function(call: FunctionCall) -> dict[str, JSON]:
    """Return a call with its arguments as an object; text that is no JSON object stays text, as the model wrote it."""
    arguments = read_arguments(call.arguments)
    return {"name": call.name, "arguments": call.arguments if arguments is None else arguments}
