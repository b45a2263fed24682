"""Templates of the evaluation set for dna_sequencer."""

from typing import Any

from generators.calculation.drafts import CalculationDraft, CalculationSampler, Templates

_NAMES = {"A": "adenine", "C": "cytosine", "G": "guanine", "T": "thymine"}

# A second copy of the genetic code, by amino acid, so that the answers do not depend on the tool's own table.
_CODONS_OF = {
    "M": ("AUG",), "W": ("UGG",), "F": ("UUU", "UUC"), "L": ("CUG", "UUA"), "I": ("AUU", "AUC"),
    "V": ("GUC", "GUG"),
    "S": ("UCA", "AGC"), "P": ("CCU", "CCG"), "T": ("ACA", "ACC"), "A": ("GCU", "GCA"), "Y": ("UAU", "UAC"),
    "H": ("CAU", "CAC"), "Q": ("CAA", "CAG"), "N": ("AAU", "AAC"), "K": ("AAA", "AAG"), "D": ("GAU", "GAC"),
    "E": ("GAA", "GAG"), "C": ("UGU", "UGC"), "R": ("CGU", "AGA"), "G": ("GGC", "GGA"),
}  # fmt: skip
_STOPS = ("UAA", "UAG", "UGA")


def _dna(draw: CalculationSampler, least: int = 18, most: int = 34) -> str:
    weights = draw.random.sample((2, 3, 4, 6), 4)
    return "".join(draw.random.choices("ACGT", weights, k=draw.random.randrange(least, most)))


def _gene(draw: CalculationSampler, least: int = 4, most: int = 9) -> tuple[str, str]:
    """Draw mRNA with a stop codon and sometimes bases after it; return the mRNA and the protein before the stop."""
    protein = "M" + "".join(draw.random.choices(sorted(_CODONS_OF), k=draw.random.randrange(least, most)))
    codons = [draw.random.choice(_CODONS_OF[acid]) for acid in protein]
    tail = draw.random.choice(_STOPS) + draw.random.choice(("", "GC", "CCU", "GGCA"))
    return "".join(codons) + tail, protein


def _as_dna(mrna: str) -> str:
    return mrna.replace("U", "T")


def _count_one(draw: CalculationSampler) -> CalculationDraft:
    dna, base = _dna(draw), draw.random.choice("ACGT")
    other = draw.random.choice([each for each in "ACGT" if each != base])
    return CalculationDraft(
        {"dna": dna, "base": base, "name": _NAMES[base], "other": other, "length": len(dna)},
        (
            "How often does {name} ({base}) occur in the DNA sequence {dna}?",
            "A leaf sample gave the strand {dna}. Report the number of {base} nucleotides in it.",
        ),
        "final_answer(count_nucleotides({dna!r})[{base!r}])",
        (
            "final_answer(count_nucleotides({dna!r})[{other!r}])",
            "final_answer({length})",
            "final_answer(count_nucleotides({dna!r})[{base!r}] - 1)",
        ),
        dna.count(base),
        "number",
    )


def _to_mrna(draw: CalculationSampler) -> CalculationDraft:
    dna = _dna(draw) + "T"
    return CalculationDraft(
        {"dna": dna, "mirrored": dna[::-1]},
        (
            "Write down the mRNA that is transcribed from the coding strand {dna}.",
            "The coding strand of a moss gene is {dna}. Which mRNA sequence corresponds to it?",
        ),
        "final_answer(transcribe_dna_to_mrna({dna!r}))",
        (
            "final_answer({dna!r})",
            "final_answer(transcribe_dna_to_mrna({mirrored!r}))",
            "final_answer(transcribe_dna_to_mrna({dna!r})[:-1])",
        ),
        dna.replace("T", "U"),
        "text",
    )


def _to_dna(draw: CalculationSampler) -> CalculationDraft:
    mrna = _dna(draw).replace("T", "U") + "U"
    return CalculationDraft(
        {"mrna": mrna},
        (
            "A retrovirus carries the mRNA {mrna}. Give the DNA coding strand that reverse transcription yields.",
            "From which DNA coding strand does the messenger {mrna} come?",
        ),
        "final_answer(reverse_transcribe_mrna_to_dna({mrna!r}))",
        (
            "final_answer({mrna!r})",
            "final_answer(reverse_transcribe_mrna_to_dna({mrna!r})[::-1])",
            "final_answer(reverse_transcribe_mrna_to_dna({mrna!r})[1:])",
        ),
        _as_dna(mrna),
        "text",
    )


