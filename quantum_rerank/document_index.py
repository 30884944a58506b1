"""Indexes of documents: embeddings and states, computed once and mapped into memory.

    embeddings.npy   (n, dim) float32, the embeddings, of length 1
    states.npy       (n, size), the states that the model's head computes from them
    duplicates.npy   (m, 2), rows with the embedding of an earlier row, and that row; missing
                     if m is 0
    stems.terms.npy, stems.by_term.starts.npy, ...
                     the terms of the documents, see `TermIndex` and `Postings`, of a model with a
                     lexical part; the same with `words` and `ngrams`
    index.json       schema version, the bundle's hash, and the shape, type and size of the arrays

An index belongs to one bundle, because the states depend on the model. Opening an index reads no
pickle, and only the headers of the arrays.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib.format import open_memmap
from numpy.typing import DTypeLike, NDArray

from quantum_rerank.arguments import as_rows
from quantum_rerank.atomic import require_free, staged_folder
from quantum_rerank.embeddings import Embeddings, first_equal, unit_rows
from quantum_rerank.errors import BundleError, DataError, EmbeddingError
from quantum_rerank.lexical import (
    LexicalIndex,
    Postings,
    TermIndex,
    extractors_of,
    index_texts,
)
from quantum_rerank.mapped_pages import release
from quantum_rerank.paths import as_path, require_exists
from quantum_rerank.regular_files import read_json, reason, require_regular, write_regular
from quantum_rerank.similarity import Head, represent

SCHEMA_VERSION = 2
EMBEDDINGS, STATES, RECORD = "embeddings.npy", "states.npy", "index.json"
DUPLICATES = "duplicates.npy"
_BUILD_ROWS = 1024  # represented together when an index is built
_BLOCK_BYTES = 2**22  # of vectors and states scored together: they stay in a core's cache
_LEXICAL = "lexical"  # key of the record
_AGAIN = "Index the documents again, into a new folder."

States = NDArray[Any]  # complex128, complex64 or float32: each head has its own kind


def _none() -> NDArray[np.int64]:
    return np.empty((0, 2), dtype=np.int64)


@dataclass(frozen=True, eq=False, repr=False)
class DocumentIndex:
    """The embeddings and states of n documents, read-only, in the order of indexing.

    Attributes:
        bundle_sha256: The hash of the bundle that the index belongs to.
        embeddings: (n, dim) float32.
        states: (n, size), as returned by `Head.represent`.
        duplicates: (m, 2) int64, rows with the embedding of an earlier row, ascending, and the
            first such row. With a lexical part, their texts are equal too.
        lexical: The terms of the documents, of a model with a lexical part.
    """

    bundle_sha256: str
    embeddings: Embeddings
    states: States
    duplicates: NDArray[np.int64] = field(default_factory=_none)
    lexical: LexicalIndex | None = None

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
        cls,
        folder: Path,
        head: Head,
        bundle_sha256: str,
        embeddings: Embeddings,
        texts: Sequence[str] | None = None,
    ) -> DocumentIndex:
        """Compute and store the states. The folder is created only when the index is complete.

        Args:
            folder: A new folder.
            head: The head of the model.
            bundle_sha256: The hash of the model's bundle.
            embeddings: (n, dim), which need not be normalised and may be a memory-mapped file.
            texts: The n texts, for a head with a lexical part.

        Returns:
            The index, mapped into memory.

        Raises:
            EmbeddingError: There are no documents, or a vector is not finite or all zero.
            OutputError: The folder exists already or cannot be written.
        """
        folder = as_path(folder, "folder")
        require_free(folder)
        if not len(embeddings):
            raise EmbeddingError("There are no documents to index.")
        with staged_folder(folder) as staging:
            _write_arrays(staging, head.eval(), embeddings, texts)
            lexical = {} if texts is None else _write_terms(staging, head, texts)
            record = {
                "schema_version": SCHEMA_VERSION,
                "bundle_sha256": bundle_sha256,
                "n_documents": len(embeddings),
                **({_LEXICAL: lexical} if lexical else {}),
                "files": {file.name: _facts(file) for file in sorted(staging.glob("*.npy"))},
            }
            write_regular(staging / RECORD, f"{json.dumps(record, indent=2)}\n".encode())
        return cls.open(folder, bundle_sha256)

    @classmethod
    def open(cls, folder: Path, bundle_sha256: str) -> DocumentIndex:
        """Open an index by mapping its files into memory.

        Args:
            folder: The folder of the index.
            bundle_sha256: The hash of the bundle that the index must belong to.

        Returns:
            The index.

        Raises:
            BundleError: The index belongs to another bundle, or a file in it is missing, cut off,
                altered, or of another version.
        """
        folder = as_path(folder, "folder")
        record = _checked_record(folder, bundle_sha256)
        embeddings, states = (_mapped(folder / name, record) for name in (EMBEDDINGS, STATES))
        _require_rows(folder / EMBEDDINGS, embeddings, np.float32)
        _require_rows(folder / STATES, states, np.inexact)
        if not len(embeddings) == len(states) == record.get("n_documents"):
            raise BundleError(
                f"`{folder}` is damaged: {len(embeddings)} vectors, {len(states)} states, "
                f"and {record.get('n_documents')} documents in {RECORD}. {_AGAIN}"
            )
        lexical = _lexical(folder, record) if _LEXICAL in record else None
        return cls(bundle_sha256, embeddings, states, _duplicates(folder, record), lexical)

    def first_rows(self, rows: Iterable[int]) -> NDArray[np.intp]:
        """Return the first row with the same embedding, for each of some rows.

        Args:
            rows: Row numbers, as in `blocks`.

        Returns:
            (len(rows),) row numbers.

        Raises:
            DataError: A row is not in the index, or an entry is not an integer.
        """
        numbers = self._checked(rows)
        if not len(self.duplicates):
            return numbers
        repeated, first = self.duplicates.T
        position = np.minimum(np.searchsorted(repeated, numbers), len(repeated) - 1)
        return np.where(repeated[position] == numbers, first[position], numbers)

    def blocks(self, rows: Iterable[int] | None = None) -> Iterator[tuple[Embeddings, States]]:
        """Yield embeddings and states of some rows in their order, or of all, 4 MiB at a time.

        Args:
            rows: Row numbers as a list, a generator, an array, or a column of a table, which is
                read by position. Default: all rows.

        Raises:
            DataError: A row is not in the index, or an entry is not an integer.
        """
        # Plain views: a memmap's own indexing costs more than the rows do.
        embeddings, states = np.asarray(self.embeddings), np.asarray(self.states)
        picked = None if rows is None else self._checked(rows)
        n_rows = len(self) if picked is None else len(picked)
        size = max(_BLOCK_BYTES // (embeddings[0].nbytes + states[0].nbytes), 1)
        for start in range(0, n_rows, size):
            part = slice(start, start + size)
            selected = part if picked is None else picked[part]
            yield embeddings[selected], states[selected]

    def _checked(self, rows: Iterable[int]) -> NDArray[np.intp]:
        numbers = as_rows(rows)
        outside = numbers.view(np.uintp) >= len(self)  # where a negative number is a large one
        if outside.any():
            raise DataError(
                f"Row {numbers[outside][0]} is not in the index, which has {len(self)} documents: "
                f"rows go from 0 to {len(self) - 1}."
            )
        return numbers


def _write_arrays(
    folder: Path, head: Head, embeddings: Embeddings, texts: Sequence[str] | None
) -> None:
    first = represent(head, unit_rows(embeddings[:1], "documents")).numpy()
    vectors = _reserved(folder / EMBEDDINGS, np.dtype(np.float32), embeddings.shape)
    states = _reserved(folder / STATES, first.dtype, (len(embeddings), first.shape[1]))
    for start in range(0, len(embeddings), _BUILD_ROWS):
        rows = slice(start, start + _BUILD_ROWS)
        vectors[rows] = unit_rows(embeddings[rows], "documents", start)
        states[rows] = represent(head, vectors[rows]).numpy()
        for array in (embeddings, vectors, states):
            release(array)
    first = first_equal(embeddings)
    if texts is not None:
        same = [text == texts[earlier] for text, earlier in zip(texts, first, strict=True)]
        first = np.where(same, first, np.arange(len(first)))
    repeated = np.flatnonzero(first != np.arange(len(first)))
    for start in range(0, len(repeated), _BUILD_ROWS):
        later = repeated[start : start + _BUILD_ROWS]
        # Equal documents get equal states, whatever their position in a block.
        vectors[later], states[later] = vectors[first[later]], states[first[later]]
    if len(repeated):
        np.save(folder / DUPLICATES, np.stack([repeated, first[repeated]], axis=1))
    vectors.flush()
    states.flush()


def _write_terms(folder: Path, head: Head, texts: Sequence[str]) -> dict[str, Any]:
    """Write the terms of the documents; return what the record says of them."""
    assert head.lexical is not None
    lexicon = head.lexical.lexicon
    assert lexicon is not None

    def reserve(name: str, dtype: DTypeLike, length: int) -> NDArray[Any]:
        if not length:  # which no file can be mapped for
            np.save(folder / f"{name}.npy", np.empty(0, dtype))
            return np.empty(0, dtype)
        return _reserved(folder / f"{name}.npy", np.dtype(dtype), (length,))

    written = index_texts(texts, lexicon.kind, lexicon.language, reserve, folder)
    mean_lengths = [index.mean_length for index in written.indexes]
    return {"kind": lexicon.kind, "language": lexicon.language, "mean_lengths": mean_lengths}


def _lexical(folder: Path, record: Mapping[str, Any]) -> LexicalIndex:
    """Map the terms of the documents into memory."""
    try:
        kind, language = record[_LEXICAL]["kind"], record[_LEXICAL]["language"]
        extractors = extractors_of(kind, language)
        mean_lengths = [float(length) for length in record[_LEXICAL]["mean_lengths"]]
        n_documents = int(record["n_documents"])
        pairs = list(zip(extractors, mean_lengths, strict=True))
    except (KeyError, TypeError, ValueError) as error:
        raise BundleError(f"`{folder / RECORD}` was altered: {reason(error)}. {_AGAIN}") from None
    indexes = tuple(
        _term_index(folder, record, extractor.kind, n_documents, mean_length)
        for extractor, mean_length in pairs
    )
    return LexicalIndex.of(kind, language, indexes)


def _term_index(
    folder: Path, record: Mapping[str, Any], kind: str, n_documents: int, mean_length: float
) -> TermIndex:
    def mapped(name: str) -> NDArray[Any]:
        return np.asarray(_mapped(folder / f"{kind}.{name}.npy", record))

    terms = mapped("terms")
    by_term, by_document = (
        Postings(*(mapped(f"{group}.{name}") for name in Postings._fields))
        for group in ("by_term", "by_document")
    )
    fits = (
        terms.dtype == np.int64
        and terms.ndim == 1
        and bool((np.diff(terms) > 0).all())
        and by_term.fit(len(terms))
        and by_document.fit(n_documents)
        and len(by_term.members) == len(by_document.members)
    )
    if not fits:
        raise BundleError(f"`{folder}` was altered: its {kind} do not fit each other. {_AGAIN}")
    return TermIndex(terms, by_term, by_document, mean_length)


def _reserved(path: Path, dtype: np.dtype[Any], shape: tuple[int, ...]) -> np.memmap[Any, Any]:
    """Create an array on disk and allocate its blocks.

    Otherwise a full disk would kill the process in the middle of an assignment.
    """
    array = open_memmap(path, mode="w+", dtype=dtype, shape=shape)
    if hasattr(os, "posix_fallocate"):  # not on macOS
        with path.open("r+b") as file:
            os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
    return array


def _checked_record(folder: Path, bundle_sha256: str) -> dict[str, Any]:
    require_exists(folder, BundleError)
    try:
        record = read_json(folder / RECORD)
    except FileNotFoundError:
        raise BundleError(f"`{folder}` is not a document index: it has no {RECORD}.") from None
    except (OSError, ValueError) as error:
        raise BundleError(
            f"`{folder / RECORD}` cannot be read: {reason(error)}. {_AGAIN}"
        ) from None
    schema_version = record.get("schema_version") if isinstance(record, dict) else None
    if schema_version != SCHEMA_VERSION:
        raise BundleError(
            f"`{folder}` has the schema version {schema_version!r}, but this package reads "
            f"{SCHEMA_VERSION}. {_AGAIN}"
        )
    if record.get("bundle_sha256") != bundle_sha256:
        raise BundleError(
            f"`{folder}` was written with another model: the bundle "
            f"{record.get('bundle_sha256')}, not {bundle_sha256}. Load that bundle, or index the "
            "documents again with this one."
        )
    return dict(record)


def _mapped(path: Path, record: Mapping[str, Any]) -> np.memmap[Any, Any]:
    """Map an array into memory and check it against the record."""
    if not path.exists():
        raise BundleError(f"`{path}` is missing. {_AGAIN}")
    files = record.get("files")
    expected = files.get(path.name) if isinstance(files, dict) else None
    try:
        require_regular(path)
        array, actual = open_memmap(path, mode="r"), _facts(path)
    except Exception as error:  # a header is parsed as Python, which fails in many ways
        raise BundleError(f"`{path}` was cut off or altered: {reason(error)}. {_AGAIN}") from None
    if actual != expected:
        raise BundleError(
            f"`{path}` was cut off or altered: it is {actual}, but {RECORD} says {expected}. "
            f"{_AGAIN}"
        )
    return array


def _require_rows(path: Path, array: NDArray[Any], kind: type[Any]) -> None:
    """Check that an array has rows of numbers of some kind."""
    if array.ndim != 2 or not array.size or not np.issubdtype(array.dtype, kind):
        raise BundleError(
            f"`{path}` was altered: it holds {array.dtype} of the shape {array.shape}. {_AGAIN}"
        )


def _duplicates(folder: Path, record: dict[str, Any]) -> NDArray[np.int64]:
    """Return the rows that are equal to earlier ones, (m, 2)."""
    files = record.get("files")
    if not isinstance(files, dict) or DUPLICATES not in files:
        return _none()
    mapped = _mapped(folder / DUPLICATES, record)
    fits = mapped.shape[1:] == (2,) and len(mapped) < record["n_documents"]
    pairs = np.array(mapped) if fits else _none()  # not copied before its size is checked
    if not fits or not _are_duplicates(pairs, record["n_documents"]):
        raise BundleError(f"`{folder / DUPLICATES}` was altered. {_AGAIN}")
    return pairs


def _are_duplicates(pairs: NDArray[Any], n_documents: int) -> bool:
    """Check that pairs are ascending rows of the index, each with an earlier row."""
    if pairs.ndim != 2 or pairs.shape[1] != 2 or pairs.dtype != np.int64:
        return False
    later, first = pairs.T
    in_order = (np.diff(later) > 0).all() and (first >= 0).all() and (first < later).all()
    return bool(in_order and (later < n_documents).all())


def _facts(path: Path) -> dict[str, Any]:
    """Return the shape, type and size of an array on disk, without reading it."""
    array = open_memmap(path, mode="r")
    return {"shape": list(array.shape), "dtype": array.dtype.name, "bytes": path.stat().st_size}
