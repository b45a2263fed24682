"""Environments that each break one promise, and one that keeps them all."""

import random
import time
from pathlib import Path
from typing import Any

from sca_cli import Environment, ToolError, tool

_BUILT = time.time_ns()


class Counter(Environment):
    """Keeps every promise."""

    def reset(self, seed: int) -> None:
        """Put the counter of `seed` in place."""
        self.counts: Any = {"a": seed, "b": 10}

    def state(self) -> Any:
        """Return the counters."""
        return self.counts

    def restore(self, state: Any) -> None:
        """Take the counters over."""
        self.counts = state

    @tool
    def count(self, name: str) -> int:
        """Return a counter."""
        if name not in self.counts:
            raise ToolError(f"no counter '{name}'")
        return int(self.counts[name])

    @tool(writes=True)
    def add(self, name: str, number: int = 1) -> int:
        """Add to a counter."""
        if abs(number) > 1000:
            raise ToolError("at most 1000")
        self.counts[name] = self.count(name) + number
        return int(self.counts[name])


class Bare(Environment):
    """Has no tools."""


class Clock(Counter):
    """Its state comes from the clock of the process that built it."""

    def reset(self, seed: int) -> None:
        """Put the time in place."""
        super().reset(seed)
        self.counts["built"] = _BUILT


class Dice(Counter):
    """Its state does not come from the seed."""

    def reset(self, seed: int) -> None:
        """Throw a die."""
        super().reset(seed)
        self.counts["die"] = random.SystemRandom().random()


class Constant(Counter):
    """Every seed gives one state."""

    def reset(self, seed: int) -> None:  # noqa: ARG002
        """Put the same in place."""
        super().reset(0)


class SetInState(Counter):
    """Its state is not JSON."""

    def state(self) -> Any:
        """Return a set."""
        return {"names": set(self.counts)}


class NoState(Counter):
    """Its state cannot be read."""

    def state(self) -> Any:
        """Fail."""
        raise AttributeError("no state")


class NoRestore(Counter):
    """Its state cannot be restored."""

    def restore(self, state: Any) -> None:
        """Fail."""
        raise KeyError(str(state["c"]))


class Hiding(Counter):
    """Holds something that its state leaves out."""

    def not_in_state(self) -> list[str]:
        """Return its name."""
        return ["cache (Lock)"]


class Secretive(Counter):
    """Says nothing of its state."""

    def state(self) -> Any:
        """Return nothing."""
        return {}


class Stateless(Environment):
    """Keeps nothing."""

    @tool
    def double(self, number: int) -> int:
        """Return twice the number."""
        return 2 * number


class Writing(Environment):
    """Keeps every promise; all its tools write."""

    def reset(self, seed: int) -> None:
        """Put a number in place."""
        self.number = seed

    def state(self) -> Any:
        """Return the number."""
        return {"number": self.number}

    def restore(self, state: Any) -> None:
        """Take the number over."""
        self.number = state["number"]

    @tool(writes=True)
    def grow(self) -> int:
        """Add one."""
        self.number += 1
        return self.number


class Tuples(Counter):
    """Its state holds a tuple."""

    def state(self) -> Any:
        """Return counters and a tuple."""
        return {**self.counts, "pair": (1, 2)}

    def restore(self, state: Any) -> None:
        """Take the counters over."""
        self.counts = {key: value for key, value in state.items() if key != "pair"}


class Half(Counter):
    """Restores half of its state."""

    def restore(self, state: Any) -> None:
        """Take one counter over."""
        self.counts["b"] = state["b"]


class Sneaky(Counter):
    """A tool that is not marked as writing writes."""

    @tool
    def peek(self, name: str) -> int:
        """Return a counter, and count."""
        self.counts["b"] += 1
        return self.count(name)


class Slow(Counter):
    """Its state takes long to tell."""

    def state(self) -> Any:
        """Return the counters, after a while."""
        time.sleep(0.02)
        return super().state()


class Forgiving(Counter):
    """A tool takes what its description does not have."""

    def tools(self) -> Any:
        """Return the tools; what carries one out needs no argument."""
        found = super().tools()
        return {**found, "count": (found["count"][0], lambda name="a": self.count(name))}


class Hasty(Counter):
    """A tool changes the state before it refuses."""

    @tool(writes=True)
    def take(self, number: int) -> int:
        """Take from a counter."""
        self.counts["b"] -= number
        if self.counts["b"] < 0:
            raise ToolError("not enough")
        return int(self.counts["b"])


class Fragile(Counter):
    """A tool fails as an environment on an unknown name."""

    @tool
    def look(self, name: str) -> int:
        """Return a counter."""
        return int(self.counts[name])


class Random(Counter):
    """A tool answers what neither seed nor state gives."""

    @tool
    def guess(self) -> int:
        """Return a number."""
        return random.SystemRandom().randrange(1 << 60)


class Mistaken(Counter):
    """Ships a task whose solution does not pass."""

    @classmethod
    def eval_path(cls) -> Path:
        """Return the tasks."""
        return Path(__file__).with_name("mistaken.jsonl")
