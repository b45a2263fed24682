"""Tools for import prices. Stateless."""

from sca_cli import Environment, tool
from sca_cli.toolkit.arguments import number, numbers, text
from sca_cli.toolkit.arithmetic import MAX_EXPRESSION, calculate


class TradeCalculator(Environment):
    """The trade_calculator family."""

    policy = (
        "You price traded goods: currency conversion, import tariffs and final values. "
        "Tariff rates are in per cent; nothing is rounded unless the task says so."
    )

    @tool
    def convert_currency(self, base_price: float, conversion_rate: float) -> float:
        """Convert a price to another currency: base_price times conversion_rate.

        Args:
            base_price: the price, at least 0.
            conversion_rate: units of the new currency for one unit of the old, at least 0.
        """
        return number("base_price", base_price, least=0) * number("conversion_rate", conversion_rate, least=0)

    @tool
    def calculate_tariff(self, price: float, tariff_rate: float) -> float:
        """Return the tariff on a price: price times tariff_rate / 100.

        Args:
            price: the price, at least 0.
            tariff_rate: in per cent, at least 0; 15 means 15 %.
        """
        return number("price", price, least=0) * number("tariff_rate", tariff_rate, least=0) / 100

    @tool
    def estimate_final_value(self, price: float, tariff: float) -> float:
        """Return what goods cost in the end: price plus tariff.

        Args:
            price: the price, at least 0.
            tariff: the tariff as an amount of money (not in per cent), at least 0.
        """
        return number("price", price, least=0) + number("tariff", tariff, least=0)

    @tool
    def calculator(self, expression: str) -> float:
        """Work out an arithmetic expression such as '(2 + 3) * 4 / 7'.

        Args:
            expression: numbers, + - * / // % ** and parentheses; no names, no thousands separators.
        """
        return calculate(text("expression", expression, most=MAX_EXPRESSION))

    @tool
    def find_minimum(self, *args: float) -> float:
        """Return the smallest of the numbers given one by one: find_minimum(3, 1, 2) is 1.

        Args:
            *args: one or more numbers.
        """
        return min(numbers(args))

    @tool
    def find_maximum(self, *args: float) -> float:
        """Return the largest of the numbers given one by one: find_maximum(3, 1, 2) is 3.

        Args:
            *args: one or more numbers.
        """
        return max(numbers(args))
