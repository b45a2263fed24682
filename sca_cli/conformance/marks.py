"""Find tools that change the state and are not marked as writing, in the calls of explorations."""

from collections import Counter

from sca_cli import plugins
from sca_cli.errors import WorldError
from sca_cli.records import Exploration
from sca_cli.sandbox import Sandbox

_EXPLORATIONS = 3
"""Explorations of one environment whose calls are repeated; chosen by hand."""
_CALLS = 100
"""Calls that are repeated at most; chosen by hand."""


class Marks:
    """Repeats the calls of the first explorations of each environment, and compares the states between them.

    Args:
        sandbox: runs the environments of the explorations.
    """

    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox
        self._looks = Counter[str]()

    def missing(self, exploration: Exploration) -> str:
        """Return the first tool that changes the state in this exploration without the mark, or ""."""
        env = exploration.env
        self._looks[str(env)] += 1
        if self._looks[str(env)] > _EXPLORATIONS or plugins.environment_entry(env).outside:
            return ""
        readers = {tool.name for tool in self._sandbox.describe(env).tools if not tool.writes}
        calls = [call for call in exploration.observations if not call.error][:_CALLS]
        try:
            with self._sandbox.session(env, exploration.seed) as session:
                before = session.state()
                for call in calls:
                    session.call(call.tool, call.args, call.kwargs)
                    after = session.state()
                    if after != before and call.tool in readers:
                        return call.tool
                    before = after
        except WorldError:  # the exploration itself reports what fails
            pass
        return ""
