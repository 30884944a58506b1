"""Lexical scores beside the cosine: BM25 of a corpus, of an index on disk, or of any texts."""

from quantum_rerank.lexical.lexicon import (
    LexicalIndex,
    LexicalKind,
    Lexicon,
    extractors_of,
    index_texts,
    merged_lexicon,
)
from quantum_rerank.lexical.statistics import TermStatistics
from quantum_rerank.lexical.term_index import Postings, TermIndex, build_index
from quantum_rerank.lexical.terms import TermExtractor, languages

__all__ = [
    "LexicalIndex",
    "LexicalKind",
    "Lexicon",
    "Postings",
    "TermExtractor",
    "TermIndex",
    "TermStatistics",
    "build_index",
    "extractors_of",
    "index_texts",
    "languages",
    "merged_lexicon",
]