def _protein(draw: CalculationSampler) -> CalculationDraft:
    mrna, protein = _gene(draw)
    return CalculationDraft(
        {"mrna": mrna},
        (
            "Which chain of amino acids (one-letter codes) does a ribosome build from {mrna}, reading from "
            "the first base and halting at the first stop codon?",
            "Translate the mRNA {mrna} from its first base up to the stop codon. Answer in one-letter amino "
            "acid codes.",
        ),
        "final_answer(translate_mrna_to_amino_acid({mrna!r}))",
        (
            "final_answer(translate_mrna_to_amino_acid({mrna!r})[1:])",
            "final_answer(translate_mrna_to_amino_acid({mrna!r}[1:]))",
            "final_answer(translate_mrna_to_amino_acid({mrna!r}) + '*')",
        ),
        protein,
        "text",
    )


def _most_counted(draw: CalculationSampler) -> CalculationDraft:
    counts = dict(zip(draw.random.sample("ACGT", 4), draw.random.sample(range(20, 400), 4), strict=True))
    most, least = max(counts, key=counts.__getitem__), min(counts, key=counts.__getitem__)
    listed = ", ".join(f"{base} {count} times" for base, count in counts.items())
    flat = ", ".join(f"{base!r}, {count}" for base, count in counts.items())
    return CalculationDraft(
        {
            "listed": listed,
            "flat": flat,
            "most": most,
            "least": least,
            "second": sorted(counts, key=counts.__getitem__)[2],
        },
        (
            "A sequencer counted {listed}. Name the nucleotide that is most frequent, by its letter.",
            "Tallies from a gel read: {listed}. Answer with the single letter of the base seen most.",
        ),
        "final_answer(find_max_nucleotide({flat})[0])",
        (
            "final_answer({least!r})",
            "final_answer({second!r})",
            "final_answer(find_max_nucleotide({flat})[1])",
        ),
        most,
        "word",
    )


def _gene_to_protein(draw: CalculationSampler) -> CalculationDraft:
    mrna, protein = _gene(draw)
    return CalculationDraft(
        {"dna": _as_dna(mrna)},
        (
            "The coding strand of a fern gene is {dna}. Which protein does it encode, in one-letter codes up "
            "to the first stop codon, if reading begins at the first base?",
            "Transcribe the coding strand {dna} to mRNA, translate that from its first base until a stop "
            "codon, and answer with the amino acid letters.",
        ),
        "mrna = transcribe_dna_to_mrna({dna!r})\nfinal_answer(translate_mrna_to_amino_acid(mrna))",
        (
            "final_answer(transcribe_dna_to_mrna({dna!r}))",
            "final_answer(translate_mrna_to_amino_acid(transcribe_dna_to_mrna({dna!r})[1:]))",
            "final_answer(translate_mrna_to_amino_acid(transcribe_dna_to_mrna({dna!r}))[:-1])",
        ),
        protein,
        "text",
    )


def _commonest(draw: CalculationSampler) -> CalculationDraft:
    dna = _dna(draw)
    while sorted(dna.count(base) for base in "ACGT")[2:] == [max(map(dna.count, "ACGT"))] * 2:
        dna = _dna(draw)
    most = max("ACGT", key=dna.count)
    return CalculationDraft(
        {"dna": dna, "least": min("ACGT", key=dna.count), "other": "A" if most != "A" else "C"},
        (
            "Which nucleotide is the commonest one in {dna}? Give its letter.",
            "Count the bases of the strand {dna} and answer with the letter that occurs most often.",
        ),
        "counts = count_nucleotides({dna!r})\n"
        "final_answer(find_max_nucleotide(*[part for pair in counts.items() for part in pair])[0])",
        ("final_answer({least!r})", "final_answer({other!r})", "final_answer(len({dna!r}))"),
        most,
        "word",
    )


def _weak_bases(draw: CalculationSampler) -> CalculationDraft:
    mrna = _dna(draw).replace("T", "U") + "UU"
    dna = _as_dna(mrna)
    return CalculationDraft(
        {"mrna": mrna},
        (
            "Reverse transcribe the mRNA {mrna} to DNA. How many thymine and adenine bases together does the "
            "DNA strand hold?",
            "An enzyme copies {mrna} back into a DNA coding strand. Count its A and its T nucleotides and "
            "give their total.",
        ),
        "counts = count_nucleotides(reverse_transcribe_mrna_to_dna({mrna!r}))\nfinal_answer(counts['A'] + counts['T'])",
        (
            "final_answer(count_nucleotides(reverse_transcribe_mrna_to_dna({mrna!r}))['T'])",
            "counts = count_nucleotides(reverse_transcribe_mrna_to_dna({mrna!r}))\n"
            "final_answer(counts['C'] + counts['G'])",
            "final_answer(len({mrna!r}))",
        ),
        dna.count("A") + dna.count("T"),
        "number",
    )


