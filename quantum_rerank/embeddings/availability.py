"""Checks of an encoder without loading or downloading it."""

from __future__ import annotations

import os
from collections.abc import Iterable

from quantum_rerank.datasets import Collection
from quantum_rerank.datasets.config import DataConfig
from quantum_rerank.embeddings.arrays import ArraySource
from quantum_rerank.embeddings.model_lookup import text_model
from quantum_rerank.embeddings.sources import source_of
from quantum_rerank.embeddings.text_models import ENCODERS, encoder_names, hub_name
from quantum_rerank.errors import EmbeddingError
from quantum_rerank.paths import expanded

_OFFLINE = ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")
_NO = ("", "0", "false", "no", "off")


def refuse_unusable_encoder(config: DataConfig, collections: Iterable[Collection]) -> str:
    """Check that the encoder of a configuration is available.

    Args:
        config: Configuration with the encoder and its device.
        collections: Collections to embed; the rows of `npy:` arrays must fit them.

    Returns:
        A sentence that announces a download, or an empty string.

    Raises:
        EmbeddingError: The folder, arrays or device of the encoder are missing, or the arrays do
            not fit the collections.
        MissingPackage: The package of the encoder is not installed.
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
                f"The encoder's folder `{name}` has neither modules.json nor config.json, so it is "
                "not a sentence-transformers model."
            )
        return ""
    if path.exists() or name.startswith((".", "/", "~")) or name.count("/") > 1:
        raise EmbeddingError(f"The encoder `{name}` is not a folder. {encoder_names()}")
    if _is_cached(name):
        return ""
    if offline := next((key for key in _OFFLINE if os.environ.get(key, "").lower() not in _NO), ""):
        raise EmbeddingError(
            f"The encoder `{name}` is not on this machine, and {offline} forbids its download. "
            "Unset it, or give a folder."
        )
    return f"The encoder `{name}` is not on this machine yet; a search downloads it first."


def _is_cached(name: str) -> bool:
    from huggingface_hub import try_to_load_from_cache

    try:
        return isinstance(try_to_load_from_cache(hub_name(name), "config.json"), str)
    except ValueError:  # not a valid name on the hub
        raise EmbeddingError(
            f"The encoder `{name}` is neither a folder nor a valid name of a model."
        ) from None
