"""Tools that plan a trip; the flights and hotels are invented and drawn from the seed."""

import builtins
from typing import Any

from sca_calculation.travel_data import CITIES, DATES, PREFERENCES, draw
from sca_cli import Environment, ToolError, tool
from sca_cli.toolkit.arguments import kind, number, numbers, one_of, text, whole


class TravelItinerary(Environment):
    """The travel_itinerary family. No call changes the state: `book_hotel` is a look-up, as in M3ToolEval."""

    policy = (
        "You plan trips between cities in September 2025 over a fixed set of flights and hotels. All prices "
        "are in dollars a person or a room. The tools max, min and sum take the place of Python's own "
        "and take numbers only and no key=."
    )
    _data: dict[str, Any]

    def reset(self, seed: int) -> None:
        """Draw the flights and hotels of `seed`."""
        super().reset(seed)
        self._data = draw(seed)

    def state(self) -> Any:
        """Return the flights and hotels, see `travel_data.draw`."""
        return self._data

    @tool
    def find_flights(self, from_location: str, to_location: str, date: str) -> list[dict[str, Any]]:
        """List the direct flights of one day, by departure; the list is empty where there are none.

        Each flight is {'flight', 'from_location', 'to_location', 'date', 'departure', 'arrival', 'price'};
        times are 'HH:MM' (an arrival may be on the next day), the price is in dollars.

        Args:
            from_location: city of departure, one of Amsterdam, Athens, Cairo, Chicago, Dublin, Istanbul,
                Lisbon, Montreal, Oslo, Prague, Seoul, Singapore, Sydney, Toronto.
            to_location: another of these cities.
            date: YYYY-MM-DD, from 2025-09-01 to 2025-09-14.
        """
        start = one_of("from_location", from_location, CITIES)
        end = one_of("to_location", to_location, CITIES)
        if start == end:
            raise ToolError(f"from_location and to_location are both {start}")
        day = text("date", date, most=100).strip()
        if day not in DATES:
            raise ToolError(f"date must be YYYY-MM-DD from {DATES[0]} to {DATES[-1]}")
        common = {"from_location": start, "to_location": end, "date": day}
        return [
            {"flight": flight, **common, "departure": departure, "arrival": arrival, "price": price}
            for flight, departure, arrival, price in self._data["flights"].get(f"{start}>{end} {day}", [])
        ]

    @tool
    def book_hotel(self, location: str, *preferences: str) -> list[dict[str, Any]]:
        """List the hotels of a city that have all the features asked for, cheapest first.

        No room is reserved. Each hotel is {'hotel', 'location', 'price_per_night', 'rating', 'features'}; the
        price is in dollars, the rating out of 5.

        Args:
            location: the city, as for find_flights.
            *preferences: none or more of 'airport shuttle', 'breakfast', 'gym', 'kitchen', 'parking',
                'pets allowed', 'pool', 'sea view', 'spa', 'wifi'.
        """
        city = one_of("location", location, CITIES)
        if len(preferences) > len(PREFERENCES):
            raise ToolError(f"at most {len(PREFERENCES)} preferences are taken")
        wanted = {one_of("preference", preference, PREFERENCES) for preference in preferences}
        return [
            {
                "hotel": hotel,
                "location": city,
                "price_per_night": price,
                "rating": rating,
                "features": list(features),
            }
            for hotel, price, rating, features in self._data["hotels"][city]
            if wanted <= set(features)
        ]

    @tool
    def budget_calculator(self, flight_price: float, hotel_price_per_night: float, num_nights: int) -> float:
        """Return the cost of a trip: flight_price + hotel_price_per_night * num_nights.

        Args:
            flight_price: of all flights together, at least 0.
            hotel_price_per_night: at least 0.
            num_nights: a whole number, at least 0.
        """
        nights = whole("num_nights", num_nights, 0, 10_000)
        price = number("hotel_price_per_night", hotel_price_per_night, least=0)
        return number("flight_price", flight_price, least=0) + price * nights

    @tool
    def max(self, *args: float | list[float]) -> float:
        """Return the largest of the numbers, given one by one or as one list.

        Args:
            *args: one or more numbers, or one list of numbers.
        """
        return builtins.max(_numbers(args))

    @tool
    def min(self, *args: float | list[float]) -> float:
        """Return the smallest of the numbers, given one by one or as one list.

        Args:
            *args: one or more numbers, or one list of numbers.
        """
        return builtins.min(_numbers(args))

    @tool
    def sum(self, *args: float | list[float]) -> float:
        """Return the sum of the numbers, given one by one or as one list.

        Args:
            *args: one or more numbers, or one list of numbers.
        """
        return builtins.sum(_numbers(args))


def _numbers(args: tuple[Any, ...]) -> list[float]:
    values = args[0] if len(args) == 1 and isinstance(args[0], list) else args
    if values and isinstance(values[0], dict):
        raise ToolError(f"give numbers, such as the prices, not {kind(values[0])}")
    return numbers(values)
