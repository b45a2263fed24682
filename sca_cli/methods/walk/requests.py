"""Add a write to a solution, and say what the customer asks for with it."""

from sca_cli.methods.walk import words
from sca_cli.methods.walk.knowledge import RECORD_FIELDS, Knowledge, Write, is_opaque
from sca_cli.methods.walk.lookups import NoWay, Program, ValueReference, call_of
from sca_cli.records import JSON
from sca_cli.walk.memory import KEY, canonical, value_at


def add(program: Program, write: Write) -> words.Request:
    """Add a write to the program; return what the customer says of it.

    Raises:
        NoWay, NoName: a value can neither be said nor be looked up.
    """
    request = words.Request(write.tool, does=program.knowledge.tools[write.tool].description)
    program.name_records(write.arguments.values())
    codes: dict[str, str] = {}
    together = _of_one_record(write)
    for name, value in write.arguments.items():
        if is_opaque(value):
            program.read_of(value)
        codes[name], said = _argument(program, write, name)
        if isinstance(value, str) and canonical(value) in program.knowledge.taken:
            program.read_of(value)
        if name in together:
            if name == together[0]:
                values = [str(write.arguments[other]) for other in together if write.arguments[other] != ""]
                request.details.append(words.Detail(_record_label(write, name), ", ".join(values)))
        elif said:
            several = isinstance(value, list) and len(value) > 1
            request.details.append(
                words.Detail(words.label_of(name, several=several), said, _kind(program, value, codes[name]))
            )
    program.writes.append(call_of(write, codes))
    return request


def _kind(program: Program, value: JSON, code: str) -> words.Kind:
    if isinstance(value, int | float):
        return words.Kind.NUMBER
    items = value if isinstance(value, list) else [value]
    if any(isinstance(item, dict) for item in items):
        return words.Kind.VALUE
    if code != repr(value):
        return words.Kind.RECORD
    if all(map(is_opaque, items)):
        return words.Kind.ID
    return words.Kind.NAME if canonical(value) in program.knowledge.taken else words.Kind.VALUE


def _argument(program: Program, write: Write, name: str) -> tuple[str, str]:
    """Return (code, words) of one argument."""
    value, place = write.arguments[name], write.places.get(name)
    if not isinstance(value, list):
        reference = _value(program, value, place)
        return reference.code, reference.words or _fallback(program, write, name, reference)
    places = place if isinstance(place, list) and len(place) == len(value) else [None] * len(value)
    if code := _own_list(program, write, name, places):
        return code, words.UNCHANGED
    references = [_value(program, each, where) for each, where in zip(value, places, strict=True)]
    code = f"[{', '.join(reference.code for reference in references)}]"
    said = [reference.words for reference in references if reference.words]
    return code, words.listed(said) if said else ""


def _own_list(program: Program, write: Write, name: str, places: list[JSON]) -> str:
    """Return the code of a list of objects that the record to write has already, in the same field; else ""."""
    value, first = write.arguments[name], places[0] if places else None
    if (
        not isinstance(first, dict)
        or first.get("call") not in program.knowledge.reads
        or not isinstance(value[0], dict)
    ):
        return ""
    call, path = first["call"], tuple(first["path"][:-1])
    ids = program.knowledge.arguments[call].values()
    if path != (name,) or not all(each in write.arguments.values() for each in ids):
        return ""
    records = value_at(program.knowledge.reads[call].result, path)
    if [{field: record.get(field) for field in value[0]} for record in records] != value:
        return ""
    fields = ", ".join(f"{field!r}: each[{field!r}]" for field in value[0])
    return f"[{{{fields}}} for each in {program.part_of(call, path)}]"


def _value(program: Program, value: JSON, place: JSON) -> ValueReference:
    if not isinstance(value, dict):
        return program.reference(value, place)
    fields = place.get("fields", {}) if isinstance(place, dict) else {}
    references = {name: program.reference(part, fields.get(name)) for name, part in value.items()}
    code = f"{{{', '.join(f'{name!r}: {reference.code}' for name, reference in references.items())}}}"
    said = []
    for name, reference in references.items():
        if text := reference.words or (str(value[name]) if reference.literal else ""):
            said.append(_field_in_words(name, text))
    return ValueReference(code, " ".join(said))


def _field_in_words(name: str, text: str) -> str:
    """Return a field of an object: a name alone, a date with "on", any other with its label."""
    label = words.label_of(name)
    if "name" in label.split() or text.startswith("the "):
        return text
    return f"on {text}" if label.split()[-1] in ("date", "day") else f"({label} {text})"


def _fallback(program: Program, write: Write, name: str, reference: ValueReference) -> str:
    """Return words for a value that is the only one at its place: where it is, because the tool may take others."""
    if reference.literal:
        return ""
    place = write.places.get(name)
    if not isinstance(place, dict) or "path" not in place:
        return ""
    *outer, last = place["path"] or [0]
    if last == KEY:
        return words.ONLY
    keys = [key for key in outer if isinstance(key, str) and not is_opaque(key)]
    if keys and isinstance(last, str) and not is_in_own_record(program.knowledge, write, write.arguments[name]):
        raise NoWay("a value of a record that the write does not name")
    return f"as in its {words.label_of(keys[-1])}" if keys and isinstance(last, str) else ""


def is_in_own_record(knowledge: Knowledge, write: Write, value: JSON) -> bool:
    """Tell whether the look-up of a record that the write names returns this value, and no other one of its link."""
    for seen in knowledge.memory.places(value):
        arguments = knowledge.arguments.get(seen.call, {}).values()
        if arguments and all(argument in write.arguments.values() for argument in arguments):
            others = knowledge.memory.by_link[seen.link][seen.call]
            if all(other.value == value for other in others):
                return True
    return False


def _of_one_record(write: Write) -> list[str]:
    """Return the arguments that are text fields of one record, if there are several, such as those of an address."""
    by_record: dict[str, list[str]] = {}
    for name, place in write.places.items():
        if isinstance(place, dict) and "path" in place and not is_opaque(write.arguments.get(name)):
            by_record.setdefault(canonical([place["call"], place["path"][:-1]]), []).append(name)
    names = max(by_record.values(), key=len, default=[])
    return [name for name in write.arguments if name in names] if len(names) >= RECORD_FIELDS else []


def _record_label(write: Write, name: str) -> str:
    keys = [key for key in write.places[name]["path"][:-1] if isinstance(key, str) and not is_opaque(key)]
    return words.label_of(keys[-1]) if keys else ""
