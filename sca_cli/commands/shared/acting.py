"""Opening the agent that attempts tasks, and who plays its customers: the same for every verb that rolls out."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import Any, Literal

from sca_cli import plugins
from sca_cli.commands.shared.shell import opened_model
from sca_cli.episode.agent import USER_LIMITS, Actor, EpisodeLimits
from sca_cli.episode.customer import User
from sca_cli.errors import UsageError
from sca_cli.fanout import Fanout
from sca_cli.interfaces import Sampling
from sca_cli.prompts import Prompts


@dataclass(frozen=True, slots=True)
class Talk:
    """Who plays the customer, where an environment has one."""

    user_model: str | None
    """None: the agent's model."""
    user_turns: int
    direct: bool
    """Nobody: the instruction goes to the agent."""

    @classmethod
    def from_options(cls, user_model: str | None, user_turns: int, *, direct: bool) -> "Talk":
        """Check the options before any work is done.

        Raises:
            UsageError: a user model, but nobody to talk to.
            MissingError: unknown plugin.
        """
        if user_model and direct:
            raise UsageError("--user-model and --direct exclude each other", "--direct leaves the customer out")
        if user_model:
            plugins.fail_if_unknown([], [user_model])
        return cls(user_model, user_turns, direct)

    def settings(self) -> dict[str, Any]:
        """Return what decides the records, for `--resume`."""
        return {"user_model": self.user_model, "user_turns": self.user_turns, "direct": self.direct}


@contextmanager
def opened_actor(
    model_name: str,
    fanout: Fanout,
    sampling: Sampling,
    limits: EpisodeLimits,
    actions: Literal["code", "json", "text"],
    prompts: Prompts,
    talk: Talk,
) -> Iterator[Actor]:
    """Load the agent's model, and the user's unless it is the same one, for a block.

    Raises:
        MissingError: a plugin, an extra or the weights are absent.
    """
    with ExitStack() as opened:
        model = opened.enter_context(opened_model(model_name, fanout))
        user = None
        if not talk.direct:
            name = talk.user_model or model_name
            speaker = model if name == model_name else opened.enter_context(opened_model(name, fanout))
            user = User(speaker, sampling, prompts, name)
        user_limits = replace(USER_LIMITS, turns=talk.user_turns)
        yield Actor(model, sampling, limits, actions, prompts, user, user_limits)
