"""Tools that work on DNA and mRNA sequences. Stateless."""

from itertools import product
from typing import Any

from sca_cli import Environment, ToolError, tool
from sca_cli.toolkit.arguments import MAX_VALUES, text, whole

# The standard genetic code for the codons in the order UUU, UUC, UUA, UUG, UCU, … GGG; * is a stop codon.
_AMINO_ACIDS = "FFLLSSSSYY**CC*WLLLLPPPPHHQQRRRRIIIMTTTTNNKKSSRRVVVVAAAADDEEGGGG"
_CODONS = dict(zip(("".join(bases) for bases in product("UCAG", repeat=3)), _AMINO_ACIDS, strict=True))
MAX_COUNT = 10**15


class DnaSequencer(Environment):
    """The dna_sequencer family."""

    policy = (
        "You analyse genetic sequences. DNA is written with the capital letters A, C, G, T and mRNA with "
        "A, C, G, U, from the first base to the last; amino acids have their one-letter codes."
    )

    @tool
    def count_nucleotides(self, dna_sequence: str) -> dict[str, int]:
        """Count the nucleotides of a DNA sequence: {'A': 2, 'C': 0, 'G': 1, 'T': 4}.

        Args:
            dna_sequence: capital letters A, C, G, T.
        """
        sequence = _sequence("dna_sequence", dna_sequence, "ACGT")
        return {base: sequence.count(base) for base in "ACGT"}

    @tool
    def transcribe_dna_to_mrna(self, dna_sequence: str) -> str:
        """Return the mRNA of a DNA coding strand: every T becomes U.

        Args:
            dna_sequence: capital letters A, C, G, T.
        """
        return _sequence("dna_sequence", dna_sequence, "ACGT").replace("T", "U")

    @tool
    def translate_mrna_to_amino_acid(self, mrna_sequence: str) -> str:
        """Translate mRNA to one-letter amino acids, up to the first stop codon.

        Codons are read from the first base. The stop codon gives no letter; one or two bases left over at the
        end are ignored.

        Args:
            mrna_sequence: capital letters A, C, G, U.
        """
        sequence = _sequence("mrna_sequence", mrna_sequence, "ACGU")
        acids = "".join(_CODONS[sequence[i : i + 3]] for i in range(0, len(sequence) - 2, 3))
        return acids.partition("*")[0]

    @tool
    def find_max_nucleotide(self, *args: str | int) -> list[str | int]:
        """Return the nucleotide with the largest count as [nucleotide, count]; the first one wins a tie.

        Args:
            *args: nucleotides and counts in turn, such as 'A', 3, 'C', 5.
        """
        if not args or len(args) % 2 or len(args) > MAX_VALUES:
            raise ToolError("give nucleotides and counts in turn: find_max_nucleotide('A', 3, 'C', 5)")
        pairs = [_counted(args[i], args[i + 1]) for i in range(0, len(args), 2)]
        nucleotide, count = max(pairs, key=lambda pair: pair[1])
        return [nucleotide, count]

    @tool
    def is_valid_dna_sequence(self, dna_sequence: str) -> bool:
        """Tell whether a string is DNA: not empty and made of the capital letters A, C, G, T alone.

        Args:
            dna_sequence: the string to judge.
        """
        sequence = text("dna_sequence", dna_sequence)
        return bool(sequence) and set(sequence) <= set("ACGT")

    @tool
    def reverse_transcribe_mrna_to_dna(self, mrna_sequence: str) -> str:
        """Return the DNA coding strand of an mRNA sequence: every U becomes T.

        Args:
            mrna_sequence: capital letters A, C, G, U.
        """
        return _sequence("mrna_sequence", mrna_sequence, "ACGU").replace("U", "T")


def _sequence(name: str, value: Any, bases: str) -> str:
    sequence = text(name, value)
    if not sequence:
        raise ToolError(f"{name} is empty")
    for place, base in enumerate(sequence, start=1):
        if base not in bases:
            raise ToolError(f"{name} holds {base!r} at place {place}; bases are the capitals {', '.join(bases)}")
    return sequence


def _counted(nucleotide: Any, count: Any) -> tuple[str, int]:
    name = text("nucleotide", nucleotide, most=20)
    return name, whole(f"count of '{name}'", count, 0, MAX_COUNT)
