"""The environment in which probes and hostile programs run: a few users and orders, and tools for them."""

from typing import Any

from sca_cli import Environment, ToolError, tool


class Ledger(Environment):
    """Users with names, and orders with states. No argument can break a tool."""

    policy = "You keep the ledger of a shop."

    def __init__(self) -> None:
        self._users: dict[str, dict[str, str]] = {}
        self._orders: dict[str, str] = {}

    def reset(self, seed: int) -> None:
        """Set the state that belongs to `seed`."""
        self._users = {f"user_{number}": {"name": f"Ann{seed}"} for number in (1, 2)}
        self._orders = {"order_1": "open", "order_2": "shipped"}

    def state(self) -> Any:
        """Return users and orders."""
        return {"users": self._users, "orders": self._orders}

    @tool
    def get_user(self, uid: str) -> dict[str, Any]:
        """Look a user up."""
        if uid not in self._users:
            raise ToolError(f"no user '{uid}'")
        return dict(self._users[uid])

    @tool(writes=True)
    def set_name(self, uid: str, name: str) -> str:
        """Give a user another name."""
        self.get_user(uid)
        self._users[uid]["name"] = name
        return "ok"

    @tool(writes=True)
    def cancel_order(self, oid: str) -> str:
        """Cancel an open order."""
        if self._orders.get(oid) != "open":
            raise ToolError(f"order '{oid}' cannot be cancelled")
        self._orders[oid] = "cancelled"
        return "ok"

    @tool
    def echo(self, value: Any) -> Any:
        """Return the value."""
        return value
