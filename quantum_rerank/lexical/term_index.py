"""Index of the terms of a corpus: which documents contain a term, and what it contributes there."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
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

_DOCUMENTS = 2**14  # whose terms are collected at once
_IN_MEMORY = 2**27  # bytes of collected terms; more are kept in a temporary file

Reserve = Callable[[str, DTypeLike, int], NDArray[Any]]
"""Returns an empty array for a name, a type and a length, in memory or mapped from a file."""


def in_memory(name: str, dtype: DTypeLike, length: int) -> NDArray[Any]:
    """Return an empty array, see `Reserve`."""
    return np.empty(length, dtype)


@dataclass(frozen=True, eq=False)
class TermIndex:
    """The documents of each term, term by term.

    Attributes:
        terms: (t,) int64, ascending.
        starts: (t + 1,) int64, the first position of each term in the other arrays.
        documents: (p,) int32, row numbers, ascending within a term.
        shares: (p,) float32, see `TermStatistics.shares`.
        n_documents: Number of documents.
        mean_length: Mean number of terms of a document.
    """

    terms: Terms
    starts: NDArray[np.int64]
    documents: NDArray[np.int32]
    shares: NDArray[np.float32]
    n_documents: int
    mean_length: float

    @cached_property
    def statistics(self) -> TermStatistics:
        """Frequencies of the terms."""
        frequencies = np.diff(self.starts)
        return TermStatistics(self.terms, frequencies, self.n_documents, self.mean_length)

    def scores(self, query: WeightedTerms, rows: NDArray[np.integer] | None = None) -> FloatArray:
        """Score documents for one query.

        Args:
            query: Terms of the query, as `statistics` weights them.
            rows: (n,) row numbers. Default: all documents.

        Returns:
            (n,), from 0 to 1.
        """
        scores = np.zeros(self.n_documents if rows is None else len(rows))
        # Of the documents' type: numpy would convert a whole posting list to another one.
        wanted = None if rows is None else rows.astype(np.int32)
        if not len(self.terms):
            return scores
        places = np.searchsorted(self.terms, query.terms).clip(max=len(self.terms) - 1)
        is_indexed = self.terms[places] == query.terms
        for place, weight in zip(places[is_indexed], query.weights[is_indexed], strict=True):
            part = slice(self.starts[place], self.starts[place + 1])
            documents, shares = self.documents[part], self.shares[part]
            if wanted is None:
                scores[documents] += weight * shares
            else:
                position = documents.searchsorted(wanted)
                position[position == len(documents)] = 0
                is_found = documents[position] == wanted
                scores[is_found] += weight * shares[position[is_found]]
        return scores


def build_index(
    texts: Iterable[str], extractor: TermExtractor, reserve: Reserve = in_memory
) -> TermIndex:
    """Index the terms of documents.

    Args:
        texts: Texts of the documents, in the order of their rows.
        extractor: Extractor of their terms.
        reserve: Provides the arrays.
    """
    with SpooledTemporaryFile(_IN_MEMORY) as file:
        terms, frequencies, lengths = _collect(texts, extractor, file)
        n_terms = sum(int(part.sum()) for part in lengths)
        n_documents = sum(map(len, lengths))
        index = TermIndex(
            terms=reserve("terms", np.int64, len(terms)),
            starts=reserve("starts", np.int64, len(terms) + 1),
            documents=reserve("documents", np.int32, int(frequencies.sum())),
            shares=reserve("shares", np.float32, int(frequencies.sum())),
            n_documents=n_documents,
            mean_length=n_terms / max(n_documents, 1),
        )
        index.terms[:] = terms
        index.starts[0], index.starts[1:] = 0, np.cumsum(frequencies)
        file.seek(0)
        _fill(index, file, lengths)
    return index


class _Collected(NamedTuple):
    """Terms of some documents.

    Attributes:
        terms: (t,), document by document.
        counts: (t,) occurrences.
        distinct: (d,) number of distinct terms of each document.
    """

    terms: Terms
    counts: NDArray[np.int32]
    distinct: NDArray[np.int32]


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
        collected = _Collected(
            np.fromiter((term for document in counts for term in document), np.int64),
            np.fromiter((n for document in counts for n in document.values()), np.int32),
            np.fromiter(map(len, counts), np.int32),
        )
        for array in collected:
            np.save(file, array, allow_pickle=False)
        lengths.append(np.fromiter((sum(document.values()) for document in counts), np.int64))
        new, n_new = np.unique(collected.terms, return_counts=True)
        terms, frequencies = summed(
            np.concatenate([terms, new]), np.concatenate([frequencies, n_new])
        )
    return terms, frequencies, lengths


def _read(file: IO[bytes], n_blocks: int) -> Iterator[_Collected]:
    for _ in range(n_blocks):
        yield _Collected(*(np.load(file, allow_pickle=False) for _ in _Collected._fields))


def _fill(index: TermIndex, file: IO[bytes], lengths: list[NDArray[np.int64]]) -> None:
    """Write the documents of each term, block by block, each in its place."""
    free = index.starts[:-1].copy()
    statistics, first = index.statistics, 0
    for block, of_block in zip(_read(file, len(lengths)), lengths, strict=True):
        rows = np.repeat(np.arange(len(of_block)), block.distinct)
        shares = statistics.shares(block.counts, of_block[rows])
        places = np.searchsorted(index.terms, block.terms)
        order = np.argsort(places, kind="stable")
        distinct, starts, counts = np.unique(places[order], return_index=True, return_counts=True)
        offsets = np.arange(len(order)) - np.repeat(starts, counts)
        positions = np.repeat(free[distinct], counts) + offsets
        index.documents[positions] = first + rows[order]
        index.shares[positions] = shares[order]
        free[distinct] += counts
        first += len(of_block)
