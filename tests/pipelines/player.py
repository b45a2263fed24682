"""A model that plays every part of the recipes in `examples` well enough that they run to their end.

It asks for a composed call by quoting it, and solves what it asked for by reading the quotation back. `player:DIR` is
DIR's weights played so: the directory must hold a model, which is trained for real.
"""

import re
from collections.abc import Sequence
from pathlib import Path

from sca_cli import Completion, Message, MissingError, Register, Sampling, Tool, hookimpl

_EXPLORED = ("reverse_string('pool{seed}')", "string_length('stone{seed}')", "caesar_decode('Khoor', {shift})")
_STEP = re.compile(r"Work out (.+?)\.(?= Work out| Answer with|\s|$)")
_WRONG_ONCE_IN = 3


@hookimpl
def sca_register_models(register: Register) -> None:
    """Register `player:DIR`."""
    register("player", "player:Player", help="plays every part; for tests")


class Player:
    """Reply as the last message asks.

    Args:
        name: directory of a model.
        manner: `mute` calls no tool and writes nothing useful; `stubborn` gives every task the same answer.

    Raises:
        MissingError: there is none.
    """

    def __init__(self, name: str, *, manner: str = "") -> None:
        if not (Path(name) / "config.json").exists():
            raise MissingError(f"no model in {name}")
        self._manner = manner

    async def generate(
        self, conversations: Sequence[Sequence[Message]], sampling: Sampling, tools: Sequence[Tool] = ()
    ) -> list[Completion]:
        """Reply to each conversation, see `Model.generate`."""
        del tools
        return [self._completion(messages, sampling.seed + index) for index, messages in enumerate(conversations)]

    async def close(self) -> None:
        """Do nothing: nothing is held."""

    def _completion(self, messages: Sequence[Message], seed: int) -> Completion:
        asked = next(message.content for message in reversed(messages) if message.role == "user")
        seed = 0 if self._manner == "stubborn" else seed
        text = "Well." if self._manner == "mute" else _reply(asked, seed)
        return Completion(text=text, finish_reason="stop", prompt_tokens=len(asked), completion_tokens=len(text))


def _reply(asked: str, seed: int) -> str:
    if "Must be named:" in asked:
        tool, _, arguments = asked.strip().splitlines()[0].partition("(")
        return f"Work out {tool.replace('_', ' ')}({arguments}"
    if "The task: " in asked:
        return _code("final_answer('?')" if seed % _WRONG_ONCE_IN == 0 else _solution(asked.partition("The task: ")[2]))
    calls = (call.format(seed=seed % 97, shift=seed % 5 + 1) for call in _EXPLORED)
    return _code("\n".join(f"print({call})" for call in calls))


def _solution(task: str) -> str:
    ordinals = ("first", "second", "third", "fourth", "fifth")
    lines = []
    for place, step in enumerate(_STEP.findall(task)):
        tool, _, arguments = step.partition("(")
        for earlier in range(place):
            arguments = arguments.replace(f"the {ordinals[earlier]} result", f"r{earlier}")
        arguments = arguments.replace("that result", f"r{place - 1}")
        lines.append(f"r{place} = {tool.strip().replace(' ', '_')}({arguments}")
    return "\n".join([*lines, f"final_answer(r{len(lines) - 1})"])


def _code(program: str) -> str:
    return f"```python\n{program}\n```"
