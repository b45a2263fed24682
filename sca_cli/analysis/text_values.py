"""Find values in texts: numbers, names and dates that an instruction mentions, however they are written."""

import calendar
import math
import re
from collections.abc import Iterable

from sca_cli.records import JSON

_NUMBER = r"(?<![\w.])-?\d[\d,]*(?:\.\d+)?(?:e-?\d+)?"
_WORDS = {
    "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7, "eight": 8, "nine": 9, "ten": 10, "eleven": 11,
    "twelve": 12, "dozen": 12, "twenty": 20, "thirty": 30, "forty": 40, "fifty": 50, "sixty": 60, "hundred": 100,
    "thousand": 1000, "half": 0.5, "quarter": 0.25, "week": 7, "third": 3,
}  # fmt: skip
"""Word of an instruction → number that it states. 1 and 2 are missing because they always count as known."""

_UNITS = [
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve",
    "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen",
]  # fmt: skip
_TENS = ["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]
_SMALL = {word: n for n, word in enumerate(_UNITS)} | {word: 10 * n for n, word in enumerate(_TENS, start=2)}
_LARGE = {"dozen": 12, "hundred": 100, "thousand": 1000, "million": 1_000_000}
_FRACTIONS = {"a half": ".5", "a quarter": ".25", "three quarters": ".75", "3 quarters": ".75"}
_SPELLED = re.compile(
    rf"\b(?:a )?(?:{'|'.join([*_SMALL, *_LARGE])})(?:(?:[ -]| and )(?:{'|'.join([*_SMALL, *_LARGE])}))*\b",
    re.IGNORECASE,
)

_DIGIT = "|".join(_UNITS[:10])
_SPELLED_DECIMALS = re.compile(rf"\bpoint ((?:{_DIGIT})(?:[ -](?:{_DIGIT}))*)\b", re.IGNORECASE)
_DECIMALS = re.compile(r"(?<![\w.])(\d+) point (\d+)\b", re.IGNORECASE)
_FRACTION = re.compile(rf"(?<![\w.])(\d+) and ({'|'.join(_FRACTIONS)})\b", re.IGNORECASE)
_SIGN = re.compile(r"\b(?:minus|negative) (?=\d)", re.IGNORECASE)


def in_figures(text: str) -> str:
    """Return a text with each spelled-out number replaced by its digits: "two hundred and four" → "204".

    Decimals, a sign, halves and dozens count too: "minus three point one four" → "-3.14", "two and a half" → "2.5".
    """
    digits = _SPELLED_DECIMALS.sub(lambda match: "point " + _digits_of(match[1].lower()), text)
    figures = _SPELLED.sub(lambda match: str(_number_of(match[0].lower())), digits)
    figures = _DECIMALS.sub(r"\1.\2", figures)
    figures = _FRACTION.sub(lambda match: f"{match[1]}{_FRACTIONS[match[2].lower()]}", figures)
    return _SIGN.sub("-", figures)


def _digits_of(spelled: str) -> str:
    return "".join(str(_SMALL[word]) for word in re.findall(r"[a-z]+", spelled))


def _number_of(spelled: str) -> int:
    total = part = 0
    for word in re.findall(r"[a-z]+", spelled):
        if word in _SMALL:
            part += _SMALL[word]
        elif word in _LARGE:
            part = max(part, 1) * _LARGE[word]
            total, part = (total + part, 0) if part >= 1000 else (total, part)
    return total + part


def plain(text: str) -> str:
    """Return a text in lower case; each run of whitespace, commas and dollar signs becomes one space."""
    return re.sub(r"[\s,$]+", " ", text).strip().lower()


def as_float(number: float) -> float:
    """Return a number as a float. An integer that is too large for a float becomes infinite."""
    try:
        return float(number)
    except OverflowError:
        return math.inf if number > 0 else -math.inf


def numbers(text: str) -> list[float]:
    """Return the numbers that a text writes in digits."""
    return [float(figure.replace(",", "")) for figure in re.findall(_NUMBER, text)]


def texts(value: JSON) -> list[str]:
    """Return the parts of a value as texts, if they are specific enough to be recognised in another text.

    Booleans, null, integers of one digit, and strings of fewer than three characters are left out, because they occur
    in too many texts by chance.
    """
    match value:
        case bool() | None:
            return []
        case int() | float():
            is_integer = isinstance(value, int) or value.is_integer()
            return [str(value)] if not is_integer else [str(int(value))] if abs(value) >= 10 else []
        case str():
            return [value.strip()] if len(value.strip()) >= 3 else []
        case list():
            return [text for part in value for text in texts(part)]
        case dict():
            return [text for part in value.values() for text in texts(part)]
    return []


def mentions(text: str, part: str) -> bool:
    """Tell whether a text mentions a word, a phrase or a number.

    Args:
        text: the text to search.
        part: a word or phrase must occur in whole words, in any case; a number must occur within 0.005, so that it
            may be rounded to two decimals.
    """
    try:
        number = float(part)
    except ValueError:
        return re.search(rf"(?<!\w){re.escape(part)}(?!\w)", text, re.IGNORECASE) is not None
    return any(abs(number - figure) < 0.005 for figure in numbers(text))


def lists(text: str, value: JSON) -> bool:
    """Tell whether a text names all parts of a list or an object in order, next to each other.

    Short parts count too, because several parts in a row are no accident. A value with fewer than three parts is never
    listed.
    """
    if isinstance(value, dict):
        value = [part for item in value.items() for part in item]
    if not isinstance(value, list) or len(value) < 3 or not all(isinstance(part, str | int | float) for part in value):
        return False
    between = r"(?:\W+|\W+(?:and|or)\W+)"
    return re.search(rf"(?<!\w){between.join(re.escape(str(part)) for part in value)}(?!\w)", text) is not None


def alike(one: JSON, other: JSON) -> bool:
    """Tell whether two values mean the same.

    Numbers mean the same if they differ by at most 2 % plus 0.05 (both chosen by hand); strings if their letters and
    digits are equal, in any case; a number and a string if the string spells the number; lists and objects if all
    their parts mean the same.
    """
    match one, other:
        case (bool(), _) | (_, bool()):
            return one is other
        case (int() | float(), int() | float()):
            distance = abs(as_float(one) - as_float(other))
            return one == other or (distance < math.inf and distance <= 0.05 + 0.02 * abs(as_float(one)))
        case (str(), int() | float()) | (int() | float(), str()):
            return str(one) == str(other)
        case str(), str():
            return re.sub(r"\W", "", one).lower() == re.sub(r"\W", "", other).lower()
        case list(), list():
            return len(one) == len(other) and all(map(alike, one, other))
        case dict(), dict():
            return one.keys() == other.keys() and all(alike(one[key], other[key]) for key in one)
    return bool(one == other)


class KnownValues:
    """The values that an agent can know from an instruction and from tool results.

    Numbers of the instruction also count as percentages, fractions, and increases or decreases by that percentage.

    Args:
        instruction: the text that the agent reads.
        others: tool results and other values of JSON types.
        documented: texts, such as tool descriptions, whose words count as known and whose numbers do not.
    """

    def __init__(self, instruction: str, others: Iterable[JSON], documented: Iterable[str] = ()) -> None:
        self._text = plain(instruction + " " + " ".join(map(str, others)))
        self._words = re.sub(r"\W+", " ", f"{self._text} {plain(' '.join(documented))}")
        stated = set(numbers(instruction))
        stated |= {_WORDS[word] for word in re.findall(r"\w+", instruction.lower()) if word in _WORDS}
        if re.search(r"%|per ?cent|\bcents?\b|share", instruction, re.IGNORECASE):
            stated.add(100)
        shares = {share for n in stated for share in (n / 100, n * 100, 1 - n / 100, 1 + n / 100)}
        self._numbers = {abs(n) for n in [*stated, *shares, *numbers(self._text)] if math.isfinite(n)}

    def holds(self, value: JSON) -> bool:
        """Tell whether a string or number is known.

        A string is known if the texts contain it, whatever its case and punctuation. A date is known by its month and
        day. Another string without letters is known if each of its numbers is. A number is known if a known number is
        nearly equal; 0, 1 and 2 always are.
        """
        if isinstance(value, str):
            if plain(value) in self._text or re.sub(r"\W+", " ", plain(value)).strip() in self._words:
                return True
            if date := re.fullmatch(r"\d{4}-(0[1-9]|1[0-2])-(\d\d)", value.strip()):
                return self._holds_date(*map(int, date.groups()))
            # Numbers of one digit in such a string, as in an arithmetic expression, need not be stated.
            parts = [number for number in numbers(value) if number not in range(10)]
            return not re.search(r"[^\W\d_]", value) and all(map(self.holds, parts))
        assert isinstance(value, int | float)
        # A program may hold a rounded form of a number that was computed from known values.
        return value in (0, 1, 2) or self._is_near(value)

    def _holds_date(self, month: int, day: int) -> bool:
        is_named = calendar.month_name[month].lower() in self._text or calendar.month_abbr[month].lower() in self._text
        return (is_named or self._is_near(month)) and self._is_near(day)

    def _is_near(self, value: float) -> bool:
        size = abs(as_float(value))
        return any(abs(size - n) <= 0.005 + 1e-9 * n for n in self._numbers)
