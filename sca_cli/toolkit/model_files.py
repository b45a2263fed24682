"""Find a model's directory, or download it; if the hub does not answer, raise an error after some seconds."""

from pathlib import Path

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
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    offline = constants.HF_HUB_OFFLINE or not _answers(constants.ENDPOINT)
    try:
        return str(snapshot_download(name, allow_patterns=_FILES, local_files_only=offline))
    except LocalEntryNotFoundError as error:
        reason = "HF_HUB_OFFLINE is set" if constants.HF_HUB_OFFLINE else f"{constants.ENDPOINT} does not answer"
        raise MissingError(
            f"'{name}' is neither a directory nor in the local cache, and {reason}", "give a model directory"
        ) from error
    except HfHubHTTPError as error:
        raise MissingError(f"cannot fetch '{name}': {str(error).splitlines()[0]}") from error


def _answers(endpoint: str) -> bool:
    import httpx

    try:
        httpx.head(endpoint, timeout=_HUB_ANSWER_S)
    except httpx.HTTPError:
        return False
    return True
