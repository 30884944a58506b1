"""Loops over the terms of documents, compiled by numba. Imported where they run: numba is heavy.

Numbers that are read from a file are never used as a position before they are checked.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from quantum_rerank.compiling import njit_strict


@njit_strict
def _places(terms: Any, query: Any) -> Any:
    """Return the places of a query's terms in an index, and the weights of these terms."""
    wanted, weights = query
    places, taken, n = np.empty(len(wanted), np.int64), np.empty(len(wanted)), 0
    for i in range(len(wanted)):
        place = np.searchsorted(terms, wanted[i])
        if place < len(terms) and terms[place] == wanted[i]:
            places[n], taken[n] = place, weights[i]
            n += 1
    return places[:n], taken[:n]


@njit_strict
def score_rows(rows: Any, terms: Any, by_document: Any, query: Any, out: Any) -> None:
    """Add up the weighted shares of a query's terms in some documents.

    Args:
        rows: (n,) row numbers.
        terms: (t,) numbers of the index's terms, ascending.
        by_document: Starts, places of terms and shares of the documents, see `Postings`.
        query: Terms and weights of the query, see `WeightedTerms`.
        out: Output, (n,) float64, zero at first.
    """
    places, weights = _places(terms, query)
    starts, members, shares = by_document
    n_documents, n_terms = len(starts) - 1, len(places)
    for i in range(len(rows)):
        row = rows[i]
        if row < 0 or row >= n_documents:
            raise IndexError("A row is not in the index.")
        position, end, term = starts[row], starts[row + 1], 0
        while position < end and term < n_terms:
            difference = members[position] - places[term]
            if difference == 0:
                out[i] += weights[term] * shares[position]
            position += difference <= 0
            term += difference >= 0


@njit_strict
def score_all(terms: Any, by_term: Any, query: Any, out: Any) -> None:
    """Add up the weighted shares of a query's terms in all documents.

    Args:
        terms: (t,) numbers of the index's terms, ascending.
        by_term: Starts, documents and shares of the terms, see `Postings`.
        query: Terms and weights of the query, see `WeightedTerms`.
        out: Output, (n,) float64, zero at first.
    """
    places, weights = _places(terms, query)
    starts, documents, shares = by_term
    for term in range(len(places)):
        weight = weights[term]
        for position in range(starts[places[term]], starts[places[term] + 1]):
            row = documents[position]
            if row < 0 or row >= len(out):
                raise IndexError("A document of a term is not in the index.")
            out[row] += weight * shares[position]


@njit_strict
def take_terms(
    block: Any, first_row: int, low: int, free: Any, documents: Any, shares: Any
) -> None:
    """Copy the postings of some terms from a block of documents to the places of the terms.

    Args:
        block: Starts, terms and shares of some documents, see `Postings`.
        first_row: Row of the first document.
        low: First of the terms.
        free: (t,) next free position of each term, changed in place.
        documents: Output, rows of the documents term by term.
        shares: Output, their shares.
    """
    starts, terms, given = block
    for i in range(len(starts) - 1):
        for position in range(starts[i], starts[i + 1]):
            term = terms[position] - low
            if term >= 0 and term < len(free):
                documents[free[term]] = first_row + i
                shares[free[term]] = given[position]
                free[term] += 1
