"""The documents of a corpus with their states, computed once and mapped into memory.

    embeddings.npy   (n, dim) float32, the vectors, of length 1
    states.npy       (n, size), what the model's head makes of them
    duplicates.npy   (m, 2), rows whose vector an earlier row has too, and that row; not there
                     where m is 0
    index.json       schema version, the bundle's hash, and what the arrays must be

An index belongs to one bundle: to another model its states mean nothing. Opening it runs no
pickle, and reads of the arrays no more than their headers.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib.format import open_memmap
from numpy.typing import NDArray

from quantum_rerank.arguments import as_rows
from quantum_rerank.atomic import require_free, staged_folder
from quantum_rerank.embeddings import Embeddings, first_equal, unit_rows
from quantum_rerank.errors import BundleError, DataError, EmbeddingError
from quantum_rerank.paths import as_path, require_exists
from quantum_rerank.similarity import Head, represent

SCHEMA_VERSION = 1
EMBEDDINGS, STATES, RECORD = "embeddings.npy", "states.npy", "index.json"
DUPLICATES = "duplicates.npy"
_BUILD_ROWS = 1024  # represented together when an index is built
_BLOCK_BYTES = 2**22  # of vectors and states scored together: they stay in a core's cache
_ARRAYS = (EMBEDDINGS, STATES, DUPLICATES)
_AGAIN = "Index the documents again, into a new folder."

States = NDArray[Any]  # complex128, complex64 or float32: each head has its own kind


def _none() -> NDArray[np.int64]:
    return np.empty((0, 2), dtype=np.int64)


@dataclass(frozen=True, eq=False, repr=False)
class DocumentIndex:
    """Vectors and states of n documents, read-only, in the order in which they were indexed.

    embeddings: (n, dim) float32.  states: (n, size), as of `Head.represent`.
    duplicates: (m, 2), rows with the vector of an earlier row, ascending, and the first such row.
    """

    bundle_sha256: str
    embeddings: Embeddings
    states: States
    duplicates: NDArray[np.int64] = field(default_factory=_none)

    def __len__(self) -> int:
        return len(self.embeddings)

    def __repr__(self) -> str:
        return (
            f"DocumentIndex({len(self):,} documents, {self.embeddings.shape[1]}-d vectors, "
            f"{self.states.shape[1]}-d {self.states.dtype} states, "
            f"bundle {self.bundle_sha256[:12]})"
        )

    @classmethod
    def build(
        cls, folder: Path, head: Head, bundle_sha256: str, embeddings: Embeddings
    ) -> DocumentIndex:
        """Compute the states and keep them; the folder appears under its name only when whole.

        embeddings: (n, dim), of any length; they may be a mapped file themselves.
        Raises: OutputError if the folder exists already or cannot be written, EmbeddingError
            if there is no document, or a vector is not finite or all zero.
        """
        folder = as_path(folder, "folder")
        require_free(folder)
        if not len(embeddings):
            raise EmbeddingError("There are no documents to index.")
        with staged_folder(folder) as staging:
            _write_arrays(staging, head.eval(), embeddings)
            files = [file for file in _ARRAYS if (staging / file).exists()]
            record = {
                "schema_version": SCHEMA_VERSION,
                "bundle_sha256": bundle_sha256,
                "n_documents": len(embeddings),
                "files": {file: _facts(staging / file) for file in files},
            }
            (staging / RECORD).write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
        return cls.open(folder, bundle_sha256)

    @classmethod
    def open(cls, folder: Path, bundle_sha256: str) -> DocumentIndex:
        """Map the files of an index that was made with the bundle of this hash.

        Raises: BundleError if it was made with another, or if a file is missing, cut off,
            damaged, or of another version.
        """
        folder = as_path(folder, "folder")
        record = _checked_record(folder, bundle_sha256)
        embeddings, states = (_mapped(folder / name, record) for name in (EMBEDDINGS, STATES))
        if not len(embeddings) == len(states) == record.get("n_documents"):
            raise BundleError(
                f"`{folder}` is damaged: {len(embeddings)} vectors, {len(states)} states, "
                f"and {record.get('n_documents')} documents in {RECORD}. {_AGAIN}"
            )
        return cls(bundle_sha256, embeddings, states, _duplicates(folder, record))

    def first_rows(self, rows: Iterable[int]) -> NDArray[np.intp]:
        """The first row with the same vector as each of some rows: of equal ones, one is scored.

        rows: as of `blocks`.
        Raises: DataError if a row is not in the index.
        """
        asked = self._checked(rows)
        if not len(self.duplicates):
            return asked
        repeated, first = self.duplicates.T
        place = np.searchsorted(repeated, asked).clip(max=len(repeated) - 1)
        return np.where(repeated[place] == asked, first[place], asked)

    def blocks(self, rows: Iterable[int] | None = None) -> Iterator[tuple[Embeddings, States]]:
        """Vectors and states of some rows, in the order asked, or of all; some MB at a time.

        rows: a list, a generator, an array, or a column of a table, which is read by position.
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

    def _checked(self, rows: Iterable[int]) -> NDArray[np.intp]:
        asked = as_rows(rows)
        outside = (asked < 0) | (asked >= len(self))
        if outside.any():
            raise DataError(
                f"Row {asked[outside][0]} is not in the index, which has {len(self)} documents: "
                f"rows go from 0 to {len(self) - 1}."
            )
        return asked


