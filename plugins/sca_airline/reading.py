"""The airline's tools that do not change the state."""

import datetime
from copy import deepcopy
from typing import Any

from sca_airline.airports import CITIES
from sca_airline.store import Record, Store
from sca_cli import Environment, ToolError, tool
from sca_cli.toolkit.arguments import text
from sca_cli.toolkit.arithmetic import calculate


class AirlineReadingTools(Environment):
    """Tools for look-ups, arithmetic, thoughts, and the transfer to a human agent."""

    store: Store

    @tool
    def get_user_details(self, user_id: str) -> dict[str, Any]:
        """Get a user's profile: name, address, payment methods, saved passengers, membership, reservation ids.

        Args:
            user_id: the user's id, such as 'first_last_1234'.
        """
        return deepcopy(self._user(user_id))

    @tool
    def get_reservation_details(self, reservation_id: str) -> dict[str, Any]:
        """Get a reservation: flights, cabin, passengers, payments, bags, insurance; `status` if it is cancelled.

        Args:
            reservation_id: six letters and digits, such as '4XK9TM'.
        """
        return deepcopy(self._reservation(reservation_id))

    @tool
    def list_all_airports(self) -> list[dict[str, str]]:
        """List the airports that are served: [{'iata': 'DEN', 'city': 'Denver'}, ...]."""
        flights = self.store.flights.values()
        codes = sorted({flight[end] for flight in flights for end in ("origin", "destination")})
        return [{"iata": code, "city": CITIES.get(code, code)} for code in codes]

    @tool
    def search_direct_flight(self, origin: str, destination: str, date: str) -> list[dict[str, Any]]:
        """List the flights between two airports on a date that can be booked, with free seats and prices by cabin.

        Args:
            origin: IATA code of the airport of departure, such as 'DEN'.
            destination: IATA code of the airport of arrival, such as 'BOS'.
            date: day of departure, YYYY-MM-DD.
        """
        return self._bookable(origin, date, destination)

    @tool
    def search_onestop_flight(self, origin: str, destination: str, date: str) -> list[list[dict[str, Any]]]:
        """List the pairs of bookable flights that lead from one airport over a third to another.

        Each flight has its own `date`: the second leaves a day later where the first arrives after midnight.

        Args:
            origin: IATA code of the airport of departure, such as 'SEA'.
            destination: IATA code of the airport of arrival, such as 'TPA'.
            date: day of the first departure, YYYY-MM-DD.
        """
        pairs = []
        for first in self._bookable(origin, date):
            arrival = first["scheduled_arrival_time_est"]
            later = _next_day(date) if "+1" in arrival else date
            for second in self._bookable(first["destination"], later, destination):
                # Compare the times as strings: an arrival on the next day, 01:30:00+1, sorts after 01:30:00.
                if second["scheduled_departure_time_est"] >= arrival:
                    pairs.append([first | {"date": date}, second | {"date": later}])
        return pairs

    @tool
    def calculate(self, expression: str) -> str:
        """Calculate an arithmetic expression; the result is rounded to two decimals.

        Args:
            expression: numbers with + - * / and parentheses, such as '2 * (182 + 124)'.
        """
        return str(round(float(calculate(expression)), 2))

    @tool
    def think(self, thought: str) -> str:  # noqa: ARG002
        """Note a thought; nothing is looked up and nothing changes.

        Args:
            thought: what is to be kept in mind.
        """
        return ""

    @tool
    def transfer_to_human_agents(self, summary: str) -> str:  # noqa: ARG002
        """Hand the customer over to a human agent; only for what the policy puts out of your reach.

        Args:
            summary: what the customer wants, and what has been done.
        """
        return "Transfer successful"

    def _user(self, user_id: str) -> Record:
        if user_id not in self.store.users:
            raise ToolError(f"no user '{text('user_id', user_id, 100)}'; ask the customer for the user id")
        return self.store.users[user_id]

    def _reservation(self, reservation_id: str) -> Record:
        if reservation_id not in self.store.reservations:
            shown = text("reservation_id", reservation_id, 100)
            raise ToolError(f"no reservation '{shown}'; get_user_details lists a user's reservations")
        return self.store.reservations[reservation_id]

    def _bookable(self, origin: str, date: str, destination: str | None = None) -> list[dict[str, Any]]:
        """Return the flights from an airport that can be booked on a date, in the order of the data.

        Args:
            origin: IATA code of the airport of departure.
            date: YYYY-MM-DD.
            destination: IATA code of the airport of arrival; None for all.
        """
        return [
            {key: value for key, value in flight.items() if key != "dates"} | deepcopy(flight["dates"][date])
            for flight in self.store.departures.get(origin, ())
            if destination in (None, flight["destination"])
            and flight["dates"].get(date, {}).get("status") == "available"
        ]


def _next_day(date: str) -> str:
    return str(datetime.date.fromisoformat(date) + datetime.timedelta(days=1))
