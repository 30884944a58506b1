"""Index of the terms of a corpus: which documents contain a term, and what it contributes there."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from pathlib import Path
from tempfile import SpooledTemporaryFile
from typing import IO, Any, NamedTuple

import numpy as np
from numpy.typing import DTypeLike, NDArray

from quantum_rerank.lexical.statistics import (
    FloatArray,
    Terms,
    TermStatistics,
    WeightedTerms,
    summed,
)
from quantum_rerank.lexical.terms import TermExtractor
from quantum_rerank.mapped_pages import release

_DOCUMENTS = 2**14  # whose terms are collected at once
_IN_MEMORY = 2**27  # bytes of collected terms; more are kept in a temporary file
_POSTINGS = 2**25  # brought from the order of documents to that of terms at once; 8 bytes each

Reserve = Callable[[str, DTypeLike, int], NDArray[Any]]
"""Returns an empty array for a name, a type and a length, in memory or mapped from a file."""


def in_memory(name: str, dtype: DTypeLike, length: int) -> NDArray[Any]:
    """Return an empty array, see `Reserve`."""
    return np.empty(length, dtype)


class Postings(NamedTuple):
    """Pairs of a document and a term in it, grouped by one of the two.

    Attributes:
        starts: (n + 1,) int64, the first position of each group in the other arrays.
        members: (p,) int32, the other number of each pair, ascending within a group.
        shares: (p,) float32, see `TermStatistics.shares`.
    """

    starts: NDArray[np.int64]
    members: NDArray[np.int32]
    shares: NDArray[np.float32]

    def fit(self, n_groups: int) -> bool:
        """Return whether the arrays have the types and lengths of the postings of n groups."""
        starts, members, shares = self
        return (
            [array.dtype for array in self] == [np.int64, np.int32, np.float32]
            and starts.shape == (n_groups + 1,)
            and members.shape == shares.shape == (int(starts[-1]),)
            and starts[0] == 0
            and bool((np.diff(starts) >= 0).all())
        )


@dataclass(frozen=True, eq=False)
class TermIndex:
    """The terms of each document, and the documents of each term.

    The first are read to score some documents, the second to score all.

    Attributes:
        terms: (t,) int64, ascending. The place of a term in it stands for the term below.
        by_term: Row numbers of the documents that contain each term.
        by_document: Places of the terms of each document.
        mean_length: Mean number of terms of a document.
    """

    terms: Terms
    by_term: Postings
    by_document: Postings
    mean_length: float

    @property
    def n_documents(self) -> int:
        """Number of documents."""
        return len(self.by_document.starts) - 1

    @cached_property
    def statistics(self) -> TermStatistics:
        """Frequencies of the terms."""
        frequencies = np.diff(self.by_term.starts)
        return TermStatistics(self.terms, frequencies, self.n_documents, self.mean_length)

    def scores(self, query: WeightedTerms, rows: NDArray[np.integer] | None = None) -> FloatArray:
        """Score documents for one query.

        Args:
            query: Terms of the query, as `statistics` weights them.
            rows: (n,) row numbers. Default: all documents.

        Returns:
            (n,), from 0 to 1.

        Raises:
            IndexError: A row is not in the index, or the index was altered.
        """
        from quantum_rerank.lexical.kernels import score_all, score_rows

        scores = np.zeros(self.n_documents if rows is None else len(rows))
        if rows is None:
            score_all(self.terms, tuple(self.by_term), tuple(query), scores)
        else:
            score_rows(rows, self.terms, tuple(self.by_document), tuple(query), scores)
        return scores


def build_index(
    texts: Iterable[str],
    extractor: TermExtractor,
    reserve: Reserve = in_memory,
    folder: Path | None = None,
) -> TermIndex:
    """Index the terms of documents, block by block.

    Args:
        texts: Texts of the documents, in the order of their rows.
        extractor: Extractor of their terms.
        reserve: Provides the arrays.
        folder: Folder of a temporary file. Default: that of the system.
    """
    with SpooledTemporaryFile(_IN_MEMORY, dir=str(folder) if folder else None) as file:
        terms, frequencies, lengths = _collect(texts, extractor, file)
        n_terms = sum(int(part.sum()) for part in lengths)
        n_documents, n_postings = sum(map(len, lengths)), int(frequencies.sum())
        index = TermIndex(
            terms=reserve("terms", np.int64, len(terms)),
            by_term=_reserved("by_term", len(terms), n_postings, reserve),
            by_document=_reserved("by_document", n_documents, n_postings, reserve),
            mean_length=n_terms / max(n_documents, 1),
        )
        index.terms[:] = terms
        index.by_term.starts[0], index.by_term.starts[1:] = 0, np.cumsum(frequencies)
        file.seek(0)
        _fill_documents(index, file, lengths)
    _fill_terms(index)
    return index


def _reserved(name: str, n_groups: int, n_postings: int, reserve: Reserve) -> Postings:
    return Postings(
        reserve(f"{name}.starts", np.int64, n_groups + 1),
        reserve(f"{name}.members", np.int32, n_postings),
        reserve(f"{name}.shares", np.float32, n_postings),
    )


class _Collected(NamedTuple):
    """Terms of some documents.

    Attributes:
        terms: (t,) int64, all terms of these documents, ascending.
        places: (p,) int32, places of each document's terms in `terms`, document by document.
        counts: (p,) int32, occurrences.
        distinct: (d,) int64, number of distinct terms of each document.
    """

    terms: Terms
    places: NDArray[np.int32]
    counts: NDArray[np.int32]
    distinct: NDArray[np.int64]


def _collect(
    texts: Iterable[str], extractor: TermExtractor, file: IO[bytes]
) -> tuple[Terms, NDArray[np.int64], list[NDArray[np.int64]]]:
    """Write the terms of documents to a file, block by block.

    Returns:
        All terms, ascending; the number of documents of each; the lengths of the documents.
    """
    terms, frequencies = np.empty(0, np.int64), np.empty(0, np.int64)
    lengths = []
    remaining = iter(texts)
    while block := list(islice(remaining, _DOCUMENTS)):
        counts = list(map(extractor.counts, block))
        everything = np.fromiter((term for document in counts for term in document), np.int64)
        new, places, n_new = np.unique(everything, return_inverse=True, return_counts=True)
        collected = _Collected(
            new,
            places.astype(np.int32),
            np.fromiter((n for document in counts for n in document.values()), np.int32),
            np.fromiter(map(len, counts), np.int64),
        )
        for array in collected:
            np.save(file, array, allow_pickle=False)
        lengths.append(np.fromiter((sum(document.values()) for document in counts), np.int64))
        terms, frequencies = summed(
            np.concatenate([terms, new]), np.concatenate([frequencies, n_new])
        )
    return terms, frequencies, lengths


def _read(file: IO[bytes], n_blocks: int) -> Iterator[_Collected]:
    for _ in range(n_blocks):
        yield _Collected(*(np.load(file, allow_pickle=False) for _ in _Collected._fields))


def _fill_documents(index: TermIndex, file: IO[bytes], lengths: list[NDArray[np.int64]]) -> None:
    """Write the terms of each document, block by block."""
    starts, members, shares = index.by_document
    starts[0], row, position = 0, 0, 0
    for block, of_block in zip(_read(file, len(lengths)), lengths, strict=True):
        document = np.repeat(np.arange(len(of_block)), block.distinct)
        order = np.argsort(document * len(block.terms) + block.places)
        part = slice(position, position + len(order))
        places = np.searchsorted(index.terms, block.terms)
        members[part] = places[block.places[order]]
        # The documents are still in their order.
        shares[part] = index.statistics.shares(block.counts[order], of_block[document])
        ends = position + np.cumsum(block.distinct)
        starts[row + 1 : row + 1 + len(ends)] = ends
        row, position = row + len(ends), part.stop
        for array in index.by_document:
            release(array)


def _fill_terms(index: TermIndex) -> None:
    """Write the documents of each term, for as many terms at once as fit into memory.

    All documents are read for each group of terms: their file is written and read from one end
    to the other, and never at random.
    """
    from quantum_rerank.lexical.kernels import take_terms

    starts, members, shares = index.by_term
    low = 0
    while low < len(index.terms):
        high = max(int(np.searchsorted(starts, starts[low] + _POSTINGS, side="right")) - 1, low + 1)
        part = slice(int(starts[low]), int(starts[high]))
        size = part.stop - part.start
        taken = np.empty(size, np.int32), np.empty(size, np.float32)
        free = starts[low:high] - part.start
        for first, block in _blocks(index.by_document):
            take_terms(tuple(block), first, low, free, *taken)
        members[part], shares[part] = taken
        for array in index.by_term:
            release(array)
        low = high


def _blocks(postings: Postings) -> Iterator[tuple[int, Postings]]:
    """Yield the first group, and the postings, of one block of groups after another."""
    starts, members, shares = postings
    for first in range(0, len(starts) - 1, _DOCUMENTS):
        of_block = starts[first : first + _DOCUMENTS + 1]
        part = slice(int(of_block[0]), int(of_block[-1]))
        yield first, Postings(of_block - of_block[0], members[part], shares[part])
        release(members)
        release(shares)
