"""Linear discriminant of relevance, in closed form: the map that judged pairs ask for.

Of a training query q, its answers d and its negatives n, the candidates without a relevant
judgment, the scatters are W = mean (q - d)(q - d)^T and N = mean (q - n)(q - n)^T. The map enlarges
directions in which negatives are far from their queries and answers are near, as Fisher's linear
discriminant does for classes. It takes no epoch and no warm-up.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from quantum_rerank.embeddings import take
from quantum_rerank.evaluation.query_set import QuerySet, Rows
from quantum_rerank.similarity import Head
from quantum_rerank.training.config import DiscriminantConfig

_BLOCK = 4096  # differences at once
_LEAST = 1e-9  # of a variance, for texts that are all the same

FloatArray = NDArray[np.float64]


def start_from_discriminant(
    head: Head, query_sets: Sequence[QuerySet], config: DiscriminantConfig
) -> None:
    """Set the linear maps of a model that start as the discriminant of the training queries.

    Args:
        head: The model, changed in place.
        query_sets: Training queries of each domain.
        config: Shrinkage, power and negatives.
    """
    maps = head.discriminants()
    if not maps:
        return
    everything = discriminant(query_sets, config)
    for linear, length in maps:
        rows = torch.zeros_like(linear)
        used = everything[: len(linear)]
        rows[: len(used)] = torch.from_numpy(used * length).to(rows.dtype)
        with torch.no_grad():
            linear.copy_(rows)
    queries = np.concatenate([queries.queries for queries in query_sets])
    head.started(torch.from_numpy(queries.astype(np.float32)))


def discriminant(query_sets: Sequence[QuerySet], config: DiscriminantConfig) -> FloatArray:
    """Return the discriminant, (dim, dim), the most important rows first.

    With W' = W + shrinkage tr(W) / dim I and B = W'^-1/2, it is U^T scaled by l^power, times B,
    where l and U are the eigenvalues and eigenvectors of B N B. It is scaled so that the training
    queries are mapped to a mean squared length of 1.

    Args:
        query_sets: Training queries of each domain.
        config: Shrinkage, power and negatives.
    """
    within = _scatter(query_sets, config.negatives, relevant=True)
    between = _scatter(query_sets, config.negatives, relevant=False)
    dim = len(within)
    if not np.trace(between):  # all candidates are relevant
        between = np.eye(dim)
    ridge = max(config.shrinkage * np.trace(within) / dim, _LEAST)
    variances, directions = np.linalg.eigh(within + ridge * np.eye(dim))
    whitening = (directions / np.sqrt(variances)) @ directions.T
    values, vectors = np.linalg.eigh(whitening @ between @ whitening)
    order = np.argsort(-values, kind="stable")
    scales = np.clip(values[order], 0.0, None) ** config.power
    rows = (vectors[:, order] * scales).T @ whitening
    # An eigenvector has no sign of its own: the largest number of a row is positive.
    largest = np.argmax(np.abs(rows), axis=1)
    rows *= np.where(rows[np.arange(dim), largest] < 0.0, -1.0, 1.0)[:, None]
    queries = np.concatenate([queries.queries for queries in query_sets])
    lengths = np.square(queries @ rows.T).sum(axis=1)
    return rows / np.sqrt(max(float(lengths.mean()), _LEAST))  # type: ignore[no-any-return]


def _scatter(query_sets: Sequence[QuerySet], n_negatives: int, *, relevant: bool) -> FloatArray:
    """Return the mean over queries of that of the squared differences, (dim, dim)."""
    dim = query_sets[0].queries.shape[1]
    total, n_queries = np.zeros((dim, dim)), 0
    for queries in query_sets:
        rows = queries.positives if relevant else list(_negatives(queries, n_negatives))
        counts = np.array([len(of_query) for of_query in rows])
        n_queries += int((counts > 0).sum())
        owners = np.repeat(np.arange(len(counts)), counts)
        documents = np.concatenate([*rows, np.empty(0, np.int64)]).astype(np.int64)
        weights = 1.0 / np.sqrt(np.maximum(counts, 1))
        for start in range(0, len(owners), _BLOCK):
            block = slice(start, start + _BLOCK)
            differences = queries.queries[owners[block]].astype(np.float64)
            differences -= take(queries.documents, documents[block])
            differences *= weights[owners[block], None]
            total += differences.T @ differences
    return total / max(n_queries, 1)


def _negatives(queries: QuerySet, n: int) -> Iterator[Rows]:
    """Yield of each query the candidates of the highest cosine that are not relevant."""
    for candidates, grades in zip(queries.candidates, queries.grades, strict=True):
        yield candidates[grades <= 0][:n]
