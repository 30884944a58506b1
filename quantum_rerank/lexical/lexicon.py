"""Lexical scores of texts: BM25 over their words, stems or n-grams."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from quantum_rerank.lexical.statistics import FloatArray, TermStatistics, WeightedTerms, merged
from quantum_rerank.lexical.term_index import Reserve, TermIndex, build_index, in_memory
from quantum_rerank.lexical.terms import TermExtractor, TermKind

LexicalKind = Literal["words", "stems", "ngrams", "stems+ngrams"]
"""Kinds of terms. With two kinds, the score is the mean of their BM25."""


@dataclass(frozen=True, eq=False)
class Lexicon:
    """Term frequencies of a corpus, by which any texts are scored.

    Attributes:
        kind: Kinds of terms.
        language: Language of the stemmer.
        statistics: Frequencies of the terms of each kind.
    """

    kind: LexicalKind
    language: str
    statistics: tuple[TermStatistics, ...]

    @cached_property
    def extractors(self) -> tuple[TermExtractor, ...]:
        """Extractor of the terms of each kind."""
        return extractors_of(self.kind, self.language)

    def weighted(self, query: str) -> tuple[WeightedTerms, ...]:
        """Return the weighted terms of a query, of each kind."""
        pairs = zip(self.statistics, self.extractors, strict=True)
        return tuple(statistics.weighted(query, extractor) for statistics, extractor in pairs)

    def scores(self, query: str, documents: Sequence[str]) -> FloatArray:
        """Score documents of any corpus for one query, (n,) from 0 to 1."""
        pairs = zip(self.statistics, self.extractors, strict=True)
        each = [s.scores(query, documents, extractor) for s, extractor in pairs]
        return np.mean(each, axis=0)  # type: ignore[no-any-return]


@dataclass(frozen=True, eq=False)
class LexicalIndex:
    """The terms of a corpus, by which its documents are scored.

    Attributes:
        lexicon: Term frequencies of the corpus.
        indexes: Documents of the terms of each kind.
    """

    lexicon: Lexicon
    indexes: tuple[TermIndex, ...]

    @classmethod
    def of(cls, kind: LexicalKind, language: str, indexes: tuple[TermIndex, ...]) -> LexicalIndex:
        """Return the indexes of each kind of terms with their frequencies."""
        statistics = tuple(index.statistics for index in indexes)
        return cls(Lexicon(kind, language, statistics), indexes)

    def scores(self, query: str, rows: NDArray[np.integer] | None = None) -> FloatArray:
        """Score documents for one query.

        Args:
            query: Text of the query.
            rows: (n,) row numbers. Default: all documents.

        Returns:
            (n,), from 0 to 1.
        """
        pairs = zip(self.indexes, self.lexicon.weighted(query), strict=True)
        each = [index.scores(terms, rows) for index, terms in pairs]
        return sum(each[1:], each[0]) / len(each)


def index_texts(
    texts: Iterable[str],
    kind: LexicalKind,
    language: str,
    reserve: Reserve = in_memory,
    folder: Path | None = None,
) -> LexicalIndex:
    """Index the texts of a corpus.

    Args:
        texts: Texts of the documents, in the order of their rows.
        kind: Kinds of terms.
        language: Language of the stemmer.
        reserve: Provides the arrays, whose names are `stems.terms` and the like.
        folder: Folder of temporary files. Default: that of the system.
    """
    corpus = texts if isinstance(texts, Sequence) else list(texts)
    indexes = tuple(
        build_index(corpus, extractor, _named(reserve, extractor.kind), folder)
        for extractor in extractors_of(kind, language)
    )
    return LexicalIndex.of(kind, language, indexes)


def _named(reserve: Reserve, kind: str) -> Reserve:
    return lambda name, dtype, length: reserve(f"{kind}.{name}", dtype, length)


def merged_lexicon(lexicons: Sequence[Lexicon]) -> Lexicon:
    """Return the frequencies of several corpora as if they were one.

    Args:
        lexicons: At least one, all of the same kind and language.
    """
    by_kind = zip(*(lexicon.statistics for lexicon in lexicons), strict=True)
    first = lexicons[0]
    return Lexicon(first.kind, first.language, tuple(map(merged, by_kind)))


def extractors_of(kind: LexicalKind, language: str) -> tuple[TermExtractor, ...]:
    """Return the extractors of a kind of terms."""
    kinds: tuple[TermKind, ...] = tuple(
        name for name in get_args(TermKind) if name in kind.split("+")
    )
    return tuple(TermExtractor(name, language) for name in kinds)
