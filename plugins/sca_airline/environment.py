"""The `airline` environment: its data, its seeds and its state; the tools are in `reading` and `writing`."""

import json
from pathlib import Path
from typing import Any

from sca_airline import policy, seeds
from sca_airline.files import checked, own_tables, tables_in
from sca_airline.store import Store, Tables
from sca_airline.writing import AirlineWritingTools
from sca_cli.toolkit.tables import variants


class Airline(AirlineWritingTools):
    """Simulate an airline's customer desk. Tool names and signatures are TauBench's; the data is our own by default.

    Tools behave like tau2's tools of the same names. `think` of TauBench is added, and `get_flight_status` is left
    out. Unlike tau2, these tools refuse calls that make no sense: negative numbers, empty lists, a flight or a payment
    method listed twice, more nonfree bags than bags, a date of birth that is not a date.
    """

    customer = True

    def __init__(self, data: str = "") -> None:
        """Load the data and set the state of seed 0.

        Args:
            data: directory of TauBench's or tau2's own JSON files; "" for the data of this package. If a directory is
                named, the state is the files' content, and a seed chooses only the customer.

        Raises:
            MissingError: the directory or a file does not exist.
            RecordError: a file is not JSON or has another layout; the message says where.
        """
        self.policy = Path(__file__).with_name("policy.md").read_text(encoding="utf-8").rstrip()
        self.store = Store(tables_in(data) if data else own_tables())
        self._varies = not data
        self._users = list(self.store.users)
        self._open_flights = seeds.bookable(self.store)
        self._balances = [
            (user_id, key)
            for user_id, user in self.store.users.items()
            for key, method in user["payment_methods"].items()
            if method["source"] != "credit_card"
        ]
        self.reset(0)

    def reset(self, seed: int) -> None:
        """Restore the loaded data, choose the seed's customer, and vary the data by the seed if it is our own."""
        self.store.rewind()
        self._seed = seed
        self._customer = seeds.customer_of(seed, self._users)
        if self._varies:
            seeds.vary(self.store, seed, self._customer, self._open_flights, self._balances)

    def state(self) -> Tables:
        """Return a copy of all flights, reservations and users."""
        tables: Tables = json.loads(json.dumps(self.store.tables()))
        return tables

    def restore(self, state: Tables) -> None:
        """Use a copy of these tables as the state until the next reset.

        Raises:
            ValueError: the tables do not have the shape of airline data.
        """
        self.store.open(checked(json.loads(json.dumps(state))))

    def first_observation(self) -> str:
        """Return the first message of the seed's customer."""
        return seeds.introduction(self.store, self._seed, self._customer, self._open_flights)

    def allows(self, tool: str, arguments: dict[str, Any]) -> str | None:
        """Return the rule of the policy that forbids a call for the seed's customer, or None."""
        return policy.forbids(self.store, self._customer, tool, arguments)

    @classmethod
    def variants(cls, options: dict[str, str]) -> list[dict[str, str]]:
        """Return the options with an absolute path."""
        return variants(options)

    @classmethod
    def eval_path(cls) -> Path:
        """Return the file of the held-out evaluation tasks, one record a line."""
        return Path(__file__).with_name("eval.jsonl")
