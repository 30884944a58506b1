"""Models that turn texts into vectors, by name."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

from quantum_rerank.embeddings.cache import Embeddings
from quantum_rerank.embeddings.coverage import Coverage
from quantum_rerank.embeddings.settings import EncoderSettings, Role
from quantum_rerank.registry import Registry

MODEL_FILE_SUFFIXES = (".safetensors", ".bin", ".json", ".txt", ".model")
"""Suffixes of the files that determine a model's vectors."""


class TextModel(Protocol):
    """A model that embeds texts. Weights are loaded when vectors or their width are needed.

    A new model is a class with these methods, which takes its settings, and an entry in
    `ENCODERS`:

        ENCODERS.register("letters", Letters)  # `data.encoder: letters` calls `Letters(settings)`
    """

    @property
    def folder(self) -> Path:
        """Folder of the model. Its files with MODEL_FILE_SUFFIXES determine the vectors."""
        ...

    @property
    def width(self) -> int:
        """Numbers per vector."""
        ...

    def vectors(self, texts: list[str], role: Role) -> Embeddings:
        """Embed texts of one role.

        Args:
            texts: n texts.
            role: Role of the texts.

        Returns:
            (n, width) float32, of any length.
        """
        ...

    def coverage(self, texts: Sequence[str], role: Role) -> Coverage:
        """Count the texts that the model does not read in full.

        Args:
            texts: Texts without their prompt.
            role: Role of the texts.
        """
        ...


ENCODERS = Registry[Callable[[EncoderSettings], TextModel]](
    "encoder",
    "encoders",
    {
        "minilm": "quantum_rerank.embeddings.sentence_transformers_model:minilm",
        "wordllama": "quantum_rerank.embeddings.wordllama_model:WordLlamaModel",
    },
)
"""Encoders by name."""


def encoder_names() -> str:
    """Return a sentence that lists the valid values of `data.encoder`, for errors."""
    names = ", ".join(f"`{name}`" for name in ENCODERS)
    return f"Give {names}, a sentence-transformers name or folder, or `npy:FOLDER`."


def hub_name(name: str) -> str:
    """Return the full name of a model on the hub, with its owner.

    >>> hub_name("all-MiniLM-L6-v2"), hub_name("intfloat/e5-small")
    ('sentence-transformers/all-MiniLM-L6-v2', 'intfloat/e5-small')
    """
    return name if "/" in name else f"sentence-transformers/{name}"
