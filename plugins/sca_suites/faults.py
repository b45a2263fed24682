"""Report errors in a benchmark's files together with the file that causes them.

Everything here runs inside the world's jail, where the foreign code is. A missing file is a `MissingError`. A file that
is not valid JSON or Python, or holds wrong values, is a `RecordError`. Code that fails in another way is a
`PluginError`.
"""

import json
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sca_cli import MissingError, PluginError, RecordError, UsageError
from sca_suites.loading import first_line


def absent(path: Path, source: str) -> MissingError:
    """Return the error for a missing file; `source` says where the user can get it."""
    return MissingError(f"{path} is missing", f"{source} has it")


@contextmanager
def reading(package: str, folder: Path, source: str, data: Path) -> Iterator[None]:
    """Convert exceptions that foreign code raises while it loads or reads its data, and name the file that causes them.

    Args:
        package: the name that the benchmark is imported under.
        folder: the directory of that package.
        source: text that says where the user can get all files.
        data: the file that is read, which is then reported as the cause of all exceptions; or the folder of data files.

    Raises:
        MissingError: a file or a package is missing.
        RecordError: a file has wrong content.
        PluginError: the code failed.
    """
    try:
        yield
    except (MissingError, PluginError, RecordError, UsageError):
        raise
    except ImportError as error:
        raise _not_imported(error, package, folder, source) from None
    except FileNotFoundError as error:
        raise absent(Path(error.filename), source) from None
    except OSError as error:
        raise MissingError(f"cannot read {error.filename}: {error.strerror}") from None
    except SyntaxError as error:
        raise RecordError(f"{error.filename}:{error.lineno}: {type(error).__name__}: {error.msg}") from None
    except Exception as error:  # noqa: BLE001  foreign code may fail in any way
        if isinstance(error, ValueError | RecursionError) and (wrong := _not_json(data)):
            raise RecordError(wrong) from None
        if data.is_file() and not isinstance(error, UnicodeDecodeError):  # a decode error is from another file here
            message = " ".join(str(error).split()).partition(" For further information")[0]  # shorten pydantic's text
            raise RecordError(f"{data} cannot be read: {type(error).__name__}: {message:.200}") from None
        raise PluginError(f"{_place(error, folder)}: {first_line(error)}") from None


def _not_imported(
    error: ImportError, package: str, folder: Path, source: str
) -> MissingError | RecordError | PluginError:
    root, *inner = (error.name or "").split(".")
    place = folder.joinpath(*inner)
    if root != package and isinstance(error, ModuleNotFoundError):
        return MissingError(f"{folder} needs the package '{root}'", f"pip install {root}")
    if root != package:
        return PluginError(f"{_place(error, folder)}: {first_line(error)}")
    if error.name_from and not place.is_dir():
        return RecordError(f"{place}.py has no {error.name_from}")
    return absent(Path(f"{place / (error.name_from or '')}.py"), source)


def _not_json(data: Path) -> str:
    """Return the first of these files that is not valid JSON, with line and reason, or ""."""
    for path in [data] if data.is_file() else sorted([*data.rglob("*.json"), *data.rglob("*.jsonl")]):
        content = path.read_bytes()
        for before, part in enumerate(content.splitlines()) if path.suffix == ".jsonl" else [(0, content)]:
            try:
                json.loads(part)
            except json.JSONDecodeError as error:
                return f"{path}:{before + error.lineno}: not JSON: {error.msg}"
            except UnicodeDecodeError as error:
                return f"{path}:{before + part.count(b'\n', 0, error.start) + 1}: not UTF-8"
            except RecursionError:
                return f"{path}: nested too deeply"
    return ""


def _place(error: BaseException, folder: Path) -> str:
    """Return the innermost file and line within a folder in an exception's traceback, or the folder itself."""
    frames = traceback.extract_tb(error.__traceback__)
    places = [f"{frame.filename}:{frame.lineno}" for frame in frames if Path(frame.filename).is_relative_to(folder)]
    return places[-1] if places else str(folder)
