"""A small key-value environment for the tests of the sandbox; its tools fail in every way a tool can."""

import math
import os
import time
from typing import Any

from sca_cli import Environment, ToolError, tool


class Shop(Environment):
    """Users with names, orders with states.

    Args:
        fault: where the constructor or `reset` is to fail: "", `construct` or `reset`.
    """

    policy = "Never cancel an order that was shipped."

    def __init__(self, fault: str = "") -> None:
        if fault == "construct":
            raise RuntimeError("the shop is closed")
        self._fault = fault
        self._state: dict[str, Any] = {}

    def reset(self, seed: int) -> None:
        """Put the state of `seed` in place."""
        if self._fault == "reset":
            raise KeyError(seed)
        users = {f"user_{number}": {"name": f"Ann{seed}"} for number in (1, 2)}
        orders = {"order_1": {"status": "open"}, "order_2": {"status": "shipped"}}
        self._state = {"users": users, "orders": orders}

    def state(self) -> Any:
        """Return users and orders."""
        return self._state

    @tool
    def get_user(self, uid: str) -> dict[str, Any]:
        """Look a user up.

        Args:
            uid: the user's key.
        """
        if uid not in self._state["users"]:
            raise ToolError(f"no user '{uid}'")
        return dict(self._state["users"][uid])

    @tool(writes=True)
    def set_name(self, uid: str, name: str) -> str:
        """Give a user another name."""
        self.get_user(uid)
        self._state["users"][uid]["name"] = name
        return "ok"

    @tool(writes=True)
    def cancel_order(self, oid: str) -> str:
        """Cancel an open order."""
        order = self._state["orders"].get(oid)
        if order is None or order["status"] != "open":
            raise ToolError(f"order '{oid}' cannot be cancelled")
        order["status"] = "cancelled"
        return "ok"

    @tool
    def add(self, *numbers: float) -> float:
        """Add numbers."""
        return sum(numbers)

    @tool
    def divide(self, a: float, b: float = 2.0) -> float:
        """Divide, and fail as an environment when b is 0."""
        return a / b

    @tool
    def echo(self, value: Any) -> Any:
        """Return the value."""
        return value

    @tool
    def fill(self, size: int) -> str:
        """Return a text of that many characters."""
        return "x" * size

    @tool
    def not_finite(self) -> float:
        """Return infinity."""
        return math.inf

    @tool
    def not_json(self) -> Any:
        """Return a set."""
        return {1}

    @tool
    def sleep(self, seconds: float) -> None:
        """Take that long."""
        time.sleep(seconds)

    @tool
    def leave(self) -> None:
        """End the world's process."""
        os._exit(3)

    @tool
    def touch_outside(self, what: str) -> str:
        """Try an operation that no world may do, and return the result."""
        import socket
        import subprocess

        try:
            if what == "socket":
                socket.socket(socket.AF_VSOCK)
            elif what == "file":
                open("/usr/pwn", "w").close()  # noqa: PTH123  the plain call is what is tried
            elif what == "fork":
                subprocess.run(["/bin/true"], check=True)
        except OSError as error:
            return type(error).__name__
        return "done"


class Counter(Shop):
    """The shop's counter, where customers come."""

    policy = "Ask for the customer's key before you change anything."
    customer = True

    def first_observation(self) -> str:
        """Introduce a customer."""
        return f"The customer is user_1, {self._state['users']['user_1']['name']}."


class Mute(Shop):
    """A shop whose `first_observation` raises."""

    def first_observation(self) -> str:
        """Fail."""
        raise RuntimeError("nothing to see")
