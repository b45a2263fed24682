"""Templates of the evaluation set for message_decoder."""

from generators.calculation.drafts import CalculationDraft, CalculationSampler, Templates

_PHRASES = (
    "Meet me under the clock tower", "The parcel leaves at dusk", "Blue lantern, third window",
    "Bring two maps and a rope", "Nobody followed the courier", "Switch trains in the valley",
    "Keep the ledger dry", "The orchard gate stays open", "Seven swans on the lake",
    "Trust only the night porter", "Rain delays the convoy", "Leave the violin in locker nine",
    "The captain knows the tide", "Burn this after breakfast", "Quartz, amber and jade",
    "Send word by pigeon", "The bridge is watched", "Turn left at the mill", "Fog hides the harbour",
    "Copper coins, not silver", "Ask for the grey umbrella", "Midnight ferry, upper deck",
)  # fmt: skip


def _phrase(draw: CalculationSampler) -> str:
    return draw.random.choice(_PHRASES)


def _caesar(text: str, shift: int) -> str:
    def moved(character: str) -> str:
        if not character.isalpha():
            return character
        first = ord("a") if character.islower() else ord("A")
        return chr((ord(character) - first + shift) % 26 + first)

    return "".join(map(moved, text))


def _hex(text: str) -> str:
    return text.encode("ascii").hex()


def _hex_text(draw: CalculationSampler) -> CalculationDraft:
    plain = _phrase(draw)
    return CalculationDraft(
        {"hex": _hex(plain), "cut": plain[:-1], "loud": plain.upper()},
        (
            "A radio log holds the hexadecimal line {hex}. What text does it stand for?",
            "Turn these hexadecimal digits back into readable ASCII and answer with the text: {hex}",
        ),
        "final_answer(convert_hex_to_ascii({hex!r}))",
        ("final_answer({hex!r})", "final_answer({cut!r})", "final_answer({loud!r})"),
        plain,
        "text",
    )


def _caesar_text(draw: CalculationSampler) -> CalculationDraft:
    plain, shift = _phrase(draw), draw.random.randrange(3, 23)
    return CalculationDraft(
        {"secret": _caesar(plain, shift), "shift": shift},
        (
            'Every letter of a note was moved {shift} places forward in the alphabet, giving "{secret}". '
            "What did the note say? Keep capitals, spaces and punctuation as they are.",
            'The message "{secret}" was enciphered with a Caesar shift of {shift}. Answer with the plain '
            "text, "
            "same case and punctuation.",
        ),
        "final_answer(caesar_decode({secret!r}, {shift}))",
        (
            "final_answer({secret!r})",
            "final_answer(caesar_decode({secret!r}, -{shift}))",
            "final_answer(caesar_decode({secret!r}, {shift} + 1))",
        ),
        plain,
        "text",
    )


def _mirrored(draw: CalculationSampler) -> CalculationDraft:
    plain = _phrase(draw)
    return CalculationDraft(
        {"mirrored": plain[::-1], "words": " ".join(reversed(plain[::-1].split(" ")))},
        (
            'Someone wrote a sentence backwards, letter by letter: "{mirrored}". Write it out the right way round.',
            'Read "{mirrored}" from its last character to its first and give the resulting sentence.',
        ),
        "final_answer(reverse_string({mirrored!r}))",
        (
            "final_answer({mirrored!r})",
            "final_answer({words!r})",
            "final_answer(reverse_string({mirrored!r})[1:])",
        ),
        plain,
        "text",
    )


def _length(draw: CalculationSampler) -> CalculationDraft:
    plain = f"{_phrase(draw)}; {_phrase(draw).lower()}!"
    letters = sum(character.isalpha() for character in plain)
    return CalculationDraft(
        {"plain": plain, "letters": letters, "words": len(plain.split())},
        (
            "A telegram is billed by the character, spaces and punctuation included. For how many characters "
            "is the "
            'sender of "{plain}" billed?',
            'How many characters long is the string "{plain}" (without the quotation marks, but with every '
            "space and "
            "punctuation mark)?",
        ),
        "final_answer(string_length({plain!r}))",
        ("final_answer({letters})", "final_answer({words})", "final_answer(string_length({plain!r}) + 2)"),
        len(plain),
        "number",
    )