def _write_arrays(folder: Path, head: Head, embeddings: Embeddings) -> None:
    first = represent(head, unit_rows(embeddings[:1], "documents")).numpy()
    vectors = _reserved(folder / EMBEDDINGS, np.dtype(np.float32), embeddings.shape)
    states = _reserved(folder / STATES, first.dtype, (len(embeddings), first.shape[1]))
    for start in range(0, len(embeddings), _BUILD_ROWS):
        rows = slice(start, start + _BUILD_ROWS)
        vectors[rows] = unit_rows(embeddings[rows], "documents", start)
        states[rows] = represent(head, vectors[rows]).numpy()
    first = first_equal(embeddings)
    repeated = np.flatnonzero(first != np.arange(len(first)))
    for start in range(0, len(repeated), _BUILD_ROWS):
        later = repeated[start : start + _BUILD_ROWS]
        # The same for equal documents, wherever in a block they stood.
        vectors[later], states[later] = vectors[first[later]], states[first[later]]
    if len(repeated):
        np.save(folder / DUPLICATES, np.stack([repeated, first[repeated]], axis=1))
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
    require_exists(folder, BundleError)
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


def _duplicates(folder: Path, record: dict[str, Any]) -> NDArray[np.int64]:
    """The rows of an index that are equal to earlier ones; none where the record names no file."""
    files = record.get("files")
    if not isinstance(files, dict) or DUPLICATES not in files:
        return _none()
    pairs = np.array(_mapped(folder / DUPLICATES, record))
    if not _are_duplicates(pairs, record["n_documents"]):
        raise BundleError(f"`{folder / DUPLICATES}` was altered. {_AGAIN}")
    return pairs


def _are_duplicates(pairs: NDArray[Any], n_documents: int) -> bool:
    """Return whether pairs are rows of the index, ascending, each with an earlier one beside it."""
    if pairs.ndim != 2 or pairs.shape[1] != 2 or pairs.dtype != np.int64:
        return False
    later, first = pairs.T
    in_order = (np.diff(later) > 0).all() and (first >= 0).all() and (first < later).all()
    return bool(in_order and (later < n_documents).all())


def _facts(path: Path) -> dict[str, Any]:
    """What tells an array that was cut off or exchanged, without reading it."""
    array = open_memmap(path, mode="r")
    return {"shape": list(array.shape), "dtype": array.dtype.name, "bytes": path.stat().st_size}
