"""Checks of an encoder that neither load nor download it."""

from __future__ import annotations

import os
from collections.abc import Iterable

from quantum_rerank.config import DataConfig
from quantum_rerank.datasets import Collection
from quantum_rerank.embeddings.encoder import ArraySource, source_of
from quantum_rerank.embeddings.text_models import ENCODERS, text_model
from quantum_rerank.errors import EmbeddingError
from quantum_rerank.paths import expanded

_OFFLINE = ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")
_NO = ("", "0", "false", "no", "off")


def refuse_unusable_encoder(config: DataConfig, collections: Iterable[Collection]) -> str:
    """Check that the encoder of a configuration is there.

    Args:
        config: Names the encoder, and the device that it runs on.
        collections: What is to be embedded; with `npy:`, rows are counted against them.

    Returns:
        What will happen before the first text is embedded, as a sentence; empty if nothing.

    Raises:
        EmbeddingError: Its folder, its arrays or its device are missing, or do not fit the
            collections.
        MissingPackage: It comes with a package that is not installed.
    """
    name, source = config.encoder, source_of(config)
    if isinstance(source, ArraySource):
        for collection in collections:
            source.refuse_missing_rows(collection)
        return ""
    if name in ENCODERS:
        folder = text_model(name).folder
        if not folder.is_dir():
            raise EmbeddingError(f"The files of the encoder `{name}` are not in `{folder}`.")
        return ""
    return _on_disk_or_hub(name)


def _on_disk_or_hub(name: str) -> str:
    """Find a sentence-transformers model in its folder, in the cache, or on the hub."""
    path = expanded(name)
    if path.is_dir():
        if not any((path / file).is_file() for file in ("modules.json", "config.json")):
            raise EmbeddingError(
                f"The encoder's folder `{name}` has neither modules.json nor config.json in it, so "
                "it is no model of sentence-transformers."
            )
        return ""
    if path.exists() or name.startswith((".", "/", "~")) or name.count("/") > 1:
        known = ", ".join(f"`{model}`" for model in ENCODERS)
        raise EmbeddingError(
            f"The encoder `{name}` is no folder. Give {known}, a sentence-transformers name or "
            "folder, or `npy:FOLDER`."
        )
    if _is_cached(name):
        return ""
    if offline := next((key for key in _OFFLINE if os.environ.get(key, "").lower() not in _NO), ""):
        raise EmbeddingError(
            f"The encoder `{name}` is not on this machine, and {offline} forbids to download it. "
            "Unset it, or give a folder."
        )
    return f"The encoder `{name}` is not on this machine yet; a search downloads it first."


def _is_cached(name: str) -> bool:
    from huggingface_hub import try_to_load_from_cache

    owned = name if "/" in name else f"sentence-transformers/{name}"
    try:
        return isinstance(try_to_load_from_cache(owned, "config.json"), str)
    except ValueError:  # no name that the hub could have
        raise EmbeddingError(
            f"The encoder `{name}` is neither a folder nor a name that a model can have."
        ) from None