def _gap_of_two(draw: CalculationSampler) -> CalculationDraft:
    rich, poor = _dna(draw, 26, 40), _dna(draw, 12, 20)
    rich += "G" * (poor.count("G") + 2)
    return CalculationDraft(
        {"rich": rich, "poor": poor},
        (
            "Sample one is {rich}, sample two is {poor}. How many more guanine bases (G) does sample one contain?",
            "Compare the strands {rich} and {poor}: by how much does the G count of the first exceed that of "
            "the second?",
        ),
        "final_answer(count_nucleotides({rich!r})['G'] - count_nucleotides({poor!r})['G'])",
        (
            "final_answer(count_nucleotides({rich!r})['G'])",
            "final_answer(count_nucleotides({rich!r})['C'] - count_nucleotides({poor!r})['C'])",
            "final_answer(count_nucleotides({poor!r})['G'] - count_nucleotides({rich!r})['G'])",
        ),
        rich.count("G") - poor.count("G"),
        "number",
    )


def _intact(draw: CalculationSampler) -> CalculationDraft:
    good, bad = _dna(draw), _dna(draw)
    place = draw.random.randrange(4, 10)
    bad = bad[:place] + draw.random.choice("BNXU") + bad[place:]
    strands = [good, bad] if draw.random.random() < 0.5 else [bad, good]
    return CalculationDraft(
        {"a": strands[0], "b": strands[1], "strands": strands, "bad": bad, "good": good},
        (
            "Of the two strings {a} and {b}, exactly one is a valid DNA sequence. Repeat that one as your answer.",
            "One of these reads was spoilt by a letter that is no DNA base: {a} or {b}. Answer with the intact read.",
        ),
        "final_answer([strand for strand in {strands!r} if is_valid_dna_sequence(strand)][0])",
        ("final_answer({bad!r})", "final_answer({strands!r})", "final_answer({good!r}[:-1])"),
        good,
        "text",
    )


def _two_proteins(draw: CalculationSampler) -> CalculationDraft:
    genes = [_gene(draw, 3, 7) for _ in range(2)]
    strands = [_as_dna(mrna) for mrna, _ in genes]
    return CalculationDraft(
        {"a": strands[0], "b": strands[1], "strands": strands},
        (
            "Two coding strands were found, {a} and {b}. Give the proteins that they encode as a list of two "
            "strings in one-letter codes, in this order, each read from the first base to the first stop "
            "codon.",
            "For each of the coding strands {a} and {b}, transcribe and translate (from the first base, up "
            "to the stop codon). Answer with a list holding the first and the second amino acid string.",
        ),
        "final_answer([translate_mrna_to_amino_acid(transcribe_dna_to_mrna(dna)) for dna in {strands!r}])",
        (
            "final_answer([transcribe_dna_to_mrna(dna) for dna in {strands!r}])",
            "final_answer([translate_mrna_to_amino_acid(transcribe_dna_to_mrna(dna)) for dna in {strands!r}[:1]])",
            "final_answer([translate_mrna_to_amino_acid(transcribe_dna_to_mrna(dna)) for dna in {strands!r}[::-1]])",
        ),
        [protein for _, protein in genes],
        "exact",
    )


def _valid_labels(draw: CalculationSampler) -> CalculationDraft:
    labels = draw.random.sample(("fern", "lichen", "moss", "orchid", "thistle", "yarrow", "clover"), 4)
    good = set(draw.random.sample(labels, 2))
    samples = {}
    for label in labels:
        dna = _dna(draw, 10, 18)
        samples[label] = dna if label in good else dna[:5] + draw.random.choice("NUXZ") + dna[5:]
    valid = sorted(good)
    return CalculationDraft(
        {
            "listed": "; ".join(f"{label}: {dna}" for label, dna in samples.items()),
            "samples": samples,
            "bad": sorted(set(labels) - good),
            "all": sorted(labels),
            "some": valid[:1],
        },
        (
            "Four samples are on file ({listed}). Which of them are valid DNA sequences? Answer with the "
            "list of their labels in alphabetical order.",
            "Check every entry of this catalogue for being proper DNA, made of A, C, G and T only: {listed}. "
            "Give the labels that pass as an alphabetically sorted list.",
        ),
        "samples = {samples!r}\n"
        "final_answer(sorted(label for label, dna in samples.items() if is_valid_dna_sequence(dna)))",
        ("final_answer({bad!r})", "final_answer({all!r})", "final_answer({some!r})"),
        valid,
        "exact",
    )