def _strongest(draw: CalculationSampler) -> CalculationDraft:
    levels = draw.random.sample(range(-950, 950), 8)
    shown = [level / 10 for level in levels]
    return CalculationDraft(
        {"levels": ", ".join(map(str, shown)), "first": shown[0], "least": min(shown), "far": -max(shown)},
        (
            "A receiver noted these signal levels: {levels}. Which one is the highest?",
            "Out of the readings {levels}, report the greatest value.",
        ),
        "final_answer(maximum_value({levels}))",
        ("final_answer({first})", "final_answer(minimum_value({levels}))", "final_answer({far})"),
        max(shown),
        "number",
    )


def _hex_caesar(draw: CalculationSampler) -> CalculationDraft:
    plain, shift = _phrase(draw), draw.random.randrange(3, 23)
    return CalculationDraft(
        {"hex": _hex(_caesar(plain, shift)), "shift": shift},
        (
            "An intercepted dispatch reads {hex}. It is ASCII in hexadecimal, and the text underneath was "
            "shifted {shift} letters forward with a Caesar cipher. Recover the original dispatch.",
            "First unpack the hexadecimal string {hex} to ASCII, then undo a Caesar shift of {shift}. What "
            "sentence comes out?",
        ),
        "text = convert_hex_to_ascii({hex!r})\nfinal_answer(caesar_decode(text, {shift}))",
        (
            "final_answer(convert_hex_to_ascii({hex!r}))",
            "final_answer(caesar_decode({hex!r}, {shift}))",
            "final_answer(caesar_decode(convert_hex_to_ascii({hex!r}), -{shift}))",
        ),
        plain,
        "text",
    )


def _mirrored_caesar(draw: CalculationSampler) -> CalculationDraft:
    plain, shift = _phrase(draw), draw.random.randrange(3, 23)
    return CalculationDraft(
        {"secret": _caesar(plain, shift)[::-1], "shift": shift},
        (
            'A spy moved each letter {shift} places forward and then wrote the result backwards: "{secret}". '
            "Work out "
            "what the spy began with, case and punctuation included.",
            'Reverse the string "{secret}" and decode it with a Caesar shift of {shift}; answer with the sentence.',
        ),
        "text = reverse_string({secret!r})\nfinal_answer(caesar_decode(text, {shift}))",
        (
            "final_answer(caesar_decode({secret!r}, {shift}))",
            "final_answer(reverse_string({secret!r}))",
            "final_answer(caesar_decode(reverse_string({secret!r}), -{shift}))",
        ),
        plain,
        "text",
    )


def _hex_mirrored(draw: CalculationSampler) -> CalculationDraft:
    plain = _phrase(draw)
    return CalculationDraft(
        {"hex": _hex(plain[::-1])},
        (
            "The hexadecimal code {hex} hides a sentence that was spelled from back to front before it was "
            "encoded. What is the sentence?",
            "Decode {hex} from hexadecimal to ASCII, flip the characters end to end, and give the sentence you get.",
        ),
        "text = convert_hex_to_ascii({hex!r})\nfinal_answer(reverse_string(text))",
        (
            "final_answer(convert_hex_to_ascii({hex!r}))",
            "final_answer(reverse_string({hex!r}))",
            "final_answer(reverse_string(convert_hex_to_ascii({hex!r})).lower())",
        ),
        plain,
        "text",
    )


def _hex_length(draw: CalculationSampler) -> CalculationDraft:
    plain = f"{_phrase(draw)} - {_phrase(draw)}"
    letters = sum(character.isalpha() for character in plain)
    return CalculationDraft(
        {"hex": _hex(plain), "letters": letters},
        (
            "Once {hex} is converted from hexadecimal to ASCII, how many characters does the text have, "
            "spaces counted?",
            "A display has room for as many characters as the message encoded in hexadecimal as {hex}. How "
            "many is that?",
        ),
        "text = convert_hex_to_ascii({hex!r})\nfinal_answer(string_length(text))",
        (
            "final_answer(string_length({hex!r}))",
            "final_answer({letters})",
            "final_answer(string_length(convert_hex_to_ascii({hex!r})) - 1)",
        ),
        len(plain),
        "number",
    )


