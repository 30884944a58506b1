"""Precomputed vectors: folders with `corpus.npy` and `queries.npy`."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from quantum_rerank.datasets import Collection
from quantum_rerank.embeddings.cache import (
    EmbeddingCache,
    Embeddings,
    cache_key,
    default_cache_folder,
)
from quantum_rerank.embeddings.mapped import MAPPED_FROM, blocks, open_mapped
from quantum_rerank.embeddings.unit_rows import are_unit, normalised
from quantum_rerank.errors import EmbeddingError
from quantum_rerank.regular_files import open_regular, reason

_CORPUS, _QUERIES = "corpus.npy", "queries.npy"


class ArraySource:
    """Vectors from `corpus.npy` and `queries.npy`, with rows in the order of a collection.

    With several collections, each has a subfolder named by its domain, with `-` for `:`:
    `beir-trees`, or `ir_datasets-beir/scifact/test`. Large files are mapped as they are if their
    rows are float32 and of length 1. Otherwise their normalised rows become a file of the cache.

    Args:
        folder: Folder of the arrays.
        cache_folder: Folder of cached vectors. Defaults to `default_cache_folder()`.
    """

    def __init__(self, folder: Path, cache_folder: Path | None = None) -> None:
        self._folder = folder
        self._cache_folder = cache_folder

    @cached_property
    def fingerprint(self) -> str:
        """Hash of all `corpus.npy` and `queries.npy` below the folder, regardless of its place.

        Files are read in blocks, which takes a second or two per GB and no memory.

        Raises:
            EmbeddingError: A file cannot be read.
        """
        digest = hashlib.sha256()
        for path in sorted(self._files()):
            digest.update(path.relative_to(self._folder).as_posix().encode() + b"\0")
            digest.update(_hash_of(path))
        return f"npy:{digest.hexdigest()}"

    def _files(self) -> list[Path]:
        # `Path.rglob` would skip folders that are links.
        return [
            path
            for folder, _, _ in os.walk(self._folder, followlinks=True)
            for path in (Path(folder, _CORPUS), Path(folder, _QUERIES))
            if path.exists()
        ]

    def refuse_missing_rows(self, collection: Collection) -> None:
        """Check that there is a row for each text of a collection, without reading the rows.

        Raises:
            EmbeddingError: A file is missing, is not an array of numbers, or has another number
                of rows.
        """
        folder = self._folder_of(collection)
        _open_rows(folder / _QUERIES, len(collection.queries))
        _open_rows(folder / _CORPUS, len(collection.corpus))

    def _folder_of(self, collection: Collection) -> Path:
        subfolder = self._folder / collection.domain.replace(":", "-")
        return subfolder if subfolder.is_dir() else self._folder

    def embed(self, collection: Collection) -> tuple[Embeddings, Embeddings]:
        """See `EmbeddingSource.embed`.

        Raises:
            EmbeddingError: A file is missing or does not fit the collection, or a row cannot be
                normalised.
        """
        folder = self._folder_of(collection)
        queries = self._load_rows(folder / _QUERIES, len(collection.queries))
        documents = self._load_rows(folder / _CORPUS, len(collection.corpus))
        if queries.shape[1] != documents.shape[1]:
            raise EmbeddingError(
                f"{folder}: queries.npy has {queries.shape[1]} columns and corpus.npy "
                f"{documents.shape[1]}, but both must come from one encoder."
            )
        return queries, documents

    def unread(self, collection: Collection) -> dict[str, int]:
        """See `EmbeddingSource.unread`; precomputed vectors have no counts."""
        return {}

    def _load_rows(self, path: Path, n_rows: int) -> Embeddings:
        array = _open_rows(path, n_rows)
        if array.nbytes < MAPPED_FROM:
            return normalised(array.astype(np.float32), str(path))
        if _is_ready(array):
            return array
        cache = EmbeddingCache(self._cache_folder or default_cache_folder())
        state = path.stat()
        key = cache_key("npy", [str(path.resolve()), str(state.st_size), str(state.st_mtime_ns)])
        return cache.get_or_write(key, n_rows, lambda: _normalised_blocks(array, path))


def _normalised_blocks(array: NDArray[Any], path: Path) -> Iterator[Embeddings]:
    for start, rows in blocks(array):
        yield normalised(rows.astype(np.float32), str(path), start)


def _hash_of(path: Path) -> bytes:
    """Return the BLAKE2b hash of an array's file, fast without hardware support for SHA-256."""
    try:
        open_mapped(path)  # a file that is longer than its array could be without end
        with open_regular(path, follow_link=True) as file:
            return hashlib.file_digest(file, "blake2b").digest()
    except (OSError, ValueError) as error:
        raise EmbeddingError(f"`{path}` cannot be read: {reason(error)}.") from None


def _open_rows(path: Path, n_rows: int) -> NDArray[Any]:
    """Map an array of real numbers with a row per text."""
    array = _open(path)
    # Quantised vectors are whole numbers, whose direction is what counts.
    if not np.issubdtype(array.dtype, np.floating) and array.dtype.kind not in "iu":
        raise EmbeddingError(f"`{path}` holds {array.dtype}, but must hold real numbers.")
    if array.ndim != 2 or len(array) != n_rows:
        raise EmbeddingError(
            f"`{path}` has the shape {array.shape}, but must have {n_rows} rows: one per text, "
            "in the order of the files, and for queries only those with a relevant document."
        )
    return array


def _open(path: Path) -> NDArray[Any]:
    try:
        return open_mapped(path)
    except FileNotFoundError:
        raise EmbeddingError(f"`{path}` does not exist.") from None
    except (OSError, ValueError) as error:
        raise EmbeddingError(f"`{path}` is not a readable array: {reason(error)}.") from None


def _is_ready(array: NDArray[Any]) -> bool:
    """Return whether rows need no change: contiguous float32, each of length 1."""
    return (
        array.dtype == np.float32
        and array.flags.c_contiguous
        and all(are_unit(rows) for _, rows in blocks(array))
    )
