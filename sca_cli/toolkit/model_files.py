"""Find a model's directory, or download it, and load what is in it.

A model directory is data. Its files can hold Python code (`*.py`) and pickles, which run code when they are loaded, so
neither is loaded unless the user says `trust_remote_code`. If the hub does not answer, there is an error after some
seconds.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from sca_cli.errors import MissingError

_HUB_ANSWER_S = 4.0
"""Seconds to wait for the hub's first response; chosen by hand."""

_FILES = ["*.json", "*.safetensors", "*.jinja", "*.txt", "*.model"]


def locate(name: str) -> str:
    """Return the directory of a model; download the model from the hub if necessary.

    Args:
        name: a directory, or a hub id `OWNER/NAME`.

    Raises:
        MissingError: the directory does not exist, the hub does not have the model, or the hub does not answer and
            the model is not in the local cache.
    """
    path = Path(name).expanduser()
    if name and path.is_dir():
        return str(path)
    if not name or name.startswith((".", "/", "~")) or name.count("/") != 1:
        raise MissingError(f"no such model directory: '{name}'", "give a directory or a hub id OWNER/NAME")
    return _from_hub(name)


def _from_hub(name: str) -> str:
    from huggingface_hub import constants, snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    offline = constants.HF_HUB_OFFLINE or not _answers(constants.ENDPOINT)
    try:
        return str(snapshot_download(name, allow_patterns=_FILES, local_files_only=offline))
    except LocalEntryNotFoundError as error:
        reason = "HF_HUB_OFFLINE is set" if constants.HF_HUB_OFFLINE else f"{constants.ENDPOINT} does not answer"
        raise MissingError(
            f"'{name}' is neither a directory nor in the local cache, and {reason}", "give a model directory"
        ) from error
    except (
        Exception
    ) as error:  # what a hub sends is not trusted: the library raises AssertionError and others on odd replies
        reason = str(error).strip().splitlines() or [type(error).__name__]
        raise MissingError(f"cannot fetch '{name}': {reason[0]}") from error


def _answers(endpoint: str) -> bool:
    import httpx

    try:
        httpx.head(endpoint, timeout=_HUB_ANSWER_S)
    except httpx.HTTPError:
        return False
    return True


def load_tokenizer(path: str, name: str, *, trust_remote_code: bool = False) -> Any:
    """Load a tokenizer.

    Args:
        path: the model's directory, or a hub name.
        name: the model's name, for error messages.
        trust_remote_code: run Python code of the directory.

    Raises:
        ImportError: transformers is not installed.
        MissingError: the files are absent, broken, or need code of the directory.
    """
    from transformers import AutoTokenizer

    return _loaded(
        lambda: AutoTokenizer.from_pretrained(path, trust_remote_code=trust_remote_code),
        path,
        f"model '{name}': its tokenizer",
    )


def load_weights(path: str, name: str, *, trust_remote_code: bool = False, **options: Any) -> Any:
    """Load a causal language model from safetensors files.

    Args:
        path: the model's directory, or a hub name.
        name: the model's name, for error messages.
        trust_remote_code: run Python code of the directory.
        options: further arguments of `from_pretrained`.

    Raises:
        ImportError: torch or transformers is not installed.
        MissingError: the files are absent, broken, incomplete, or need code of the directory.
    """
    from transformers import AutoModelForCausalLM

    loaded: Any = _loaded(
        lambda: AutoModelForCausalLM.from_pretrained(
            path, trust_remote_code=trust_remote_code, use_safetensors=True, output_loading_info=True, **options
        ),
        path,
        f"model '{name}'",
    )
    model, report = loaded
    if missing := sorted(report["missing_keys"]):
        raise MissingError(
            f"cannot load the model '{name}': its files lack {len(missing)} tensors, such as {missing[0]}",
            "copy or download the model again",
        )
    return model


def load_generation_config(path: str) -> Any:
    """Load a model's `GenerationConfig`. Return None if it has none, because not every model has one.

    Raises:
        ImportError: transformers is not installed.
        MissingError: the file is broken.
    """
    from transformers import GenerationConfig

    if not (Path(path) / "generation_config.json").is_file():
        return None
    return _loaded(
        lambda: GenerationConfig.from_pretrained(path, local_files_only=True), path, "configuration of the replies"
    )


def _loaded[T](load: Callable[[], T], path: str, thing: str) -> T:
    """Load files that may be broken in any way, and name the cause."""
    try:
        return load()
    except Exception as error:
        if pointer := _pointer(Path(path)):
            hint = f"run 'git lfs pull' in {path}"
            raise MissingError(f"cannot load the {thing}: {pointer} is a pointer of git-LFS", hint) from error
        reason = str(error).strip().partition("\n")[0] or "no reason given"
        hint = ""
        if "trust_remote_code" in str(error) or "custom code" in str(error):
            reason, hint = (
                "it needs Python code from its directory",
                "the option trust_remote_code=true of a model, or --trust-remote-code, runs it",
            )
        elif not list(Path(path).glob("*.safetensors")) and list(Path(path).glob("*.bin")):
            reason, hint = "its weights are pickles, which can run code", "convert them to safetensors"
        kind = "" if isinstance(error, OSError | ValueError) else f"{type(error).__name__}: "
        raise MissingError(f"cannot load the {thing}: {kind}{reason}", hint) from error


def _pointer(path: Path) -> str:
    """Return the name of a file that holds only a reference to the real file, or ""."""
    for file in sorted([*path.glob("*.safetensors"), *path.glob("*.json"), *path.glob("*.model")]):
        with file.open("rb") as opened:
            if opened.read(40).startswith(b"version https://git-lfs"):
                return file.name
    return ""
