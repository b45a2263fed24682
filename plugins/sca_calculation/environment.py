"""The `calculation` environment: one family of tools, or all of them at once."""

import difflib
from pathlib import Path
from typing import Self

from sca_calculation.dna_sequencer import DnaSequencer
from sca_calculation.message_decoder import MessageDecoder
from sca_calculation.trade_calculator import TradeCalculator
from sca_calculation.travel_itinerary import TravelItinerary
from sca_cli import Environment


class Calculation(Environment):
    """Offer the four non-web families of M3ToolEval, with its tool names and signatures and our own data.

    Each family's tools belong to a subclass, so the constructor returns an object of the subclass for the family.
    Three families have no state (`{}` for every seed); travel_itinerary has flights and hotels drawn from the seed.
    No call changes the state.
    """

    family: str

    def __new__(cls, family: str = "") -> Self:
        """Return an object with the tools of `family`, or with all tools.

        Raises:
            ValueError: the family does not exist; the message suggests the most similar name.
        """
        family_class = _class_of(family)
        return super().__new__(family_class if issubclass(family_class, cls) else cls)

    def __init__(self, family: str = "") -> None:
        """Set the state of seed 0.

        Args:
            family: message_decoder, dna_sequencer, trade_calculator or travel_itinerary; "" for all tools at once.
        """
        self.family = family
        self.reset(0)

    @classmethod
    def variants(cls, options: dict[str, str]) -> list[dict[str, str]]:
        """Return one set of options for each family, or the given options if they name a family."""
        return [options] if "family" in options else [{**options, "family": family} for family in FAMILIES]

    @classmethod
    def eval_path(cls) -> Path:
        """Return the file of the held-out evaluation tasks, one record a line."""
        return Path(__file__).with_name("eval.jsonl")


class _MessageDecoder(Calculation, MessageDecoder):
    pass


class _DnaSequencer(Calculation, DnaSequencer):
    pass


class _TradeCalculator(Calculation, TradeCalculator):
    pass


class _TravelItinerary(Calculation, TravelItinerary):
    pass


_FAMILIES: dict[str, type[Calculation]] = {
    "message_decoder": _MessageDecoder,
    "dna_sequencer": _DnaSequencer,
    "trade_calculator": _TradeCalculator,
    "travel_itinerary": _TravelItinerary,
}
FAMILIES = tuple(_FAMILIES)


class _All(Calculation, TravelItinerary, TradeCalculator, DnaSequencer, MessageDecoder):
    policy = " ".join(family.policy for family in _FAMILIES.values())


def _class_of(family: str) -> type[Calculation]:
    if not family:
        return _All
    if family in _FAMILIES:
        return _FAMILIES[family]
    near = difflib.get_close_matches(str(family), FAMILIES, n=1, cutoff=0.0)
    raise ValueError(f"no family '{family}'; did you mean '{near[0]}'? families: {', '.join(FAMILIES)}")
