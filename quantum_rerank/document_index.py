"""The documents of a corpus with their states, computed once and mapped into memory.

    embeddings.npy   (n, dim) float32, the vectors, of length 1
    states.npy       (n, size), what the model's head makes of them
    index.json       schema version, the bundle's hash, and what the two arrays must be

An index belongs to one bundle: to another model its states mean nothing. Opening it runs no
pickle, and reads of the arrays no more than their headers.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib.format import open_memmap
from numpy.typing import NDArray

from quantum_rerank.embeddings import Embeddings, unit_rows
from quantum_rerank.errors import BundleError, DataError, EmbeddingError
from quantum_rerank.similarity import Head, represent
from quantum_rerank.whole_files import appearing, require_free

SCHEMA_VERSION = 1
EMBEDDINGS, STATES, RECORD = "embeddings.npy", "states.npy", "index.json"
_BUILD_ROWS = 1024  # represented together when an index is built
_BLOCK_BYTES = 2**22  # of vectors and states scored together: they stay in a core's cache
_AGAIN = "Index the documents again, into a new folder."

States = NDArray[Any]  # complex128, complex64 or float32: each head has its own kind


@dataclass(frozen=True, eq=False)
class DocumentIndex:
    """Vectors and states of n documents, read-only, in the order in which they were indexed.

    embeddings: (n, dim) float32.  states: (n, size), as of `Head.represent`.
    """

    bundle_sha256: str
    embeddings: Embeddings
    states: States

    def __len__(self) -> int:
        return len(self.embeddings)

    @classmethod
    def build(
        cls, folder: Path, head: Head, bundle_sha256: str, embeddings: Embeddings
    ) -> DocumentIndex:
        """Compute the states and keep them; the folder appears under its name only when whole.

        embeddings: (n, dim), of any length; they may be a mapped file themselves.
        Raises: OutputError if the folder exists already or cannot be written, EmbeddingError
            if there is no document, or a vector is not finite or all zero.
        """
        require_free(folder)
        if not len(embeddings):
            raise EmbeddingError("There are no documents to index.")
        with appearing(folder) as staging:
            _write_arrays(staging, head.eval(), embeddings)
            record = {
                "schema_version": SCHEMA_VERSION,
                "bundle_sha256": bundle_sha256,
                "n_documents": len(embeddings),
                "files": {name: _facts(staging / name) for name in (EMBEDDINGS, STATES)},
            }
            (staging / RECORD).write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
        return cls.open(folder, bundle_sha256)

    @classmethod
    def open(cls, folder: Path, bundle_sha256: str) -> DocumentIndex:
        """Map the files of an index that was made with the bundle of this hash.

        Raises: BundleError if it was made with another, or if a file is missing, cut off,
            damaged, or of another version.
        """
        record = _checked_record(folder, bundle_sha256)
        embeddings, states = (_mapped(folder / name, record) for name in (EMBEDDINGS, STATES))
        if not len(embeddings) == len(states) == record.get("n_documents"):
            raise BundleError(
                f"`{folder}` is damaged: {len(embeddings)} vectors, {len(states)} states, "
                f"and {record.get('n_documents')} documents in {RECORD}. {_AGAIN}"
            )
        return cls(bundle_sha256, embeddings, states)

    def blocks(self, rows: Sequence[int] | None = None) -> Iterator[tuple[Embeddings, States]]:
        """Vectors and states of some rows, in the order asked, or of all; some MB at a time.

        Raises: DataError if a row is not in the index.
        """
        # Plain views: a memmap's own indexing costs more than the rows do.
        embeddings, states = np.asarray(self.embeddings), np.asarray(self.states)
        picked = None if rows is None else self._checked(rows)
        n_rows = len(self) if picked is None else len(picked)
        size = max(_BLOCK_BYTES // (embeddings[0].nbytes + states[0].nbytes), 1)
        for start in range(0, n_rows, size):
            part = slice(start, start + size)
            place = part if picked is None else picked[part]
            yield embeddings[place], states[place]

    def _checked(self, rows: Sequence[int]) -> NDArray[np.intp]:
        found = np.asarray(rows)
        if found.size == 0:
            return np.empty(0, dtype=np.intp)
        if found.ndim != 1 or found.dtype.kind not in "iu":
            raise DataError(
                f"`rows` has the shape {found.shape} and the type {found.dtype}, but must be a "
                "sequence of integers, or None for all."
            )
        outside = (found < 0) | (found >= len(self))
        if outside.any():
            raise DataError(
                f"Row {found[outside][0]} is not in the index, which has {len(self)} documents: "
                f"rows go from 0 to {len(self) - 1}."
            )
        return found.astype(np.intp, copy=False)


def _write_arrays(folder: Path, head: Head, embeddings: Embeddings) -> None:
    first = represent(head, unit_rows(embeddings[:1], "documents")).numpy()
    vectors = _reserved(folder / EMBEDDINGS, np.dtype(np.float32), embeddings.shape)
    states = _reserved(folder / STATES, first.dtype, (len(embeddings), first.shape[1]))
    for start in range(0, len(embeddings), _BUILD_ROWS):
        rows = slice(start, start + _BUILD_ROWS)
        vectors[rows] = unit_rows(embeddings[rows], "documents", start)
        states[rows] = represent(head, vectors[rows]).numpy()
    vectors.flush()
    states.flush()


def _reserved(path: Path, dtype: np.dtype[Any], shape: tuple[int, ...]) -> np.memmap[Any, Any]:
    """A new array on disk that has its room already.

    Without it, a disk that is full would end the process in the middle of an assignment.
    """
    array = open_memmap(path, mode="w+", dtype=dtype, shape=shape)
    if hasattr(os, "posix_fallocate"):  # not on macOS
        with path.open("r+b") as file:
            os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
    return array


def _checked_record(folder: Path, bundle_sha256: str) -> dict[str, Any]:
    try:
        record = json.loads((folder / RECORD).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise BundleError(f"`{folder}` is no document index: it has no {RECORD}.") from None
    except (OSError, ValueError) as error:
        raise BundleError(f"`{folder / RECORD}` cannot be read: {error}. {_AGAIN}") from None
    found = record.get("schema_version") if isinstance(record, dict) else None
    if found != SCHEMA_VERSION:
        raise BundleError(
            f"`{folder}` has the schema version {found!r}, but this package reads "
            f"{SCHEMA_VERSION}. {_AGAIN}"
        )
    if record.get("bundle_sha256") != bundle_sha256:
        raise BundleError(
            f"`{folder}` was made with another model: the bundle {record.get('bundle_sha256')}, "
            f"not {bundle_sha256}. Load that one, or index the documents again with this one."
        )
    return dict(record)


def _mapped(path: Path, record: dict[str, Any]) -> np.memmap[Any, Any]:
    """Map an array that is what the record says."""
    if not path.is_file():
        raise BundleError(f"`{path}` is missing. {_AGAIN}")
    files = record.get("files")
    expected = files.get(path.name) if isinstance(files, dict) else None
    try:
        array, found = open_memmap(path, mode="r"), _facts(path)
    except Exception as error:  # a header is parsed as Python, which fails in many ways
        raise BundleError(f"`{path}` was cut off or altered: {error}. {_AGAIN}") from None
    if found != expected:
        raise BundleError(
            f"`{path}` was cut off or altered: it is {found}, but {RECORD} says {expected}. "
            f"{_AGAIN}"
        )
    return array


def _facts(path: Path) -> dict[str, Any]:
    """What tells an array that was cut off or exchanged, without reading it."""
    array = open_memmap(path, mode="r")
    return {"shape": list(array.shape), "dtype": array.dtype.name, "bytes": path.stat().st_size}
