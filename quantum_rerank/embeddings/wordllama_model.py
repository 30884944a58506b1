"""The encoder of the package wordllama."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from quantum_rerank.datasets.packages import package_folder
from quantum_rerank.embeddings.cache import Embeddings
from quantum_rerank.embeddings.coverage import Coverage, TextReader, unknown_tokens
from quantum_rerank.embeddings.settings import EncoderSettings, Role
from quantum_rerank.errors import MissingPackage


class WordLlamaModel:
    """WordLlama: means of static token vectors, 256 numbers, computed by numpy on the CPU.

    The vectors were trained on text in lower case. The length of a text is not limited.
    Characters outside the vocabulary are spelled in bytes.

    Args:
        settings: Settings of the encoder.
    """

    def __init__(self, settings: EncoderSettings) -> None:
        self._settings = settings

    @cached_property
    def folder(self) -> Path:
        """See `TextModel.folder`."""
        missing = MissingPackage("wordllama", "wordllama", "The encoder `wordllama`")
        return package_folder("wordllama", missing)

    @property
    def width(self) -> int:
        """See `TextModel.width`."""
        return int(self._model.embedding.shape[1])

    def vectors(self, texts: list[str], role: Role) -> Embeddings:
        """See `TextModel.vectors`."""
        prompt = self._settings.prompt(role) or ""
        # An empty text has no token, and so no direction; a space has one.
        lowered = [(prompt + text).lower() or " " for text in texts]
        # Texts are padded to the longest of a batch: at most 200,000 characters in all.
        longest = max(map(len, lowered))
        batch_size = min(max(200_000 // longest, 1), self._settings.batch_size)
        rows: Embeddings = self._model.embed(lowered, batch_size=batch_size)
        return rows

    def coverage(self, texts: Sequence[str], role: Role) -> Coverage:
        """See `TextModel.coverage`; its vocabulary has every ASCII character."""
        coverage = self._reader.coverage([text.lower() for text in texts if not text.isascii()])
        return Coverage(len(texts), unknown=coverage.unknown)

    @cached_property
    def _reader(self) -> TextReader:
        tokenizer = self._model.tokenizer
        unknown = unknown_tokens(tokenizer, bytes_too=True)
        return TextReader(tokenizer, None, unknown, add_special_tokens=False)

    @cached_property
    def _model(self) -> Any:
        folder = self.folder
        root = logging.getLogger()
        level, handlers = root.level, list(root.handlers)
        from wordllama import WordLlama

        # The import of the package configures the root logger, which is restored here.
        root.level, root.handlers = level, handlers
        return WordLlama.load(cache_dir=folder, disable_download=True)
