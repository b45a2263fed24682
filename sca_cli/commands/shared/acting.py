"""The agent that attempts tasks and the model that plays its customers: their options, and how they are opened."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import Literal

from sca_cli import plugins
from sca_cli.commands.shared import options
from sca_cli.commands.shared.attempts import TURNS
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
    sampling: Sampling
    """Sampling of the customer's messages."""

    @classmethod
    def from_options(cls, user_model: str | None, user_turns: int, sampling: Sampling, *, direct: bool) -> "Talk":
        """Check the options before any work is done.

        Raises:
            UsageError: a user model is named, but there is no customer to play.
            MissingError: the plugin is unknown.
        """
        if user_model and direct:
            raise UsageError("--user-model and --direct exclude each other", "--direct leaves the customer out")
        if user_model:
            plugins.fail_if_unknown([], [user_model])
        return cls(user_model, user_turns, direct, sampling)


@dataclass(frozen=True, slots=True)
class Acting:
    """The options of attempts at tasks, which `rollout`, `eval`, `train` and `distill` share."""

    attempts: options.Attempts = 4
    actions: options.Actions = "code"
    turns: options.Turns = None
    user_model: options.UserModel = None
    user_turns: options.UserTurns = 30
    user_temperature: options.UserTemperature = None
    user_max_tokens: options.UserMaxTokens = None
    direct: options.Direct = False
    observation_chars: options.ObservationChars = None
    temperature: options.Temperature = 0.8
    top_p: options.TopP = 1.0
    max_tokens: options.MaxTokens = 384
    prompt: options.Prompt = None

    @property
    def sampling(self) -> Sampling:
        """The sampling parameters."""
        return Sampling(self.temperature, self.top_p, self.max_tokens)

    @property
    def limits(self) -> EpisodeLimits:
        """The limits of an attempt without a customer, unless the task records other ones."""
        limits = EpisodeLimits(turns=self.turns or TURNS)
        return replace(limits, observation_chars=self.observation_chars) if self.observation_chars else limits

    def talk(self) -> Talk:
        """Return who plays the customer, see `Talk.from_options`."""
        temperature = self.temperature if self.user_temperature is None else self.user_temperature
        sampling = Sampling(temperature, self.top_p, self.user_max_tokens or self.max_tokens)
        return Talk.from_options(self.user_model, self.user_turns, sampling, direct=self.direct)


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

    An episode with a customer may use all tokens that the turns and the length of replies allow.

    Raises:
        MissingError: a plugin, an extra or the weights are absent.
    """
    with ExitStack() as opened:
        model = opened.enter_context(opened_model(model_name, fanout))
        user = None
        if not talk.direct:
            name = talk.user_model or model_name
            speaker = model if name == model_name else opened.enter_context(opened_model(name, fanout))
            user = User(speaker, talk.sampling, prompts, name)
        user_limits = replace(
            USER_LIMITS,
            turns=talk.user_turns,
            tokens=(talk.user_turns + 1) * sampling.max_tokens,  # the last turn gives the value to the check
            observation_chars=limits.observation_chars,
        )
        yield Actor(model, sampling, limits, actions, prompts, user, user_limits)
