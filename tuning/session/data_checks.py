"""Checks of a search's data and encoder, which a dry run makes."""

from __future__ import annotations

from pathlib import Path

from quantum_rerank.embeddings import source_of
from quantum_rerank.embeddings.availability import refuse_unusable_encoder
from quantum_rerank.embeddings.cache import EmbeddingCache, default_cache_folder
from quantum_rerank.training.data_description import describe_collections
from quantum_rerank.training.few_labels import few_labels
from quantum_rerank.training.run_collections import split_collections
from tuning.session.preflight import Mistakes, removed_again
from tuning.space import Space
from tuning.study.run_folder import RECORD, read_record, refuse_other_fingerprints


def refuse_unusable_data(space: Space, folder: Path) -> list[str]:
    """Load every collection and look for the encoder; nothing is embedded or downloaded.

    Args:
        space: Space of the search.
        folder: Folder of the run; the data of a resumed run must not have changed.

    Returns:
        Lines on few training queries and on the collections, and a sentence on a model that will
        be downloaded.

    Raises:
        ConfigError: All mistakes in the data and the encoder.
    """
    mistakes, config = Mistakes(), space.base.data
    loaded = mistakes.attempt(lambda: split_collections(config))
    collections = list(loaded.collections.values()) if loaded else []
    note = mistakes.attempt(lambda: refuse_unusable_encoder(config, collections))
    if not config.encoder.startswith("npy:"):
        mistakes.attempt(refuse_unusable_cache)
    if loaded and note == "" and (folder / RECORD).exists():
        recorded = read_record(folder)
        fingerprint, encoder = loaded.fingerprint, source_of(config).fingerprint
        mistakes.attempt(lambda: refuse_other_fingerprints(recorded, fingerprint, encoder, folder))
    mistakes.raise_any()
    assert loaded is not None  # else there was a mistake
    n_queries = sum(len(split.train) for split in loaded.splits.values())
    lines = [*few_labels(n_queries, config), *describe_collections(loaded)]
    return [*lines, *([note] if note else [])]


def refuse_unusable_cache() -> None:
    """Check that embeddings can be cached; a new cache is removed again.

    Raises:
        OutputError: The folder of the cache cannot be written to, or the user has no home.
    """
    folder = default_cache_folder()
    with removed_again(folder, made=[".lock"]):
        EmbeddingCache(folder)
