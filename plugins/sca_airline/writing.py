"""The airline's tools that change the state.

They enforce the rules that an airline's booking system enforces: a flight can be booked and has enough seats; a payment
method belongs to the user and holds enough money; payments add up to the price; the number of passengers stays the
same. The agent is responsible for the rest of the policy. As in TauBench, a change or a cancellation of a reservation
does not free its seats, and a change to other flights does not use up seats.

A tool refuses a call before it changes anything.
"""

from copy import deepcopy
from typing import Any, Literal

from sca_airline.arguments import bags, dollars, flights_of, passengers_of, payments_of
from sca_airline.reading import AirlineReadingTools
from sca_airline.store import Record
from sca_cli import ToolError, tool

Cabin = Literal["basic_economy", "economy", "business"]

NOW = "2024-05-15T15:00:00"
"""The current time of the environment; it does not advance."""
INSURANCE = 30  # dollars a passenger
BAG = 50  # dollars for each bag beyond the free allowance

# TauBench gives new records these ids and no others. We use the same ids, so that end states are comparable.
_NEW_RESERVATIONS = ("HATHAT", "HATHAU", "HATHAV")
_NEW_CERTIFICATES = ("certificate_3221322", "certificate_3221323", "certificate_3221324")


class AirlineWritingTools(AirlineReadingTools):
    """Tools that book, change, cancel and compensate."""

    @tool(writes=True)
    def book_reservation(
        self,
        user_id: str,
        origin: str,
        destination: str,
        flight_type: Literal["one_way", "round_trip"],
        cabin: Cabin,
        flights: list[dict[str, Any]],
        passengers: list[dict[str, Any]],
        payment_methods: list[dict[str, Any]],
        total_baggages: int,
        nonfree_baggages: int,
        insurance: Literal["yes", "no"],
    ) -> dict[str, Any]:
        """Book a reservation and pay for it; return the reservation.

        The amounts must add up to the price: each flight's for each passenger, 50 dollars for each nonfree bag, and
        30 dollars for each passenger with insurance. A certificate is used up by one booking.

        Args:
            user_id: who books and pays.
            origin: IATA code of the airport where the trip starts.
            destination: IATA code of the airport where it leads.
            flight_type: 'one_way' or 'round_trip'.
            cabin: 'basic_economy', 'economy' or 'business', the same on all flights.
            flights: all flights in order, each {'flight_number': ..., 'date': 'YYYY-MM-DD'}.
            passengers: each {'first_name': ..., 'last_name': ..., 'dob': 'YYYY-MM-DD'}.
            payment_methods: each {'payment_id': ..., 'amount': whole dollars}; ids of the user's profile.
            total_baggages: checked bags in all.
            nonfree_baggages: checked bags beyond the free allowance.
            insurance: 'yes' or 'no'.
        """
        user = self._user(user_id)
        travellers, payments = passengers_of(passengers), payments_of(payment_methods)
        bags(total_baggages, nonfree_baggages)
        legs = [self._open_leg(flight, cabin, len(travellers)) for flight in flights_of(flights)]
        price = len(travellers) * (sum(leg["price"] for leg in legs) + (INSURANCE if insurance == "yes" else 0))
        price += BAG * nonfree_baggages
        _check_payments(user, payments, price)
        new = _unused(_NEW_RESERVATIONS, self.store.reservations, "reservations")
        reservation = {
            "reservation_id": new,
            "user_id": user_id,
            "origin": origin,
            "destination": destination,
            "flight_type": flight_type,
            "cabin": cabin,
            "flights": legs,
            "passengers": travellers,
            "payment_history": payments,
            "created_at": NOW,
            "total_baggages": total_baggages,
            "nonfree_baggages": nonfree_baggages,
            "insurance": insurance,
        }
        for payment in payments:
            self._pay(user, payment["payment_id"], payment["amount"])
        for leg in legs:
            seats = self.store.flights[leg["flight_number"]]["dates"][leg["date"]]["available_seats"]
            self.store.put(seats, cabin, seats[cabin] - len(travellers))
        self.store.put(self.store.reservations, new, reservation)
        self.store.put(user, "reservations", [*user["reservations"], new])
        return deepcopy(reservation)

    @tool(writes=True)
    def cancel_reservation(self, reservation_id: str) -> dict[str, Any]:
        """Cancel a whole reservation and refund every payment; return the reservation.

        Args:
            reservation_id: six letters and digits, such as '4XK9TM'.
        """
        reservation = self._reservation(reservation_id)
        paid = reservation["payment_history"]
        refunds = [{"payment_id": payment["payment_id"], "amount": -payment["amount"]} for payment in paid]
        self.store.put(reservation, "payment_history", [*paid, *refunds])
        self.store.put(reservation, "status", "cancelled")
        return deepcopy(reservation)

    @tool(writes=True)
    def send_certificate(self, user_id: str, amount: int) -> str:
        """Give a user a travel certificate, as compensation.

        Args:
            user_id: who gets it.
            amount: whole dollars.
        """
        user = self._user(user_id)
        amount = dollars("amount", amount)
        methods = user["payment_methods"]
        new = _unused(_NEW_CERTIFICATES, methods, "certificates")
        certificate = {"source": "certificate", "amount": amount, "id": new}
        self.store.put(user, "payment_methods", methods | {new: certificate})
        return f"{user_id} now has {new}, worth {amount} dollars"

    @tool(writes=True)
    def update_reservation_baggages(
        self, reservation_id: str, total_baggages: int, nonfree_baggages: int, payment_id: str
    ) -> dict[str, Any]:
        """Set a reservation's bags; each nonfree bag more than before costs 50 dollars. Return the reservation.

        Args:
            reservation_id: six letters and digits, such as '4XK9TM'.
            total_baggages: checked bags in all, old and new.
            nonfree_baggages: of these, bags beyond the free allowance.
            payment_id: credit card or gift card of the user's profile.
        """
        reservation = self._reservation(reservation_id)
        bags(total_baggages, nonfree_baggages)
        self._settle(reservation, payment_id, BAG * max(0, nonfree_baggages - reservation["nonfree_baggages"]))
        self.store.put(reservation, "total_baggages", total_baggages)
        self.store.put(reservation, "nonfree_baggages", nonfree_baggages)
        return deepcopy(reservation)

    @tool(writes=True)
    def update_reservation_flights(
        self, reservation_id: str, cabin: Cabin, flights: list[dict[str, Any]], payment_id: str
    ) -> dict[str, Any]:
        """Set a reservation's cabin and flights; the difference in price is paid or refunded. Return the reservation.

        A flight that stays, in the same cabin, keeps the price it was booked at; all others have today's price.

        Args:
            reservation_id: six letters and digits, such as '4XK9TM'.
            cabin: 'basic_economy', 'economy' or 'business', the same on all flights.
            flights: all flights of the reservation in order, those that stay too, each
                {'flight_number': ..., 'date': 'YYYY-MM-DD'}.
            payment_id: credit card or gift card of the user's profile.
        """
        reservation = self._reservation(reservation_id)
        before, count = reservation["flights"], len(reservation["passengers"])
        unchanged = {(x["flight_number"], x["date"]): x for x in before} if cabin == reservation["cabin"] else {}
        legs = [
            unchanged.get((flight["flight_number"], flight["date"])) or self._open_leg(flight, cabin, count)
            for flight in flights_of(flights)
        ]
        self._settle(reservation, payment_id, count * (sum(x["price"] for x in legs) - sum(x["price"] for x in before)))
        self.store.put(reservation, "flights", legs)
        self.store.put(reservation, "cabin", cabin)
        return deepcopy(reservation)

    @tool(writes=True)
    def update_reservation_passengers(self, reservation_id: str, passengers: list[dict[str, Any]]) -> dict[str, Any]:
        """Set a reservation's passengers; their number cannot change. Return the reservation.

        Args:
            reservation_id: six letters and digits, such as '4XK9TM'.
            passengers: all passengers, each {'first_name': ..., 'last_name': ..., 'dob': 'YYYY-MM-DD'}.
        """
        reservation = self._reservation(reservation_id)
        travellers, count = passengers_of(passengers), len(reservation["passengers"])
        if len(travellers) != count:
            raise ToolError(f"the reservation is for {count} passengers, not {len(travellers)}; that cannot change")
        self.store.put(reservation, "passengers", travellers)
        return deepcopy(reservation)

    def _open_leg(self, flight: dict[str, str], cabin: str, count: int) -> dict[str, Any]:
        """Return a flight in the form that reservations store, at today's price.

        Raises:
            ToolError: the flight does not exist, cannot be booked, or has too few seats.
        """
        number, date = flight["flight_number"], flight["date"]
        if number not in self.store.flights:
            raise ToolError(f"no flight '{number}'; search_direct_flight and search_onestop_flight list flights")
        known = self.store.flights[number]
        day = known["dates"].get(date)
        if day is None:
            raise ToolError(f"flight {number} does not fly on '{date}'; dates are written YYYY-MM-DD")
        if day["status"] != "available":
            raise ToolError(f"flight {number} cannot be booked on {date}: it is {day['status']}")
        seats = day["available_seats"][cabin]
        if seats < count:
            raise ToolError(f"flight {number} on {date} has {seats} free seats in {cabin}, {count} are needed")
        ends = {"origin": known["origin"], "destination": known["destination"]}
        return {**ends, "flight_number": number, "date": date, "price": day["prices"][cabin]}

    def _settle(self, reservation: Record, payment_id: str, price: int) -> None:
        """Charge the price of a change to a payment method; a negative price is a refund.

        Raises:
            ToolError: the payment method is not the user's, is a certificate, or holds too little.
        """
        user = self._user(reservation["user_id"])
        method = _method(user, payment_id)
        if method["source"] == "certificate":
            raise ToolError("a certificate pays for new bookings only; take a credit card or a gift card")
        _check_balance(method, price)
        self._pay(user, payment_id, price)
        if price:
            payment = {"payment_id": payment_id, "amount": price}
            self.store.put(reservation, "payment_history", [*reservation["payment_history"], payment])

    def _pay(self, user: Record, payment_id: str, amount: int) -> None:
        """Subtract an amount from a gift card, or remove a used certificate; a credit card has no balance."""
        methods = user["payment_methods"]
        method = methods[payment_id]
        if method["source"] == "gift_card":
            self.store.put(method, "amount", method["amount"] - amount)
        elif method["source"] == "certificate":
            self.store.put(user, "payment_methods", {key: methods[key] for key in methods if key != payment_id})


def _method(user: Record, payment_id: str) -> Record:
    methods: dict[str, Record] = user["payment_methods"]
    if payment_id not in methods:
        raise ToolError(f"the user has no such payment method; the profile has {', '.join(methods) or 'none'}")
    return methods[payment_id]


def _check_balance(method: Record, amount: int) -> None:
    if method["source"] != "credit_card" and method["amount"] < amount:
        raise ToolError(f"{method['id']} holds {method['amount']:g} dollars, less than {amount}")


def _check_payments(user: Record, payments: list[dict[str, Any]], price: int) -> None:
    """Refuse payments that a method cannot cover or that do not add up to the price."""
    for payment in payments:
        _check_balance(_method(user, payment["payment_id"]), payment["amount"])
    paid = sum(payment["amount"] for payment in payments)
    if paid != price:
        raise ToolError(f"the payments add up to {paid} dollars, the price is {price}")


def _unused(ids: tuple[str, ...], taken: dict[str, Any], what: str) -> str:
    for new in ids:
        if new not in taken:
            return new
    raise ToolError(f"no more than {len(ids)} new {what} can be made here")
