"""Judged collections: loading by name, checks, counts, and splits by query."""

from quantum_rerank.datasets.checks import checked
from quantum_rerank.datasets.collection import Collection, require_ranking
from quantum_rerank.datasets.copies import with_copies_judged
from quantum_rerank.datasets.counts import count_lines
from quantum_rerank.datasets.loading import SOURCES, domain_of, load_collection, load_texts
from quantum_rerank.datasets.own_documents import (
    IdenticalRule,
    own_documents,
    without_own_documents,
)
from quantum_rerank.datasets.source import CollectionTexts, Source
from quantum_rerank.datasets.splits import Split, repeated_texts, split_by_query
from quantum_rerank.datasets.subsets import nested_subset, with_fewer_queries

__all__ = [
    "SOURCES",
    "Collection",
    "CollectionTexts",
    "IdenticalRule",
    "Source",
    "Split",
    "checked",
    "count_lines",
    "domain_of",
    "load_collection",
    "load_texts",
    "nested_subset",
    "own_documents",
    "repeated_texts",
    "require_ranking",
    "split_by_query",
    "with_copies_judged",
    "with_fewer_queries",
    "without_own_documents",
]
