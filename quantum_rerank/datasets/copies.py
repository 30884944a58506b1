"""Documents with equal texts under several ids, of which often only one is judged."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from dataclasses import replace

import numpy as np

from quantum_rerank.datasets.collection import Collection

Copies = Mapping[str, Sequence[str]]
"""Document id -> all ids of its text, including its own; documents without a copy are left out."""


def normalized(text: str) -> str:
    """Return a text in the form in which texts are compared: lower case, single spaces.

    >>> normalized(" Why\\tME? ")
    'why me?'
    """
    return " ".join(text.lower().split())


def documents_by_text(corpus: Mapping[str, str], texts: Container[str]) -> dict[str, list[str]]:
    """Group documents by their normalized texts.

    Args:
        corpus: Document id -> text.
        texts: Normalized texts; documents with other texts are left out.

    Returns:
        Normalized text -> ids of its documents.
    """
    ids: dict[str, list[str]] = {}
    for document, text in corpus.items():
        if (key := normalized(text)) in texts:
            ids.setdefault(key, []).append(document)
    return ids


def with_copies_judged(collection: Collection, alike: bool) -> Collection:
    """Count the copies of relevant documents that have a lower grade, and maybe raise it.

    No model can rank a document above its copy. A copy with a lower grade lowers every score,
    and training takes it as a negative.

    Args:
        collection: A checked collection.
        alike: Give all copies the highest grade of their text for a query. Otherwise the
            judgments stay as they are.

    Returns:
        The collection, with the count in `skipped`.
    """
    copies = _copies(collection.corpus)
    raised = {
        query: higher
        for query, judged in collection.qrels.items()
        if (higher := _raised(judged, copies))
    }
    if n_raised := sum(map(len, raised.values())):
        sentence = "copies of a relevant document " + (
            "given its grade"
            if alike
            else "that were not judged as relevant as it (`data.judge_copies_alike: true` gives "
            "all copies the highest grade)"
        )
        collection = replace(collection, skipped={**collection.skipped, sentence: n_raised})
    if not (alike and copies):
        return collection
    qrels = {query: judged | raised.get(query, {}) for query, judged in _dicts(collection)}
    not_relevant = {
        query: tuple(d for d in _with_copies(rejected, copies) if d not in qrels[query])
        for query, rejected in collection.not_relevant.items()
    }
    not_relevant = {query: rejected for query, rejected in not_relevant.items() if rejected}
    return replace(collection, qrels=qrels, not_relevant=not_relevant)


def _dicts(collection: Collection) -> list[tuple[str, dict[str, int]]]:
    return [(query, dict(judged)) for query, judged in collection.qrels.items()]


def _copies(corpus: Mapping[str, str]) -> Copies:
    # By hash first: the normalized texts of a large corpus would take as much memory again.
    hashes = np.fromiter((hash(normalized(text)) for text in corpus.values()), np.int64)
    values, counts = np.unique(hashes, return_counts=True)
    repeated = set(values[counts > 1].tolist()) - {hash("")}
    if not repeated:
        return {}
    texts = {t for text in corpus.values() if hash(t := normalized(text)) in repeated}
    groups = documents_by_text(corpus, texts).values()
    return {document: ids for ids in groups if len(ids) > 1 for document in ids}


def _raised(judged: Mapping[str, int], copies: Copies) -> dict[str, int]:
    """Return the copies with a grade below the highest of their text, with that grade."""
    best: dict[str, int] = {}
    for document, grade in judged.items():
        for copy in copies.get(document, ()):
            best[copy] = max(grade, best.get(copy, grade))
    return {copy: grade for copy, grade in best.items() if judged.get(copy, 0) < grade}


def _with_copies(documents: Sequence[str], copies: Copies) -> dict[str, None]:
    """Return documents and their copies, each once, in order."""
    return dict.fromkeys(
        copy for document in documents for copy in copies.get(document, (document,))
    )