def _length_gap(draw: CalculationSampler) -> CalculationDraft:
    first, second = f"{_phrase(draw)}, {_phrase(draw).lower()}", _phrase(draw)
    return CalculationDraft(
        {"first": first, "second": second},
        (
            'By how many characters is "{first}" longer than "{second}"? Count spaces and punctuation.',
            'Two captions are to be cut to the same size: "{first}" and "{second}". How many characters must '
            "go from the "
            "longer one, counting every space and mark?",
        ),
        "final_answer(string_length({first!r}) - string_length({second!r}))",
        (
            "final_answer(string_length({first!r}))",
            "final_answer(string_length({second!r}) - string_length({first!r}))",
            "final_answer(string_length({first!r}) + string_length({second!r}))",
        ),
        len(first) - len(second),
        "number",
    )


def _three_layers(draw: CalculationSampler) -> CalculationDraft:
    plain, shift = _phrase(draw), draw.random.randrange(3, 23)
    return CalculationDraft(
        {"hex": _hex(_caesar(plain, shift)[::-1]), "shift": shift},
        (
            "A message was wrapped three times: a Caesar shift of {shift} forward, then written backwards, "
            "then turned to hexadecimal, giving {hex}. Unwrap it completely.",
            "Start from {hex}. Read it as hexadecimal ASCII, reverse what you get, and finally take back a "
            "Caesar shift of {shift}. Which sentence remains?",
        ),
        "text = convert_hex_to_ascii({hex!r})\ntext = reverse_string(text)\nfinal_answer(caesar_decode(text, {shift}))",
        (
            "final_answer(caesar_decode(convert_hex_to_ascii({hex!r}), {shift}))",
            "final_answer(reverse_string(convert_hex_to_ascii({hex!r})))",
            "final_answer(caesar_decode(reverse_string({hex!r}), {shift}))",
        ),
        plain,
        "text",
    )


def _longest_of_three(draw: CalculationSampler) -> CalculationDraft:
    notes = [f"{phrase}." for phrase in draw.random.sample(_PHRASES, 3)]
    return CalculationDraft(
        {"a": notes[0], "b": notes[1], "c": notes[2], "notes": notes},
        (
            'Three notes lie on the desk: "{a}", "{b}" and "{c}". How many characters does the longest of '
            "them have, "
            "including spaces and full stops?",
            'Measure the strings "{a}", "{b}" and "{c}" in characters (everything between the quotation '
            "marks counts) "
            "and answer with the largest length.",
        ),
        "lengths = [string_length(note) for note in {notes!r}]\nfinal_answer(maximum_value(*lengths))",
        (
            "lengths = [string_length(note) for note in {notes!r}]\nfinal_answer(minimum_value(*lengths))",
            "lengths = [string_length(note) for note in {notes!r}]\nfinal_answer(sum(lengths))",
            "lengths = [string_length(note.replace(' ', '')) for note in "
            "{notes!r}]\nfinal_answer(maximum_value(*lengths))",
        ),
        max(map(len, notes)),
        "number",
    )


