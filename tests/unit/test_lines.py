"""Lines: plain and gzip files, one line in memory, and files of other kinds."""

import gzip
from pathlib import Path

import pytest

from sca_cli import lines
from sca_cli.errors import MissingError, RecordError

TEXT = b"one\n\ntwo\nthree"


def contents(path: Path) -> list[bytes | str]:
    """Return the lines of a file; for a line that cannot be read, its error."""
    return [
        str(line.content) if isinstance(line.content, RecordError) else line.content
        for line in lines.lines_of(str(path))
    ]


@pytest.mark.parametrize(
    "data",
    [
        gzip.compress(TEXT),
        b"".join(gzip.compress(TEXT[place : place + 1]) for place in range(len(TEXT))),
        gzip.compress(TEXT[:6]) + bytes(3) + gzip.compress(TEXT[6:]) + bytes(70_000),
    ],
    ids=["one member", "many members", "padded"],
)
def test_gzip_is_read_by_its_first_bytes(tmp_path: Path, data: bytes) -> None:
    """A gzip file has the lines of the text in it, whatever its name, its members and the zeros between them."""
    path = tmp_path / "file"
    path.write_bytes(data)
    assert contents(path) == TEXT.split(b"\n")
    assert lines.count(str(path)) == 3


def test_lines_of_a_large_gzip_file_are_whole(tmp_path: Path) -> None:
    """Lines that are longer than a chunk, and chunks that end within a member, lose no byte."""
    parts = [bytes([65 + place]) * size for place, size in enumerate((65535, 65536, 65537, 3 << 16, 1))]
    path = tmp_path / "file.gz"
    path.write_bytes(b"".join(gzip.compress(part + b"\n") for part in parts))
    assert contents(path) == parts


@pytest.mark.parametrize("end", [12, 40, -1])
def test_gzip_that_is_cut_short_gives_its_whole_lines_and_an_error(tmp_path: Path, end: int) -> None:
    """Of a gzip file without its end, the lines that can be read come first, then one error with the place."""
    path = tmp_path / "cut.gz"
    path.write_bytes((gzip.compress(b"first\n") + gzip.compress(bytes(range(65, 90)) * 9))[:end])
    *read, error = contents(path)
    assert read == ([b"first"] if end != 12 else [])
    assert error == f"{path}:{len(read) + 1}: the gzip data is cut short"


def test_damaged_gzip_is_an_error(tmp_path: Path) -> None:
    """Other bytes after the gzip header are an error of the line, not a traceback."""
    path = tmp_path / "damaged.gz"
    path.write_bytes(gzip.compress(b"first\n")[:10] + b"\xff" * 50)
    assert contents(path)[0].startswith(f"{path}:1: not valid gzip data: ")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("data", "kind", "cure"),
    [
        ("{}\n".encode("utf-16"), "UTF-16 text", "iconv"),
        ("{}\n".encode("utf-16-le"), "UTF-16 text", "iconv"),
        ("{}\n".encode("utf-16-be"), "UTF-16 text", "iconv"),
        (b"\x28\xb5\x2f\xfd\x00", "a zstd file", "zstd -dc"),
        (b"BZh91AY", "a bzip2 file", "bzip2 -dc"),
        (b"\xfd7zXZ\x00", "an xz file", "xz -dc"),
        (b"PK\x03\x04", "a zip file", "unzip -p"),
        (b"PAR1\x15\x04", "a Parquet file", "JSON"),
    ],
)
def test_other_kinds_of_files_are_named_with_their_cure(tmp_path: Path, data: bytes, kind: str, cure: str) -> None:
    """The first bytes tell UTF-16, other compressions and tables, and the hint converts them."""
    path = tmp_path / "file"
    path.write_bytes(data)
    with pytest.raises(RecordError, match=f"{path}: {kind}, where JSON lines in UTF-8 are expected") as raised:
        contents(path)
    assert cure in raised.value.hint


def test_a_line_that_is_too_long_costs_this_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The lines after it are read, with their own numbers."""
    monkeypatch.setattr(lines, "MAX_LINE_BYTES", 1 << 20)
    path = tmp_path / "file"
    path.write_bytes(b"first\n" + b"x" * (3 << 20) + b"\nthird\n")
    first, second, third = lines.lines_of(str(path))
    assert (first.content, third) == (b"first", lines.Line(3, b"third"))
    assert str(second.content) == f"{path}:2: line is longer than 1 MiB"


@pytest.mark.parametrize("name", ["absent", ".", "absent/below"])
def test_inputs_are_checked_before_any_work(tmp_path: Path, name: str) -> None:
    """An input that is absent or a directory is an error that names it."""
    with pytest.raises(MissingError, match="cannot read "):
        lines.fail_if_unreadable([str(tmp_path / name)])
