"""Ask a suite for its listing: its tasks, and how they are judged."""

from pathlib import Path
from typing import Literal

import msgspec

from sca_cli import plugins
from sca_cli.episode.chat import WORDS, Words
from sca_cli.errors import MissingError, RecordError, UsageError
from sca_cli.records import JSON, EnvSpec
from sca_cli.sandbox import Sandbox


class Action(msgspec.Struct, frozen=True):
    """A tool call of the reference solution."""

    name: str
    arguments: dict[str, JSON] = {}


class Spec(msgspec.Struct):
    """One task of a benchmark."""

    name: str
    instruction: str
    options: dict[str, str]
    """Options of the task's environment."""
    evaluate: str = ""
    """Source of the check, if the answer decides."""
    solution: str = ""
    """Source of the reference solution, if the answer decides."""
    actions: list[Action] = []
    """The reference solution, if the final state decides."""
    outputs: list[str] = []
    """Texts that the agent has to say, if the final state decides."""


class CollectionReader(msgspec.Struct):
    """How a check reads a collection of the state."""

    tool: str
    """Name of the tool that takes a record's key and returns the record."""
    links: dict[str, str] = {}
    """Field of a record that holds a key, or a list of keys, of other records → the collection of those records."""


class Published(msgspec.Struct, frozen=True):
    """Settings of attempts with which the benchmark's authors publish scores, for `eval --as-published`."""

    actions: Literal["code", "json", "text"]
    attempts: int
    temperature: float
    turns: int
    """Limit of the agent's replies, also in an episode with a customer."""
    max_tokens: int
    user_temperature: float | None = None
    """None: there are no customers."""
    retry: bool = False
    """As `Listing.retry`."""


class Listing(msgspec.Struct):
    """A suite: the origin of its data, the way it judges, its tasks."""

    data: str
    """Name and version of the data."""
    checker: str
    """`state`, or the name of the check that judges answers."""
    tasks: list[Spec]
    retry: bool = False
    """The agent learns that its answer is wrong and may answer again."""
    words: Words = WORDS
    """The benchmark's texts for replies, calls and answers that cannot be used."""
    published: Published | None = None
    """None: there are no published settings for these options of the suite."""
    records: dict[str, CollectionReader] = {}
    """Collection of the state → how a check reads it."""


def parse_suite(text: str) -> EnvSpec:
    """Parse `NAME[:PATH][,k=v…]`; the path becomes the option `path`, as an absolute path.

    Raises:
        UsageError: the text does not have that form.
        MissingError: no plugin registered the name, or the path is not a directory.
    """
    name, _, rest = text.partition(":")
    path, _, options = rest.partition(",")
    if "=" in path:
        path, options = "", rest
    spec = plugins.parse_env(f"{name}:{options}")
    plugins.suite_entry(spec)
    path = path or spec.options.get("path", "")
    if not path:
        return spec
    place = Path(path).expanduser().absolute()
    if not place.is_dir():
        raise MissingError(f"suite {text}: no directory {path}", "name your checkout of the benchmark")
    return EnvSpec(name=name, options=spec.options | {"path": str(place)})


def listing_of(env: EnvSpec, sandbox: Sandbox) -> Listing:
    """Ask a world of the suite for its tasks.

    Raises:
        UsageError: the environment is not a suite, or an option is wrong.
        MissingError, PluginError: the benchmark is absent or cannot be loaded.
        RecordError: the listing has the wrong form.
    """
    try:
        with sandbox.session(EnvSpec(name=env.name, options=env.options | {"listing": "yes"}), 0) as session:
            state = session.state()
    except UsageError as error:
        if error.message.endswith("no option 'listing'"):
            raise UsageError(
                f"'{env.name}' is an environment, not a suite", f"sca eval --env {env.name} runs what it ships"
            ) from None
        raise
    try:
        return msgspec.convert(state, Listing)
    except msgspec.ValidationError as error:
        raise RecordError(f"{env}: the tasks cannot be read: {error}") from None