def _total_of_three(draw: CalculationSampler) -> CalculationDraft:
    strands, base = [_dna(draw, 12, 22) for _ in range(3)], draw.random.choice("ACGT")
    counts = [strand.count(base) for strand in strands]
    facts: dict[str, Any] = {"a": strands[0], "b": strands[1], "c": strands[2]}
    return CalculationDraft(
        {**facts, "strands": strands, "base": base, "name": _NAMES[base]},
        (
            "A plasmid was read in three fragments: {a}, {b} and {c}. How many {name} bases ({base}) do the "
            "fragments contain in total?",
            "Add up the occurrences of {base} over the DNA sequences {a}, {b} and {c}.",
        ),
        "final_answer(sum(count_nucleotides(dna)[{base!r}] for dna in {strands!r}))",
        (
            "final_answer(sum(count_nucleotides(dna)[{base!r}] for dna in {strands!r}[:2]))",
            "final_answer(sum(len(dna) for dna in {strands!r}))",
            "final_answer(count_nucleotides({a!r})[{base!r}])",
        ),
        sum(counts),
        "number",
    )


def _commonest_behind(draw: CalculationSampler) -> CalculationDraft:
    mrna = _dna(draw).replace("T", "U") + "UUU"
    dna = _as_dna(mrna)
    while len({dna.count(base) for base in "ACGT"}) < 4:
        mrna = _dna(draw).replace("T", "U") + "UUU"
        dna = _as_dna(mrna)
    most = max("ACGT", key=dna.count)
    return CalculationDraft(
        {"mrna": mrna, "least": min("ACGT", key=dna.count), "most": most},
        (
            "Turn the mRNA {mrna} back into its DNA coding strand and find the most frequent base of that "
            "strand. Answer with a list of two items: the base's letter and its count.",
            "Which base dominates the DNA coding strand behind the messenger {mrna}, and how often does it "
            "occur there? Answer as [letter, count].",
        ),
        "counts = count_nucleotides(reverse_transcribe_mrna_to_dna({mrna!r}))\n"
        "final_answer(find_max_nucleotide(*[part for pair in counts.items() for part in pair]))",
        (
            "counts = count_nucleotides(reverse_transcribe_mrna_to_dna({mrna!r}))\n"
            "final_answer([{least!r}, counts[{least!r}]])",
            "final_answer({most!r})",
            "final_answer([{most!r}, len({mrna!r})])",
        ),
        [most, dna.count(most)],
        "exact",
    )


def _longest_protein(draw: CalculationSampler) -> CalculationDraft:
    labels = draw.random.sample(("alpha", "beta", "gamma", "delta", "kappa", "sigma"), 3)
    sizes = draw.random.sample(((2, 3), (4, 5), (6, 7)), 3)
    genes = {label: _gene(draw, *size) for label, size in zip(labels, sizes, strict=True)}
    strands = {label: _as_dna(mrna) for label, (mrna, _) in genes.items()}
    lengths = {label: len(protein) for label, (_, protein) in genes.items()}
    order = sorted(labels, key=lengths.__getitem__)
    return CalculationDraft(
        {
            "listed": ", ".join(f"{label} = {dna}" for label, dna in strands.items()),
            "strands": strands,
            "order": order,
        },
        (
            "Three genes have these coding strands: {listed}. Which gene encodes the longest protein, "
            "reading from the first base to the first stop codon? Answer with its name.",
            "Work out the protein of each coding strand ({listed}), ending at the first stop codon, and name "
            "the gene whose protein has the most amino acids.",
        ),
        "genes = {strands!r}\nlengths = {{}}\nfor name, dna in genes.items():\n"
        "    lengths[name] = len(translate_mrna_to_amino_acid(transcribe_dna_to_mrna(dna)))\n"
        "final_answer(max(lengths, key=lengths.get))",
        ("final_answer({order!r}[0])", "final_answer({order!r}[1])", "final_answer({order!r})"),
        order[-1],
        "word",
    )


TEMPLATES = Templates(
    one=(_count_one, _to_mrna, _to_dna, _protein, _most_counted),
    two=(_gene_to_protein, _commonest, _weak_bases, _gap_of_two, _intact),
    more=(_two_proteins, _valid_labels, _total_of_three, _commonest_behind, _longest_protein),
)
