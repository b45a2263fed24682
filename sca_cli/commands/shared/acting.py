"""Opening the agent that attempts tasks and the model that plays its customers: the same for every verb."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import Literal

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
    """The model that plays the customer, in environments that have one."""

    user_model: str | None
    """None means the agent's model."""
    user_turns: int
    direct: bool
    """There is no customer: the instruction goes to the agent."""

    @classmethod
    def from_options(cls, user_model: str | None, user_turns: int, *, direct: bool) -> "Talk":
        """Check the options before any work is done.

        Raises:
            UsageError: a user model is named, but there is no customer to play.
            MissingError: the plugin is unknown.
        """
        if user_model and direct:
            raise UsageError("--user-model and --direct exclude each other", "--direct leaves the customer out")
        if user_model:
            plugins.fail_if_unknown([], [user_model])
        return cls(user_model, user_turns, direct)


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
    """Context manager: load the agent's model, and the user's model unless it is the same.

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