def _three_shifts(draw: CalculationSampler) -> CalculationDraft:
    plain = draw.random.sample(("anchor", "beacon", "cellar", "dagger", "ember", "falcon", "garnet", "hollow"), 3)
    shifts = draw.random.sample(range(2, 25), 3)
    secret = [_caesar(word, shift) for word, shift in zip(plain, shifts, strict=True)]
    facts = {name: word for name, word in zip("abc", secret, strict=True)}
    facts |= {name: str(shift) for name, shift in zip("xyz", shifts, strict=True)}
    return CalculationDraft(
        {**facts, "pairs": list(zip(secret, shifts, strict=True)), "secret": secret, "first": shifts[0]},
        (
            'Three code words were Caesar-shifted forward, each by its own amount: "{a}" by {x}, "{b}" by '
            '{y} and "{c}" '
            "by {z}. Answer with the list of the three plain words, in this order and in lower case.",
            'Undo the Caesar shifts {x}, {y} and {z} on "{a}", "{b}" and "{c}" respectively. Give the '
            "decoded words as a "
            "list of three lower-case strings, order kept.",
        ),
        "final_answer([caesar_decode(word, shift) for word, shift in {pairs!r}])",
        (
            "final_answer({secret!r})",
            "final_answer([caesar_decode(word, {first}) for word in {secret!r}])",
            "final_answer([caesar_decode(word, shift) for word, shift in {pairs!r}][::-1])",
        ),
        plain,
        "exact",
    )


def _stitched(draw: CalculationSampler) -> CalculationDraft:
    first, second, third = draw.random.sample(_PHRASES, 3)
    shift = draw.random.randrange(3, 23)
    return CalculationDraft(
        {"hex": _hex(first), "mirrored": second[::-1], "secret": _caesar(third, shift), "shift": shift},
        (
            "A letter came in three pieces. Piece one is hexadecimal ASCII: {hex}. Piece two is written "
            "backwards: "
            '"{mirrored}". Piece three is a Caesar text shifted forward by {shift}: "{secret}". Decode the '
            'pieces and join them in order with " / " (space, slash, space) between them.',
            'Put these together, separated by " / " (a slash with a space on each side): the ASCII text of '
            'the hexadecimal string {hex}; the string "{mirrored}" reversed; and "{secret}" with its Caesar '
            "shift of {shift} undone.",
        ),
        "pieces = [convert_hex_to_ascii({hex!r}), reverse_string({mirrored!r}), caesar_decode({secret!r}, "
        "{shift})]\nfinal_answer(' / '.join(pieces))",
        (
            "final_answer(convert_hex_to_ascii({hex!r}) + ' / ' + reverse_string({mirrored!r}))",
            "final_answer(' / '.join([convert_hex_to_ascii({hex!r}), reverse_string({mirrored!r}), {secret!r}]))",
            "final_answer(' '.join([convert_hex_to_ascii({hex!r}), reverse_string({mirrored!r}), "
            "caesar_decode({secret!r}, {shift})]))",
        ),
        f"{first} / {second} / {third}",
        "text",
    )


def _shortest_hex(draw: CalculationSampler) -> CalculationDraft:
    plain = draw.random.sample(_PHRASES, 3)
    codes = [_hex(text) for text in plain]
    return CalculationDraft(
        {"a": codes[0], "b": codes[1], "c": codes[2], "codes": codes},
        (
            "Convert each of {a}, {b} and {c} from hexadecimal to ASCII. How many characters does the "
            "shortest decoded text have?",
            "Three hexadecimal packets arrived: {a}; {b}; {c}. Each is an ASCII text. State the character "
            "count of the one that is shortest once decoded (spaces count).",
        ),
        "lengths = [string_length(convert_hex_to_ascii(code)) for code in {codes!r}]\n"
        "final_answer(minimum_value(*lengths))",
        (
            "final_answer(minimum_value(*[string_length(code) for code in {codes!r}]))",
            "lengths = [string_length(convert_hex_to_ascii(code)) for code in {codes!r}]\n"
            "final_answer(maximum_value(*lengths))",
            "texts = [convert_hex_to_ascii(code).replace(' ', '') for code in {codes!r}]\n"
            "final_answer(minimum_value(*[string_length(text) for text in texts]))",
        ),
        min(map(len, plain)),
        "number",
    )


TEMPLATES = Templates(
    one=(_hex_text, _caesar_text, _mirrored, _length, _strongest),
    two=(_hex_caesar, _mirrored_caesar, _hex_mirrored, _hex_length, _length_gap),
    more=(_three_layers, _longest_of_three, _three_shifts, _stitched, _shortest_hex),
)
