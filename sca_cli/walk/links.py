"""Count from which sources a tool accepts values for a parameter.

Such a source is called a link. It is a path in the results of a tool, without indices and ids (see `memory`), or
another source of values, such as "documentation".
"""

from collections import defaultdict

_SHARED = "*"
_SHARED_WEIGHT = 2.0
"""Weight of the counts of a parameter of this name in all tools, in calls. Chosen by hand."""


class Links:
    """Counts of accepted and tried values, by tool, parameter and link."""

    def __init__(self) -> None:
        self._accepted: dict[tuple[str, str, str], float] = defaultdict(float)
        self._tried: dict[tuple[str, str, str], float] = defaultdict(float)

    def count(self, tool: str, parameter: str, link: str, *, accepted: bool, weight: float = 1.0) -> None:
        """Count one value of a link.

        Args:
            tool, parameter: where the value was used.
            link: the value's link, or a fact of its record.
            accepted: the call worked.
            weight: how certain it is that this value decided whether the call worked, from 0 to 1.
        """
        for owner in (tool, _SHARED):
            key = (owner, parameter, link)
            self._accepted[key] += weight * accepted
            self._tried[key] += weight

    def rate(self, tool: str, parameter: str, link: str) -> float:
        """Return the expected share of accepted values: 0.5 for a link that was never tried."""
        shared = (_SHARED, parameter, link)
        expected = (self._accepted[shared] + 1) / (self._tried[shared] + 2)
        key = (tool, parameter, link)
        return (self._accepted[key] + _SHARED_WEIGHT * expected) / (self._tried[key] + _SHARED_WEIGHT)

    def accepted(self, tool: str, parameter: str) -> dict[str, tuple[float, float]]:
        """Return link → (accepted, tried) of one parameter."""
        return {
            link: (self._accepted[key], self._tried[key])
            for key in self._tried
            for owner, name, link in [key]
            if (owner, name) == (tool, parameter)
        }
