"""What a text tells: values mentioned in an instruction, or returned by tools, in whatever form."""

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


_UNITS = [
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve",
    "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen",
]  # fmt: skip
_TENS = ["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]
_SMALL = {word: n for n, word in enumerate(_UNITS)} | {word: 10 * n for n, word in enumerate(_TENS, start=2)}
_LARGE = {"hundred": 100, "thousand": 1000, "million": 1_000_000}
_SPELLED = re.compile(
    rf"\b(?:a )?(?:{'|'.join([*_SMALL, *_LARGE])})(?:(?:[ -]| and )(?:{'|'.join([*_SMALL, *_LARGE])}))*\b",
    re.IGNORECASE,
)


def in_figures(text: str) -> str:
    """Return a text with the numbers that it spells out in figures: "two hundred and four" → "204"."""
    return _SPELLED.sub(lambda found: str(_value(found[0].lower())), text)


def _value(spelled: str) -> int:
    total = part = 0
    for word in re.findall(r"[a-z]+", spelled):
        if word in _SMALL:
            part += _SMALL[word]
        elif word in _LARGE:
            part = max(part, 1) * _LARGE[word]
            total, part = (total + part, 0) if part >= 1000 else (total, part)
    return total + part


def plain(text: str) -> str:
    """Return a text in lower case, with blanks and commas alike."""
    return re.sub(r"[\s,$]+", " ", text).strip().lower()


def as_float(number: float) -> float:
    """Return a number as a float: infinite where an integer is beyond their range."""
    try:
        return float(number)
    except OverflowError:
        return math.inf if number > 0 else -math.inf


def numbers(text: str) -> list[float]:
    """Return the numbers that a text holds in figures."""
    return [float(figure.replace(",", "")) for figure in re.findall(_NUMBER, text)]


def texts(value: JSON) -> list[str]:
    """Return the texts of a value's parts that somebody could recognise; nothing for truths and single digits."""
    match value:
        case bool() | None:
            return []
        case int() | float():
            whole = isinstance(value, int) or value.is_integer()
            return [str(value)] if not whole else [str(int(value))] if abs(value) >= 10 else []
        case str():
            return [value.strip()] if len(value.strip()) >= 3 else []
        case list():
            return [text for part in value for text in texts(part)]
        case dict():
            return [text for part in value.values() for text in texts(part)]
    return []


def mentions(told: str, text: str) -> bool:
    """Tell whether a text mentions another as a whole; a number may be rounded to two decimals or more."""
    try:
        number = float(text)
    except ValueError:
        return re.search(rf"(?<!\w){re.escape(text)}(?!\w)", told, re.IGNORECASE) is not None
    return any(abs(number - figure) < 0.005 for figure in numbers(told))


def lists(told: str, value: JSON) -> bool:
    """Tell whether a text names all parts of a list or an object one after the other, three or more, however short."""
    if isinstance(value, dict):
        value = [part for item in value.items() for part in item]
    if not isinstance(value, list) or len(value) < 3 or not all(isinstance(part, str | int | float) for part in value):
        return False
    between = r"(?:\W+|\W+(?:and|or)\W+)"
    return re.search(rf"(?<!\w){between.join(re.escape(str(part)) for part in value)}(?!\w)", told) is not None


def alike(one: JSON, other: JSON) -> bool:
    """Tell whether two values say the same: numbers within 2 %, texts by letters and digits, a number and its text."""
    match one, other:
        case (bool(), _) | (_, bool()):
            return one is other
        case (int() | float(), int() | float()):
            away = abs(as_float(one) - as_float(other))
            return one == other or (away < math.inf and away <= 0.05 + 0.02 * abs(as_float(one)))
        case (str(), int() | float()) | (int() | float(), str()):
            return str(one) == str(other)
        case str(), str():
            return re.sub(r"\W", "", one).lower() == re.sub(r"\W", "", other).lower()
        case list(), list():
            return len(one) == len(other) and all(map(alike, one, other))
        case dict(), dict():
            return one.keys() == other.keys() and all(alike(one[key], other[key]) for key in one)
    return bool(one == other)


class Known:
    """What can be known from an instruction and from other values.

    Args:
        instruction: as the agent is given it.
        others: results; of JSON types.
        documented: texts in which words count, and numbers do not.
    """

    def __init__(self, instruction: str, others: Iterable[JSON], documented: Iterable[str] = ()) -> None:
        self._text = plain(instruction + " " + " ".join(map(str, others)))
        self._words = re.sub(r"\W+", " ", f"{self._text} {plain(' '.join(documented))}")
        told = set(numbers(instruction))
        told |= {_WORDS[word] for word in re.findall(r"\w+", instruction.lower()) if word in _WORDS}
        if re.search(r"%|per ?cent|\bcents?\b|share", instruction, re.IGNORECASE):
            told.add(100)
        shares = {share for n in told for share in (n / 100, n * 100, 1 - n / 100, 1 + n / 100)}
        self._numbers = {abs(n) for n in [*told, *shares, *numbers(self._text)] if math.isfinite(n)}

    def holds(self, value: JSON) -> bool:
        """Tell whether a string or number is known: as it is, or, without letters, by each of its numbers."""
        if isinstance(value, str):
            if plain(value) in self._text or re.sub(r"\W+", " ", plain(value)).strip() in self._words:
                return True
            if date := re.fullmatch(r"\d{4}-(0[1-9]|1[0-2])-(\d\d)", value.strip()):
                return self._holds_date(*map(int, date.groups()))
            # Arithmetic: how many values there are needs no telling.
            parts = [number for number in numbers(value) if number not in range(10)]
            return not re.search(r"[^\W\d_]", value) and all(map(self.holds, parts))
        assert isinstance(value, int | float)
        # What was computed from known values may be held rounded.
        return value in (0, 1, 2) or self._near(value)

    def _holds_date(self, month: int, day: int) -> bool:
        named = calendar.month_name[month].lower() in self._text or calendar.month_abbr[month].lower() in self._text
        return (named or self._near(month)) and self._near(day)

    def _near(self, value: float) -> bool:
        size = abs(as_float(value))
        return any(abs(size - n) <= 0.005 + 1e-9 * n for n in self._numbers)
